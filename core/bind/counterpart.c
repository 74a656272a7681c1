/*
** counterpart.c - the names here of functions of PyTorch, JAX and NumPy, for sentences about
** unknown names. Those that resemble the name here are not listed: errors.near (lua/flowmap/base)
** finds them.
*/
#include <string.h>

#include "bind.h"

static const char *const names[][2] = {{"amax", "max_reduce"},    {"astype", "cast"},
                                       {"backward", "grad"},      {"clamp", "clip"},
                                       {"concatenate", "concat"}, {"detach", "stop"},
                                       {"dot", "matmul"},         {"expand", "broadcast"},
                                       {"flatten", "reshape"},    {"jit", "program"},
                                       {"mm", "matmul"},          {"numpy", "totable"},
                                       {"permute", "transpose"},  {"rand", "uniform"},
                                       {"randn", "normal"},       {"relu", "maximum"},
                                       {"squeeze", "reshape"},    {"stop_gradient", "stop"},
                                       {"take", "gather"},        {"to", "cast"},
                                       {"tolist", "totable"},     {"unsqueeze", "reshape"}};

const char *bind_counterpart(const char *name) {
  for (size_t k = 0; k < sizeof names / sizeof *names; k++)
    if (strcmp(name, names[k][0]) == 0) return names[k][1];
  return NULL;
}

static int counterpart(lua_State *L) { /* counterpart(name) -> the name here, or nil */
  lua_pushstring(L, bind_counterpart(bind_text(L, 1, NULL))); /* nil for NULL */
  return 1;
}

void bind_open_counterpart(lua_State *L) {
  static const luaL_Reg functions[] = {{"counterpart", counterpart}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
