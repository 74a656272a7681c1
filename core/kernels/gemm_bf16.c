/*
** gemm_bf16.c - the matrix product with operands rounded to bfloat16. On processors that multiply
** several of them at a time, both operands are packed as neighbours along k: pairs for AVX512_BF16
** (twice the multiply-adds of float32 per instruction), fours for FEAT_BF16 of Arm (four times).
** Elsewhere the kernel of gemm.c gets rounded copies with neighbours swapped.
*/
#ifdef FM_RULES

typedef int fm_no_rules; /* no rules here; C requires a declaration in every file */

#else

#include "gemm_bf16.h"

#if FM_BITS == 32

#include "gemm.h"

/* ------------------------------------------------------------------ AVX512_BF16 */
#ifdef __AVX512BF16__
#define NATIVE

typedef uint32_t P; /* two neighbours, the first in the lower half */
#define STEP 2
#define PV VN
#define PACKS true
#define MR FM_TILE_ROWS
#define DEEP 256
#include "gemm_blocks.h"

static inline V multiply_add(const P *a, V b, V sum) {
  return (V)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)*a), (__m512bh)b);
}

/* VN values of each operand, rounded; those of a come first. */
static inline __m512i rounded(V a, V b) {
  return (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
}

static inline V load_along(const T *x, int64_t k) {
  return (V)rounded(load_some(x, k), load_some(x + VN, k - VN));
}

static inline V load_across(const T *x, int64_t ldx, int64_t n, int64_t k) {
  static const uint16_t zip[2 * VN] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                       21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                       11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i both = rounded(load_some(x, n), k > 1 ? load_some(x + ldx, n) : vset(0));
  return (V)_mm512_permutexvar_epi16(_mm512_loadu_si512(zip), both);
}

static inline void turn(V x[VN]) { vtranspose(x); }

/* ------------------------------------------------------------------ FEAT_BF16 of Arm */
#elif defined __ARM_FEATURE_BF16_VECTOR_ARITHMETIC
#define NATIVE

typedef uint64_t P; /* four neighbours, the first in the lowest bits */
#define STEP 4
#define PV (VN / 2)
#define PACKS true
#define MR 12 /* with 24 sums of 2 x 2, four vectors of b, one of a: 29 of 32 registers */
#define DEEP 128
#define OWN_TILE
#include "gemm_blocks.h"

/* sum: (2, 2) += a b', a, b: (2, 4) */
static inline V multiply_square(V a, V b, V sum) {
  __asm__("bfmmla %0.4s, %1.8h, %2.8h" : "+w"(sum) : "w"(a), "w"(b));
  return sum;
}

static inline __attribute__((always_inline)) void tile(const int rows, const bool across, int64_t n,
                                                       int64_t depth, const P *a, int64_t lda,
                                                       const P *b, int64_t ldb, bool add, T *y,
                                                       int64_t ldy) {
  const int pairs = (rows + 1) / 2; /* the row after an odd last one is zeros */
  V sum[MR / 2][NR / 2];
  (void)across;
  for (int i = 0; i < pairs; i++)
    for (int j = 0; j < NR / 2; j++) sum[i][j] = vset(0);
  for (int64_t p = 0; p < depth; p++, a += lda, b += ldb) {
    V bv[NR / 2];
    for (int j = 0; j < NR / 2; j++) bv[j] = packed_load(b + 2 * j);
    for (int i = 0; i < pairs; i++) {
      const V av = packed_load(a + 2 * i);
      for (int j = 0; j < NR / 2; j++) sum[i][j] = multiply_square(av, bv[j], sum[i][j]);
    }
  }
  for (int i = 0; i < rows; i++, y += ldy) {
    V row[NV];
    for (int j = 0; j < NV; j++) {
      const V left = sum[i / 2][2 * j], right = sum[i / 2][2 * j + 1];
      row[j] = i % 2 ? __builtin_shufflevector(left, right, 2, 3, 6, 7)
                     : __builtin_shufflevector(left, right, 0, 1, 4, 5);
    }
    give_row(row, n, add, y);
  }
}

/* Four values of each operand, rounded; those of a come first. */
static inline V rounded(V a, V b) { return (V)vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(a), b); }

static inline V load_along(const T *x, int64_t k) {
  return rounded(load_some(x, k), load_some(x + VN, k - VN));
}

static inline V load_across(const T *x, int64_t ldx, int64_t n, int64_t k) {
  V row[STEP];
  for (int i = 0; i < STEP; i++) row[i] = i < k ? vloadn(x + i * ldx, n < PV ? n : PV) : vset(0);
  const V top = FM_ZIP(row[0], row[1], 0), bottom = FM_ZIP(row[2], row[3], 0);
  return rounded(__builtin_shufflevector(top, bottom, 0, 1, 4, 5),
                 __builtin_shufflevector(top, bottom, 2, 3, 6, 7));
}

static inline void turn(V x[PV]) {
  const V first = x[0];
  x[0] = __builtin_shufflevector(first, x[1], 0, 1, 4, 5);
  x[1] = __builtin_shufflevector(first, x[1], 2, 3, 6, 7);
}

#endif
/* ------------------------------------------------------------------ emulated in float32 */

/* Where the native kernel splits k as well; gemm() does not split COLUMNS or fewer. */
#define DEPTH 512
#define ROWS 128
#define COLUMNS 256

/* Round to bfloat16, to nearest even, like vcvtne2ps2bf16: values below 2^-126 become 0. */
static inline T round_bf16(T x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  u = (u & 0x7F800000) == 0 ? u & 0x80000000 : u;
  u = (u & 0x7FFFFFFF) > 0x7F800000 ? u | 0x400000 : u + 0x7FFF + (u >> 16 & 1);
  u &= 0xFFFF0000;
  memcpy(&x, &u, sizeof x);
  return x;
}

/* out: (m, n) <- x rounded, with rows (`down`) or columns swapped pairwise: the first two, the next
   two, and so on; the neighbour of an odd last one is 0. */
static void copy_rounded(bool down, int64_t m, int64_t n, const T *x, int64_t ldx, T *out,
                         int64_t ld) {
  if (down && m % 2) memset(out + (m - 1) * ld, 0, (size_t)n * sizeof(T));
  for (int64_t i = 0; i < m; i++, x += ldx) {
    T *to = out + (down ? i ^ 1 : i) * ld;
    if (down)
      for (int64_t j = 0; j < n; j++) to[j] = round_bf16(x[j]);
    else
      for (int64_t j = 0; j < n; j += 2)
        to[j] = j + 1 < n ? round_bf16(x[j + 1]) : 0, to[j + 1] = round_bf16(x[j]);
  }
}

static void emulated(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,
                     const T *b, int64_t ldb, bool accumulate, T *y, int64_t ldy) {
  static _Thread_local T a_block[ROWS * DEPTH], b_block[DEPTH * COLUMNS];
  if (k == 0) FM_FN(gemm)(ta, tb, m, n, k, a, lda, b, ldb, accumulate, y, ldy);
  for (int64_t p = 0; p < k; p += DEPTH)
    for (int64_t j = 0; j < n; j += COLUMNS) {
      int64_t part = k - p < DEPTH ? k - p : DEPTH, depth = part + part % 2;
      int64_t width = n - j < COLUMNS ? n - j : COLUMNS, ldb_block = tb ? depth : width;
      copy_rounded(!tb, tb ? width : part, tb ? part : width, b + (tb ? j * ldb + p : p * ldb + j),
                   ldb, b_block, ldb_block);
      for (int64_t i = 0; i < m; i += ROWS) {
        int64_t rows = m - i < ROWS ? m - i : ROWS, lda_block = ta ? rows : depth;
        copy_rounded(ta, ta ? part : rows, ta ? rows : part, a + (ta ? p * lda + i : i * lda + p),
                     lda, a_block, lda_block);
        FM_FN(gemm)
        (ta, tb, rows, width, depth, a_block, lda_block, b_block, ldb_block, accumulate || p > 0,
         y + i * ldy + j, ldy);
      }
    }
}

void FM_FN(gemm_bf16)(bool native, bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T *a,
                      int64_t lda, const T *b, int64_t ldb, bool accumulate, T *y, int64_t ldy) {
#ifdef NATIVE
  if (native) {
    products(ta, tb, m, n, k, a, lda, b, ldb, accumulate, y, ldy);
    return;
  }
#endif
  (void)native;
  emulated(ta, tb, m, n, k, a, lda, b, ldb, accumulate, y, ldy);
}

#endif
#endif
