/* bind_system.c - optimisers, files, threads, clock and signals in Lua. */
#define _POSIX_C_SOURCE 200809L
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bind.h"
#include "blas.h"
#include "io.h"
#include "kernels/isa.h"
#include "kernels/peak.h"

#define FM_OPTIM "flowmap.optim"

/* ------------------------------------------------------------------ optimisers */

typedef struct optim_box {
  fm_optim *o;
  int n;
} optim_box;

static double field(lua_State *L, int arg, const char *name, double otherwise) {
  lua_getfield(L, arg, name);
  if (!lua_isnil(L, -1) && !lua_isnumber(L, -1))
    bind_fail(L, FM_EUSAGE, "optimiser: %s is a %s, expected a number", name, luaL_typename(L, -1));
  double x = lua_isnil(L, -1) ? otherwise : lua_tonumber(L, -1);
  lua_pop(L, 1);
  return x;
}

static fm_tensor **read_tensors(lua_State *L, int arg, int *n) {
  *n = (int)luaL_len(L, arg);
  fm_tensor **list = lua_newuserdatauv(L, (size_t)(*n + 1) * sizeof *list, 0);
  for (int k = 0; k < *n; k++) {
    lua_geti(L, arg, k + 1);
    list[k] = bind_tensor(L, lua_gettop(L));
    lua_pop(L, 1);
  }
  return list;
}

static int optim_new(lua_State *L) { /* core.optim({conf}, {params}) */
  fm_optim_conf c = {.kind = FM_RADAM};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "kind");
  const char *kind = luaL_optstring(L, -1, "radam");
  if (strcmp(kind, "adamw") == 0)
    c.kind = FM_ADAMW;
  else if (strcmp(kind, "radam") != 0)
    bind_fail(L, FM_EUSAGE, "optimiser: kind '%s' found, expected 'radam' or 'adamw'", kind);
  c.b1 = field(L, 1, "b1", 0.9);
  c.b2 = field(L, 1, "b2", 0.999);
  c.eps = field(L, 1, "eps", 1e-8);
  c.weight_decay = field(L, 1, "weight_decay", 0);
  c.clip = field(L, 1, "clip", 0);
  lua_getfield(L, 1, "ema");
  lua_Integer nema = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
  if (nema > FM_MAX_EMA)
    bind_fail(L, FM_EUSAGE, "optimiser: %d averages found, expected at most %d", (int)nema,
              FM_MAX_EMA);
  c.nema = (int)nema;
  for (int k = 0; k < c.nema; k++) {
    lua_geti(L, -1, k + 1);
    c.ema[k] = luaL_checknumber(L, -1);
    lua_pop(L, 1);
  }
  int n;
  fm_tensor **params = read_tensors(L, 2, &n);
  optim_box *b = lua_newuserdatauv(L, sizeof *b, 0);
  *b = (optim_box){NULL, n};
  luaL_setmetatable(L, FM_OPTIM);
  if ((b->o = fm_optim_new(bind_ctx(L), &c, n, params)) == NULL) bind_raise(L);
  return 1;
}

static optim_box *check_optim(lua_State *L) { return luaL_checkudata(L, 1, FM_OPTIM); }

static int optim_free(lua_State *L) {
  optim_box *b = check_optim(L);
  fm_optim_free(b->o);
  b->o = NULL;
  return 0;
}

static int optim_update(lua_State *L) { /* o:update({grads}, lr, scale) -> norm before clipping */
  optim_box *b = check_optim(L);
  int n;
  double norm, lr = luaL_checknumber(L, 3), scale = luaL_optnumber(L, 4, 1);
  fm_tensor **grads = read_tensors(L, 2, &n);
  if (n != b->n) bind_fail(L, FM_EUSAGE, "optimiser: %d gradients found, expected %d", n, b->n);
  if (fm_optim_update(b->o, grads, lr, scale, &norm) != FM_OK) bind_raise(L);
  lua_pushnumber(L, norm);
  return 1;
}

static int optim_state(lua_State *L) { /* o:state(what): list of tensors; 0 m, 1 v, 2.. averages */
  optim_box *b = check_optim(L);
  int what = (int)luaL_checkinteger(L, 2);
  lua_createtable(L, b->n, 0);
  for (int k = 0; k < b->n; k++) {
    fm_tensor *t = fm_optim_state(b->o, what, k);
    if (t == NULL) bind_fail(L, FM_EUSAGE, "optimiser: it has no state number %d", what);
    bind_push_tensor(L, fm_tensor_keep(t));
    lua_seti(L, -2, k + 1);
  }
  return 1;
}

static int optim_steps(lua_State *L) { /* o:steps([set]) */
  optim_box *b = check_optim(L);
  if (!lua_isnoneornil(L, 2)) fm_optim_set_steps(b->o, luaL_checkinteger(L, 2));
  lua_pushinteger(L, fm_optim_steps(b->o));
  return 1;
}

void bind_open_optim(lua_State *L) {
  static const luaL_Reg methods[] = {{"update", optim_update},
                                     {"state", optim_state},
                                     {"steps", optim_steps},
                                     {"__gc", optim_free},
                                     {NULL, NULL}};
  luaL_newmetatable(L, FM_OPTIM);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_pushcfunction(L, optim_new);
  lua_setfield(L, -2, "optim");
}

/* ------------------------------------------------------------------ files */

/* What is written has numbers with dots, and parameters in the order of their bytes. The program
   sees to it (core/host.c); in a Lua of somebody else's the locale may be any. */
static void check_locale(lua_State *L, const char *what) {
  const char *collate = setlocale(LC_COLLATE, NULL), *point = localeconv()->decimal_point;
  if (strcmp(point, ".") == 0 && (strncmp(collate, "C", 1) == 0 || strcmp(collate, "POSIX") == 0))
    return;
  bind_fail(L, FM_EUSAGE,
            "%s: the locale writes 1%s5 for one and a half and sorts as '%s', expected "
            "os.setlocale('C', 'numeric') and os.setlocale('C', 'collate')",
            what, point, collate);
}

static int save_safetensors(lua_State *L) { /* (path, {name = tensor}, {key = text}, keep) */
  const char *path = luaL_checkstring(L, 1);
  int n = 0, m = 0;
  check_locale(L, "save_safetensors");
  luaL_checktype(L, 2, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) n++;
  if (lua_istable(L, 3))
    for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) m++;
  fm_named *tensors = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *tensors, 0);
  fm_pair *meta = lua_newuserdatauv(L, (size_t)(m + 1) * sizeof *meta, 0);
  n = m = 0;
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      bind_fail(L, FM_EUSAGE, "save_safetensors: a tensor without a name found");
    tensors[n++] = (fm_named){lua_tostring(L, -2), bind_tensor(L, lua_gettop(L))};
  }
  if (lua_istable(L, 3))
    for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
      if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
        bind_fail(L, FM_EUSAGE, "save_safetensors: metadata are texts by name");
      meta[m++] = (fm_pair){lua_tostring(L, -2), lua_tostring(L, -1)};
    }
  bool keep = lua_isnoneornil(L, 4) || lua_toboolean(L, 4);
  if (fm_save_safetensors(bind_ctx(L), path, n, tensors, m, meta, keep) != FM_OK) bind_raise(L);
  return 0;
}

static int load_safetensors(lua_State *L) { /* (path) -> {name = tensor}, {key = text} */
  fm_ckpt c;
  if (fm_load_safetensors(bind_ctx(L), luaL_checkstring(L, 1), &c) != FM_OK) bind_raise(L);
  lua_createtable(L, 0, c.n);
  for (int k = 0; k < c.n; k++) {
    bind_push_tensor(L, fm_tensor_keep(c.tensors[k].tensor));
    lua_setfield(L, -2, c.tensors[k].name);
  }
  lua_createtable(L, 0, c.nmeta);
  for (int k = 0; k < c.nmeta; k++) {
    lua_pushstring(L, c.meta[k].value);
    lua_setfield(L, -2, c.meta[k].key);
  }
  fm_ckpt_free(&c);
  return 2;
}

static int save_npy(lua_State *L) {
  if (fm_save_npy(bind_ctx(L), luaL_checkstring(L, 1), bind_tensor(L, 2)) != FM_OK) bind_raise(L);
  return 0;
}

static int load_npy(lua_State *L) {
  fm_tensor *t = NULL;
  if (fm_load_npy(bind_ctx(L), luaL_checkstring(L, 1), &t) != FM_OK) bind_raise(L);
  bind_push_tensor(L, t);
  return 1;
}

static int write_file(lua_State *L) { /* (path, text): the old file or the whole new one */
  size_t n;
  const char *text = luaL_checklstring(L, 2, &n);
  check_locale(L, "write_file");
  if (fm_write_file(bind_ctx(L), luaL_checkstring(L, 1), text, n, false) != FM_OK) bind_raise(L);
  return 0;
}

static int sha256(lua_State *L) { /* of a text */
  size_t n;
  const char *text = luaL_checklstring(L, 1, &n);
  char hex[65];
  fm_sha256(text, n, hex);
  lua_pushstring(L, hex);
  return 1;
}

static int sha256_file(lua_State *L) {
  char hex[65];
  if (fm_sha256_file(bind_ctx(L), luaL_checkstring(L, 1), hex) != FM_OK) bind_raise(L);
  lua_pushstring(L, hex);
  return 1;
}

void bind_open_io(lua_State *L) {
  static const luaL_Reg functions[] = {{"save_safetensors", save_safetensors},
                                       {"load_safetensors", load_safetensors},
                                       {"save_npy", save_npy},
                                       {"load_npy", load_npy},
                                       {"write_file", write_file},
                                       {"sha256", sha256},
                                       {"sha256_file", sha256_file},
                                       {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}

/* ------------------------------------------------------------------ system */

static volatile sig_atomic_t signals;

static void on_signal(int sig) {
  (void)sig;
  signals++;
}

static int watch_signals(lua_State *L) { /* from now on SIGINT and SIGTERM are only counted */
  struct sigaction a;
  (void)L;
  memset(&a, 0, sizeof a);
  a.sa_handler = on_signal;
  sigaction(SIGINT, &a, NULL);
  sigaction(SIGTERM, &a, NULL);
  return 0;
}

static int interrupted(lua_State *L) {
  lua_pushboolean(L, signals > 0);
  return 1;
}

static int clock_now(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(L, (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
  return 1;
}

static int is_tty(lua_State *L) { /* isatty([1 or 2]) */
  lua_pushboolean(L, isatty((int)luaL_optinteger(L, 1, STDERR_FILENO)));
  return 1;
}

static int set_threads(lua_State *L) {
  if (fm_set_threads(bind_ctx(L), (int)luaL_checkinteger(L, 1)) != FM_OK) bind_raise(L);
  return 0;
}

static int set_isa(lua_State *L) { /* set_isa(name) -> the name in use; for tests */
  const char *name = luaL_checkstring(L, 1);
  for (int k = 0; k < FM_NISA; k++)
    if (strcmp(fm_isa_name(k), name) == 0) {
      lua_pushstring(L, fm_isa_name(fm_set_isa(k)));
      return 1;
    }
  return bind_fail(L, FM_EUSAGE, "instruction set '%s' found, expected scalar, avx2 or avx512",
                   name);
}

static int info(lua_State *L) {
  fm_ctx *ctx = bind_ctx(L);
  lua_newtable(L);
  lua_pushstring(L, FM_VERSION);
  lua_setfield(L, -2, "version");
  lua_pushstring(L, fm_isa_name(fm_isa()));
  lua_setfield(L, -2, "isa");
  lua_pushstring(L, fm_bf16_native() ? "avx512_bf16" : "emulated");
  lua_setfield(L, -2, "bfloat16");
  lua_pushstring(L, fm_blas_name());
  lua_setfield(L, -2, "blas");
  lua_pushinteger(L, fm_threads(ctx));
  lua_setfield(L, -2, "threads");
  lua_pushinteger(L, (lua_Integer)fm_bytes_now(ctx));
  lua_setfield(L, -2, "bytes");
  lua_pushinteger(L, (lua_Integer)fm_bytes_peak(ctx));
  lua_setfield(L, -2, "peak");
  return 1;
}

typedef struct peak_job {
  int64_t rounds;
  double flops[256];
} peak_job;

static void peak_task(void *arg, int task) {
  peak_job *job = arg;
  job->flops[task] = fm_peak_flops(job->rounds);
}

/* peak([threads]) -> float32 multiply-add FLOP/s of that many threads; about 20 ms of work each */
static int peak(lua_State *L) {
  fm_ctx *ctx = bind_ctx(L);
  int n = (int)luaL_optinteger(L, 1, fm_threads(ctx));
  if (n < 1 || n > fm_threads(ctx))
    bind_fail(L, FM_EUSAGE, "peak: %d threads found, expected 1 to %d", n, fm_threads(ctx));
  peak_job job = {.rounds = 10000000};
  struct timespec a, b;
  double flops = 0;
  clock_gettime(CLOCK_MONOTONIC, &a);
  fm_parallel(ctx, n, peak_task, &job);
  clock_gettime(CLOCK_MONOTONIC, &b);
  for (int k = 0; k < n; k++) flops += job.flops[k];
  lua_pushnumber(L,
                 flops / ((double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9));
  return 1;
}

static int pid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

void bind_open_system(lua_State *L) {
  static const luaL_Reg functions[] = {{"info", info},
                                       {"set_threads", set_threads},
                                       {"clock", clock_now},
                                       {"isatty", is_tty},
                                       {"interrupted", interrupted},
                                       {"watch_signals", watch_signals},
                                       {"set_isa", set_isa},
                                       {"pid", pid},
                                       {"peak", peak},
                                       {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
