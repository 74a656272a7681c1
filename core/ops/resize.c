/*
** resize.c - bilinear interpolation of images (N, H, W, C) to another size, and its transpose.
** Pixel i of n on the new grid lies at max(0, (i + 1/2) size / n - 1/2) on the old one (half-pixel
** centres), or at i size / n (the grid of TensorFlow 1, for older Inception scores). The last pixel
** is repeated beyond its place.
*/
#include <string.h>

#include "ops.h"

enum { HEIGHT, WIDTH, HALF_PIXEL }; /* attr.i: size of the result; which grid */
enum { LARGEST = 65536 };           /* pixels a side */

#ifndef FM_RULES

#include "../kernels/workspace.h"

typedef struct between { /* a place on an axis: the two neighbours, and the weight of the second */
  int64_t lo, hi;
  T weight;
} between;

static between neighbours(int64_t i, int64_t n, int64_t size, bool half_pixel) {
  const double scale = (double)size / (double)n;
  double at = half_pixel ? ((double)i + 0.5) * scale - 0.5 : (double)i * scale;
  if (at < 0) at = 0;
  between b = {(int64_t)at, (int64_t)at + 1, (T)(at - floor(at))};
  if (b.lo > size - 1) b.lo = size - 1;
  if (b.hi > size - 1) b.hi = size - 1;
  return b;
}

FM_EXEC(resize_bilinear) {
  const fm_shape *s = &e->in[0].shape, *o = &e->out->shape;
  const int64_t c = s->d[3], line = s->d[2] * c;
  T *y = e->y;
  for (int64_t row = 0; row < o->d[0] * o->d[1]; row++) {
    const between v = neighbours(row % o->d[1], o->d[1], s->d[1], e->attr->i[HALF_PIXEL]);
    const T *image = (const T *)e->x[0] + row / o->d[1] * s->d[1] * line;
    for (int64_t column = 0; column < o->d[2]; column++, y += c) {
      const between h = neighbours(column, o->d[2], s->d[2], e->attr->i[HALF_PIXEL]);
      const T *upper = image + v.lo * line, *lower = image + v.hi * line;
      const int64_t l = h.lo * c, r = h.hi * c;
      for (int64_t i = 0; i < c; i++) {
        const T a = upper[l + i] + h.weight * (upper[r + i] - upper[l + i]);
        const T b = lower[l + i] + h.weight * (lower[r + i] - lower[l + i]);
        y[i] = a + v.weight * (b - a);
      }
    }
  }
}

/* The two rows of an image that are being accumulated, in double; n of its channels. */
typedef struct rows {
  double *sum[2];
  int64_t at, n; /* the first of the two */
} rows;

/* Row `at` is complete: store it in the image y, channels from c on, and advance. */
static void finish_row(rows *r, const fm_shape *s, T *y, int64_t c) {
  double *sum = r->sum[0];
  for (int64_t j = 0; j < s->d[2]; j++)
    for (int64_t i = 0; i < r->n; i++)
      y[(r->at * s->d[2] + j) * s->d[3] + c + i] = (T)sum[j * r->n + i];
  memset(sum, 0, (size_t)(s->d[2] * r->n) * sizeof *sum);
  r->sum[0] = r->sum[1], r->sum[1] = sum;
  r->at++;
}

/* A row of `o`, its channels from c on, is added to the two rows. */
static void add_row(const rows *r, const fm_exec *e, between v, const T *x) {
  const fm_shape *s = &e->out->shape, *o = &e->in[0].shape;
  double *upper = r->sum[v.lo - r->at], *lower = r->sum[v.hi - r->at];
  for (int64_t column = 0; column < o->d[2]; column++, x += o->d[3]) {
    const between h = neighbours(column, o->d[2], s->d[2], e->attr->i[HALF_PIXEL]);
    const int64_t left = h.lo * r->n, right = h.hi * r->n;
    for (int64_t i = 0; i < r->n; i++) {
      const double b = (double)v.weight * (double)x[i], a = (double)x[i] - b;
      const double w = (double)h.weight;
      upper[left + i] += a - w * a;
      upper[right + i] += w * a;
      lower[left + i] += b - w * b;
      lower[right + i] += w * b;
    }
  }
}

/* n channels of an image: the rows of x, from top to bottom, add to two rows of y each. */
static void transpose_image(const fm_exec *e, const T *x, T *y, int64_t c, int64_t n) {
  const fm_shape *s = &e->out->shape, *o = &e->in[0].shape;
  double *sums = (double *)(void *)fm_conv_workspace;
  rows r = {{sums, sums + s->d[2] * n}, 0, n};
  memset(sums, 0, (size_t)(2 * s->d[2] * n) * sizeof *sums);
  for (int64_t row = 0; row < o->d[1]; row++) {
    const between v = neighbours(row, o->d[1], s->d[1], e->attr->i[HALF_PIXEL]);
    while (r.at < v.lo) finish_row(&r, s, y, c);
    add_row(&r, e, v, x + row * o->d[2] * o->d[3] + c);
  }
  while (r.at < s->d[1]) finish_row(&r, s, y, c);
}

_Static_assert(2 * LARGEST * sizeof(double) <= FM_CONV_WORKSPACE, "two rows of one channel");

FM_EXEC(resize_bilinear_t) {
  const fm_shape *s = &e->out->shape, *o = &e->in[0].shape;
  const int64_t c = s->d[3], most = FM_CONV_WORKSPACE / (int64_t)sizeof(double) / (2 * s->d[2]);
  for (int64_t image = 0; image < s->d[0]; image++)
    for (int64_t i = 0; i < c; i += most)
      transpose_image(e, (const T *)e->x[0] + image * o->d[1] * o->d[2] * c,
                      (T *)e->y + image * s->d[1] * s->d[2] * c, i, c - i < most ? c - i : most);
}

#endif

#ifdef FM_RULES

static fm_err infer_resize(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                           const fm_attr *attr, fm_sig *out) {
  char a[96];
  (void)nin;
  *out = in[0];
  if (in[0].shape.nd != 4 || in[0].shape.d[1] < 1 || in[0].shape.d[2] < 1)
    return fm_fail(ctx, FM_EUSAGE, "%s: the shape %s found, expected images (N, H, W, C)",
                   op->name, fm_shape_text(&in[0].shape, a));
  const int64_t h = attr->i[HEIGHT], w = attr->i[WIDTH];
  if (h < 1 || w < 1 || h > LARGEST || w > LARGEST)
    return fm_fail(ctx, FM_EUSAGE, "%s: the size %lld x %lld found, expected 1 to %d pixels a side",
                   op->name, (long long)h, (long long)w, LARGEST);
  out->shape.d[1] = h;
  out->shape.d[2] = w;
  return FM_OK;
}

static fm_val transposed(fm_prog *p, fm_val y, fm_val dy, const fm_op *op) {
  fm_attr a = fm_attr_of(p, y);
  fm_shape x = fm_prog_sig(p, fm_arg(p, y, 0)).shape;
  a.i[HEIGHT] = x.d[1];
  a.i[WIDTH] = x.d[2];
  return fm_emit(p, op, 1, &dy, &a);
}

static void vjp_resize(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  dx[0] = transposed(p, y, dy, &fm_op_resize_bilinear_t);
}

static void vjp_resize_t(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  dx[0] = transposed(p, y, dy, &fm_op_resize_bilinear);
}

#define X FM_SHAPE4(2, 3, 4, 2)

const fm_op fm_op_resize_bilinear = {.name = "resize_bilinear", .doc = "Images (N, H, W, C) "
  "interpolated to another size; half_pixel: true for half-pixel centres, false for the grid of "
  "TensorFlow 1.", .args = "tiib", .attrs = {"height", "width", "half_pixel"}, .nin = 1, .cost = 6,
  .infer = infer_resize, .jvp = fm_jvp_linear, .vjp = vjp_resize, .linear = {FM_ALL},
  .samples = {{1, {X}, {{7, 5, 1}, {0}}, -1, 1}, {1, {X}, {{7, 5, 0}, {0}}, -1, 1},
              {1, {X}, {{2, 3, 1}, {0}}, -1, 1}, {1, {X}, {{2, 3, 0}, {0}}, -1, 1}}};

const fm_op fm_op_resize_bilinear_t = {.name = "resize_bilinear_t", .doc = "The transpose of "
  "resize_bilinear, to images of this height and width.", .args = "tiib",
  .attrs = {"height", "width", "half_pixel"}, .nin = 1, .cost = 8, .infer = infer_resize,
  .jvp = fm_jvp_linear, .vjp = vjp_resize_t, .linear = {FM_ALL},
  .samples = {{1, {X}, {{2, 3, 1}, {0}}, -1, 1}, {1, {X}, {{7, 5, 0}, {0}}, -1, 1}}};

#endif
