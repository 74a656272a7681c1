/*
** gemm.c - the matrix product in float32 or float64. The operand a is not packed where packing
** costs more than it gains (measured: if its rows are contiguous, or y has few columns).
*/
#ifdef FM_RULES

typedef int fm_no_rules; /* no rules here; C requires a declaration in every file */

#else

#include "gemm.h"

typedef T P;
#define STEP 1
#define PV VN
#define MR FM_TILE_ROWS
#define DEEP 256
#define PACKS (ta && n > N_BLOCK / 2)
#include "gemm_blocks.h"

static inline V multiply_add(const P *a, V b, V sum) { return vfma1(*a, b, sum); }

static inline V load_along(const T *x, int64_t k) { return load_some(x, k); }

static inline V load_across(const T *x, int64_t ldx, int64_t n, int64_t k) {
  (void)ldx, (void)k;
  return load_some(x, n);
}

static inline void turn(V x[VN]) { vtranspose(x); }

void FM_FN(gemm)(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,
                 const T *b, int64_t ldb, bool accumulate, T *y, int64_t ldy) {
  products(ta, tb, m, n, k, a, lda, b, ldb, accumulate, y, ldy);
}

void FM_FN(gemm_tile)(int rows, bool across, int64_t n, int64_t depth, const T *a, int64_t lda,
                      const T *b, int64_t ldb, bool add, T *y, int64_t ldy) {
  tile_of(rows, across, n, depth, a, lda, b, ldb, add, y, ldy);
}

#endif
