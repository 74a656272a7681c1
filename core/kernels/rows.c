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

static void sum_columns(int64_t rows, int64_t run, const void *from, void *to) {
  const T *x = from;
  T *y = to;
  int64_t i = 0;
  for (; i + VN <= run; i += VN) {
    V even = vload(x + i), odd = vset(0);
    int64_t r = 1;
    for (; r + 2 <= rows; r += 2) {
      odd += vload(x + r * run + i);
      even += vload(x + (r + 1) * run + i);
    }
    if (r < rows) odd += vload(x + r * run + i);
    vstore(y + i, vload(y + i) + (even + odd));
  }
  if (i == run) return;
  V sum = vset(0);
  for (int64_t r = 0; r < rows; r++) sum += vloadn(x + r * run + i, run - i);
  vstoren(y + i, vloadn(y + i, run - i) + sum, run - i);
}

static T sum_row(const T *x, int64_t n) {
  V a = vset(0), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 4 * VN <= n; i += 4 * VN) {
    a += vload(x + i);
    b += vload(x + i + VN);
    c += vload(x + i + 2 * VN);
    d += vload(x + i + 3 * VN);
  }
  for (; i + VN <= n; i += VN) a += vload(x + i);
  if (i < n) b += vloadn(x + i, n - i);
  return vsum((a + b) + (c + d));
}

static void sum_rows(int64_t rows, int64_t run, const void *from, void *to, int64_t stride) {
  const T *x = from;
  T *y = to;
  for (int64_t r = 0; r < rows; r++) y[r * stride] += sum_row(x + r * run, run);
}

extern const fm_rows FM_FN(rows);
const fm_rows FM_FN(rows) = {tile, spread, sum_columns, sum_rows};

#endif
