/* hoist.h - the work that a run does once instead of once per micro-batch. */
#ifndef FM_HOIST_H
#define FM_HOIST_H

#include "plans.h"
#include "rewrite.h"

/* Splits optimised programs into those of prologue, bodies and epilogue. A program that becomes a
** body unchanged is taken over and replaced by NULL. */
fm_err fm_hoist(fm_plans *plans, int n, fm_prog **p, int passes);

/* ------------------------------------------------------------------ parts.c */

/* Splits a program into independent parts of about equal work; their tables come from `pool`. */
fm_err fm_split(fm_pool *pool, const fm_prog *p, fm_parts *parts);

/* ------------------------------------------------------------------ linear.c */

typedef enum fm_region { IN_BODY, AFTER_SUM, SUMMED } fm_region;

/*
** Per node: AFTER_SUM where an output that is added up over the micro-batches can be computed from
** sums, because it is linear in them; SUMMED: such a sum. shared[v]: v is the same for all
** micro-batches. Sums take no more memory than the outputs that they stand for. NULL on failure.
*/
fm_region *fm_linear_regions(fm_pool *s, const fm_prog *p, const bool *shared);

/* ------------------------------------------------------------------ for the files of this pass */

/* How a body obtains a node of its program. */
typedef enum fm_disposition { UNUSED, COMPUTED, LOADED } fm_disposition; /* from the prologue */

typedef struct fm_hoisted { /* one program */
  fm_prog *p;
  bool *live, *shared;
  fm_disposition *disposition;
  fm_region *region;
  int *sum;            /* per node: the number of the sum that it is, or -1 */
  fm_rewrite pro, epi; /* into the prologue, into the epilogue */
} fm_hoisted;

typedef struct fm_hoister {
  fm_plans *plans;
  fm_pool *pool; /* of this pass */
  int n;
  fm_hoisted *from;
  fm_prog *pro, *epi;
  int *index; /* per value of the prologue: its output there, or -1 */
} fm_hoister;

/* Whether output k is computed by the epilogue. */
static inline bool fm_after(const fm_hoisted *s, int k) {
  return s->p->out[k].merge == FM_SUM && s->region[s->p->out[k].v] != IN_BODY;
}
/* An empty program with the inputs of p and, after them, the values of the prologue. */
fm_prog *fm_with_values(const fm_hoister *t, const fm_prog *p);
/* Value v of the prologue as an input of q. */
fm_val fm_value_in(const fm_hoister *t, const fm_prog *q, const fm_hoisted *s, fm_val v);
fm_err fm_make_epilogue(fm_hoister *t);    /* in hoist_epilogue.c */
fm_err fm_make_body(fm_hoister *t, int k); /* in hoist_body.c */

#endif
