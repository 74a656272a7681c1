/*
** ops.c - the operations as Lua functions, created by a loop over the table of operations. A call
** with a traced operand emits into its trace; any other call computes at once. Elementwise operands
** are broadcast as in NumPy, by explicit reshape and broadcast operations.
*/
#include <string.h>

#include "bind.h"
#include "../op_names.h"

/* Run or emit one operation on the values at stack indices arg[]; pushes the result. */
static void perform(lua_State *L, const fm_op *op, int nin, const int *arg, const fm_attr *attr) {
  int trace = 0;
  luaL_checkstack(L, 8, op->name);
  for (int k = 0; k < nin; k++) {
    value *x = bind_value(L, arg[k]);
    if (x->t == NULL && trace == 0) {
      lua_getiuservalue(L, arg[k], 1);
      trace = lua_gettop(L);
    }
  }
  if (trace == 0) {
    fm_tensor *in[FM_MAX_OPERANDS];
    value *y = bind_push_empty(L);
    for (int k = 0; k < nin; k++) in[k] = bind_tensor(L, arg[k]);
    bind_own(L, y, fm_apply(bind_ctx(L), op, nin, in, attr));
    return;
  }
  trace_box *tr = bind_trace(L, trace);
  fm_val in[FM_MAX_OPERANDS];
  for (int k = 0; k < nin; k++) in[k] = bind_lift(L, tr, bind_value(L, arg[k]));
  bind_push_traced(L, trace, fm_emit(tr->p, op, nin, in, attr));
  lua_remove(L, trace);
}

static void perform1(lua_State *L, const fm_op *op, int arg, const fm_attr *attr) {
  arg = lua_absindex(L, arg);
  perform(L, op, 1, &arg, attr);
}

/* ------------------------------------------------------------------ broadcasting */

static void widen(lua_State *L, const fm_op *op, fm_shape *to, const fm_shape *s) {
  char a[96], b[96];
  fm_shape was = *to;
  if (s->nd > to->nd) {
    for (int k = s->nd - 1; k >= 0; k--)
      to->d[k] = k >= s->nd - was.nd ? was.d[k - (s->nd - was.nd)] : 1;
    to->nd = s->nd;
  }
  for (int k = 0; k < s->nd; k++) {
    int64_t *d = &to->d[to->nd - s->nd + k];
    if (*d == 1) *d = s->d[k];
    if (s->d[k] != 1 && s->d[k] != *d)
      bind_fail(L, FM_EUSAGE, "%s: the shapes %s and %s cannot be broadcast together", op->name,
                fm_shape_text(&was, a), fm_shape_text(s, b));
  }
}

/* Broadcast the value at `arg` to the shape `to`, in place on the stack. */
static void stretch(lua_State *L, int arg, const fm_shape *to) {
  fm_sig sig = bind_sig(bind_value(L, arg));
  if (fm_shape_eq(&sig.shape, to)) return;
  if (sig.shape.nd < to->nd) {
    fm_shape s = {to->nd, {0}};
    int lead = to->nd - sig.shape.nd;
    for (int k = 0; k < to->nd; k++) s.d[k] = k < lead ? 1 : sig.shape.d[k - lead];
    fm_attr a = fm_attr_shape(&s);
    perform1(L, &fm_op_reshape, arg, &a);
    lua_replace(L, arg);
    sig.shape = s;
  }
  if (fm_shape_eq(&sig.shape, to)) return;
  fm_attr a = fm_attr_shape(to);
  perform1(L, &fm_op_broadcast, arg, &a);
  lua_replace(L, arg);
}

/* Replace the number at `arg` by a value of the signature of the others. In a trace (that of the
   value at stack index `traced`; 0: none) this is a `full`, which programs keep in a register. */
static void fill(lua_State *L, int arg, int traced, const fm_sig *sig) {
  fm_attr a = fm_attr_shape(&sig->shape);
  a.f[FM_VALUE] = lua_tonumber(L, arg);
  a.f[FM_DTYPE] = sig->dtype == FM_F64;
  if (traced == 0) {
    value *y = bind_push_empty(L);
    bind_own(L, y, fm_apply(bind_ctx(L), &fm_op_full, 0, NULL, &a));
  } else {
    lua_getiuservalue(L, traced, 1);
    trace_box *tr = bind_trace(L, lua_gettop(L));
    bind_push_traced(L, lua_gettop(L), fm_emit(tr->p, &fm_op_full, 0, NULL, &a));
    lua_remove(L, -2);
  }
  lua_replace(L, arg);
}

/* A tensor of which a trace (that of the value at stack index `traced`; 0: none) gets a copy of
   another shape: the program holds it, too, and so notices if it is overwritten. */
static void hold(lua_State *L, int arg, int traced) {
  value *x = bind_value(L, arg);
  if (traced == 0 || x->t == NULL) return;
  lua_getiuservalue(L, traced, 1);
  bind_lift(L, bind_trace(L, lua_gettop(L)), x);
  lua_pop(L, 1);
}

/* Broadcast operands 1..n to their common shape; numbers become constants. */
static void align(lua_State *L, const fm_op *op, int n) {
  fm_sig common = {FM_F32, {0, {0}}};
  bool seen = false;
  int traced = 0;
  for (int k = 1; k <= n; k++) {
    if (lua_type(L, k) == LUA_TNUMBER) continue;
    fm_sig sig = bind_sig(bind_value(L, k));
    if (seen)
      widen(L, op, &common.shape, &sig.shape);
    else
      common = sig;
    seen = true;
    if (bind_value(L, k)->t == NULL) traced = k;
  }
  for (int k = 1; k <= n; k++) {
    if (bind_test(L, k) == NULL) {
      fill(L, k, traced, &common);
      continue;
    }
    hold(L, k, traced);
    stretch(L, k, &common.shape);
  }
}

/* ------------------------------------------------------------------ arguments by fm_op.args */

static int64_t axis_of(lua_State *L, const fm_op *op, int arg, int nd) {
  int64_t a = bind_integer(L, arg, INT64_MIN, INT64_MAX);
  int64_t axis = a < 0 ? nd + a : a - 1;
  if (nd == 0) bind_fail(L, FM_EUSAGE, "%s: a scalar found, which has no axes", op->name);
  if (a == 0 || axis < 0 || axis >= nd)
    bind_fail(L, FM_EUSAGE, "%s: axis %lld found, expected 1 to %d or -1 to -%d", op->name,
              (long long)a, nd, nd);
  return axis;
}

typedef struct reader {
  const fm_op *op;
  int arg, ni, nf, nin, nd;
  int in[FM_MAX_OPERANDS];
  fm_attr attr;
} reader;

static void add_operand(lua_State *L, reader *r, int at) {
  r->nd = bind_sig(bind_value(L, at)).shape.nd;
  r->in[r->nin++] = at;
}

static void read_list(lua_State *L, reader *r) {
  char found[BIND_FOUND];
  const int n = bind_list(L, r->arg, "a list of tensors");
  if (n == 0)
    bind_fail(L, FM_EUSAGE, "%s: an empty list found, expected one tensor or more", r->op->name);
  if (n > FM_MAX_OPERANDS)
    bind_fail(L, FM_EUSAGE, "%s: %d tensors found, expected at most %d", r->op->name, n,
              FM_MAX_OPERANDS);
  luaL_checkstack(L, n + 8, "too many tensors");
  for (int k = 1; k <= n; k++) {
    lua_rawgeti(L, r->arg, k);
    if (bind_test(L, lua_gettop(L)) == NULL)
      bind_fail(L, FM_EUSAGE, "%s: entry %d of the list is %s, expected a tensor", r->op->name, k,
                bind_found(L, lua_gettop(L), found));
    add_operand(L, r, lua_gettop(L));
  }
}

/* Convert an offset from 1 to one from 0. INT64_MIN stays: the operation refuses it as well. */
static int64_t offset(lua_State *L, int arg) {
  const int64_t n = bind_integer(L, arg, INT64_MIN, INT64_MAX);
  return n > INT64_MIN ? n - 1 : n;
}

static void read_boolean(lua_State *L, reader *r) {
  r->attr.i[r->ni] = bind_boolean(L, r->arg, r->op->attrs[r->ni]);
  r->ni++;
}

/* All axes in another order, each counted from 1, or from -1 backwards. */
static void read_axes(lua_State *L, reader *r) {
  char found[BIND_FOUND];
  const int n = bind_list(L, r->arg, "a list of axes such as {2, 1}");
  if (n != r->nd)
    bind_fail(L, FM_EUSAGE, "%s: %d axes found, expected all %d", r->op->name, n, r->nd);
  for (int k = 0; k < n; k++) {
    int whole = 0;
    int64_t a = 0;
    if (lua_rawgeti(L, r->arg, k + 1) == LUA_TNUMBER) a = lua_tointegerx(L, -1, &whole);
    if (!whole || a == 0 || a < -n || a > n)
      bind_fail(L, FM_EUSAGE, "%s: axis %s found at position %d, expected 1 to %d or -1 to -%d",
                r->op->name, bind_found(L, lua_gettop(L), found), k + 1, n, n);
    r->attr.i[k] = a < 0 ? n + a : a - 1;
    lua_pop(L, 1);
  }
}

static void read_arg(lua_State *L, reader *r, char kind) {
  fm_shape s;
  switch (kind) {
  case 't': add_operand(L, r, r->arg); break;
  case 'T': read_list(L, r); break;
  case 'n': r->attr.f[r->nf++] = bind_number(L, r->arg); break;
  case 'i': r->attr.i[r->ni++] = bind_integer(L, r->arg, INT64_MIN, INT64_MAX); break;
  case 'o': r->attr.i[r->ni++] = offset(L, r->arg); break;
  case 'a': r->attr.i[r->ni++] = axis_of(L, r->op, r->arg, r->nd); break;
  case 'b': read_boolean(L, r); break;
  case 'd': r->attr.f[FM_DTYPE] = (double)bind_dtype(L, r->arg, FM_F32); break;
  case 's':
    bind_shape(L, r->arg, &s);
    r->attr = fm_attr_shape(&s);
    break;
  case 'p': read_axes(L, r); break;
  default: break;
  }
  r->arg++;
}

/* An optional argument that is nil: its attribute stays 0, and later ones keep their places. */
static void skip_arg(reader *r, char kind) {
  if (strchr("ioab", kind)) r->ni++;
  if (kind == 'n') r->nf++;
  r->arg++;
}

static int call_op(lua_State *L) {
  const lua_Integer which = lua_tointeger(L, lua_upvalueindex(1));
  const fm_op *op = fm_op_at(which >= 0 && which < fm_op_count() ? (int)which : 0);
  reader r = {.op = op, .arg = 1};
  bool optional = strchr(op->args, '|') != NULL;
  bind_at_most(L, (int)strlen(op->args) - optional);
  optional = false;
  if ((op->flags & FM_ELEMENTWISE) && op->nin > 1) align(L, op, op->nin);
  for (const char *c = op->args; *c; c++) {
    if (*c == '|')
      optional = true;
    else if (optional && lua_isnoneornil(L, r.arg))
      skip_arg(&r, *c);
    else
      read_arg(L, &r, *c);
  }
  perform(L, op, r.nin, r.in, &r.attr);
  return 1;
}

/* ------------------------------------------------------------------ operators */

static int affine(lua_State *L, int arg, double scale, double shift) {
  fm_attr a = {{0}, {scale, shift}};
  perform1(L, &fm_op_affine, arg, &a);
  return 1;
}

static int binary(lua_State *L, const fm_op *op) {
  int arg[2] = {1, 2};
  lua_settop(L, 2);
  align(L, op, 2);
  perform(L, op, 2, arg, NULL);
  return 1;
}

#define IS_NUMBER(k) (lua_type(L, k) == LUA_TNUMBER)

static int op_add(lua_State *L) {
  if (IS_NUMBER(2)) return affine(L, 1, 1, lua_tonumber(L, 2));
  if (IS_NUMBER(1)) return affine(L, 2, 1, lua_tonumber(L, 1));
  return binary(L, &fm_op_add);
}

static int op_sub(lua_State *L) {
  if (IS_NUMBER(2)) return affine(L, 1, 1, -lua_tonumber(L, 2));
  if (IS_NUMBER(1)) return affine(L, 2, -1, lua_tonumber(L, 1));
  return binary(L, &fm_op_sub);
}

static int op_mul(lua_State *L) {
  if (IS_NUMBER(2)) return affine(L, 1, lua_tonumber(L, 2), 0);
  if (IS_NUMBER(1)) return affine(L, 2, lua_tonumber(L, 1), 0);
  return binary(L, &fm_op_mul);
}

static int op_div(lua_State *L) {
  if (IS_NUMBER(2)) return affine(L, 1, 1 / lua_tonumber(L, 2), 0);
  return binary(L, &fm_op_div);
}

static int op_unm(lua_State *L) { return affine(L, 1, -1, 0); } /* Lua gives the operand twice */

static int op_pow(lua_State *L) {
  double e = bind_number(L, 2);
  fm_attr a = {{0}, {e, 0}};
  perform1(L, e == 2 ? &fm_op_square : &fm_op_pow, 1, e == 2 ? NULL : &a);
  return 1;
}

/* ------------------------------------------------------------------ operators that tensors lack */

/* Lua's own words would name none that fm has instead. */
static int refuse(lua_State *L) {
  bind_fail(L, FM_EUSAGE, "%s", lua_tostring(L, lua_upvalueindex(1)));
}

static int refuse_equality(lua_State *L) { /* Lua asks only about userdata that are not one */
  if (bind_test(L, 1) && bind_test(L, 2)) return refuse(L);
  lua_pushboolean(L, 0);
  return 1;
}

#define ORDER                                                                                      \
  "the operator < or <= found between tensors, expected fm.lt, fm.le or fm.eq, which give 1 or "   \
  "0 for each value"
#define REMAINDER                                                                                  \
  "the operator // or % found, expected fm.floor(x / y), and x - y * fm.floor(x / y) for the "     \
  "remainder"

static const struct {
  const char *name;
  lua_CFunction function;
  const char *sentence;
} refused[] = {
    {"__lt", refuse, ORDER},
    {"__le", refuse, ORDER},
    {"__eq", refuse_equality,
     "the operator == or ~= found between tensors, expected fm.eq, which gives 1 or 0 for each "
     "value; rawequal tells whether both are one tensor"},
    {"__idiv", refuse, REMAINDER},
    {"__mod", refuse, REMAINDER},
    {"__concat", refuse,
     "the operator .. found, expected tostring(x) or x:item() to put it into a text, or fm.concat "
     "to join tensors"},
    {"__newindex", refuse,
     "an assignment to a tensor's entry or field found, expected a new tensor, as by fm.where or "
     "fm.concat; x:copy_from(y) overwrites all values"}};

static void set_refused(lua_State *L) { /* of the metatable on top of the stack */
  for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
    lua_pushstring(L, refused[k].sentence);
    lua_pushcclosure(L, refused[k].function, 1);
    lua_setfield(L, -2, refused[k].name);
  }
}

/* ------------------------------------------------------------------ all operations */

/* The names of the attributes that arguments fill, in the order of their letters: those of integers
   (i, o, a, b) and those of numbers (n). */
static void push_attrs(lua_State *L, const fm_op *op, const char *letters, int slot) {
  int n = 0;
  lua_newtable(L);
  for (const char *c = op->args; *c; c++) {
    if (strchr(letters, *c) == NULL) continue;
    lua_pushstring(L, op->attrs[slot + n]);
    lua_seti(L, -2, ++n);
  }
}

/* fm.ops() -> {{name=, doc=, args=, integers=, numbers=}, ...} */
static int list_ops(lua_State *L) {
  lua_createtable(L, fm_op_count(), 0);
  for (int k = 0; k < fm_op_count(); k++) {
    const fm_op *op = fm_op_at(k);
    lua_createtable(L, 0, 5);
    lua_pushstring(L, op->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, op->doc);
    lua_setfield(L, -2, "doc");
    lua_pushstring(L, op->args);
    lua_setfield(L, -2, "args");
    push_attrs(L, op, "ioab", 0);
    lua_setfield(L, -2, "integers");
    push_attrs(L, op, "n", FM_F);
    lua_setfield(L, -2, "numbers");
    lua_seti(L, -2, k + 1);
  }
  return 1;
}

void bind_open_ops(lua_State *L) {
  static const luaL_Reg operators[] = {{"__add", op_add}, {"__sub", op_sub}, {"__mul", op_mul},
                                       {"__div", op_div}, {"__unm", op_unm}, {"__pow", op_pow},
                                       {NULL, NULL}};
  for (int k = 0; k < fm_op_count(); k++) {
    const fm_op *op = fm_op_at(k);
    if (op->flags & (FM_LEAF | FM_LOWERED)) continue;
    lua_pushinteger(L, k);
    lua_pushcclosure(L, call_op, 1);
    lua_setfield(L, -2, op->name);
  }
  /* Arithmetic as the operators: either operand may be a number. */
  static const bind_reg functions[] = {{"add", op_add, 2}, {"sub", op_sub, 2}, {"mul", op_mul, 2},
                                       {"div", op_div, 2}, {"neg", op_unm, 1}, {"ops", list_ops, 0},
                                       {NULL, NULL, 0}};
  bind_set(L, functions);
  luaL_getmetatable(L, bind_tensor_type);
  luaL_setfuncs(L, operators, 0);
  set_refused(L);
  lua_pop(L, 1);
}
