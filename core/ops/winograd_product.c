/* winograd_product.c - a 3x3 convolution of few images with many weights. It gives the same bits as
** ops/winograd.c, but stores the transform of the images instead of that of the weights:
**   winograd_images   d = B' x B of all tiles
**   winograd_product  conv(x, f w), or conv_x(x, f w) where `turned`, from d, w and f
** A sliver of the weights is transformed in the L2 cache and multiplied at once. */
#include "ops.h"

enum { IMAGES, HEIGHT, WIDTH, TURNED }; /* attr.i of winograd_product */

#include "../kernels/winograd_tiles.h"

#ifndef FM_RULES

#define PIECE (36 * ROWS(DEEPEST) * SLIVER)
#define TILES (256 / (int64_t)sizeof(T)) /* of a block */

_Static_assert((PIECE + 36 * (TILES * SLIVER + LINE)) * sizeof(T) <= FM_CONV_WORKSPACE,
               "a sliver and its products");

/* d: (parts of up to DEEPEST channels, 36, tiles, channels + LINE) */
FM_EXEC(winograd_images) {
  const tiling t = tiling_of(&e->in[0].shape);
  const int64_t ld = e->out->shape.d[3];
  const T *at[36];
  T *d = e->y;
  for (int64_t k = 0; k < t.c; k += DEEPEST, d += 36 * t.count * ld)
    for (int64_t i = 0; i < t.count; i++) {
      window(&t, e->x[0], i, k, 6, 1, at);
      for (int p = 0; p < 3; p++)
        transform(false, p, at, least(DEEPEST, t.c - k), d + (12 * p * t.count + i) * ld,
                  t.count * ld);
    }
}

/* A sliver of outputs: its weights are transformed once if one part has all inputs, else once per
   block. */
static void sliver_product(block *b, const kernels *w, const tiling *out, int64_t o, const T *d,
                           T *y) {
  const int64_t inputs = w->turned ? w->O : w->I, most = even_part(out->count, TILES);
  T *u = (T *)fm_conv_workspace;
  for (int64_t first = 0; first < out->count; first += most) {
    b->count = least(most, out->count - first), b->mstep = b->count * SLIVER + LINE;
    b->d = d + first * b->ld;
    for (int64_t k = 0; k < inputs; k += DEEPEST, b->d += 36 * b->dstep) {
      int64_t depth = least(DEEPEST, inputs - k), step = ROWS(depth) * SLIVER;
      if (first == 0 || inputs > DEEPEST) transform_sliver(w, o, k, depth, u, step);
      multiply(b, u, step, depth, k > 0, b->m);
    }
    block_back(b, out, first, o, y);
  }
}

FM_EXEC(winograd_product) {
  const kernels w = kernels_of(&e->in[1].shape, e->x[1], e->x[2], e->attr->i[TURNED] != 0);
  const tiling out = tiling_of(&e->out->shape);
  const int64_t ld = e->in[0].shape.d[3];
  T *m = (T *)fm_conv_workspace + PIECE;
  block b = {.ld = ld, .dstep = out.count * ld, .width = SLIVER, .m = m};
  for (int64_t o = 0; o < out.c; o += SLIVER) sliver_product(&b, &w, &out, o, e->x[0], e->y);
}

#endif

#ifdef FM_RULES

static int64_t tiles(int64_t n, int64_t h, int64_t w) { return n * ((h + 3) / 4) * ((w + 3) / 4); }

static fm_shape transformed(int64_t count, int64_t channels, fm_dtype dtype) {
  int64_t most = DEEPEST_OF(fm_dtype_size(dtype)), part = channels < most ? channels : most;
  int64_t line = 16; /* values of the widest LINE */
  return (fm_shape){
    4, {(channels + most - 1) / most, 36, count, (part + line - 1) / line * line + line}};
}

static fm_err infer_winograd_images(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                                    const fm_attr *attr, fm_sig *out) {
  char a[96];
  const fm_shape *x = &in[0].shape;
  (void)nin, (void)attr;
  if (x->nd != 4 || x->d[3] < 1)
    return fm_fail(ctx, FM_EUSAGE, "%s: the shape %s found, expected images (N, H, W, C)", op->name,
                   fm_shape_text(x, a));
  int64_t count = tiles(x->d[0], x->d[1], x->d[2]);
  *out = (fm_sig){in[0].dtype, transformed(count, x->d[3], in[0].dtype)};
  return FM_OK;
}

static fm_err infer_winograd_product(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                                     const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  const fm_shape *d = &in[0].shape, *w = &in[1].shape;
  const int64_t n = attr->i[IMAGES], height = attr->i[HEIGHT], width = attr->i[WIDTH];
  const int from = attr->i[TURNED] ? 0 : 3; /* the axis of w along which d has channels */
  (void)nin;
  bool ok = w->nd == 4 && w->d[1] == 3 && w->d[2] == 3 && in[0].dtype == in[1].dtype &&
            in[2].dtype == in[1].dtype && fm_shape_count(&in[2].shape) == w->d[0] && n >= 0 &&
            height >= 1 && width >= 1;
  const fm_sig images = {in[0].dtype, {3, {n, height, width}}};
  if (ok && fm_check_sig(ctx, op, &images) != FM_OK) return FM_EUSAGE;
  if (ok) {
    fm_shape expected = transformed(tiles(n, height, width), w->d[from], in[0].dtype);
    ok = fm_shape_eq(d, &expected);
  }
  if (!ok)
    return fm_fail(ctx, FM_EUSAGE, "%s: operands %s and %s found, expected the result of "
                   "winograd_images, kernels (O, 3, 3, I) and factors (O, 1)", op->name,
                   fm_shape_text(d, a), fm_shape_text(w, b));
  *out = (fm_sig){in[0].dtype, {4, {n, height, width, w->d[3 - from]}}};
  return FM_OK;
}

/* The FLOPs of the direct method; see ops/winograd.c. */
static double flops_product(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin;
  return 18 * (double)fm_shape_count(&out->shape) * (double)in[1].shape.d[attr->i[TURNED] ? 0 : 3];
}

const fm_op fm_op_winograd_images = {.name = "winograd_images", .doc = "Images (N, H, W, C) in "
  "tiles, transformed for winograd_product.", .args = "t", .nin = 1, .flags = FM_LOWERED,
  .cost = 4, .infer = infer_winograd_images,
  .samples = {{1, {FM_SHAPE4(2, 5, 7, 3)}, {{0}, {0}}, -1, 1}}};

const fm_op fm_op_winograd_product = {.name = "winograd_product", .doc = "3x3 convolution of "
  "transformed images with kernels and a factor per output, or its adjoint in x where `turned`.",
  .args = "tttiii|b", .attrs = {"images", "height", "width", "turned"}, .nin = 3,
  .flags = FM_LOWERED, .infer = infer_winograd_product, .flops = flops_product,
  .samples = {{3, {FM_SHAPE4(1, 36, 8, 32), FM_SHAPE4(5, 3, 3, 3), FM_SHAPE2(5, 1)},
               {{2, 5, 7, 0}, {0}}, -1, 1},
              {3, {FM_SHAPE4(1, 36, 3, 64), FM_SHAPE4(34, 3, 3, 18), FM_SHAPE2(34, 1)},
               {{1, 4, 9, 1}, {0}}, -1, 1}}};

#endif
