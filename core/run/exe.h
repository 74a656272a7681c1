/* exe.h - the inside of an executable: made by compile.c, exe.c and lanes.c, run by run.c. */
#ifndef FM_EXE_H
#define FM_EXE_H

#include "../program/hoist.h"
#include "../program/plan.h"

typedef struct fm_port { /* an input or output of the first program */
  fm_sig sig;
  bool split; /* along its first axis: a rows input, a stacked output */
} fm_port;

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
  int nplan, nmicro, nlane, nin, nout, nworker;
  bool ordered; /* the micro-batches share one lane and add to each of its sums in their order */
  fm_hoisted h;
  fm_port *in, *out; /* of the programs: what a job has */
  fm_result *result; /* h.nout of them */
  fm_plan **plan;    /* of the bodies */
  void **value;      /* of the prologue */
  int *which;        /* body of each micro-batch */
  int64_t *row0;     /* its first sample; one entry more */
  int traced;
  double ms_optimise, ms_plan; /* time spent compiling */
  size_t body_size, part_size; /* arena, blocks, pointers to inputs and outputs: the largest */
  fm_pool workers;
  char **memory;  /* per worker, nworker of them; for one phase after the other */
  void **lane;    /* nlane x h.nout partial sums; NULL: see fm_lane_of */
  double **group; /* the same: sums of groups of micro-batches; NULL: there are few */
};

/* An executable without plans, of traces that fit the micro-batches; NULL on failure. */
fm_exe *fm_exe_open(fm_ctx *ctx, int nprogs, fm_prog *const *progs, const fm_micro_batches *micro);

/* ------------------------------------------------------------------ lanes.c */

void fm_lanes_count(fm_exe *e, int passes); /* when the bodies are planned */
fm_err fm_lanes_make(fm_exe *e);            /* when all is planned */
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

/* timed: adds to the times of all steps, on one thread. */
fm_err fm_exe_do(fm_exe *e, const fm_job *job, int workers, bool timed);

#endif
