/* ranks.c - ranks in Lua: their number, agreement, copies of what the first one has. */
#include <string.h>

#include "bind.h"
#include "../ranks.h"

static int ranks(lua_State *L) { /* ranks() -> this one, from 1, and how many there are */
  lua_pushinteger(L, fm_rank() + 1);
  lua_pushinteger(L, fm_nranks());
  return 2;
}

static int ranks_alone(lua_State *L) { /* ranks_alone(boolean): see ranks.h */
  fm_ranks_alone(bind_boolean(L, 1, "alone"));
  return 0;
}

static int ranks_most(lua_State *L) { /* ranks_most(integer) -> the largest of all ranks */
  int64_t x = bind_integer(L, 1, INT64_MIN, INT64_MAX);
  if (fm_ranks_most(bind_ctx(L), &x) != FM_OK) bind_raise(L);
  lua_pushinteger(L, x);
  return 1;
}

/* ranks_copy(string, [rank]) -> that of a rank, by default the first; ranks_copy(tensor, [rank]):
** its values become those of that rank. */
static int ranks_copy(lua_State *L) {
  fm_ctx *ctx = bind_ctx(L);
  int from = lua_isnoneornil(L, 2) ? 0 : (int)bind_integer(L, 2, 1, fm_nranks()) - 1;
  if (lua_type(L, 1) != LUA_TSTRING && bind_test(L, 1) == NULL)
    bind_expected(L, 1, "a string or a tensor");
  if (lua_type(L, 1) != LUA_TSTRING) {
    fm_tensor *t = bind_writable(L, 1);
    if (fm_ranks_copy(ctx, t->data, t->bytes, from) != FM_OK) bind_raise(L);
    fm_tensor_written(t);
    return 0;
  }
  size_t n;
  const char *text = bind_text(L, 1, &n);
  int64_t length = (int64_t)n;
  if (fm_ranks_copy(ctx, &length, sizeof length, from) != FM_OK) bind_raise(L);
  char *copy = lua_newuserdatauv(L, (size_t)length + 1, 0);
  if (fm_rank() == from) memcpy(copy, text, n);
  if (length > 0 && fm_ranks_copy(ctx, copy, (size_t)length, from) != FM_OK) bind_raise(L);
  lua_pushlstring(L, copy, (size_t)length);
  return 1;
}

void bind_open_ranks(lua_State *L) {
  static const bind_reg functions[] = {{"ranks", ranks, 0},
                                       {"ranks_alone", ranks_alone, 1},
                                       {"ranks_most", ranks_most, 1},
                                       {"ranks_copy", ranks_copy, 2},
                                       {NULL, NULL, 0}};
  bind_set(L, functions);
}
