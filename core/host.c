/* host.c - see host.h. */
#include "host.h"

#include <lauxlib.h>
#include <locale.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ text, never bytecode */

/*
** Lua verifies no bytecode: a mutated chunk makes the interpreter read and write anywhere. All ways
** to load a chunk (load, loadfile, dofile, require, luaL_load* in a C module) lead to lua_load, and
** the linker (--wrap=lua_load) leads them here.
*/
int __real_lua_load(lua_State *L, lua_Reader reader, void *data, const char *name,
                    const char *mode);
int __wrap_lua_load(lua_State *L, lua_Reader reader, void *data, const char *name,
                    const char *mode);

int __wrap_lua_load(lua_State *L, lua_Reader reader, void *data, const char *name,
                    const char *mode) {
  const char *text = mode == NULL || strchr(mode, 't') ? "t" : ""; /* "": neither of them */
  return __real_lua_load(L, reader, data, name, text);
}

/* ------------------------------------------------------------------ numbers have dots */

/*
** os.setlocale for the categories that change neither how numbers are read and written (numeric)
** nor how names are sorted and told apart (collate, ctype): results do not depend on a locale.
** Others stay "C": nil, which is what os.setlocale returns for what cannot be.
*/
static int set_locale(lua_State *L) {
  static const int category[] = {LC_ALL, LC_COLLATE, LC_CTYPE, LC_MONETARY, LC_NUMERIC, LC_TIME};
  static const char *const name[] = {"all",     "collate", "ctype", "monetary",
                                     "numeric", "time",    NULL};
  const char *want = luaL_optstring(L, 1, NULL);
  int which = category[luaL_checkoption(L, 2, "all", name)];
  bool plain = want == NULL || strcmp(want, "C") == 0 || strcmp(want, "POSIX") == 0;
  if (plain || which == LC_TIME || which == LC_MONETARY)
    lua_pushstring(L, setlocale(which, want));
  else
    luaL_pushfail(L);
  return 1;
}

/* ------------------------------------------------------------------ debug */

/* debug.setupvalue for Lua functions: what a C function keeps is its own. */
static int set_upvalue(lua_State *L) {
  luaL_checkany(L, 3);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_Integer n = luaL_checkinteger(L, 2);
  if (lua_iscfunction(L, 1) || n < 1 || n > 255) return 0;
  const char *name = lua_setupvalue(L, 1, (int)n);
  if (name == NULL) return 0;
  lua_pushstring(L, name);
  return 1;
}

/* debug.getmetatable that respects the lock (__metatable) of a userdata: its finaliser is ours. */
static int get_metatable(lua_State *L) {
  luaL_checkany(L, 1);
  if (lua_type(L, 1) == LUA_TUSERDATA && luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
    return 1;
  if (!lua_getmetatable(L, 1)) luaL_pushfail(L);
  return 1;
}

/* C functions trust their stack, the metatables of their values, and the registry. */
static void restrict_debug(lua_State *L) {
  static const char *const gone[] = {"getregistry", "setlocal", "setmetatable", "setuservalue"};
  lua_getglobal(L, LUA_DBLIBNAME);
  for (size_t k = 0; k < sizeof gone / sizeof *gone; k++) {
    lua_pushnil(L);
    lua_setfield(L, -2, gone[k]);
  }
  lua_pushcfunction(L, get_metatable);
  lua_setfield(L, -2, "getmetatable");
  lua_pushcfunction(L, set_upvalue);
  lua_setfield(L, -2, "setupvalue");
  lua_pop(L, 1);
}

/* ------------------------------------------------------------------ where modules are found */

/* package[field] = own folders, Lua's default, the environment's. The environment comes last: it
   is often written for another program, and without ";;" it would hide what flowmap needs. */
static void set_path(lua_State *L, const char *field, const char *own, const char *variable) {
  lua_getglobal(L, LUA_LOADLIBNAME);
  const char *extra = getenv(lua_pushfstring(L, "%s_5_4", variable));
  if (extra == NULL) extra = getenv(variable);
  lua_getfield(L, -2, field);
  lua_pushfstring(L, "%s%s;", own, lua_tostring(L, -1));
  lua_pushstring(L, luaL_gsub(L, extra ? extra : "", ";;", ";"));
  lua_remove(L, -2);
  lua_concat(L, 2);
  lua_setfield(L, -4, field);
  lua_pop(L, 3);
}

void fm_host_open(lua_State *L, const char *root) {
  lua_pushboolean(L, true);
  lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV"); /* set_path reads the environment */
  luaL_openlibs(L);
  lua_pushfstring(L, "%s/lua/?.lua;%s/lua/?/init.lua;", root, root);
  set_path(L, "path", lua_tostring(L, -1), "LUA_PATH");
  set_path(L, "cpath", "", "LUA_CPATH");
  lua_pop(L, 1);
  restrict_debug(L);
  lua_getglobal(L, LUA_OSLIBNAME);
  lua_pushcfunction(L, set_locale);
  lua_setfield(L, -2, "setlocale");
  lua_pop(L, 1);
}
