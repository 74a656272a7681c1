/* linalg.c - eigenvalues and sorting in Lua, on eager tensors. */
#include "bind.h"

static int eigh(lua_State *L) { /* fm.eigh(a) -> values ascending, vectors as rows */
  value *values = bind_push_empty(L), *vectors = bind_push_empty(L);
  fm_tensor *w, *v;
  if (fm_eigh(bind_ctx(L), bind_tensor(L, 1), &w, &v) != FM_OK) bind_raise(L);
  bind_own(L, values, w);
  bind_own(L, vectors, v);
  return 2;
}

static int sort(lua_State *L) { /* fm.sort(x): every row ascending */
  value *y = bind_push_empty(L);
  bind_own(L, y, fm_sort_rows(bind_ctx(L), bind_tensor(L, 1)));
  return 1;
}

void bind_open_linalg(lua_State *L) {
  static const bind_reg functions[] = {{"eigh", eigh, 1}, {"sort", sort, 1}, {NULL, NULL, 0}};
  bind_set(L, functions);
}
