/* bind_files.c - folders in Lua: private ones, and whether one can be written to. */
#include <unistd.h>

#include "bind.h"
#include "io.h"

#define FM_FOLDER "flowmap.folder"

/* ------------------------------------------------------------------ private folders */

static int folder_close(lua_State *L) {
  luaL_checkudata(L, 1, FM_FOLDER);
  if (lua_getiuservalue(L, 1, 1) == LUA_TSTRING) fm_private_remove(lua_tostring(L, -1));
  return 0;
}

/*
** local path, folder <close> = fm.private_folder(): only this user can enter it. It is removed with
** all that is in it when `folder` is closed, or at the end of the process.
*/
static int private_folder(lua_State *L) {
  char path[PATH_MAX];
  lua_newuserdatauv(L, 0, 1);
  luaL_setmetatable(L, FM_FOLDER);
  if (fm_private_folder(bind_ctx(L), path) != FM_OK) bind_raise(L);
  lua_pushstring(L, path);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, -3, 1);
  lua_insert(L, -2);
  return 2;
}

static int folder_writable(lua_State *L) { /* whether files can be made in a folder */
  lua_pushboolean(L, access(luaL_checkstring(L, 1), W_OK | X_OK) == 0);
  return 1;
}

void bind_open_files(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"private_folder", private_folder}, {"folder_writable", folder_writable}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"close", folder_close}, {"__close", folder_close}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  luaL_newmetatable(L, FM_FOLDER);
  luaL_setfuncs(L, methods, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}
