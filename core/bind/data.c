/* data.c - images in Lua: packed data sets, stand-ins, imports, downloads, pictures as files. */
#include <string.h>

#include "bind.h"
#include "../io/archive.h"
#include "../io/fetch.h"
#include "../io/image.h"
#include "../map.h"
#include "../standin/standin.h"

static const char pack_type[] = "flowmap.pack", source_type[] = "flowmap.source";

/* ------------------------------------------------------------------ arguments */

#define MOST INT64_C(1000000000000) /* the largest count or size that is accepted */

static int64_t natural(lua_State *L, int arg, const char *name) {
  char found[BIND_FOUND];
  int whole = 0;
  lua_getfield(L, arg, name);
  const bool absent = lua_isnil(L, -1);
  int64_t n = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
  if (!absent && (!whole || n < 0 || n > MOST))
    bind_fail(L, FM_EUSAGE, "pack: %s is %s, expected a whole number from 0 to %lld", name,
              bind_found(L, lua_gettop(L), found), (long long)MOST);
  lua_pop(L, 1);
  return n;
}

static void read_info(lua_State *L, int arg, fm_pack_info *i) {
  char found[BIND_FOUND];
  size_t n = 0;
  fm_shape s;
  *i = (fm_pack_info){.count = natural(L, arg, "count"),
                      .train = natural(L, arg, "train"),
                      .classes = natural(L, arg, "classes")};
  if (lua_getfield(L, arg, "shape") != LUA_TTABLE)
    bind_fail(L, FM_EUSAGE, "pack: shape is %s, expected one such as {32, 32, 3}",
              bind_found(L, -1, found));
  bind_shape(L, lua_gettop(L), &s);
  const int type = lua_getfield(L, arg, "text");
  if (type != LUA_TNIL && type != LUA_TSTRING)
    bind_fail(L, FM_EUSAGE, "pack: text is %s, expected a string", bind_found(L, -1, found));
  const char *text = type == LUA_TNIL ? "" : lua_tolstring(L, -1, &n);
  if (s.nd != 3)
    bind_fail(L, FM_EUSAGE, "pack: a shape of rank %d found, expected one such as {32, 32, 3}",
              s.nd);
  if (n >= FM_PACK_TEXT || strlen(text) != n)
    bind_fail(L, FM_EUSAGE,
              "pack: a description of %zu bytes found, expected at most %d without zero bytes", n,
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

typedef struct pack_box {
  const char *type;
  fm_pack p; /* out.fd < 0: closed */
} pack_box;

static int pack_new(lua_State *L) { /* core.pack(path, {count, shape, train, classes, text}) */
  fm_pack_info info;
  const char *path = bind_path(L, 1);
  if (!lua_istable(L, 2)) bind_expected(L, 2, "a table such as {count = 1, shape = {32, 32, 3}}");
  read_info(L, 2, &info);
  pack_box *b = bind_new_box(L, pack_type, sizeof *b);
  b->p.out.fd = -1;
  lua_pushvalue(L, 1); /* the pack borrows the path */
  lua_setiuservalue(L, -2, 1);
  if (fm_pack_create(&b->p, bind_ctx(L), path, &info) != FM_OK) bind_raise(L);
  return 1;
}

static fm_pack *check_pack(lua_State *L) {
  pack_box *b = bind_box(L, 1, pack_type, sizeof *b);
  if (b == NULL || b->p.out.ctx == NULL) bind_expected(L, 1, "a pack that is being written");
  if (b->p.out.fd < 0) bind_fail(L, FM_EUSAGE, "pack: this pack is closed");
  return &b->p;
}

static int pack_close(lua_State *L) {
  pack_box *b = bind_box(L, 1, pack_type, sizeof *b);
  if (b && b->p.out.ctx) fm_pack_close(&b->p);
  return 0;
}

static int pack_finish(lua_State *L) { /* p:finish(): the file appears at its path */
  fm_pack *p = check_pack(L);
  if (fm_pack_finish(p) != FM_OK) bind_raise(L);
  return pack_close(L);
}

static int pack_put(lua_State *L) { /* p:put(at, images, labels): `at` is 0-based */
  int64_t at = bind_integer(L, 2, 0, MOST);
  fm_tensor *x = bind_tensor(L, 3);
  const uint8_t *labels = NULL;
  size_t n = 0;
  if (!lua_isnoneornil(L, 4)) labels = (const uint8_t *)bind_text(L, 4, &n);
  fm_pack *p = check_pack(L);
  const fm_pack_info *i = &p->info;
  const fm_shape want = {4, {x->shape.d[0], i->height, i->width, i->channels}};
  char a[96];
  if (x->dtype != FM_U8 || !fm_shape_eq(&x->shape, &want))
    bind_fail(L, FM_EUSAGE, "pack: images %s %s found, expected uint8 (n, %d, %d, %d)",
              fm_dtype_name(x->dtype), fm_shape_text(&x->shape, a), (int)i->height, (int)i->width,
              (int)i->channels);
  if (labels && n != (size_t)x->shape.d[0])
    bind_fail(L, FM_EUSAGE, "pack: %zu labels found, expected %lld", n, (long long)x->shape.d[0]);
  fm_err err = fm_pack_put(p, at, x->shape.d[0], x->data, labels);
  if (err == FM_OK && (err = fm_map_check(x)) != FM_OK) fm_pack_close(p); /* lost bytes are in it */
  if (err != FM_OK) bind_raise(L);
  return 0;
}

static const char *const standins[] = {"objects", "faces", "animals", NULL};

static int pack_draw(lua_State *L) { /* p:draw(kind, seed, at, n) */
  fm_standin kind = (fm_standin)bind_option(L, 2, standins);
  uint64_t seed = (uint64_t)bind_integer(L, 3, INT64_MIN, INT64_MAX);
  int64_t at = bind_integer(L, 4, 0, MOST), n = bind_integer(L, 5, 0, MOST);
  fm_pack *p = check_pack(L);
  bind_check_signals(L);
  if (fm_standin_draw(p, kind, seed, at, n) != FM_OK) bind_raise(L);
  return 0;
}

static int standin(lua_State *L) { /* core.standin(kind) -> side, {class names} */
  int n;
  fm_standin kind = (fm_standin)bind_option(L, 1, standins);
  const char *const *names = fm_standin_classes(kind, &n);
  lua_pushinteger(L, fm_standin_side(kind));
  lua_createtable(L, n, 0);
  for (int k = 0; k < n; k++) {
    lua_pushstring(L, names[k]);
    lua_rawseti(L, -2, k + 1);
  }
  return 2;
}

/* ------------------------------------------------------------------ sources of images */

typedef struct source_box {
  const char *type;
  fm_source *s;   /* NULL: closed */
  int64_t *place; /* of each file, for p:take; from fm_alloc */
  uint8_t *label; /* likewise */
} source_box;

static int source_new(lua_State *L) { /* core.source(path): a folder or an archive */
  const char *path = bind_path(L, 1);
  source_box *b = bind_new_box(L, source_type, sizeof *b);
  if ((b->s = fm_source_open(bind_ctx(L), path)) == NULL) bind_raise(L);
  return 1;
}

static int source_close(lua_State *L) {
  source_box *b = bind_box(L, 1, source_type, sizeof *b);
  if (b == NULL || b->s == NULL) return 0;
  const source_box was = *b;
  *b = (source_box){source_type, NULL, NULL, NULL};
  const size_t n = (size_t)fm_source_count(was.s);
  if (was.place) fm_free(bind_ctx(L), was.place, n * sizeof *was.place);
  if (was.label) fm_free(bind_ctx(L), was.label, n);
  fm_source_close(was.s);
  return 0;
}

static source_box *check_source(lua_State *L, int arg) {
  source_box *b = bind_box(L, arg, source_type, sizeof *b);
  if (b == NULL) bind_expected(L, arg, "a source of images");
  if (b->s == NULL) bind_fail(L, FM_EUSAGE, "source: this source is closed");
  return b;
}

static int source_names(lua_State *L) { /* s:names() -> {name, ...} */
  const int64_t n = fm_source_count(check_source(L, 1)->s);
  lua_createtable(L, (int)n, 0); /* at most FM_SOURCE_FILES */
  for (int64_t k = 0; k < n; k++) {
    lua_pushstring(L, fm_source_name(check_source(L, 1)->s, k));
    lua_rawseti(L, -2, k + 1);
  }
  return 1;
}

/* Entry k (from 1) of the list at `arg`: -1 to `high`, or `otherwise` if it is nil. */
static int64_t entry(lua_State *L, int arg, int64_t k, int64_t otherwise, int64_t high) {
  char found[BIND_FOUND];
  int whole = 0;
  if (lua_rawgeti(L, arg, k) == LUA_TNUMBER) otherwise = lua_tointegerx(L, -1, &whole);
  if (!lua_isnil(L, -1) && (!whole || otherwise < -1 || otherwise > high))
    bind_fail(L, FM_EUSAGE, "source: file %lld has %s, expected a whole number from -1 to %lld",
              (long long)k, bind_found(L, lua_gettop(L), found), (long long)high);
  lua_pop(L, 1);
  return otherwise;
}

/*
** s:assign({[file] = place}, {[file] = label}): files by number from 1, places and labels from 0. A
** file without a place, such as a text among images, is not taken.
*/
static int source_assign(lua_State *L) {
  lua_settop(L, 3);
  bind_table(L, 2, "a table of places");
  bind_table(L, 3, "a table of labels");
  source_box *b = check_source(L, 1);
  fm_ctx *ctx = bind_ctx(L);
  const int64_t n = fm_source_count(b->s);
  if (b->place == NULL && !(b->place = fm_alloc(ctx, (size_t)n * sizeof *b->place))) bind_raise(L);
  if (b->label == NULL && !(b->label = fm_alloc(ctx, (size_t)n))) bind_raise(L);
  for (int64_t k = 0; k < n; k++)
    b->place[k] = -1, b->label[k] = 0; /* valid even if an entry raises */
  for (int64_t k = 0; k < n; k++) {
    const int64_t label = entry(L, 3, k + 1, 0, FM_PACK_CLASSES - 1);
    b->label[k] = label < 0 ? 0 : (uint8_t)label;
    b->place[k] = entry(L, 2, k + 1, -1, MOST);
  }
  if (fm_source_check(b->s, b->place) != FM_OK) bind_raise(L);
  return 0;
}

/* p:take(source, {records, height, width, crop}) -> number of files taken, 0 at the end */
static int pack_take(lua_State *L) {
  if (!lua_istable(L, 3)) bind_expected(L, 3, "a table such as {height = 32, width = 32}");
  fm_intake plan = {NULL,
                    NULL,
                    natural(L, 3, "records"),
                    natural(L, 3, "height"),
                    natural(L, 3, "width"),
                    natural(L, 3, "crop")};
  fm_pack *p = check_pack(L);
  source_box *b = check_source(L, 2);
  if (b->place == NULL) bind_fail(L, FM_EUSAGE, "source: its files have not been assigned places");
  plan.place = b->place, plan.label = b->label;
  bind_check_signals(L);
  int64_t files;
  if (fm_pack_take(p, b->s, &plan, &files) != FM_OK) bind_raise(L);
  lua_pushinteger(L, files);
  return 1;
}

/* ------------------------------------------------------------------ reading packs */

static int pack_look(lua_State *L) { /* core.pack_look(path) -> {count, shape, ..., hash, text} */
  fm_pack_info info;
  if (fm_pack_look(bind_ctx(L), bind_path(L, 1), &info) != FM_OK) bind_raise(L);
  push_info(L, &info);
  return 1;
}

/* core.pack_map(path, first (0-based), n, stamp or nil) -> table, labels */
static int pack_map(lua_State *L) {
  int64_t first = bind_integer(L, 2, 0, MOST), n = bind_integer(L, 3, 0, MOST);
  const char *path = bind_path(L, 1);
  const char *stamp = lua_isnoneornil(L, 4) ? NULL : bind_text(L, 4, NULL);
  value *images = bind_push_empty(L), *numbers = bind_push_empty(L);
  fm_tensor *table, *labels;
  if (fm_pack_map(bind_ctx(L), path, first, n, stamp, &table, &labels) != FM_OK) bind_raise(L);
  if (labels) bind_own(L, numbers, labels);
  bind_own(L, images, table);
  if (labels == NULL) lua_pop(L, 1);
  return labels ? 2 : 1;
}

static int push_stamp(lua_State *L, const fm_stamp *stamp) {
  lua_pushstring(L, stamp->text);
  lua_pushboolean(L, stamp->fresh);
  return 2;
}

/* core.pack_verify(path) -> stamp of the verified file, whether that is too recent to be trusted */
static int pack_verify(lua_State *L) {
  fm_stamp stamp;
  if (fm_pack_verify(bind_ctx(L), bind_path(L, 1), &stamp) != FM_OK) bind_raise(L);
  return push_stamp(L, &stamp);
}

static int pack_stamp(lua_State *L) { /* core.pack_stamp(path) -> the same, unverified */
  fm_stamp stamp;
  if (fm_pack_stamp(bind_ctx(L), bind_path(L, 1), &stamp) != FM_OK) bind_raise(L);
  return push_stamp(L, &stamp);
}

static int pack_blank(lua_State *L) { /* core.pack_blank({N, H, W, C}): zeros that use no memory */
  fm_shape s;
  bind_shape(L, 1, &s);
  value *x = bind_push_empty(L);
  bind_own(L, x, fm_pack_blank(bind_ctx(L), &s));
  return 1;
}

/* ------------------------------------------------------------------ pictures */

static int save_png(lua_State *L) { /* fm.save_png(path, (H, W, 3): uint8, or float in [-1, 1]) */
  if (fm_save_png(bind_ctx(L), bind_path(L, 1), bind_tensor(L, 2)) != FM_OK) bind_raise(L);
  return 0;
}

static int load_image(lua_State *L) { /* fm.load_image(path) -> uint8 (H, W, 3) */
  value *x = bind_push_empty(L);
  fm_tensor *t = NULL;
  if (fm_load_image(bind_ctx(L), bind_path(L, 1), &t) != FM_OK) bind_raise(L);
  bind_own(L, x, t);
  return 1;
}

static int from_bytes(lua_State *L) { /* fm.from_bytes(text, shape) -> uint8 */
  size_t n;
  fm_shape s;
  const char *text = bind_text(L, 1, &n);
  bind_shape(L, 2, &s);
  if (fm_shape_bytes(&s, FM_U8, n) != (int64_t)n)
    bind_fail(L, FM_EUSAGE, "from_bytes: %zu bytes found, expected one for each value of the shape",
              n);
  value *x = bind_push_empty(L);
  bind_own(L, x, fm_tensor_new(bind_ctx(L), FM_U8, &s));
  memcpy(x->t->data, text, n);
  return 1;
}

/* ------------------------------------------------------------------ downloads */

typedef struct teller {
  lua_State *L; /* index 3: the function to call; index 4: what it returned or raised */
  bool raised;
} teller;

/* If the function raises an error or returns false, the download stops. */
static bool report(void *arg, double now, double total) {
  teller *t = arg;
  lua_State *L = t->L;
  if (lua_isnil(L, 3) || !lua_checkstack(L, 4)) return true;
  lua_pushvalue(L, 3);
  lua_pushnumber(L, now);
  lua_pushnumber(L, total);
  t->raised = lua_pcall(L, 2, 1, 0) != LUA_OK;
  lua_replace(L, 4);
  return !t->raised && (lua_isnil(L, 4) || lua_toboolean(L, 4));
}

static int fetch(lua_State *L) { /* core.fetch(url, path, function(now, total) or nil) */
  const char *url = bind_text(L, 1, NULL), *path = bind_path(L, 2);
  teller t = {L, false};
  if (!lua_isnoneornil(L, 3) && !lua_isfunction(L, 3))
    bind_expected(L, 3, "a function that is told of the progress");
  lua_settop(L, 4);
  const fm_err err = fm_fetch(bind_ctx(L), url, path, report, &t);
  if (t.raised) return lua_error(L); /* the value at the top */
  if (err != FM_OK) bind_raise(L);
  return 0;
}

void bind_open_data(lua_State *L) {
  static const bind_reg functions[] = {{"pack", pack_new, 2},
                                       {"pack_look", pack_look, 1},
                                       {"pack_map", pack_map, 4},
                                       {"standin", standin, 1},
                                       {"source", source_new, 1},
                                       {"pack_verify", pack_verify, 1},
                                       {"pack_stamp", pack_stamp, 1},
                                       {"pack_blank", pack_blank, 1},
                                       {"save_png", save_png, 2},
                                       {"load_image", load_image, 1},
                                       {"from_bytes", from_bytes, 2},
                                       {"fetch", fetch, 3},
                                       {NULL, NULL, 0}};
  static const bind_reg pack[] = {{"put", pack_put, 3},     {"take", pack_take, 3},
                                  {"draw", pack_draw, 4},   {"finish", pack_finish, 0},
                                  {"close", pack_close, 0}, {NULL, NULL, 0}};
  static const bind_reg source[] = {{"names", source_names, 0},
                                    {"assign", source_assign, 2},
                                    {"close", source_close, 0},
                                    {NULL, NULL, 0}};
  bind_set(L, functions);
  lua_pushinteger(L, FM_PACK_TEXT); /* a pack's description must be shorter, in bytes */
  lua_setfield(L, -2, "pack_text");
  bind_new_type(L, pack_type, pack, pack_close);
  bind_new_type(L, source_type, source, source_close);
  lua_pop(L, 2);
}
