/* test_machine.c - memory that ranks of one machine share, between two processes whose messages are
** those of a socket; nothing of it is left behind, whenever one of them is killed. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "ranks.h"

/* ------------------------------------------------------------------ two ranks of one machine */

static struct {
  int me, socket;
  void *into; /* where the next message goes */
  size_t bytes;
  int die_after, calls; /* the number of the call of the system after which this rank is killed */
  bool elsewhere;       /* the names of the other rank are those of other files here */
} fake;

static int fake_rank(void) { return fake.me; }
static int fake_nranks(void) { return 2; }
static int fake_first(int r) { return 0 * r; }

static fm_err fake_receive(fm_ctx *c, fm_mail *m, void *data, size_t bytes, int from, int tag) {
  (void)c, (void)m, (void)from, (void)tag;
  fake.into = data, fake.bytes = bytes;
  return FM_OK;
}

static fm_err fake_send(fm_ctx *c, fm_mail *m, const void *data, size_t bytes, int to, int tag) {
  (void)m, (void)to, (void)tag;
  return write(fake.socket, data, bytes) == (ssize_t)bytes ? FM_OK : fm_fail(c, FM_EDATA, "lost");
}

static fm_err fake_wait(fm_ctx *c, fm_mail *m) {
  (void)m;
  if (read(fake.socket, fake.into, fake.bytes) == (ssize_t)fake.bytes) return FM_OK;
  return fm_fail(c, FM_EDATA, "lost");
}

static fm_err fake_most(fm_ctx *c, int64_t *x) {
  int64_t other = 0;
  fm_err err = fake_receive(c, NULL, &other, sizeof other, 0, 0);
  if (err == FM_OK) err = fake_send(c, NULL, x, sizeof *x, 0, 0);
  if (err == FM_OK) err = fake_wait(c, NULL);
  if (other > *x) *x = other;
  return err;
}

/* Count a call of the system, and perhaps be killed after it. */
static int called(int result) {
  if (++fake.calls == fake.die_after) kill(getpid(), SIGKILL);
  return result;
}

static int fake_status(int fd, struct stat *is) {
  int result = called(fstat(fd, is));
  if (fake.elsewhere) is->st_ino += (ino_t)fake.calls;
  return result;
}

#define fm_rank fake_rank
#define fm_nranks fake_nranks
#define fm_ranks_machine fake_first
#define fm_ranks_receive fake_receive
#define fm_ranks_send fake_send
#define fm_ranks_wait fake_wait
#define fm_ranks_most fake_most
#define open(...) called(open(__VA_ARGS__))
#define shm_open(...) called(shm_open(__VA_ARGS__))
#define posix_fallocate(...) called(posix_fallocate(__VA_ARGS__))
#define close(fd) called(close(fd))
#define fstat fake_status
#include "machine.c"
#undef open
#undef close
#undef fstat
#include "scratch.h"

enum { BYTES = 3 << 12 };

/* The work of one rank: it writes into its memory and reads the other's. Returns an exit code: 0
** fine, 1 not shared, 2 an error or a wrong value. */
static int share(int me, int die_after, bool elsewhere, const int sockets[2]) {
  fm_pool pool = {.ctx = ctx};
  fm_machine machine;
  fake.me = me, fake.socket = sockets[me];
  fake.calls = 0, fake.die_after = die_after, fake.elsewhere = elsewhere;
  close(sockets[!me]);
  if (fm_machine_open(&pool, BYTES, &machine) != FM_OK) return 2;
  if (!machine.shared) return 1;
  int64_t ready = 0;
  bool zeros = true;
  for (int k = 0; k < BYTES; k++) zeros = zeros && machine.base[me][k] == 0;
  if (fake_most(ctx, &ready) != FM_OK) return 2;
  machine.base[me][BYTES - 1] = (char)(5 + me);
  if (fake_most(ctx, &ready) != FM_OK) return 2;
  bool same = machine.me == me && machine.base[!me][BYTES - 1] == 5 + !me;
  fm_machine_close(&machine);
  fm_pool_free(&pool);
  return zeros && same ? 0 : 2;
}

/* The exit codes of two ranks, -1 of one that is killed. */
static void run(const int die_after[2], bool elsewhere, int code[2]) {
  int sockets[2], status;
  pid_t child[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  for (int me = 0; me < 2; me++) {
    child[me] = fork();
    if (child[me] == 0) {
      signal(SIGPIPE, SIG_IGN);
      _exit(share(me, die_after[me], elsewhere, sockets));
    }
  }
  for (int me = 0; me < 2; me++) close(sockets[me]);
  for (int me = 0; me < 2; me++) {
    assert_int_equal(waitpid(child[me], &status, 0), child[me]);
    code[me] = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
}

/* Files of this program in the folder of shared memory. */
static int left_behind(void) {
  int n = 0;
  DIR *dir = opendir("/dev/shm");
  for (struct dirent *e; dir && (e = readdir(dir));) n += strncmp(e->d_name, "fm-", 3) == 0;
  if (dir) closedir(dir);
  return n;
}

/* ------------------------------------------------------------------ tests */

static void test_shared(void **state) {
  (void)state;
  int code[2];
  run((int[2]){0, 0}, false, code);
  assert_int_equal(code[0], 0);
  assert_int_equal(code[1], 0);
}

/* As where the processes of each rank are numbered apart. */
static void test_other_file(void **state) {
  (void)state;
  int code[2];
  run((int[2]){0, 0}, true, code);
  assert_int_equal(code[0], 1);
  assert_int_equal(code[1], 1);
}

static void test_killed(void **state) {
  (void)state;
  int before = left_behind(), code[2] = {-1, -1}, n = 0;
  while (code[0] == -1) {
    run((int[2]){++n, 0}, false, code);
    assert_int_equal(left_behind(), before);
    assert_int_equal(code[1], code[0] == -1 ? 2 : 0);
  }
  assert_true(n > 4);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_shared), TEST(test_other_file), TEST(test_killed)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
