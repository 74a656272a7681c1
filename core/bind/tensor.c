/* tensor.c - tensors in Lua: creating them, reading them, freeing them. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bind.h"
#include "../map.h"

/* ------------------------------------------------------------------ userdata */

const char bind_tensor_type[] = "flowmap.tensor";
const char bind_trace_type[] = "flowmap.trace";

value *bind_push_empty(lua_State *L) {
  luaL_checkstack(L, 4, "tensors");
  value *x = bind_new_box(L, bind_tensor_type, sizeof *x);
  x->v = FM_NONE;
  return x;
}

void bind_own(lua_State *L, value *x, fm_tensor *t) {
  if (t == NULL) bind_raise(L);
  x->t = t;
  if (!t->map && !t->of) bind_count(L, t->bytes);
}

void bind_push_traced(lua_State *L, int trace, fm_val v) {
  trace = lua_absindex(L, trace);
  trace_box *tr = bind_box(L, trace, bind_trace_type, sizeof *tr);
  if (v == FM_NONE) bind_raise(L);
  value *x = bind_push_empty(L);
  x->trace = tr;
  x->v = v;
  lua_pushvalue(L, trace);
  lua_setiuservalue(L, -2, 1);
}

value *bind_test(lua_State *L, int arg) {
  return bind_box(L, arg, bind_tensor_type, sizeof(value));
}

/* Whether the trace of a value is open. Its user value keeps the trace alive, and must match. */
static bool is_open(lua_State *L, int arg, const value *x) {
  lua_getiuservalue(L, arg, 1);
  const bool kept = x->trace && lua_touserdata(L, -1) == x->trace;
  lua_pop(L, 1);
  return kept && x->trace->p != NULL;
}

/* Raise "FUNCTION: argument ARG WHY", or "FUNCTION: entry ENTRY of argument ARG WHY". */
static _Noreturn void refuse(lua_State *L, int arg, int entry, const char *why, const char *more) {
  char name[64], of[32] = "";
  luaL_checkstack(L, 10, NULL);
  if (entry > 0) snprintf(of, sizeof of, "entry %d of ", entry);
  bind_fail(L, FM_EUSAGE, "%s: %sargument %d %s%s", bind_function(L, name), of, arg, why, more);
}

/* The value at stack index `at`, which is argument `arg`, or an entry (from 1) of it. */
static value *value_at(lua_State *L, int at, int arg, int entry) {
  char found[BIND_FOUND], text[BIND_FOUND + 32];
  value *x = bind_test(L, at);
  if (x == NULL) {
    snprintf(text, sizeof text, "%s, expected a tensor", bind_found(L, at, found));
    refuse(L, arg, entry, "is ", text);
  }
  if (x->t == NULL && !is_open(L, at, x))
    refuse(L, arg, entry, "is a value of a trace that has ended; only values that the traced ",
           "function returns outlive it");
  return x;
}

static fm_tensor *tensor_at(lua_State *L, int at, int arg, int entry) {
  value *x = value_at(L, at, arg, entry);
  if (x->t == NULL)
    refuse(L, arg, entry, "is being traced and has no numbers yet; compute with it instead of ",
           "reading it");
  return x->t;
}

static fm_tensor *writable_at(lua_State *L, int at, int arg, int entry) {
  fm_tensor *t = tensor_at(L, at, arg, entry);
  if ((t->of ? t->of : t)->map)
    refuse(L, arg, entry, "is a tensor in a packed file, which is read-only", "");
  return t;
}

value *bind_value(lua_State *L, int arg) { return value_at(L, arg, arg, 0); }
fm_tensor *bind_tensor(lua_State *L, int arg) { return tensor_at(L, arg, arg, 0); }
fm_tensor *bind_writable(lua_State *L, int arg) { return writable_at(L, arg, arg, 0); }

value *bind_entry_value(lua_State *L, int arg, int k) { return value_at(L, lua_gettop(L), arg, k); }

fm_tensor *bind_entry(lua_State *L, int arg, int k, bool writable) {
  return (writable ? writable_at : tensor_at)(L, lua_gettop(L), arg, k);
}

trace_box *bind_trace(lua_State *L, int arg) {
  trace_box *tr = bind_box(L, arg, bind_trace_type, sizeof *tr);
  if (tr == NULL || tr->p == NULL) bind_expected(L, arg, "an open trace");
  return tr;
}

fm_sig bind_sig(const value *x) {
  return x->t ? (fm_sig){x->t->dtype, x->t->shape} : fm_prog_sig(x->trace->p, x->v);
}

fm_val bind_lift(lua_State *L, trace_box *tr, value *x) {
  if (x->t == NULL && x->trace != tr)
    bind_fail(L, FM_EUSAGE, "a value of one trace is used inside another");
  fm_val v = x->t ? fm_const(tr->p, x->t) : x->v;
  if (v == FM_NONE) bind_raise(L);
  return v;
}

static int tensor_close(lua_State *L) {
  fm_tensor_drop(bind_take(L, bind_tensor_type));
  return 0;
}

/* ------------------------------------------------------------------ creating */

static const char numbers[] = "a number or a table of numbers";

static fm_tensor *push_zeros(lua_State *L, fm_dtype dtype, const fm_shape *s) {
  value *x = bind_push_empty(L);
  bind_own(L, x, fm_tensor_new(bind_ctx(L), dtype, s));
  return x->t;
}

/* The shape of a nested table, judged by its first elements. */
static void table_shape(lua_State *L, int arg, fm_shape *s) {
  *s = (fm_shape){0, {0}};
  lua_pushvalue(L, arg);
  while (lua_istable(L, -1)) {
    if (s->nd == FM_MAX_DIMS)
      bind_fail(L, FM_EUSAGE, "tensor: a table nested deeper than %d found", FM_MAX_DIMS);
    s->d[s->nd++] = bind_length(L, lua_gettop(L), "tensor: the table", numbers);
    lua_rawgeti(L, -1, 1);
    lua_remove(L, -2);
  }
  lua_pop(L, 1);
}

/* Store a value from Lua; for uint8 it must be a byte. */
static void put(lua_State *L, fm_tensor *t, int64_t at, double x) {
  char name[64];
  if (t->dtype == FM_U8 && !(x >= 0 && x <= 255 && x == (int)x))
    bind_fail(L, FM_EUSAGE,
              "%s: value %lld is %.14g, expected a whole number from 0 to 255 (uint8)",
              bind_function(L, name), (long long)at + 1, x);
  fm_tensor_set(t, at, x);
}

static void fill_from(lua_State *L, fm_tensor *t, int depth, int64_t *at) {
  char found[BIND_FOUND];
  if (depth == t->shape.nd) {
    if (lua_type(L, -1) != LUA_TNUMBER)
      bind_fail(L, FM_EUSAGE, "tensor: value %lld is %s, expected a number", (long long)*at + 1,
                bind_found(L, lua_gettop(L), found));
    put(L, t, (*at)++, lua_tonumber(L, -1));
    return;
  }
  if (!lua_istable(L, -1))
    bind_fail(L, FM_EUSAGE, "tensor: ragged table: %s found at depth %d, expected %lld entries",
              bind_found(L, lua_gettop(L), found), depth + 1, (long long)t->shape.d[depth]);
  const int64_t n = bind_length(L, lua_gettop(L), "tensor: a table in it", numbers);
  if (n != t->shape.d[depth])
    bind_fail(L, FM_EUSAGE, "tensor: ragged table: %lld entries found at depth %d, expected %lld",
              (long long)n, depth + 1, (long long)t->shape.d[depth]);
  for (int64_t k = 1; k <= n; k++) {
    lua_rawgeti(L, -1, k);
    fill_from(L, t, depth + 1, at);
    lua_pop(L, 1);
  }
}

/* fm.tensor(x [, dtype]) of a tensor: x itself, which must be of that type. */
static int same_tensor(lua_State *L) {
  const fm_dtype is = bind_sig(bind_value(L, 1)).dtype, dtype = bind_dtype(L, 2, is);
  if (dtype != is)
    bind_fail(L, FM_EUSAGE,
              "tensor: a %s tensor found, expected numbers to make a %s one; "
              "fm.cast converts a tensor",
              fm_dtype_name(is), fm_dtype_name(dtype));
  return lua_settop(L, 1), 1;
}

static int make_tensor(lua_State *L) { /* fm.tensor(nested [, dtype]) */
  fm_shape s;
  int64_t at = 0;
  if (bind_test(L, 1)) return same_tensor(L);
  if (!lua_istable(L, 1) && lua_type(L, 1) != LUA_TNUMBER) bind_expected(L, 1, numbers);
  fm_dtype dtype = bind_dtype(L, 2, FM_F32);
  table_shape(L, 1, &s);
  fm_tensor *t = push_zeros(L, dtype, &s);
  lua_pushvalue(L, 1);
  fill_from(L, t, 0, &at);
  lua_pop(L, 1);
  return 1;
}

static int make_full(lua_State *L) { /* fm.full(shape, number [, dtype]) */
  fm_shape s;
  bind_shape(L, 1, &s);
  double x = bind_number(L, 2);
  fm_tensor *t = push_zeros(L, bind_dtype(L, 3, FM_F32), &s);
  int64_t n = fm_shape_count(&s);
  for (int64_t k = 0; (x != 0 || signbit(x)) && k < n; k++) put(L, t, k, x);
  return 1;
}

enum { MOST_IN_F32 = 1 << 24 };

static int make_arange(lua_State *L) { /* fm.arange(n [, dtype]): 0 .. n-1 */
  fm_shape s = {1, {bind_integer(L, 1, 0, INT64_MAX)}};
  fm_dtype dtype = bind_dtype(L, 2, FM_F32);
  if (dtype == FM_F32 && s.d[0] > MOST_IN_F32 + 1)
    bind_fail(L, FM_EUSAGE,
              "arange: %lld numbers found, but float32 holds all whole numbers only up to %d; "
              "expected float64",
              (long long)s.d[0], MOST_IN_F32);
  fm_tensor *t = push_zeros(L, dtype, &s);
  for (int64_t k = 0; k < s.d[0]; k++) put(L, t, k, (double)k);
  return 1;
}

/* Check that the table at index 2 has no other field: a misspelt one would be ignored. */
static void check_fields(lua_State *L, const char *const *known, size_t count) {
  lua_pushnil(L);
  while (lua_next(L, 2)) {
    lua_pop(L, 1);
    const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
    size_t k = 0;
    while (k < count && strcmp(known[k], name) != 0) k++;
    if (k == count)
      bind_fail(L, FM_EUSAGE,
                "random numbers: the field '%.40s' found, expected seed, stream, step, row0 or "
                "dtype",
                name);
  }
}

/* The field at stack index `at`: a whole number, 0 if it is absent. */
static int64_t random_field(lua_State *L, int at, const char *name, int64_t low, int64_t high) {
  char function[64], found[BIND_FOUND];
  int whole = 0;
  if (lua_isnil(L, at)) return 0;
  const int64_t n = lua_type(L, at) == LUA_TNUMBER ? lua_tointegerx(L, at, &whole) : 0;
  if (!whole && low == INT64_MIN)
    bind_fail(L, FM_EUSAGE, "%s: %s is %s, expected a whole number", bind_function(L, function),
              name, bind_found(L, at, found));
  if (!whole || n < low || n > high)
    bind_fail(L, FM_EUSAGE, "%s: %s is %s, expected a whole number from %lld to %lld",
              bind_function(L, function), name, bind_found(L, at, found), (long long)low,
              (long long)high);
  return n;
}

/* fm.uniform(shape, {seed=, stream=, step=, row0=, dtype=}) and fm.normal: eager numbers */
static int make_random(lua_State *L) {
  bind_at_most(L, 2);
  fm_shape s;
  bind_shape(L, 1, &s);
  int64_t rows = s.nd ? s.d[0] : 1;
  if (!lua_istable(L, 2)) bind_expected(L, 2, "a table such as {seed = 1, stream = 'data'}");
  lua_settop(L, 2);
  static const char *const key[] = {"seed", "stream", "step", "row0", "dtype"};
  check_fields(L, key, sizeof key / sizeof *key);
  for (size_t k = 0; k < sizeof key / sizeof *key; k++) lua_getfield(L, 2, key[k]);
  const int64_t most = rows < FM_RNG_SAMPLES ? FM_RNG_SAMPLES - rows : 0;
  fm_rng r = {(uint64_t)random_field(L, 3, "seed", INT64_MIN, INT64_MAX),
              lua_type(L, 4) == LUA_TSTRING ? bind_stream(L, 4)
                                            : (uint32_t)random_field(L, 4, "stream", 0, UINT32_MAX),
              (uint32_t)random_field(L, 5, "step", 0, UINT32_MAX)};
  int64_t row0 = random_field(L, 6, "row0", 0, most);
  fm_dtype dtype = bind_dtype(L, 7, FM_F32);
  if (dtype == FM_U8)
    bind_fail(L, FM_EUSAGE, "random numbers: uint8 found, expected 'float32' or 'float64'");
  fm_tensor *t = push_zeros(L, dtype, &s);
  int64_t n = fm_shape_count(&s);
  if (rows > 0 && n / rows > FM_RNG_VALUES(dtype))
    bind_fail(L, FM_EUSAGE, "random numbers: %lld values per sample found, expected at most %lld",
              (long long)(n / rows), (long long)FM_RNG_VALUES(dtype));
  bool normal = lua_toboolean(L, lua_upvalueindex(1));
  if (n > 0 && rows > 0)
    (normal ? fm_rng_normal : fm_rng_uniform)(&r, t->dtype, row0, rows, n / rows, t->data);
  return 1;
}

/* ------------------------------------------------------------------ reading */

/* Return n results read from t, or raise if t's mapped file lost them meanwhile. */
static int return_read(lua_State *L, const fm_tensor *t, int n) {
  if (fm_map_check(t) != FM_OK) bind_raise(L);
  return n;
}

static int64_t flat_index(lua_State *L, const fm_tensor *t) { /* arguments 2.. are 1-based */
  int64_t at = 0;
  if (lua_gettop(L) - 1 != t->shape.nd)
    bind_fail(L, FM_EUSAGE, "get: %d indices found, expected %d", lua_gettop(L) - 1, t->shape.nd);
  for (int k = 0; k < t->shape.nd; k++) {
    int64_t i = bind_integer(L, k + 2, INT64_MIN, INT64_MAX);
    if (i < 1 || i > t->shape.d[k])
      bind_fail(L, FM_EUSAGE, "get: index %lld of axis %d found, expected 1 to %lld", (long long)i,
                k + 1, (long long)t->shape.d[k]);
    at = at * t->shape.d[k] + i - 1;
  }
  return at;
}

static int tensor_get(lua_State *L) {
  fm_tensor *t = bind_tensor(L, 1);
  lua_pushnumber(L, fm_tensor_get(t, flat_index(L, t)));
  return return_read(L, t, 1);
}

static int tensor_item(lua_State *L) {
  fm_tensor *t = bind_tensor(L, 1);
  char a[96];
  if (fm_shape_count(&t->shape) != 1)
    bind_fail(L, FM_EUSAGE, "item: a tensor of shape %s found, expected one value",
              fm_shape_text(&t->shape, a));
  lua_pushnumber(L, fm_tensor_get(t, 0));
  return return_read(L, t, 1);
}

/* n as a size hint for lua_createtable. */
static int hint(int64_t n) { return n < INT_MAX ? (int)n : INT_MAX; }

static void push_nested(lua_State *L, const fm_tensor *t, int depth, int64_t *at) {
  if (depth == t->shape.nd) {
    lua_pushnumber(L, fm_tensor_get(t, (*at)++));
    return;
  }
  lua_createtable(L, hint(t->shape.d[depth]), 0);
  for (int64_t k = 1; k <= t->shape.d[depth]; k++) {
    push_nested(L, t, depth + 1, at);
    lua_rawseti(L, -2, k);
  }
}

static int tensor_totable(lua_State *L) {
  int64_t at = 0;
  const fm_tensor *t = bind_tensor(L, 1);
  push_nested(L, t, 0, &at);
  return return_read(L, t, 1);
}

static int tensor_flat(lua_State *L) {
  fm_tensor *t = bind_tensor(L, 1);
  int64_t n = fm_shape_count(&t->shape);
  lua_createtable(L, hint(n), 0);
  for (int64_t k = 0; k < n; k++) {
    lua_pushnumber(L, fm_tensor_get(t, k));
    lua_rawseti(L, -2, k + 1);
  }
  return return_read(L, t, 1);
}

/* t:copy_from(u): overwrite t's values in place, as for parameters that others refer to. */
static int tensor_copy_from(lua_State *L) {
  fm_tensor *t = bind_writable(L, 1), *u = bind_tensor(L, 2);
  char a[96], b[96];
  if (t->dtype != u->dtype || !fm_shape_eq(&t->shape, &u->shape))
    bind_fail(L, FM_EUSAGE, "copy_from: %s %s found, expected %s %s", fm_dtype_name(u->dtype),
              fm_shape_text(&u->shape, a), fm_dtype_name(t->dtype), fm_shape_text(&t->shape, b));
  memmove(t->data, u->data, t->bytes);
  fm_tensor_written(t);
  lua_settop(L, 1);
  return return_read(L, u, 1);
}

/* t:view(first, n): rows first (from 1) to first + n - 1, aliasing t's memory. */
static int tensor_view(lua_State *L) {
  int64_t first = bind_integer(L, 2, INT64_MIN, INT64_MAX);
  int64_t n = bind_integer(L, 3, INT64_MIN, INT64_MAX);
  value *x = bind_push_empty(L);
  bind_own(L, x, fm_tensor_view(bind_tensor(L, 1), first > 0 ? first - 1 : -1, n));
  return 1;
}

static int tensor_finite(lua_State *L) { /* true, or false and a 1-based flat index */
  int64_t where = 0;
  bool ok = fm_tensor_finite(bind_tensor(L, 1), &where);
  lua_pushboolean(L, ok);
  if (ok) return 1;
  lua_pushinteger(L, where + 1);
  return 2;
}

static int tensor_bytes(lua_State *L) { /* the raw little-endian values, for hashes and equality */
  fm_tensor *t = bind_tensor(L, 1);
  lua_pushlstring(L, t->data, t->bytes);
  return return_read(L, t, 1);
}

static int tensor_text(lua_State *L) {
  value *x = bind_test(L, 1);
  char shape[96];
  if (x == NULL) bind_expected(L, 1, "a tensor");
  if (x->t == NULL) {
    lua_pushfstring(L, x->trace ? "traced value %d" : "closed tensor", (int)x->v);
    return 1;
  }
  int64_t n = fm_shape_count(&x->t->shape);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (int64_t k = 0; k < n && k < 8; k++) {
    lua_pushfstring(L, k ? ", %f" : "%f", fm_tensor_get(x->t, k));
    luaL_addvalue(&b);
  }
  if (n > 8) luaL_addstring(&b, ", ...");
  luaL_pushresult(&b);
  lua_pushfstring(L, "%s %s {%s}", fm_dtype_name(x->t->dtype), fm_shape_text(&x->t->shape, shape),
                  lua_tostring(L, -1));
  return return_read(L, x->t, 1);
}

static int tensor_len(lua_State *L) {
  fm_sig sig = bind_sig(bind_value(L, 1));
  lua_pushinteger(L, sig.shape.nd ? sig.shape.d[0] : 0);
  return 1;
}

static _Noreturn void no_field(lua_State *L) {
  char found[BIND_FOUND];
  const char *what = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : bind_found(L, 2, found);
  const char *here = bind_counterpart(what);
  if (here)
    bind_fail(L, FM_EUSAGE, "tensor: no field or method '%s' found; did you mean %s?", what, here);
  bind_fail(L, FM_EUSAGE,
            "tensor: no field or method '%.60s' found, expected shape, dtype, traced or a "
            "function of fm; read values by x:get(k) or x:flat(), rows by x:rows(first, n)",
            what);
}

/* t.shape, t.dtype, t.traced; anything else is a function of the module used as a method. */
static int tensor_index(lua_State *L) {
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
  if (key && strcmp(key, "shape") == 0) {
    fm_sig sig = bind_sig(bind_value(L, 1));
    bind_push_shape(L, &sig.shape);
  } else if (key && strcmp(key, "dtype") == 0) {
    lua_pushstring(L, fm_dtype_name(bind_sig(bind_value(L, 1)).dtype));
  } else if (key && strcmp(key, "traced") == 0) {
    lua_pushboolean(L, bind_value(L, 1)->t == NULL);
  } else {
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_isnil(L, -1)) no_field(L);
  }
  return 1;
}

static int is_tensor(lua_State *L) {
  lua_pushboolean(L, bind_test(L, 1) != NULL);
  return 1;
}

void bind_open_tensor(lua_State *L) {
  static const bind_reg functions[] = {
      {"tensor", make_tensor, 2},   {"full", make_full, 3},
      {"arange", make_arange, 2},   {"get", tensor_get, BIND_ANY},
      {"item", tensor_item, 1},     {"totable", tensor_totable, 1},
      {"flat", tensor_flat, 1},     {"copy_from", tensor_copy_from, 2},
      {"view", tensor_view, 3},     {"bytes", tensor_bytes, 1},
      {"finite", tensor_finite, 1}, {"is_tensor", is_tensor, 1},
      {"tostring", tensor_text, 1}, {NULL, NULL, 0}};
  bind_set(L, functions);
  for (int normal = 0; normal < 2; normal++) {
    lua_pushboolean(L, normal);
    lua_pushcclosure(L, make_random, 1);
    lua_setfield(L, -2, normal ? "normal" : "uniform");
  }
  bind_new_type(L, bind_tensor_type, NULL, tensor_close);
  lua_pushcfunction(L, tensor_text);
  lua_setfield(L, -2, "__tostring");
  lua_pushcfunction(L, tensor_len);
  lua_setfield(L, -2, "__len");
  lua_pushvalue(L, -2);
  lua_pushcclosure(L, tensor_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
