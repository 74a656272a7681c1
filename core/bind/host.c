/* host.c - the changes of host.h to the embedded Lua: bytecode, locale, debug, modules, os.exit. */
#define _POSIX_C_SOURCE 200809L
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <locale.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bind.h"

/* ------------------------------------------------------------------ text, never bytecode */

/*
** Lua does not verify bytecode: a corrupted chunk makes the interpreter read and write anywhere.
** All ways to load a chunk (load, loadfile, dofile, require, luaL_load* in a C module) call
** lua_load, which the linker (--wrap=lua_load) replaces by the function below. The linker of macOS
** has no such option: text.c does there what it can.
*/
#ifndef FM_NO_WRAP
int __real_lua_load(lua_State *L, lua_Reader reader, void *data, const char *name,
                    const char *mode);
int __wrap_lua_load(lua_State *L, lua_Reader reader, void *data, const char *name,
                    const char *mode);

int __wrap_lua_load(lua_State *L, lua_Reader reader, void *data, const char *name,
                    const char *mode) {
  const char *text = mode == NULL || strchr(mode, 't') ? "t" : ""; /* "": neither kind */
  return __real_lua_load(L, reader, data, name, text);
}
#endif

/* ------------------------------------------------------------------ locale */

/*
** os.setlocale, restricted so that results do not depend on a locale: the categories that affect
** the format of numbers (numeric) and the order and classes of characters (collate, ctype) stay
** "C". For a refused change it returns nil, as Lua's does for an impossible one.
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

/* debug.setupvalue, for Lua functions only: C functions rely on their upvalues. */
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

/* debug.getmetatable, which here respects __metatable of userdata to protect their finalisers. */
static int get_metatable(lua_State *L) {
  luaL_checkany(L, 1);
  if (lua_type(L, 1) == LUA_TUSERDATA && luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
    return 1;
  if (!lua_getmetatable(L, 1)) luaL_pushfail(L);
  return 1;
}

/* C functions rely on their locals, the metatables of their values, and the registry. */
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

/* ------------------------------------------------------------------ finding modules */

enum entries { ELSEWHERE = 1, HERE = 2, ALL = ELSEWHERE | HERE };

/* Push the entries of a path, those in the current folder or the others; each ends in ";". */
static void push_entries(lua_State *L, const char *path, enum entries which) {
  luaL_Buffer out;
  luaL_buffinit(L, &out);
  for (const char *at = path, *end; *at != '\0'; at = *end ? end + 1 : end) {
    end = strchr(at, ';');
    if (end == NULL) end = at + strlen(at);
    if (end == at || !(which & (*at == '.' ? HERE : ELSEWHERE))) continue;
    luaL_addlstring(&out, at, (size_t)(end - at));
    luaL_addchar(&out, ';');
  }
  luaL_pushresult(&out);
}

/*
** package[field] = own folders, Lua's default folders, the environment's. The environment comes
** after the default, because it is often set for another program and, without ";;", would hide what
** flowmap needs. The current folder comes last, because anyone may have put a lfs.lua there: it may
** provide modules, never replace one. Since Lua looks at all of package.path before package.cpath,
** it is not in package.path at all; lua/flowmap/runs/source.lua looks there at the end.
*/
static void set_path(lua_State *L, const char *field, const char *own, const char *variable) {
  lua_getglobal(L, LUA_LOADLIBNAME);
  const int package = lua_gettop(L);
  const char *extra = getenv(lua_pushfstring(L, "%s_5_4", variable));
  if (extra == NULL) extra = getenv(variable);
  lua_getfield(L, package, field);
  const char *standard = lua_tostring(L, -1);
  lua_pushstring(L, own);
  push_entries(L, standard, ELSEWHERE);
  push_entries(L, extra ? extra : "", ALL);
  push_entries(L, strcmp(field, "cpath") == 0 ? standard : "", HERE);
  lua_concat(L, 4);
  lua_setfield(L, package, field);
  lua_settop(L, package - 1);
}

/*
** Lua treats a file that it cannot open as absent, even if fopen failed for lack of memory or
** descriptors. Raises an error in that case; open(2) itself needs no memory.
*/
static void check_absent(lua_State *L, const char *file) {
  const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0) {
    close(fd);
    luaL_error(L, "not enough memory to open %s", file);
  }
  if (errno == ENOMEM) luaL_error(L, "%s: %s", file, strerror(errno));
  if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
    bind_fail(L, FM_EDATA, "cannot open %s: %s", file, strerror(errno));
}

/* Check the files that a path of templates names, in order, up to the file `found` (or all). */
static void check_path(lua_State *L, const char *name, const char *path, const char *found) {
  const char *files = luaL_gsub(L, path, "?", name);
  for (const char *at = files, *end; *at != '\0'; at = *end ? end + 1 : end) {
    end = strchr(at, ';');
    if (end == NULL) end = at + strlen(at);
    const char *file = lua_pushlstring(L, at, (size_t)(end - at));
    if (found && strcmp(file, found) == 0) break;
    check_absent(L, file);
    lua_pop(L, 1);
  }
}

/* package.path (index 2) with the suite's entries, for a module of the suite: a script may have
   replaced the path, to which it should have added. */
static const char *with_own(lua_State *L, const char *name, const char *path) {
  const char *own = lua_tostring(L, lua_upvalueindex(3));
  const bool is_own = strncmp(name, "flowmap", 7) == 0 && (name[7] == '.' || name[7] == '\0');
  lua_getfield(L, lua_upvalueindex(2), "path");
  const bool is_path = lua_rawequal(L, -1, 2);
  lua_pop(L, 1);
  if (!is_own || !is_path || strstr(path, own)) return path;
  path = lua_pushfstring(L, "%s;%s", path, own);
  lua_replace(L, 2);
  return path;
}

/*
** package.searchpath, which here distinguishes absence from lack of memory. Upvalues: Lua's own;
** package; the suite's entries of package.path.
*/
static int search_path(lua_State *L) {
  const char *separator = luaL_optstring(L, 3, "."), *with = luaL_optstring(L, 4, "/");
  const char *name = luaL_checkstring(L, 1), *path = luaL_checkstring(L, 2);
  lua_settop(L, 4);
  path = with_own(L, name, path);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  if (*separator) name = luaL_gsub(L, name, separator, with);
  lua_pushvalue(L, 1);
  for (int k = 2; k <= 5; k++) lua_pushvalue(L, k);
  lua_call(L, 4, 2);
  const int results = lua_gettop(L);
  check_path(L, name, path, lua_tostring(L, -2));
  lua_settop(L, results);
  return 2;
}

/* The last searcher checks that a module no other searcher found is absent. Upvalue: package. */
static int search_absent(lua_State *L) {
  static const char *const field[] = {"path", "cpath"};
  const char *name = luaL_gsub(L, luaL_checkstring(L, 1), ".", "/");
  for (size_t k = 0; k < sizeof field / sizeof *field; k++) {
    lua_getfield(L, lua_upvalueindex(1), field[k]);
    if (lua_isstring(L, -1)) check_path(L, name, lua_tostring(L, -1), NULL);
  }
  return 0;
}

/*
** A searcher of modules that distinguishes a file that cannot be read, an error about data, from
** one with a mistake in it. Upvalues: Lua's own searcher; whether it loads C libraries.
*/
static int search_told(lua_State *L) {
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  if (lua_pcall(L, 1, LUA_MULTRET, 0) == LUA_OK) return lua_gettop(L);
  const char *text = lua_tostring(L, -1), *why = text ? strstr(text, "\n\t") : NULL;
  const bool unread = why && (lua_toboolean(L, lua_upvalueindex(2)) || strstr(why, "\tcannot "));
  if (!unread || strstr(why, "memory")) return lua_error(L);
  bind_fail(L, FM_EDATA, "%s", why + 2);
}

static void check_reading(lua_State *L) {
  lua_getglobal(L, LUA_LOADLIBNAME);
  lua_getfield(L, -1, "searchers");
  for (int k = 2; k <= 3; k++) { /* of Lua files, of C libraries */
    lua_geti(L, -1, k);
    lua_pushboolean(L, k == 3);
    lua_pushcclosure(L, search_told, 2);
    lua_seti(L, -2, k);
  }
  lua_pop(L, 2);
}

static void check_absence(lua_State *L, const char *own) {
  lua_getglobal(L, LUA_LOADLIBNAME);
  lua_getfield(L, -1, "searchpath");
  lua_pushvalue(L, -2);
  lua_pushstring(L, own);
  lua_pushcclosure(L, search_path, 3);
  lua_setfield(L, -2, "searchpath");
  lua_getfield(L, -1, "searchers");
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, search_absent, 1);
  lua_seti(L, -2, luaL_len(L, -2) + 1);
  lua_pop(L, 2);
}

/* ------------------------------------------------------------------ exit */

static bool exiting;
static int exit_status;

bool fm_host_exits(int *status) {
  *status = exit_status;
  return exiting;
}

void fm_host_exit(int status) {
  exiting = true;
  exit_status = status;
}

/* os.exit, which here announces the exit first. Upvalue: Lua's own. */
static int os_exit(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  if (lua_isboolean(L, 2))
    fm_host_exit(lua_toboolean(L, 2) ? EXIT_SUCCESS : EXIT_FAILURE);
  else
    fm_host_exit((int)luaL_optinteger(L, 2, EXIT_SUCCESS));
  lua_call(L, lua_gettop(L) - 1, 0);
  return 0;
}

/* ------------------------------------------------------------------ opening */

static void restrict_os(lua_State *L) {
  lua_getglobal(L, LUA_OSLIBNAME);
  lua_pushcfunction(L, set_locale);
  lua_setfield(L, -2, "setlocale");
  lua_getfield(L, -1, "exit");
  lua_pushcclosure(L, os_exit, 1);
  lua_setfield(L, -2, "exit");
  lua_pop(L, 1);
}

void fm_host_open(lua_State *L, const char *root) {
  lua_pushboolean(L, true);
  lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV"); /* set_path reads the environment */
  luaL_openlibs(L);
  const char *own = lua_pushfstring(L, "%s/lua/?.lua;%s/lua/?/init.lua;", root, root);
  set_path(L, "path", own, "LUA_PATH");
  set_path(L, "cpath", "", "LUA_CPATH");
  check_absence(L, own);
  lua_pop(L, 1);
  fm_host_text(L);
  check_reading(L);
  restrict_debug(L);
  restrict_os(L);
}
