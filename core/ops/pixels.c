/* pixels.c - images of a data set: rows of a uint8 table by number, scaled to [-1, 1]. The table is
** not copied (it is often a mapped file); only the requested rows are read. */
#include "ops.h"

#ifndef FM_RULES

FM_EXEC(pixels) {
  const uint8_t *table = e->x[0];
  const T *index = e->x[1];
  int64_t rows = e->in[0].shape.d[0], size = 1;
  for (int k = 1; k < e->in[0].shape.nd; k++) size *= e->in[0].shape.d[k];
  T *y = e->y;
  for (int64_t r = 0; r < e->in[1].shape.d[0]; r++, y += size) {
    if (index[r] >= 0 && index[r] < (T)rows) {
      const uint8_t *x = table + (int64_t)index[r] * size;
      for (int64_t i = 0; i < size; i++) y[i] = (T)x[i] / (T)127.5 - 1;
    } else {
      for (int64_t i = 0; i < size; i++) y[i] = (T)NAN;
    }
  }
}

#endif

#ifdef FM_RULES

static fm_err infer_pixels(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                           const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  (void)nin, (void)attr;
  if (in[0].shape.nd < 1 || in[0].dtype != FM_U8 || in[1].shape.nd != 1 || in[1].dtype == FM_U8)
    return fm_fail(ctx, FM_EUSAGE, "%s: a table %s (%s) and row numbers %s (%s) found, expected a "
                   "table of uint8 of rank 1 or more and a list of rank 1 of float32 or float64",
                   op->name, fm_shape_text(&in[0].shape, a), fm_dtype_name(in[0].dtype),
                   fm_shape_text(&in[1].shape, b), fm_dtype_name(in[1].dtype));
  *out = (fm_sig){in[1].dtype, in[0].shape};
  out->shape.d[0] = in[1].shape.d[0];
  return FM_OK;
}

/* Bytes and row numbers have no derivative: without a jvp rule the tangent is zero. */
static void vjp_pixels(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  (void)p, (void)y, (void)dy;
  dx[0] = dx[1] = FM_NONE;
}

const fm_op fm_op_pixels = {.name = "pixels",
  .doc = "Rows of a uint8 table by 0-based number, x / 127.5 - 1: numbers in [-1, 1].",
  .args = "tt", .nin = 2, .flags = FM_BYTES | FM_PICKS, .cost = 2, .infer = infer_pixels,
  .vjp = vjp_pixels,
  .samples = {{2, {FM_SHAPE3(4, 3, 5), FM_SHAPE1(6)}, {{0}, {0}}, 0, 3.9, .whole = 2, .bytes = 1},
              {2, {FM_SHAPE2(2, 3), FM_SHAPE1(4)}, {{0}, {0}}, 0, 2, .whole = 2, .bytes = 1}}};

#endif
