/*
** main.c - the program `flowmap`: an embedded Lua 5.4 that runs lua/flowmap/cli.lua. The Lua files
** are found beside the executable (a build tree) or under ../share/flowmap (an installation).
*/
#define _POSIX_C_SOURCE 200809L
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int luaopen_flowmap_core(lua_State *L);

/* The folder of the executable, "" if it cannot be told. */
static void program_folder(char *path, size_t size) {
  ssize_t n = readlink("/proc/self/exe", path, size - 1);
  if (n < 0) n = 0;
  path[n] = '\0';
  char *slash = strrchr(path, '/');
  if (slash) *slash = '\0';
}

/* Sets `root` to the folder that holds lua/flowmap; false if there is none. */
static int find_root(char *root, size_t size) {
  static const char *const where[] = {"", "/../share/flowmap"};
  char folder[PATH_MAX], probe[PATH_MAX + 64];
  program_folder(folder, sizeof folder);
  for (size_t k = 0; k < sizeof where / sizeof *where; k++) {
    snprintf(probe, sizeof probe, "%s%s/lua/flowmap/cli.lua", folder, where[k]);
    if (access(probe, R_OK) != 0) continue;
    snprintf(root, size, "%s%s", folder, where[k]);
    return 1;
  }
  fprintf(stderr, "flowmap: its Lua files were not found in %s/lua or %s/../share/flowmap/lua\n",
          folder, folder);
  return 0;
}

static int start(lua_State *L) {
  const char *root = lua_tostring(L, 1);
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_flowmap_core);
  lua_setfield(L, -2, "flowmap.core");
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  lua_pushfstring(L, "%s/lua/?.lua;%s/lua/?/init.lua;%s", root, root, lua_tostring(L, -1));
  lua_setfield(L, -3, "path");
  lua_pushstring(L, root);
  lua_setfield(L, -3, "flowmap_root");
  lua_getglobal(L, "require");
  lua_pushvalue(L, -1);
  lua_pushliteral(L, "flowmap");
  lua_call(L, 1, 0);
  lua_pushliteral(L, "flowmap.cli");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "main");
  lua_pushvalue(L, 2); /* the arguments */
  lua_call(L, 1, 1);
  return 1;
}

static int traceback(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

int main(int argc, char **argv) {
  char root[PATH_MAX + 64];
  lua_State *L = luaL_newstate();
  if (L == NULL || !find_root(root, sizeof root)) return 2;
  lua_pushcfunction(L, traceback);
  lua_pushcfunction(L, start);
  lua_pushstring(L, root);
  lua_createtable(L, argc, 0);
  for (int k = 0; k < argc; k++) {
    lua_pushstring(L, argv[k]);
    lua_seti(L, -2, k);
  }
  int status = 1;
  if (lua_pcall(L, 2, 1, 1) == LUA_OK)
    status = (int)lua_tointeger(L, -1);
  else
    fprintf(stderr, "flowmap: %s\n", lua_tostring(L, -1));
  lua_close(L);
  return status;
}
