/*
** mix.c - weighted sum and weighted concatenation along the last axis. The weights are attributes,
** so that scaling needs no pass of its own (the magnitude-preserving sum and concatenation of
** Karras et al. 2024, eqs. 88 and 103, with the weights of flowmap.nn).
*/
#include "ops.h"

enum { P, Q }; /* attr.f: the weights */

FM_MAP2(mix, vfma(F0, A, F1 *B))

#ifndef FM_RULES

static void scaled(T *y, const T *x, int64_t n, T weight) {
  for (int64_t i = 0; i < n; i += VN) vgive(y + i, vset(weight) * vtake(x + i, n - i), n - i);
}

FM_EXEC(mix_cat) {
  const int last = e->out->shape.nd - 1;
  const int64_t na = e->in[0].shape.d[last], nb = e->in[1].shape.d[last];
  const int64_t rows = na + nb ? fm_shape_count(&e->out->shape) / (na + nb) : 0;
  const T *a = e->x[0], *b = e->x[1];
  T *y = e->y;
  for (int64_t r = 0; r < rows; r++, a += na, b += nb, y += na + nb) {
    scaled(y, a, na, (T)e->attr->f[P]);
    scaled(y + na, b, nb, (T)e->attr->f[Q]);
  }
}

#endif

#ifdef FM_RULES

/* p da + q db: one operation where both are present. */
static fm_val jvp_mix(fm_prog *p, fm_val y, const fm_val *dx) {
  fm_attr a = fm_attr_of(p, y);
  if (dx[0] != FM_NONE && dx[1] != FM_NONE) return fm_emit(p, &fm_op_mix, 2, dx, &a);
  return dx[0] != FM_NONE ? fm_scale(p, dx[0], a.f[P]) : fm_scale(p, dx[1], a.f[Q]);
}

const fm_op fm_op_mix = {.name = "mix", .doc = "p a + q b.", .args = "ttnn",
  .attrs = {[FM_F] = "p", "q"}, .nin = 2, .cost = 3, .flags = FM_ELEMENTWISE, .jvp = jvp_mix,
  .linear = {FM_ALL},
  .samples = {{2, {FM_SHAPE2(3, 7), FM_SHAPE2(3, 7)}, {{0}, {0.9, -0.4}}, -2, 2}}};

static fm_err infer_mix_cat(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                            const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  (void)nin, (void)attr;
  int last = in[0].shape.nd - 1;
  bool ok = last >= 0 && in[1].shape.nd == in[0].shape.nd && in[0].dtype == in[1].dtype;
  for (int k = 0; ok && k < last; k++) ok = in[0].shape.d[k] == in[1].shape.d[k];
  if (!ok)
    return fm_fail(ctx, FM_EUSAGE, "%s: the shapes %s (%s) and %s (%s) found, expected ones that "
                   "differ in the last axis at most", op->name, fm_shape_text(&in[0].shape, a),
                   fm_dtype_name(in[0].dtype), fm_shape_text(&in[1].shape, b),
                   fm_dtype_name(in[1].dtype));
  *out = in[0];
  out->shape.d[last] += in[1].shape.d[last];
  return FM_OK;
}

static void vjp_mix_cat(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr t = fm_attr_of(p, y);
  fm_shape a = fm_prog_sig(p, fm_arg(p, y, 0)).shape, b = fm_prog_sig(p, fm_arg(p, y, 1)).shape;
  int last = a.nd - 1;
  dx[0] = fm_scale(p, fm_slice(p, dy, last, 0, a.d[last]), t.f[P]);
  dx[1] = fm_scale(p, fm_slice(p, dy, last, a.d[last], b.d[last]), t.f[Q]);
}

const fm_op fm_op_mix_cat = {.name = "mix_cat", .doc = "p a and q b side by side along the last "
  "axis.", .args = "ttnn", .attrs = {[FM_F] = "p", "q"}, .nin = 2, .cost = 1,
  .infer = infer_mix_cat, .jvp = fm_jvp_linear, .vjp = vjp_mix_cat, .linear = {FM_ALL},
  .samples = {{2, {FM_SHAPE2(3, 7), FM_SHAPE2(3, 17)}, {{0}, {0.9, -0.4}}, -1, 1},
              {2, {FM_SHAPE3(2, 2, 1), FM_SHAPE3(2, 2, 3)}, {{0}, {2, 3}}, -1, 1}}};

#endif
