/* ranks.c - joining the ranks of a launcher by a shim for its MPI; messages, agreement, exit. */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mpi/shim.h"
#include "ranks.h"
#include "symbol.h"

#define PATIENCE 5.0 /* seconds that a rank waits at its end for the others */

static const fm_mpi *mpi; /* NULL: alone */
static int rank, nranks = 1;
static int *machine; /* of each rank, the first rank on it */

static bool apart; /* see fm_ranks_alone */

int fm_rank(void) { return apart ? 0 : rank; }
int fm_nranks(void) { return apart ? 1 : nranks; }
void fm_ranks_alone(bool alone) { apart = alone; }
int fm_ranks_machine(int r) { return machine ? machine[r] : r; }

/* ------------------------------------------------------------------ joining */

/* The variables in which a launcher passes a process its number and the number of all, and the shim
** to load. */
typedef struct launcher {
  const char *name, *rank, *size, *shim;
} launcher;

static const launcher launchers[] = {
    {"mpirun of Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "openmpi"},
    {"mpiexec of MPICH", "PMI_RANK", "PMI_SIZE", "mpich"},
    {"srun --mpi=pmix", "PMIX_RANK", "SLURM_NTASKS", "openmpi"},
};

static int number(const char *name) {
  const char *text = getenv(name);
  return text ? atoi(text) : -1;
}

static const launcher *launched_by(void) {
  for (size_t k = 0; k < sizeof launchers / sizeof *launchers; k++)
    if (number(launchers[k].rank) >= 0 && number(launchers[k].size) > 1) return &launchers[k];
  return NULL;
}

static const char *complain(const launcher *by, const char *what, const char *remedy) {
  static char sentence[512];
  snprintf(sentence, sizeof sentence,
           "%s started this program as rank %d of %d, but %s, expected one program of %d "
           "processes; %s",
           by->name, number(by->rank), number(by->size), what, number(by->size), remedy);
  return sentence;
}

/* Which ranks share a machine; if that is not known, none do. */
static void find_machines(void) {
  const char *split = getenv("FLOWMAP_RANKS_APART");
  machine = calloc((size_t)nranks, sizeof *machine);
  if (machine == NULL || mpi->machines(machine) == 0) {
    if (split == NULL || strcmp(split, "1") != 0) return;
  }
  free(machine);
  machine = NULL;
}

const char *fm_ranks_open(const char *folder) {
  const launcher *by = launched_by();
  char path[PATH_MAX + 64], what[PATH_MAX + 128];
  const fm_mpi *(*functions)(void);
  if (by == NULL) return NULL;
  snprintf(path, sizeof path, "%s/%s.so", folder, by->shim);
  if (access(path, R_OK) != 0) {
    snprintf(what, sizeof what, "there is no %.200s", path);
    return complain(by, what, "make mpi builds it, with that MPI's mpicc");
  }
  void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (library == NULL || !fm_symbol(library, "fm_mpi_functions", &functions)) {
    snprintf(what, sizeof what, "its MPI cannot be loaded (%.200s)", dlerror());
    return complain(by, what, "make mpi builds the connection again");
  }
  const fm_mpi *found = functions();
  if (found->version != FM_MPI_VERSION)
    return complain(by, "its connection to MPI is of another version", "make mpi builds it again");
  if (found->begin(&rank, &nranks) != 0 || nranks != number(by->size)) {
    rank = 0, nranks = 1;
    return complain(by, "MPI did not join them",
                    "is this the mpirun of the MPI that make mpi used?");
  }
  mpi = found;
  find_machines();
  return NULL;
}

/* ------------------------------------------------------------------ messages */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define EAGER 20 /* turns in which a rank only yields the processor */

void fm_ranks_pause(int turn) {
  if (turn < EAGER)
    sched_yield();
  else
    nanosleep(&(struct timespec){.tv_nsec = turn < FM_IDLE ? 20000 : 200000}, NULL);
}

static fm_err lost(fm_ctx *ctx, const char *what, int other) {
  return fm_fail(ctx, FM_EDATA, "ranks: %s rank %d failed: the connection to it is lost", what,
                 other + 1);
}

static fm_err keep(fm_ctx *ctx, fm_mail *m, int request, const char *what, int other) {
  if (request < 0) return lost(ctx, what, other);
  m->request[m->n++] = request;
  return FM_OK;
}

/* Make space for another request before it begins. */
static fm_err reserve(fm_ctx *ctx, fm_mail *m) {
  if (m->n < m->most) return FM_OK;
  int n = m->most ? 2 * m->most : 16;
  int *more = realloc(m->request, (size_t)n * sizeof *more);
  if (more == NULL) {
    fm_fail(ctx, FM_ENOMEM, "memory: no space for another message");
    return FM_ENOMEM;
  }
  m->request = more, m->most = n;
  return FM_OK;
}

void fm_mail_free(fm_mail *m) {
  free(m->request);
  *m = (fm_mail){0};
}

fm_err fm_ranks_send(fm_ctx *ctx, fm_mail *m, const void *data, size_t bytes, int to, int tag) {
  fm_err err = FM_OK;
  for (size_t at = 0; at < bytes && err == FM_OK; at += FM_MPI_MOST) {
    size_t part = bytes - at < FM_MPI_MOST ? bytes - at : FM_MPI_MOST;
    if ((err = reserve(ctx, m)) != FM_OK) break;
    err = keep(ctx, m, mpi->send((const char *)data + at, part, to, tag), "a message to", to);
  }
  return err;
}

fm_err fm_ranks_receive(fm_ctx *ctx, fm_mail *m, void *data, size_t bytes, int from, int tag) {
  fm_err err = FM_OK;
  for (size_t at = 0; at < bytes && err == FM_OK; at += FM_MPI_MOST) {
    size_t part = bytes - at < FM_MPI_MOST ? bytes - at : FM_MPI_MOST;
    if ((err = reserve(ctx, m)) != FM_OK) break;
    err = keep(ctx, m, mpi->receive((char *)data + at, part, from, tag), "a message from", from);
  }
  return err;
}

fm_err fm_ranks_look(fm_ctx *ctx, fm_mail *m) {
  int left = 0;
  for (int k = 0; k < m->n; k++) {
    int state = mpi->done(m->request[k]);
    if (state < 0) {
      m->n = 0;
      return fm_fail(ctx, FM_EDATA, "ranks: a message failed: the connection is lost");
    }
    if (state == 0) m->request[left++] = m->request[k];
  }
  m->n = left;
  return FM_OK;
}

fm_err fm_ranks_wait(fm_ctx *ctx, fm_mail *m) {
  fm_err err = FM_OK;
  for (int turn = 0, before = 0; m->n > 0 && err == FM_OK; turn++) {
    if (before != m->n) turn = 0;
    before = m->n;
    err = fm_ranks_look(ctx, m);
    if (err == FM_OK && m->n > 0) fm_ranks_pause(turn);
  }
  return err;
}

/* ------------------------------------------------------------------ agreement */

/* In the binomial tree of ranks with root 0, the children of r are r + 1, r + 2, r + 4, ..., while
** the summand is below the lowest set bit of r, which this returns. */
static int span(int r) { return r ? r & -r : INT_MAX / 2; }

/* Pass data down the tree whose root is rank `from`: place p in it belongs to rank (from + p) mod
** nranks. */
static fm_err pass_on(fm_ctx *ctx, fm_mail *m, void *data, size_t bytes, int from) {
  fm_err err = FM_OK;
  int place = (rank - from + nranks) % nranks, top = 1;
  if (place > 0) {
    int parent = (from + place - span(place)) % nranks;
    err = fm_ranks_receive(ctx, m, data, bytes, parent, 0);
    if (err == FM_OK) err = fm_ranks_wait(ctx, m);
  }
  while (top < nranks) top *= 2;
  for (int k = top; k >= 1 && err == FM_OK; k /= 2)
    if (k < span(place) && place + k < nranks)
      err = fm_ranks_send(ctx, m, data, bytes, (rank + k) % nranks, 0);
  return err == FM_OK ? fm_ranks_wait(ctx, m) : err;
}

fm_err fm_ranks_copy(fm_ctx *ctx, void *data, size_t bytes, int from) {
  fm_mail m = {0};
  fm_err err = fm_nranks() > 1 ? pass_on(ctx, &m, data, bytes, from) : FM_OK;
  fm_mail_free(&m);
  return err;
}

/* On rank 0, *x becomes the largest of all. */
static fm_err most_of_all(fm_ctx *ctx, fm_mail *m, int64_t *x) {
  fm_err err = FM_OK;
  for (int k = 1; k < span(rank) && rank + k < nranks && err == FM_OK; k *= 2) {
    int64_t other = *x;
    err = fm_ranks_receive(ctx, m, &other, sizeof other, rank + k, 0);
    if (err == FM_OK) err = fm_ranks_wait(ctx, m);
    if (other > *x) *x = other;
  }
  if (err != FM_OK || rank == 0) return err;
  err = fm_ranks_send(ctx, m, x, sizeof *x, rank - span(rank), 0);
  return err == FM_OK ? fm_ranks_wait(ctx, m) : err;
}

fm_err fm_ranks_most(fm_ctx *ctx, int64_t *x) {
  fm_mail m = {0};
  if (fm_nranks() == 1) return FM_OK;
  fm_err err = most_of_all(ctx, &m, x);
  if (err == FM_OK) err = pass_on(ctx, &m, x, sizeof *x, 0);
  fm_mail_free(&m);
  return err;
}

/* ------------------------------------------------------------------ the end */

void fm_ranks_close(int status, void (*alone)(void)) {
  if (mpi == NULL) return;
  int request = mpi->meet(), state = request < 0 ? -1 : 0;
  for (double start = now(); state == 0 && now() - start < PATIENCE; fm_ranks_pause(FM_IDLE))
    state = mpi->done(request);
  if (state != 1) {
    alone();
    mpi->abandon(status ? status : 1);
  }
  mpi->end();
  mpi = NULL;
}
