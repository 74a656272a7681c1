/* blas.c - OpenBLAS behind two functions. */
#include "blas.h"

#include <cblas.h>
#include <string.h>

void fm_blas_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a,
                      int64_t lda, const float *b, int64_t ldb, bool accumulate, float *y,
                      int64_t ldy) {
  if (m == 0 || n == 0) return;
  if (k == 0) { /* an empty sum; BLAS may leave y as it was */
    if (!accumulate) memset(y, 0, (size_t)(m * n) * sizeof *y);
    return;
  }
  cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
              (blasint)m, (blasint)n, (blasint)k, 1, a, (blasint)lda, b, (blasint)ldb, accumulate,
              y, (blasint)ldy);
}

void fm_blas_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double *a,
                      int64_t lda, const double *b, int64_t ldb, bool accumulate, double *y,
                      int64_t ldy) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!accumulate) memset(y, 0, (size_t)(m * n) * sizeof *y);
    return;
  }
  cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
              (blasint)m, (blasint)n, (blasint)k, 1, a, (blasint)lda, b, (blasint)ldb, accumulate,
              y, (blasint)ldy);
}

void fm_blas_init(void) { openblas_set_num_threads(1); }

const char *fm_blas_name(void) { return openblas_get_corename(); }
