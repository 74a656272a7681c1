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
             {"eigh", 1},
             {"exe", 5},
             {"fetch", 3},
             {"finite", 1},
             {"flat", 1},
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

/* Upvalues: the function, which has none of its own, and the number of its arguments. */
static int guarded(lua_State *L) {
  const lua_CFunction f = lua_tocfunction(L, lua_upvalueindex(1));
  bind_at_most(L, (int)lua_tointeger(L, lua_upvalueindex(2)));
  return f ? f(L) : 0;
}

void bind_open_arity(lua_State *L) {
  for (size_t k = 0; k < sizeof arity / sizeof *arity; k++) {
    lua_getfield(L, -1, arity[k].name);
    lua_pushinteger(L, arity[k].most);
    lua_pushcclosure(L, guarded, 2);
    lua_setfield(L, -2, arity[k].name);
  }
}
