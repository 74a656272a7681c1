/* machine.c - shared memory: each rank creates some, and the others of its machine attach it. */
#define _GNU_SOURCE /* O_TMPFILE */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"
#include "ranks.h"

typedef struct offer { /* sent by a rank to the others of its machine */
  char name[48];
  uint64_t bytes, device, node; /* which file the name is here: processes may be numbered apart */
} offer;

bool fm_machine_any(void) {
  for (int r = 0; r < fm_nranks(); r++)
    if (fm_ranks_machine(r) != r) return true;
  return false;
}

int fm_machine_of(const fm_machine *machine, int r, int *list) {
  int n = 0;
  for (int k = 0; k < fm_nranks(); k++) {
    if (machine->shared ? fm_ranks_machine(k) != fm_ranks_machine(r) : k != r) continue;
    if (list) list[n] = k;
    n++;
  }
  return n;
}

/* ------------------------------------------------------------------ one rank's memory */

/* On Linux the file has no name: nothing is left of it, whenever a rank is killed. The others open
** it by its descriptor here. Elsewhere it has one until all have opened it. */
#ifdef O_TMPFILE
static int create_file(offer *o) {
  int fd = open("/dev/shm", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  snprintf(o->name, sizeof o->name, "/proc/%ld/fd/%d", (long)getpid(), fd);
  return fd;
}

static int open_file(const offer *o) { return open(o->name, O_RDWR | O_CLOEXEC); }
static void remove_name(const offer *o) { (void)o; }
#else
static int create_file(offer *o) {
  static unsigned count;
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  snprintf(o->name, sizeof o->name, "/fm-%lx-%lx-%x", (unsigned long)getpid(),
           (unsigned long)t.tv_nsec, count++);
  return shm_open(o->name, O_CREAT | O_EXCL | O_RDWR, 0600);
}

static int open_file(const offer *o) { return shm_open(o->name, O_RDWR, 0); }
static void remove_name(const offer *o) { shm_unlink(o->name); }
#endif

static bool allocate(int fd, uint64_t bytes) {
#ifdef __APPLE__
  return ftruncate(fd, (off_t)bytes) == 0;
#else
  return posix_fallocate(fd, 0, (off_t)bytes) == 0;
#endif
}

static char *map(int fd, uint64_t bytes) {
  void *p = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return p == MAP_FAILED ? NULL : p;
}

/* Create memory, all of it allocated; NULL on failure. The others can attach it until `forget`. */
static char *create(offer *o, int *fd, size_t bytes) {
  struct stat is;
  *o = (offer){.bytes = bytes};
  *fd = create_file(o);
  if (*fd < 0 || !allocate(*fd, bytes) || fstat(*fd, &is) != 0) return NULL;
  o->device = (uint64_t)is.st_dev, o->node = (uint64_t)is.st_ino;
  return map(*fd, bytes);
}

static void forget(const offer *o, int fd) {
  if (fd < 0) return;
  close(fd);
  remove_name(o);
}

static char *attach(const offer *o) {
  struct stat is;
  int fd = open_file(o);
  if (fd < 0) return NULL;
  bool same =
      fstat(fd, &is) == 0 && (uint64_t)is.st_dev == o->device && (uint64_t)is.st_ino == o->node;
  char *p = same ? map(fd, o->bytes) : NULL;
  close(fd);
  return p;
}

/* ------------------------------------------------------------------ all ranks' */

static fm_err all_could(fm_ctx *ctx, bool could, bool *all) {
  int64_t failed = !could;
  fm_err err = fm_ranks_most(ctx, &failed);
  *all = failed == 0;
  return err;
}

static fm_err make_lists(fm_pool *pool, fm_machine *machine) {
  *machine = (fm_machine){.shared = true};
  machine->n = fm_machine_of(machine, fm_rank(), NULL);
  machine->rank = fm_take(pool, machine->n, int);
  machine->base = fm_take(pool, machine->n, char *);
  machine->bytes = fm_take(pool, machine->n, size_t);
  if (pool->failed) {
    *machine = (fm_machine){.n = 1};
    return FM_ENOMEM;
  }
  fm_machine_of(machine, fm_rank(), machine->rank);
  while (machine->rank[machine->me] != fm_rank()) machine->me++;
  return FM_OK;
}

/* Send the offer to all others of this machine, and attach theirs; *could: whether it worked. */
static fm_err attach_all(fm_pool *pool, fm_machine *machine, const offer *mine, bool *could) {
  offer *theirs = fm_take(pool, machine->n, offer);
  fm_mail mail = {0};
  fm_err err = theirs ? FM_OK : FM_ENOMEM;
  for (int k = 0; k < machine->n && err == FM_OK; k++) {
    if (k == machine->me) continue;
    err = fm_ranks_receive(pool->ctx, &mail, &theirs[k], sizeof *theirs, machine->rank[k], 0);
    if (err == FM_OK)
      err = fm_ranks_send(pool->ctx, &mail, mine, sizeof *mine, machine->rank[k], 0);
  }
  if (err == FM_OK) err = fm_ranks_wait(pool->ctx, &mail);
  for (int k = 0; k < machine->n && err == FM_OK; k++) {
    if (k == machine->me) continue;
    machine->base[k] = attach(&theirs[k]);
    machine->bytes[k] = (size_t)theirs[k].bytes;
    *could = *could && machine->base[k];
  }
  fm_mail_free(&mail);
  return err;
}

fm_err fm_machine_open(fm_pool *pool, size_t bytes, fm_machine *machine) {
  offer mine;
  int fd;
  bool could, all = false;
  fm_err err = make_lists(pool, machine);
  if (err != FM_OK) return err;
  machine->base[machine->me] = create(&mine, &fd, bytes);
  machine->bytes[machine->me] = bytes;
  could = machine->base[machine->me] != NULL;
  err = all_could(pool->ctx, could, &all);
  if (err == FM_OK && all) {
    err = attach_all(pool, machine, &mine, &could);
    if (err == FM_OK) err = all_could(pool->ctx, could, &all);
  }
  forget(&mine, fd);
  if (err != FM_OK || !all) fm_machine_close(machine);
  return err;
}

void fm_machine_close(fm_machine *machine) {
  for (int k = 0; machine->shared && k < machine->n; k++)
    if (machine->base[k]) munmap(machine->base[k], machine->bytes[k]);
  *machine = (fm_machine){.n = 1};
}
