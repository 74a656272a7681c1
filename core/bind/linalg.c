/* linalg.c - eigenvalues and sorting in Lua, on eager tensors. */
#include "bind.h"

static int eigh(lua_State *L) { /* fm.eigh(a) -> values ascending, vectors as rows */
  fm_tensor *w, *v;
  if (fm_eigh(bind_ctx(L), bind_tensor(L, 1), &w, &v) != FM_OK) bind_raise(L);
  bind_push_tensor(L, w);
  bind_push_tensor(L, v);
  return 2;
}

static int sort(lua_State *L) { /* fm.sort(x): every row ascending */
  bind_push_tensor(L, fm_sort_rows(bind_ctx(L), bind_tensor(L, 1)));
  return 1;
}

void bind_open_linalg(lua_State *L) {
  static const luaL_Reg functions[] = {{"eigh", eigh}, {"sort", sort}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
