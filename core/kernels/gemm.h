/*
** gemm.h - the matrix product of this instruction set and element type. Row-major;
** y = op(a) op(b), or y += ... with `accumulate`; op transposes where ta, tb say so.
** y: (m, n), op(a): (m, k), op(b): (k, n); lda, ldb, ldy: values from one row to the next.
** Every value of y is one chain of multiply-adds in the order of k, split at multiples of a block
** size that depends only on ta and n: the bits of a row of y depend neither on other rows nor on
** their number.
*/
#ifndef FM_GEMM_H
#define FM_GEMM_H

#include <stdbool.h>

#include "workspace.h"
#include "simd.h"

void FM_FN(gemm)(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,
                 const T *b, int64_t ldb, bool accumulate, T *y, int64_t ldy);

/*
** The innermost part, for kernels that lay out their operands themselves: one tile y: (rows, n)
** over `depth` products, rows <= FM_TILE_ROWS; only the first n of its FM_TILE_COLUMNS columns are
** written. b: (depth, FM_TILE_COLUMNS), ldb values from row to row. Value (i, p) of a is a[i + p
** lda] (`across`) or a[i lda + p].
*/
#define FM_TILE_COLUMNS (2 * VN)
#if FM_WIDTH == 512 || FM_WIDTH == 128
#define FM_TILE_ROWS 14 /* with two sums each, two vectors of b, one of a: 31 of 32 registers */
#elif FM_WIDTH == 256
#define FM_TILE_ROWS 6 /* 15 of 16 */
#else
#define FM_TILE_ROWS 4
#endif
void FM_FN(gemm_tile)(int rows, bool across, int64_t n, int64_t depth, const T *a, int64_t lda,
                      const T *b, int64_t ldb, bool add, T *y, int64_t ldy);

#endif
