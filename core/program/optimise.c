/*
** optimise.c - a cheaper program with the same outputs: dead nodes and identities are removed,
** equal nodes become one, products are reassociated.
*/
#include <string.h>

#include "program.h"

void fm_live(const fm_prog *p, bool *live) {
  memset(live, 0, (size_t)p->n * sizeof *live);
  for (int k = 0; k < p->nout; k++) live[p->out[k].v] = true;
  for (fm_val v = p->n - 1; v >= 0; v--)
    for (int k = 0; live[v] && k < p->node[v].nin; k++) live[fm_ins(p, v)[k]] = true;
}

bool fm_opens_stage(const fm_op *op) {
  return !(op->flags & (FM_ELEMENTWISE | FM_LEAF | FM_REPEAT));
}

/*
** Elementwise operations and broadcasts happen in the stage of their operands; everything else
** opens a new stage. So a path between two nodes of one stage runs through elementwise operations
** and broadcasts alone.
*/
void fm_stages(const fm_prog *p, int *stage) {
  for (fm_val v = 0; v < p->n; v++) {
    stage[v] = 0;
    for (int k = 0; k < p->node[v].nin; k++) {
      int s = stage[fm_ins(p, v)[k]];
      stage[v] = s > stage[v] ? s : stage[v];
    }
    stage[v] += fm_opens_stage(p->node[v].op);
  }
}

typedef struct rewrite {
  const fm_prog *p;
  fm_prog *q;
  fm_val *map; /* values of p in q */
  int *stage, *uses;
  bool *live;
} rewrite;

/*
** (a b) c with a late and b, c early becomes a (b c): of the backward pass through an activation's
** second derivative, d (z' f''(z)), only the one product z' f'' of the forward pass is kept.
*/
static fm_val reassociate(rewrite *r, fm_val v) {
  const fm_prog *p = r->p;
  for (int outer = 0; outer < 2; outer++) {
    fm_val m = fm_arg(p, v, outer), c = fm_arg(p, v, 1 - outer);
    if (p->node[m].op != &fm_op_mul || r->uses[m] != 1) continue;
    for (int inner = 0; inner < 2; inner++) {
      fm_val a = fm_arg(p, m, inner), b = fm_arg(p, m, 1 - inner);
      if (r->stage[a] > r->stage[b] && r->stage[a] > r->stage[c])
        return fm_mul(r->q, r->map[a], fm_mul(r->q, r->map[b], r->map[c]));
    }
  }
  return FM_NONE;
}

static void rewrite_node(rewrite *r, fm_val v, int passes) {
  const fm_node *n = &r->p->node[v];
  fm_val w = FM_NONE;
  if (n->op->flags & FM_IDENTITY) w = r->map[fm_arg(r->p, v, 0)];
  if (n->op == &fm_op_mul && (passes & FM_PASS_REASSOCIATE)) w = reassociate(r, v);
  r->map[v] = w != FM_NONE ? w : fm_prog_copy(r->q, r->p, v, r->map);
}

static void rewrite_all(rewrite *r, int passes) {
  const fm_prog *p = r->p;
  fm_live(p, r->live);
  fm_stages(p, r->stage);
  memset(r->uses, 0, (size_t)p->n * sizeof *r->uses);
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; r->live[v] && k < p->node[v].nin; k++) r->uses[fm_ins(p, v)[k]]++;
  for (int k = 0; k < p->nout; k++) r->uses[p->out[k].v]++;
  r->q->share = (passes & FM_PASS_CSE) != 0;
  for (fm_val v = 0; v < p->n && r->q->err == FM_OK; v++)
    if (r->live[v] && p->node[v].op != &fm_op_input) rewrite_node(r, v, passes);
  for (int k = 0; k < p->nout; k++) fm_output(r->q, r->map[p->out[k].v], p->out[k].merge);
}

static fm_prog *rewritten(const fm_prog *p, int passes) {
  size_t n = (size_t)p->n, bytes = n * (sizeof(fm_val) + 2 * sizeof(int) + sizeof(bool)) + 1;
  fm_val *map = fm_alloc(p->ctx, bytes);
  if (map == NULL) return NULL;
  rewrite r = {.p = p,
               .map = map,
               .stage = (int *)(map + n),
               .uses = (int *)(map + n) + n,
               .live = (bool *)((int *)(map + n) + 2 * n)};
  r.q = fm_prog_like(p, map);
  if (r.q != NULL) rewrite_all(&r, passes);
  fm_free(p->ctx, map, bytes);
  if (r.q == NULL || r.q->err == FM_OK) return r.q;
  fm_prog_free(r.q);
  return NULL;
}

/* The second round sees use counts without dead nodes. */
fm_prog *fm_optimise(const fm_prog *p, int passes) {
  fm_prog *q = rewritten(p, passes), *twice = q ? rewritten(q, passes) : NULL;
  fm_prog_free(q);
  return twice;
}
