/* bind_data.c - images in Lua: packed data sets, the stand-ins, pictures as files. */
#include <string.h>

#include "bind.h"
#include "io_image.h"
#include "io_standin.h"

#define FM_PACK "flowmap.pack"

/* ------------------------------------------------------------------ arguments */

static int64_t natural(lua_State *L, int arg, const char *name) {
  lua_getfield(L, arg, name);
  int ok;
  lua_Integer n = lua_tointegerx(L, -1, &ok);
  if (!ok && !lua_isnil(L, -1))
    bind_fail(L, FM_EUSAGE, "pack: %s is a %s, expected a whole number", name,
              luaL_typename(L, -1));
  lua_pop(L, 1);
  return n;
}

static void read_info(lua_State *L, int arg, fm_pack_info *i) {
  size_t n;
  fm_shape s;
  *i = (fm_pack_info){.count = natural(L, arg, "count"),
                      .train = natural(L, arg, "train"),
                      .classes = natural(L, arg, "classes")};
  lua_getfield(L, arg, "shape");
  bind_shape(L, lua_gettop(L), &s);
  lua_getfield(L, arg, "text");
  const char *text = luaL_optlstring(L, -1, "", &n);
  if (s.nd != 3) bind_fail(L, FM_EUSAGE, "pack: shape expected, such as {32, 32, 3}");
  if (n >= FM_PACK_TEXT || strlen(text) != n)
    bind_fail(L, FM_EUSAGE, "pack: a description of %d bytes found, expected at most %d", (int)n,
              FM_PACK_TEXT - 1);
  memcpy(i->text, text, n);
  i->height = s.d[0], i->width = s.d[1], i->channels = s.d[2];
  lua_pop(L, 2);
}

static void push_info(lua_State *L, const fm_pack_info *i) {
  const struct {
    const char *name;
    int64_t value;
  } number[] = {{"count", i->count}, {"train", i->train}, {"classes", i->classes}};
  lua_newtable(L);
  for (int k = 0; k < 3; k++) {
    lua_pushinteger(L, number[k].value);
    lua_setfield(L, -2, number[k].name);
  }
  bind_push_shape(L, &(fm_shape){3, {i->height, i->width, i->channels}});
  lua_setfield(L, -2, "shape");
  lua_pushstring(L, i->hash);
  lua_setfield(L, -2, "hash");
  lua_pushstring(L, i->text);
  lua_setfield(L, -2, "text");
}

/* ------------------------------------------------------------------ writing packs */

static int pack_new(lua_State *L) { /* core.pack(path, {count, shape, train, classes, text}) */
  fm_pack_info info;
  const char *path = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  read_info(L, 2, &info);
  fm_pack *p = lua_newuserdatauv(L, sizeof *p, 1);
  *p = (fm_pack){.out = {.fd = -1}};
  luaL_setmetatable(L, FM_PACK);
  lua_pushvalue(L, 1); /* the path lives as long as the pack */
  lua_setiuservalue(L, -2, 1);
  if (fm_pack_create(p, bind_ctx(L), path, &info) != FM_OK) bind_raise(L);
  return 1;
}

static fm_pack *check_pack(lua_State *L) {
  fm_pack *p = luaL_checkudata(L, 1, FM_PACK);
  if (p->out.fd < 0) bind_fail(L, FM_EUSAGE, "pack: it is closed");
  return p;
}

static int pack_close(lua_State *L) {
  fm_pack_close(luaL_checkudata(L, 1, FM_PACK));
  return 0;
}

static int pack_finish(lua_State *L) { /* p:finish(): now the file is there */
  fm_pack *p = check_pack(L);
  if (fm_pack_finish(p) != FM_OK) bind_raise(L);
  return pack_close(L);
}

static int pack_put(lua_State *L) { /* p:put(at, images, labels): from image `at` (0-based) on */
  fm_pack *p = check_pack(L);
  int64_t at = luaL_checkinteger(L, 2);
  fm_tensor *x = bind_tensor(L, 3);
  const fm_pack_info *i = &p->info;
  const uint8_t *labels = NULL;
  size_t n = 0;
  if (!lua_isnoneornil(L, 4)) labels = (const uint8_t *)luaL_checklstring(L, 4, &n);
  const fm_shape want = {4, {x->shape.d[0], i->height, i->width, i->channels}};
  char a[96];
  if (x->dtype != FM_U8 || !fm_shape_eq(&x->shape, &want))
    bind_fail(L, FM_EUSAGE, "pack: images %s %s found, expected uint8 (n, %d, %d, %d)",
              fm_dtype_name(x->dtype), fm_shape_text(&x->shape, a), (int)i->height, (int)i->width,
              (int)i->channels);
  if (labels && n != (size_t)x->shape.d[0])
    bind_fail(L, FM_EUSAGE, "pack: %d labels found, expected %d", (int)n, (int)x->shape.d[0]);
  if (fm_pack_put(p, at, x->shape.d[0], x->data, labels) != FM_OK) bind_raise(L);
  return 0;
}

static const char *const standins[] = {"objects", "faces", "animals", NULL};

static int pack_draw(lua_State *L) { /* p:draw(kind, seed, at, n) */
  fm_pack *p = check_pack(L);
  fm_standin kind = (fm_standin)luaL_checkoption(L, 2, NULL, standins);
  uint64_t seed = (uint64_t)luaL_checkinteger(L, 3);
  int64_t at = luaL_checkinteger(L, 4), n = luaL_checkinteger(L, 5);
  if (fm_standin_draw(p, kind, seed, at, n) != FM_OK) bind_raise(L);
  return 0;
}

static int standin(lua_State *L) { /* core.standin(kind) -> side, {class names} */
  int n;
  fm_standin kind = (fm_standin)luaL_checkoption(L, 1, NULL, standins);
  const char *const *names = fm_standin_classes(kind, &n);
  lua_pushinteger(L, fm_standin_side(kind));
  lua_createtable(L, n, 0);
  for (int k = 0; k < n; k++) {
    lua_pushstring(L, names[k]);
    lua_seti(L, -2, k + 1);
  }
  return 2;
}

/* ------------------------------------------------------------------ reading packs */

static int pack_look(lua_State *L) { /* core.pack_look(path) -> {count, shape, ..., hash, text} */
  fm_pack_info info;
  if (fm_pack_look(bind_ctx(L), luaL_checkstring(L, 1), &info) != FM_OK) bind_raise(L);
  push_info(L, &info);
  return 1;
}

static int pack_map(lua_State *L) { /* core.pack_map(path, first (0-based), n) -> table, labels */
  fm_tensor *table, *labels;
  int64_t first = luaL_checkinteger(L, 2), n = luaL_checkinteger(L, 3);
  if (fm_pack_map(bind_ctx(L), luaL_checkstring(L, 1), first, n, &table, &labels) != FM_OK)
    bind_raise(L);
  bind_push_tensor(L, table);
  if (labels == NULL) return 1;
  bind_push_tensor(L, labels);
  return 2;
}

static int pack_verify(lua_State *L) {
  if (fm_pack_verify(bind_ctx(L), luaL_checkstring(L, 1)) != FM_OK) bind_raise(L);
  return 0;
}

/* ------------------------------------------------------------------ pictures */

static int save_png(lua_State *L) { /* fm.save_png(path, (H, W, 3): uint8, or float in [-1, 1]) */
  if (fm_save_png(bind_ctx(L), luaL_checkstring(L, 1), bind_tensor(L, 2)) != FM_OK) bind_raise(L);
  return 0;
}

static int load_image(lua_State *L) { /* fm.load_image(path) -> uint8 (H, W, 3) */
  fm_tensor *t = NULL;
  if (fm_load_image(bind_ctx(L), luaL_checkstring(L, 1), &t) != FM_OK) bind_raise(L);
  bind_push_tensor(L, t);
  return 1;
}

static int from_bytes(lua_State *L) { /* fm.from_bytes(text, shape) -> uint8 */
  size_t n;
  fm_shape s;
  const char *text = luaL_checklstring(L, 1, &n);
  bind_shape(L, 2, &s);
  if (fm_shape_bytes(&s, FM_U8, n) != (int64_t)n)
    bind_fail(L, FM_EUSAGE, "from_bytes: %d bytes found, which are no tensor of that shape",
              (int)n);
  fm_tensor *t = fm_tensor_new(bind_ctx(L), FM_U8, &s);
  bind_push_tensor(L, t);
  memcpy(t->data, text, n);
  return 1;
}

void bind_open_data(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"pack", pack_new},         {"pack_look", pack_look},     {"pack_map", pack_map},
      {"standin", standin},       {"pack_verify", pack_verify}, {"save_png", save_png},
      {"load_image", load_image}, {"from_bytes", from_bytes},   {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"put", pack_put},     {"draw", pack_draw},  {"finish", pack_finish},
      {"close", pack_close}, {"__gc", pack_close}, {"__close", pack_close},
      {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  luaL_newmetatable(L, FM_PACK);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
