/*
** rows.h - what fused passes do beside elementwise operations: broadcast smaller operands and add
** up. A block is `rows` rows of `run` values. Compiled per instruction set and dtype. Sums are
** accumulated in double, so that their error does not grow with their length.
*/
#ifndef FM_KERNELS_ROWS_H
#define FM_KERNELS_ROWS_H

#include <stdint.h>

typedef struct fm_rows {
  /* y[r][i] = x[i] */
  void (*tile)(int64_t rows, int64_t run, const void *x, void *y);
  /* y[r][i] = x[r stride] */
  void (*spread)(int64_t rows, int64_t run, const void *x, int64_t stride, void *y);
  /* sum[i] += sum over r of x[r][i] */
  void (*sum_columns)(int64_t rows, int64_t run, const void *x, double *sum);
  /* sum[r stride] += sum over i of x[r][i], in a fixed tree */
  void (*sum_rows)(int64_t rows, int64_t run, const void *x, double *sum, int64_t stride);
  /* y[i] = sum[i], rounded once; the sums are reset to 0 */
  void (*settle)(int64_t n, double *sum, void *y);
} fm_rows;

#endif
