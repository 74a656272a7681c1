/*
** linear.c - which outputs of a step are linear functions of few sums. The gradient of a weight
** that is normalised where it is used is, for example, a linear function of the gradient of the
** used weight: the latter is added up over the micro-batches, the former computed once.
*/
#include <string.h>

#include "hoist.h"

#define DEEPEST 200 /* of the recursion: longer chains of operations stay in the body */
#define BUDGET 4096 /* visits per output */

typedef struct cutter {
  const fm_prog *p;
  const bool *live, *shared;
  fm_region *region;
  fm_val *trail; /* nodes decided so far, for undoing */
  int ntrail, budget;
} cutter;

static bool varies(const cutter *c, fm_val v) { return !c->shared[v]; }

/* Is node v linear in its varying operands jointly? */
static bool linear(const cutter *c, fm_val v) {
  const fm_node *n = &c->p->node[v];
  unsigned set = 0;
  int many = 0;
  for (int k = 0; k < n->nin; k++)
    if (varies(c, fm_ins(c->p, v)[k])) many++, set |= k < 32 ? 1u << k : 0;
  if (many == n->nin) set = FM_ALL;
  return fm_linear_in(n->op, &n->attr, set);
}

static double bytes(const cutter *c, fm_val v) {
  const fm_sig *sig = &c->p->node[v].sig;
  return (double)fm_shape_count(&sig->shape) * (double)fm_dtype_size(sig->dtype);
}

static void decide(cutter *c, fm_val v, fm_region region) {
  c->region[v] = region;
  c->trail[c->ntrail++] = v;
}

static void undo(cutter *c, int to) {
  while (c->ntrail > to) c->region[c->trail[--c->ntrail]] = IN_BODY;
}

static double cut(cutter *c, fm_val v, int depth);

static double cut_operands(cutter *c, fm_val v, int depth) {
  double total = 0;
  decide(c, v, AFTER_SUM);
  for (int k = 0; k < c->p->node[v].nin; k++) {
    fm_val a = fm_ins(c->p, v)[k];
    if (varies(c, a)) total += cut(c, a, depth + 1);
  }
  return total;
}

/*
** Decide on v and what it is made of; returns the bytes of the sums that are new. If v's operands
** need more than v itself, once more with their largest sum given: others may follow from it.
*/
static double cut(cutter *c, fm_val v, int depth) {
  if (c->region[v] != IN_BODY) return 0;
  int mark = c->ntrail;
  if (depth < DEEPEST && --c->budget > 0 && linear(c, v)) {
    double total = cut_operands(c, v, depth);
    if (total <= bytes(c, v)) return total;
    fm_val largest = FM_NONE;
    for (int k = mark; k < c->ntrail; k++)
      if (c->region[c->trail[k]] == SUMMED &&
          (largest == FM_NONE || bytes(c, c->trail[k]) > bytes(c, largest)))
        largest = c->trail[k];
    undo(c, mark);
    if (largest != FM_NONE && bytes(c, largest) <= bytes(c, v)) {
      decide(c, largest, SUMMED);
      total = bytes(c, largest) + cut_operands(c, v, depth);
      if (total <= bytes(c, v)) return total;
      undo(c, mark);
    }
  }
  decide(c, v, SUMMED);
  return bytes(c, v);
}

/* An output whose only work is in views gains nothing. */
static void cut_output(cutter *c, fm_val v) {
  bool useful = false;
  int mark = c->ntrail;
  c->budget = BUDGET;
  cut(c, v, 0);
  for (int k = mark; k < c->ntrail; k++)
    useful = useful || (c->region[c->trail[k]] == AFTER_SUM && !c->p->node[c->trail[k]].op->view);
  if (!useful) undo(c, mark);
}

/* Large outputs first: small ones may be found in their sums. */
fm_err fm_linear_regions(const fm_prog *p, const bool *live, const bool *shared,
                         fm_region *region) {
  size_t size = ((size_t)p->n + 1) * sizeof(fm_val) + ((size_t)p->nout + 1) * sizeof(int);
  fm_val *trail = fm_alloc(p->ctx, size);
  cutter c = {.p = p, .live = live, .shared = shared, .region = region, .trail = trail};
  for (fm_val v = 0; v < p->n; v++) region[v] = IN_BODY;
  if (trail != NULL) {
    int *order = trail + p->n + 1, n = 0;
    for (int k = 0; k < p->nout; k++) {
      if (p->out[k].merge != FM_SUM || shared[p->out[k].v]) continue;
      int at = n++;
      for (; at > 0 && bytes(&c, p->out[order[at - 1]].v) < bytes(&c, p->out[k].v); at--)
        order[at] = order[at - 1];
      order[at] = k;
    }
    for (int k = 0; k < n; k++) cut_output(&c, p->out[order[k]].v);
  }
  fm_free(p->ctx, trail, size);
  return trail ? FM_OK : FM_ENOMEM;
}
