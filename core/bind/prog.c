/*
** prog.c - traces, derivatives and executables in Lua: the primitives from which
** lua/flowmap/autodiff.lua and program.lua build fm.grad, fm.jvp and fm.program.
*/
#include <stdlib.h>

#include "../run/costs.h"
#include "bind.h"
#include "../op_names.h"

/*
** Using a closed trace or program raises a sentence. The handle is read after all other arguments,
** because reading those may run Lua code (a finaliser, by an allocation) that closes the handle.
*/
static const char exe_type[] = "flowmap.exe";

/* ------------------------------------------------------------------ traces */

static int trace_new(lua_State *L) {
  trace_box *tr = bind_new_box(L, bind_trace_type, sizeof *tr);
  if ((tr->p = fm_prog_new(bind_ctx(L))) == NULL) bind_raise(L);
  return 1;
}

static int trace_close(lua_State *L) {
  fm_prog_free(bind_take(L, bind_trace_type));
  return 0;
}

static int trace_count(lua_State *L) {
  lua_pushinteger(L, fm_prog_count(bind_trace(L, 1)->p));
  return 1;
}

static int trace_input(lua_State *L) { /* trace:input("shared"|"rows", shape, dtype) */
  static const char *const roles[] = {[FM_SHARED] = "shared", [FM_ROWS] = "rows", NULL};
  fm_sig sig;
  fm_role role = (fm_role)bind_option(L, 2, roles);
  bind_shape(L, 3, &sig.shape);
  sig.dtype = bind_dtype(L, 4, FM_F32);
  if (role == FM_ROWS && sig.shape.nd == 0)
    bind_fail(L, FM_EUSAGE, "program: a `rows` input is a scalar, expected one row per sample");
  bind_push_traced(L, 1, fm_input(bind_trace(L, 1)->p, role, &sig));
  return 1;
}

static int trace_const(lua_State *L) { /* trace:const(tensor): a tensor as a value of the trace */
  trace_box *tr = bind_trace(L, 1);
  bind_push_traced(L, 1, bind_lift(L, tr, bind_value(L, 2)));
  return 1;
}

/* The name of a floating-point type. */
static fm_dtype float_dtype(lua_State *L, int arg) {
  fm_dtype t = bind_dtype(L, arg, FM_F32);
  if (t == FM_U8) bind_expected(L, arg, "'float32' or 'float64'");
  return t;
}

static int trace_random(lua_State *L) { /* trace:uniform(shape, stream, dtype), trace:normal */
  fm_sig sig;
  bind_method_at_most(L, 3);
  bind_shape(L, 2, &sig.shape);
  fm_attr a = fm_attr_shape(&sig.shape);
  a.i[FM_STREAM] = bind_stream(L, 3);
  a.f[FM_DTYPE] = (double)float_dtype(L, 4);
  const fm_op *op = lua_toboolean(L, lua_upvalueindex(1)) ? &fm_op_normal : &fm_op_uniform;
  bind_push_traced(L, 1, fm_emit(bind_trace(L, 1)->p, op, 0, NULL, &a));
  return 1;
}

static int trace_dropout(lua_State *L) { /* trace:dropout(shape, rate, stream, dtype) */
  fm_shape s;
  bind_shape(L, 2, &s);
  fm_attr a = fm_attr_shape(&s);
  a.f[FM_RATE] = bind_number(L, 3);
  a.i[FM_STREAM] = bind_stream(L, 4);
  a.f[FM_DTYPE] = float_dtype(L, 5) == FM_F64;
  bind_push_traced(L, 1, fm_emit(bind_trace(L, 1)->p, &fm_op_dropout, 0, NULL, &a));
  return 1;
}

static int trace_full(lua_State *L) { /* trace:full(shape, number, dtype) */
  fm_sig sig;
  bind_shape(L, 2, &sig.shape);
  sig.dtype = float_dtype(L, 4);
  double x = bind_number(L, 3);
  bind_push_traced(L, 1, fm_full(bind_trace(L, 1)->p, sig, x));
  return 1;
}

static int trace_output(lua_State *L) { /* trace:output(value, "sum"|"rows") */
  static const char *const merges[] = {[FM_SUM] = "sum", [FM_STACK] = "rows", NULL};
  fm_merge merge = (fm_merge)bind_option(L, 3, merges);
  trace_box *tr = bind_trace(L, 1);
  fm_val v = bind_lift(L, tr, bind_value(L, 2));
  fm_sig sig = fm_prog_sig(tr->p, v);
  if (merge == FM_STACK && sig.shape.nd == 0)
    bind_fail(L, FM_EUSAGE, "program: a `rows` output is a scalar, expected one row per sample");
  if (fm_output(tr->p, v, merge) != FM_OK) bind_raise(L);
  return 0;
}

/* ------------------------------------------------------------------ derivatives */

typedef struct
    values { /* the list of values at stack index `arg`; `v` is a userdata on the stack */
  int arg, n;
  fm_val *v;
} values;

static values make_values(lua_State *L, int arg) {
  values list = {arg, bind_list(L, arg, "a list of tensors"), NULL};
  list.v = lua_newuserdatauv(L, ((size_t)list.n + 1) * sizeof *list.v, 0); /* collected by Lua */
  return list;
}

/* Read a list as values of the trace. With `absent`, an entry may be false, which means zero. */
static void read_values(lua_State *L, trace_box *tr, values *list, bool absent) {
  for (int k = 0; k < list->n; k++) {
    lua_rawgeti(L, list->arg, k + 1);
    const bool none = absent && lua_type(L, -1) == LUA_TBOOLEAN && !lua_toboolean(L, -1);
    list->v[k] = none ? FM_NONE : bind_lift(L, tr, bind_entry_value(L, list->arg, k + 1));
    lua_pop(L, 1);
  }
}

static int push_values(lua_State *L, const fm_val *list, int n) {
  lua_createtable(L, n, 0);
  for (int k = 0; k < n; k++) {
    if (list[k] == FM_NONE)
      lua_pushboolean(L, 0);
    else
      bind_push_traced(L, 1, list[k]);
    lua_rawseti(L, -2, k + 1);
  }
  return 1;
}

/* Check that every direction has the shape and type of its value. */
static void check_seeds(lua_State *L, const fm_prog *p, const char *name, const values *from,
                        const values *seed) {
  char s[96], t[96];
  if (from->n != seed->n)
    bind_fail(L, FM_EUSAGE, "%s: %d values and %d directions found, expected equal numbers", name,
              from->n, seed->n);
  for (int k = 0; k < from->n; k++) {
    if (seed->v[k] == FM_NONE) continue;
    fm_sig a = fm_prog_sig(p, from->v[k]), b = fm_prog_sig(p, seed->v[k]);
    if (!fm_shape_eq(&a.shape, &b.shape) || a.dtype != b.dtype)
      bind_fail(L, FM_EUSAGE, "%s: a value %s (%s) has a direction %s (%s), expected the same",
                name, fm_shape_text(&a.shape, s), fm_dtype_name(a.dtype),
                fm_shape_text(&b.shape, t), fm_dtype_name(b.dtype));
  }
}

/* trace:jvp(xs, dxs, ys) -> dys, trace:vjp(ys, dys, xs) -> dxs; false stands for zero */
static int trace_derive(lua_State *L) {
  bool reverse = lua_toboolean(L, lua_upvalueindex(1));
  bind_method_at_most(L, 3);
  lua_settop(L, 4);
  values from = make_values(L, 2), seed = make_values(L, 3), to = make_values(L, 4);
  fm_val *result = lua_newuserdatauv(L, ((size_t)to.n + 1) * sizeof *result, 0);
  trace_box *tr = bind_trace(L, 1);
  read_values(L, tr, &from, false);
  read_values(L, tr, &seed, true);
  read_values(L, tr, &to, false);
  check_seeds(L, tr->p, reverse ? "vjp" : "jvp", &from, &seed);
  fm_err err = reverse ? fm_vjp(tr->p, from.n, from.v, seed.v, to.n, to.v, result)
                       : fm_jvp(tr->p, from.n, from.v, seed.v, to.n, to.v, result);
  if (err != FM_OK) bind_raise(L);
  return push_values(L, result, to.n);
}

/* ------------------------------------------------------------------ executables */

typedef struct exe_box {
  const char *type;
  fm_exe *e;
} exe_box;

static fm_exe *check_exe(lua_State *L) {
  exe_box *b = bind_box(L, 1, exe_type, sizeof *b);
  if (b == NULL) bind_expected(L, 1, "a program");
  if (b->e == NULL) bind_fail(L, FM_EUSAGE, "this program has been closed");
  return b->e;
}

/* Entry k (from 1) of the list at `arg`: a whole number from `low` to `high`. */
static int64_t entry(lua_State *L, int arg, int k, int64_t low, int64_t high, const char *what) {
  int whole = 0;
  lua_rawgeti(L, arg, k);
  int64_t n = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
  lua_pop(L, 1);
  if (!whole || n < low || n > high)
    bind_fail(L, FM_EUSAGE, "program: micro-batch %d has no valid %s, expected %lld to %lld", k,
              what, (long long)low, (long long)high);
  return n;
}

typedef struct sources { /* arguments of the compiler; the arrays are userdata on the stack */
  int nprogs, passes;
  fm_prog **progs;
  fm_micro_batches micro;
} sources;

/* ({traces}, which, row0, passes, bf16): which[k] from 1 on, row0 has one more entry */
static sources read_sources(lua_State *L) {
  int nprogs = bind_list(L, 1, "a list of traces"), n = bind_list(L, 2, "a list of numbers");
  bind_list(L, 3, "a list of numbers");
  int passes = (int)bind_opt_integer(L, 4, FM_PASS_ALL, 0, FM_PASS_ALL | FM_BF16 | FM_SCARCE);
  if (bind_opt_boolean(L, 5, "bf16", false)) passes |= FM_BF16;
  fm_prog **progs = lua_newuserdatauv(L, ((size_t)nprogs + 1) * sizeof *progs, 0);
  int *which = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *which, 0);
  int64_t *row0 = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *row0, 0);
  if (nprogs == 0 || n == 0)
    bind_fail(L, FM_EUSAGE,
              "program: %d traces and %d micro-batches found, expected at least one of each",
              nprogs, n);
  for (int k = 0; k < nprogs; k++) {
    char found[BIND_FOUND];
    lua_rawgeti(L, 1, k + 1);
    const trace_box *tr = bind_box(L, lua_gettop(L), bind_trace_type, sizeof *tr);
    if (tr == NULL || tr->p == NULL)
      bind_fail(L, FM_EUSAGE, "program: trace %d is %s, expected an open trace", k + 1,
                tr ? "closed" : bind_found(L, lua_gettop(L), found));
    progs[k] = tr->p;
    lua_pop(L, 1);
  }
  for (int k = 0; k <= n; k++) {
    if (k < n) which[k] = (int)entry(L, 2, k + 1, 1, nprogs, "trace") - 1;
    row0[k] = entry(L, 3, k + 1, k ? row0[k - 1] : 0, k ? INT64_MAX : 0, "first row");
  }
  return (sources){nprogs, passes, progs, {n, which, row0}};
}

static int exe_new(lua_State *L) { /* core.exe(...), see read_sources */
  lua_settop(L, 5);
  exe_box *b = bind_new_box(L, exe_type, sizeof *b);
  sources s = read_sources(L);
  lua_pushvalue(L, 6);
  if ((b->e = fm_exe_new(bind_ctx(L), s.nprogs, s.progs, &s.micro, s.passes)) == NULL)
    bind_raise(L);
  return 1;
}

/* A text from malloc until it is a string of Lua. */
static const char text_type[] = "flowmap.text";

typedef struct text_box {
  const char *type;
  char *text;
} text_box;

static int text_close(lua_State *L) {
  free(bind_take(L, text_type));
  return 0;
}

/* Returns the text, which the box takes over; raises for NULL. */
static int return_text(lua_State *L, text_box *b, char *text) {
  if (text == NULL) bind_raise(L);
  b->text = text;
  lua_pushstring(L, text);
  b->text = NULL;
  free(text);
  return 1;
}

static int exe_text(lua_State *L) { /* core.program_text(..., pass): what the pass leaves */
  lua_settop(L, 6);
  const char *pass = bind_text(L, 6, NULL);
  text_box *b = bind_new_box(L, text_type, sizeof *b);
  sources s = read_sources(L);
  return return_text(L, b, fm_compile_text(bind_ctx(L), s.nprogs, s.progs, s.passes, pass));
}

static int pass_list(lua_State *L) { /* core.passes(): the table of passes */
  lua_createtable(L, fm_pass_count(), 0);
  for (int k = 0; k < fm_pass_count(); k++) {
    const fm_pass *pass = fm_pass_at(k);
    const char *const field[] = {"name", pass->name, "maps", pass->maps, "doc", pass->doc};
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, pass->switches);
    lua_setfield(L, -2, "switches");
    for (int i = 0; i < 6; i += 2) {
      lua_pushstring(L, field[i + 1]);
      lua_setfield(L, -2, field[i]);
    }
    lua_rawseti(L, -2, k + 1);
  }
  return 1;
}

static int exe_close(lua_State *L) {
  exe_box *b = bind_box(L, 1, exe_type, sizeof *b);
  if (b == NULL) return 0;
  fm_exe *e = b->e;
  b->e = NULL;
  fm_exe_free(e);
  return 0;
}

/* Push the table of outputs: the one at index 5, or a new one. */
static void push_outputs(lua_State *L) {
  const int nout = fm_exe_outs(check_exe(L));
  if (!lua_isnil(L, 5)) {
    if (bind_list(L, 5, "a list of tensors") < nout)
      bind_expected(L, 5, "a list of %d tensors", nout);
    lua_pushvalue(L, 5);
    return;
  }
  lua_createtable(L, nout, 0);
  for (int k = 0; k < nout; k++) {
    fm_merge merge;
    fm_sig sig = fm_exe_out(check_exe(L), k, &merge);
    value *x = bind_push_empty(L);
    bind_own(L, x, fm_tensor_new(bind_ctx(L), sig.dtype, &sig.shape));
    lua_rawseti(L, -2, k + 1);
  }
}

/* Read a job from the five arguments of exe:run({inputs}, seed, step, {outputs} or nil); pushes the
   table of outputs. Nothing may be allocated between this and the run. */
static fm_exe *read_job(lua_State *L, fm_job *job) {
  int nin = fm_exe_ins(check_exe(L)), nout = fm_exe_outs(check_exe(L));
  int found = bind_list(L, 2, "a list of tensors");
  uint64_t seed = (uint64_t)bind_opt_integer(L, 3, 0, INT64_MIN, INT64_MAX);
  uint32_t step = (uint32_t)bind_opt_integer(L, 4, 0, 0, UINT32_MAX);
  fm_tensor **in = lua_newuserdatauv(L, ((size_t)nin + 1) * sizeof(void *), 0);
  fm_tensor **out = lua_newuserdatauv(L, ((size_t)nout + 1) * sizeof(void *), 0);
  if (found != nin) bind_fail(L, FM_EUSAGE, "program: %d inputs found, expected %d", found, nin);
  push_outputs(L);
  for (int k = 0; k < nin; k++) {
    lua_rawgeti(L, 2, k + 1);
    in[k] = bind_entry(L, 2, k + 1, false);
    lua_pop(L, 1);
  }
  for (int k = 0; k < nout; k++) {
    lua_rawgeti(L, -1, k + 1);
    out[k] = bind_entry(L, 5, k + 1, true);
    lua_pop(L, 1);
  }
  *job = (fm_job){seed, step, in, out};
  return check_exe(L);
}

static int exe_run(lua_State *L) {
  fm_job job;
  lua_settop(L, 5);
  fm_exe *e = read_job(L, &job);
  const size_t before = fm_bytes_now(bind_ctx(L));
  if (fm_exe_run(e, &job) != FM_OK) bind_raise(L);
  const size_t now = fm_bytes_now(bind_ctx(L)); /* the first run takes the arenas */
  bind_count(L, now > before ? now - before : 0);
  return 1;
}

static int exe_explain(lua_State *L) {
  fm_job job;
  lua_settop(L, 5);
  text_box *b = bind_new_box(L, text_type, sizeof *b);
  fm_exe *e = read_job(L, &job);
  return return_text(L, b, fm_exe_explain(e, &job));
}

static int exe_stats(lua_State *L) {
  fm_stats s = fm_exe_stats(check_exe(L));
  const struct {
    const char *name;
    double value;
  } field[] = {{"traced", s.traced},     {"executed", s.executed},       {"flops", s.flops},
               {"moved", s.moved},       {"arena", (double)s.arena},     {"sums", (double)s.sums},
               {"once", (double)s.once}, {"ms_optimise", s.ms_optimise}, {"ms_plan", s.ms_plan}};
  lua_newtable(L);
  for (size_t k = 0; k < sizeof field / sizeof *field; k++) {
    lua_pushnumber(L, field[k].value);
    lua_setfield(L, -2, field[k].name);
  }
  return 1;
}

/* Push the costs of steps, each { phase =, part =, kind =, ... } of fm_cost. */
static void push_costs(lua_State *L, const fm_cost *list, int n) {
  static const char *const phases[] = {"prologue", "body", "epilogue"};
  lua_createtable(L, n, 0);
  for (int k = 0; k < n; k++) {
    const fm_cost *c = &list[k];
    lua_createtable(L, 0, 9);
    lua_pushstring(L, phases[c->phase]), lua_setfield(L, -2, "phase");
    lua_pushinteger(L, c->part + 1), lua_setfield(L, -2, "part");
    lua_pushstring(L, c->kind), lua_setfield(L, -2, "kind");
    lua_pushboolean(L, c->bf16), lua_setfield(L, -2, "bf16");
    lua_pushnumber(L, c->flops), lua_setfield(L, -2, "flops");
    lua_pushnumber(L, c->bytes), lua_setfield(L, -2, "bytes");
    lua_pushnumber(L, c->ms), lua_setfield(L, -2, "ms");
    lua_pushinteger(L, c->sum + 1), lua_setfield(L, -2, "sum");
    lua_pushinteger(L, c->values), lua_setfield(L, -2, "values");
    lua_rawseti(L, -2, k + 1);
  }
}

/* exe:costs([{inputs}, seed, step]) -> { steps =, which = body of each micro-batch, leaf = }; with
** inputs the steps are run and timed */
static int exe_costs(lua_State *L) {
  fm_job job;
  const bool timed = !lua_isnoneornil(L, 2);
  lua_settop(L, 5);
  const int steps = fm_exe_steps(check_exe(L));
  fm_cost *list = lua_newuserdatauv(L, ((size_t)steps + 1) * sizeof *list, 0);
  fm_exe *e = timed ? read_job(L, &job) : check_exe(L);
  if (fm_exe_costs(e, timed ? &job : NULL, list) != FM_OK) bind_raise(L);
  const int *which;
  int leaf, n = fm_exe_micros(e, &which, &leaf);
  lua_createtable(L, 0, 3);
  push_costs(L, list, steps);
  lua_setfield(L, -2, "steps");
  lua_createtable(L, n, 0);
  fm_exe_micros(check_exe(L), &which, &leaf); /* again: the allocations may have closed it */
  for (int k = 0; k < n; k++) {
    lua_pushinteger(L, which[k] + 1);
    lua_rawseti(L, -2, k + 1);
  }
  lua_setfield(L, -2, "which");
  lua_pushinteger(L, leaf), lua_setfield(L, -2, "leaf");
  return 1;
}

/* ------------------------------------------------------------------ opening */

/* Add a function to the table on top under two names, with the upvalue false and true. */
static void variants(lua_State *L, lua_CFunction f, const char *off, const char *on) {
  for (int k = 0; k < 2; k++) {
    lua_pushboolean(L, k);
    lua_pushcclosure(L, f, 1);
    lua_setfield(L, -2, k ? on : off);
  }
}

void bind_open_prog(lua_State *L) {
  static const bind_reg trace[] = {{"close", trace_close, 0},     {"input", trace_input, 3},
                                   {"const", trace_const, 1},     {"full", trace_full, 3},
                                   {"dropout", trace_dropout, 4}, {"output", trace_output, 2},
                                   {"count", trace_count, 0},     {NULL, NULL, 0}};
  static const bind_reg exe[] = {{"run", exe_run, 4},     {"explain", exe_explain, 4},
                                 {"stats", exe_stats, 0}, {"costs", exe_costs, 3},
                                 {"close", exe_close, 0}, {NULL, NULL, 0}};
  bind_new_type(L, bind_trace_type, trace, trace_close);
  variants(L, trace_random, "uniform", "normal");
  variants(L, trace_derive, "jvp", "vjp");
  lua_pop(L, 1);
  bind_new_type(L, exe_type, exe, exe_close);
  bind_new_type(L, text_type, NULL, text_close);
  lua_pop(L, 2);
  static const bind_reg functions[] = {{"trace", trace_new, 0},
                                       {"exe", exe_new, 5},
                                       {"program_text", exe_text, 6},
                                       {"passes", pass_list, 0},
                                       {NULL, NULL, 0}};
  bind_set(L, functions);
}
