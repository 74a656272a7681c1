/* system.c - file formats, hashes, threads, the clock and facts about the machine, in Lua. */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <locale.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bind.h"
#include "../blas.h"
#include "../io/io.h"
#include "../kernels/isa.h"
#include "../kernels/peak.h"
#include "../processors.h"

/* ------------------------------------------------------------------ files */

/* Written files need a decimal point and names sorted by bytes. In the program, core/bind/host.c
   guarantees both; in another host the locale may be any. */
static void check_locale(lua_State *L, const char *what) {
  const char *collate = setlocale(LC_COLLATE, NULL), *point = localeconv()->decimal_point;
  if (strcmp(point, ".") == 0 && (strncmp(collate, "C", 1) == 0 || strcmp(collate, "POSIX") == 0))
    return;
  bind_fail(L, FM_EUSAGE,
            "%s: the locale writes 1%s5 for one and a half and sorts as '%s', expected "
            "os.setlocale('C', 'numeric') and os.setlocale('C', 'collate')",
            what, point, collate);
}

/* The number of entries of the table at `arg`, 0 if absent. */
static int count_entries(lua_State *L, int arg) {
  int n = 0;
  if (lua_isnoneornil(L, arg)) return 0;
  bind_table(L, arg, "a table by name");
  for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) n++;
  return n;
}

/* The key at index -2, which becomes a name in a file. */
static const char *name_of(lua_State *L) {
  char found[BIND_FOUND];
  size_t n = 0;
  const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &n) : NULL;
  if (name == NULL)
    bind_fail(L, FM_EUSAGE, "save_safetensors: a name is %s, expected a string",
              bind_found(L, -2, found));
  if (strlen(name) != n)
    bind_fail(L, FM_EUSAGE, "save_safetensors: the name '%.40s' has a zero byte", name);
  return name;
}

static const char *meta_of(lua_State *L) {
  char found[BIND_FOUND];
  size_t n = 0;
  const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &n) : NULL;
  if (text == NULL)
    bind_fail(L, FM_EUSAGE, "save_safetensors: the metadata '%.40s' is %s, expected a string",
              name_of(L), bind_found(L, -1, found));
  if (strlen(text) != n)
    bind_fail(L, FM_EUSAGE, "save_safetensors: the metadata '%.40s' has a zero byte", name_of(L));
  return text;
}

static fm_tensor *tensor_of(lua_State *L) {
  char found[BIND_FOUND];
  const value *x = bind_test(L, -1);
  if (x == NULL || x->t == NULL)
    bind_fail(L, FM_EUSAGE, "save_safetensors: '%.40s' is %s, expected a tensor", name_of(L),
              bind_found(L, -1, found));
  return x->t;
}

static int save_safetensors(lua_State *L) { /* (path, {name = tensor}, {key = string}, keep) */
  lua_settop(L, 4);
  const char *path = bind_path(L, 1);
  check_locale(L, "save_safetensors");
  if (!lua_istable(L, 2)) bind_expected(L, 2, "a table of tensors by name");
  const int most = count_entries(L, 2), mostmeta = count_entries(L, 3);
  fm_named *tensors = lua_newuserdatauv(L, ((size_t)most + 1) * sizeof *tensors, 0);
  fm_pair *meta = lua_newuserdatauv(L, ((size_t)mostmeta + 1) * sizeof *meta, 0);
  int n = 0, m = 0;
  for (lua_pushnil(L); n < most && lua_next(L, 2); lua_pop(L, 1))
    tensors[n++] = (fm_named){name_of(L), tensor_of(L)};
  lua_settop(L, 6);
  for (lua_pushnil(L); m < mostmeta && lua_next(L, 3); lua_pop(L, 1))
    meta[m++] = (fm_pair){name_of(L), meta_of(L)};
  const bool keep = bind_opt_boolean(L, 4, "keep", true);
  if (fm_save_safetensors(bind_ctx(L), path, n, tensors, m, meta, keep) != FM_OK) bind_raise(L);
  return 0;
}

/* The contents of a file, held here until all of them are in Lua's tables. */
static const char contents_type[] = "flowmap.contents";

typedef struct contents {
  const char *type;
  fm_ckpt c;
} contents;

static int contents_close(lua_State *L) {
  contents *b = bind_box(L, 1, contents_type, sizeof *b);
  if (b) fm_ckpt_free(&b->c);
  return 0;
}

static int load_safetensors(lua_State *L) { /* (path) -> {name = tensor}, {key = string} */
  fm_ckpt *c = &((contents *)bind_new_box(L, contents_type, sizeof(contents)))->c;
  if (fm_load_safetensors(bind_ctx(L), bind_path(L, 1), c) != FM_OK) bind_raise(L);
  lua_createtable(L, 0, c->n);
  for (int k = 0; k < c->n; k++) {
    value *x = bind_push_empty(L);
    bind_own(L, x, fm_tensor_keep(c->tensors[k].tensor));
    lua_setfield(L, -2, c->tensors[k].name);
  }
  lua_createtable(L, 0, c->nmeta);
  for (int k = 0; k < c->nmeta; k++) {
    lua_pushstring(L, c->meta[k].value);
    lua_setfield(L, -2, c->meta[k].key);
  }
  fm_ckpt_free(c);
  return 2;
}

static int save_npy(lua_State *L) {
  if (fm_save_npy(bind_ctx(L), bind_path(L, 1), bind_tensor(L, 2)) != FM_OK) bind_raise(L);
  return 0;
}

static int load_npy(lua_State *L) {
  value *x = bind_push_empty(L);
  fm_tensor *t = NULL;
  if (fm_load_npy(bind_ctx(L), bind_path(L, 1), &t) != FM_OK) bind_raise(L);
  bind_own(L, x, t);
  return 1;
}

static int write_file(lua_State *L) { /* (path, string), atomically */
  size_t n;
  const char *text = bind_text(L, 2, &n);
  check_locale(L, "write_file");
  if (fm_write_file(bind_ctx(L), bind_path(L, 1), text, n, false) != FM_OK) bind_raise(L);
  return 0;
}

static int sha256(lua_State *L) { /* of a string, in hexadecimal */
  size_t n;
  const char *text = bind_text(L, 1, &n);
  char hex[65];
  fm_sha256(text, n, hex);
  lua_pushstring(L, hex);
  return 1;
}

static int sha256_file(lua_State *L) {
  char hex[65];
  if (fm_sha256_file(bind_ctx(L), bind_path(L, 1), hex) != FM_OK) bind_raise(L);
  lua_pushstring(L, hex);
  return 1;
}

void bind_open_io(lua_State *L) {
  static const bind_reg functions[] = {{"save_safetensors", save_safetensors, 4},
                                       {"load_safetensors", load_safetensors, 1},
                                       {"save_npy", save_npy, 2},
                                       {"load_npy", load_npy, 1},
                                       {"write_file", write_file, 2},
                                       {"sha256", sha256, 1},
                                       {"sha256_file", sha256_file, 1},
                                       {NULL, NULL, 0}};
  bind_set(L, functions);
  bind_new_type(L, contents_type, NULL, contents_close);
  lua_pop(L, 1);
}

/* ------------------------------------------------------------------ system */

static int clock_now(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(L, (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
  return 1;
}

static int is_tty(lua_State *L) { /* isatty([1 or 2]) */
  lua_pushboolean(L, isatty((int)bind_opt_integer(L, 1, STDERR_FILENO, 0, INT_MAX)));
  return 1;
}

static int set_threads(lua_State *L) {
  const int64_t n = bind_integer(L, 1, INT64_MIN, INT64_MAX); /* the core checks the range */
  if (fm_set_threads(bind_ctx(L), n > 0 && n < INT_MAX ? (int)n : 0) != FM_OK) bind_raise(L);
  return 0;
}

static int set_isa(lua_State *L) { /* set_isa(name) -> the name in use; for tests */
  const char *names[FM_NISA + 1] = {NULL};
  for (int k = 0; k < FM_NISA; k++) names[k] = fm_isa_name(k);
  lua_pushstring(L, fm_isa_name(fm_set_isa(bind_option(L, 1, names))));
  return 1;
}

static int info(lua_State *L) {
  fm_ctx *ctx = bind_ctx(L);
  lua_newtable(L);
  lua_pushstring(L, FM_VERSION);
  lua_setfield(L, -2, "version");
  lua_pushstring(L, fm_isa_name(fm_isa()));
  lua_setfield(L, -2, "isa");
  lua_pushstring(L, fm_bf16_name());
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
  double flops[FM_MAX_THREADS];
} peak_job;

static void peak_task(void *arg, int task) {
  peak_job *job = arg;
  job->flops[task] = fm_peak_flops(job->rounds);
}

/* peak([threads]) -> float32 multiply-add FLOP/s of that many threads, measured in about 20 ms */
static int peak(lua_State *L) {
  fm_ctx *ctx = bind_ctx(L);
  const int n = (int)bind_opt_integer(L, 1, fm_threads(ctx), 1, fm_threads(ctx));
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
  static const bind_reg functions[] = {{"info", info, 0},       {"set_threads", set_threads, 1},
                                       {"clock", clock_now, 0}, {"isatty", is_tty, 1},
                                       {"set_isa", set_isa, 1}, {"pid", pid, 0},
                                       {"peak", peak, 1},       {NULL, NULL, 0}};
  bind_set(L, functions);
}
