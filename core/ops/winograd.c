/* winograd.c - 3x3 convolution with stride 1 and padding 1 in the transformed space of
** kernels/winograd.h; the pass program/lower.c puts it where it is faster than conv.c:
**   winograd_weights  u = G (f w) G', each output's kernels times a factor, laid out for the
**                     products; `turned`: of the kernels of conv_x, turned by half a turn, with O
**                     and I exchanged
**   winograd          conv(x, w) from x and u, and so conv_x(dy, w) from dy and the turned u
**   winograd_w        conv_w(x, dy)
** The weights' transform is an operation of its own because it depends on no image. That of their
** gradient is not: done on chunks of 64 x 64 channels whose sums stay in the second cache, it costs
** little, and 36 values in place of 9 never go to memory.
**
** Images are cut into tiles of 4x4 (at the lower and right rims, parts of them), numbered through
** all images. A block of tiles is transformed, multiplied and transformed back while it stays in
** the second cache. Each value of a product is one chain of multiply-adds over the channels: an
** image of the result of `winograd` depends, bit for bit, on no other image of the call, nor on
** their number. */
#include "ops.h"

#define SLIVER 32 /* columns of the weights side by side: whole tiles in every instruction set */
#define ROWS(n) ((n) | 1) /* of a sliver: odd, so that its 36 values are spread over the cache */

#ifndef FM_RULES

#include "../kernels/gemm.h"
#include "../kernels/winograd.h"

#define DEEPEST (1024 / (int64_t)sizeof(T)) /* channels of the images transformed at a time */
#define CHUNK (256 / (int64_t)sizeof(T))    /* of either side, of a gradient's sums */
#define STEP (CHUNK * CHUNK + LINE)
#define LD (CHUNK + LINE) /* of transformed tiles */
#define TILES 56                            /* of a block, for a gradient */
#define DATA (36 * 14 * (DEEPEST + LINE))   /* values of a block transformed, and multiplied */
#define SUMS (36 * (14 * DEEPEST + LINE))
#define LINE (64 / (int64_t)sizeof(T))      /* odd lines between rows spread them over the cache */
#define MR FM_TILE_ROWS
#define NR FM_TILE_COLUMNS

_Static_assert((DATA + SUMS) * sizeof(T) <= FM_CONV_ROOM, "a block and its products");
_Static_assert((36 * STEP + 24 * TILES * LD) * sizeof(T) <= FM_CONV_ROOM,
               "sums of a chunk and a block");

static const T zeros[DEEPEST]; /* read in place of what is outside the images */

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t up_to(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/* n cut into as few parts of at most `most` as possible, as equal as possible: their size. */
static inline int64_t even_part(int64_t n, int64_t most) {
  int64_t parts = (n + most - 1) / most;
  return parts ? (n + parts - 1) / parts : 0;
}

/* The tiles of (N, H, W, C) images. */
typedef struct tiling {
  int64_t n, h, w, c, down, across, count; /* tiles in a column, in a row, in all */
} tiling;

static tiling tiling_of(const fm_shape *s) {
  tiling t = {s->d[0], s->d[1], s->d[2], s->d[3], (s->d[1] + 3) / 4, (s->d[2] + 3) / 4, 0};
  t.count = t.n * t.down * t.across;
  return t;
}

/* Offset of the tile's first pixel, and how far (row, column) it is from the image's. */
static int64_t tile_at(const tiling *t, int64_t k, int64_t *row, int64_t *column) {
  *row = k / t->across % t->down * 4;
  *column = k % t->across * 4;
  return ((k / (t->across * t->down) * t->h + *row) * t->w + *column) * t->c;
}

/* Where the size x size pixels around tile k lie, from `before` pixels above and left of it on. */
static void window(const tiling *t, const T *x, int64_t k, int64_t channel, int size, int before,
                   const T **at) {
  int64_t row, column;
  int64_t from = tile_at(t, k, &row, &column) + channel - before * (t->w + 1) * t->c;
  row -= before, column -= before;
  for (int i = 0; i < size; i++, row++, from += t->w * t->c) {
    bool inside = row >= 0 && row < t->h;
    for (int j = 0; j < size; j++)
      *at++ = inside && column + j >= 0 && column + j < t->w ? x + from + j * t->c : zeros;
  }
}

static inline V load_some(const T *p, int64_t n) { return n >= VN ? vload(p) : vloadn(p, n); }

/* One pair of rows of B' d B (spread: of A y A'), for the channels from c on, n of them or a
   vector: out[12], `step` apart. */
static inline __attribute__((always_inline)) void
transform_pair(const bool spread, const int pair, const T *const *at, int64_t c, int64_t n, T *out,
               int64_t step) {
  const int size = spread ? 4 : 6;
  V half[2][6];
  for (int j = 0; j < size; j++) {
    V d[6], two[2];
    for (int i = 0; i < size; i++)
      if (pair == 2 ? !spread || i % 3 == 0 : spread || i % 5 != 0)
        d[i] = load_some(at[size * i + j] + c, n);
    if (spread)
      wino_spread(pair, d, 1, two);
    else
      wino_in(pair, d, 1, two);
    half[0][j] = two[0], half[1][j] = two[1];
  }
  for (int r = 0; r < 2; r++)
    for (int p = 0; p < 3; p++) {
      V two[2];
      if (spread)
        wino_spread(p, half[r], 1, two);
      else
        wino_in(p, half[r], 1, two);
      vstore(out + (6 * r + 2 * p) * step, two[0]);
      vstore(out + (6 * r + 2 * p + 1) * step, two[1]);
    }
}

/* The pair for all `channels`; the last vector is filled up with zeros. */
static inline __attribute__((always_inline)) void
transform(const bool spread, int pair, const T *const *at, int64_t channels, T *out, int64_t step) {
#define ALL(pair)                                                                                  \
  for (int64_t c = 0; c < channels; c += VN)                                                       \
    if (channels - c >= VN)                                                                        \
      transform_pair(spread, pair, at, c, VN, out + c, step);                                      \
    else                                                                                           \
      transform_pair(spread, pair, at, c, channels - c, out + c, step);
  if (pair == 0) {
    ALL(0)
  } else if (pair == 1) {
    ALL(1)
  } else {
    ALL(2)
  }
#undef ALL
}

/* ------------------------------------------------------------------ weights */

/* u = G w G' of a vector of kernels, whose 36 values are `step` apart. */
static void transform_kernel(const V w[9], T *u, int64_t step) {
  V half[3][6]; /* per column of w: down it */
  for (int j = 0; j < 3; j++) wino_kernel(w + j, 3, half[j]);
  for (int i = 0; i < 6; i++) {
    V row[6];
    wino_kernel(&half[0][i], 6, row);
    for (int j = 0; j < 6; j++) vstore(u + (6 * i + j) * step, row[j]);
  }
}

/* VN kernels from output o on, VN input channels from i on, to vectors over outputs. */
static void weights_square(const T *w, const T *f, int64_t O, int64_t I, int64_t o, int64_t i,
                           T *u) {
  V tap[9][VN];
  for (int k = 0; k < 9; k++) {
    for (int64_t v = 0; v < VN; v++) {
      tap[k][v] = vset(0);
      if (o + v < O)
        tap[k][v] = vset(f[o + v]) * load_some(w + ((o + v) * 9 + k) * I + i, I - i);
    }
    vtranspose(tap[k]);
  }
  for (int64_t v = 0; v < VN && v < I - i; v++, u += SLIVER) {
    V one[9];
    for (int k = 0; k < 9; k++) one[k] = tap[k][v];
    transform_kernel(one, u, ROWS(I) * SLIVER);
  }
}

/* The same for the turned kernel of one output: vectors over inputs are there already. */
static void weights_turned(const T *w, const T *f, int64_t O, int64_t I, int64_t o, int64_t i,
                           T *u) {
  V one[9];
  for (int k = 0; k < 9; k++) {
    one[8 - k] = vset(0);
    if (i < I) one[8 - k] = vset(f[o]) * load_some(w + (o * 9 + k) * I + i, I - i);
  }
  transform_kernel(one, u, ROWS(O) * SLIVER);
}

/* u: (slivers of outputs, 36, ROWS(inputs), SLIVER) */
FM_EXEC(winograd_weights) {
  const fm_shape *w = &e->in[0].shape;
  const int64_t O = w->d[0], I = w->d[3], slivers = e->out->shape.d[0];
  const bool turned = e->attr->i[0] != 0;
  T *u = e->y;
  for (int64_t s = 0; s < slivers; s++, u += 36 * e->out->shape.d[2] * SLIVER)
    for (int64_t v = 0; v < SLIVER; v += VN) {
      int64_t column = s * SLIVER + v;
      if (turned)
        for (int64_t o = 0; o < O; o++)
          weights_turned(e->x[0], e->x[1], O, I, o, column, u + o * SLIVER + v);
      else
        for (int64_t i = 0; i < I; i += VN)
          weights_square(e->x[0], e->x[1], O, I, column, i, u + i * SLIVER + v);
    }
}

/* ------------------------------------------------------------------ images */

/* A block of tiles on its way: d (36, count, ld) transformed, m (36, count, width) multiplied. */
typedef struct block {
  int64_t count, ld, width, dstep, mstep; /* steps: from one of the 36 to the next */
  T *d, *m;
} block;

/* The `depth` channels from k on of u's sliver s: m = d u, or m += d u. */
static void multiply(const block *b, const T *u, int64_t inputs, int64_t s, int64_t k,
                     int64_t depth, T *m) {
  const int64_t rows = even_part(b->count, MR);
  for (int e = 0; e < 36; e++) {
    const T *from = u + ((s * 36 + e) * ROWS(inputs) + k) * SLIVER;
    for (int64_t j = 0; j < SLIVER; j += NR)
      for (int64_t r = 0; r < b->count; r += rows)
        FM_FN(gemm_tile)((int)least(rows, b->count - r), false, NR, depth,
                         b->d + e * b->dstep + r * b->ld, b->ld, from + j, SLIVER, k > 0,
                         m + e * b->mstep + r * b->width + j, b->width);
  }
}

/* Y = A' m A of one tile, `n` channels or a vector; rows and columns inside the image. */
static inline __attribute__((always_inline)) void
tile_back(const T *m, int64_t step, int64_t n, int64_t rows, int64_t columns, T *y, int64_t row,
          int64_t column) {
  V half[6][4];
  for (int j = 0; j < 6; j++) {
    V d[6];
    for (int i = 0; i < 6; i++) d[i] = vload(m + (6 * i + j) * step);
    wino_out(d, 1, half[j]);
  }
  for (int i = 0; i < 4; i++) {
    V out[4];
    wino_out(&half[0][i], 4, out);
    if (i >= rows) break;
    for (int j = 0; j < 4 && j < columns; j++)
      if (n >= VN)
        vstore(y + i * row + j * column, out[j]);
      else
        vstoren(y + i * row + j * column, out[j], n);
  }
}

/* Channels [o, o + width) of the tiles from `first` on. */
static void block_back(const block *b, const tiling *t, int64_t first, int64_t o, T *y) {
  for (int64_t k = 0; k < b->count; k++) {
    int64_t row, column, at = tile_at(t, first + k, &row, &column) + o;
    for (int64_t v = 0; v < b->width && v < t->c - o; v += VN) {
      const T *m = b->m + k * b->width + v;
      int64_t n = t->c - o - v, rows = t->h - row, columns = t->w - column;
      tile_back(m, b->mstep, n, rows, columns, y + at + v, t->w * t->c, t->c);
    }
  }
}

/* The channels from k on of the tiles from `first` on. */
static void block_in(const block *b, const tiling *t, int64_t first, int64_t k, int64_t depth,
                     const T *x) {
  const T *at[36];
  for (int64_t i = 0; i < b->count; i++) {
    window(t, x, first + i, k, 6, 1, at);
    for (int p = 0; p < 3; p++)
      transform(false, p, at, depth, b->d + i * b->ld + 12 * p * b->dstep, b->dstep);
  }
}

/* Images with many channels come in parts of DEEPEST: then m holds as many outputs and sums up. */
FM_EXEC(winograd) {
  const tiling in = tiling_of(&e->in[0].shape), out = tiling_of(&e->out->shape);
  const int64_t part = least(in.c, DEEPEST), width = in.c <= DEEPEST ? SLIVER : DEEPEST;
  if (in.c == 0) memset(e->y, 0, (size_t)fm_shape_count(&e->out->shape) * sizeof(T));
  if (in.c == 0) return;
  block b = {.ld = up_to(part, LINE) + LINE, .width = width};
  b.d = (T *)fm_conv_room, b.m = b.d + DATA;
  const int64_t room = least(DATA / (36 * b.ld), SUMS / (36 * width + LINE)) / MR * MR;
  const int64_t most = even_part(in.count, room);
  for (int64_t first = 0; first < in.count; first += most) {
    b.count = least(most, in.count - first);
    b.dstep = b.count * b.ld, b.mstep = b.count * width + LINE;
    for (int64_t o = 0; o < out.c; o += width) {
      for (int64_t k = 0; k < in.c; k += part) {
        int64_t depth = least(part, in.c - k);
        if (o == 0 || part < in.c) block_in(&b, &in, first, k, depth, e->x[0]);
        for (int64_t j = 0; j < width && o + j < out.c; j += SLIVER)
          multiply(&b, e->x[1], in.c, (o + j) / SLIVER, k, depth, b.m + j);
      }
      block_back(&b, &out, first, o, e->y);
    }
  }
}

/* ------------------------------------------------------------------ the weights' gradient */

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
                      int64_t count, const T *x, const T *dy) {
  const int64_t step = count * LD, rows = even_part(c->oc, MR);
  T *d = c->s + 36 * STEP, *g = d + 12 * step;
  for (int pair = 0; pair < 3; pair++) {
    pair_in(c, pair, in, out, first, count, x, dy, d, g);
    for (int e = 0; e < 12; e++) {
      T *s = c->s + (12 * pair + e) * STEP;
      for (int64_t j = 0; j < c->ic; j += NR)
        for (int64_t r = 0; r < c->oc; r += rows)
          FM_FN(gemm_tile)((int)least(rows, c->oc - r), true, least(NR, CHUNK - j), count,
                           g + e * step + r, LD, d + e * step + j, LD, first > 0,
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
          if (add) sum = sum + load_some(to, n);
          if (n >= VN)
            vstore(to, sum);
          else
            vstoren(to, sum, n);
        }
      }
    }
}

FM_EXEC(winograd_w) {
  const tiling in = tiling_of(&e->in[0].shape), out = tiling_of(&e->in[1].shape);
  const int64_t most = even_part(in.count, TILES);
  chunk c = {.s = (T *)fm_conv_room};
  if (in.count == 0 && !e->accumulate)
    memset(e->y, 0, (size_t)fm_shape_count(&e->out->shape) * sizeof(T));
  if (in.count == 0) return;
  for (c.o = 0; c.o < out.c; c.o += CHUNK)
    for (c.i = 0; c.i < in.c; c.i += CHUNK) {
      c.oc = least(CHUNK, out.c - c.o), c.ic = least(CHUNK, in.c - c.i);
      for (int64_t k = 0; k < in.count; k += most)
        sum_block(&c, &in, &out, k, least(most, in.count - k), e->x[0], e->x[1]);
      chunk_back(&c, in.c, e->accumulate, e->y);
    }
}

#endif

#ifdef FM_RULES

/* ------------------------------------------------------------------ shapes */

/* These operations are made by rewriting nodes whose shapes fit; whoever calls them directly gets
   a sentence as well. */
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
  int64_t from = attr->i[0] ? w->d[0] : w->d[3], to = attr->i[0] ? w->d[3] : w->d[0];
  *out = (fm_sig){in[0].dtype, {4, {(to + SLIVER - 1) / SLIVER, 36, ROWS(from), SLIVER}}};
  return FM_OK;
}

/* i = {outputs} */
static fm_err infer_winograd(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                             const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  const fm_shape *x = &in[0].shape, *u = &in[1].shape;
  (void)nin;
  bool ok = x->nd == 4 && u->nd == 4 && in[0].dtype == in[1].dtype && u->d[1] == 36 &&
            u->d[2] == ROWS(x->d[3]) && u->d[3] == SLIVER && attr->i[0] <= u->d[0] * SLIVER &&
            attr->i[0] > (u->d[0] - 1) * SLIVER;
  if (!ok)
    return fm_fail(ctx, FM_EUSAGE, "%s: operands %s and %s for %lld outputs found, expected images "
                   "(N, H, W, I) and what winograd_weights makes of kernels for them", op->name,
                   fm_shape_text(x, a), fm_shape_text(u, b), (long long)attr->i[0]);
  *out = in[0];
  out->shape.d[3] = attr->i[0];
  return FM_OK;
}

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

/* ------------------------------------------------------------------ the table */

/* What the direct method would need: the figures of two methods compare their times. */
static double flops_winograd(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin, (void)attr;
  return 18 * (double)fm_shape_count(&out->shape) * (double)in[0].shape.d[3];
}
static double flops_winograd_w(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin, (void)attr, (void)out;
  return 18 * (double)fm_shape_count(&in[1].shape) * (double)in[0].shape.d[3];
}

#define SHAPE4(a, b, c, d) {4, {a, b, c, d}}

const fm_op fm_op_winograd_weights = {.name = "winograd_weights", .doc = "Kernels of a 3x3 "
  "convolution, those of each output times a factor, as `winograd` wants them; of its adjoint in x "
  "where `turned`.", .args = "tt|b", .nin = 2, .flags = FM_LOWERED, .cost = 4,
  .infer = infer_weights,
  .samples = {{2, {SHAPE4(5, 3, 3, 3), FM_SHAPE2(5, 1)}, {{0}, {0}}, -1, 1},
              {2, {SHAPE4(34, 3, 3, 18), FM_SHAPE2(34, 1)}, {{1}, {0}}, -1, 1}}};

const fm_op fm_op_winograd = {.name = "winograd", .doc = "3x3 convolution of images with kernels "
  "from winograd_weights.", .args = "tti", .nin = 2, .flags = FM_STACKS_ROWS | FM_LOWERED,
  .infer = infer_winograd, .flops = flops_winograd,
  .samples = {{2, {SHAPE4(2, 5, 7, 3), SHAPE4(1, 36, 3, 32)}, {{5}, {0}}, -1, 1},
              {2, {SHAPE4(1, 4, 9, 18), SHAPE4(2, 36, 19, 32)}, {{40}, {0}}, -1, 1}}};

const fm_op fm_op_winograd_w = {.name = "winograd_w", .doc = "Adjoint of a 3x3 convolution in its "
  "kernels.", .args = "tt", .nin = 2, .flags = FM_STACKS_SUMS | FM_LOWERED, .accumulates = true,
  .infer = infer_winograd_w, .flops = flops_winograd_w,
  .samples = {{2, {SHAPE4(2, 5, 7, 3), SHAPE4(2, 5, 7, 5)}, {{0}, {0}}, -1, 1},
              {2, {SHAPE4(1, 4, 9, 18), SHAPE4(1, 4, 9, 40)}, {{0}, {0}}, -1, 1}}};

#endif
