/*
** signal.c - SIGINT and SIGTERM in Lua. The first is a wish: training looks at it after a step
** and saves; a loop in Lua that never looks is ended by an error that a run can resume from. The
** second ends the program at once.
*/
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <string.h>
#include <time.h>

#include "bind.h"

#define ECHO_MS 300  /* Ctrl-C reaches a whole group, and a parent there may pass on a SIGTERM */
#define COUNT 100000 /* virtual instructions between two calls of the hook, */
#define PATIENCE 200 /* and calls until a loop that does not look is ended: about half a second */

static volatile sig_atomic_t signals, first, calls;
static volatile long long first_ms;
static lua_State *watching; /* the main thread of the Lua state that asked */

static long long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_count(lua_State *L, lua_Debug *at) {
  (void)at;
  if (++calls < PATIENCE) return;
  calls = 0; /* an error that the loop catches comes again */
  bind_interrupted(L);
}

static void on_signal(int sig) {
  if (signals == 0) {
    signals = 1;
    first = sig;
    first_ms = now_ms();
    if (watching) lua_sethook(watching, on_count, LUA_MASKCOUNT, COUNT); /* as lua.c does */
  } else if (sig == first || now_ms() - first_ms > ECHO_MS) {
    signal(sig, SIG_DFL);
    raise(sig); /* delivered when this handler returns */
  }
}

static int watch_signals(lua_State *L) { /* from now on SIGINT and SIGTERM are handled as above */
  struct sigaction a;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  watching = lua_tothread(L, -1);
  memset(&a, 0, sizeof a);
  a.sa_handler = on_signal;
  sigaction(SIGINT, &a, NULL);
  sigaction(SIGTERM, &a, NULL);
  return 0;
}

static int interrupted(lua_State *L) { /* whether a signal came; who asks will see to it */
  calls = 0;
  lua_pushboolean(L, signals > 0);
  return 1;
}

void bind_look_at_signals(lua_State *L) {
  if (signals > 0) bind_interrupted(L);
}

/* The state is about to be closed. */
static int forget(lua_State *L) {
  (void)L;
  watching = NULL;
  return 0;
}

void bind_open_signal(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"interrupted", interrupted}, {"watch_signals", watch_signals}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
  lua_newuserdatauv(L, 0, 0);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, forget);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  luaL_ref(L, LUA_REGISTRYINDEX);
}
