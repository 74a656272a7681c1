/* process.c - the terminal, the user and the parent of this process, in Lua. */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bind.h"

/* columns([fd]) -> width of the terminal that fd (default 1) is, 0 if unknown; else nothing */
static int columns(lua_State *L) {
  const int fd = (int)bind_opt_integer(L, 1, STDOUT_FILENO, 0, INT_MAX);
  struct winsize size = {0};
  if (!isatty(fd)) return 0;
  if (ioctl(fd, TIOCGWINSZ, &size) != 0) size.ws_col = 0;
  lua_pushinteger(L, size.ws_col);
  return 1;
}

static int ignore_broken_pipes(lua_State *L) { /* a write to one fails instead of killing us */
  (void)L;
  signal(SIGPIPE, SIG_IGN);
  return 0;
}

/*
** follow_parent(pid): when the parent process `pid` ends, in any way, the kernel sends SIGTERM to
** this one; if it has ended already, SIGTERM arrives at once. Broken pipes are ignored as well: a
** write to a pipe whose parent is gone must not kill the process before SIGTERM lets it save.
*/
static int follow_parent(lua_State *L) {
  const int64_t pid = bind_integer(L, 1, 1, INT_MAX);
  ignore_broken_pipes(L);
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
    bind_fail(L, FM_EUSAGE, "follow_parent: this kernel has no PR_SET_PDEATHSIG");
  if (getppid() != pid) raise(SIGTERM);
  return 0;
}

/* home() -> the user's home folder, from HOME or else from the account; nothing if unknown */
static int home(lua_State *L) {
  const char *named = getenv("HOME");
  if (named == NULL || *named == '\0') {
    const struct passwd *account = getpwuid(getuid());
    named = account ? account->pw_dir : NULL;
  }
  if (named == NULL || *named == '\0') return 0;
  lua_pushstring(L, named);
  return 1;
}

void bind_open_process(lua_State *L) {
  static const luaL_Reg functions[] = {{"columns", columns},
                                       {"ignore_broken_pipes", ignore_broken_pipes},
                                       {"follow_parent", follow_parent},
                                       {"home", home},
                                       {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
