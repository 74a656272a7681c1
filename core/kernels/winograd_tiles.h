/*
** winograd_tiles.h - shared by the operations of ops/winograd*.c: images in tiles, kernels in
** slivers, their transforms (kernels/winograd.h), and the products of these. Images are divided
** into tiles of 4x4 (partial ones at the lower and right edges), numbered across all images. Each
** value of a product is one chain of multiply-adds over up to DEEPEST channels, and such chains are
** added in order: every bit of an image of the result is independent of the other images of the
** call and of their number.
*/
#ifndef FM_WINOGRAD_TILES_H
#define FM_WINOGRAD_TILES_H

#define SLIVER 32 /* adjacent columns of the weights: whole tiles in every instruction set */
#define ROWS(n) ((n) | 1) /* of a sliver: odd, which spreads its 36 values over cache sets */
#define DEEPEST_OF(size) (1024 / (int64_t)(size)) /* channels of the images transformed at a time */

#ifndef FM_RULES

#include "gemm.h"
#include "winograd.h"

#define DEEPEST DEEPEST_OF(sizeof(T))
#define LINE (64 / (int64_t)sizeof(T)) /* an odd number of lines spreads rows over cache sets */

static const T zeros[DEEPEST]; /* read where a tile extends beyond its image */

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t up_to(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

/* The size of the parts when n is divided into the fewest parts of at most `most`, nearly equal. */
static inline int64_t even_part(int64_t n, int64_t most) {
  int64_t parts = (n + most - 1) / most;
  return parts ? (n + parts - 1) / parts : 0;
}

/* The tiles of (N, H, W, C) images. */
typedef struct tiling {
  int64_t n, h, w, c, down, across, count; /* tiles in a column, in a row, in all */
} tiling;

static inline tiling tiling_of(const fm_shape *s) {
  tiling t = {s->d[0], s->d[1], s->d[2], s->d[3], (s->d[1] + 3) / 4, (s->d[2] + 3) / 4, 0};
  t.count = t.n * t.down * t.across;
  return t;
}

/* Offset of the first pixel of the tile, and its row and column in the image. */
static inline int64_t tile_at(const tiling *t, int64_t k, int64_t *row, int64_t *column) {
  *row = k / t->across % t->down * 4;
  *column = k % t->across * 4;
  return ((k / (t->across * t->down) * t->h + *row) * t->w + *column) * t->c;
}

/* Addresses of the size x size pixels around tile k, from `before` pixels above and left of it. */
static inline void window(const tiling *t, const T *x, int64_t k, int64_t channel, int size,
                          int before, const T **at) {
  int64_t row, column;
  int64_t from = tile_at(t, k, &row, &column) + channel - before * (t->w + 1) * t->c;
  row -= before, column -= before;
  for (int i = 0; i < size; i++, row++, from += t->w * t->c) {
    bool inside = row >= 0 && row < t->h;
    for (int j = 0; j < size; j++)
      *at++ = inside && column + j >= 0 && column + j < t->w ? x + from + j * t->c : zeros;
  }
}

/* One pair of rows of B' d B (`spread`: of A y A') for a vector of channels from c on, of which n
   exist: out[12], `step` apart. */
static inline __attribute__((always_inline)) void transform_pair(const bool spread, const int pair,
                                                                 const T *const *at, int64_t c,
                                                                 int64_t n, T *out, int64_t step) {
  const int size = spread ? 4 : 6;
  V half[2][6];
  for (int j = 0; j < size; j++) {
    V d[6], two[2];
    for (int i = 0; i < size; i++)
      if (pair == 2 ? !spread || i % 3 == 0 : spread || i % 5 != 0)
        d[i] = vtake(at[size * i + j] + c, n);
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

/* The pair for all `channels`; the last vector is padded with zeros. */
static inline __attribute__((always_inline)) void transform(const bool spread, int pair,
                                                            const T *const *at, int64_t channels,
                                                            T *out, int64_t step) {
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

/* ------------------------------------------------------------------ kernels */

/* Kernels of a convolution, w: (O, 3, 3, I), with a factor per output, f: (O). */
typedef struct kernels {
  const T *w, *f;
  int64_t O, I;
  bool turned; /* for conv_x: rotated by 180 degrees, with O and I exchanged */
} kernels;

static inline kernels kernels_of(const fm_shape *w, const void *values, const void *factors,
                                 bool turned) {
  return (kernels){values, factors, w->d[0], w->d[3], turned};
}

/* u = G w G' for a vector of kernels; the 36 values are `step` apart. */
static inline void transform_kernel(const V w[9], T *u, int64_t step) {
  V half[3][6]; /* per column of w, transformed down the column */
  for (int j = 0; j < 3; j++) wino_kernel(w + j, 3, half[j]);
  for (int i = 0; i < 6; i++) {
    V row[6];
    wino_kernel(&half[0][i], 6, row);
    for (int j = 0; j < 6; j++) vstore(u + (6 * i + j) * step, row[j]);
  }
}

/* Transpose VN kernels from output o on, VN inputs from i on, to vectors over outputs. */
static inline void weights_square(const kernels *k, int64_t o, int64_t i, T *u, int64_t step) {
  const int64_t O = k->O, I = k->I;
  V tap[9][VN];
  for (int t = 0; t < 9; t++) {
    for (int64_t v = 0; v < VN; v++) {
      tap[t][v] = vset(0);
      if (o + v < O) tap[t][v] = vset(k->f[o + v]) * vtake(k->w + ((o + v) * 9 + t) * I + i, I - i);
    }
    vtranspose(tap[t]);
  }
  for (int64_t v = 0; v < VN && v < I - i; v++, u += SLIVER) {
    V one[9];
    for (int t = 0; t < 9; t++) one[t] = tap[t][v];
    transform_kernel(one, u, step);
  }
}

/* The same for the turned kernel of one output, which has vectors over inputs already. */
static inline void weights_turned(const kernels *k, int64_t o, int64_t i, T *u, int64_t step) {
  V one[9];
  for (int t = 0; t < 9; t++) {
    one[8 - t] = vset(0);
    if (i < k->I) one[8 - t] = vset(k->f[o]) * vtake(k->w + (o * 9 + t) * k->I + i, k->I - i);
  }
  transform_kernel(one, u, step);
}

/* SLIVER outputs from `column` on, `depth` inputs from k on: u (36, depth, SLIVER), step apart. One
   loop serves both kinds: with two, gcc 12 made a step of the paper's network 3 % slower. */
static inline void transform_sliver(const kernels *w, int64_t column, int64_t k, int64_t depth,
                                    T *u, int64_t step) {
  int64_t unit = VN;
  if (w->turned) unit = 1;
  for (int64_t v = 0; v < SLIVER; v += VN)
    for (int64_t i = 0; i < depth; i += unit)
      if (w->turned)
        weights_turned(w, k + i, column + v, u + i * SLIVER + v, step);
      else
        weights_square(w, column + v, k + i, u + i * SLIVER + v, step);
}

/* ------------------------------------------------------------------ products */

/* A block of tiles: transformed d (36, count, ld), multiplied m (36, count, width). */
typedef struct block {
  int64_t count, ld, width, dstep, mstep; /* steps: from one of the 36 to the next */
  const T *d;
  T *m;
} block;

/* m = d u, or m += d u, for `depth` channels of a sliver: u (36, ..., SLIVER), ustep apart. */
static inline void multiply(const block *b, const T *u, int64_t ustep, int64_t depth, bool add,
                            T *m) {
  const int64_t rows = even_part(b->count, FM_TILE_ROWS);
  for (int e = 0; e < 36; e++, u += ustep)
    for (int64_t j = 0; j < SLIVER; j += FM_TILE_COLUMNS)
      for (int64_t r = 0; r < b->count; r += rows) FM_FN(gemm_tile)
  ((int)least(rows, b->count - r), false, FM_TILE_COLUMNS, depth, b->d + e * b->dstep + r * b->ld,
   b->ld, u + j, SLIVER, add, m + e * b->mstep + r * b->width + j, b->width);
}

/* Y = A' m A of one tile for a vector of channels, of which n exist; writes the rows and columns
   that are inside the image. */
static inline __attribute__((always_inline)) void tile_back(const T *m, int64_t step, int64_t n,
                                                            int64_t rows, int64_t columns, T *y,
                                                            int64_t row, int64_t column) {
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
    for (int j = 0; j < 4 && j < columns; j++) vgive(y + i * row + j * column, out[j], n);
  }
}

/* Transforms back the tiles from `first` on, channels [o, o + width). */
static inline void block_back(const block *b, const tiling *t, int64_t first, int64_t o, T *y) {
  for (int64_t k = 0; k < b->count; k++) {
    int64_t row, column, at = tile_at(t, first + k, &row, &column) + o;
    for (int64_t v = 0; v < b->width && v < t->c - o; v += VN) {
      const T *m = b->m + k * b->width + v;
      int64_t n = t->c - o - v, rows = t->h - row, columns = t->w - column;
      tile_back(m, b->mstep, n, rows, columns, y + at + v, t->w * t->c, t->c);
    }
  }
}

#endif

#endif
