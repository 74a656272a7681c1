/* check.c - checks of the operations from Lua: fm.gradcheck([name]), and the hash core.probe. */
#include <string.h>

#include "bind.h"
#include "../io/io.h"
#include "../run/check.h"

static int store_row(lua_State *L) { /* (table, check): append the row */
  const fm_check *c = lua_touserdata(L, 2);
  lua_pop(L, 1);
  lua_createtable(L, 0, 7);
  lua_pushstring(L, c->op);
  lua_setfield(L, -2, "op");
  lua_pushstring(L, c->check);
  lua_setfield(L, -2, "check");
  lua_pushinteger(L, c->sample);
  lua_setfield(L, -2, "sample");
  lua_pushstring(L, c->dtype);
  lua_setfield(L, -2, "dtype");
  lua_pushnumber(L, c->error);
  lua_setfield(L, -2, "error");
  lua_pushnumber(L, c->bound);
  lua_setfield(L, -2, "bound");
  lua_pushboolean(L, c->ok);
  lua_setfield(L, -2, "ok");
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  return 0;
}

typedef struct rows { /* the table is on top of the stack, or the error that ended it */
  lua_State *L;
  bool failed;
} rows;

/* Protected: an error must not jump over the check, which would leak its tensors and leave another
   instruction set in use. */
static void add_row(void *arg, const fm_check *c) {
  rows *r = arg;
  if (r->failed) return;
  lua_pushcfunction(r->L, store_row);
  lua_pushvalue(r->L, -2);
  lua_pushlightuserdata(r->L, (void *)(uintptr_t)c);
  r->failed = lua_pcall(r->L, 2, 0, 0) != LUA_OK;
}

static int gradcheck(lua_State *L) {
  const char *name = lua_isnoneornil(L, 1) ? NULL : bind_text(L, 1, NULL);
  const fm_op *only = name ? fm_op_find(name) : NULL;
  if (name && only == NULL) bind_fail(L, FM_EUSAGE, "gradcheck: there is no operation '%s'", name);
  rows r = {L, false};
  luaL_checkstack(L, 8, "gradcheck");
  lua_newtable(L);
  for (int k = 0; k < fm_op_count() && !r.failed; k++)
    if ((only == NULL || only == fm_op_at(k)) &&
        fm_check_op(bind_ctx(L), fm_op_at(k), add_row, &r) != FM_OK)
      bind_raise(L);
  return r.failed ? lua_error(L) : 1;
}

/* Hash the hash so far together with that of a result. */
static void mix(void *arg, const fm_tensor *result) {
  char both[129], *hex = arg;
  memcpy(both, hex, 64);
  fm_sha256(result->data, result->bytes, both + 64);
  fm_sha256(both, 128, hex);
}

static int probe(lua_State *L) { /* probe() -> SHA-256 of the results of all operations */
  char hex[65];
  fm_sha256("", 0, hex);
  for (int k = 0; k < fm_op_count(); k++)
    if (fm_probe_op(bind_ctx(L), fm_op_at(k), mix, hex) != FM_OK) bind_raise(L);
  lua_pushstring(L, hex);
  return 1;
}

void bind_open_check(lua_State *L) {
  static const bind_reg functions[] = {
      {"probe", probe, 0}, {"gradcheck", gradcheck, 1}, {NULL, NULL, 0}};
  bind_set(L, functions);
}
