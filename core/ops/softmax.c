/*
** softmax.c - softmax over the last axis, shifted by the row's maximum, and its Jacobian, which is
** symmetric: softmax_d(y, d) = y (d - <y, d>) for y = softmax(x).
*/
#include "ops.h"

#ifndef FM_RULES

/* A vector whose largest lane is the maximum of the row. */
static V top_of(const T *x, int64_t n) {
  V top = vset(x[0]);
  for (int64_t i = 1; i < n && n < VN; i++) top = vmax0(vset(x[i]), top);
  if (n < VN) return top;
  for (int64_t i = VN; i + VN <= n; i += VN) top = vmax0(vload(x + i), top);
  return vmax0(vmax0(vload(x), top), vload(x + n - VN)); /* the end overlaps */
}

/* The limit for infinite values: they share the probability, unless one is NaN. Returns the sum. */
static V infinite_row(T *y, const T *x, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; i++) {
    y[i] = x[i] == (T)INFINITY ? 1 : x[i] == x[i] ? 0 : x[i];
    sum += y[i];
  }
  return vset(sum / VN);
}

/* y = e^(x - top); returns partial sums of the row. */
static V exp_row(T *y, const T *x, int64_t n, T top) {
  V sum = vset(0);
  VD total[VDS];
  for (int k = 0; k < VDS; k++) total[k] = vdset(0);
  for (int64_t from = 0, to; from < n; from = to) {
    to = n - from > FM_CHAIN * VN ? from + FM_CHAIN * VN : n;
    for (int64_t i = from; i < to; i += VN) {
      V z = vexp(vtake(x + i, n - i) - vset(top));
      vgive(y + i, z, n - i);
      sum = sum + (n - i >= VN ? z : vtake(y + i, n - i)); /* without lanes beyond the row */
    }
    if (n > FM_CHAIN * VN) vdeepen(total, &sum);
  }
  return n > FM_CHAIN * VN ? vnarrow(total) : sum;
}

/* Partial sums of <p, d>. */
static V dot_row(const T *p, const T *d, int64_t n) {
  V sum = vset(0);
  VD total[VDS];
  for (int k = 0; k < VDS; k++) total[k] = vdset(0);
  for (int64_t from = 0, to; from < n; from = to) {
    to = n - from > FM_CHAIN * VN ? from + FM_CHAIN * VN : n;
    for (int64_t i = from; i < to; i += VN)
      sum = vfma(vtake(p + i, n - i), vtake(d + i, n - i), sum);
    if (n > FM_CHAIN * VN) vdeepen(total, &sum);
  }
  return n > FM_CHAIN * VN ? vnarrow(total) : sum;
}

/* VN rows at a time, which share the reductions over lanes. */
static void softmax_rows(T *y, const T *x, int64_t n, int64_t rows) {
  V part[VN];
  T top[VN], scale[VN];
  for (int64_t r = 0; r < VN; r++) part[r] = vset(0);
  for (int64_t r = 0; r < rows; r++) part[r] = top_of(x + r * n, n);
  vstore(top, vtops(part));
  for (int64_t r = 0; r < VN; r++) part[r] = vset(0);
  for (int64_t r = 0; r < rows; r++)
    part[r] = top[r] == (T)INFINITY ? infinite_row(y + r * n, x + r * n, n)
                                    : exp_row(y + r * n, x + r * n, n, top[r]);
  vstore(scale, vset(1) / vsums(part));
  for (int64_t r = 0; r < rows; r++)
    for (int64_t i = 0; i < n; i += VN)
      vgive(y + r * n + i, vset(scale[r]) * vtake(y + r * n + i, n - i), n - i);
}

FM_EXEC(softmax) {
  const int64_t n = e->out->shape.d[e->out->shape.nd - 1];
  const int64_t rows = n ? fm_shape_count(&e->out->shape) / n : 0;
  for (int64_t r = 0; r < rows; r += VN)
    softmax_rows((T *)e->y + r * n, (const T *)e->x[0] + r * n, n, rows - r < VN ? rows - r : VN);
}

FM_EXEC(softmax_d) {
  const int64_t n = e->out->shape.d[e->out->shape.nd - 1];
  const int64_t rows = n ? fm_shape_count(&e->out->shape) / n : 0;
  const T *p = e->x[0], *d = e->x[1];
  T *y = e->y;
  for (int64_t r = 0; r < rows; r++, p += n, d += n, y += n) {
    const V mean = vset(vsum(dot_row(p, d, n)));
    for (int64_t i = 0; i < n; i += VN)
      vgive(y + i, vtake(p + i, n - i) * (vtake(d + i, n - i) - mean), n - i);
  }
}

#endif

#ifdef FM_RULES

static fm_err infer_softmax(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                            const fm_attr *attr, fm_sig *out) {
  char a[96];
  const fm_shape *s = &in[0].shape;
  (void)attr;
  if (s->nd > 0 && s->d[s->nd - 1] == 0)
    return fm_fail(ctx, FM_EUSAGE, "%s: the last axis of the shape %s has no values, expected one "
                   "or more", op->name, fm_shape_text(s, a));
  if (s->nd > 0) return fm_infer_alike(ctx, op, nin, in, out);
  return fm_fail(ctx, FM_EUSAGE, "%s: a scalar found, expected rank 1 or more", op->name);
}

static fm_val derivative(fm_prog *p, fm_val y, fm_val d) {
  return d == FM_NONE ? FM_NONE : fm_e2(p, &fm_op_softmax_d, y, d);
}

static fm_val jvp_softmax(fm_prog *p, fm_val y, const fm_val *dx) {
  return derivative(p, y, dx[0]);
}

static void vjp_softmax(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  dx[0] = derivative(p, y, dy);
}

const fm_op fm_op_softmax = {.name = "softmax", .doc = "e^x / sum e^x over the last axis.",
  .args = "t", .nin = 1, .cost = 20, .infer = infer_softmax, .jvp = jvp_softmax,
  .vjp = vjp_softmax, .samples = {{1, {FM_SHAPE2(3, 7)}, {{0}, {0}}, -2, 2},
                                  {1, {FM_SHAPE2(2, 37)}, {{0}, {0}}, -2, 2}}};

/* a <b, c> over the last axis */
static fm_val projected(fm_prog *p, fm_val a, fm_val b, fm_val c) {
  fm_sig sig = fm_prog_sig(p, a);
  fm_shape row = sig.shape;
  row.d[row.nd - 1] = 1;
  return fm_mul(p, a, fm_broadcast(p, fm_sum_to(p, fm_mul(p, b, c), &row), &sig.shape));
}

/* y (d - <y, d>) along y' and d': y' (d - <y, d>) - y <y', d> + y (d' - <y, d'>) */
static fm_val jvp_softmax_d(fm_prog *p, fm_val z, const fm_val *dx) {
  fm_val y = fm_arg(p, z, 0), d = fm_arg(p, z, 1), dz = derivative(p, y, dx[1]);
  if (dx[0] == FM_NONE) return dz;
  fm_val moved = fm_sub(p, fm_mul(p, dx[0], d), projected(p, dx[0], y, d));
  return fm_add(p, fm_sub(p, moved, projected(p, y, dx[0], d)), dz);
}

static void vjp_softmax_d(fm_prog *p, fm_val z, fm_val u, fm_val *dx) {
  fm_val y = fm_arg(p, z, 0), d = fm_arg(p, z, 1);
  fm_val ud = fm_sub(p, fm_mul(p, u, d), projected(p, u, y, d));
  dx[0] = fm_sub(p, ud, projected(p, d, y, u));
  dx[1] = derivative(p, y, u);
}

const fm_op fm_op_softmax_d = {.name = "softmax_d", .doc = "y (d - <y, d>) over the last axis: the "
  "derivative of y = softmax(x) along d.", .args = "tt", .nin = 2, .cost = 5,
  .infer = infer_softmax, .jvp = jvp_softmax_d, .vjp = vjp_softmax_d, .linear = {2},
  .samples = {{2, {FM_SHAPE2(3, 7), FM_SHAPE2(3, 7)}, {{0}, {0}}, -2, 2},
              {2, {FM_SHAPE2(2, 37), FM_SHAPE2(2, 37)}, {{0}, {0}}, -2, 2}}};

#endif
