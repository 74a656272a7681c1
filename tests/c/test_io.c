/*
** test_io.c - files are written atomically whatever fails, and read whole or refused; SHA-256.
**
** The system calls that reading and writing need are redefined here and shadow the C library's, so
** that each of them can be made to fail in turn.
*/
#define _DEFAULT_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "io/io.h"
#include "scratch.h"

/* ------------------------------------------------------------------ injected faults */

static struct {
  int calls;     /* so far */
  int syncs;     /* calls of fsync() among them */
  int fail_at;   /* the number of the call that fails; 0: none */
  int error;     /* its errno; 0: pread() reports the end of the file */
  bool linking;  /* the call that failed was link(), for which there is a fallback */
  bool no_links; /* link() fails as on a file system without hard links */
  bool stutter;  /* pread() and pwrite() transfer few bytes and are often interrupted */
} os;

static bool fault(void) {
  if (++os.calls != os.fail_at) return false;
  errno = os.error;
  return true;
}

static bool interrupted(void) {
  if (!os.stutter || os.calls % 3) return false;
  errno = EINTR;
  return true;
}

ssize_t pread(int fd, void *p, size_t n, off_t at) {
  if (fault()) return os.error ? -1 : 0;
  return interrupted() ? -1 : syscall(SYS_pread64, fd, p, os.stutter && n > 7 ? 7 : n, at);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at) {
  if (fault()) return -1;
  return interrupted() ? -1 : syscall(SYS_pwrite64, fd, p, os.stutter && n > 7 ? 7 : n, at);
}

int fsync(int fd) {
  os.syncs++;
  if (os.stutter && os.syncs % 2) { /* for files and folders */
    errno = EINTR;
    return -1;
  }
  return fault() ? -1 : (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to) {
  return fault() ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int link(const char *from, const char *to) {
  os.linking = fault();
  if (os.linking) return -1;
  if (os.no_links) {
    errno = EPERM;
    return -1;
  }
  return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ------------------------------------------------------------------ helpers */

static int setup_faultless(void **state) {
  memset(&os, 0, sizeof os);
  return setup(state);
}

#undef TEST
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_faultless, teardown)

static void assert_content(const char *path, const char *expected) {
  char *bytes;
  size_t n;
  assert_int_equal(fm_read_file(ctx, path, &bytes, &n), FM_OK);
  assert_int_equal(n, strlen(expected));
  assert_string_equal(bytes, expected); /* including the terminating NUL */
  fm_free(ctx, bytes, n + 1);
}

static void put(const char *path, const char *text, bool keep) {
  assert_int_equal(fm_write_file(ctx, path, text, strlen(text), keep), FM_OK);
}

/* ------------------------------------------------------------------ writing */

static void test_write_and_keep(void **state) {
  (void)state;
  const char *path = in_folder("a"), *prev = in_folder("a.prev");
  put(path, "one", true);
  assert_int_equal(list(false), 1); /* there is no old file to keep */
  assert_int_equal(os.syncs, 2);    /* the file, then its folder */
  put(path, "two", true);
  assert_content(prev, "one");
  put(path, "three", true);
  assert_content(prev, "two");
  put(path, "four", false);
  assert_content(path, "four");
  assert_content(prev, "two");
  put(path, "", false);
  assert_content(path, "");
  assert_int_equal(list(false), 2);
  assert_int_equal(chdir(folder), 0); /* a name without a folder */
  put("b", "here", true);
  assert_content(in_folder("b"), "here");
  assert_int_equal(chdir("/"), 0);
}

/* Each call of each kind of write fails once: the old file remains, or the new one is whole. */
static void test_every_call_fails(void **state) {
  (void)state;
  static const int errors[] = {ENOSPC, EIO, EACCES};
  const char *path = in_folder("a"), *prev = in_folder("a.prev");
  for (int variant = 0; variant < 12; variant++) {
    bool keep = variant & 1;
    os.no_links = variant & 2;
    os.error = errors[variant / 4];
    for (int k = 1;; k++) {
      os.fail_at = 0;
      list(true);
      put(path, "oldest", false);
      put(path, "old", true);
      os.calls = 0;
      os.fail_at = k;
      os.linking = false;
      fm_err err = fm_write_file(ctx, path, "new", 3, keep);
      int calls = os.calls;
      os.fail_at = 0;
      assert_int_equal(err, calls < k || os.linking ? FM_OK : FM_EDATA);
      bool written = err == FM_OK || strstr(fm_error(ctx), "was written, but");
      if (err != FM_OK) assert_refused(err, path, strerror(os.error));
      assert_content(path, written ? "new" : "old");
      if (written) assert_content(prev, keep ? "old" : "oldest");
      /* Without hard links, the oldest of three files is all that may be lost. */
      assert_true(list(false) == 2 || (os.no_links && !written && list(false) == 1));
      if (calls < k) break; /* every call has failed once */
    }
    os.no_links = false;
    assert_content(path, "new");
    assert_content(prev, keep ? "old" : "oldest");
  }
}

/* After a failed rename, path and path.prev are the same file; the next write must cope. */
static void test_write_after_failed_rename(void **state) {
  (void)state;
  const char *path = in_folder("a"), *prev = in_folder("a.prev");
  put(path, "one", false);
  assert_int_equal(link(path, prev), 0);
  put(path, "two", true);
  assert_content(path, "two");
  assert_content(prev, "one");
  assert_int_equal(list(false), 2);
}

static void test_stutter(void **state) {
  (void)state;
  const char *path = in_folder("a");
  os.stutter = true;
  put(path, "a sentence that does not fit into one write of seven bytes", false);
  assert_content(path, "a sentence that does not fit into one write of seven bytes");
  assert_int_equal(os.syncs, 4);
}

static void test_full_disk(void **state) {
  (void)state;
  static char big[100000];
  const char *path = in_folder("a");
  struct rlimit was, small;
  put(path, "old", false);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
  small = was;
  small.rlim_cur = 4096;
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  fm_err err = fm_write_file(ctx, path, big, sizeof big, true);
  setrlimit(RLIMIT_FSIZE, &was);
  assert_refused(err, path, strerror(EFBIG));
  assert_content(path, "old");
  assert_int_equal(list(false), 1);
}

enum { REFUSED, WRITTEN, CANNOT_TRY };

/* As a user without permissions: root has them all, hence a child that becomes nobody. */
static int write_as_nobody(const char *readable, const char *path) {
  char *bytes;
  size_t n;
  if (getuid() == 0 && setuid(65534) != 0) return CANNOT_TRY;
  if (fm_read_file(ctx, readable, &bytes, &n)) return CANNOT_TRY;
  if (fm_write_file(ctx, path, "new", 3, true) != FM_EDATA) return WRITTEN;
  return strstr(fm_error(ctx), strerror(EACCES)) ? REFUSED : WRITTEN;
}

static void test_no_rights(void **state) {
  (void)state;
  const char *old = in_folder("a");
  put(old, "old", false);
  chmod(old, 0444);
  for (int k = 0; k < 3; k++) { /* a protected file; a protected folder: old file, new file */
    int status;
    const char *path = k == 2 ? in_folder("b") : old;
    chmod(folder, k == 0 ? 0777 : 0555);
    pid_t child = fork();
    if (child == 0) _exit(write_as_nobody(old, path));
    assert_int_equal(waitpid(child, &status, 0), child);
    chmod(folder, 0755);
    chmod(old, 0644);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_TRY) skip();
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), REFUSED);
    assert_content(old, "old");
    assert_int_equal(list(false), 1);
  }
}

static void test_odd_targets(void **state) {
  (void)state;
  struct stat st;
  char longest[5000];
  const char *path = in_folder("a"), *pipe = in_folder("pipe"), *to = in_folder("to");
  assert_refused(fm_write_file(ctx, in_folder("none/a"), "x", 1, false), "none/a",
                 strerror(ENOENT));
  assert_refused(fm_write_file(ctx, folder, "x", 1, false), folder, "it is a folder");
  assert_int_equal(mkfifo(pipe, 0600), 0);
  assert_refused(fm_write_file(ctx, pipe, "x", 1, false), pipe, "it is a pipe or a device");
  assert_int_equal(lstat(pipe, &st), 0);
  assert_true(S_ISFIFO(st.st_mode));
  assert_int_equal(symlink(path, to), 0);
  assert_refused(fm_write_file(ctx, to, "x", 1, false), to, "a dangling link");
  put(path, "old", false);
  chmod(path, 0600);
  put(to, "through the link", false);
  assert_content(path, "through the link");
  assert_int_equal(lstat(to, &st), 0);
  assert_true(S_ISLNK(st.st_mode));
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  memset(longest, 'x', sizeof longest - 1);
  longest[sizeof longest - 1] = 0;
  assert_refused(fm_write_file(ctx, longest, "x", 1, false), "xxx", "cannot write");
  assert_refused(fm_write_file(ctx, "", "x", 1, false), "''", "cannot write");
  assert_int_equal(list(false), 3);
  int n = snprintf(longest, sizeof longest, "%s/", folder);
  for (; n < 4090; n += 2)
    strcpy(longest + n, "./"); /* short enough itself, unlike its temporary */
  longest[n - 1] = 'b';
  assert_refused(fm_write_file(ctx, longest, "x", 1, false), folder + 5, strerror(ENAMETOOLONG));
}

/* A writer killed at any moment leaves one of the two texts whole; its temporary is ignored. */
static void test_kill(void **state) {
  (void)state;
  static char texts[2][20001];
  const char *path = in_folder("a"), *prev = in_folder("a.prev");
  for (int i = 0; i < 2; i++) memset(texts[i], 'a' + i, sizeof texts[i] - 1);
  put(path, texts[0], true);
  put(path, texts[1], true);
  for (int round = 0; round < 20; round++) {
    pid_t child = fork();
    if (child == 0) {
      for (int i = 0;; i ^= 1) fm_write_file(ctx, path, texts[i], 20000, true);
    }
    usleep((useconds_t)(500 + 379 * round));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    char *bytes;
    size_t n;
    for (int which = 0; which < 2; which++) {
      assert_int_equal(fm_read_file(ctx, which ? prev : path, &bytes, &n), FM_OK);
      assert_true(!strcmp(bytes, texts[0]) || !strcmp(bytes, texts[1]));
      fm_free(ctx, bytes, n + 1);
    }
  }
  char stale[PATH_ROOM + 32];
  snprintf(stale, sizeof stale, "%s.tmp.%ld.0", path,
           (long)getpid()); /* of an earlier process with our number */
  dump(stale, "", 0);
  put(path, "still", true);
  assert_content(path, "still");
}

/* ------------------------------------------------------------------ reading */

static void test_read_refused(void **state) {
  (void)state;
  char *bytes;
  size_t n;
  const char *pipe = in_folder("pipe");
  assert_refused(fm_read_file(ctx, in_folder("none"), &bytes, &n), "/none", strerror(ENOENT));
  assert_null(bytes);
  assert_refused(fm_read_file(ctx, folder, &bytes, &n), folder, "it is a folder");
  assert_int_equal(mkfifo(pipe, 0600), 0);
  assert_refused(fm_read_file(ctx, pipe, &bytes, &n), pipe, "it is a pipe or a device");
  put(in_folder("a"), "text", false);
  fm_fail_alloc(ctx, 1);
  assert_int_equal(fm_read_file(ctx, in_folder("a"), &bytes, &n), FM_ENOMEM);
}

/* The k-th read fails, or the file was truncated meanwhile: refused, without a leak. */
static void test_every_read_fails(void **state) {
  (void)state;
  const char *path = in_folder("a");
  fm_named t = {"x", ramp(FM_F64, 2)};
  for (int variant = 0; variant < 6; variant++) {
    fm_err err = variant < 2   ? fm_write_file(ctx, path, "text", 4, false)
                 : variant < 4 ? fm_save_npy(ctx, path, t.tensor)
                               : fm_save_safetensors(ctx, path, 1, &t, 0, NULL, false);
    assert_int_equal(err, FM_OK);
    os.error = variant % 2 ? EIO : 0;
    for (int k = 1;; k++) {
      char *bytes;
      size_t n = 0;
      fm_tensor *back = NULL;
      fm_ckpt c = {.ctx = ctx};
      os.calls = 0;
      os.fail_at = k;
      err = variant < 2   ? fm_read_file(ctx, path, &bytes, &n)
            : variant < 4 ? fm_load_npy(ctx, path, &back)
                          : fm_load_safetensors(ctx, path, &c);
      os.fail_at = 0;
      if (err == FM_OK) {
        assert_true(os.calls < k && k > 1);
        if (variant < 2) fm_free(ctx, bytes, n + 1);
        fm_tensor_drop(back);
        fm_ckpt_free(&c);
        break;
      }
      assert_refused(err, path, os.error ? strerror(EIO) : "ends after");
      assert_true(back == NULL && c.n == 0);
    }
  }
  fm_tensor_drop(t.tensor);
}

/* ------------------------------------------------------------------ SHA-256 */

static void test_sha256(void **state) {
  (void)state;
  static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  static const char million[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
  char hex[65], *a = malloc(1000001);
  fm_sha256("abc", 3, hex); /* the examples of FIPS 180-4 */
  assert_string_equal(hex, abc);
  fm_sha256("", 0, hex);
  assert_string_equal(hex, empty);
  memset(a, 'a', 1000000);
  a[1000000] = 0;
  put(in_folder("a"), a, false);
  free(a);
  assert_int_equal(fm_sha256_file(ctx, in_folder("a"), hex), FM_OK);
  assert_string_equal(hex, million);
  assert_refused(fm_sha256_file(ctx, in_folder("b"), hex), "/b", strerror(ENOENT));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_write_and_keep),
      TEST(test_every_call_fails),
      TEST(test_write_after_failed_rename),
      TEST(test_stutter),
      TEST(test_full_disk),
      TEST(test_no_rights),
      TEST(test_odd_targets),
      TEST(test_kill),
      TEST(test_read_refused),
      TEST(test_every_read_fails),
      TEST(test_sha256),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
