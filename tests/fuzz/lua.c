/*
** lua.c - readers that are written in Lua (readers.lua), for the fuzzer. Lines of Lua that run are
** counted like branches of C, so that libFuzzer keeps inputs that reach new ones.
*/
#include "targets.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int luaopen_flowmap_core(lua_State *L);

static lua_State *L;

#ifdef LIBFUZZER
enum { COUNTERS = 1 << 15 };
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t counter[COUNTERS];

static void count_line(lua_State *l, lua_Debug *at) {
  lua_getinfo(l, "Sl", at);
  const uint32_t file = (uint32_t)strlen(at->source) * 2654435761u;
  counter[(file + (uint32_t)at->currentline * 40503u) % COUNTERS]++;
}
#endif

void lua_start(void) {
  const char *root = getenv("FUZZ_ROOT");
  L = luaL_newstate();
  if (L == NULL) exit(2);
  luaL_openlibs(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_flowmap_core);
  lua_setfield(L, -2, "flowmap.core");
  lua_pushfstring(L,
                  "local root, target = '%s', ...\n"
                  "package.path = root .. '/lua/?.lua;' .. root .. '/lua/?/init.lua;' .."
                  "package.path\n"
                  "package.flowmap_root = root\n"
                  "return dofile(root .. '/tests/fuzz/readers.lua')(target, root)",
                  root ? root : ".");
  if (luaL_loadstring(L, lua_tostring(L, -1)) != LUA_OK ||
      (lua_pushstring(L, target_name), lua_pcall(L, 1, 1, 0)) != LUA_OK) {
    fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
    exit(2);
  }
  lua_setglobal(L, "one_input");
  lua_settop(L, 0);
#ifdef LIBFUZZER
  if (strcmp(target_name, "calls") != 0) lua_sethook(L, count_line, LUA_MASKLINE, 0);
#endif
}

/* one_input(bytes, path of a file with them) raises an error if the reader is wrong. */
void lua_target(const uint8_t *bytes, size_t n) {
  lua_getglobal(L, "one_input");
  lua_pushlstring(L, (const char *)bytes, n);
  lua_pushstring(L, file_of(bytes, n));
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) wrong("%s", luaL_tolstring(L, -1, NULL));
  lua_settop(L, 0);
}
