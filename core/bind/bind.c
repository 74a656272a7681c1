/* bind.c - the Lua module "flowmap.core": its context, its errors, the list of its parts. */
#include "bind.h"
#include "../blas.h"
#include "../utf8.h"

#include <stdio.h>
#include <stdlib.h>

static const char ctx_key = 0; /* registry: the context, in a userdata that frees it */

fm_ctx *bind_ctx(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ctx_key);
  fm_ctx **box = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (box == NULL || *box == NULL) /* called by a finaliser that runs after the library's own */
    bind_fail(L, FM_EUSAGE, "flowmap: the library is closed because Lua is shutting down");
  return *box;
}

static const char *code_name(fm_err err) {
  static const char *const name[] = {"ok", "usage", "data", "numeric", "memory"};
  return name[err];
}

/* Error values are tables {code, message, where} whose text is `where` and `message`. */
static _Noreturn void raise_with(lua_State *L, const char *code, const char *message) {
  char place[BIND_WHERE];
  luaL_checkstack(L, 8, NULL);
  bind_where(L, place);
  lua_createtable(L, 0, 3);
  lua_pushstring(L, code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  lua_pushstring(L, place);
  lua_setfield(L, -2, "where");
  luaL_setmetatable(L, "flowmap.error");
  lua_error(L);
  abort(); /* not reached */
}

static int error_text(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "where");
  lua_getfield(L, 1, "message");
  lua_pushfstring(L, "%s%s", lua_isstring(L, -2) ? lua_tostring(L, -2) : "",
                  lua_isstring(L, -1) ? lua_tostring(L, -1) : "an error without a message");
  return 1;
}

int bind_raise(lua_State *L) {
  fm_ctx *ctx = bind_ctx(L);
  char message[512];
  fm_err code = fm_error_code(ctx);
  snprintf(message, sizeof message, "%s", fm_error(ctx));
  fm_error_clear(ctx);
  if (code == FM_OK) raise_with(L, code_name(FM_ENOMEM), "memory: an allocation failed");
  raise_with(L, code_name(code), message);
}

int bind_fail(lua_State *L, fm_err code, const char *format, ...) {
  char message[512];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  fm_make_printable(message); /* it may quote a name, or be cut within a character */
  raise_with(L, code_name(code), message);
}

_Noreturn void bind_interrupted(lua_State *L) {
  raise_with(L, "interrupted", "interrupted by a signal");
}

static int free_ctx(lua_State *L) {
  fm_ctx **box = lua_touserdata(L, lua_upvalueindex(1)); /* not an argument, which could be any */
  fm_ctx_free(*box);
  *box = NULL;
  return 0;
}

static void open_ctx(lua_State *L) {
  fm_ctx **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  lua_createtable(L, 0, 1);
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, free_ctx, 1);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if ((*box = fm_ctx_new(0)) == NULL) {
    const char *why = fm_blas_init();
    bind_fail(L, FM_ENOMEM, "memory: %s", why ? why : "there is not enough to start");
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, &ctx_key);
}

int luaopen_flowmap_core(lua_State *L);

#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
int luaopen_flowmap_core(lua_State *L) {
  luaL_newmetatable(L, "flowmap.error");
  lua_pushcfunction(L, error_text);
  lua_setfield(L, -2, "__tostring");
  lua_pop(L, 1);
  open_ctx(L); /* first, so that it is closed last: finalisers run in reverse order of marking */
  lua_newtable(L);
  bind_open_args(L);
  bind_open_counterpart(L);
  bind_open_tensor(L);
  bind_open_ops(L);
  bind_open_prog(L);
  bind_open_optim(L);
  bind_open_io(L);
  bind_open_signal(L);
  bind_open_system(L);
  bind_open_check(L);
  bind_open_data(L);
  bind_open_linalg(L);
  bind_open_process(L);
  bind_open_lock(L);
  bind_open_files(L);
  bind_open_ranks(L);
  return 1;
}
