/* exe.h - the internals of an executable: built by exe.c and sums.c, run by run.c. */
#ifndef FM_EXE_H
#define FM_EXE_H

#include <pthread.h>

#include "../program/plans.h"
#include "step.h"

typedef struct fm_block { /* a node of a sum's tree: see sums.c */
  int level, at;
  int added;  /* of a leaf: micro-batches added so far */
  bool whole; /* it contains all its leaves; false: it is being written */
  void *data;
} fm_block;

typedef struct fm_result { /* an output of a body */
  fm_dtype dtype;
  int64_t count; /* values, if micro-batches add to it; 0: rows are stacked, or there are none */
  size_t bytes;  /* of these values */
  int out;       /* its number among the job's outputs, or -1: a sum for the epilogue */
  int borrowed;  /* the output of the job whose memory holds a block, or -1 */
  void *root;    /* where the sum ends up */
  void *lowest;  /* memory of this rank's first block: the root, unless another rank has that */
  bool fixed;    /* both are in memory shared by the ranks of a machine: see share.c */
  int nown, nspare, nblock;
  void **own, **spare; /* memory for blocks: all that the executable owns; what is free now */
  fm_block *block;     /* those in memory now */
  int closed, rising;  /* leaves that have ended; blocks being added to others */
} fm_result;

typedef struct fm_held { /* a constant of the traced programs */
  fm_tensor *t;
  uint64_t writes; /* how often it had been overwritten by then */
} fm_held;

struct fm_exe {
  fm_ctx *ctx;
  fm_pool pool; /* holds tables and values */
  fm_plans *plans;
  int nmicro, nworker;
  int leaf, nleaf;   /* micro-batches in a leaf of a sum's tree; leaves */
  int from, to;      /* the leaves that this rank runs: see fm_sums_range */
  int *which;        /* the body of each micro-batch */
  int64_t *row0;     /* its first sample; one more entry than micro-batches */
  bool *done;        /* per micro-batch, during a run */
  void **value;      /* what the prologue computes */
  fm_result *result; /* plans->nresult entries */
  fm_held *held;     /* nheld entries */
  int nheld;
  fm_pool workers;
  char **memory; /* per worker (nworker entries), reused by each phase */
  pthread_mutex_t lock;
  pthread_cond_t added;   /* signalled when the first micro-batch of a leaf has been added */
  struct fm_share *share; /* with other ranks; NULL: this rank runs all leaves, or nothing yet */
};

enum { FM_APART = 64 }; /* alignment of blocks in shared memory, in bytes */

/* ------------------------------------------------------------------ sums.c */

fm_err fm_sums_make(fm_exe *e);
/* The leaves that a rank runs: from .. to - 1. */
void fm_sums_range(const fm_exe *e, int rank, int *from, int *to);
/* Whether a worker may begin this micro-batch when all before `oldest` have ended. */
bool fm_sums_may_begin(const fm_exe *e, int micro, int oldest, int workers);
/* The bytes that sums need for this many workers, each block rounded up to a multiple of `unit`. */
size_t fm_sums_bytes(const fm_exe *e, int workers, size_t unit);
/* Take that memory from `memory`, which has the size for the unit FM_APART, or, if NULL, from the
** pool, which always provides the tables. The pool's `failed` reports failure. */
void fm_sums_take(fm_exe *e, fm_pool *pool, int workers, char *memory);
/* Call before the first micro-batch. */
void fm_sums_begin(fm_exe *e, const fm_job *job);
/* Where a micro-batch puts output k of its body. The `first` of its leaf writes there; any other
** adds to it, and waits here until the first has written. */
void *fm_sums_open(fm_exe *e, int k, int micro, bool *first);
/* Call when that is done: adds up blocks that are complete. After all micro-batches the sum is at
** the root. Returns whether the sum needs nothing more from this rank. */
bool fm_sums_close(fm_exe *e, int k, int micro);
/* The memory of a complete block. */
void *fm_sums_block(const fm_result *r, int level, int at);

/* ------------------------------------------------------------------ share.c */

/* Call on all ranks before the first run with this many workers: takes the memory of the sums.
** Nothing is shared if there is one rank or one leaf. */
fm_err fm_share_open(fm_exe *e, int workers);
void fm_share_close(fm_exe *e);
/* A run begins: waits until the ranks of this machine have finished the previous run. */
void fm_share_begin(fm_exe *e);
/* The parts of the prologue that this rank runs: the first one; *stride: from one to the next. */
int fm_share_parts(const fm_exe *e, int *stride);
/* They have run: waits for the other ranks with which this one shares the values. */
void fm_share_await_values(fm_exe *e);
/* Call when the sum of output k over this rank's leaves is complete. */
void fm_share_ready(fm_exe *e, int k);
/* Exchange what is ready, unless another worker is doing so. Called between steps. */
void fm_share_look(fm_exe *e);
/* Call after this rank's micro-batches: completes the sums, and the rows of all outputs, over all
** ranks. */
fm_err fm_share_finish(fm_exe *e, const fm_job *job);
/* Call after the epilogue: shared memory is no longer read. */
void fm_share_end(fm_exe *e);

/* ------------------------------------------------------------------ run.c */

/* Run a job. ms (or NULL): the processor time of each step of all plans is added to it; needs one
** worker. */
fm_err fm_exe_do(fm_exe *e, const fm_job *job, int workers, double *ms);

#endif
