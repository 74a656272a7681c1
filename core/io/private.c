/*
** private.c - temporary folders that only this user can enter, for files passed between programs.
** mkdtemp creates them in TMPDIR, so that nobody else can guess or plant names in them; they are
** removed on request or when the process exits.
**
** Each folder is locked while its process lives. A killed process cannot remove its folder; the
** next process does, and recognises an abandoned folder by the missing lock.
*/
#define _DEFAULT_SOURCE /* flock, mkdtemp */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"

#define PREFIX "flowmap-private-"

enum { RANDOM = 6, OPEN_AT_ONCE = 8 }; /* letters chosen by mkdtemp; descriptors used by nftw */

typedef struct folder {
  struct folder *next;
  pid_t owner; /* a forked child must not remove its parent's folders */
  int lock;
  char path[PATH_MAX];
} folder;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static folder *folders;

/* ------------------------------------------------------------------ removal */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
  (void)st, (void)kind, (void)at;
  remove(path); /* a failure is ignored, so that the rest is removed */
  return 0;
}

/* Remove a folder with its contents. Links are removed, not followed. */
static void remove_tree(const char *path) {
  nftw(path, remove_one, OPEN_AT_ONCE, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void let_go(folder *f) {
  if (f->owner == getpid()) remove_tree(f->path);
  close(f->lock);
  free(f);
}

static void remove_all(void) {
  pthread_mutex_lock(&mutex);
  while (folders) {
    folder *f = folders;
    folders = f->next;
    let_go(f);
  }
  pthread_mutex_unlock(&mutex);
}

void fm_private_remove(const char *path) {
  pthread_mutex_lock(&mutex);
  for (folder **at = &folders; *at; at = &(*at)->next) {
    folder *f = *at;
    if (strcmp(f->path, path) != 0) continue;
    *at = f->next;
    let_go(f);
    break;
  }
  pthread_mutex_unlock(&mutex);
}

/* ------------------------------------------------------------------ creation */

static const char *parent_folder(bool *named) {
  const char *path = getenv("TMPDIR");
  *named = path && *path;
  return *named ? path : "/tmp";
}

static int lock_of(const char *path, int how) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return -1;
  const int failed = fm_flock(fd, how);
  /* File systems without locks report another error; there, no folder ever counts as abandoned. */
  if (failed && (errno == EWOULDBLOCK || how & LOCK_NB)) {
    close(fd);
    return -1;
  }
  return fd;
}

/* Whether name, owner and permissions are those of our folders; a link never qualifies. */
static bool is_ours(const char *parent, const char *name, char path[PATH_MAX]) {
  struct stat st;
  if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0) return false;
  if (strlen(name) != sizeof PREFIX - 1 + RANDOM) return false;
  if (snprintf(path, PATH_MAX, "%s/%s", parent, name) >= PATH_MAX) return false;
  return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
         (st.st_mode & 0777) == 0700;
}

/* Remove the folders of processes that were killed. */
static void sweep(const char *parent) {
  char path[PATH_MAX];
  DIR *dir = opendir(parent);
  if (dir == NULL) return;
  for (struct dirent *e; (e = readdir(dir));) {
    if (!is_ours(parent, e->d_name, path)) continue;
    int fd = lock_of(path, LOCK_EX | LOCK_NB);
    if (fd < 0) continue;
    remove_tree(path);
    close(fd);
  }
  closedir(dir);
}

static bool create(folder *f, const char *parent) {
  for (int tries = 0; tries < 100; tries++) {
    if (snprintf(f->path, sizeof f->path, "%s/" PREFIX "XXXXXX", parent) >= (int)sizeof f->path) {
      errno = ENAMETOOLONG;
      return false;
    }
    if (mkdtemp(f->path) == NULL) return false;
    f->lock = lock_of(f->path, LOCK_EX);
    /* Another process may have swept the folder before it was locked. */
    if (f->lock >= 0 && fm_same_file(f->lock, f->path)) return true;
    const int why = errno;
    if (f->lock >= 0) {
      close(f->lock);
    } else if (rmdir(f->path) == 0) { /* it was not swept: locking it failed */
      errno = why;
      return false;
    }
    errno = EAGAIN;
  }
  return false;
}

fm_err fm_private_folder(fm_ctx *ctx, char path[PATH_MAX]) {
  static bool registered;
  bool named;
  char parent[PATH_MAX];
  const char *wanted = parent_folder(&named);
  folder *f = malloc(sizeof *f);
  if (f == NULL) return fm_fail(ctx, FM_ENOMEM, "no memory for a private folder");
  *f = (folder){.owner = getpid(), .lock = -1};
  const bool found = realpath(wanted, parent) != NULL;
  if (found) sweep(parent);
  if (!found || !create(f, parent)) {
    fm_fail(ctx, FM_EDATA, "cannot create a private folder in '%.300s' (%s): %s", wanted,
            named ? "set by TMPDIR" : "TMPDIR can name another folder", strerror(errno));
    free(f);
    return FM_EDATA;
  }
  pthread_mutex_lock(&mutex);
  if (!registered) registered = atexit(remove_all) == 0;
  f->next = folders;
  folders = f;
  pthread_mutex_unlock(&mutex);
  memcpy(path, f->path, sizeof f->path);
  return FM_OK;
}
