/*
** bind_prog.c - traces, derivatives and executables in Lua: the primitives on which
** lua/flowmap/autodiff.lua and program.lua build fm.grad, fm.jvp and fm.program.
*/
#include <stdlib.h>
#include <string.h>

#include "bind.h"

#define FM_EXE "flowmap.exe"

/* ------------------------------------------------------------------ traces */

static int trace_new(lua_State *L) {
  trace_box *tr = lua_newuserdatauv(L, sizeof *tr, 0);
  tr->p = NULL;
  luaL_setmetatable(L, FM_TRACE);
  if ((tr->p = fm_prog_new(bind_ctx(L))) == NULL) bind_raise(L);
  return 1;
}

static int trace_close(lua_State *L) {
  trace_box *tr = luaL_checkudata(L, 1, FM_TRACE);
  fm_prog_free(tr->p);
  tr->p = NULL;
  return 0;
}

static int trace_count(lua_State *L) {
  lua_pushinteger(L, fm_prog_count(bind_trace(L, 1)->p));
  return 1;
}

static int trace_input(lua_State *L) { /* trace:input("shared"|"rows", shape, dtype) */
  trace_box *tr = bind_trace(L, 1);
  fm_sig sig;
  bind_shape(L, 3, &sig.shape);
  sig.dtype = bind_dtype(L, 4, FM_F32);
  fm_role role = strcmp(luaL_checkstring(L, 2), "rows") == 0 ? FM_ROWS : FM_SHARED;
  bind_push_traced(L, 1, fm_input(tr->p, role, &sig));
  return 1;
}

static int trace_const(lua_State *L) { /* trace:const(tensor): an eager value in the trace */
  trace_box *tr = bind_trace(L, 1);
  bind_push_traced(L, 1, bind_lift(L, tr, bind_value(L, 2)));
  return 1;
}

static int trace_random(lua_State *L) { /* trace:uniform(shape, stream, dtype), trace:normal */
  trace_box *tr = bind_trace(L, 1);
  fm_sig sig;
  bind_shape(L, 2, &sig.shape);
  fm_attr a = fm_attr_shape(&sig.shape);
  a.i[7] = bind_stream(L, 3);
  a.f[1] = (double)bind_dtype(L, 4, FM_F32);
  const fm_op *op = lua_toboolean(L, lua_upvalueindex(1)) ? &fm_op_normal : &fm_op_uniform;
  bind_push_traced(L, 1, fm_emit(tr->p, op, 0, NULL, &a));
  return 1;
}

static int trace_dropout(lua_State *L) { /* trace:dropout(shape, rate, stream, dtype) */
  trace_box *tr = bind_trace(L, 1);
  fm_shape s;
  bind_shape(L, 2, &s);
  fm_attr a = fm_attr_shape(&s);
  a.f[0] = luaL_checknumber(L, 3);
  a.i[7] = bind_stream(L, 4);
  a.f[1] = bind_dtype(L, 5, FM_F32) == FM_F64;
  bind_push_traced(L, 1, fm_emit(tr->p, &fm_op_dropout, 0, NULL, &a));
  return 1;
}

static int trace_full(lua_State *L) { /* trace:full(shape, number, dtype) */
  trace_box *tr = bind_trace(L, 1);
  fm_sig sig;
  bind_shape(L, 2, &sig.shape);
  sig.dtype = bind_dtype(L, 4, FM_F32);
  bind_push_traced(L, 1, fm_full(tr->p, sig, luaL_checknumber(L, 3)));
  return 1;
}

static int trace_output(lua_State *L) { /* trace:output(value, "sum"|"rows") */
  trace_box *tr = bind_trace(L, 1);
  fm_val v = bind_lift(L, tr, bind_value(L, 2));
  fm_merge merge = strcmp(luaL_checkstring(L, 3), "rows") == 0 ? FM_STACK : FM_SUM;
  fm_sig sig = fm_prog_sig(tr->p, v);
  if (merge == FM_STACK && sig.shape.nd == 0)
    bind_fail(L, FM_EUSAGE, "program: a `rows` output is a scalar, expected one row per sample");
  if (fm_output(tr->p, v, merge) != FM_OK) bind_raise(L);
  return 0;
}

/* ------------------------------------------------------------------ derivatives */

/* A table of values of the trace; `false` entries are absent. Returns their number. */
static int read_values(lua_State *L, trace_box *tr, int arg, fm_val **list) {
  int n = (int)luaL_len(L, arg);
  *list = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof **list, 0); /* collected by Lua */
  for (int k = 0; k < n; k++) {
    lua_geti(L, arg, k + 1);
    (*list)[k] = lua_toboolean(L, -1) ? bind_lift(L, tr, bind_value(L, lua_gettop(L))) : FM_NONE;
    lua_pop(L, 1);
  }
  return n;
}

static int push_values(lua_State *L, const fm_val *list, int n) {
  lua_createtable(L, n, 0);
  for (int k = 0; k < n; k++) {
    if (list[k] == FM_NONE)
      lua_pushboolean(L, 0);
    else
      bind_push_traced(L, 1, list[k]);
    lua_seti(L, -2, k + 1);
  }
  return 1;
}

/* trace:jvp(xs, dxs, ys) -> dys, trace:vjp(ys, dys, xs) -> dxs; false stands for zero */
static int trace_derive(lua_State *L) {
  trace_box *tr = bind_trace(L, 1);
  bool reverse = lua_toboolean(L, lua_upvalueindex(1));
  lua_settop(L, 4);
  fm_val *from, *seed, *to, *result;
  int nfrom = read_values(L, tr, 2, &from), nseed = read_values(L, tr, 3, &seed);
  int nto = read_values(L, tr, 4, &to);
  if (nfrom != nseed)
    bind_fail(L, FM_EUSAGE, "%s: %d values and %d directions found, expected as many",
              reverse ? "vjp" : "jvp", nfrom, nseed);
  for (int k = 0; k < nfrom; k++) {
    fm_sig a = fm_prog_sig(tr->p, from[k]), b = fm_prog_sig(tr->p, seed[k]);
    char s[96], t[96];
    if (seed[k] != FM_NONE && (!fm_shape_eq(&a.shape, &b.shape) || a.dtype != b.dtype))
      bind_fail(L, FM_EUSAGE, "%s: a value %s (%s) has a direction %s (%s), expected the same",
                reverse ? "vjp" : "jvp", fm_shape_text(&a.shape, s), fm_dtype_name(a.dtype),
                fm_shape_text(&b.shape, t), fm_dtype_name(b.dtype));
  }
  result = lua_newuserdatauv(L, (size_t)(nto + 1) * sizeof *result, 0);
  fm_err err = reverse ? fm_vjp(tr->p, nfrom, from, seed, nto, to, result)
                       : fm_jvp(tr->p, nfrom, from, seed, nto, to, result);
  if (err != FM_OK) bind_raise(L);
  return push_values(L, result, nto);
}

/* ------------------------------------------------------------------ executables */

typedef struct exe_box {
  fm_exe *e;
} exe_box;

static exe_box *check_exe(lua_State *L) {
  exe_box *b = luaL_checkudata(L, 1, FM_EXE);
  if (b->e == NULL) bind_fail(L, FM_EUSAGE, "this program has been closed");
  return b;
}

/* core.exe({traces}, which, row0, passes, bf16): which[k] 1-based, row0 has one more entry */
static int exe_new(lua_State *L) {
  fm_ctx *ctx = bind_ctx(L);
  lua_settop(L, 5);
  int nprogs = (int)luaL_len(L, 1), n = (int)luaL_len(L, 2);
  fm_prog **progs = lua_newuserdatauv(L, (size_t)(nprogs + 1) * sizeof *progs, 0);
  int *which = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *which, 0);
  int64_t *row0 = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *row0, 0);
  for (int k = 0; k < nprogs; k++) {
    lua_geti(L, 1, k + 1);
    progs[k] = bind_trace(L, lua_gettop(L))->p;
    lua_pop(L, 1);
  }
  for (int k = 0; k <= n; k++) {
    if (k < n) {
      lua_geti(L, 2, k + 1);
      which[k] = (int)luaL_checkinteger(L, -1) - 1;
      if (which[k] < 0 || which[k] >= nprogs)
        bind_fail(L, FM_EUSAGE, "program: micro-batch %d has no trace", k + 1);
      lua_pop(L, 1);
    }
    lua_geti(L, 3, k + 1);
    row0[k] = luaL_checkinteger(L, -1);
    lua_pop(L, 1);
  }
  exe_box *b = lua_newuserdatauv(L, sizeof *b, 0);
  b->e = NULL;
  luaL_setmetatable(L, FM_EXE);
  fm_cut cut = {n, which, row0};
  int passes = (int)luaL_optinteger(L, 4, FM_PASS_ALL) | (lua_toboolean(L, 5) ? FM_BF16 : 0);
  b->e = fm_exe_new(ctx, nprogs, progs, &cut, passes);
  if (b->e == NULL) bind_raise(L);
  return 1;
}

static int exe_close(lua_State *L) {
  exe_box *b = luaL_checkudata(L, 1, FM_EXE);
  fm_exe_free(b->e);
  b->e = NULL;
  return 0;
}

/* Fills a job from exe:run({inputs}, seed, step, {outputs} or nil); pushes the table of outputs. */
static void read_job(lua_State *L, fm_exe *e, fm_job *job) {
  int nin = fm_exe_ins(e), nout = fm_exe_outs(e);
  lua_settop(L, 5);
  fm_tensor **in = lua_newuserdatauv(L, (size_t)(nin + 1) * sizeof(void *), 0);
  fm_tensor **out = lua_newuserdatauv(L, (size_t)(nout + 1) * sizeof(void *), 0);
  if (luaL_len(L, 2) != nin)
    bind_fail(L, FM_EUSAGE, "program: %d inputs found, expected %d", (int)luaL_len(L, 2), nin);
  for (int k = 0; k < nin; k++) {
    lua_geti(L, 2, k + 1);
    in[k] = bind_tensor(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  if (lua_istable(L, 5)) {
    lua_pushvalue(L, 5);
  } else {
    lua_createtable(L, nout, 0);
    for (int k = 0; k < nout; k++) {
      fm_merge merge;
      fm_sig sig = fm_exe_out(e, k, &merge);
      bind_push_tensor(L, fm_tensor_new(bind_ctx(L), sig.dtype, &sig.shape));
      lua_seti(L, -2, k + 1);
    }
  }
  for (int k = 0; k < nout; k++) {
    lua_geti(L, -1, k + 1);
    out[k] = bind_tensor(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  *job = (fm_job){(uint64_t)luaL_optinteger(L, 3, 0), (uint32_t)luaL_optinteger(L, 4, 0), in, out};
}

static int exe_run(lua_State *L) {
  fm_job job;
  exe_box *b = check_exe(L);
  read_job(L, b->e, &job);
  if (fm_exe_run(b->e, &job) != FM_OK) bind_raise(L);
  return 1;
}

static int exe_explain(lua_State *L) {
  fm_job job;
  exe_box *b = check_exe(L);
  read_job(L, b->e, &job);
  char *text = fm_exe_explain(b->e, &job);
  lua_pushstring(L, text ? text : "");
  free(text);
  return 1;
}

static int exe_stats(lua_State *L) {
  fm_stats s = fm_exe_stats(check_exe(L)->e);
  const struct {
    const char *name;
    double value;
  } field[] = {{"traced", s.traced},     {"executed", s.executed},       {"flops", s.flops},
               {"moved", s.moved},       {"arena", (double)s.arena},     {"lanes", (double)s.lanes},
               {"once", (double)s.once}, {"ms_optimise", s.ms_optimise}, {"ms_plan", s.ms_plan}};
  lua_newtable(L);
  for (size_t k = 0; k < sizeof field / sizeof *field; k++) {
    lua_pushnumber(L, field[k].value);
    lua_setfield(L, -2, field[k].name);
  }
  return 1;
}

/* ------------------------------------------------------------------ opening */

static void new_type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, methods, 0);
  lua_pushcfunction(L, gc);
  lua_setfield(L, -2, "__gc");
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
}

static void variants(lua_State *L, lua_CFunction f, const char *off, const char *on) {
  for (int k = 0; k < 2; k++) {
    lua_pushboolean(L, k);
    lua_pushcclosure(L, f, 1);
    lua_setfield(L, -2, k ? on : off);
  }
}

void bind_open_prog(lua_State *L) {
  static const luaL_Reg trace[] = {{"close", trace_close},     {"input", trace_input},
                                   {"const", trace_const},     {"full", trace_full},
                                   {"dropout", trace_dropout}, {"output", trace_output},
                                   {"count", trace_count},     {NULL, NULL}};
  static const luaL_Reg exe[] = {{"run", exe_run},
                                 {"explain", exe_explain},
                                 {"stats", exe_stats},
                                 {"close", exe_close},
                                 {NULL, NULL}};
  new_type(L, FM_TRACE, trace, trace_close);
  variants(L, trace_random, "uniform", "normal");
  variants(L, trace_derive, "jvp", "vjp");
  lua_pop(L, 1);
  new_type(L, FM_EXE, exe, exe_close);
  lua_pop(L, 1);
  lua_pushcfunction(L, trace_new);
  lua_setfield(L, -2, "trace");
  lua_pushcfunction(L, exe_new);
  lua_setfield(L, -2, "exe");
}
