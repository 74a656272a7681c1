/*
** optimise.c - a cheaper program with the same outputs: dead nodes and identities are removed,
** equal nodes become one, products are reassociated.
*/
#include "analysis.h"
#include "rewrite.h"
#include "../op_names.h"

typedef struct facts { /* about the program being rewritten */
  bool *live;
  int *stage, *uses;
  int passes;
} facts;

/*
** (a b) c, where a is of a later stage than b and c, becomes a (b c): of the backward pass through
** an activation's second derivative, d (z' f''(z)), only the product z' f'' of the forward pass is
** kept.
*/
static fm_val reassociate(const fm_rewrite *r, fm_val v, const facts *f) {
  const fm_prog *p = r->p;
  for (int outer = 0; outer < 2; outer++) {
    fm_val m = fm_arg(p, v, outer), c = fm_arg(p, v, 1 - outer);
    if (p->node[m].op != &fm_op_mul || f->uses[m] != 1) continue;
    for (int inner = 0; inner < 2; inner++) {
      fm_val a = fm_arg(p, m, inner), b = fm_arg(p, m, 1 - inner);
      if (f->stage[a] > f->stage[b] && f->stage[a] > f->stage[c])
        return fm_mul(r->q, r->map[a], fm_mul(r->q, r->map[b], r->map[c]));
    }
  }
  return FM_NONE;
}

static fm_val simplify(const fm_rewrite *r, fm_val v, const void *data) {
  const facts *f = data;
  const fm_op *op = r->p->node[v].op;
  if (op->flags & FM_IDENTITY) return r->map[fm_arg(r->p, v, 0)];
  return op == &fm_op_mul && (f->passes & FM_PASS_REASSOCIATE) ? reassociate(r, v, f) : FM_NONE;
}

static fm_prog *simplified(const fm_prog *p, int passes) {
  fm_pool s = {.ctx = p->ctx};
  facts f = {.passes = passes, .live = fm_live(&s, p), .stage = fm_stages(&s, p)};
  f.uses = fm_use_counts(&s, p, f.live);
  fm_prog *q = fm_rewritten(&s, p, (passes & FM_PASS_CSE) != 0, f.live, simplify, &f);
  fm_pool_free(&s);
  return q;
}

/* The second round sees use counts without the nodes that the first removes. */
fm_prog *fm_optimise(const fm_prog *p, int passes) {
  fm_prog *q = simplified(p, passes), *twice = q ? simplified(q, passes) : NULL;
  fm_prog_free(q);
  return twice;
}
