/*
** arity.c - how many arguments the functions of the core take. Lua drops surplus arguments without
** a word; here a call with too many raises a sentence. Operations state theirs (fm_op.args).
*/
#include "bind.h"

static const struct {
  const char *name;
  int most;
} arity[] = {{"arange", 2},
             {"bytes", 1},
             {"clock", 0},
             {"columns", 1},
             {"copy_from", 2},
             {"counterpart", 1},
             {"eigh", 1},
             {"exe", 5},
             {"fetch", 3},
             {"finite", 1},
             {"flat", 1},
             {"folder_names", 1},
             {"folder_writable", 1},
             {"follow_parent", 1},
             {"from_bytes", 2},
             {"full", 3},
             {"gradcheck", 1},
             {"home", 0},
             {"ignore_broken_pipes", 0},
             {"info", 0},
             {"interrupted", 0},
             {"is_tensor", 1},
             {"isatty", 1},
             {"item", 1},
             {"load_image", 1},
             {"load_npy", 1},
             {"load_safetensors", 1},
             {"lock", 1},
             {"ops", 0},
             {"optim", 2},
             {"own_sources", 1},
             {"pack", 2},
             {"pack_blank", 1},
             {"pack_look", 1},
             {"pack_map", 4},
             {"pack_stamp", 1},
             {"pack_verify", 1},
             {"passes", 0},
             {"peak", 1},
             {"pid", 0},
             {"private_folder", 0},
             {"probe", 0},
             {"program_text", 6},
             {"ranks", 0},
             {"ranks_alone", 1},
             {"ranks_copy", 2},
             {"ranks_most", 1},
             {"save_npy", 2},
             {"save_png", 2},
             {"save_safetensors", 4},
             {"set_isa", 1},
             {"set_threads", 1},
             {"sha256", 1},
             {"sha256_file", 1},
             {"sort", 1},
             {"source", 1},
             {"standin", 1},
             {"sweep", 1},
             {"sync_file", 1},
             {"tensor", 2},
             {"tostring", 1},
             {"totable", 1},
             {"trace", 0},
             {"user_place", 0},
             {"view", 3},
             {"watch_signals", 0},
             {"write_file", 2}};

/* Arguments of methods besides the object. Methods with upvalues check their own number. */
static const struct {
  const char *type, *name;
  int most;
} methods[] = {{"trace", "close", 0},   {"trace", "input", 3},   {"trace", "const", 1},
               {"trace", "full", 3},    {"trace", "dropout", 4}, {"trace", "output", 2},
               {"trace", "count", 0},   {"exe", "run", 4},       {"exe", "explain", 4},
               {"exe", "stats", 0},     {"exe", "costs", 3},     {"exe", "close", 0},
               {"optim", "update", 3},  {"optim", "state", 1},   {"optim", "steps", 1},
               {"pack", "put", 3},      {"pack", "take", 3},     {"pack", "draw", 4},
               {"pack", "finish", 0},   {"pack", "close", 0},    {"source", "names", 0},
               {"source", "assign", 2}, {"source", "close", 0},  {"folder", "close", 0},
               {"lock", "release", 0}};

/* Upvalues: the function, which has none of its own, the number of its arguments, and whether it is
** a method. */
static int guarded(lua_State *L) {
  const lua_CFunction f = lua_tocfunction(L, lua_upvalueindex(1));
  const int most = (int)lua_tointeger(L, lua_upvalueindex(2));
  (lua_toboolean(L, lua_upvalueindex(3)) ? bind_method_at_most : bind_at_most)(L, most);
  return f ? f(L) : 0;
}

/* Guards a function of the table on top. */
static void guard(lua_State *L, const char *name, int most, bool method) {
  lua_getfield(L, -1, name);
  lua_pushinteger(L, most);
  lua_pushboolean(L, method);
  lua_pushcclosure(L, guarded, 3);
  lua_setfield(L, -2, name);
}

void bind_open_arity(lua_State *L) {
  for (size_t k = 0; k < sizeof arity / sizeof *arity; k++)
    guard(L, arity[k].name, arity[k].most, false);
  for (size_t k = 0; k < sizeof methods / sizeof *methods; k++) {
    lua_pushfstring(L, "flowmap.%s", methods[k].type);
    luaL_getmetatable(L, lua_tostring(L, -1));
    lua_getfield(L, -1, "__index");
    guard(L, methods[k].name, methods[k].most, true);
    lua_pop(L, 3);
  }
}
