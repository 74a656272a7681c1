/*
** lower.c - chooses the method of an operation by its shape, where the operation has a rule for it.
** It runs after stacking, on the calls that will be made, and once more on bodies, where weights
** are loaded from the prologue.
*/
#include "analysis.h"
#include "rewrite.h"

static fm_val lower(const fm_rewrite *r, fm_val v, const void *uses) {
  const fm_op *op = r->p->node[v].op;
  return op->lower ? op->lower(r->q, r->p, v, r->map, uses) : FM_NONE;
}

fm_prog *fm_lower(const fm_prog *p) {
  fm_pool s = {.ctx = p->ctx};
  const int *uses = fm_use_counts(&s, p, fm_live(&s, p));
  fm_prog *q = fm_rewritten(&s, p, p->share, NULL, lower, uses);
  fm_pool_free(&s);
  return q;
}
