/* exe.h - the inside of an executable: made by exe.c and sums.c, run by run.c. */
#ifndef FM_EXE_H
#define FM_EXE_H

#include <pthread.h>

#include "../program/plans.h"
#include "step.h"

typedef struct fm_block { /* of the tree of a sum: see sums.c */
  int level, at;
  int added;  /* micro-batches, of a leaf */
  bool whole; /* all leaves are in it; else it is being written */
  void *data;
} fm_block;

typedef struct fm_result { /* an output of a body */
  fm_dtype dtype;
  int64_t count; /* values, if micro-batches add to it; 0: their rows are stacked */
  size_t bytes;  /* of those */
  int out;       /* the job's output that it is, or -1: a sum for the epilogue */
  int borrowed;  /* the job's output that serves as memory of a block, or -1 */
  void *root;    /* where the sum ends up */
  void *lowest;  /* memory of this rank's first block; the root unless that is another rank's */
  bool fixed;    /* both are in memory that ranks of a machine share: see share.c */
  int nown, nspare, nblock;
  void **own, **spare; /* memory of blocks: of the executable's own; free at present */
  fm_block *block;     /* in memory at present */
  int closed, rising;  /* leaves that have ended; blocks that are being added to others */
} fm_result;

struct fm_exe {
  fm_ctx *ctx;
  fm_pool pool; /* of tables and values */
  fm_plans *plans;
  int nmicro, nworker;
  int leaf, nleaf;   /* micro-batches in a leaf of a sum's tree; leaves */
  int from, to;      /* leaves that this rank runs: see fm_sums_range */
  int *which;        /* body of each micro-batch */
  int64_t *row0;     /* its first sample; one entry more */
  bool *done;        /* per micro-batch, while they run */
  void **value;      /* of the prologue */
  fm_result *result; /* plans->nresult of them */
  fm_pool workers;
  char **memory; /* per worker, nworker of them; for one phase after the other */
  pthread_mutex_t lock;
  pthread_cond_t added;   /* the first micro-batch of a leaf */
  struct fm_share *share; /* with other ranks; NULL: this one runs all leaves, or none yet */
};

enum { FM_APART = 64 }; /* bytes that blocks in shared memory are aligned to */

/* ------------------------------------------------------------------ sums.c */

fm_err fm_sums_make(fm_exe *e);
/* The leaves that a rank runs: from .. to - 1. */
void fm_sums_range(const fm_exe *e, int rank, int *from, int *to);
/* May a worker begin this micro-batch, if all before `oldest` have ended? */
bool fm_sums_may_begin(const fm_exe *e, int micro, int oldest, int workers);
/* Bytes of the sums for so many workers, each block rounded up to a multiple of `unit`. */
size_t fm_sums_bytes(const fm_exe *e, int workers, size_t unit);
/* Their memory: `memory`, of that size for FM_APART, or the pool's if NULL; tables are the pool's.
** The pool's `failed` tells. */
void fm_sums_take(fm_exe *e, fm_pool *pool, int workers, char *memory);
/* Before the first micro-batch. */
void fm_sums_begin(fm_exe *e, const fm_job *job);
/* Where a micro-batch is to write output k of a body, or to add it, unless it is the `first` of its
** leaf; waits for that one. */
void *fm_sums_open(fm_exe *e, int k, int micro, bool *first);
/* When it has: adds blocks that are complete. After all micro-batches the sum is at the root.
** Returns whether this was the last one that the sum needs from this rank. */
bool fm_sums_close(fm_exe *e, int k, int micro);
/* The memory of a block that is complete. */
void *fm_sums_block(const fm_result *r, int level, int at);

/* ------------------------------------------------------------------ share.c */

/* Before the first run by so many workers, on all ranks: takes the memory of the sums. Nothing is
** shared if there is one rank or one leaf. */
fm_err fm_share_open(fm_exe *e, int workers);
void fm_share_close(fm_exe *e);
/* A run begins: waits until the ranks of this machine have ended the last one. */
void fm_share_begin(fm_exe *e);
/* The parts of the prologue that this rank runs: the first one, and the distance to the next. */
int fm_share_parts(const fm_exe *e, int *stride);
/* It has run them; waits for the others that share values with it. */
void fm_share_values(fm_exe *e);
/* The sum of output k over this rank's leaves is complete. */
void fm_share_ready(fm_exe *e, int k);
/* Exchange what is ready, unless another worker does; called between the steps of micro-batches. */
void fm_share_look(fm_exe *e);
/* After this rank's micro-batches: the sums, and the rows of all outputs, over all ranks. */
fm_err fm_share_finish(fm_exe *e, const fm_job *job);
/* After the epilogue: shared memory is not read any more. */
void fm_share_end(fm_exe *e);

/* ------------------------------------------------------------------ run.c */

/* ms: adds to the processor time of every step of all plans, on one thread; or NULL. */
fm_err fm_exe_do(fm_exe *e, const fm_job *job, int workers, double *ms);

#endif
