/* ranks.c - joins the ranks of a launcher by a shim for its MPI; messages, agreement, the end. */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "mpi/shim.h"
#include "ranks.h"
#include "symbol.h"

#define PATIENCE 5.0 /* seconds that a rank waits at its end for the others */
#define TAG 7

static const fm_mpi *mpi; /* NULL: alone */
static int rank, nranks = 1;
static int *open_requests, nopen, most_open;

int fm_rank(void) { return rank; }
int fm_nranks(void) { return nranks; }

/* ------------------------------------------------------------------ joining */

/* How launchers tell a process its number and how many there are, and whose shim answers. */
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
  return NULL;
}

/* ------------------------------------------------------------------ messages */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Waits longer and longer, up to a fifth of a millisecond: others need the processor. */
static void pause_before(int turn) {
  long us = turn < 20 ? 0 : turn < 200 ? 20 : 200;
  nanosleep(&(struct timespec){0, us * 1000}, NULL);
}

static fm_err lost(fm_ctx *ctx, const char *what, int other) {
  return fm_fail(ctx, FM_EDATA, "ranks: %s rank %d failed: the connection to it is lost", what,
                 other + 1);
}

static fm_err keep(fm_ctx *ctx, int request, const char *what, int other) {
  if (request < 0) return lost(ctx, what, other);
  if (nopen == most_open) {
    int n = most_open ? 2 * most_open : 64;
    int *more = realloc(open_requests, (size_t)n * sizeof *more);
    if (more == NULL) return fm_fail(ctx, FM_ENOMEM, "memory: no room for another message");
    open_requests = more, most_open = n;
  }
  open_requests[nopen++] = request;
  return FM_OK;
}

fm_err fm_ranks_send(fm_ctx *ctx, const void *data, size_t bytes, int to) {
  fm_err err = FM_OK;
  for (size_t at = 0; at < bytes && err == FM_OK; at += FM_MPI_MOST) {
    size_t part = bytes - at < FM_MPI_MOST ? bytes - at : FM_MPI_MOST;
    err = keep(ctx, mpi->send((const char *)data + at, part, to, TAG), "a message to", to);
  }
  return err;
}

fm_err fm_ranks_receive(fm_ctx *ctx, void *data, size_t bytes, int from) {
  fm_err err = FM_OK;
  for (size_t at = 0; at < bytes && err == FM_OK; at += FM_MPI_MOST) {
    size_t part = bytes - at < FM_MPI_MOST ? bytes - at : FM_MPI_MOST;
    err = keep(ctx, mpi->receive((char *)data + at, part, from, TAG), "a message from", from);
  }
  return err;
}

fm_err fm_ranks_wait(fm_ctx *ctx) {
  for (int turn = 0; nopen > 0; turn++) {
    int left = 0, before = nopen;
    for (int k = 0; k < nopen; k++) {
      int state = mpi->done(open_requests[k]);
      if (state < 0) {
        nopen = 0;
        return fm_fail(ctx, FM_EDATA, "ranks: a message failed: the connection is lost");
      }
      if (state == 0) open_requests[left++] = open_requests[k];
    }
    nopen = left;
    if (nopen < before) turn = 0;
    if (nopen > 0) pause_before(turn);
  }
  return FM_OK;
}

/* ------------------------------------------------------------------ agreement */

/* In the binomial tree of ranks with root 0, the children of r are r + 1, r + 2, r + 4, ... below
** the lowest set bit of r. */
static int span(int r) { return r ? r & -r : INT_MAX / 2; }

fm_err fm_ranks_copy(fm_ctx *ctx, void *data, size_t bytes) {
  fm_err err = FM_OK;
  int top = 1;
  if (nranks > 1 && rank > 0) {
    err = fm_ranks_receive(ctx, data, bytes, rank - span(rank));
    if (err == FM_OK) err = fm_ranks_wait(ctx);
  }
  while (top < nranks) top *= 2;
  for (int k = top; k >= 1 && err == FM_OK; k /= 2)
    if (k < span(rank) && rank + k < nranks) err = fm_ranks_send(ctx, data, bytes, rank + k);
  return err == FM_OK && nranks > 1 ? fm_ranks_wait(ctx) : err;
}

fm_err fm_ranks_most(fm_ctx *ctx, int64_t *x) {
  fm_err err = FM_OK;
  for (int k = 1; k < span(rank) && rank + k < nranks && err == FM_OK; k *= 2) {
    int64_t other = *x;
    err = fm_ranks_receive(ctx, &other, sizeof other, rank + k);
    if (err == FM_OK) err = fm_ranks_wait(ctx);
    if (other > *x) *x = other;
  }
  if (err == FM_OK && rank > 0) {
    err = fm_ranks_send(ctx, x, sizeof *x, rank - span(rank));
    if (err == FM_OK) err = fm_ranks_wait(ctx);
  }
  return err == FM_OK ? fm_ranks_copy(ctx, x, sizeof *x) : err;
}

/* ------------------------------------------------------------------ the end */

void fm_ranks_close(int status, void (*alone)(void)) {
  if (mpi == NULL) return;
  int request = mpi->meet(), state = request < 0 ? -1 : 0;
  for (double start = now(); state == 0 && now() - start < PATIENCE; pause_before(200))
    state = mpi->done(request);
  if (state != 1) {
    alone();
    mpi->abandon(status ? status : 1);
  }
  mpi->end();
  mpi = NULL;
}
