/*
** plans.h - what the compiler hands to core/run: plans of the three phases of a run, and how the
** values of one phase reach the next.
**
** The inputs of a body are those of the programs, then the values that the prologue computes; its
** outputs are those of the programs that it computes itself, then sums for the epilogue. The inputs
** of the epilogue are those of the programs, the values of the prologue, and the sums.
*/
#ifndef FM_PLANS_H
#define FM_PLANS_H

#include "plan.h"

typedef struct fm_port { /* an input or output of the programs */
  fm_sig sig;            /* in the first program */
  bool split;            /* along its first axis: a rows input, a stacked output */
} fm_port;

/* Independent parts of the prologue or the epilogue, with all inputs of that phase. */
typedef struct fm_parts {
  const char *name;        /* "prologue" or "epilogue" */
  int n, nout;             /* nout: outputs of the phase */
  fm_prog *part[FM_PARTS]; /* NULL once it is planned */
  fm_plan *plan[FM_PARTS];
  int *output[FM_PARTS]; /* output k of part i is output[i][k] of the phase */
} fm_parts;

struct fm_plans {
  fm_ctx *ctx;
  fm_pool pool; /* of the arrays */
  int nin, nout;
  fm_port *in, *out; /* of the programs */

  fm_parts pro, epi;
  int nbody, nvalue, nresult, nsum;
  fm_prog **prog;    /* of the bodies, one for each program; NULL once it is planned */
  fm_plan **body;    /* likewise */
  fm_sig *value;     /* of the outputs of the prologue */
  int *result_out;   /* per output of a body: the programs' output that it is, or -1: a sum */
  int *epilogue_out; /* per output of the epilogue: the programs' output that it is */

  bool ordered;      /* the sums are large: micro-batches are summed in pairs, in one memory */
  int traced, nstep; /* nodes of the first program; steps of all plans */
  size_t body_size, part_size; /* arena, blocks, pointers to inputs and outputs: the largest */
  double ms_optimise, ms_plan; /* time spent compiling */
};

/* Empty plans of programs that agree in their inputs and outputs; NULL on failure. */
fm_plans *fm_plans_new(fm_ctx *ctx, int nprogs, fm_prog *const *progs);

#endif
