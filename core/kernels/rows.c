/* rows.c - see rows.h. The tails of rows are masked. */
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

static inline void add_wide(VD sum[VDS], V v) {
  VD w[VDS];
  vwiden(v, w);
  for (int k = 0; k < VDS; k++) sum[k] += w[k];
}

/* n <= VN columns, in two chains of additions per column. */
static inline __attribute__((always_inline)) void sum_some(int64_t rows, int64_t run, const T *x,
                                                           const int64_t n, double *sum) {
  VD even[VDS], odd[VDS];
  double lane[VN] = {0};
  memcpy(lane, sum, (size_t)n * sizeof *sum);
  memcpy(even, lane, sizeof lane);
  for (int k = 0; k < VDS; k++) odd[k] = vdset(0);
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2, x += 2 * run) {
    add_wide(even, vtake(x, n));
    add_wide(odd, vtake(x + run, n));
  }
  if (r < rows) add_wide(even, vtake(x, n));
  for (int k = 0; k < VDS; k++) even[k] += odd[k];
  memcpy(lane, even, sizeof lane);
  memcpy(sum, lane, (size_t)n * sizeof *sum);
}

static void sum_columns(int64_t rows, int64_t run, const void *from, double *sum) {
  const T *x = from;
  int64_t i = 0;
  for (; i + VN <= run; i += VN) sum_some(rows, run, x + i, VN, sum + i);
  if (i < run) sum_some(rows, run, x + i, run - i, sum + i);
}

static double sum_row(const T *x, int64_t n) {
  VD a[VDS], b[VDS];
  double lane[VN], rest = 0;
  int64_t i = 0;
  for (int k = 0; k < VDS; k++) a[k] = b[k] = vdset(0);
  for (; i + 2 * VN <= n; i += 2 * VN) {
    add_wide(a, vload(x + i));
    add_wide(b, vload(x + i + VN));
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
  const int64_t filling = 2 * VN;
  if (run < filling && run > 1) /* rows too short to fill a vector */
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
