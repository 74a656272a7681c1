/*
** signal.c - SIGINT, SIGTERM and SIGHUP in Lua. The first signal is a request: training checks for
** it after each step and saves. A loop of the main coroutine that never checks is ended by an
** error, after which the run can be resumed. The second signal ends the program at once.
*/
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <string.h>
#include <time.h>

#include "bind.h"

/* Ctrl-C reaches a whole process group, and the parent may then send SIGTERM; of a terminal that is
   closed, the kernel and the shell tell. */
#define ECHO_MS 300
#define COUNT 100000 /* virtual instructions between two calls of the hook */
#define PATIENCE 200 /* calls until a loop that never checks is ended: about half a second */

static volatile sig_atomic_t signals, first, calls;
static volatile long long first_ms;
static lua_State *watching; /* the main thread of the Lua state that called watch_signals */

static long long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_count(lua_State *L, lua_Debug *at) {
  (void)at;
  if (++calls < PATIENCE) return;
  calls = 0; /* if the loop catches the error, it is raised again later */
  bind_interrupted(L);
}

static void on_signal(int sig) {
  if (signals == 0) {
    signals = 1;
    first = sig;
    first_ms = now_ms();
    if (watching) lua_sethook(watching, on_count, LUA_MASKCOUNT, COUNT); /* as lua.c does */
  } else if ((sig == first && sig != SIGHUP) || now_ms() - first_ms > ECHO_MS) {
    signal(sig, SIG_DFL);
    raise(sig); /* delivered when this handler returns */
  }
}

/* Handle SIGINT and SIGTERM from now on, and SIGHUP unless it is ignored, as by nohup. */
static int watch_signals(lua_State *L) {
  struct sigaction a, was;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  watching = lua_tothread(L, -1);
  memset(&a, 0, sizeof a);
  a.sa_handler = on_signal;
  sigaction(SIGINT, &a, NULL);
  sigaction(SIGTERM, &a, NULL);
  if (sigaction(SIGHUP, NULL, &was) == 0 && was.sa_handler != SIG_IGN) sigaction(SIGHUP, &a, NULL);
  return 0;
}

static int interrupted(lua_State *L) { /* whether a signal has arrived; the caller handles it */
  calls = 0;
  lua_pushboolean(L, signals > 0);
  return 1;
}

void bind_check_signals(lua_State *L) {
  if (signals > 0) bind_interrupted(L);
}

/* A finaliser for the end of the Lua state. */
static int forget(lua_State *L) {
  (void)L;
  watching = NULL;
  return 0;
}

void bind_open_signal(lua_State *L) {
  static const bind_reg functions[] = {
      {"interrupted", interrupted, 0}, {"watch_signals", watch_signals, 0}, {NULL, NULL, 0}};
  bind_set(L, functions);
  lua_newuserdatauv(L, 0, 0);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, forget);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  luaL_ref(L, LUA_REGISTRYINDEX);
}
