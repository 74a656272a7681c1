/*
** clip.c - clipping to [lo, hi] as one vector operation, and its derivative as another:
**   clip(x) = min(max(x, lo), hi),   clip_d(x, d) = d where lo <= x <= hi, else 0.
** At either limit the derivative is that of the interior. NaN stays NaN; its derivative is 0.
*/
#include "ops.h"

FM_MAP1(clip, vmin(vmax(A, F0), F1))
FM_MAP2(clip_d, vsel(vle(F0, A), vsel(vle(A, F1), B, vset((T)0)), vset((T)0)))

#ifdef FM_RULES

enum { LO, HI }; /* attr.f: the limits */

static fm_err infer_clip(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                         const fm_attr *attr, fm_sig *out) {
  if (!(attr->f[LO] <= attr->f[HI]))
    return fm_fail(ctx, FM_EUSAGE, "%s: the limits %g and %g found, expected lo <= hi", op->name,
                   attr->f[LO], attr->f[HI]);
  return fm_infer_alike(ctx, op, nin, in, out);
}

static fm_val derivative(fm_prog *p, fm_val y, fm_val d) {
  fm_attr a = fm_attr_of(p, y);
  fm_val in[2] = {fm_arg(p, y, 0), d};
  return d == FM_NONE ? FM_NONE : fm_emit(p, &fm_op_clip_d, 2, in, &a);
}

static fm_val jvp_clip(fm_prog *p, fm_val y, const fm_val *dx) { return derivative(p, y, dx[0]); }

const fm_op fm_op_clip = {.name = "clip", .doc = "x limited to [lo, hi].", .args = "tnn",
  .attrs = {[FM_F] = "lo", "hi"}, .nin = 1, .cost = 2, .flags = FM_ELEMENTWISE, .infer = infer_clip,
  .jvp = jvp_clip, .samples = {{1, {FM_SHAPE2(3, 7)}, {{0}, {-0.8, 1.1}}, -2, 2}}};

/* Piecewise constant in x, linear in d. */
static fm_val jvp_clip_d(fm_prog *p, fm_val y, const fm_val *dx) { return derivative(p, y, dx[1]); }

const fm_op fm_op_clip_d = {.name = "clip_d", .doc = "For operands x and d: d where lo <= x <= hi, "
  "else 0.", .args = "ttnn", .attrs = {[FM_F] = "lo", "hi"}, .nin = 2, .cost = 2,
  .flags = FM_ELEMENTWISE, .infer = infer_clip, .jvp = jvp_clip_d, .linear = {2},
  .samples = {{2, {FM_SHAPE2(3, 7), FM_SHAPE2(3, 7)}, {{0}, {-0.8, 1.1}}, -2, 2}}};

#endif
