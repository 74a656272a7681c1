/* exe.h - the inside of an executable: made by exe.c and lanes.c, run by run.c. */
#ifndef FM_EXE_H
#define FM_EXE_H

#include "../program/plans.h"
#include "step.h"

typedef struct fm_result { /* an output of a body */
  fm_dtype dtype;
  int64_t count; /* values, if micro-batches add to it; 0: their rows are stacked */
  size_t bytes;  /* of those */
  int out;       /* the job's output that it is, or -1: a sum for the epilogue */
  int borrowed;  /* the job's output that serves as its last lane, or -1 */
  int turn;      /* of an ordered run: the micro-batch that adds next */
} fm_result;

struct fm_exe {
  fm_ctx *ctx;
  fm_pool pool; /* of tables, values and sums */
  fm_plans *plans;
  int nmicro, nlane, nworker;
  int *which;        /* body of each micro-batch */
  int64_t *row0;     /* its first sample; one entry more */
  void **value;      /* of the prologue */
  fm_result *result; /* plans->nresult of them */
  fm_pool workers;
  char **memory;  /* per worker, nworker of them; for one phase after the other */
  void **lane;    /* nlane x nresult partial sums; NULL: see fm_lane_of */
  double **group; /* the same: sums of groups of micro-batches; NULL: there are few */
};

/* ------------------------------------------------------------------ lanes.c */

fm_err fm_lanes_make(fm_exe *e);
size_t fm_lanes_bytes(const fm_exe *e);
/* Where the partial sum of output k of a body in a lane is. */
void *fm_lane_of(const fm_exe *e, const fm_job *job, int lane, int k);
/* Does the micro-batch open a group, so that its sums overwrite what is in its lane? */
bool fm_lanes_first(const fm_exe *e, int micro);
/* After the micro-batch, whose sums are in its lane: sum[k] per output of a body. */
void fm_lanes_group(const fm_exe *e, int lane, int micro, void *const *sum);
/* After the last micro-batch: lane 0 gets the sums over all lanes. */
void fm_lanes_add(const fm_exe *e, const fm_job *job);

/* ------------------------------------------------------------------ run.c */

/* ms: adds to the processor time of every step of all plans, on one thread; or NULL. */
fm_err fm_exe_do(fm_exe *e, const fm_job *job, int workers, double *ms);

#endif
