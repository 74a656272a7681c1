/* test_sweep.c - the next write removes what killed writers left behind, and nothing else. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "io/io.h"
#include "scratch.h"

static void put(const char *path, const char *text) {
  assert_int_equal(fm_write_file(ctx, path, text, strlen(text), true), FM_OK);
}

/* Kill a child while it writes; its temporary file remains. */
static void killed_writer(const char *path) {
  int ready[2];
  char one;
  assert_int_equal(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    fm_out out;
    if (fm_out_open(&out, ctx, path) == FM_OK && fm_out_write(&out, "half", 4) == FM_OK)
      if (write(ready[1], "x", 1) == 1) pause();
    _exit(1);
  }
  assert_int_equal(read(ready[0], &one, 1), 1);
  close(ready[0]);
  close(ready[1]);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
}

static void test_killed(void **state) {
  (void)state;
  const char *path = in_folder("a");
  put(path, "one");
  for (int k = 0; k < 3; k++) {
    killed_writer(path);
    assert_int_equal(list(false), 2); /* each writer removes what the previous one left */
  }
  killed_writer(in_folder("b"));
  put(path, "two"); /* of a only */
  assert_int_equal(list(false), 3);
  put(in_folder("b"), "here");
  assert_int_equal(list(false), 3); /* a, a.prev, b */
}

/* A living writer's process number may not exist here (in a container), or be another process's. */
static void test_living(void **state) {
  (void)state;
  const char *path = in_folder("a");
  fm_out first;
  assert_int_equal(fm_out_open(&first, ctx, path), FM_OK);
  assert_int_equal(fm_out_write(&first, "slow", 4), FM_OK);
  char alias[PATH_ROOM + 32];
  snprintf(alias, sizeof alias, "%s.tmp.999999999.0", path);
  assert_int_equal(rename(first.part, alias), 0);
  strcpy(first.part, alias);
  put(path, "fast");
  assert_int_equal(access(alias, F_OK), 0);
  assert_int_equal(fm_out_commit(&first, false), FM_OK);
  char *bytes;
  size_t n;
  assert_int_equal(fm_read_file(ctx, path, &bytes, &n), FM_OK);
  assert_string_equal(bytes, "slow");
  fm_free(ctx, bytes, n + 1);
  assert_int_equal(list(false), 1);
}

/* Names other than those of our temporary files of this path, and entries that are not files. */
static void test_foreign(void **state) {
  (void)state;
  static const char *const names[] = {
      "a.tmp.1",        "a.tmp.1.", "a.tmp.x.0", "a.tmp.1.0.old", "a.tmp.999.0~",
      "b.tmp.999999.0", "a.tmp",    "a.tmp..0",  "aa.tmp.1.0",    "a.tmp.999.0.prev.prev",
      "a.tmp.1.777"};
  const int n = (int)(sizeof names / sizeof *names);
  for (int k = 0; k < n; k++) dump(in_folder(names[k]), "mine", 4);
  assert_int_equal(symlink(in_folder("a.tmp"), in_folder("a.tmp.999.1")), 0);
  assert_int_equal(mkfifo(in_folder("a.tmp.999.2"), 0600), 0);
  put(in_folder("a"), "text");
  assert_int_equal(list(false), n + 3);
  dump(in_folder("a.tmp.999999999.0.prev"), "", 0); /* its writer was killed after the rename */
  put(in_folder("a"), "more");
  assert_int_equal(list(false), n + 4); /* and a.prev */
}

/* Many concurrent writers, all sweeping: every write succeeds. */
static void test_crowd(void **state) {
  (void)state;
  enum { CROWD = 4, WRITES = 60 };
  const char *path = in_folder("a");
  for (int k = 0; k < CROWD; k++)
    if (fork() == 0) {
      int failed = 0;
      for (int i = 0; i < WRITES; i++)
        failed += fm_write_file(ctx, path, "text", 4, false) != FM_OK;
      _exit(failed);
    }
  for (int k = 0; k < CROWD; k++) {
    int status;
    wait(&status);
    assert_int_equal(status, 0);
  }
  assert_int_equal(list(false), 1);
}

/* Stands in for the library's lstat: creates `appearing` just before the first look at it. */
static const char *appearing;

int lstat(const char *restrict path, struct stat *restrict st) {
  if (appearing && strcmp(path, appearing) == 0) {
    appearing = NULL;
    close(open(path, O_CREAT | O_WRONLY, 0600));
  }
  return fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

/* A file that another writer creates while its path is resolved is not taken for a dangling link;
   a dangling link is. */
static void test_appearing(void **state) {
  (void)state;
  const char *path = in_folder("a"), *link = in_folder("b");
  appearing = path;
  put(path, "text");
  assert_null(appearing);
  assert_int_equal(list(false), 2); /* and a.prev */
  assert_int_equal(symlink("nowhere", link), 0);
  assert_refused(fm_write_file(ctx, link, "text", 4, false), link, "it is a dangling link");
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_killed), TEST(test_living), TEST(test_foreign),
                                     TEST(test_crowd), TEST(test_appearing)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
