/* winograd_w.c - the gradient of a 3x3 convolution's kernels in the transformed space of
** kernels/winograd.h: winograd_w is conv_w(x, dy). The operation includes the inverse transform: on
** chunks of 64 x 64 channels whose sums stay in the L2 cache it costs little, and only 9 values
** instead of 36 go to memory. */
#include "ops.h"

#ifndef FM_RULES

#include "../kernels/winograd_tiles.h"

#define CHUNK (256 / (int64_t)sizeof(T)) /* channels of either side in a chunk of sums */
#define STEP (CHUNK * CHUNK + LINE)
#define LD (CHUNK + LINE) /* of transformed tiles */
#define TILES 56          /* of a block */
#define BLOCKS 64         /* added to a chunk before the chunk is added to the gradient */
#define MR FM_TILE_ROWS
#define NR FM_TILE_COLUMNS

_Static_assert((36 * STEP + 24 * TILES * LD) * sizeof(T) <= FM_CONV_WORKSPACE,
               "sums of a chunk and a block");

/* Sums of one chunk, outputs [o, o + oc) by inputs [i, i + ic): s (36, oc, CHUNK), STEP apart. */
typedef struct chunk {
  int64_t o, oc, i, ic;
  T *s;
} chunk;

/* A pair of rows of `count` transformed tiles from `first` on: d (12, count, LD) from x, g from
   dy. */
static void pair_in(const chunk *c, int pair, const tiling *in, const tiling *out, int64_t first,
                    int64_t count, const T *x, const T *dy, T *d, T *g) {
  const T *at[36];
  for (int64_t k = 0; k < count; k++) {
    window(in, x, first + k, c->i, 6, 1, at);
    transform(false, pair, at, c->ic, d + k * LD, count * LD);
    window(out, dy, first + k, c->o, 4, 0, at);
    transform(true, pair, at, c->oc, g + k * LD, count * LD);
  }
}

/* s += D (B' d B) over the tiles of a block: a third of s at a time. */
static void sum_block(const chunk *c, const tiling *in, const tiling *out, int64_t first,
                      int64_t count, bool add, const T *x, const T *dy) {
  const int64_t step = count * LD, rows = even_part(c->oc, MR);
  T *d = c->s + 36 * STEP, *g = d + 12 * step;
  for (int pair = 0; pair < 3; pair++) {
    pair_in(c, pair, in, out, first, count, x, dy, d, g);
    for (int e = 0; e < 12; e++) {
      T *s = c->s + (12 * pair + e) * STEP;
      for (int64_t j = 0; j < c->ic; j += NR)
        for (int64_t r = 0; r < c->oc; r += rows)
          FM_FN(gemm_tile)((int)least(rows, c->oc - r), true, least(NR, CHUNK - j), count,
                           g + e * step + r, LD, d + e * step + j, LD, add,
                           s + r * CHUNK + j, CHUNK);
    }
  }
}

/* dW = G' s G, into or onto y: (O, 3, 3, I). */
static void chunk_back(const chunk *c, int64_t I, bool add, T *y) {
  for (int64_t o = 0; o < c->oc; o++)
    for (int64_t i = 0; i < c->ic; i += VN) {
      V half[6][3], row[3];
      T *to = y + (c->o + o) * 9 * I + c->i + i;
      int64_t n = c->ic - i;
      for (int j = 0; j < 6; j++) {
        V u[6];
        for (int k = 0; k < 6; k++) u[k] = vload(c->s + (6 * k + j) * STEP + o * CHUNK + i);
        wino_gather(u, 1, half[j]);
      }
      for (int k = 0; k < 3; k++) {
        wino_gather(&half[0][k], 3, row);
        for (int j = 0; j < 3; j++, to += I) {
          V sum = row[j];
          if (add) sum = sum + vtake(to, n);
          vgive(to, sum, n);
        }
      }
    }
}

FM_EXEC(winograd_w) {
  const tiling in = tiling_of(&e->in[0].shape), out = tiling_of(&e->in[1].shape);
  const int64_t most = even_part(in.count, TILES);
  chunk c = {.s = (T *)fm_conv_workspace};
  if (in.count == 0 && !e->accumulate)
    memset(e->y, 0, (size_t)fm_shape_count(&e->out->shape) * sizeof(T));
  if (in.count == 0) return;
  for (c.o = 0; c.o < out.c; c.o += CHUNK)
    for (c.i = 0; c.i < in.c; c.i += CHUNK) {
      c.oc = least(CHUNK, out.c - c.o), c.ic = least(CHUNK, in.c - c.i);
      for (int64_t k = 0, done = 0; k < in.count; k += most) {
        sum_block(&c, &in, &out, k, least(most, in.count - k), done % BLOCKS > 0, e->x[0], e->x[1]);
        if (++done % BLOCKS == 0 || k + most >= in.count)
          chunk_back(&c, in.c, e->accumulate || done > BLOCKS, e->y);
      }
    }
}

#endif

#ifdef FM_RULES

static fm_err infer_winograd_w(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                               const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  const fm_shape *x = &in[0].shape, *dy = &in[1].shape;
  (void)nin, (void)attr;
  bool ok = x->nd == 4 && dy->nd == 4 && in[0].dtype == in[1].dtype;
  for (int k = 0; ok && k < 3; k++) ok = x->d[k] == dy->d[k];
  if (!ok)
    return fm_fail(ctx, FM_EUSAGE, "%s: operands %s and %s found, expected images (N, H, W, I) and "
                   "(N, H, W, O) of one type", op->name, fm_shape_text(x, a),
                   fm_shape_text(dy, b));
  *out = (fm_sig){in[0].dtype, {4, {dy->d[3], 3, 3, x->d[3]}}};
  return FM_OK;
}

static double flops_winograd_w(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin, (void)attr, (void)out;
  return 18 * (double)fm_shape_count(&in[1].shape) * (double)in[0].shape.d[3];
}

const fm_op fm_op_winograd_w = {.name = "winograd_w", .doc = "Adjoint of a 3x3 convolution in its "
  "kernels.", .args = "tt", .nin = 2, .flags = FM_STACKS_SUMS | FM_LOWERED, .accumulates = true,
  .infer = infer_winograd_w, .flops = flops_winograd_w,
  .samples = {{2, {FM_SHAPE4(2, 5, 7, 3), FM_SHAPE4(2, 5, 7, 5)}, {{0}, {0}}, -1, 1},
              {2, {FM_SHAPE4(1, 4, 9, 18), FM_SHAPE4(1, 4, 9, 40)}, {{0}, {0}}, -1, 1}}};

#endif
