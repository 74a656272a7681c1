/* machine.c - shared memory: each rank creates some, the others of its machine attach it, and then
** its name is removed. */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"
#include "ranks.h"

typedef struct offer { /* sent by a rank to the others of its machine */
  char name[48];
  uint64_t bytes;
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

/* Create memory under a new name, all of it allocated; NULL on failure. */
static char *create(offer *o, size_t bytes) {
  static unsigned count;
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  snprintf(o->name, sizeof o->name, "/fm-%lx-%lx-%x", (unsigned long)getpid(),
           (unsigned long)t.tv_nsec, count++);
  o->bytes = bytes;
  int fd = shm_open(o->name, O_CREAT | O_EXCL | O_RDWR, 0600);
  if (fd < 0) return NULL;
#ifdef __APPLE__
  bool whole = ftruncate(fd, (off_t)bytes) == 0;
#else
  bool whole = posix_fallocate(fd, 0, (off_t)bytes) == 0;
#endif
  void *p = whole ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
  close(fd);
  if (p != MAP_FAILED) return p;
  shm_unlink(o->name);
  return NULL;
}

static char *attach(const offer *o) {
  int fd = shm_open(o->name, O_RDWR, 0);
  if (fd < 0) return NULL;
  void *p = mmap(NULL, (size_t)o->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return p == MAP_FAILED ? NULL : p;
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
  bool could, all = false;
  fm_err err = make_lists(pool, machine);
  if (err != FM_OK) return err;
  machine->base[machine->me] = create(&mine, bytes);
  machine->bytes[machine->me] = bytes;
  could = machine->base[machine->me] != NULL;
  err = all_could(pool->ctx, could, &all);
  if (err == FM_OK && all) {
    err = attach_all(pool, machine, &mine, &could);
    if (err == FM_OK) err = all_could(pool->ctx, could, &all);
  }
  if (machine->base[machine->me]) shm_unlink(mine.name);
  if (err != FM_OK || !all) fm_machine_close(machine);
  return err;
}

void fm_machine_close(fm_machine *machine) {
  for (int k = 0; machine->shared && k < machine->n; k++)
    if (machine->base[k]) munmap(machine->base[k], machine->bytes[k]);
  *machine = (fm_machine){.n = 1};
}
