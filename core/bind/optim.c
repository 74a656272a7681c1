/* optim.c - optimisers in Lua, on which lua/flowmap/optimiser.lua builds fm.optimiser. */
#include <string.h>

#include "bind.h"
#include "../ranks.h"

static const char optim_type[] = "flowmap.optim";

typedef struct optim_box {
  const char *type;
  fm_optim *o;
  int n;
} optim_box;

static double field(lua_State *L, int arg, const char *name, double otherwise) {
  char found[BIND_FOUND];
  lua_getfield(L, arg, name);
  if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TNUMBER)
    bind_fail(L, FM_EUSAGE, "optimiser: %s is %s, expected a number", name,
              bind_found(L, -1, found));
  double x = lua_isnil(L, -1) ? otherwise : lua_tonumber(L, -1);
  lua_pop(L, 1);
  return x;
}

/* Space for the tensors of the list at `arg`; read_tensors fills it after the last allocation. */
static fm_tensor **make_list(lua_State *L, int arg, int *n) {
  *n = bind_list(L, arg, "a list of tensors");
  return lua_newuserdatauv(L, ((size_t)*n + 1) * sizeof(fm_tensor *), 0);
}

static void read_tensors(lua_State *L, int arg, int n, fm_tensor **list, bool writable) {
  for (int k = 0; k < n; k++) {
    lua_rawgeti(L, arg, k + 1);
    list[k] = bind_entry(L, arg, k + 1, writable);
    lua_pop(L, 1);
  }
}

/* Read the decays of the averages. */
static void read_ema(lua_State *L, int arg, fm_optim_conf *c) {
  char found[BIND_FOUND];
  lua_getfield(L, arg, "ema");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    return;
  }
  c->nema = bind_length(L, lua_gettop(L), "optimiser: ema", "a list of decays");
  if (c->nema > FM_MAX_EMA)
    bind_fail(L, FM_EUSAGE, "optimiser: %d averages found, expected at most %d", c->nema,
              FM_MAX_EMA);
  for (int k = 0; k < c->nema; k++) {
    lua_rawgeti(L, -1, k + 1);
    if (lua_type(L, -1) != LUA_TNUMBER)
      bind_fail(L, FM_EUSAGE, "optimiser: decay %d is %s, expected a number", k + 1,
                bind_found(L, -1, found));
    c->ema[k] = lua_tonumber(L, -1);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

static int optim_new(lua_State *L) { /* core.optim({conf}, {params}) */
  fm_optim_conf c = {.kind = FM_RADAM};
  char found[BIND_FOUND];
  lua_settop(L, 2);
  if (!lua_istable(L, 1)) bind_expected(L, 1, "a table of the optimiser's settings");
  lua_getfield(L, 1, "kind");
  const char *kind = lua_type(L, 3) == LUA_TSTRING ? lua_tostring(L, 3) : "";
  if (strcmp(kind, "adamw") == 0)
    c.kind = FM_ADAMW;
  else if (!lua_isnil(L, 3) && strcmp(kind, "radam") != 0)
    bind_fail(L, FM_EUSAGE, "optimiser: kind '%s' found, expected 'radam' or 'adamw'",
              kind[0] ? kind : bind_found(L, 3, found));
  c.b1 = field(L, 1, "b1", 0.9);
  c.b2 = field(L, 1, "b2", 0.999);
  c.eps = field(L, 1, "eps", 1e-8);
  c.weight_decay = field(L, 1, "weight_decay", 0);
  c.clip = field(L, 1, "clip", 0);
  read_ema(L, 1, &c);
  int n;
  fm_tensor **params = make_list(L, 2, &n);
  optim_box *b = bind_new_box(L, optim_type, sizeof *b);
  read_tensors(L, 2, n, params, true);
  const size_t before = fm_bytes_now(bind_ctx(L));
  if ((b->o = fm_optim_new(bind_ctx(L), &c, n, params)) == NULL) bind_raise(L);
  b->n = n;
  bind_count(L, fm_bytes_now(bind_ctx(L)) - before);
  return 1;
}

static optim_box *check_optim(lua_State *L) {
  optim_box *b = bind_box(L, 1, optim_type, sizeof *b);
  if (b == NULL || b->o == NULL) bind_expected(L, 1, "an optimiser that is not closed");
  return b;
}

static int optim_close(lua_State *L) {
  fm_optim_free(bind_take(L, optim_type));
  return 0;
}

static int optim_update(lua_State *L) { /* o:update({grads}, lr, scale) -> norm before clipping */
  int n;
  double norm, lr = bind_number(L, 3), scale = lua_isnoneornil(L, 4) ? 1 : bind_number(L, 4);
  fm_tensor **grads = make_list(L, 2, &n);
  optim_box *b = check_optim(L);
  if (n != b->n) bind_fail(L, FM_EUSAGE, "optimiser: %d gradients found, expected %d", n, b->n);
  read_tensors(L, 2, n, grads, false);
  if (fm_optim_update(b->o, grads, lr, scale, &norm) != FM_OK) bind_raise(L);
  lua_pushnumber(L, norm);
  return 1;
}

/* o:state(what) -> list of tensors; what = 0: first moments, 1: second moments, 2 + k: average k */
static int optim_state(lua_State *L) {
  const int what = (int)bind_integer(L, 2, 0, 1 + FM_MAX_EMA), n = check_optim(L)->n;
  lua_createtable(L, n, 0);
  for (int k = 0; k < n; k++) {
    value *x = bind_push_empty(L);
    fm_tensor *t = fm_optim_state(check_optim(L)->o, what, k);
    if (t == NULL) bind_fail(L, FM_EUSAGE, "optimiser: there is no state number %d", what);
    bind_own(L, x, fm_tensor_keep(t));
    lua_rawseti(L, -2, k + 1);
  }
  return 1;
}

static int optim_steps(lua_State *L) { /* o:steps([new]) -> number of steps taken */
  optim_box *b = check_optim(L);
  if (!lua_isnoneornil(L, 2)) fm_optim_set_steps(b->o, bind_integer(L, 2, 0, INT64_MAX));
  lua_pushinteger(L, fm_optim_steps(b->o));
  return 1;
}

static int optim_decay(lua_State *L) { /* o:decay(k, value): of average k, from 1 */
  const int k = (int)bind_integer(L, 2, 1, FM_MAX_EMA);
  const double decay = bind_number(L, 3);
  if (fm_optim_set_decay(check_optim(L)->o, k - 1, decay) != FM_OK) bind_raise(L);
  return 0;
}

/* o:shard(): each rank keeps the moments of its part; o:gather(): the first one gets all of them */
static int optim_shard(lua_State *L) {
  fm_optim_shard(check_optim(L)->o);
  return 0;
}

static int optim_gather(lua_State *L) {
  if (fm_optim_gather(check_optim(L)->o) != FM_OK) bind_raise(L);
  return 0;
}

void bind_open_optim(lua_State *L) {
  static const bind_reg methods[] = {{"update", optim_update, 3},
                                     {"state", optim_state, 1},
                                     {"steps", optim_steps, 1},
                                     {"decay", optim_decay, 2},
                                     {"shard", optim_shard, 0},
                                     {"gather", optim_gather, 0},
                                     {NULL, NULL, 0}};
  bind_new_type(L, optim_type, methods, optim_close);
  lua_pop(L, 1);
  static const bind_reg functions[] = {{"optim", optim_new, 2}, {NULL, NULL, 0}};
  bind_set(L, functions);
}
