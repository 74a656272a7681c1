/*
** lower.c - choosing the method of a convolution, by its shape alone (never by the number of
** images, so that results do not depend on how a batch is cut): Winograd's for 3x3 kernels where it
** is faster, a matrix product for 1x1, else as ops/conv.c does it. It runs last and sees calls that
** are stacked already. Weight transforms become nodes of their own, which depend on weights alone;
** those that stay in a body of few images become part of the product again (fm_lower_few), which
** gives the same bits.
*/
#include <string.h>

#include "plan.h"

static bool plain(const fm_attr *a, int64_t pad) {
  return a->i[0] == 1 && a->i[1] == pad && a->i[2] == pad;
}

/*
** Winograd's 36 products of a tile against the direct method's 9 for each of its up to 16 pixels
** inside the image. Measured (tests/bench/conv.c; from 3 to 512 channels, images of 8x8 and more):
** the counts decide, with a quarter more for the transforms.
*/
static bool pays(const fm_shape *x, const fm_shape *w) {
  int64_t tiles = (x->d[1] + 3) / 4 * ((x->d[2] + 3) / 4);
  return 5 * tiles <= x->d[1] * x->d[2] && w->d[0] > 0 && w->d[3] > 0;
}

/*
** The factors of a weight's outputs, (O, 1), and the weight that they belong to. Rows normalised,
** times a number (nn.mp_weight), are rows times factors: these few values are kept instead of a
** second copy of all weights. The factors of another weight are 1.
*/
static fm_val factors(fm_prog *q, const fm_prog *p, fm_val b, const fm_val *map, fm_val *w) {
  const fm_sig sig = p->node[b].sig;
  fm_sig column = {sig.dtype, {2, {sig.shape.d[0], 1}}};
  fm_val scaled = p->node[b].op == &fm_op_reshape ? fm_arg(p, b, 0) : b, rows = scaled;
  fm_attr scale = {{0}, {1, 0}};
  if (p->node[scaled].op == &fm_op_affine)
    scale = p->node[scaled].attr, rows = fm_arg(p, scaled, 0);
  const fm_shape *s = &p->node[rows].sig.shape;
  *w = map[b];
  if (p->node[rows].op != &fm_op_normalize || scale.f[1] != 0 || s->nd != 2 ||
      s->d[0] != sig.shape.d[0])
    return fm_full(q, column, 1);
  fm_val x = map[fm_arg(p, rows, 0)];
  double eps = p->node[rows].attr.f[0] == 0 ? 1e-4 : p->node[rows].attr.f[0];
  fm_val mean = fm_scale(q, fm_sum_to(q, fm_e1(q, &fm_op_square, x), &column.shape),
                         s->d[1] ? 1 / (double)s->d[1] : 1);
  fm_val root = fm_affine(q, fm_e1(q, &fm_op_sqrt, mean), 1, eps);
  *w = fm_reshape(q, x, &sig.shape);
  return fm_scale(q, fm_e1(q, &fm_op_recip, root), scale.f[0]);
}

/* Of conv, conv_x or conv_w: node v in q by Winograd's method. */
static fm_val winograd(fm_prog *q, const fm_prog *p, fm_val v, const fm_val *map) {
  const fm_op *op = p->node[v].op;
  fm_val a = map[fm_arg(p, v, 0)], b = map[fm_arg(p, v, 1)], kernel[2];
  fm_attr turned = {{op == &fm_op_conv_x}, {0}}, outputs = {{p->node[v].sig.shape.d[3]}, {0}};
  if (op == &fm_op_conv_w) return fm_e2(q, &fm_op_winograd_w, a, b);
  kernel[1] = factors(q, p, fm_arg(p, v, 1), map, &kernel[0]);
  fm_val in[2] = {a, fm_emit(q, &fm_op_winograd_weights, 2, kernel, &turned)};
  return fm_emit(q, &fm_op_winograd, 2, in, &outputs);
}

/* A 1x1 convolution: all pixels are the rows of one product. */
static fm_val product(fm_prog *q, const fm_prog *p, fm_val v, fm_val a, fm_val b) {
  const fm_op *op = p->node[v].op;
  const fm_shape *x = &p->node[fm_arg(p, v, 0)].sig.shape;
  const fm_shape *w = &p->node[fm_arg(p, v, 1)].sig.shape;
  fm_shape rows = {2, {x->d[0] * x->d[1] * x->d[2], x->d[3]}}, other = {2, {w->d[0], w->d[3]}};
  if (op == &fm_op_conv_w) other.d[0] = rows.d[0];
  a = fm_reshape(q, a, &rows), b = fm_reshape(q, b, &other);
  fm_val y = op == &fm_op_conv_w ? fm_matmul(q, b, a, true, false)
                                 : fm_matmul(q, a, b, false, op == &fm_op_conv);
  return fm_reshape(q, y, &p->node[v].sig.shape);
}

/* Node v of p by another method; FM_NONE if it is to stay as it is. */
static fm_val lower(fm_prog *q, const fm_prog *p, fm_val v, const fm_val *map) {
  const fm_node *n = &p->node[v];
  if (n->op != &fm_op_conv && n->op != &fm_op_conv_x && n->op != &fm_op_conv_w) return FM_NONE;
  fm_val a = map[fm_arg(p, v, 0)], b = map[fm_arg(p, v, 1)];
  const fm_shape *x = &p->node[fm_arg(p, v, 0)].sig.shape;
  const fm_shape *w = n->op == &fm_op_conv_w ? &n->sig.shape : &p->node[fm_arg(p, v, 1)].sig.shape;
  if (w->d[1] == 3 && w->d[2] == 3 && plain(&n->attr, 1) && pays(x, w))
    return winograd(q, p, v, map);
  if (w->d[1] == 1 && w->d[2] == 1 && plain(&n->attr, 0)) return product(q, p, v, a, b);
  return FM_NONE;
}

/* p with its nodes by another method where `change` has one. */
static fm_prog *rewritten(const fm_prog *p, bool share,
                          fm_val (*change)(fm_prog *, const fm_prog *, fm_val, const fm_val *)) {
  size_t bytes = (size_t)p->n * sizeof(fm_val) + 1;
  fm_val *map = fm_alloc(p->ctx, bytes);
  if (map == NULL) return NULL;
  fm_prog *q = fm_prog_like(p, map);
  if (q != NULL) q->share = share;
  for (fm_val v = 0; q != NULL && v < p->n && q->err == FM_OK; v++) {
    if (p->node[v].op == &fm_op_input) continue;
    map[v] = change(q, p, v, map);
    if (map[v] == FM_NONE) map[v] = fm_prog_copy(q, p, v, map);
  }
  for (int k = 0; q != NULL && k < p->nout; k++) fm_output(q, map[p->out[k].v], p->out[k].merge);
  fm_free(p->ctx, map, bytes);
  if (q == NULL || q->err == FM_OK) return q;
  fm_prog_free(q);
  return NULL;
}

fm_prog *fm_lower(const fm_prog *p, int passes) {
  (void)passes;
  return rewritten(p, p->share, lower);
}

static int readers(const fm_prog *p, fm_val v) {
  int n = 0;
  for (int k = 0; k < p->nargs; k++) n += p->args[k] == v;
  return n;
}

/* Winograd's product of few images with weights that it alone reads transformed: the smaller of the
** two goes to memory transformed. To the bit the same, so that the number of images may decide. */
static fm_val few_images(fm_prog *q, const fm_prog *p, fm_val v, const fm_val *map) {
  if (p->node[v].op != &fm_op_winograd) return FM_NONE;
  fm_val x = fm_arg(p, v, 0), u = fm_arg(p, v, 1);
  if (p->node[u].op != &fm_op_winograd_weights || readers(p, u) != 1) return FM_NONE;
  const fm_shape *s = &p->node[x].sig.shape;
  fm_attr a = {{s->d[0], s->d[1], s->d[2], p->node[u].attr.i[0]}, {0}};
  fm_val in[3] = {fm_e1(q, &fm_op_winograd_images, map[x]), map[fm_arg(p, u, 0)],
                  map[fm_arg(p, u, 1)]};
  if (in[0] == FM_NONE || fm_sig_bytes(&q->node[in[0]].sig) >= fm_sig_bytes(&p->node[u].sig))
    return FM_NONE;
  return fm_emit(q, &fm_op_winograd_product, 3, in, &a);
}

fm_prog *fm_lower_few(const fm_prog *p, int passes) {
  (void)passes;
  return rewritten(p, false, few_images);
}
