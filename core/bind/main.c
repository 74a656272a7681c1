/*
** main.c - the program `flowmap`: an embedded Lua 5.4 that runs lua/flowmap/app/cli.lua. The Lua
** files
** are found beside the executable (a build tree) or under ../share/flowmap (an installation).
*/
#define _DEFAULT_SOURCE /* on_exit */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host.h"

int luaopen_flowmap_core(lua_State *L);

/* The folder of the executable, "" if it cannot be told. */
static void program_folder(char *path, size_t size) {
  ssize_t n = readlink("/proc/self/exe", path, size - 1);
  if (n < 0) n = 0;
  path[n] = '\0';
  char *slash = strrchr(path, '/');
  if (slash) *slash = '\0';
}

/* Sets `root` to the folder that holds lua/flowmap; false if there is none. */
static int find_root(char *root, size_t size) {
  static const char *const where[] = {"", "/../share/flowmap"};
  char folder[PATH_MAX], probe[PATH_MAX + 64];
  program_folder(folder, sizeof folder);
  for (size_t k = 0; k < sizeof where / sizeof *where; k++) {
    snprintf(probe, sizeof probe, "%s%s/lua/flowmap/app/cli.lua", folder, where[k]);
    if (access(probe, R_OK) != 0) continue;
    snprintf(root, size, "%s%s", folder, where[k]);
    return 1;
  }
  fprintf(stderr, "flowmap: its Lua files were not found in %s/lua or %s/../share/flowmap/lua\n",
          folder, folder);
  return 0;
}

/* What the protected part of the program reads, and leaves for the part that must not fail. */
#define UNSET (-1)
#define NO_MEMORY "memory: too little is left to go on"
typedef struct launch {
  char root[PATH_MAX + 64];
  int argc;
  char **argv;
  int status;
  char sentence[2048]; /* of an error; nothing can be allocated once memory has run out */
} launch;

static int start(lua_State *L) {
  const launch *it = lua_touserdata(L, 1);
  fm_host_open(L, it->root);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_flowmap_core);
  lua_setfield(L, -2, "flowmap.core");
  lua_getglobal(L, "package");
  lua_pushstring(L, it->root);
  lua_setfield(L, -2, "flowmap_root");
  lua_getglobal(L, "require");
  lua_pushvalue(L, -1);
  lua_pushliteral(L, "flowmap");
  lua_call(L, 1, 0);
  lua_pushliteral(L, "flowmap.app.cli");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "main");
  lua_createtable(L, it->argc, 1);
  for (int k = 0; k < it->argc; k++) {
    lua_pushstring(L, it->argv[k]);
    lua_seti(L, -2, k);
  }
  lua_call(L, 1, 1);
  return 1;
}

/*
** Message handler: keeps the text of an error that lua/flowmap/app/cli.lua did not handle, the
** core's
** sentence or else an error of the program itself with its traceback. Upvalue: the launch.
*/
static int keep_sentence(lua_State *L) {
  launch *it = lua_touserdata(L, lua_upvalueindex(1));
  if (lua_istable(L, 1)) {
    it->status = 2; /* before the command line is read, all the core can miss is memory */
    lua_getfield(L, 1, "message");
  } else {
    it->status = 1;
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  }
  const char *text = lua_tostring(L, -1);
  if (text && (strstr(text, "not enough memory") || strstr(text, "Cannot allocate memory"))) {
    it->status = 2;
    text = NO_MEMORY;
  }
  snprintf(it->sentence, sizeof it->sentence, "%s", text ? text : "an error without a message");
  return 0;
}

/* Runs `start` with the message handler; protected itself, as making the handler takes memory. */
static int guarded(lua_State *L) {
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, keep_sentence, 1);
  lua_pushcfunction(L, start);
  lua_pushvalue(L, 1);
  launch *it = lua_touserdata(L, 1);
  if (lua_pcall(L, 1, 1, 2) == LUA_OK) it->status = (int)lua_tointeger(L, -1);
  return 0;
}

/*
** Output that could not be written is no success, whichever way the program ends. Libraries that
** end it (lua-cjson, OpenBLAS, libgfortran) do so when they find no memory.
*/
static void check_end(int status, void *unused) {
  (void)unused;
  if (!fm_host_ends()) {
    fputs("flowmap: memory: a library found too little of it and ended the program\n", stderr);
    fflush(stdout);
    _exit(2);
  }
  const int failed = fflush(stdout) != 0 || ferror(stdout);
  if (!failed) return;
  fprintf(stderr, "flowmap: standard output could not be written: %s\n",
          errno ? strerror(errno) : "an earlier write failed");
  if (status == 0) _exit(3);
}

static int run(launch *it) {
  lua_State *L = luaL_newstate();
  it->status = UNSET;
  if (L != NULL) {
    lua_pushcfunction(L, guarded); /* neither of the two allocates */
    lua_pushlightuserdata(L, it);
    lua_pcall(L, 1, 0, 0);
    lua_close(L);
  }
  if (it->status != UNSET && it->sentence[0] == '\0') return it->status;
  fprintf(stderr, "flowmap: %s\n", it->sentence[0] ? it->sentence : NO_MEMORY);
  return it->status == UNSET ? 2 : it->status;
}

/*
** A standard stream that was closed is held open on nothing, the wrong way round, so that using it
** fails as before: else the next file opened took its number, and messages went into that file.
*/
static void hold_streams(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0) (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

#define LEAST_STACK 512u /* KiB; Lua, its libraries and the largest of our calls, with some room */

/* Whether `ulimit -s` leaves enough: what comes too late otherwise is a crash. */
static int stack_fits(void) {
  struct rlimit it;
  if (getrlimit(RLIMIT_STACK, &it) != 0 || it.rlim_cur == RLIM_INFINITY) return 1;
  if (it.rlim_cur >= LEAST_STACK * 1024u) return 1;
  fprintf(stderr, "flowmap: memory: the stack is limited to %lu KiB (ulimit -s); %u are needed\n",
          (unsigned long)(it.rlim_cur / 1024), LEAST_STACK);
  return 0;
}

int main(int argc, char **argv) {
  static launch it;
  hold_streams();
  signal(SIGXFSZ, SIG_IGN); /* beyond `ulimit -f` a write fails, with a sentence */
  on_exit(check_end, NULL);
  it.argc = argc;
  it.argv = argv;
  const int fits = stack_fits() && find_root(it.root, sizeof it.root);
  const int status = fits ? run(&it) : 2;
  fm_host_end();
  return status;
}
