/* blas.c - OpenBLAS behind three functions. */
#include "blas.h"

#include <cblas.h>
#include <string.h>

static bool fits(int64_t a, int64_t b, int64_t c) {
  return a <= INT32_MAX && b <= INT32_MAX && c <= INT32_MAX;
}

/* An empty sum is left to us: BLAS may leave y as it was. */
#define GEMM(name, t, call)                                                                        \
  bool name(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const t *a, int64_t lda,            \
            const t *b, int64_t ldb, bool accumulate, t *y, int64_t ldy) {                         \
    if (m == 0 || n == 0) return true;                                                             \
    if (!fits(m, n, k) || !fits(lda, ldb, ldy)) return false;                                      \
    if (k == 0 && !accumulate)                                                                     \
      for (int64_t i = 0; i < m; i++) memset(y + i * ldy, 0, (size_t)n * sizeof *y);               \
    if (k > 0)                                                                                     \
      call(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,          \
           (blasint)m, (blasint)n, (blasint)k, 1, a, (blasint)lda, b, (blasint)ldb, accumulate, y, \
           (blasint)ldy);                                                                          \
    return true;                                                                                   \
  }
GEMM(fm_blas_gemm_f32, float, cblas_sgemm)
GEMM(fm_blas_gemm_f64, double, cblas_dgemm)

/* Fortran's: every argument by address, and at the end the lengths of the two texts. LAPACKE, which
** would declare it, is not in the library; LAPACK itself is. */
void dsyevd_(const char *jobz, const char *uplo, const blasint *n, double *a, const blasint *lda,
             double *w, double *work, const blasint *lwork, blasint *iwork, const blasint *liwork,
             blasint *info, size_t, size_t);

int fm_blas_eigh(int64_t n, double *a, double *w, double *work, int64_t nwork, int *iwork,
                 int64_t niwork) {
  blasint size = (blasint)n, lwork = (blasint)nwork, liwork = (blasint)niwork, info = 0;
  if (n > 0) dsyevd_("V", "U", &size, a, &size, w, work, &lwork, iwork, &liwork, &info, 1, 1);
  return (int)info;
}

void fm_blas_init(void) { openblas_set_num_threads(1); }

const char *fm_blas_name(void) { return openblas_get_corename(); }
