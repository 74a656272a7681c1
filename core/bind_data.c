/* bind_data.c - images in Lua: packed data sets, the stand-ins, pictures as files. */
#include <string.h>

#include "bind.h"
#include "io_archive.h"
#include "io_fetch.h"
#include "io_image.h"
#include "io_standin.h"

#define FM_PACK "flowmap.pack"
#define FM_SOURCE "flowmap.source"

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

/* ------------------------------------------------------------------ sources of images */

typedef struct source_box {
  fm_source *s;
  int64_t *place; /* of each file, for p:take; from fm_alloc, as many as there are files */
  uint8_t *label;
} source_box;

static int source_new(lua_State *L) { /* core.source(path): a folder or an archive */
  source_box *b = lua_newuserdatauv(L, sizeof *b, 0);
  *b = (source_box){NULL, NULL, NULL};
  luaL_setmetatable(L, FM_SOURCE);
  if ((b->s = fm_source_open(bind_ctx(L), luaL_checkstring(L, 1))) == NULL) bind_raise(L);
  return 1;
}

static int source_close(lua_State *L) {
  source_box *b = luaL_checkudata(L, 1, FM_SOURCE);
  if (b->s == NULL) return 0;
  const size_t n = (size_t)fm_source_count(b->s);
  if (b->place) fm_free(bind_ctx(L), b->place, n * sizeof *b->place);
  if (b->label) fm_free(bind_ctx(L), b->label, n);
  fm_source_close(b->s);
  *b = (source_box){NULL, NULL, NULL};
  return 0;
}

static source_box *check_source(lua_State *L, int arg) {
  source_box *b = luaL_checkudata(L, arg, FM_SOURCE);
  if (b->s == NULL) bind_fail(L, FM_EUSAGE, "source: it is closed");
  return b;
}

static int source_names(lua_State *L) { /* s:names() -> {name, ...} */
  const source_box *b = check_source(L, 1);
  const int64_t n = fm_source_count(b->s);
  lua_createtable(L, (int)n, 0);
  for (int64_t k = 0; k < n; k++) {
    lua_pushstring(L, fm_source_name(b->s, k));
    lua_seti(L, -2, k + 1);
  }
  return 1;
}

/* s:assign({place of file or -1, ...}, {label of file, ...}): both 0-based */
static int source_assign(lua_State *L) {
  source_box *b = check_source(L, 1);
  fm_ctx *ctx = bind_ctx(L);
  const int64_t n = fm_source_count(b->s);
  if (b->place == NULL && !(b->place = fm_alloc(ctx, (size_t)n * sizeof *b->place)))
    return bind_raise(L);
  if (b->label == NULL && !(b->label = fm_alloc(ctx, (size_t)n))) return bind_raise(L);
  for (int64_t k = 0; k < n; k++) {
    lua_geti(L, 2, k + 1);
    lua_geti(L, 3, k + 1);
    b->place[k] = luaL_optinteger(L, -2, -1);
    b->label[k] = (uint8_t)luaL_optinteger(L, -1, 0);
    lua_pop(L, 2);
  }
  return 0;
}

/* p:take(source, {records, height, width, crop}) -> number of files taken, 0 at the end */
static int pack_take(lua_State *L) {
  fm_pack *p = check_pack(L);
  source_box *b = check_source(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  if (b->place == NULL) bind_fail(L, FM_EUSAGE, "source: its files have no places yet");
  const fm_intake plan = {b->place,
                          b->label,
                          natural(L, 3, "records"),
                          natural(L, 3, "height"),
                          natural(L, 3, "width"),
                          natural(L, 3, "crop")};
  int64_t files;
  if (fm_pack_take(p, b->s, &plan, &files) != FM_OK) bind_raise(L);
  lua_pushinteger(L, files);
  return 1;
}

/* ------------------------------------------------------------------ reading packs */

static int pack_look(lua_State *L) { /* core.pack_look(path) -> {count, shape, ..., hash, text} */
  fm_pack_info info;
  if (fm_pack_look(bind_ctx(L), luaL_checkstring(L, 1), &info) != FM_OK) bind_raise(L);
  push_info(L, &info);
  return 1;
}

/* core.pack_map(path, first (0-based), n, stamp or nil) -> table, labels */
static int pack_map(lua_State *L) {
  fm_tensor *table, *labels;
  int64_t first = luaL_checkinteger(L, 2), n = luaL_checkinteger(L, 3);
  const char *stamp = luaL_optstring(L, 4, NULL);
  if (fm_pack_map(bind_ctx(L), luaL_checkstring(L, 1), first, n, stamp, &table, &labels) != FM_OK)
    bind_raise(L);
  bind_push_tensor(L, table);
  if (labels == NULL) return 1;
  bind_push_tensor(L, labels);
  return 2;
}

static int push_stamp(lua_State *L, const fm_stamp *stamp) {
  lua_pushstring(L, stamp->text);
  lua_pushboolean(L, stamp->fresh);
  return 2;
}

/* core.pack_verify(path) -> stamp of what was verified, whether it is too young to be trusted */
static int pack_verify(lua_State *L) {
  fm_stamp stamp;
  if (fm_pack_verify(bind_ctx(L), luaL_checkstring(L, 1), &stamp) != FM_OK) bind_raise(L);
  return push_stamp(L, &stamp);
}

static int pack_stamp(lua_State *L) { /* core.pack_stamp(path) -> the same, unverified */
  fm_stamp stamp;
  if (fm_pack_stamp(bind_ctx(L), luaL_checkstring(L, 1), &stamp) != FM_OK) bind_raise(L);
  return push_stamp(L, &stamp);
}

static int pack_blank(lua_State *L) { /* core.pack_blank({N, H, W, C}): zeros without memory */
  fm_shape s;
  bind_shape(L, 1, &s);
  bind_push_tensor(L, fm_pack_blank(bind_ctx(L), &s));
  return 1;
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

/* ------------------------------------------------------------------ downloads */

/* Calls the function at index 3; an error in it, or false from it, stops the download. */
static bool tell(void *arg, double now, double total) {
  lua_State *L = arg;
  if (lua_isnoneornil(L, 3)) return true;
  lua_pushvalue(L, 3);
  lua_pushnumber(L, now);
  lua_pushnumber(L, total);
  const bool ok = lua_pcall(L, 2, 1, 0) == LUA_OK && (lua_isnil(L, -1) || lua_toboolean(L, -1));
  lua_pop(L, 1);
  return ok;
}

static int fetch(lua_State *L) { /* core.fetch(url, path, function(now, total)) */
  const char *url = luaL_checkstring(L, 1), *path = luaL_checkstring(L, 2);
  if (fm_fetch(bind_ctx(L), url, path, tell, L) != FM_OK) bind_raise(L);
  return 0;
}

void bind_open_data(lua_State *L) {
  static const luaL_Reg functions[] = {{"pack", pack_new},
                                       {"pack_look", pack_look},
                                       {"pack_map", pack_map},
                                       {"standin", standin},
                                       {"source", source_new},
                                       {"pack_verify", pack_verify},
                                       {"pack_stamp", pack_stamp},
                                       {"pack_blank", pack_blank},
                                       {"save_png", save_png},
                                       {"load_image", load_image},
                                       {"from_bytes", from_bytes},
                                       {"fetch", fetch},
                                       {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"put", pack_put},     {"take", pack_take},  {"draw", pack_draw},     {"finish", pack_finish},
      {"close", pack_close}, {"__gc", pack_close}, {"__close", pack_close}, {NULL, NULL}};
  static const luaL_Reg source[] = {{"names", source_names},   {"assign", source_assign},
                                    {"close", source_close},   {"__gc", source_close},
                                    {"__close", source_close}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  lua_pushinteger(L, FM_PACK_TEXT); /* bytes that a pack's description must stay below */
  lua_setfield(L, -2, "pack_text");
  for (int k = 0; k < 2; k++) {
    luaL_newmetatable(L, k ? FM_SOURCE : FM_PACK);
    luaL_setfuncs(L, k ? source : methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
  }
}
