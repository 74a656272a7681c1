/*
** test_bind.c - allocations of Lua fail inside the binding: each failure is an error of Lua, after
** which the collector frees all that the call took from the core.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <unistd.h>

int luaopen_flowmap_core(lua_State *L);

static long fail_in; /* > 0: the number of the next allocation of Lua that fails */
static int failing;

/* Lua collects garbage after a failure and tries again, so that two in a row must fail. */
static void *allocate(void *unused, void *p, size_t was, size_t to) {
  (void)unused;
  if (to == 0) {
    free(p);
    return NULL;
  }
  const int grows = p == NULL || to > was;
  if (grows && fail_in > 0 && --fail_in == 0) failing = 2;
  if (grows && failing > 0) return failing--, NULL;
  return realloc(p, to);
}

/* Functions that return what the core made, by name. */
static const char calls[] =
    "local core, folder = ...\n"
    "local file = folder .. '/x'\n"
    "local x = core.full({ 64, 64 }, 1)\n"
    "local matrix = core.full({ 8, 8 }, 1, 'float64')\n"
    "core.save_npy(file .. '.npy', x)\n"
    "core.save_png(file .. '.png', core.full({ 32, 32, 3 }, 0))\n"
    "core.save_safetensors(file .. '.safetensors', { a = x, b = x }, { key = 'value' }, false)\n"
    "local pack = core.pack(file .. '.pack',\n"
    "  { count = 1, train = 1, classes = 1, shape = { 32, 32, 3 } })\n"
    "pack:put(0, core.from_bytes(('x'):rep(3072), { 1, 32, 32, 3 }), '\\0')\n"
    "pack:finish()\n"
    "local trace = core.trace()\n"
    "local input = trace:input('shared', { 64, 64 })\n"
    "trace:output(core.exp(input), 'sum')\n"
    "local exe = core.exe({ trace }, { 1 }, { 0, 1 })\n"
    "local optim = core.optim({ ema = { 0.9 } }, { x })\n"
    "return {\n"
    "  function() return core.tensor { { 1, 2 }, { 3, 4 } } end,\n"
    "  function() return core.full({ 64, 64 }, 2) end,\n"
    "  function() return core.arange(4096) end,\n"
    "  function() return core.normal({ 64, 64 }, { seed = 1 }) end,\n"
    "  function() return core.add(x, x) end,\n"
    "  function() return core.maximum(x, 2) end,\n"
    "  function() return core.view(x, 2, 3) end,\n"
    "  function() return core.from_bytes(('x'):rep(3072), { 32, 32, 3 }) end,\n"
    "  function() return core.eigh(matrix) end,\n"
    "  function() return core.sort(x) end,\n"
    "  function() return core.load_npy(file .. '.npy') end,\n"
    "  function() return core.load_image(file .. '.png') end,\n"
    "  function() return core.load_safetensors(file .. '.safetensors') end,\n"
    "  function() return core.pack_map(file .. '.pack', 0, 1) end,\n"
    "  function() return core.pack_blank { 4, 32, 32, 3 } end,\n"
    "  function() return exe:run({ x }) end,\n"
    "  function() return exe:explain({ x }) end,\n"
    "  function() return exe:costs({ x }) end,\n"
    "  function() return optim:state(2) end,\n"
    "  function()\n"
    "    local t <close> = core.trace()\n"
    "    local y = t:input('shared', { 64, 64 })\n"
    "    t:output(t:vjp({ core.exp(y) }, { t:full({ 64, 64 }, 1) }, { y })[1], 'sum')\n"
    "    return core.program_text({ t }, { 1 }, { 0, 1 }, nil, nil, 'derive')\n"
    "  end,\n"
    "  function() return core.gradcheck 'square' end,\n"
    "}\n";

/* The bytes that the core holds, and the instruction set in use, when no garbage is left. */
static lua_Integer state_of(lua_State *L, char isa[16]) {
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCCOLLECT);
  lua_getglobal(L, "info");
  lua_call(L, 0, 1);
  lua_getfield(L, -1, "isa");
  snprintf(isa, 16, "%s", lua_tostring(L, -1));
  lua_getfield(L, -2, "bytes");
  const lua_Integer bytes = lua_tointeger(L, -1);
  lua_pop(L, 3);
  return bytes;
}

/* Fails each allocation of the function on top of the stack, one after the other. */
static void fail_each(lua_State *L, int number) {
  char before[16], after[16];
  lua_pushvalue(L, -1);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) fail_msg("call %d: %s", number, luaL_tolstring(L, -1, NULL));
  const lua_Integer held = state_of(L, before);
  int ended = 0;
  for (long k = 1; !ended; k++) {
    lua_pushvalue(L, -1);
    fail_in = k;
    const int code = lua_pcall(L, 0, 0, 0);
    ended = fail_in > 0; /* fewer allocations than k */
    fail_in = failing = 0;
    if (code != LUA_OK) lua_pop(L, 1);
    const lua_Integer holds = state_of(L, after);
    if (holds != held)
      fail_msg("call %d, allocation %ld: the core holds %lld bytes, before %lld", number, k,
               (long long)holds, (long long)held);
    assert_string_equal(after, before);
    assert_true(k < 2000);
  }
  lua_pop(L, 1);
}

static void failures_leak_nothing(void **unused) {
  char folder[] = "/tmp/flowmap-bind-XXXXXX";
  (void)unused;
  assert_non_null(mkdtemp(folder));
  lua_State *L = lua_newstate(allocate, NULL);
  assert_non_null(L);
  luaL_openlibs(L);
  luaL_requiref(L, "flowmap.core", luaopen_flowmap_core, 0);
  lua_getfield(L, -1, "info");
  lua_setglobal(L, "info");
  assert_int_equal(luaL_loadstring(L, calls), LUA_OK);
  lua_insert(L, -2);
  lua_pushstring(L, folder);
  if (lua_pcall(L, 2, 1, 0) != LUA_OK) fail_msg("%s", luaL_tolstring(L, -1, NULL));
  int k = 1;
  for (; lua_geti(L, -1, k) == LUA_TFUNCTION; k++) fail_each(L, k);
  assert_true(k > 20);
  lua_close(L);
  const char *const ends[] = {"npy", "png", "safetensors", "pack"};
  for (int i = 0; i < 4; i++) {
    char path[64];
    snprintf(path, sizeof path, "%s/x.%s", folder, ends[i]);
    unlink(path);
  }
  rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(failures_leak_nothing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
