/*
** counterpart.c - the names here of functions of PyTorch, JAX and NumPy, for sentences about
** unknown names. Those that resemble the name here are not listed: errors.near (lua/flowmap/base)
** finds them.
*/
#include <string.h>

#include "bind.h"

static const char *const names[][2] = {{"amax", "max_reduce"},
                                       {"array", "tensor"},
                                       {"asarray", "tensor"},
                                       {"astype", "cast"},
                                       {"backward", "grad"},
                                       {"bmm", "matmul"},
                                       {"cat", "concat"},
                                       {"chunk", "split"},
                                       {"clamp", "clip"},
                                       {"clone", "copy"},
                                       {"concatenate", "concat"},
                                       {"cond", "where"},
                                       {"detach", "stop"},
                                       {"dot", "matmul"},
                                       {"einsum", "matmul"},
                                       {"expand", "broadcast"},
                                       {"flatten", "reshape"},
                                       {"full_like", "full"},
                                       {"ge", "le"},
                                       {"gt", "lt"},
                                       {"index_select", "gather"},
                                       {"jit", "program"},
                                       {"masked_fill", "where"},
                                       {"mm", "matmul"},
                                       {"no_grad", "stop"},
                                       {"numpy", "totable"},
                                       {"ones_like", "ones"},
                                       {"permute", "transpose"},
                                       {"rand", "uniform"},
                                       {"randn", "normal"},
                                       {"relu", "maximum"},
                                       {"repeat", "broadcast"},
                                       {"squeeze", "reshape"},
                                       {"stack", "concat"},
                                       {"stop_gradient", "stop"},
                                       {"swish", "silu"},
                                       {"take", "gather"},
                                       {"tile", "broadcast"},
                                       {"to", "cast"},
                                       {"tolist", "totable"},
                                       {"unsqueeze", "reshape"},
                                       {"zeros_like", "zeros"}};

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
  static const bind_reg functions[] = {{"counterpart", counterpart, 1}, {NULL, NULL, 0}};
  bind_set(L, functions);
}
