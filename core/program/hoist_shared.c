/* hoist_shared.c - what all micro-batches share, and what a body loads of it or computes itself. */
#include "hoist.h"

/* Computed from shared inputs and constants, without random numbers. */
static bool *find_shared(fm_pool *pool, const fm_prog *p) {
  bool *shared = fm_take(pool, p->n, bool);
  for (fm_val v = 0; shared && v < p->n; v++) {
    const fm_node *n = &p->node[v];
    shared[v] = !(n->op->flags & FM_RANDOM);
    if (n->op == &fm_op_input) shared[v] = p->in[n->attr.i[FM_INDEX]].role == FM_SHARED;
    for (int k = 0; k < n->nin; k++) shared[v] = shared[v] && shared[fm_ins(p, v)[k]];
  }
  return shared;
}

/* Cheaper to recompute in the body than to load. */
static bool cheap(const fm_op *op) { return op->flags & (FM_LEAF | FM_REPEAT | FM_RESHAPE); }

/* As large as its operands, gains excepted: a normalised weight, or Winograd's transform of one. */
static bool large(const fm_prog *p, fm_val v) {
  size_t operands = 0;
  for (int k = 0; k < p->node[v].nin; k++) {
    fm_val a = fm_arg(p, v, k);
    operands += fm_bytes_of(p, (p->node[a].op->flags & FM_REPEAT) ? fm_arg(p, a, 0) : a);
  }
  return fm_bytes_of(p, v) >= operands - operands / 16;
}

/*
** What the body and the epilogue read, from their outputs backwards. A shared value is LOADED
** unless it is cheap, or large while memory is scarce: then it is COMPUTED again in every
** micro-batch. Returns the bytes of the values that are loaded.
*/
static size_t find_dispositions(const fm_source *s, bool scarce) {
  const fm_prog *p = s->p;
  size_t total = 0;
  for (fm_val v = 0; v < p->n; v++) s->disposition[v] = UNUSED;
  for (int k = 0; k < p->nout; k++) s->disposition[p->out[k].v] = COMPUTED;
  for (fm_val v = p->n - 1; v >= 0; v--) {
    if (s->disposition[v] == UNUSED) continue;
    bool load = s->shared[v] && !cheap(p->node[v].op) && !(scarce && large(p, v));
    s->disposition[v] = load ? LOADED : COMPUTED;
    total += load ? fm_bytes_of(p, v) : 0;
    for (int k = 0; !load && k < p->node[v].nin; k++) s->disposition[fm_arg(p, v, k)] = COMPUTED;
  }
  return total;
}

fm_err fm_open_source(fm_pool *pool, fm_source *s, int passes) {
  s->live = fm_live(pool, s->p);
  s->shared = find_shared(pool, s->p);
  s->disposition = fm_take(pool, s->p->n, fm_disposition);
  s->sum = fm_take_none(pool, s->p->n);
  s->region = fm_linear_regions(pool, s->p, s->shared);
  if (s->region == NULL) return FM_ENOMEM;
  if (find_dispositions(s, false) > VALUE_BYTES || (passes & FM_SCARCE)) find_dispositions(s, true);
  return FM_OK;
}
