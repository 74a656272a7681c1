/* softmax.c - softmax over the last axis, shifted by the row's maximum. */
#include "ops.h"

#ifndef FM_RULES

FM_EXEC(softmax) {
  int64_t n = e->out->shape.d[e->out->shape.nd - 1];
  int64_t rows = n ? fm_shape_count(&e->out->shape) / n : 0;
  const T *x = e->x[0];
  T *y = e->y;
  for (int64_t r = 0; r < rows; r++, x += n, y += n) {
    T top = x[0];
    for (int64_t i = 1; i < n; i++) top = x[i] > top ? x[i] : top;
    V sum = vset((T)0);
    int64_t i = 0;
    for (; i + VN <= n; i += VN) {
      V z = vexp(vload(x + i) - vset(top));
      vstore(y + i, z);
      sum = sum + z;
    }
    T total = vsum(sum);
    if (i < n) {
      vstoren(y + i, vexp(vloadn(x + i, n - i) - vset(top)), n - i);
      for (int64_t k = i; k < n; k++) total += y[k];
    }
    T scale = (T)1 / total;
    for (i = 0; i < n; i++) y[i] *= scale;
  }
}

#endif

#ifdef FM_RULES

static fm_err infer_softmax(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                            const fm_attr *attr, fm_sig *out) {
  (void)nin, (void)attr;
  *out = in[0];
  if (in[0].shape.nd > 0) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: a scalar found, expected rank 1 or more", op->name);
}

/* y (d - <y, d>): the Jacobian is symmetric, so this is both the jvp and the vjp. */
static fm_val rule(fm_prog *p, fm_val y, fm_val d) {
  fm_sig sig = fm_prog_sig(p, y);
  fm_shape row = sig.shape;
  row.d[row.nd - 1] = 1;
  fm_val yd = fm_mul(p, y, d);
  fm_val mean = fm_broadcast(p, fm_sum_to(p, yd, &row), &sig.shape);
  return fm_sub(p, yd, fm_mul(p, y, mean));
}

static fm_val jvp_softmax(fm_prog *p, fm_val y, const fm_val *dx) {
  return dx[0] == FM_NONE ? FM_NONE : rule(p, y, dx[0]);
}

static void vjp_softmax(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) { dx[0] = rule(p, y, dy); }

const fm_op fm_op_softmax = {.name = "softmax", .doc = "e^x / sum e^x over the last axis.",
  .args = "t", .nin = 1, .cost = 20, .infer = infer_softmax, .jvp = jvp_softmax,
  .vjp = vjp_softmax, .samples = {{1, {FM_SHAPE2(3, 7)}, {{0}, {0}}, -2, 2}}};

#endif
