/*
** blas.h - the interface to OpenBLAS, for matrix products of shapes that the core's own kernel
** (kernels/gemm.c) does not serve, and for eigenproblems.
*/
#ifndef FM_BLAS_H
#define FM_BLAS_H

#include <stdbool.h>
#include <stdint.h>

#include "fm.h"

/*
** Row-major y = op(a) op(b), or y += op(a) op(b) with `accumulate`, where op transposes if ta (tb).
** op(a): (m, k), op(b): (k, n), y: (m, n); lda, ldb, ldy: values from one row to the next. BLAS
** counts in 32 bits: if a size or stride is larger, returns false and does nothing.
*/
bool fm_blas_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a,
                      int64_t lda, const float *b, int64_t ldb, bool accumulate, float *y,
                      int64_t ldy);
bool fm_blas_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const double *a,
                      int64_t lda, const double *b, int64_t ldb, bool accumulate, double *y,
                      int64_t ldy);
/*
** a = v' diag(w) v for a symmetric a: (n, n), with w: (n) ascending; v replaces a, and its row k is
** the eigenvector of w[k]. Scratch: nwork >= 1 + 6n + 2n^2 doubles, niwork >= 3 + 5n ints (LAPACK,
** dsyevd). Returns 0, or LAPACK's code if the iteration did not converge.
*/
int fm_blas_eigh(int64_t n, double *a, double *w, double *work, int64_t nwork, int *iwork,
                 int64_t niwork);
/*
** Load the library, limited to one thread per call because the core's own workers call it
** concurrently. Must be called before the others. Returns NULL, or a sentence about the failure.
*/
const char *fm_blas_init(void);
/*
** Reserve memory for `calls` concurrent calls, before they are made. Returns 0, or the bytes of
** address space that are not available; fm_reserve_calls (ctx.c) fails with FM_ENOMEM in that case.
*/
size_t fm_blas_reserve(int calls);
fm_err fm_reserve_calls(fm_ctx *ctx, int calls);
/* The name of the kernels that the library chose for this processor, e.g. "Cooperlake". */
const char *fm_blas_name(void);

#endif
