/*
** gemm_blocks.h - the loops of a matrix product, after Goto and van de Geijn (2008). Blocks of a
** and b are packed: b into slivers of NR columns, each of which stays in the L1 cache, a into
** slivers of MR rows, which stream past it from the L2 cache. A tile of MR x NR sums stays in
** registers. The including file states what is packed and how it is multiplied:
**   P      a packed value: STEP neighbours along the inner dimension k, PV of them in a vector
**   PACKS  an expression in ta and n: is a packed? If not, it is read in place, and P is T
**   MR     rows of a tile
**   DEEP   packed values along k in a block, if a is packed
** and defines (absent values are 0)
**   V multiply_add(const P *a, V b, V sum)
**                     sum + *a times each of the VN packed values b; not needed if the file defines
**                     its own tile() and OWN_TILE
**   V load_along(const T *x, int64_t k)
**                     PV packed values of a row of x that has k T left
**   V load_across(const T *x, int64_t ldx, int64_t n, int64_t k)
**                     the first STEP rows of x: (k, n), one packed value for each of PV columns
**   void turn(V x[PV])
**                     transposes PV vectors of PV packed values
** It gets products().
*/
#ifndef FM_GEMM_BLOCKS_H
#define FM_GEMM_BLOCKS_H

/* Sizes of the blocks of a (packed) and b, which fit the L2 cache together. If a is not packed, the
   blocks of b are twice as deep and half as wide, so that sums are stored less often. */
#define M_BLOCK (16 * MR)
#define N_BLOCK (2048 / (int64_t)sizeof(T))
#define NV (NR / VN) /* vectors across a tile */
#define NR FM_TILE_COLUMNS
#define SLIVER ((MR + PV - 1) / PV * PV) /* rows of a tile, in whole vectors */

static inline V packed_load(const P *p) { return vload((const T *)(const void *)p); }
static inline void packed_store(P *p, V v) { vstore((T *)(void *)p, v); }

/* Like vtake, but n may be negative: beyond the end of a row there are zeros. */
static inline V load_some(const T *p, int64_t n) { return n > 0 ? vtake(p, n) : vset(0); }

static inline V load_along(const T *x, int64_t k);
static inline V load_across(const T *x, int64_t ldx, int64_t n, int64_t k);
static inline void turn(V x[PV]);

/* y = sum or, with `add`, y += sum, of the first n values of a row, n < NR. Tiles at the right edge
   need it; were it inlined into the many tiles, they would take half of the build's time. */
static __attribute__((noinline)) void give_part(const V *sum, int64_t n, bool add, T *y) {
  for (int64_t left = n; left > 0; left -= VN, y += VN, sum++)
    vgive(y, (add ? vtake(y, left) : vset(0)) + *sum, left);
}

/* Likewise of n values, NR at most; the copy keeps the sums of a tile in registers. */
static inline __attribute__((always_inline)) void give_row(const V sum[NV], int64_t n, bool add,
                                                           T *y) {
  V copy[NV];
  for (int j = 0; j < NV; j++) copy[j] = sum[j];
  if (n < NR)
    give_part(copy, n, add, y);
  else
    for (int j = 0; j < NV; j++) vstore(y + j * VN, (add ? vload(y + j * VN) : vset(0)) + sum[j]);
}

#ifdef OWN_TILE
static inline __attribute__((always_inline)) void tile(const int rows, const bool across, int64_t n,
                                                       int64_t depth, const P *a, int64_t lda,
                                                       const P *b, int64_t ldb, bool add, T *y,
                                                       int64_t ldy);
#else

static inline V multiply_add(const P *a, V b, V sum);

/* fm_gemm_tile (gemm.h) on packed values. `rows` and `across` are constants wherever this is
   inlined, so that loops over rows unroll and sums stay in registers. */
static inline __attribute__((always_inline)) void tile(const int rows, const bool across, int64_t n,
                                                       int64_t depth, const P *a, int64_t lda,
                                                       const P *b, int64_t ldb, bool add, T *y,
                                                       int64_t ldy) {
  V sum[MR][NV];
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < NV; j++) sum[i][j] = vset(0);
  if (add) /* prefetch the old values during the products */
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < NV; j++) __builtin_prefetch(y + i * ldy + j * VN, 1);
  for (int64_t p = 0; p < depth; p++, a += across ? lda : 1, b += ldb) {
    V bv[NV];
    for (int j = 0; j < NV; j++) bv[j] = packed_load(b + j * VN);
    for (int i = 0; i < rows; i++)
      for (int j = 0; j < NV; j++)
        sum[i][j] = multiply_add(a + (across ? i : i * lda), bv[j], sum[i][j]);
  }
  for (int i = 0; i < rows; i++, y += ldy) give_row(sum[i], n, add, y);
}

#endif

/* The switch turns the number of rows into a constant. */
static void tile_of(int rows, bool across, int64_t n, int64_t depth, const P *a, int64_t lda,
                    const P *b, int64_t ldb, bool add, T *y, int64_t ldy) {
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
#endif
#if MR > 12
    CASE(13)
    CASE(14)
#endif
  }
#undef CASE
}

/* Values from one packed sliver to the next: one cache line more than a sliver has, so that the
   same row of all slivers does not fall into one cache set. */
static inline int64_t sliver_step(int64_t stride, int64_t depth) { return stride * depth + 64; }

/* Slivers of `unit` columns of x, one after the other, each as rows of `stride` packed values,
   whole vectors, of which the first `unit` count. x: (k, n), or its transpose (n, k), which is
   turned over in squares of PV x PV. */
static inline __attribute__((always_inline)) void pack(bool transposed, int64_t n,
                                                       const int64_t unit, const int64_t stride,
                                                       int64_t k, const T *x, int64_t ldx, P *out) {
  const int64_t depth = (k + STEP - 1) / STEP, step = sliver_step(stride, depth);
  if (!transposed) {
    for (int64_t p = 0; p < k; p += STEP, x += STEP * ldx, out += stride) {
      P *to = out;
      for (int64_t j = 0; j < n; j += unit, to += step)
        for (int64_t v = 0; v < stride; v += PV)
          packed_store(to + v, load_across(x + j + v, ldx, n - j - v, k - p));
    }
    return;
  }
  for (int64_t j = 0; j < n; j += unit, out += step)
    for (int64_t v = 0; v < stride; v += PV)
      for (int64_t p = 0; p < depth; p += PV) {
        V square[PV];
        for (int64_t i = 0; i < PV; i++)
          square[i] =
              j + v + i < n ? load_along(x + (j + v + i) * ldx + p * STEP, k - p * STEP) : vset(0);
        turn(square);
        for (int64_t i = 0; i < PV && i < depth - p; i++)
          packed_store(out + (p + i) * stride + v, square[i]);
      }
}

/* The block of op(x) that starts at (row, column). */
static const T *at(const T *x, int64_t ld, bool transposed, int64_t row, int64_t column) {
  return transposed ? x + column * ld + row : x + row * ld + column;
}

/* y: (m, n) of one block; a: slivers of rows if `packed`, else op(a): (m, depth) in place; b:
   slivers of columns. */
static void block(bool packed, bool ta, int64_t m, int64_t n, int64_t depth, const P *a,
                  int64_t lda, const P *b, bool add, T *y, int64_t ldy) {
  const int64_t step = packed ? sliver_step(SLIVER, depth) : ta ? MR : MR * lda;
  const int64_t ld = packed ? SLIVER : lda;
  for (int64_t j = 0; j < n; j += NR, b += sliver_step(NR, depth)) {
    const P *rows = a;
    for (int64_t i = 0; i < m; i += MR, rows += step)
      tile_of(m - i < MR ? (int)(m - i) : MR, packed || ta, n - j, depth, rows, ld, b, NR, add,
              y + i * ldy + j, ldy);
  }
}

static void products(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,
                     const T *b, int64_t ldb, bool accumulate, T *y, int64_t ldy) {
  enum { A_BLOCK = M_BLOCK / MR * (SLIVER * DEEP + 64) };
  enum { B_BLOCK = N_BLOCK / NR * (NR * DEEP + 64) };
  _Static_assert((A_BLOCK + B_BLOCK) * sizeof(P) <= FM_GEMM_WORKSPACE,
                 "packed blocks of a product");
  P *const a_block = (P *)(void *)fm_gemm_workspace, *const b_block = a_block + A_BLOCK;
  const bool packs = PACKS;
  const int64_t columns = packs ? N_BLOCK : N_BLOCK / 2, most = STEP * (packs ? DEEP : 2 * DEEP);
  if (k == 0 && !accumulate)
    for (int64_t i = 0; i < m; i++) memset(y + i * ldy, 0, (size_t)n * sizeof(T));
  for (int64_t j = 0; j < n; j += columns) {
    int64_t width = n - j < columns ? n - j : columns;
    for (int64_t p = 0; p < k; p += most) {
      int64_t part = k - p < most ? k - p : most, depth = (part + STEP - 1) / STEP;
      pack(tb, width, NR, NR, part, at(b, ldb, tb, p, j), ldb, b_block);
      for (int64_t i = 0; i < m; i += M_BLOCK) {
        int64_t rows = m - i < M_BLOCK ? m - i : M_BLOCK;
        const T *from = at(a, lda, ta, i, p);
        if (packs) pack(!ta, rows, MR, SLIVER, part, from, lda, a_block);
        block(packs, ta, rows, width, depth, packs ? a_block : (const P *)(const void *)from, lda,
              b_block, accumulate || p > 0, y + i * ldy + j, ldy);
      }
    }
  }
}

#endif
