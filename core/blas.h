/*
** blas.h - the one door to the BLAS library. Row-major; y = op(a) op(b), or y += ... with
** `accumulate`. Serves shapes that the core's own kernel (kernels/gemm.c) is not made for. BLAS
** counts in 32 bits: false, and nothing is done, where a size or a step between rows is larger.
*/
#ifndef FM_BLAS_H
#define FM_BLAS_H

#include <stdbool.h>
#include <stdint.h>

#include "fm.h"

bool fm_blas_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a,
                      int64_t lda, const float *b, int64_t ldb, bool accumulate, float *y,
                      int64_t ldy);
bool fm_blas_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double *a,
                      int64_t lda, const double *b, int64_t ldb, bool accumulate, double *y,
                      int64_t ldy);
/*
** a = v' diag(w) v for a symmetric a (n, n): w ascending, row k of v (which replaces a) the vector
** of w[k]. Scratch: nwork >= 1 + 6n + 2n^2 doubles, niwork >= 3 + 5n ints (LAPACK, dsyevd).
** Returns 0, or LAPACK's code of a failure to converge.
*/
int fm_blas_eigh(int64_t n, double *a, double *w, double *work, int64_t nwork, int *iwork,
                 int64_t niwork);
/*
** Loads the library, for one thread per call (the core's own workers run side by side). NULL, or a
** sentence about what is wrong. Comes before all others.
*/
const char *fm_blas_init(void);
/* Memory for as many calls side by side, or FM_ENOMEM; comes before calls, on one thread. */
fm_err fm_blas_reserve(fm_ctx *ctx, int calls);
/* The kernel family that the library chose for this processor, e.g. "Cooperlake". */
const char *fm_blas_name(void);

#endif
