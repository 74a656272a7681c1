/*
** resample.c - images (N, H, W, C) at half and twice the resolution, with the filter [1, 1]:
**   downsample: each value is `weight` times the sum of a 2 x 2 square (default 1/4: the mean);
**   upsample:   each value, times `weight`, is repeated over a 2 x 2 square (default 1).
** With equal weights they are transposes of each other.
*/
#include "ops.h"

enum { WEIGHT }; /* attr.f; 0: the default */

#ifndef FM_RULES

FM_EXEC(downsample) {
  const fm_shape *s = &e->out->shape;
  const int64_t c = s->d[3], line = 2 * s->d[2] * c; /* of x */
  const T weight = e->attr->f[WEIGHT] == 0 ? (T)0.25 : (T)e->attr->f[WEIGHT];
  const T *x = e->x[0];
  T *y = e->y;
  for (int64_t row = 0; row < s->d[0] * s->d[1]; row++, x += line)
    for (int64_t column = 0; column < s->d[2]; column++, x += 2 * c, y += c) {
      int64_t i = 0;
      for (; i + VN <= c; i += VN) {
        const T *a = x + i, *b = a + line;
        vstore(y + i, vset(weight) * ((vload(a) + vload(a + c)) + (vload(b) + vload(b + c))));
      }
      for (; i < c; i++)
        y[i] = weight * ((x[i] + x[i + c]) + (x[i + line] + x[i + line + c]));
    }
}

FM_EXEC(upsample) {
  const fm_shape *s = &e->in[0].shape;
  const int64_t c = s->d[3], line = 2 * s->d[2] * c; /* of y */
  const T weight = e->attr->f[WEIGHT] == 0 ? (T)1 : (T)e->attr->f[WEIGHT];
  const T *x = e->x[0];
  T *y = e->y;
  for (int64_t row = 0; row < s->d[0] * s->d[1]; row++, y += line)
    for (int64_t column = 0; column < s->d[2]; column++, y += 2 * c, x += c) {
      int64_t i = 0;
      for (; i + VN <= c; i += VN) {
        V v = vset(weight) * vload(x + i);
        vstore(y + i, v);
        vstore(y + i + c, v);
        vstore(y + i + line, v);
        vstore(y + i + line + c, v);
      }
      for (; i < c; i++) y[i] = y[i + c] = y[i + line] = y[i + line + c] = weight * x[i];
    }
}

#endif

#ifdef FM_RULES

static fm_err images(fm_ctx *ctx, const fm_op *op, const fm_sig *in, fm_sig *out) {
  char a[96];
  *out = in[0];
  if (in[0].shape.nd == 4) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: the shape %s found, expected images (N, H, W, C)", op->name,
                 fm_shape_text(&in[0].shape, a));
}

static fm_err infer_downsample(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                               const fm_attr *attr, fm_sig *out) {
  char a[96];
  (void)nin, (void)attr;
  fm_err err = images(ctx, op, in, out);
  if (err != FM_OK) return err;
  if (out->shape.d[1] % 2 != 0 || out->shape.d[2] % 2 != 0)
    return fm_fail(ctx, FM_EUSAGE, "%s: images of odd height or width found, %s, expected even "
                   "ones", op->name, fm_shape_text(&out->shape, a));
  out->shape.d[1] /= 2;
  out->shape.d[2] /= 2;
  return FM_OK;
}

static fm_err infer_upsample(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                             const fm_attr *attr, fm_sig *out) {
  (void)nin, (void)attr;
  fm_err err = images(ctx, op, in, out);
  if (err != FM_OK) return err;
  out->shape.d[1] *= 2;
  out->shape.d[2] *= 2;
  return FM_OK;
}

static fm_val transposed(fm_prog *p, fm_val y, fm_val dy, const fm_op *op, double otherwise) {
  fm_attr a = fm_attr_of(p, y);
  if (a.f[WEIGHT] == 0) a.f[WEIGHT] = otherwise;
  return fm_emit(p, op, 1, &dy, &a);
}

static void vjp_downsample(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  dx[0] = transposed(p, y, dy, &fm_op_upsample, 0.25);
}

static void vjp_upsample(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  dx[0] = transposed(p, y, dy, &fm_op_downsample, 1);
}

const fm_op fm_op_downsample = {.name = "downsample", .doc = "Images (N, H, W, C) at half the "
  "resolution: the sums of 2 x 2 squares times a weight, 1/4 if not given or 0.", .args = "t|n",
  .attrs = {[FM_F] = "weight"}, .nin = 1, .cost = 4, .infer = infer_downsample,
  .jvp = fm_jvp_linear, .vjp = vjp_downsample, .linear = {FM_ALL},
  .samples = {{1, {FM_SHAPE4(2, 4, 6, 3)}, {{0}, {0}}, -1, 1},
              {1, {FM_SHAPE4(1, 2, 4, 17)}, {{0}, {0.7, 0}}, -1, 1}}};

const fm_op fm_op_upsample = {.name = "upsample", .doc = "Images (N, H, W, C) at twice the "
  "resolution: each value, times a weight if given and not 0, fills a 2 x 2 square.", .args = "t|n",
  .attrs = {[FM_F] = "weight"}, .nin = 1, .cost = 1, .infer = infer_upsample, .jvp = fm_jvp_linear,
  .vjp = vjp_upsample, .linear = {FM_ALL},
  .samples = {{1, {FM_SHAPE4(2, 2, 3, 3)}, {{0}, {0}}, -1, 1},
              {1, {FM_SHAPE4(1, 1, 2, 17)}, {{0}, {0.7, 0}}, -1, 1}}};

#endif
