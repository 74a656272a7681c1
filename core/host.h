/*
** host.h - what the program `flowmap` makes of the Lua that it embeds, before any Lua code runs.
** In a stock lua5.4, which only loads the module, nothing of this happens.
*/
#ifndef FM_HOST_H
#define FM_HOST_H

#include <lua.h>

/*
** Open Lua's libraries for a program whose Lua files lie in `root`/lua: that folder first in the
** search path, then Lua's default folders, then those of LUA_PATH and LUA_CPATH; numbers always
** with a dot; no function of `debug` that could hand a C function what is not its own.
*/
void fm_host_open(lua_State *L, const char *root);

#endif
