/* bind.c - the Lua module "flowmap.core": its context, its errors, its parts. */
#include "bind.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char ctx_key = 0; /* registry: the context, in a userdata that frees it */

fm_ctx *bind_ctx(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ctx_key);
  fm_ctx **box = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return *box;
}

static const char *code_name(fm_err err) {
  static const char *const name[] = {"ok", "usage", "data", "numeric", "memory"};
  return name[err];
}

/* Error values are tables {code, message} that show as their message. */
static _Noreturn void raise_with(lua_State *L, fm_err code, const char *message) {
  lua_createtable(L, 0, 2);
  lua_pushstring(L, code_name(code));
  lua_setfield(L, -2, "code");
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  luaL_setmetatable(L, "flowmap.error");
  lua_error(L);
  abort(); /* not reached */
}

static int error_text(lua_State *L) {
  lua_getfield(L, 1, "message");
  return 1;
}

int bind_raise(lua_State *L) {
  fm_ctx *ctx = bind_ctx(L);
  char message[512];
  fm_err code = fm_error_code(ctx);
  snprintf(message, sizeof message, "%s", fm_error(ctx));
  fm_error_clear(ctx);
  raise_with(L, code == FM_OK ? FM_ENOMEM : code, message);
}

int bind_fail(lua_State *L, fm_err code, const char *format, ...) {
  char message[512];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  raise_with(L, code, message);
}

static int free_ctx(lua_State *L) {
  fm_ctx **box = lua_touserdata(L, 1);
  fm_ctx_free(*box);
  *box = NULL;
  return 0;
}

static void open_ctx(lua_State *L) {
  fm_ctx **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = NULL;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, free_ctx);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if ((*box = fm_ctx_new(0)) == NULL) luaL_error(L, "flowmap: no memory for a context");
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
  open_ctx(L); /* closed last: userdata are collected in reverse order of their marking */
  lua_newtable(L);
  bind_open_tensor(L);
  bind_open_ops(L);
  bind_open_prog(L);
  bind_open_optim(L);
  bind_open_io(L);
  bind_open_system(L);
  bind_open_check(L);
  bind_open_data(L);
  bind_open_linalg(L);
  bind_open_process(L);
  bind_open_lock(L);
  bind_open_files(L);
  return 1;
}
