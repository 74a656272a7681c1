/*
** scratch.h - for tests of files: each test gets its own context and folder, and fails if it leaks
** memory. Include it after cmocka.h.
*/
#ifndef SCRATCH_H
#define SCRATCH_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fm.h"

enum { PATH_ROOM = 512 };

static char folder[PATH_ROOM - 64];
static fm_ctx *ctx;

/* The number of files in the folder. */
static inline int list(bool delete) {
  int n = 0;
  DIR *dir = opendir(folder);
  for (struct dirent *e; (e = readdir(dir));) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    n++;
    if (delete) unlinkat(dirfd(dir), e->d_name, 0);
  }
  closedir(dir);
  return n;
}

static inline int setup(void **state) {
  (void)state;
  const char *tmp = getenv("TMPDIR");
  int n = snprintf(folder, sizeof folder, "%s/flowmap-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  ctx = fm_ctx_new(1);
  return ctx && n < (int)sizeof folder && mkdtemp(folder) ? 0 : -1;
}

static inline int teardown(void **state) {
  (void)state;
  size_t left = fm_bytes_now(ctx);
  list(true);
  fm_ctx_free(ctx);
  return rmdir(folder) == 0 && left == 0 ? 0 : -1;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static inline const char *in_folder(const char *name) {
  static char path[8][PATH_ROOM];
  static int next;
  char *p = path[next++ % 8];
  snprintf(p, sizeof path[0], "%s/%s", folder, name);
  return p;
}

/* Write a file without the atomicity (and the fsync) of fm_write_file. */
static inline void dump(const char *path, const void *bytes, size_t n) {
  unlink(path); /* ext4 flushes a file that is truncated and rewritten, which is very slow */
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, n, f), n);
  assert_int_equal(fclose(f), 0);
}

/* Assert that the last call failed with FM_EDATA and a sentence with the path and `part`. */
static inline void assert_refused(fm_err err, const char *path, const char *part) {
  assert_int_equal(err, FM_EDATA);
  if (!strstr(fm_error(ctx), path) || !strstr(fm_error(ctx), part)) {
    fail_msg("'%s' lacks '%s' or '%s'", fm_error(ctx), path, part);
  }
  fm_error_clear(ctx);
}

static inline fm_tensor *ramp(fm_dtype dtype, int nd) {
  fm_shape shape = {.nd = nd};
  for (int i = 0; i < nd; i++) shape.d[i] = i % 3 + 1;
  fm_tensor *t = fm_tensor_new(ctx, dtype, &shape);
  for (int64_t i = 0; i < fm_shape_count(&shape); i++) fm_tensor_set(t, i, 0.1 * (double)i - 1);
  return t;
}

static inline void assert_same(const fm_tensor *a, const fm_tensor *b) {
  assert_int_equal(a->dtype, b->dtype);
  assert_true(fm_shape_eq(&a->shape, &b->shape));
  assert_memory_equal(a->data, b->data, a->bytes);
}

#endif
