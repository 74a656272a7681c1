/* lock.c - file locks that end with their process, for run folders; flushing a file to disk. */
#define _DEFAULT_SOURCE /* flock */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "bind.h"
#include "../io/io.h"

static const char lock_type[] = "flowmap.lock";

/*
** A lock belongs to the open file, not to the process: two locks of one process exclude each other.
** The kernel releases it when the process ends, however it ends; child programs do not inherit it.
*/
typedef struct lock_box {
  const char *type;
  int fd; /* -1 once released */
} lock_box;

static int cannot(lua_State *L, const char *what, const char *path) {
  return bind_fail(L, FM_EDATA, "cannot %s '%s': %s", what, path, strerror(errno));
}

static int open_for_lock(lua_State *L, const char *path) {
  int fd;
  do fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) cannot(L, "open", path);
  return fd;
}

/* A process that has just been killed may hold its locks for some milliseconds more. */
static void wait_a_little(void) {
  struct timespec t = {0, 10000000};
  nanosleep(&t, NULL);
}

static int lock(lua_State *L) { /* lock(path) -> a lock, or nil if another holds it */
  const char *path = bind_path(L, 1);
  lock_box *box = bind_new_box(L, lock_type, sizeof *box);
  box->fd = -1;
  for (int tries = 0; tries < 30; tries++) {
    box->fd = open_for_lock(L, path);
    const int failed = fm_flock(box->fd, LOCK_EX | LOCK_NB);
    if (!failed && fm_same_file(box->fd, path)) return 1; /* no: a folder was renamed meanwhile */
    int why = errno;
    close(box->fd);
    box->fd = -1;
    errno = why;
    if (failed && errno != EWOULDBLOCK) return cannot(L, "lock", path);
    if (failed) wait_a_little();
  }
  lua_pushnil(L);
  return 1;
}

static int release(lua_State *L) { /* also the lock's __gc and __close; may be repeated */
  lock_box *box = bind_box(L, 1, lock_type, sizeof *box);
  if (box == NULL) return 0;
  if (box->fd >= 0) close(box->fd);
  box->fd = -1;
  return 0;
}

/* lock:holds(path): whether `path` still names the locked file: its folder may have been removed */
static int holds(lua_State *L) {
  lock_box *box = bind_box(L, 1, lock_type, sizeof *box);
  lua_pushboolean(L, box && box->fd >= 0 && fm_same_file(box->fd, bind_path(L, 2)));
  return 1;
}

static int sync_file(lua_State *L) { /* sync_file(path): flush a file's contents to disk */
  const char *path = bind_path(L, 1);
  return fm_sync(path) == 0 ? 0 : cannot(L, "flush", path);
}

void bind_open_lock(lua_State *L) {
  static const bind_reg methods[] = {{"release", release, 0}, {"holds", holds, 1}, {NULL, NULL, 0}};
  static const bind_reg functions[] = {
      {"lock", lock, 1}, {"sync_file", sync_file, 1}, {NULL, NULL, 0}};
  bind_new_type(L, lock_type, methods, release);
  lua_pop(L, 1);
  bind_set(L, functions);
}
