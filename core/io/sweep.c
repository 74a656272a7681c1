/*
** sweep.c - creating the temporary files of atomic writes, and removing those that killed processes
** left behind.
**
** The temporary file of PATH is PATH.tmp.PID.K, where K avoids leftovers of an earlier process with
** the same number; for a moment PATH.tmp.PID.K.prev may exist beside it. A writer locks its file. A
** file without a lock is abandoned, even if a process with that number exists: process numbers are
** reused and differ between containers. On file systems without locks the number decides.
*/
#define _DEFAULT_SOURCE /* flock */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"

#define INFIX ".tmp."
#define HELD ".prev" /* the suffix of a second link to the old file, which becomes PATH.prev */

int fm_flock(int fd, int how) {
  int failed;
  while ((failed = flock(fd, how)) != 0 && errno == EINTR) continue;
  return failed;
}

bool fm_same_file(int fd, const char *path) {
  struct stat a, b;
  return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* ------------------------------------------------------------------ creation */

int fm_temporary_open(const char *path, char part[PATH_MAX], mode_t mode) {
  const long pid = (long)getpid();
  for (int k = 0; k < 100; k++) {
    const int n = snprintf(part, PATH_MAX, "%s" INFIX "%ld.%d", path, pid, k);
    if (n >= PATH_MAX) {
      errno = ENAMETOOLONG;
      break;
    }
    int fd;
    do {
      fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0) break;
    fm_flock(fd, LOCK_EX); /* a sweeper may have locked it first and removed the file */
    if (fm_same_file(fd, part)) return fd;
    close(fd);
    errno = EEXIST;
  }
  part[0] = 0;
  return -1;
}

/* ------------------------------------------------------------------ removal */

/* The process number in "BASE.tmp.PID.K" or "BASE.tmp.PID.K.prev"; 0 for any other name. */
static long pid_in(const char *name, const char *base, size_t n, bool *held) {
  if (strncmp(name, base, n) != 0 || strncmp(name + n, INFIX, sizeof INFIX - 1) != 0) return 0;
  const char *digits = name + n + sizeof INFIX - 1;
  size_t pid = strspn(digits, "0123456789");
  if (pid == 0 || pid > 10 || digits[pid] != '.') return 0;
  size_t k = strspn(digits + pid + 1, "0123456789");
  const char *rest = digits + pid + 1 + k;
  *held = strcmp(rest, HELD) == 0;
  return k > 0 && k < 3 && (*rest == 0 || *held) ? strtol(digits, NULL, 10) : 0;
}

/* Remove a temporary file if it is abandoned; whether it is gone. */
static bool remove_abandoned(int folder, const char *name, long pid) {
  int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT; /* only the second link is left */
  const int failed = fm_flock(fd, LOCK_EX | LOCK_NB), why = errno;
  bool gone = !failed;
  if (failed && why != EWOULDBLOCK) gone = kill((pid_t)pid, 0) != 0 && errno == ESRCH;
  struct stat st, now; /* another sweeper may have removed it, and the name be in use again */
  gone = gone && fstat(fd, &st) == 0 && fstatat(folder, name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
         st.st_ino == now.st_ino && S_ISREG(st.st_mode) && st.st_uid == geteuid();
  if (gone) unlinkat(folder, name, 0); /* while locked, so that a writer notices */
  close(fd);
  return gone;
}

static void sweep_one(int folder, const char *name, long pid, bool held) {
  struct stat st;
  if (!held) {
    remove_abandoned(folder, name, pid);
    return;
  }
  char part[NAME_MAX + 1];
  snprintf(part, sizeof part, "%.*s", (int)(strlen(name) - strlen(HELD)), name);
  if (!remove_abandoned(folder, part, pid)) return;
  if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
      st.st_uid == geteuid())
    unlinkat(folder, name, 0);
}

void fm_sweep(const char *path) {
  char parent[PATH_MAX];
  const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
  bool held;
  snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
  DIR *dir = opendir(parent);
  if (dir == NULL) return;
  for (struct dirent *e; (e = readdir(dir));) {
    const long pid = pid_in(e->d_name, base, strlen(base), &held);
    if (pid > 0) sweep_one(dirfd(dir), e->d_name, pid, held);
  }
  closedir(dir);
}
