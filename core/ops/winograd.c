/* winograd.c - 3x3 convolution with stride 1 and padding 1 in the transformed space of
** kernels/winograd.h; conv.c's lowering chooses it where it is faster than conv.c:
**   winograd_weights  u = G (f w) G', with a factor per output, laid out for the products;
**                     `turned`: for conv_x, rotated by 180 degrees, with O and I exchanged
**   winograd          conv(x, w) from x and u, or conv_x(dy, w) from dy and the turned u
** The transform of the weights is an operation of its own because it depends on no image. A block
** of tiles is transformed, multiplied and transformed back while it stays in the L2 cache. */
#include "ops.h"

#include "../kernels/winograd_tiles.h"

#ifndef FM_RULES

#define DATA (36 * 14 * (DEEPEST + LINE)) /* values of a block, transformed */
#define SUMS (36 * (14 * DEEPEST + LINE))
#define MR FM_TILE_ROWS

_Static_assert((DATA + SUMS) * sizeof(T) <= FM_CONV_WORKSPACE, "a block and its products");

/* u: (slivers of outputs, 36, ROWS(inputs), SLIVER) */
FM_EXEC(winograd_weights) {
  const kernels w = kernels_of(&e->in[0].shape, e->x[0], e->x[1], e->attr->i[FM_TURNED] != 0);
  const int64_t inputs = w.turned ? w.O : w.I, step = e->out->shape.d[2] * SLIVER;
  for (int64_t s = 0; s < e->out->shape.d[0]; s++)
    transform_sliver(&w, s * SLIVER, 0, inputs, (T *)e->y + s * 36 * step, step);
}

/* Transforms the tiles from `first` on, channels from k on. */
static void block_in(const block *b, const tiling *t, int64_t first, int64_t k, int64_t depth,
                     const T *x, T *d) {
  const T *at[36];
  for (int64_t i = 0; i < b->count; i++) {
    window(t, x, first + i, k, 6, 1, at);
    for (int p = 0; p < 3; p++)
      transform(false, p, at, depth, d + i * b->ld + 12 * p * b->dstep, b->dstep);
  }
}

/* Images with many channels are read in parts of DEEPEST, over which m accumulates. */
FM_EXEC(winograd) {
  const tiling in = tiling_of(&e->in[0].shape), out = tiling_of(&e->out->shape);
  const int64_t part = least(in.c, DEEPEST), width = in.c <= DEEPEST ? SLIVER : DEEPEST;
  if (in.c == 0) memset(e->y, 0, (size_t)fm_shape_count(&e->out->shape) * sizeof(T));
  if (in.c == 0) return;
  block b = {.ld = up_to(part, LINE) + LINE, .width = width};
  T *d = (T *)fm_conv_workspace;
  b.d = d, b.m = d + DATA;
  const int64_t fitting = least(DATA / (36 * b.ld), SUMS / (36 * width + LINE)) / MR * MR;
  const int64_t most = even_part(in.count, fitting);
  for (int64_t first = 0; first < in.count; first += most) {
    b.count = least(most, in.count - first);
    b.dstep = b.count * b.ld, b.mstep = b.count * width + LINE;
    for (int64_t o = 0; o < out.c; o += width) {
      for (int64_t k = 0; k < in.c; k += part) {
        int64_t depth = least(part, in.c - k);
        if (o == 0 || part < in.c) block_in(&b, &in, first, k, depth, e->x[0], d);
        for (int64_t j = 0; j < width && o + j < out.c; j += SLIVER)
          multiply(&b, (const T *)e->x[1] + ((o + j) / SLIVER * 36 * ROWS(in.c) + k) * SLIVER,
                   ROWS(in.c) * SLIVER, depth, k > 0, b.m + j);
      }
      block_back(&b, &out, first, o, e->y);
    }
  }
}

#endif

#ifdef FM_RULES

/* Lowering emits these operations for shapes that fit; the errors are for direct calls. */
static fm_err infer_weights(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                            const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  const fm_shape *w = &in[0].shape, *f = &in[1].shape;
  (void)nin;
  if (w->nd != 4 || w->d[1] != 3 || w->d[2] != 3 || fm_shape_count(f) != w->d[0] ||
      in[0].dtype != in[1].dtype)
    return fm_fail(ctx, FM_EUSAGE,
                   "%s: weights %s and factors %s found, expected (O, 3, 3, I) and (O, 1) of one "
                   "type", op->name, fm_shape_text(w, a), fm_shape_text(f, b));
  const bool turned = attr->i[FM_TURNED] != 0;
  int64_t from = turned ? w->d[0] : w->d[3], to = turned ? w->d[3] : w->d[0];
  *out = (fm_sig){in[0].dtype, {4, {(to + SLIVER - 1) / SLIVER, 36, ROWS(from), SLIVER}}};
  return FM_OK;
}

enum { OUTPUTS }; /* attr.i of winograd */

static fm_err infer_winograd(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                             const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  const fm_shape *x = &in[0].shape, *u = &in[1].shape;
  (void)nin;
  bool ok = x->nd == 4 && u->nd == 4 && in[0].dtype == in[1].dtype && u->d[1] == 36 &&
            u->d[2] == ROWS(x->d[3]) && u->d[3] == SLIVER && attr->i[OUTPUTS] <= u->d[0] * SLIVER &&
            attr->i[OUTPUTS] > (u->d[0] - 1) * SLIVER;
  if (!ok)
    return fm_fail(ctx, FM_EUSAGE, "%s: operands %s and %s for %lld outputs found, expected images "
                   "(N, H, W, I) and the result of winograd_weights for them", op->name,
                   fm_shape_text(x, a), fm_shape_text(u, b), (long long)attr->i[OUTPUTS]);
  *out = in[0];
  out->shape.d[3] = attr->i[OUTPUTS];
  return FM_OK;
}

/* The FLOPs of the direct method (9 taps of 2), so that rates of both compare as their times do. */
static double flops_winograd(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin, (void)attr;
  return 18 * (double)fm_shape_count(&out->shape) * (double)in[0].shape.d[3];
}

/*
** With few images, the images are transformed, and the weights piece by piece as they are
** multiplied, where the images are the smaller of the two in memory. The bits are the same, so the
** number of images may decide.
*/
static fm_val lower_winograd(fm_prog *q, const fm_prog *p, fm_val v, const fm_val *map,
                             const int *uses) {
  fm_val x = fm_arg(p, v, 0), u = fm_arg(p, v, 1);
  if (fm_op_of(p, u) != &fm_op_winograd_weights || uses[u] != 1) return FM_NONE;
  const fm_shape s = fm_prog_sig(p, x).shape;
  fm_attr a = {{s.d[0], s.d[1], s.d[2], fm_attr_of(p, u).i[FM_TURNED]}, {0}};
  fm_val in[3] = {fm_e1(q, &fm_op_winograd_images, map[x]), map[fm_arg(p, u, 0)],
                  map[fm_arg(p, u, 1)]};
  const fm_shape images = fm_prog_sig(q, in[0]).shape, weights = fm_prog_sig(p, u).shape;
  if (in[0] == FM_NONE || fm_shape_count(&images) >= fm_shape_count(&weights)) return FM_NONE;
  return fm_emit(q, &fm_op_winograd_product, 3, in, &a);
}

const fm_op fm_op_winograd_weights = {.name = "winograd_weights", .doc = "Kernels of a 3x3 "
  "convolution with a factor per output, transformed for `winograd`; for its adjoint in x where "
  "`turned`.", .args = "tt|b", .attrs = {"turned"}, .nin = 2, .flags = FM_LOWERED, .cost = 4,
  .infer = infer_weights,
  .samples = {{2, {FM_SHAPE4(5, 3, 3, 3), FM_SHAPE2(5, 1)}, {{0}, {0}}, -1, 1},
              {2, {FM_SHAPE4(34, 3, 3, 18), FM_SHAPE2(34, 1)}, {{1}, {0}}, -1, 1}}};

const fm_op fm_op_winograd = {.name = "winograd", .doc = "3x3 convolution of images with kernels "
  "from winograd_weights.", .args = "tti", .attrs = {"outputs"}, .nin = 2,
  .flags = FM_STACKS_ROWS | FM_LOWERED, .lower = lower_winograd,
  .infer = infer_winograd, .flops = flops_winograd,
  .samples = {{2, {FM_SHAPE4(2, 5, 7, 3), FM_SHAPE4(1, 36, 3, 32)}, {{5}, {0}}, -1, 1},
              {2, {FM_SHAPE4(1, 4, 9, 18), FM_SHAPE4(2, 36, 19, 32)}, {{40}, {0}}, -1, 1}}};

#endif
