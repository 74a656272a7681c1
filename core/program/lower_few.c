/*
** lower_few.c - in a body with few images, Winograd's product takes the images transformed and
** transforms the weights piece by piece, where the images are the smaller of the two in memory. The
** bits are the same, so the number of images may decide.
*/
#include "analysis.h"
#include "passes.h"
#include "rewrite.h"

static fm_val transform_images(const fm_rewrite *r, fm_val v, const void *uses) {
  const fm_prog *p = r->p;
  fm_prog *q = r->q;
  if (p->node[v].op != &fm_op_winograd) return FM_NONE;
  fm_val x = fm_arg(p, v, 0), u = fm_arg(p, v, 1);
  if (p->node[u].op != &fm_op_winograd_weights || ((const int *)uses)[u] != 1) return FM_NONE;
  const fm_shape *s = &p->node[x].sig.shape;
  fm_attr a = {{s->d[0], s->d[1], s->d[2], p->node[u].attr.i[FM_TURNED]}, {0}};
  fm_val in[3] = {fm_e1(q, &fm_op_winograd_images, r->map[x]), r->map[fm_arg(p, u, 0)],
                  r->map[fm_arg(p, u, 1)]};
  if (in[0] == FM_NONE || fm_bytes_of(q, in[0]) >= fm_bytes_of(p, u)) return FM_NONE;
  return fm_emit(q, &fm_op_winograd_product, 3, in, &a);
}

/* Equal nodes stay apart: hoisting has rematerialised some of them per reader. */
fm_prog *fm_lower_few(const fm_prog *p, int passes) {
  (void)passes;
  fm_pool s = {.ctx = p->ctx};
  const int *uses = fm_use_counts(&s, p, fm_live(&s, p));
  fm_prog *q = fm_rewritten(&s, p, false, NULL, transform_images, uses);
  fm_pool_free(&s);
  return q;
}
