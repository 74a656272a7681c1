/*
** fail_alloc.c - a library that, preloaded, makes allocations of a program fail.
**
**   FAIL_AT=k        the k-th allocation fails (0 or unset: none)
**   FAIL_ALL=1       so do all that follow
**   FAIL_COUNT=FILE  at exit, write the number of allocations to this file
**   KILL_AFTER=NAME  kill the process as soon as a file NAME has got its name by rename(2)
**   FORK_EVERY=n FORK_AT=r
**                    at the allocations r, r + n, r + 2 n, ... the process forks: one fails in the
**                    child, whose output goes to the files out and err and which ends within a
**                    minute; when it has ended, the parent writes "k STATUS" to descriptor 9, waits
**                    for a byte from descriptor 8 and goes on undisturbed. A child costs
**                    milliseconds, a process of its own all that comes before. This ends with the
**                    parent's first change of a file, since parent and child share them, and pauses
**                    while there are other threads, which a child would lack, or pipes, whose bytes
**                    it would take.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* glibc's own functions: finding them by dlsym would allocate. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

static atomic_long count;
static long fail_at = -1, fail_all, fork_every, fork_at;

static long number(const char *name) {
  const char *text = getenv(name);
  return text ? strtol(text, NULL, 10) : 0;
}

/* libgfortran, a dependency of OpenBLAS, aborts or crashes if it cannot allocate when it starts;
   its allocations are spared. */
static int spared(void *caller) {
  Dl_info at;
  return dladdr(caller, &at) && at.dli_fname && strstr(at.dli_fname, "libgfortran");
}

static void read_settings(void) {
  fail_all = number("FAIL_ALL");
  fork_every = number("FORK_EVERY");
  fork_at = number("FORK_AT");
  fail_at = number("FAIL_AT");
}

/* ------------------------------------------------------------------ children in which one fails */

enum { ANSWER = 8, ASK = 9, SECONDS = 60, FILES = 64 };

/* Places in open files, which a child shares and moves; a pipe has none. */
static bool save_places(off_t *place) {
  for (int fd = 3; fd < FILES; fd++) {
    errno = 0;
    place[fd] = fd == ASK || fd == ANSWER ? -1 : lseek(fd, 0, SEEK_CUR);
    if (place[fd] < 0 && errno == ESPIPE) return false;
  }
  return true;
}

static void restore_places(const off_t *place) {
  for (int fd = 3; fd < FILES; fd++)
    if (place[fd] >= 0) lseek(fd, place[fd], SEEK_SET);
}

static bool alone(void) { /* a folder has one link for each folder in it, and two more */
  struct stat look;
  return stat("/proc/self/task", &look) == 0 && look.st_nlink == 3;
}

static void send_output(const char *path, int to) {
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  dup2(fd, to);
  close(fd);
}

static void be_child(long k) {
  fork_every = 0;
  fail_at = k;
  close(ASK);
  close(ANSWER);
  send_output("out", STDOUT_FILENO);
  send_output("err", STDERR_FILENO);
  alarm(SECONDS);
}

static void tell(long k, pid_t child) {
  char line[64], go;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  const int n = snprintf(line, sizeof line, "%ld %d\n", k, code);
  if (write(ASK, line, (size_t)n) != n || read(ANSWER, &go, 1) != 1) fork_every = 0;
}

/* Whether this process is a child in which the k-th allocation fails. */
static bool branches(long k) {
  static bool busy; /* fork may allocate */
  off_t place[FILES];
  const int err = errno;
  if (fork_every == 0 || k < fork_at || (k - fork_at) % fork_every != 0 || busy) return false;
  if (!alone() || !save_places(place)) return false;
  busy = true;
  const pid_t child = fork();
  if (child == 0) be_child(k);
  if (child > 0) tell(k, child);
  if (child > 0) restore_places(place);
  errno = err;
  busy = false;
  return child == 0;
}

/* ------------------------------------------------------------------ allocations */

static int fails_for(void *caller) {
  if (fail_at < 0) read_settings();
  const long k = atomic_fetch_add(&count, 1) + 1;
  const bool fails = fail_at != 0 && (k == fail_at || (fail_all && k > fail_at));
  if (!fails && fork_every == 0) return 0;
  if (spared(caller) || (!fails && !branches(k))) return 0;
  errno = ENOMEM;
  return 1;
}

#define fails() fails_for(__builtin_return_address(0))

void *malloc(size_t n) { return fails() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return fails() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return fails() ? NULL : __libc_realloc(p, n); }
void *memalign(size_t align, size_t n) { return fails() ? NULL : __libc_memalign(align, n); }
void *aligned_alloc(size_t align, size_t n) { return fails() ? NULL : __libc_memalign(align, n); }

int posix_memalign(void **p, size_t align, size_t n) {
  void *q = fails() ? NULL : __libc_memalign(align, n);
  if (q) *p = q;
  return q ? 0 : ENOMEM;
}

/* ------------------------------------------------------------------ changes of files */

#define NEXT(name)                                                                                 \
  static __typeof__(&name) next;                                                                   \
  if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, #name)

static void changed(void) { fork_every = 0; }

int rename(const char *from, const char *to) {
  NEXT(rename);
  changed();
  const int err = next(from, to);
  const char *name = getenv("KILL_AFTER"), *slash = strrchr(to, '/');
  if (name && err == 0 && strcmp(slash ? slash + 1 : to, name) == 0) raise(SIGKILL);
  return err;
}

int mkdir(const char *path, mode_t mode) {
  NEXT(mkdir);
  changed();
  return next(path, mode);
}

int unlink(const char *path) {
  NEXT(unlink);
  changed();
  return next(path);
}

int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
  va_end(more);
  NEXT(open);
  if (flags & (O_CREAT | O_WRONLY | O_RDWR)) changed();
  return next(path, flags, mode);
}

FILE *fopen(const char *path, const char *mode) {
  NEXT(fopen);
  if (strpbrk(mode, "wa+")) changed();
  return next(path, mode);
}

/* A program that is started neither forks nor fails. */
static __attribute__((constructor)) void keep_to_oneself(void) {
  if (fail_at < 0) read_settings();
  unsetenv("FORK_EVERY");
}

static __attribute__((destructor)) void report(void) {
  const char *path = getenv("FAIL_COUNT");
  const long n = atomic_load(&count);
  FILE *f;
  fail_at = 0;
  if (path == NULL || (f = fopen(path, "w")) == NULL) return;
  fprintf(f, "%ld\n", n);
  fclose(f);
}
