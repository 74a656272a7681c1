/*
** linear.c - which outputs of a step are linear functions of few sums. The gradient of a weight
** that is normalised where it is used is, for example, a linear function of the gradient of the
** used weight: the latter is added up over the micro-batches, the former computed once.
*/
#include "hoist.h"

typedef struct boundary {
  const fm_prog *p;
  const bool *shared;
  fm_region *region;
  fm_val *trail; /* nodes decided so far, for undoing */
  int ntrail, budget;
} boundary;

static bool varies(const boundary *b, fm_val v) { return !b->shared[v]; }

/* Whether node v is linear in its varying operands jointly. */
static bool linear(const boundary *b, fm_val v) {
  const fm_node *n = &b->p->node[v];
  unsigned set = 0;
  int many = 0;
  for (int k = 0; k < n->nin; k++)
    if (varies(b, fm_arg(b->p, v, k))) many++, set |= k < 32 ? 1u << k : 0;
  return fm_linear_in(n->op, &n->attr, many == n->nin ? FM_ALL : set);
}

static double bytes(const boundary *b, fm_val v) { return (double)fm_bytes_of(b->p, v); }

static void decide(boundary *b, fm_val v, fm_region region) {
  b->region[v] = region;
  b->trail[b->ntrail++] = v;
}

static void undo(boundary *b, int to) {
  while (b->ntrail > to) b->region[b->trail[--b->ntrail]] = IN_BODY;
}

static double place(boundary *b, fm_val v, int depth);

static double pass_through(boundary *b, fm_val v, int depth) {
  double total = 0;
  decide(b, v, AFTER_SUM);
  for (int k = 0; k < b->p->node[v].nin; k++) {
    fm_val a = fm_arg(b->p, v, k);
    if (varies(b, a)) total += place(b, a, depth + 1);
  }
  return total;
}

/*
** Decide on v and what it is made of; returns the bytes of the sums that are new. If v's operands
** need more than v itself, once more with their largest sum given: others may follow from it.
*/
static double place(boundary *b, fm_val v, int depth) {
  if (b->region[v] != IN_BODY) return 0;
  int mark = b->ntrail;
  if (depth < DEEPEST && --b->budget > 0 && linear(b, v)) {
    double total = pass_through(b, v, depth);
    if (total <= bytes(b, v)) return total;
    fm_val largest = FM_NONE;
    for (int k = mark; k < b->ntrail; k++)
      if (b->region[b->trail[k]] == SUMMED &&
          (largest == FM_NONE || bytes(b, b->trail[k]) > bytes(b, largest)))
        largest = b->trail[k];
    undo(b, mark);
    if (largest != FM_NONE && bytes(b, largest) <= bytes(b, v)) {
      decide(b, largest, SUMMED);
      total = bytes(b, largest) + pass_through(b, v, depth);
      if (total <= bytes(b, v)) return total;
      undo(b, mark);
    }
  }
  decide(b, v, SUMMED);
  return bytes(b, v);
}

/* An output whose only work is in views gains nothing. */
static void place_output(boundary *b, fm_val v) {
  bool useful = false;
  int mark = b->ntrail;
  b->budget = BUDGET;
  place(b, v, 0);
  for (int k = mark; k < b->ntrail; k++)
    useful = useful || (b->region[b->trail[k]] == AFTER_SUM && !b->p->node[b->trail[k]].op->view);
  if (!useful) undo(b, mark);
}

/* Large outputs first: small ones may be found in their sums. */
fm_region *fm_linear_regions(fm_pool *s, const fm_prog *p, const bool *shared) {
  boundary b = {.p = p, .shared = shared, .trail = fm_take(s, p->n, fm_val)};
  int *order = fm_take(s, p->nout, int), n = 0;
  b.region = fm_take(s, p->n, fm_region); /* all IN_BODY */
  if (s->failed) return NULL;
  for (int k = 0; k < p->nout; k++) {
    if (p->out[k].merge != FM_SUM || shared[p->out[k].v]) continue;
    int at = n++;
    for (; at > 0 && bytes(&b, p->out[order[at - 1]].v) < bytes(&b, p->out[k].v); at--)
      order[at] = order[at - 1];
    order[at] = k;
  }
  for (int k = 0; k < n; k++) place_output(&b, p->out[order[k]].v);
  return b.region;
}
