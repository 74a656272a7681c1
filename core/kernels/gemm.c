/*
** gemm.c - the matrix product, after Goto and van de Geijn (2008). Blocks of a and b are packed:
** b into slivers of NR columns, each of which stays in the first cache, a into slivers of MR rows
** that stream past it from the second. A tile of MR x NR sums lives in registers. Where packing a
** costs more than it gains (measured: its rows are contiguous, or y has few columns), a is read where
** it lies.
*/
#ifdef FM_RULES

typedef int fm_no_rules; /* a kernel alone; C wants something in every file */

#else

#include "gemm.h"

#define K_BLOCK 256 /* products before sums go back to memory: a sliver of b is 32 KiB at most */
#define M_BLOCK 224 /* rows of a packed block */
#define N_BLOCK (2048 / (int64_t)sizeof(T)) /* columns of a packed block; both fit the second cache */
#define NV 2         /* vectors across a tile */
#define NR (NV * VN) /* columns of a tile; SLIVER: rows of a tile in whole vectors */
#define SLIVER ((MR + VN - 1) / VN * VN)
#if FM_WIDTH == 512
#define MR 14 /* rows of a tile: MR NV sums, NV vectors of b, one of a: 31 of 32 registers */
#elif FM_WIDTH == 256
#define MR 6 /* 15 of 16 */
#else
#define MR 4
#endif

/* y: (rows, n <= NR) of one tile over `depth` products; b: a packed sliver. The rows of a run across
   it, value (i, p) at a[i + p lda], or along it, at a[i lda + p]. `rows` and `across` are constant
   where this is inlined: the loops over rows unroll and the sums stay in registers. */
static inline __attribute__((always_inline)) void tile(const int rows, const bool across,
                                                       int64_t n, int64_t depth, const T *a,
                                                       int64_t lda, const T *b, bool add, T *y,
                                                       int64_t ldy) {
  V sum[MR][NV];
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < NV; j++) sum[i][j] = vset(0);
  for (int64_t p = 0; p < depth; p++, a += across ? lda : 1, b += NR) {
    V bv[NV];
    for (int j = 0; j < NV; j++) bv[j] = vload(b + j * VN);
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < NV; j++)
        sum[i][j] = vfma(vset(a[across ? i : i * lda]), bv[j], sum[i][j]);
  }
  for (int i = 0; i < rows; i++, y += ldy)
    for (int j = 0; j < NV; j++) {
      int64_t left = n - j * VN;
      T *to = y + j * VN;
      V before = !add || left <= 0 ? vset(0) : left >= VN ? vload(to) : vloadn(to, left);
      if (left >= VN) vstore(to, before + sum[i][j]);
      else if (left > 0) vstoren(to, before + sum[i][j], left);
    }
}

/* The switch makes the number of rows a constant. */
static void tile_of(int rows, bool across, int64_t n, int64_t depth, const T *a, int64_t lda,
                    const T *b, bool add, T *y, int64_t ldy) {
#define CASE(r)                                                  \
  case r:                                                        \
    if (across) tile(r, true, n, depth, a, lda, b, add, y, ldy); \
    else tile(r, false, n, depth, a, lda, b, add, y, ldy);       \
    break;
  switch (rows) {
    CASE(1)
    CASE(2)
    CASE(3)
    CASE(4)
#if MR > 4
    CASE(5)
    CASE(6)
#endif
#if MR > 6
    CASE(7)
    CASE(8)
    CASE(9)
    CASE(10)
    CASE(11)
    CASE(12)
    CASE(13)
    CASE(14)
#endif
  }
#undef CASE
}

/* A sliver: (depth, width) as rows of `stride` values, whole vectors; only the first `width` of a row
   count. across: x: (depth, width); else x: (width, depth), turned over in squares of VN x VN. */
static inline __attribute__((always_inline)) void pack(bool across, int64_t width,
                                                       const int64_t stride, int64_t depth,
                                                       const T *x, int64_t ldx, T *out) {
  if (across) {
    for (int64_t p = 0; p < depth; p++, x += ldx, out += stride)
      for (int64_t j = 0; j < stride; j += VN)
        vstore(out + j, width - j >= VN  ? vload(x + j)
                        : width - j > 0 ? vloadn(x + j, width - j)
                                        : vset(0));
    return;
  }
  for (int64_t p = 0; p < depth; p += VN)
    for (int64_t j = 0; j < stride; j += VN) {
      V square[VN];
      int64_t left = depth - p < VN ? depth - p : VN;
      for (int i = 0; i < VN; i++) {
        const T *from = x + (j + i) * ldx + p;
        square[i] = j + i >= width ? vset(0) : left == VN ? vload(from) : vloadn(from, left);
      }
      vtranspose(square);
      for (int i = 0; i < left; i++) vstore(out + (p + i) * stride + j, square[i]);
    }
}

typedef struct matrix {
  const T *x;
  int64_t ld;
  bool transposed;
} matrix;

/* The address of (row, column) of op(x). */
static const T *at(matrix m, int64_t row, int64_t column) {
  return m.transposed ? m.x + column * m.ld + row : m.x + row * m.ld + column;
}

/* The slivers of a[m rows from i, depth columns from p], one after the other. */
static void pack_rows(matrix a, int64_t i, int64_t m, int64_t p, int64_t depth, T *out) {
  for (int64_t left = (m + MR - 1) / MR; left > 0; left--, out += SLIVER * depth) {
    int64_t rows = m / left;
    pack(a.transposed, a.transposed ? m : rows, SLIVER, depth, at(a, i, p), a.ld, out);
    i += rows;
    m -= rows;
  }
}

/* y += or = a[m rows from i, depth columns from p] b, of one packed block of b: (depth, n).
   Tiles have MR rows, or all a little fewer. */
static void rows_of_y(matrix a, bool packs, int64_t i, int64_t m, int64_t p, int64_t depth, const T *b,
                      int64_t n, bool add, T *y, int64_t ldy) {
  static _Thread_local _Alignas(64) T packed[(M_BLOCK + MR - 1) / MR * SLIVER * K_BLOCK];
  if (packs) pack_rows(a, i, m, p, depth, packed);
  for (int64_t j = 0; j < n; j += NR) {
    const T *sliver = packed;
    int64_t first = i, below = m;
    for (int64_t left = (m + MR - 1) / MR; left > 0; left--, sliver += SLIVER * depth) {
      int rows = (int)(below / left);
      tile_of(rows, packs || a.transposed, n - j, depth, packs ? sliver : at(a, first, p),
              packs ? SLIVER : a.ld, b + j * depth, add, y + first * ldy + j, ldy);
      first += rows;
      below -= rows;
    }
  }
}

void FM_FN(gemm)(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,
                 const T *b, int64_t ldb, bool accumulate, T *y, int64_t ldy) {
  static _Thread_local _Alignas(64) T packed[N_BLOCK * K_BLOCK];
  const matrix ma = {a, lda, ta}, mb = {b, ldb, tb};
  const bool packs = ta && n > N_BLOCK / 2;
  const int64_t columns = packs ? N_BLOCK : N_BLOCK / 2;
  if (k == 0 && !accumulate)
    for (int64_t i = 0; i < m; i++) memset(y + i * ldy, 0, (size_t)n * sizeof(T));
  for (int64_t j = 0; j < n; j += columns) {
    int64_t width = n - j < columns ? n - j : columns;
    for (int64_t p = 0; p < k; p += K_BLOCK) {
      int64_t depth = k - p < K_BLOCK ? k - p : K_BLOCK;
      for (int64_t q = 0; q < width; q += NR)
        pack(!tb, width - q, NR, depth, at(mb, p, j + q), ldb,
             packed + q * depth);
      for (int64_t i = 0; i < m; i += M_BLOCK)
        rows_of_y(ma, packs, i, m - i < M_BLOCK ? m - i : M_BLOCK, p, depth, packed, width,
                  accumulate || p > 0, y + j, ldy);
    }
  }
}

#endif
