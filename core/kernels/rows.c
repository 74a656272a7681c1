/* rows.c - see rows.h. Ends of rows that are no whole vector are masked. */
#include "rows.h"

#ifndef FM_RULES

#include "simd.h"

static void tile(int64_t rows, int64_t run, const void *from, void *to) {
  const T *x = from;
  T *y = to;
  int64_t i = 0;
  for (; i + VN <= run; i += VN) {
    V v = vload(x + i);
    for (int64_t r = 0; r < rows; r++) vstore(y + r * run + i, v);
  }
  if (i == run) return;
  V v = vloadn(x + i, run - i);
  for (int64_t r = 0; r < rows; r++) vstoren(y + r * run + i, v, run - i);
}

static void spread(int64_t rows, int64_t run, const void *from, int64_t stride, void *to) {
  const T *x = from;
  T *y = to;
  for (int64_t r = 0; r < rows; r++, y += run) {
    V v = vset(x[r * stride]);
    int64_t i = 0;
    for (; i + VN <= run; i += VN) vstore(y + i, v);
    if (i < run) vstoren(y + i, v, run - i);
  }
}

/* Up to VN columns, in two chains of additions per column. */
static inline void sum_some(int64_t rows, int64_t run, const T *x, int64_t n, double *sum) {
  VD even[VDS], odd[VDS], w[VDS];
  double lane[VN];
  for (int k = 0; k < VDS; k++) even[k] = odd[k] = vdset(0);
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2) {
    vwiden(n >= VN ? vload(x + r * run) : vloadn(x + r * run, n), w);
    for (int k = 0; k < VDS; k++) even[k] += w[k];
    vwiden(n >= VN ? vload(x + (r + 1) * run) : vloadn(x + (r + 1) * run, n), w);
    for (int k = 0; k < VDS; k++) odd[k] += w[k];
  }
  if (r < rows) {
    vwiden(n >= VN ? vload(x + r * run) : vloadn(x + r * run, n), w);
    for (int k = 0; k < VDS; k++) even[k] += w[k];
  }
  for (int k = 0; k < VDS; k++) even[k] += odd[k];
  memcpy(lane, even, sizeof lane);
  for (int64_t i = 0; i < n && i < VN; i++) sum[i] += lane[i];
}

static void sum_columns(int64_t rows, int64_t run, const void *from, double *sum) {
  const T *x = from;
  if (rows == 1) { /* a long row, which the compiler turns into vector code */
    for (int64_t i = 0; i < run; i++) sum[i] += (double)x[i];
    return;
  }
  for (int64_t i = 0; i < run; i += VN) sum_some(rows, run, x + i, run - i, sum + i);
}

static double sum_row(const T *x, int64_t n) {
  VD a[VDS], b[VDS], w[VDS];
  double lane[VN], rest = 0;
  int64_t i = 0;
  for (int k = 0; k < VDS; k++) a[k] = b[k] = vdset(0);
  for (; i + 2 * VN <= n; i += 2 * VN) {
    vwiden(vload(x + i), w);
    for (int k = 0; k < VDS; k++) a[k] += w[k];
    vwiden(vload(x + i + VN), w);
    for (int k = 0; k < VDS; k++) b[k] += w[k];
  }
  for (; i < n; i++) rest += (double)x[i];
  for (int k = 0; k < VDS; k++) a[k] += b[k];
  memcpy(lane, a, sizeof lane);
  for (int h = VN / 2; h > 0; h /= 2)
    for (int k = 0; k < h; k++) lane[k] += lane[k + h];
  return lane[0] + rest;
}

static void sum_rows(int64_t rows, int64_t run, const void *from, double *sum, int64_t stride) {
  const T *x = from;
  if (run < 2 * VN && run > 1) /* short rows: no vector is filled */
    for (int64_t r = 0; r < rows; r++, x += run) {
      double even = 0, odd = 0;
      int64_t i = 0;
      for (; i + 2 <= run; i += 2) even += (double)x[i], odd += (double)x[i + 1];
      if (i < run) even += (double)x[i];
      sum[r * stride] += even + odd;
    }
  else
    for (int64_t r = 0; r < rows; r++) sum[r * stride] += sum_row(x + r * run, run);
}

static void settle(int64_t n, double *sum, void *to) {
  T *y = to;
  for (int64_t i = 0; i < n; i++) y[i] = (T)sum[i];
  memset(sum, 0, (size_t)n * sizeof *sum);
}

extern const fm_rows FM_FN(rows);
const fm_rows FM_FN(rows) = {tile, spread, sum_columns, sum_rows, settle};

#endif
