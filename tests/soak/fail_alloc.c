/*
** fail_alloc.c - a library that, preloaded, makes allocations of a program fail.
**
**   FAIL_AT=k        the k-th allocation fails (0 or unset: none)
**   FAIL_ALL=1       so do all that follow
**   FAIL_COUNT=FILE  at exit, write the number of allocations to this file
**   KILL_AFTER=NAME  kill the process as soon as a file NAME has got its name by rename(2)
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* glibc's own functions: finding them by dlsym would allocate. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

static atomic_long count;
static long fail_at = -1, fail_all;

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

static int fails_for(void *caller) {
  if (fail_at < 0) {
    fail_all = number("FAIL_ALL");
    fail_at = number("FAIL_AT");
  }
  const long k = atomic_fetch_add(&count, 1) + 1;
  if (fail_at == 0 || (k != fail_at && !(fail_all && k > fail_at))) return 0;
  if (spared(caller)) return 0;
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

int rename(const char *from, const char *to) {
  int (*next)(const char *, const char *) = NULL;
  *(void **)&next = dlsym(RTLD_NEXT, "rename");
  const int err = next(from, to);
  const char *name = getenv("KILL_AFTER"), *slash = strrchr(to, '/');
  if (name && err == 0 && strcmp(slash ? slash + 1 : to, name) == 0) raise(SIGKILL);
  return err;
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
