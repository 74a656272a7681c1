/*
** host.h - what the program `flowmap` makes of the Lua that it embeds, before any Lua code runs.
** In a stock lua5.4, which only loads the module, nothing of this happens.
*/
#ifndef FM_HOST_H
#define FM_HOST_H

#include <lua.h>
#include <stdbool.h>

/*
** Open Lua's libraries for a program whose Lua files lie in `root`/lua: that folder first in the
** search path, then Lua's default folders, then those of LUA_PATH and LUA_CPATH; numbers always
** with a dot; no function of `debug` that could hand a C function what is not its own. A module
** whose file lacks only the memory to be opened is not said to be absent.
*/
void fm_host_open(lua_State *L, const char *root);

/* Says that the program comes to its end; os.exit says so by itself. */
void fm_host_end(void);

/* Whether that was said: an exit before it is a library's. */
bool fm_host_ends(void);

#endif
