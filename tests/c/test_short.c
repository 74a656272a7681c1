/*
** test_short.c - the k-th allocation fails, for every k, while images are imported: ours and those
** of the libraries. The error is always one of memory, never that a file is damaged; the previous
** packed file remains, and no temporary file is left.
*/
#define _DEFAULT_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>

#include "scratch.h"

#include "made_files.h"

#include "io/archive.h"
#include "io/image.h"

enum { SIDE = 4, PICTURES = 3 };

static char archive_path[PATH_ROOM], out_path[PATH_ROOM];

/* ------------------------------------------------------------------ malloc that fails */

#ifndef __SANITIZE_ADDRESS__

static long fail_in; /* > 0: calls until one fails */

static bool must_fail(void) {
  if (fail_in == 0 || --fail_in > 0) return false;
  errno = ENOMEM;
  return true;
}

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t m);
extern void *__libc_realloc(void *p, size_t n);

/* Exported, so that the libraries call them as well. */
#define SEEN __attribute__((visibility("default")))
SEEN void *malloc(size_t n) { return must_fail() ? NULL : __libc_malloc(n); }
SEEN void *calloc(size_t n, size_t m) { return must_fail() ? NULL : __libc_calloc(n, m); }
SEEN void *realloc(void *p, size_t n) { return must_fail() ? NULL : __libc_realloc(p, n); }

#endif

/* ------------------------------------------------------------------ an archive of both kinds */

static void make_archive(int kind) {
  static blob picture[2], made;
  small_jpeg(&picture[0], true);
  fm_tensor *t = fm_tensor_new(ctx, FM_U8, &(fm_shape){3, {9, 11, 3}});
  assert_int_equal(fm_save_png(ctx, out_path, t), FM_OK);
  fm_tensor_drop(t);
  load_blob(out_path, &picture[1]);
  struct archive *a = archive_begin(&made, (const char *[]){"zip", "gz", "xz"}[kind]);
  for (int k = 0; k < PICTURES; k++)
    archive_add(a, k % 2 ? "a/1.png" : "a/2.jpg", picture[k % 2].b, picture[k % 2].n);
  archive_end(a);
  dump(archive_path, made.b, made.n);
}

/* ------------------------------------------------------------------ imports */

static fm_err import(void) {
  fm_source *s = fm_source_open(ctx, archive_path);
  if (s == NULL) return fm_error_code(ctx);
  const int64_t place[PICTURES] = {0, 1, 2};
  const uint8_t label[PICTURES] = {0, 1, 0};
  int64_t files = 1;
  const fm_pack_info info = {
      .count = PICTURES, .height = SIDE, .width = SIDE, .channels = 3, .train = 1, .classes = 2};
  fm_pack p;
  fm_err err = fm_pack_create(&p, ctx, out_path, &info);
  while (!err && files) err = fm_pack_take(&p, s, &(fm_intake){place, label, 0, 0, 0, 0}, &files);
  if (!err) err = fm_pack_finish(&p);
  fm_pack_close(&p);
  fm_source_close(s);
  if (err) return err;
  fm_tensor *table, *labels;
  err = fm_pack_map(ctx, out_path, 0, PICTURES, NULL, &table, &labels);
  fm_tensor_drop(table);
  fm_tensor_drop(labels);
  return err;
}

static void check_short(fm_err err, long k) {
  if (err != FM_ENOMEM || strstr(fm_error(ctx), "damaged") || strlen(fm_error(ctx)) < 10)
    fail_msg("allocation %ld: error %d: %s", k, err, fm_error(ctx));
  fm_error_clear(ctx);
  assert_int_equal(list(false), 2); /* the archive and what was packed before */
  assert_int_equal(fm_pack_verify(ctx, out_path, NULL), FM_OK);
}

static void begin(int kind) {
  strcpy(archive_path, in_folder("a.archive"));
  strcpy(out_path, in_folder("a.images"));
  make_archive(kind);
  assert_int_equal(import(), FM_OK);
}

static void test_ours(void **state) {
  (void)state;
  int failed = 0;
  for (int kind = 0; kind < 3; kind++) {
    begin(kind);
    for (long k = 1;; k++) {
      fm_fail_alloc(ctx, k);
      fm_err err = import();
      fm_fail_alloc(ctx, 0);
      if (err == FM_OK) break;
      check_short(err, k);
      failed++;
    }
  }
  assert_true(failed > 60);
}

#ifndef __SANITIZE_ADDRESS__
/*
** Import with the k-th allocation failing, in a process of its own: libarchive ends the program,
** with a message and code 1, if it cannot enlarge a string. Other codes: 10, there are fewer
** allocations; 11, the failure did not matter; 12, an error of memory; 13, another error.
*/
static int import_in_child(long k) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    fclose(stderr);
    signal(SIGSEGV, SIG_DFL); /* cmocka's handler would continue with the tests */
    fail_in = k;
    fm_err err = import();
    const bool reached = fail_in == 0;
    fail_in = 0;
    const char *s = fm_error(ctx);
    if (err == FM_OK) _exit(reached ? 11 : 10);
    dump(in_folder("said"), s, strlen(s));
    _exit(err == FM_ENOMEM && strstr(s, "memory") ? 12 : 13);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

static void fail_with_sentence(int kind, long k) {
  char *said;
  size_t n;
  fm_read_file(ctx, in_folder("said"), &said, &n);
  fail_msg("kind %d, allocation %ld: %s", kind, k, said);
}
#endif

static void test_libraries(void **state) {
  (void)state;
#ifdef __SANITIZE_ADDRESS__
  skip();
#else
  int failed = 0, gave_up = 0, crashed = 0;
  for (int kind = 0; kind < 3; kind++) {
    begin(kind);
    for (long k = 1, done = 0; !done; k++) {
      const int status = import_in_child(k);
      /* A known fault of libarchive 3.6: its xz reader continues when liblzma could not start. */
      if (kind == 2 && WIFSIGNALED(status) && ++crashed <= 6) continue;
      assert_true(WIFEXITED(status));
      const int code = WEXITSTATUS(status);
      if (code == 13) fail_with_sentence(kind, k);
      unlink(in_folder("said"));
      assert_true(code == 1 || (code >= 10 && code <= 12));
      done = code == 10;
      failed += code == 12;
      gave_up += code == 1;
      assert_int_equal(fm_pack_verify(ctx, out_path, NULL), FM_OK);
    }
  }
  assert_true(failed > 150);
  assert_true(gave_up < failed / 4);
#endif
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_ours), TEST(test_libraries)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
