/*
** args.c - reading arguments from Lua. A wrong one raises a sentence that names the function, the
** argument, what was found and what was expected, after the calling line of the user's file.
**
** Tables are read raw, without metamethods, so that no Lua code runs while the binding holds a
** pointer. Anything that may run Lua code (an allocation: the collector calls finalisers) is done
** before pointers are taken.
*/
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bind.h"

/* ------------------------------------------------------------------ the user's line */

static const char own_key = 0; /* registry: the prefix of the names of lua/flowmap's sources */

/* core.own_sources(prefix): sources with this prefix are the library's, not the user's. */
static int own_sources(lua_State *L) {
  luaL_checkstring(L, 1);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &own_key);
  return 0;
}

const char *bind_where(lua_State *L, char buf[BIND_WHERE]) {
  lua_Debug at;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &own_key);
  const char *own = lua_tostring(L, -1);
  size_t n = own ? strlen(own) : 0;
  lua_pop(L, 1); /* the registry keeps it */
  buf[0] = '\0';
  for (int level = 0; own && lua_getstack(L, level, &at); level++) {
    lua_getinfo(L, "Sl", &at);
    if (at.currentline < 1 || strncmp(at.source, own, n) == 0) continue;
    snprintf(buf, BIND_WHERE, "%s:%d: ", at.short_src, at.currentline);
    break;
  }
  return buf;
}

static int user_place(lua_State *L) { /* -> "file:line: " of the user's code, or "" */
  char buf[BIND_WHERE];
  lua_pushstring(L, bind_where(L, buf));
  return 1;
}

/* ------------------------------------------------------------------ describing what was found */

/* The start of a string; bind_fail replaces what a sentence cannot hold. */
static void show_string(const char *text, char buf[BIND_FOUND]) {
  snprintf(buf, BIND_FOUND, "the string '%.40s%s'", text, strlen(text) > 40 ? "..." : "");
}

const char *bind_found(lua_State *L, int arg, char buf[BIND_FOUND]) {
  value *x = bind_test(L, arg);
  switch (lua_type(L, arg)) {
  case LUA_TNONE:
  case LUA_TNIL: snprintf(buf, BIND_FOUND, "missing"); break;
  case LUA_TSTRING: show_string(lua_tostring(L, arg), buf); break;
  case LUA_TBOOLEAN:
    snprintf(buf, BIND_FOUND, "%s", lua_toboolean(L, arg) ? "true" : "false");
    break;
  case LUA_TNUMBER:
    if (lua_isinteger(L, arg))
      snprintf(buf, BIND_FOUND, "%lld", (long long)lua_tointeger(L, arg));
    else
      snprintf(buf, BIND_FOUND, "%.14g", lua_tonumber(L, arg));
    break;
  default:
    snprintf(buf, BIND_FOUND, "a %s",
             x == NULL ? luaL_typename(L, arg)
             : x->t    ? "tensor"
                       : "tensor that is being traced");
  }
  return buf;
}

/* The name of the running function in flowmap.core. Leaves the stack unchanged. */
static void find_name(lua_State *L, lua_Debug *at, char name[64]) {
  const int top = lua_gettop(L);
  lua_getinfo(L, "f", at);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "flowmap.core") == LUA_TTABLE)
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
      if (lua_type(L, -2) == LUA_TSTRING && lua_rawequal(L, -1, top + 1)) {
        snprintf(name, 64, "%s", lua_tostring(L, -2));
        break;
      }
  lua_settop(L, top);
}

const char *bind_function(lua_State *L, char name[64]) {
  lua_Debug at;
  snprintf(name, 64, "flowmap");
  if (!lua_getstack(L, 0, &at)) return name;
  lua_getinfo(L, "n", &at);
  find_name(L, &at, name);
  if (strcmp(name, "flowmap") == 0 && at.name) snprintf(name, 64, "%s", at.name);
  return name;
}

_Noreturn void bind_expected(lua_State *L, int arg, const char *format, ...) {
  char name[64], found[BIND_FOUND], expected[256];
  luaL_checkstack(L, 10, NULL);
  va_list args;
  va_start(args, format);
  vsnprintf(expected, sizeof expected, format, args);
  va_end(args);
  bind_fail(L, FM_EUSAGE, "%s: argument %d is %s, expected %s", bind_function(L, name), arg,
            bind_found(L, arg, found), expected);
}

/* ------------------------------------------------------------------ numbers and strings */

int64_t bind_integer(lua_State *L, int arg, int64_t low, int64_t high) {
  int whole = 0;
  lua_Integer n = lua_type(L, arg) == LUA_TNUMBER ? lua_tointegerx(L, arg, &whole) : 0;
  if (whole && n >= low && n <= high) return n;
  if (low == INT64_MIN && high == INT64_MAX) bind_expected(L, arg, "a whole number");
  if (high == INT64_MAX)
    bind_expected(L, arg, "a whole number of at least %lld", (long long)low);
  else
    bind_expected(L, arg, "a whole number from %lld to %lld", (long long)low, (long long)high);
}

int64_t bind_opt_integer(lua_State *L, int arg, int64_t otherwise, int64_t low, int64_t high) {
  return lua_isnoneornil(L, arg) ? otherwise : bind_integer(L, arg, low, high);
}

double bind_number(lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TNUMBER) bind_expected(L, arg, "a number");
  return lua_tonumber(L, arg);
}

const char *bind_text(lua_State *L, int arg, size_t *n) {
  if (lua_type(L, arg) != LUA_TSTRING) bind_expected(L, arg, "a string");
  return lua_tolstring(L, arg, n);
}

const char *bind_path(lua_State *L, int arg) {
  size_t n;
  const char *path = lua_type(L, arg) == LUA_TSTRING ? lua_tolstring(L, arg, &n) : NULL;
  if (path == NULL || n == 0 || strlen(path) != n) bind_expected(L, arg, "the name of a file");
  return path;
}

int bind_option(lua_State *L, int arg, const char *const names[]) {
  char known[160] = "";
  const char *text = lua_type(L, arg) == LUA_TSTRING ? lua_tostring(L, arg) : NULL;
  for (int k = 0; names[k]; k++) {
    size_t at = strlen(known);
    if (text && strcmp(text, names[k]) == 0) return k;
    snprintf(known + at, sizeof known - at, "%s'%s'", k ? " or " : "", names[k]);
  }
  bind_expected(L, arg, "%s", known);
}

bool bind_boolean(lua_State *L, int arg, const char *name) {
  char function[64], found[BIND_FOUND];
  if (lua_isboolean(L, arg)) return lua_toboolean(L, arg);
  bind_fail(L, FM_EUSAGE, "%s: argument %d (%s) is %s, expected true or false",
            bind_function(L, function), arg, name, bind_found(L, arg, found));
}

bool bind_opt_boolean(lua_State *L, int arg, const char *name, bool otherwise) {
  return lua_isnoneornil(L, arg) ? otherwise : bind_boolean(L, arg, name);
}

static void at_most(lua_State *L, int n, int found) {
  char function[64];
  if (found <= n) return;
  luaL_checkstack(L, 8, NULL);
  bind_fail(L, FM_EUSAGE, "%s: %d argument%s found, expected at most %d",
            bind_function(L, function), found, found == 1 ? "" : "s", n);
}

void bind_at_most(lua_State *L, int n) { at_most(L, n, lua_gettop(L)); }
void bind_method_at_most(lua_State *L, int n) { at_most(L, n, lua_gettop(L) - 1); }

/* Upvalues: the function, the number of its arguments, and whether it is a method. */
static int guarded(lua_State *L) {
  const lua_CFunction f = lua_tocfunction(L, lua_upvalueindex(1));
  const int most = (int)lua_tointeger(L, lua_upvalueindex(2));
  (lua_toboolean(L, lua_upvalueindex(3)) ? bind_method_at_most : bind_at_most)(L, most);
  return f ? f(L) : 0;
}

static void set(lua_State *L, const bind_reg *list, bool methods) {
  for (; list->name; list++) {
    lua_pushcfunction(L, list->f);
    if (list->most != BIND_ANY) {
      lua_pushinteger(L, list->most);
      lua_pushboolean(L, methods);
      lua_pushcclosure(L, guarded, 3);
    }
    lua_setfield(L, -2, list->name);
  }
}

void bind_set(lua_State *L, const bind_reg *list) { set(L, list, false); }

/* ------------------------------------------------------------------ tables */

/* Raise "WHAT is WHY"; `what` NULL: the argument `at`. */
static _Noreturn void refuse_list(lua_State *L, int at, const char *what, const char *why,
                                  const char *expected) {
  char name[64], argument[96];
  luaL_checkstack(L, 10, NULL);
  if (what == NULL)
    snprintf(argument, sizeof argument, "%s: argument %d", bind_function(L, name), at);
  bind_fail(L, FM_EUSAGE, "%s is %s, expected %s", what ? what : argument, why, expected);
}

static void check_table(lua_State *L, int at, const char *what, const char *expected) {
  char found[BIND_FOUND];
  if (!lua_istable(L, at)) refuse_list(L, at, what, bind_found(L, at, found), expected);
  if (luaL_getmetafield(L, at, "__index") != LUA_TNIL ||
      luaL_getmetafield(L, at, "__len") != LUA_TNIL)
    refuse_list(L, at, what, "a table with a metatable", expected);
}

void bind_table(lua_State *L, int arg, const char *expected) {
  check_table(L, arg, NULL, expected);
}

/* Refuse a key beside 1 to n: its value would be dropped without a word. */
static void check_keys(lua_State *L, int at, lua_Unsigned n, const char *what,
                       const char *expected) {
  char found[BIND_FOUND], why[BIND_FOUND + 32];
  at = lua_absindex(L, at);
  luaL_checkstack(L, 4, NULL);
  for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
    if (lua_isinteger(L, -2) && (lua_Unsigned)lua_tointeger(L, -2) - 1 < n) continue;
    const bool named = lua_type(L, -2) == LUA_TSTRING; /* found is: the string 'NAME' */
    const char *key = bind_found(L, lua_gettop(L) - 1, found) + (named ? strlen("the string ") : 0);
    snprintf(why, sizeof why, "a table with the key %s", key);
    refuse_list(L, at, what, why, expected);
  }
}

int bind_length(lua_State *L, int at, const char *what, const char *expected) {
  check_table(L, at, what, expected);
  lua_Unsigned n = lua_rawlen(L, at);
  if (n > INT_MAX / 64) refuse_list(L, at, what, "a table of too many entries", expected);
  check_keys(L, at, n, what, expected);
  return (int)n;
}

int bind_list(lua_State *L, int arg, const char *expected) {
  return bind_length(L, arg, NULL, expected);
}

void bind_shape(lua_State *L, int arg, fm_shape *s) {
  static const char what[] = "a shape such as {2, 3}";
  *s = (fm_shape){0, {0}};
  if (lua_type(L, arg) == LUA_TNUMBER) {
    s->nd = 1;
    s->d[0] = bind_integer(L, arg, 0, INT64_MAX);
    return;
  }
  int n = bind_list(L, arg, what);
  if (n > FM_MAX_DIMS)
    bind_fail(L, FM_EUSAGE, "a shape of rank %d found, expected at most %d", n, FM_MAX_DIMS);
  s->nd = n;
  arg = lua_absindex(L, arg);
  for (int k = 0; k < n; k++) {
    int whole = 0;
    char found[BIND_FOUND];
    if (lua_rawgeti(L, arg, k + 1) == LUA_TNUMBER) s->d[k] = lua_tointegerx(L, -1, &whole);
    if (!whole || s->d[k] < 0)
      bind_fail(L, FM_EUSAGE, "size %d of a shape is %s, expected a whole number of at least 0",
                k + 1, bind_found(L, -1, found));
    lua_pop(L, 1);
  }
}

void bind_push_shape(lua_State *L, const fm_shape *s) {
  lua_createtable(L, s->nd, 0);
  for (int k = 0; k < s->nd; k++) {
    lua_pushinteger(L, s->d[k]);
    lua_rawseti(L, -2, k + 1);
  }
}

fm_dtype bind_dtype(lua_State *L, int arg, fm_dtype otherwise) {
  char found[BIND_FOUND];
  if (lua_isnoneornil(L, arg)) return otherwise;
  const char *name = lua_type(L, arg) == LUA_TSTRING ? lua_tostring(L, arg) : "";
  for (fm_dtype t = FM_F32; t <= FM_U8; t++)
    if (strcmp(name, fm_dtype_name(t)) == 0) return t;
  bind_fail(L, FM_EUSAGE, "number format '%s' found, expected 'float32', 'float64' or 'uint8'",
            name[0] ? name : bind_found(L, arg, found));
}

uint32_t bind_stream(lua_State *L, int arg) {
  if (lua_type(L, arg) != LUA_TSTRING) return (uint32_t)bind_opt_integer(L, arg, 0, 0, UINT32_MAX);
  uint32_t h = 2166136261u; /* FNV-1a: a name denotes the same stream everywhere */
  for (const char *c = lua_tostring(L, arg); *c; c++) h = (h ^ (unsigned char)*c) * 16777619u;
  return h;
}

/* ------------------------------------------------------------------ handles */

void *bind_box(lua_State *L, int arg, const char *type, size_t size) {
  void *p = luaL_testudata(L, arg, type);
  if (p == NULL || lua_rawlen(L, arg) < size || *(const char **)p != type) return NULL;
  return p;
}

void *bind_take(lua_State *L, const char *type) {
  void *p;
  char *box = bind_box(L, 1, type, sizeof type + sizeof p);
  if (box == NULL) return NULL;
  memcpy(&p, box + sizeof type, sizeof p);
  memset(box + sizeof type, 0, sizeof p);
  return p;
}

void *bind_new_box(lua_State *L, const char *type, size_t size) {
  void *p = lua_newuserdatauv(L, size, 1);
  memset(p, 0, size);
  *(const char **)p = type;
  luaL_setmetatable(L, type);
  return p;
}

void bind_count(lua_State *L, size_t bytes) {
  const size_t most = (size_t)INT_MAX << 10;
  if (bytes >= 1024) lua_gc(L, LUA_GCSTEP, (int)((bytes < most ? bytes : most) >> 10));
}

void bind_new_type(lua_State *L, const char *type, const bind_reg *methods, lua_CFunction close) {
  luaL_newmetatable(L, type);
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__gc");
  lua_pushstring(L, type);
  lua_setfield(L, -2, "__metatable"); /* getmetatable returns the name; setmetatable fails */
  if (methods == NULL) return;
  lua_pushcfunction(L, close);
  lua_setfield(L, -2, "__close");
  lua_newtable(L);
  set(L, methods, true);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__index");
  lua_remove(L, -2);
}

void bind_open_args(lua_State *L) {
  static const bind_reg functions[] = {
      {"own_sources", own_sources, 1}, {"user_place", user_place, 0}, {NULL, NULL, 0}};
  bind_set(L, functions);
}
