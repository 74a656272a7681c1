/* costs.h - the costs of all steps of a run, one by one, for those who plan with them. */
#ifndef FM_COSTS_H
#define FM_COSTS_H

#include "../fm.h"

typedef enum fm_phase { FM_PROLOGUE, FM_BODY, FM_EPILOGUE } fm_phase;

typedef struct fm_cost { /* of a step of a plan, executed once */
  fm_phase phase;
  int part;         /* of that phase; a body runs once per micro-batch, all else once per run */
  const char *kind; /* an operation, "fused", "fused, with sums", "accumulate" or "copy" */
  bool bf16;        /* a matrix product of operands rounded to bfloat16 */
  double flops, bytes;
  double ms;      /* of processor time, if it was measured */
  int sum;        /* number of the sum over micro-batches that it computes, or -1 */
  int64_t values; /* of that sum */
} fm_cost;

int fm_exe_steps(const fm_exe *e); /* of all plans */
/* The costs of all steps, phase by phase, in the order of execution. If job is not NULL, it is run
** on one thread and each step timed. */
fm_err fm_exe_costs(fm_exe *e, const fm_job *job, fm_cost *list);
/* Micro-batches; which body each one is, from 0; how many of them are a leaf of a sum's tree. */
int fm_exe_micros(const fm_exe *e, const int **which, int *leaf);

#endif
