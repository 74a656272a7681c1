/*
** host.h - the changes that the program `flowmap` makes to its embedded Lua before any Lua code
** runs. A stock lua5.4 that loads the module is not changed.
*/
#ifndef FM_HOST_H
#define FM_HOST_H

#include <lua.h>
#include <stdbool.h>

/*
** Open Lua's libraries for a program whose Lua files are in `root`/lua. Modules are searched there
** first, then in Lua's default folders, then in those of LUA_PATH and LUA_CPATH. The decimal point
** is always a dot, bytecode is refused, and `debug` cannot change the state of C functions. A
** module that cannot be opened for lack of memory raises an error instead of counting as absent.
*/
void fm_host_open(lua_State *L, const char *root);

/* Its part that refuses bytecode where the linker cannot (text.c). */
void fm_host_text(lua_State *L);

/* Announce that the program is about to exit with a status; os.exit does so by itself. */
void fm_host_exit(int status);

/* Whether the exit was announced, and with which status. One that was not is a library's. */
bool fm_host_exits(int *status);

#endif
