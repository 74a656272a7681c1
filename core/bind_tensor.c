/* bind_tensor.c - tensors in Lua: making them, looking into them, letting go of them. */
#include <string.h>

#include "bind.h"
#include "io_map.h"

/* ------------------------------------------------------------------ userdata */

static value *new_value(lua_State *L) {
  value *x = lua_newuserdatauv(L, sizeof *x, 1);
  *x = (value){NULL, NULL, FM_NONE};
  luaL_setmetatable(L, FM_TENSOR);
  return x;
}

void bind_push_tensor(lua_State *L, fm_tensor *t) {
  if (t == NULL) bind_raise(L);
  value *x = new_value(L);
  x->t = t;
  /* Bytes outside Lua count for its collector: else dropped tensors pile up unseen. */
  if (t->bytes >= 1024 && !t->map && !t->of) lua_gc(L, LUA_GCSTEP, (int)(t->bytes >> 10));
}

void bind_push_traced(lua_State *L, int trace, fm_val v) {
  trace = lua_absindex(L, trace);
  trace_box *tr = lua_touserdata(L, trace);
  if (v == FM_NONE) bind_raise(L);
  value *x = new_value(L);
  x->trace = tr;
  x->v = v;
  lua_pushvalue(L, trace);
  lua_setiuservalue(L, -2, 1);
}

value *bind_test(lua_State *L, int arg) { return luaL_testudata(L, arg, FM_TENSOR); }

value *bind_value(lua_State *L, int arg) {
  value *x = bind_test(L, arg);
  if (x == NULL)
    bind_fail(L, FM_EUSAGE, "argument %d is a %s, expected a tensor", arg, luaL_typename(L, arg));
  if (x->t == NULL && (x->trace == NULL || x->trace->p == NULL))
    bind_fail(L, FM_EUSAGE,
              "argument %d is a value of a trace that has ended; only numbers that the "
              "traced function returns outlive it",
              arg);
  return x;
}

fm_tensor *bind_tensor(lua_State *L, int arg) {
  value *x = bind_value(L, arg);
  if (x->t == NULL)
    bind_fail(L, FM_EUSAGE,
              "argument %d is being traced and has no numbers yet; compute with it "
              "instead of looking into it",
              arg);
  return x->t;
}

trace_box *bind_trace(lua_State *L, int arg) {
  trace_box *tr = luaL_testudata(L, arg, FM_TRACE);
  if (tr == NULL || tr->p == NULL) bind_fail(L, FM_EUSAGE, "argument %d is not an open trace", arg);
  return tr;
}

fm_sig bind_sig(lua_State *L, const value *x) {
  (void)L;
  return x->t ? (fm_sig){x->t->dtype, x->t->shape} : fm_prog_sig(x->trace->p, x->v);
}

fm_val bind_lift(lua_State *L, trace_box *tr, value *x) {
  if (x->t == NULL && x->trace != tr)
    bind_fail(L, FM_EUSAGE, "a value of one trace is used inside another one");
  fm_val v = x->t ? fm_const(tr->p, x->t) : x->v;
  if (v == FM_NONE) bind_raise(L);
  return v;
}

static int tensor_gc(lua_State *L) {
  value *x = lua_touserdata(L, 1);
  fm_tensor_drop(x->t);
  x->t = NULL;
  return 0;
}

/* ------------------------------------------------------------------ arguments */

void bind_shape(lua_State *L, int arg, fm_shape *s) {
  *s = (fm_shape){0, {0}};
  if (lua_isinteger(L, arg)) {
    s->nd = 1;
    s->d[0] = lua_tointeger(L, arg);
    return;
  }
  if (!lua_istable(L, arg))
    bind_fail(L, FM_EUSAGE, "argument %d is a %s, expected a shape such as {2, 3}", arg,
              luaL_typename(L, arg));
  lua_Integer n = luaL_len(L, arg);
  if (n > FM_MAX_DIMS)
    bind_fail(L, FM_EUSAGE, "a shape of rank %d found, expected at most %d", (int)n, FM_MAX_DIMS);
  s->nd = (int)n;
  for (int k = 0; k < s->nd; k++) {
    lua_geti(L, arg, k + 1);
    int isnum;
    s->d[k] = lua_tointegerx(L, -1, &isnum);
    if (!isnum || s->d[k] < 0)
      bind_fail(L, FM_EUSAGE, "size %d of a shape is %s, expected a whole number from 0 on", k + 1,
                luaL_tolstring(L, -1, NULL));
    lua_pop(L, 1);
  }
}

void bind_push_shape(lua_State *L, const fm_shape *s) {
  lua_createtable(L, s->nd, 0);
  for (int k = 0; k < s->nd; k++) {
    lua_pushinteger(L, s->d[k]);
    lua_seti(L, -2, k + 1);
  }
}

fm_dtype bind_dtype(lua_State *L, int arg, fm_dtype otherwise) {
  if (lua_isnoneornil(L, arg)) return otherwise;
  const char *name = lua_tostring(L, arg);
  if (name && strcmp(name, "float32") == 0) return FM_F32;
  if (name && strcmp(name, "float64") == 0) return FM_F64;
  if (name && strcmp(name, "uint8") == 0) return FM_U8;
  bind_fail(L, FM_EUSAGE, "number format '%s' found, expected 'float32', 'float64' or 'uint8'",
            name ? name : luaL_typename(L, arg));
  return FM_F32;
}

uint32_t bind_stream(lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TSTRING) return (uint32_t)luaL_optinteger(L, arg, 0);
  uint32_t h = 2166136261u; /* FNV-1a: the same name is the same stream everywhere */
  for (const char *c = lua_tostring(L, arg); *c; c++) h = (h ^ (unsigned char)*c) * 16777619u;
  return h;
}

/* ------------------------------------------------------------------ making */

/* The shape of a nested table, by its first elements. */
static void table_shape(lua_State *L, int arg, fm_shape *s) {
  *s = (fm_shape){0, {0}};
  lua_pushvalue(L, arg);
  while (lua_istable(L, -1)) {
    if (s->nd == FM_MAX_DIMS)
      bind_fail(L, FM_EUSAGE, "tensor: a table nested deeper than %d found", FM_MAX_DIMS);
    s->d[s->nd++] = (int64_t)luaL_len(L, -1);
    lua_geti(L, -1, 1);
    lua_remove(L, -2);
  }
  lua_pop(L, 1);
}

/* A value from Lua; a byte must be one. */
static void put(lua_State *L, fm_tensor *t, int64_t at, double x) {
  if (t->dtype == FM_U8 && !(x >= 0 && x <= 255 && x == (int)x))
    bind_fail(L, FM_EUSAGE, "tensor: value %d is %f, expected a whole number from 0 to 255 (uint8)",
              (int)at + 1, x);
  fm_tensor_set(t, at, x);
}

static void fill_from(lua_State *L, fm_tensor *t, int depth, int64_t *at) {
  if (depth == t->shape.nd) {
    int isnum;
    double x = lua_tonumberx(L, -1, &isnum);
    if (!isnum)
      bind_fail(L, FM_EUSAGE, "tensor: value %d is a %s, expected a number", (int)*at + 1,
                luaL_typename(L, -1));
    put(L, t, (*at)++, x);
    return;
  }
  int64_t n = lua_istable(L, -1) ? (int64_t)luaL_len(L, -1) : -1;
  if (n != t->shape.d[depth])
    bind_fail(L, FM_EUSAGE, "tensor: ragged table: %d entries found at depth %d, expected %d",
              (int)n, depth + 1, (int)t->shape.d[depth]);
  for (int64_t k = 1; k <= n; k++) {
    lua_geti(L, -1, k);
    fill_from(L, t, depth + 1, at);
    lua_pop(L, 1);
  }
}

static int make_tensor(lua_State *L) { /* fm.tensor(nested [, dtype]) */
  fm_shape s;
  int64_t at = 0;
  if (bind_test(L, 1)) return lua_settop(L, 1), 1;
  if (!lua_istable(L, 1) && !lua_isnumber(L, 1))
    bind_fail(L, FM_EUSAGE, "tensor: a %s found, expected a number or a table of numbers",
              luaL_typename(L, 1));
  fm_dtype dtype = bind_dtype(L, 2, FM_F32);
  table_shape(L, 1, &s);
  fm_tensor *t = fm_tensor_new(bind_ctx(L), dtype, &s);
  bind_push_tensor(L, t);
  lua_pushvalue(L, 1);
  fill_from(L, t, 0, &at);
  lua_pop(L, 1);
  return 1;
}

static int make_full(lua_State *L) { /* fm.full(shape, number [, dtype]) */
  fm_shape s;
  bind_shape(L, 1, &s);
  double x = luaL_checknumber(L, 2);
  fm_tensor *t = fm_tensor_new(bind_ctx(L), bind_dtype(L, 3, FM_F32), &s);
  bind_push_tensor(L, t);
  int64_t n = fm_shape_count(&s);
  for (int64_t k = 0; x != 0 && k < n; k++) put(L, t, k, x);
  return 1;
}

static int make_arange(lua_State *L) { /* fm.arange(n [, dtype]): 0 .. n-1 */
  fm_shape s = {1, {luaL_checkinteger(L, 1)}};
  fm_tensor *t = fm_tensor_new(bind_ctx(L), bind_dtype(L, 2, FM_F32), &s);
  bind_push_tensor(L, t);
  for (int64_t k = 0; k < s.d[0]; k++) put(L, t, k, (double)k);
  return 1;
}

/* fm.uniform(shape, {seed=, stream=, step=, row0=, dtype=}) and fm.normal: eager numbers */
static int make_random(lua_State *L) {
  fm_shape s;
  bind_shape(L, 1, &s);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_getfield(L, 2, "dtype");
  fm_dtype dtype = bind_dtype(L, lua_gettop(L), FM_F32);
  if (dtype == FM_U8)
    bind_fail(L, FM_EUSAGE, "random numbers: uint8 found, expected 'float32' or 'float64'");
  lua_getfield(L, 2, "seed");
  lua_getfield(L, 2, "stream");
  lua_getfield(L, 2, "step");
  lua_getfield(L, 2, "row0");
  fm_rng r = {(uint64_t)luaL_optinteger(L, -4, 0), bind_stream(L, -3),
              (uint32_t)luaL_optinteger(L, -2, 0)};
  int64_t row0 = luaL_optinteger(L, -1, 0);
  fm_tensor *t = fm_tensor_new(bind_ctx(L), dtype, &s);
  bind_push_tensor(L, t);
  int64_t n = fm_shape_count(&s), rows = s.nd ? s.d[0] : 1;
  bool normal = lua_toboolean(L, lua_upvalueindex(1));
  if (n > 0 && rows > 0)
    (normal ? fm_rng_normal : fm_rng_uniform)(&r, t->dtype, row0, rows, n / rows, t->data);
  return 1;
}

/* ------------------------------------------------------------------ looking */

/* After values were read: n results, if a mapped file has not lost them meanwhile. */
static int seen(lua_State *L, const fm_tensor *t, int n) {
  if (fm_map_check(t) != FM_OK) bind_raise(L);
  return n;
}

static int64_t flat_index(lua_State *L, const fm_tensor *t) { /* arguments 2.. are 1-based */
  int64_t at = 0;
  if (lua_gettop(L) - 1 < t->shape.nd)
    bind_fail(L, FM_EUSAGE, "get: %d indices found, expected %d", lua_gettop(L) - 1, t->shape.nd);
  for (int k = 0; k < t->shape.nd; k++) {
    int64_t i = luaL_checkinteger(L, k + 2);
    if (i < 1 || i > t->shape.d[k])
      bind_fail(L, FM_EUSAGE, "get: index %d of axis %d found, expected 1 to %d", (int)i, k + 1,
                (int)t->shape.d[k]);
    at = at * t->shape.d[k] + i - 1;
  }
  return at;
}

static int tensor_get(lua_State *L) {
  fm_tensor *t = bind_tensor(L, 1);
  lua_pushnumber(L, fm_tensor_get(t, flat_index(L, t)));
  return seen(L, t, 1);
}

static int tensor_item(lua_State *L) {
  fm_tensor *t = bind_tensor(L, 1);
  char a[96];
  if (fm_shape_count(&t->shape) != 1)
    bind_fail(L, FM_EUSAGE, "item: a tensor of the shape %s found, expected one value",
              fm_shape_text(&t->shape, a));
  lua_pushnumber(L, fm_tensor_get(t, 0));
  return seen(L, t, 1);
}

static void push_nested(lua_State *L, const fm_tensor *t, int depth, int64_t *at) {
  if (depth == t->shape.nd) {
    lua_pushnumber(L, fm_tensor_get(t, (*at)++));
    return;
  }
  lua_createtable(L, (int)t->shape.d[depth], 0);
  for (int64_t k = 1; k <= t->shape.d[depth]; k++) {
    push_nested(L, t, depth + 1, at);
    lua_seti(L, -2, k);
  }
}

static int tensor_totable(lua_State *L) {
  int64_t at = 0;
  const fm_tensor *t = bind_tensor(L, 1);
  push_nested(L, t, 0, &at);
  return seen(L, t, 1);
}

static int tensor_flat(lua_State *L) {
  fm_tensor *t = bind_tensor(L, 1);
  int64_t n = fm_shape_count(&t->shape);
  lua_createtable(L, (int)n, 0);
  for (int64_t k = 0; k < n; k++) {
    lua_pushnumber(L, fm_tensor_get(t, k));
    lua_seti(L, -2, k + 1);
  }
  return seen(L, t, 1);
}

/* t:copy_from(u): overwrite t's values; for restoring parameters that others refer to. */
static int tensor_copy_from(lua_State *L) {
  fm_tensor *t = bind_tensor(L, 1), *u = bind_tensor(L, 2);
  char a[96], b[96];
  if (t->dtype != u->dtype || !fm_shape_eq(&t->shape, &u->shape))
    bind_fail(L, FM_EUSAGE, "copy_from: %s %s found, expected %s %s", fm_dtype_name(u->dtype),
              fm_shape_text(&u->shape, a), fm_dtype_name(t->dtype), fm_shape_text(&t->shape, b));
  if ((t->of ? t->of : t)->map)
    bind_fail(L, FM_EUSAGE, "copy_from: the tensor lies in a packed file, which is read-only");
  memmove(t->data, u->data, t->bytes);
  lua_settop(L, 1);
  return seen(L, u, 1);
}

/* t:view(first, n): rows first (from 1) to first + n - 1 in t's own memory. */
static int tensor_view(lua_State *L) {
  fm_tensor *t = bind_tensor(L, 1);
  lua_Integer first = luaL_checkinteger(L, 2), n = luaL_checkinteger(L, 3);
  bind_push_tensor(L, fm_tensor_view(t, first > 0 ? first - 1 : -1, n));
  return 1;
}

static int tensor_finite(lua_State *L) { /* true, or false and the 1-based flat index */
  int64_t where = 0;
  bool ok = fm_tensor_finite(bind_tensor(L, 1), &where);
  lua_pushboolean(L, ok);
  lua_pushinteger(L, where + 1);
  return ok ? 1 : 2;
}

static int tensor_bytes(lua_State *L) { /* the raw little-endian values, for hashes and equality */
  fm_tensor *t = bind_tensor(L, 1);
  lua_pushlstring(L, t->data, t->bytes);
  return 1;
}

static int tensor_text(lua_State *L) {
  value *x = luaL_checkudata(L, 1, FM_TENSOR);
  char shape[96];
  if (x->t == NULL) {
    lua_pushfstring(L, "traced value %d", (int)x->v);
    return 1;
  }
  int64_t n = fm_shape_count(&x->t->shape);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (int64_t k = 0; k < n && k < 8; k++) {
    lua_pushfstring(L, k ? ", %f" : "%f", fm_tensor_get(x->t, k));
    luaL_addvalue(&b);
  }
  if (n > 8) luaL_addstring(&b, ", ...");
  luaL_pushresult(&b);
  lua_pushfstring(L, "%s %s {%s}", fm_dtype_name(x->t->dtype), fm_shape_text(&x->t->shape, shape),
                  lua_tostring(L, -1));
  return 1;
}

static int tensor_len(lua_State *L) {
  fm_sig sig = bind_sig(L, bind_value(L, 1));
  lua_pushinteger(L, sig.shape.nd ? sig.shape.d[0] : 0);
  return 1;
}

static int no_field(lua_State *L) {
  const char *what = luaL_tolstring(L, 2, NULL);
  return bind_fail(
      L, FM_EUSAGE,
      "tensor: no field or method '%s' found, expected shape, dtype, traced or "
      "a function of fm; values are read by x:get(k) and x:flat(), rows by x:rows(first, n)",
      what);
}

/* t.shape, t.dtype, t.traced; anything else is a function of the module used as a method. */
static int tensor_index(lua_State *L) {
  const char *key = lua_tostring(L, 2);
  if (key && strcmp(key, "shape") == 0) {
    fm_sig sig = bind_sig(L, bind_value(L, 1));
    bind_push_shape(L, &sig.shape);
  } else if (key && strcmp(key, "dtype") == 0) {
    lua_pushstring(L, fm_dtype_name(bind_sig(L, bind_value(L, 1)).dtype));
  } else if (key && strcmp(key, "traced") == 0) {
    lua_pushboolean(L, bind_value(L, 1)->t == NULL);
  } else {
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_isnil(L, -1)) return no_field(L);
  }
  return 1;
}

static int is_tensor(lua_State *L) {
  lua_pushboolean(L, bind_test(L, 1) != NULL);
  return 1;
}

void bind_open_tensor(lua_State *L) {
  static const luaL_Reg functions[] = {{"tensor", make_tensor},   {"full", make_full},
                                       {"arange", make_arange},   {"get", tensor_get},
                                       {"item", tensor_item},     {"totable", tensor_totable},
                                       {"flat", tensor_flat},     {"copy_from", tensor_copy_from},
                                       {"view", tensor_view},     {"bytes", tensor_bytes},
                                       {"finite", tensor_finite}, {"is_tensor", is_tensor},
                                       {"tostring", tensor_text}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  for (int normal = 0; normal < 2; normal++) {
    lua_pushboolean(L, normal);
    lua_pushcclosure(L, make_random, 1);
    lua_setfield(L, -2, normal ? "normal" : "uniform");
  }
  luaL_newmetatable(L, FM_TENSOR);
  lua_pushcfunction(L, tensor_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, tensor_text);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, tensor_len);
  lua_setfield(L, -2, "__len");
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, tensor_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
