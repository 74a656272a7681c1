/*
** gemm.c - the matrix product, after Goto and van de Geijn (2008). Blocks of a and b are packed:
** b into slivers of NR columns, each of which stays in the first cache, a into slivers of MR rows
** that stream past it from the second. A tile of MR x NR sums lives in registers. Where packing a
** costs more than it gains (measured: its rows are contiguous, or y has few columns), a is read
** where it lies.
*/
#ifdef FM_RULES

typedef int fm_no_rules; /* a kernel alone; C wants something in every file */

#else

#include "gemm.h"

/* Blocks of a (packed) and b, which fit the second cache together. Unpacked a: blocks of b are
   twice as deep and half as wide, so that sums go back to memory less often. */
#define K_BLOCK 256
#define M_BLOCK (16 * MR)
#define N_BLOCK (2048 / (int64_t)sizeof(T))
#define NV (NR / VN) /* vectors across a tile */
#define MR FM_TILE_ROWS
#define NR FM_TILE_COLUMNS
#define SLIVER ((MR + VN - 1) / VN * VN) /* rows of a tile, in whole vectors */

/* `rows` and `across` are constant where this is inlined: the loops over rows unroll and the sums
   stay in registers. */
static inline __attribute__((always_inline)) void tile(const int rows, const bool across, int64_t n,
                                                       int64_t depth, const T *a, int64_t lda,
                                                       const T *b, int64_t ldb, bool add, T *y,
                                                       int64_t ldy) {
  V sum[MR][NV];
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < NV; j++) sum[i][j] = vset(0);
  for (int64_t p = 0; p < depth; p++, a += across ? lda : 1, b += ldb) {
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
      if (left >= VN)
        vstore(to, before + sum[i][j]);
      else if (left > 0)
        vstoren(to, before + sum[i][j], left);
    }
}

/* The switch makes the number of rows a constant. */
void FM_FN(gemm_tile)(int rows, bool across, int64_t n, int64_t depth, const T *a, int64_t lda,
                      const T *b, int64_t ldb, bool add, T *y, int64_t ldy) {
#define CASE(r)                                                                                    \
  case r:                                                                                          \
    if (across)                                                                                    \
      tile(r, true, n, depth, a, lda, b, ldb, add, y, ldy);                                        \
    else                                                                                           \
      tile(r, false, n, depth, a, lda, b, ldb, add, y, ldy);                                       \
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

/* The first n values of a vector, zeros in place of the rest. */
static inline V load_some(const T *p, int64_t n) {
  return n >= VN ? vload(p) : n > 0 ? vloadn(p, n) : vset(0);
}

/* Values from one packed sliver to the next: a line more than it has, so that the same row of all
   slivers does not fall into one set of the cache. */
static inline int64_t sliver_step(int64_t stride, int64_t depth) { return stride * depth + 64; }

/* Slivers of `unit` columns of x, one after the other, each as `depth` rows of `stride` values,
   whole vectors, of which the first `unit` count. x: (depth, n), or its transpose (n, depth), which is
   turned over in squares of VN x VN. */
static inline __attribute__((always_inline)) void pack(bool transposed, int64_t n,
                                                       const int64_t unit, const int64_t stride,
                                                       int64_t depth, const T *x, int64_t ldx,
                                                       T *out) {
  const int64_t step = sliver_step(stride, depth);
  if (!transposed) {
    for (int64_t p = 0; p < depth; p++, x += ldx, out += stride) {
      T *to = out;
      for (int64_t j = 0; j < n; j += unit, to += step)
        for (int64_t v = 0; v < stride; v += VN) vstore(to + v, load_some(x + j + v, n - j - v));
    }
    return;
  }
  for (int64_t j = 0; j < n; j += unit, out += step)
    for (int64_t v = 0; v < stride; v += VN)
      for (int64_t p = 0; p < depth; p += VN) {
        V square[VN];
        for (int64_t i = 0; i < VN; i++)
          square[i] = j + v + i < n ? load_some(x + (j + v + i) * ldx + p, depth - p) : vset(0);
        vtranspose(square);
        for (int64_t i = 0; i < VN && i < depth - p; i++)
          vstore(out + (p + i) * stride + v, square[i]);
      }
}

/* The block of op(x) from (row, column) on. */
static const T *at(const T *x, int64_t ld, bool transposed, int64_t row, int64_t column) {
  return transposed ? x + column * ld + row : x + row * ld + column;
}

/* y: (m, n) of one block; a: slivers of rows (`packed`), or rows where they lie, op(a): (m, depth);
   b: slivers of columns. */
static void block(bool packed, bool ta, int64_t m, int64_t n, int64_t depth, const T *a,
                  int64_t lda, const T *b, bool add, T *y, int64_t ldy) {
  const int64_t step = packed ? sliver_step(SLIVER, depth) : ta ? MR : MR * lda;
  const int64_t ld = packed ? SLIVER : lda;
  for (int64_t j = 0; j < n; j += NR, b += sliver_step(NR, depth)) {
    const T *rows = a;
    for (int64_t i = 0; i < m; i += MR, rows += step) FM_FN(gemm_tile)
    (m - i < MR ? (int)(m - i) : MR, packed || ta, n - j, depth, rows, ld, b, NR, add,
     y + i * ldy + j, ldy);
  }
}

void FM_FN(gemm)(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,
                 const T *b, int64_t ldb, bool accumulate, T *y, int64_t ldy) {
  static _Thread_local _Alignas(64) T a_block[M_BLOCK / MR * (SLIVER * K_BLOCK + 64)];
  static _Thread_local _Alignas(64) T b_block[N_BLOCK / NR * (NR * K_BLOCK + 64)];
  const bool packs = ta && n > N_BLOCK / 2;
  const int64_t columns = packs ? N_BLOCK : N_BLOCK / 2, products = packs ? K_BLOCK : 2 * K_BLOCK;
  if (k == 0 && !accumulate)
    for (int64_t i = 0; i < m; i++) memset(y + i * ldy, 0, (size_t)n * sizeof(T));
  for (int64_t j = 0; j < n; j += columns) {
    int64_t width = n - j < columns ? n - j : columns;
    for (int64_t p = 0; p < k; p += products) {
      int64_t depth = k - p < products ? k - p : products;
      pack(tb, width, NR, NR, depth, at(b, ldb, tb, p, j), ldb, b_block);
      for (int64_t i = 0; i < m; i += M_BLOCK) {
        int64_t rows = m - i < M_BLOCK ? m - i : M_BLOCK;
        const T *from = at(a, lda, ta, i, p);
        if (packs) pack(false, rows, MR, SLIVER, depth, from, lda, a_block);
        block(packs, ta, rows, width, depth, packs ? a_block : from, lda, b_block,
              accumulate || p > 0, y + i * ldy + j, ldy);
      }
    }
  }
}

#endif
