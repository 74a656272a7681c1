/*
** text.c - chunks of Lua are text: the functions of Lua that load them, where the linker cannot
** replace lua_load (see host.c; the linker of macOS). Unlike that, this does not reach luaL_load*
** in C modules.
*/
#include "host.h"

#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#ifdef FM_NO_WRAP

/* The argument `arg` as the mode: "t", or "" if the caller wants bytecode alone. */
static void force_text(lua_State *L, int arg) {
  const char *mode = luaL_optstring(L, arg, "bt");
  if (lua_gettop(L) < arg) lua_settop(L, arg);
  lua_pushstring(L, strchr(mode, 't') ? "t" : "");
  lua_replace(L, arg);
}

/* Calls the original, the upvalue, with all arguments. */
static int call_original(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

static int load(lua_State *L) { /* load(chunk [, name [, mode [, env]]]) */
  force_text(L, 3);
  return call_original(L);
}

static int load_file(lua_State *L) { /* loadfile([file [, mode [, env]]]) */
  force_text(L, 2);
  return call_original(L);
}

static int do_file(lua_State *L) { /* dofile([file]) */
  const char *file = luaL_optstring(L, 1, NULL);
  lua_settop(L, 1);
  if (luaL_loadfilex(L, file, "t") != LUA_OK) return lua_error(L);
  lua_call(L, 0, LUA_MULTRET);
  return lua_gettop(L) - 1;
}

/* The searcher of Lua modules. Upvalue: the table package. */
static int search_text(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  lua_getfield(L, lua_upvalueindex(1), "searchpath");
  lua_pushvalue(L, 1);
  lua_getfield(L, lua_upvalueindex(1), "path");
  lua_call(L, 2, 2);
  if (lua_isnil(L, -2)) return 1; /* why there is no file */
  lua_pop(L, 1);
  const char *file = lua_tostring(L, -1);
  if (luaL_loadfilex(L, file, "t") == LUA_OK) {
    lua_pushstring(L, file);
    return 2;
  }
  return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, file,
                    lua_tostring(L, -1));
}

static void replace(lua_State *L, const char *name, lua_CFunction by) {
  lua_getglobal(L, name);
  lua_pushcclosure(L, by, 1);
  lua_setglobal(L, name);
}

void fm_host_text(lua_State *L) {
  replace(L, "load", load);
  replace(L, "loadfile", load_file);
  replace(L, "dofile", do_file);
  lua_getglobal(L, LUA_LOADLIBNAME);
  lua_getfield(L, -1, "searchers");
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, search_text, 1);
  lua_seti(L, -2, 2);
  lua_pop(L, 2);
}

#else

void fm_host_text(lua_State *L) { (void)L; }

#endif
