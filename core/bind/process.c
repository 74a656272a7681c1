/* process.c - the terminal, the user and the parent of this process, in Lua. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#else
#include <pthread.h>
#endif

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

/* SIGTERM when the parent ends: 0, or an error number. */
#if defined(__linux__)
static int follow(pid_t pid) {
  (void)pid;
  return prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 ? 0 : errno;
}
#else
static pid_t parent;

static void *watch_parent(void *unused) {
  while (getppid() == parent) nanosleep(&(struct timespec){0, 200000000}, NULL);
  kill(getpid(), SIGTERM);
  return unused;
}

static int follow(pid_t pid) {
  pthread_t thread;
  parent = pid;
  const int failed = pthread_create(&thread, NULL, watch_parent, NULL);
  return failed ? failed : pthread_detach(thread);
}
#endif

/*
** follow_parent(pid): when the parent process `pid` ends, in any way, SIGTERM is sent to this one,
** by the kernel on Linux; if it has ended already, SIGTERM arrives at once. Broken pipes are
** ignored as well: a write to a pipe whose parent is gone must not kill the process before SIGTERM
** lets it save.
*/
static int follow_parent(lua_State *L) {
  const int64_t pid = bind_integer(L, 1, 1, INT_MAX);
  ignore_broken_pipes(L);
  const int failed = follow((pid_t)pid);
  if (failed)
    bind_fail(L, FM_EUSAGE, "follow_parent: the parent cannot be watched: %s", strerror(failed));
  if (getppid() != pid) raise(SIGTERM);
  return 0;
}

/* home() -> the user's home folder, from HOME or else from the account; nothing if unknown */
static int home(lua_State *L) {
  const char *named = getenv("HOME");
  if (named == NULL || *named != '/') { /* a relative one would be another in each folder */
    const struct passwd *account = getpwuid(getuid());
    named = account ? account->pw_dir : NULL;
  }
  if (named == NULL || *named == '\0') return 0;
  lua_pushstring(L, named);
  return 1;
}

void bind_open_process(lua_State *L) {
  static const bind_reg functions[] = {{"columns", columns, 1},
                                       {"ignore_broken_pipes", ignore_broken_pipes, 0},
                                       {"follow_parent", follow_parent, 1},
                                       {"home", home, 0},
                                       {NULL, NULL, 0}};
  bind_set(L, functions);
}
