/* costs.h - the cost of each step of a run, as input to planning. */
#ifndef FM_COSTS_H
#define FM_COSTS_H

#include "../fm.h"

typedef enum fm_phase { FM_PROLOGUE, FM_BODY, FM_EPILOGUE } fm_phase;

typedef struct fm_cost { /* of one execution of a step */
  fm_phase phase;
  int part;  /* of that phase */
  int times; /* executions in a run: one per micro-batch of a body, else one */
  const struct fm_plan *plan;
  const struct fm_step *step;
  const char *kind; /* an operation, "fused", "fused, with sums", "accumulate" or "copy" */
  bool bf16;        /* a matrix product of operands rounded to bfloat16 */
  double flops, bytes;
  double ms;      /* processor time, if measured */
  int sum;        /* the number of the sum over micro-batches that the step computes, or -1 */
  int64_t values; /* in that sum */
} fm_cost;

int fm_exe_steps(const fm_exe *e); /* the number of steps of all plans */
/* The costs of all steps, phase by phase, in the order of execution. A job that is not NULL is run
** on one thread, and each step is timed. */
fm_err fm_exe_costs(fm_exe *e, const fm_job *job, fm_cost *list);
/* The number of micro-batches; which[k]: the body of micro-batch k, from 0; leaf: how many of them
** form a leaf of a sum's tree. */
int fm_exe_micros(const fm_exe *e, const int **which, int *leaf);

#endif
