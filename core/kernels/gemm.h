/*
** gemm.h - the matrix product of this instruction set and element type. Row-major;
** y = op(a) op(b), or y += ... with `accumulate`; op transposes where ta, tb say so.
** y: (m, n), op(a): (m, k), op(b): (k, n); lda, ldb, ldy: values from one row to the next.
** Every value of y is one chain of multiply-adds in the order of k, cut at multiples of a block
** that depends on ta and n alone: a row of y does not depend on the other rows, nor on their
** number.
*/
#ifndef FM_GEMM_H
#define FM_GEMM_H

#include <stdbool.h>

#include "simd.h"

void FM_FN(gemm)(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,
                 const T *b, int64_t ldb, bool accumulate, T *y, int64_t ldy);

#endif
