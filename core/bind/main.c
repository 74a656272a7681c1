/*
** main.c - the program `flowmap`: an embedded Lua 5.4 that runs lua/flowmap/app/cli.lua. The Lua
** files are found beside the executable (a build tree) or in ../share/flowmap (an installation).
*/
#define _XOPEN_SOURCE 700 /* realpath */
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
#if defined(__APPLE__)
#include <mach-o/dyld.h> /* _NSGetExecutablePath */
#endif

#include "../ranks.h"
#include "host.h"

int luaopen_flowmap_core(lua_State *L);

/* The path of the executable without symbolic links; whether it is known. */
static int program_path(const char *name, char path[PATH_MAX]) {
#if defined(__APPLE__)
  char raw[PATH_MAX];
  uint32_t size = sizeof raw;
  if (_NSGetExecutablePath(raw, &size) == 0 && realpath(raw, path)) return 1;
#else
  const ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
  if (n > 0) path[n] = '\0';
  if (n > 0) return 1;
#endif
  return strchr(name, '/') && realpath(name, path); /* as it was called; not found by PATH */
}

/* The folder of the executable, "" if unknown. `name`: argv[0]. */
static void program_folder(const char *name, char path[PATH_MAX]) {
  if (!program_path(name, path)) path[0] = '\0';
  char *slash = strrchr(path, '/');
  if (slash) *slash = '\0';
}

/* Sets `root` to the folder that holds lua/flowmap; false if there is none. */
static int find_root(const char *name, char *root, size_t size) {
  static const char *const where[] = {"", "/../share/flowmap"};
  char folder[PATH_MAX], probe[PATH_MAX + 64];
  program_folder(name, folder);
  for (size_t k = 0; k < sizeof where / sizeof *where; k++) {
    snprintf(probe, sizeof probe, "%s%s/lua/flowmap/app/cli.lua", folder, where[k]);
    if (access(probe, R_OK) != 0) continue;
    snprintf(root, size, "%s%s", folder, where[k]);
    if (strpbrk(root, ";?") == NULL) return 1;
    fprintf(stderr,
            "flowmap: it lies in %s, and Lua looks for no file in a folder whose name has "
            "a ; or ?: move it\n",
            root);
    return 0;
  }
  fprintf(stderr, "flowmap: its Lua files were not found in %s/lua or %s/../share/flowmap/lua\n",
          folder, folder);
  return 0;
}

/* The arguments and results of the protected part of the program, where errors may occur. */
#define UNSET (-1)
#define NO_MEMORY "memory: there is not enough left to continue"
typedef struct launch {
  char root[PATH_MAX + 64];
  int argc;
  char **argv;
  int status;
  char sentence[2048]; /* of an error; fixed, because memory may have run out */
} launch;

static int start(lua_State *L) {
  const launch *run = lua_touserdata(L, 1);
  fm_host_open(L, run->root);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_flowmap_core);
  lua_setfield(L, -2, "flowmap.core");
  lua_getglobal(L, "package");
  lua_pushstring(L, run->root);
  lua_setfield(L, -2, "flowmap_root");
  lua_getglobal(L, "require");
  lua_pushvalue(L, -1);
  lua_pushliteral(L, "flowmap");
  lua_call(L, 1, 0);
  lua_pushliteral(L, "flowmap.app.cli");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "main");
  lua_createtable(L, run->argc, 1);
  for (int k = 0; k < run->argc; k++) {
    lua_pushstring(L, run->argv[k]);
    lua_seti(L, -2, k);
  }
  lua_call(L, 1, 1);
  return 1;
}

/*
** Message handler: keeps the text of an error that lua/flowmap/app/cli.lua did not handle. It is a
** sentence of the core, or else a fault of the program itself, with its traceback. Upvalue: the
** launch.
*/
static int keep_sentence(lua_State *L) {
  launch *run = lua_touserdata(L, lua_upvalueindex(1));
  if (lua_istable(L, 1)) {
    lua_getfield(L, 1, "code"); /* memory, or a file of the suite that cannot be read */
    run->status = lua_isstring(L, -1) && strcmp(lua_tostring(L, -1), "data") == 0 ? 3 : 2;
    lua_getfield(L, 1, "message");
  } else {
    run->status = 1;
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  }
  const char *text = lua_tostring(L, -1);
  if (text && (strstr(text, "not enough memory") || strstr(text, "Cannot allocate memory"))) {
    run->status = 2;
    text = NO_MEMORY;
  }
  snprintf(run->sentence, sizeof run->sentence, "%s", text ? text : "an error without a message");
  return 0;
}

/* Runs `start` with the message handler; itself protected, because creating that takes memory. */
static int guarded(lua_State *L) {
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, keep_sentence, 1);
  lua_pushcfunction(L, start);
  lua_pushvalue(L, 1);
  launch *run = lua_touserdata(L, 1);
  if (lua_pcall(L, 1, 1, 2) == LUA_OK) run->status = (int)lua_tointeger(L, -1);
  return 0;
}

/*
** However the program exits, it must not report success if its output could not be written.
** Libraries that call exit themselves (lua-cjson, OpenBLAS, libgfortran) do so for lack of memory.
*/
static void check_exit(void) {
  int status;
  if (!fm_host_exits(&status)) {
    fputs("flowmap: memory: a library ran out of it and ended the program\n", stderr);
    fflush(stdout);
    _exit(2);
  }
  const int failed = fflush(stdout) != 0 || ferror(stdout);
  if (!failed) return;
  fprintf(stderr, "flowmap: standard output could not be written: %s\n",
          errno ? strerror(errno) : "an earlier write failed");
  if (status == 0) _exit(3);
}

static int run_protected(launch *run) {
  lua_State *L = luaL_newstate();
  run->status = UNSET;
  if (L != NULL) {
    lua_pushcfunction(L, guarded); /* neither of the two pushes allocates */
    lua_pushlightuserdata(L, run);
    lua_pcall(L, 1, 0, 0);
    lua_close(L);
  }
  if (run->status != UNSET && run->sentence[0] == '\0') return run->status;
  fprintf(stderr, "flowmap: %s\n", run->sentence[0] ? run->sentence : NO_MEMORY);
  return run->status == UNSET ? 2 : run->status;
}

/*
** Reopen closed standard streams on /dev/null, for the wrong direction so that using them still
** fails. Otherwise the next file opened would get such a stream's number, and messages would be
** written into that file.
*/
static void hold_streams(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0) (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

#define LEAST_STACK 512u /* KiB; enough for Lua, its libraries and the largest of our calls */

/* Whether `ulimit -s` leaves enough stack; too small a stack would crash the program later. */
static int stack_fits(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 1;
  if (limit.rlim_cur >= LEAST_STACK * 1024u) return 1;
  fprintf(stderr, "flowmap: memory: the stack is limited to %lu KiB (ulimit -s); %u are needed\n",
          (unsigned long)(limit.rlim_cur / 1024), LEAST_STACK);
  return 0;
}

/*
** The errors of ranks other than the first are kept in a temporary file: all ranks fail alike, and
** the first one says why. They are printed only if this rank failed alone.
*/
static int errors_to = -1;
static FILE *kept;

static void print_kept(void) {
  char line[1024];
  if (kept == NULL) return;
  fflush(stderr);
  rewind(kept);
  while (fgets(line, sizeof line, kept)) dprintf(errors_to, "rank %d: %s", fm_rank() + 1, line);
}

/* Whether this process may go on: alone, or together with the other ranks of a launcher. */
static int join_ranks(const char *root) {
  char folder[PATH_MAX + 96];
  snprintf(folder, sizeof folder, "%s/build/mpi", root);
  const char *problem = fm_ranks_open(folder);
  if (problem) fprintf(stderr, "flowmap: %s\n", problem);
  if (problem || fm_rank() == 0) return problem == NULL;
  kept = tmpfile();
  errors_to = dup(STDERR_FILENO);
  if (kept && errors_to >= 0 && dup2(fileno(kept), STDERR_FILENO) >= 0 &&
      freopen("/dev/null", "w", stdout) != NULL)
    return 1;
  fprintf(stderr, "flowmap: rank %d cannot redirect its output: %s\n", fm_rank() + 1,
          strerror(errno));
  return 0;
}

int main(int argc, char **argv) {
  static launch run;
  hold_streams();
  signal(SIGXFSZ, SIG_IGN); /* a write beyond `ulimit -f` then fails, with a sentence */
  atexit(check_exit);
  run.argc = argc;
  run.argv = argv;
  const int ready = stack_fits() && find_root(argc > 0 ? argv[0] : "", run.root, sizeof run.root);
  const int status = ready && join_ranks(run.root) ? run_protected(&run) : 2;
  fm_ranks_close(status, print_kept);
  fm_host_exit(status);
  return status;
}
