/*
** io.c - reading files, and writing them atomically.
**
** A write goes to a temporary file in the same folder, which is flushed to disk and only then
** renamed over the old file. A write that fails or is killed leaves the old file untouched.
*/
#define _XOPEN_SOURCE 700 /* realpath */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static fm_err cannot(fm_ctx *ctx, const char *what, const char *path) {
  /* The path is truncated so that the reason fits in the sentence. */
  return fm_fail(ctx, errno == ENOMEM ? FM_ENOMEM : FM_EDATA, "cannot %s '%.400s': %s", what, path,
                 strerror(errno));
}

/* ------------------------------------------------------------------ reading */

fm_err fm_in_open(fm_in *in, fm_ctx *ctx, const char *path) {
  struct stat st;
  *in = (fm_in){.ctx = ctx, .path = path, .fd = -1};
  /* O_NONBLOCK: opening a pipe that nobody writes to must not hang. Files ignore the flag. */
  do {
    in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  } while (in->fd < 0 && errno == EINTR);
  if (in->fd < 0) return cannot(ctx, "read", path);
  fm_err err = FM_OK;
  if (fstat(in->fd, &st) != 0) {
    err = cannot(ctx, "read", path);
  } else if (!S_ISREG(st.st_mode)) {
    err = fm_fail(ctx, FM_EDATA, "cannot read '%.400s': it is %s, expected a file", path,
                  S_ISDIR(st.st_mode) ? "a folder" : "a pipe or a device");
  }
  if (err) {
    fm_in_close(in);
  } else {
    in->size = (uint64_t)st.st_size;
  }
  return err;
}

fm_err fm_in_read(fm_in *in, void *to, size_t n) {
  fm_err err = fm_in_read_at(in, in->at, to, n);
  if (!err) in->at += n;
  return err;
}

fm_err fm_in_read_at(const fm_in *in, uint64_t at, void *to, size_t n) {
  char *p = to;
  while (n > 0) {
    ssize_t got = pread(in->fd, p, n, (off_t)at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot(in->ctx, "read", in->path);
    if (got == 0)
      return fm_fail(in->ctx, FM_EDATA, "'%.400s' ends after %llu bytes, expected %zu more",
                     in->path, (unsigned long long)at, n);
    p += got;
    n -= (size_t)got;
    at += (uint64_t)got;
  }
  return FM_OK;
}

void fm_in_close(fm_in *in) {
  if (in->fd >= 0) close(in->fd);
  in->fd = -1;
}

fm_err fm_read_within(fm_ctx *ctx, const char *path, uint64_t most, char **bytes, size_t *n) {
  fm_in in;
  *bytes = NULL;
  *n = 0;
  fm_err err = fm_in_open(&in, ctx, path);
  if (err) return err;
  if (in.size > most) {
    fm_in_close(&in);
    return fm_fail(ctx, FM_EDATA, "'%.400s': %llu bytes found, expected at most %llu", path,
                   (unsigned long long)in.size, (unsigned long long)most);
  }
  size_t size = (size_t)in.size;
  char *p = fm_alloc(ctx, size + 1);
  err = p ? fm_in_read(&in, p, size) : FM_ENOMEM;
  fm_in_close(&in);
  if (err) {
    if (p) fm_free(ctx, p, size + 1);
    return err;
  }
  p[size] = 0;
  *bytes = p;
  *n = size;
  return FM_OK;
}

fm_err fm_read_file(fm_ctx *ctx, const char *path, char **bytes, size_t *n) {
  return fm_read_within(ctx, path, SIZE_MAX - 1, bytes, n);
}

/* ------------------------------------------------------------------ writing */

/* out = a followed by b; false, with errno set, if that is too long. */
static bool join(char out[PATH_MAX], const char *a, const char *b) {
  size_t na = strlen(a), nb = strlen(b);
  if (na + nb >= PATH_MAX) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(out, a, na);
  memcpy(out + na, b, nb + 1);
  return true;
}

/* Report a failed write with the reason in errno, and remove the temporary file. */
static fm_err give_up(fm_out *o) {
  fm_err err = cannot(o->ctx, "write", o->name);
  if (o->fd >= 0) close(o->fd);
  o->fd = -1;
  if (o->part[0]) unlink(o->part);
  return err;
}

/*
** Resolve the links in the path and check that the file there may be replaced. rename() checks only
** the permissions of the folder: it would replace write-protected files, links and, for root, even
** devices (as in --out /dev/stdout).
*/
static fm_err find_target(fm_out *o, mode_t *mode) {
  struct stat st;
  *mode = 0666;
  for (int tries = 0; !realpath(o->name, o->path); tries++) {
    if (errno != ENOENT) return give_up(o);
    if (lstat(o->name, &st) != 0) return join(o->path, o->name, "") ? FM_OK : give_up(o);
    if (tries < 100) continue; /* another writer may have created it after realpath */
    return fm_fail(o->ctx, FM_EDATA, "cannot write '%.400s': it is a dangling link", o->name);
  }
  if (stat(o->path, &st) != 0) return give_up(o);
  if (!S_ISREG(st.st_mode)) {
    return fm_fail(o->ctx, FM_EDATA, "cannot write '%.400s': it is %s, expected a file", o->name,
                   S_ISDIR(st.st_mode) ? "a folder" : "a pipe or a device");
  }
  *mode = st.st_mode & 0777;
  return access(o->path, W_OK) == 0 ? FM_OK : give_up(o);
}

fm_err fm_out_open(fm_out *o, fm_ctx *ctx, const char *path) {
  mode_t mode;
  *o = (fm_out){.ctx = ctx, .name = path, .fd = -1};
  fm_err err = find_target(o, &mode);
  if (err) return err;
  fm_sweep(o->path);
  o->fd = fm_temporary_open(o->path, o->part, mode);
  return o->fd < 0 ? give_up(o) : FM_OK;
}

fm_err fm_out_write(fm_out *o, const void *bytes, size_t n) {
  fm_err err = fm_out_write_at(o, o->at, bytes, n);
  if (!err) o->at += n;
  return err;
}

fm_err fm_out_write_at(fm_out *o, uint64_t at, const void *bytes, size_t n) {
  const char *p = bytes;
  while (n > 0) {
    ssize_t put = pwrite(o->fd, p, n, (off_t)at);
    if (put < 0 && errno == EINTR) continue;
    if (put == 0) errno = EIO; /* no progress, but no error either: do not loop forever */
    if (put <= 0) return give_up(o);
    p += put;
    at += (uint64_t)put;
    n -= (size_t)put;
  }
  return FM_OK;
}

void fm_out_discard(fm_out *o) {
  if (o->fd < 0) return;
  close(o->fd);
  o->fd = -1;
  unlink(o->part);
}

/*
** Keep the old file as `prev`, by a second hard link so that `path` exists at every moment. On file
** systems without hard links the file is renamed; *moved then says to undo that on failure.
*/
static bool keep_old(const fm_out *o, const char *prev, bool *moved) {
  char hold[PATH_MAX];
  if (!join(hold, o->part, ".prev")) return false;
  unlink(hold);
  if (link(o->path, hold) == 0) {
    bool ok = rename(hold, prev) == 0;
    int why = errno;
    unlink(hold); /* rename() does nothing if both names are already the same file */
    errno = why;
    return ok;
  }
  if (errno == ENOENT) return true; /* no old file */
  *moved = rename(o->path, prev) == 0;
  return *moved;
}

int fm_sync(const char *path) {
  int fd, failed;
  do {
    fd = open(path, O_RDONLY | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return -1;
  do {
    failed = fsync(fd);
  } while (failed && errno == EINTR);
  if (failed && errno == EINVAL) failed = 0; /* not supported by this file system */
  int why = errno;
  close(fd);
  errno = why;
  return failed;
}

/* Flush the folder of a file: until then a rename may not be on disk. */
static int sync_folder(const char *path) {
  char folder[PATH_MAX] = ".";
  const char *slash = strrchr(path, '/');
  if (slash) {
    size_t n = slash == path ? 1 : (size_t)(slash - path);
    memcpy(folder, path, n);
    folder[n] = 0;
  }
  return fm_sync(folder);
}

/* Rename the finished temporary file to its path. */
static fm_err replace(fm_out *o, bool keep) {
  char prev[PATH_MAX];
  bool moved = false;
  if (keep && !(join(prev, o->path, ".prev") && keep_old(o, prev, &moved))) return give_up(o);
  if (rename(o->part, o->path) != 0) {
    fm_err err = give_up(o);
    if (moved) rename(prev, o->path);
    return err;
  }
  return FM_OK;
}

fm_err fm_out_commit(fm_out *o, bool keep) {
  while (fsync(o->fd) != 0) {
    if (errno != EINTR) return give_up(o);
  }
  int lock = fcntl(o->fd, F_DUPFD_CLOEXEC, 0); /* the temporary stays locked until it is renamed */
  int failed = close(o->fd), why = errno;
  o->fd = -1;
  errno = why;
  fm_err err = failed && why != EINTR ? give_up(o) : replace(o, keep);
  if (lock >= 0) close(lock);
  if (err) return err;
  if (sync_folder(o->path) != 0) {
    return fm_fail(o->ctx, FM_EDATA, "'%.400s' was written, but flushing its folder failed: %s",
                   o->name, strerror(errno));
  }
  return FM_OK;
}

fm_err fm_write_file(fm_ctx *ctx, const char *path, const void *bytes, size_t n, bool keep) {
  fm_out out;
  fm_err err = fm_out_open(&out, ctx, path);
  if (!err) err = fm_out_write(&out, bytes, n);
  if (!err) err = fm_out_commit(&out, keep);
  return err;
}
