/*
** lower.c - chooses the method of a convolution by its shape alone (never by the number of images,
** so that results do not depend on the micro-batches): Winograd's for 3x3 kernels where it is
** faster, a matrix product for 1x1, else that of ops/conv.c. It runs after stacking, on the calls
** that will be made. Weight transforms become nodes of their own, which depend on weights alone.
*/
#include "limits.h"
#include "passes.h"
#include "rewrite.h"

/* Stride 1, this padding. */
static bool plain(const fm_attr *a, int64_t pad) {
  return a->i[FM_STRIDE] == 1 && a->i[FM_PAD_Y] == pad && a->i[FM_PAD_X] == pad;
}

/* Winograd's method computes tiles of 4x4 pixels, those beyond the edge included. */
static bool pays(const fm_shape *x, const fm_shape *w) {
  int64_t tiles = (x->d[1] + 3) / 4 * ((x->d[2] + 3) / 4);
  return WINOGRAD_PIXELS_PER_TILE * tiles <= x->d[1] * x->d[2] && w->d[0] > 0 && w->d[3] > 0;
}

/*
** The factors of a weight's outputs, (O, 1), and the weight that they belong to. Rows normalised,
** times a number (nn.mp_weight), are rows times factors: these few values are kept instead of a
** second copy of all weights. The factors of another weight are 1.
*/
static fm_val factors(const fm_rewrite *r, fm_val b, fm_val *w) {
  const fm_prog *p = r->p;
  fm_prog *q = r->q;
  const fm_sig sig = p->node[b].sig;
  fm_sig column = {sig.dtype, {2, {sig.shape.d[0], 1}}};
  fm_val scaled = p->node[b].op == &fm_op_reshape ? fm_arg(p, b, 0) : b, rows = scaled;
  fm_attr scale = {{0}, {1, 0}};
  if (p->node[scaled].op == &fm_op_affine)
    scale = p->node[scaled].attr, rows = fm_arg(p, scaled, 0);
  const fm_shape *s = &p->node[rows].sig.shape;
  *w = r->map[b];
  if (p->node[rows].op != &fm_op_normalize || scale.f[FM_SHIFT] != 0 || s->nd != 2 ||
      s->d[0] != sig.shape.d[0])
    return fm_full(q, column, 1);
  fm_val x = r->map[fm_arg(p, rows, 0)];
  double eps = fm_eps_of(&p->node[rows].attr);
  fm_val mean = fm_scale(q, fm_sum_to(q, fm_e1(q, &fm_op_square, x), &column.shape),
                         s->d[1] ? 1 / (double)s->d[1] : 1);
  fm_val root = fm_affine(q, fm_e1(q, &fm_op_sqrt, mean), 1, eps);
  *w = fm_reshape(q, x, &sig.shape);
  return fm_scale(q, fm_e1(q, &fm_op_recip, root), scale.f[FM_SCALE]);
}

/* A conv, conv_x or conv_w by Winograd's method. */
static fm_val winograd(const fm_rewrite *r, fm_val v) {
  const fm_prog *p = r->p;
  const fm_op *op = p->node[v].op;
  fm_val a = r->map[fm_arg(p, v, 0)], b = r->map[fm_arg(p, v, 1)], kernel[2];
  fm_attr turned = {{op == &fm_op_conv_x}, {0}}, outputs = {{p->node[v].sig.shape.d[3]}, {0}};
  if (op == &fm_op_conv_w) return fm_e2(r->q, &fm_op_winograd_w, a, b);
  kernel[1] = factors(r, fm_arg(p, v, 1), &kernel[0]);
  fm_val in[2] = {a, fm_emit(r->q, &fm_op_winograd_weights, 2, kernel, &turned)};
  return fm_emit(r->q, &fm_op_winograd, 2, in, &outputs);
}

/* A 1x1 convolution: all pixels are the rows of one product. */
static fm_val product(const fm_rewrite *r, fm_val v) {
  fm_prog *q = r->q;
  const fm_op *op = r->p->node[v].op;
  fm_val x = fm_arg(r->p, v, 0), w = fm_arg(r->p, v, 1);
  const fm_shape *xs = &r->p->node[x].sig.shape, *ws = &r->p->node[w].sig.shape;
  fm_shape rows = {2, {xs->d[0] * xs->d[1] * xs->d[2], xs->d[3]}},
           other = {2, {ws->d[0], ws->d[3]}};
  if (op == &fm_op_conv_w) other.d[0] = rows.d[0];
  fm_val a = fm_reshape(q, r->map[x], &rows), b = fm_reshape(q, r->map[w], &other);
  fm_val y = op == &fm_op_conv_w ? fm_matmul(q, b, a, true, false)
                                 : fm_matmul(q, a, b, false, op == &fm_op_conv);
  return fm_reshape(q, y, &r->p->node[v].sig.shape);
}

static fm_val choose_method(const fm_rewrite *r, fm_val v, const void *data) {
  (void)data;
  const fm_node *n = &r->p->node[v];
  if (n->op != &fm_op_conv && n->op != &fm_op_conv_x && n->op != &fm_op_conv_w) return FM_NONE;
  const fm_shape *x = &r->p->node[fm_arg(r->p, v, 0)].sig.shape;
  const fm_shape *w =
      n->op == &fm_op_conv_w ? &n->sig.shape : &r->p->node[fm_arg(r->p, v, 1)].sig.shape;
  if (w->d[1] == 3 && w->d[2] == 3 && plain(&n->attr, 1) && pays(x, w)) return winograd(r, v);
  return w->d[1] == 1 && w->d[2] == 1 && plain(&n->attr, 0) ? product(r, v) : FM_NONE;
}

fm_prog *fm_lower(const fm_prog *p, int passes) {
  (void)passes;
  fm_pool s = {.ctx = p->ctx};
  fm_prog *q = fm_rewritten(&s, p, p->share, NULL, choose_method, NULL);
  fm_pool_free(&s);
  return q;
}
