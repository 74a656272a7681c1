/* step.h - one step of a plan on the memory of one run. */
#ifndef FM_STEP_H
#define FM_STEP_H

#include "../kernels/rows.h"
#include "../program/plan.h"

/* The memory of one run of a plan. */
typedef struct fm_frame {
  const fm_plan *plan;
  char *arena, *blocks;
  void **in;  /* per input: its first byte for this micro-batch */
  void **out; /* per output: where it goes */
  bool first; /* the first micro-batch that goes there: = instead of += */
  fm_rng rng;
  int64_t row0;
} fm_frame;

static inline void *fm_address(const fm_frame *f, fm_val v) {
  const fm_loc *l = &f->plan->loc[v];
  char *base = NULL;
  switch (l->where) {
  case AT_ARENA: base = f->arena; break;
  case AT_INPUT: base = f->in[l->index]; break;
  case AT_CONST: base = f->plan->p->constant[l->index]->data; break;
  case AT_OUT: base = f->out[l->index]; break;
  case AT_NOWHERE: break;
  }
  return base ? base + l->offset : NULL;
}

void fm_step_run(const fm_step *s, const fm_frame *f);
/* The sum over micro-batches that a step of a body computes, or -1. */
int fm_step_sum(const fm_plan *plan, const fm_step *s);
/* The kind of work that a step is: an operation, "fused", "fused, with sums", ... */
const char *fm_step_kind_name(const fm_plan *plan, const fm_step *s);
double fm_step_flops(const fm_plan *plan, const fm_step *s);
double fm_step_bytes(const fm_plan *plan, const fm_step *s); /* read and written */

/* ------------------------------------------------------------------ fused.c */

void fm_fused_run(const fm_fused *g, const fm_frame *f);
const fm_rows *fm_rows_of(fm_dtype dtype); /* for the instruction set in use */

#endif
