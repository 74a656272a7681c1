/*
** test_rng.c - Philox against its published vectors; values depend only on (seed, stream, step,
** sample, position); with fixed seeds, their distributions are as claimed.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fm.h"

enum { N = 1 << 20 };
static float *f; /* N values, twice */
static double *d;

static int setup(void **state) {
  (void)state;
  f = malloc(2 * N * sizeof *f);
  d = malloc(2 * N * sizeof *d);
  return f == NULL || d == NULL;
}

static int teardown(void **state) {
  (void)state;
  free(f);
  free(d);
  return 0;
}

/* kat_vectors of Random123: philox4x32, 10 rounds. */
static void test_known(void **state) {
  (void)state;
  static const uint32_t kat[][10] = {
      {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
      {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
       0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
      {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
       0x94fdcceb, 0x5001e420, 0x24126ea1}};
  for (int i = 0; i < 3; i++) {
    uint32_t out[4];
    fm_philox(kat[i], kat[i] + 4, out);
    assert_memory_equal(out, kat[i] + 6, sizeof out);
  }
}

/* The layout of the counter is fixed: checkpoints and published runs depend on it. */
static void test_layout(void **state) {
  (void)state;
  const fm_rng r = {0x0123456789abcdefu, 7, 9};
  const int64_t sample = ((int64_t)0x5a << 32) + 0x11223344;
  const uint32_t key[2] = {0x89abcdef, 0x01234567};
  float y[10];
  double z[5];
  fm_rng_uniform(&r, FM_F32, sample, 1, 10, y);
  fm_rng_uniform(&r, FM_F64, sample, 1, 5, z);
  for (uint32_t i = 0; i < 10; i++) {
    const uint32_t counter[4] = {i / 4 | 0x5a000000, 0x11223344, 9, 7};
    uint32_t out[4];
    fm_philox(counter, key, out);
    assert_true(y[i] == (float)(out[i % 4] >> 8) * 0x1p-24f);
    if (i % 2) continue;
    const uint64_t wide = (uint64_t)out[i % 4] << 32 | out[i % 4 + 1];
    assert_true(z[i / 2] == (double)(wide >> 11) * 0x1p-53);
  }
}

/* Bits do not depend on how the rows are grouped. */
static void test_cuts(void **state) {
  (void)state;
  const fm_rng r = {42, 3, 1000};
  const int64_t cols[] = {1, 2, 3, 4, 5, 7, 8, 129, 1030};
  for (int t = FM_F32; t <= FM_F64; t++)
    for (size_t k = 0; k < sizeof cols / sizeof *cols; k++) {
      const int64_t rows = 301, c = cols[k], first = 4294967200; /* crosses 2^32 */
      const size_t row = (size_t)c * fm_dtype_size((fm_dtype)t);
      char *whole = malloc(row * (size_t)rows), *parts = malloc(row * (size_t)rows);
      for (int normal = 0; normal < 2; normal++) {
        (normal ? fm_rng_normal : fm_rng_uniform)(&r, (fm_dtype)t, first, rows, c, whole);
        for (int64_t at = 0, n; at < rows; at += n) {
          n = at % 7 * 9 + 1 < rows - at ? at % 7 * 9 + 1 : rows - at;
          (normal ? fm_rng_normal : fm_rng_uniform)(&r, (fm_dtype)t, first + at, n, c,
                                                    parts + row * (size_t)at);
        }
        assert_memory_equal(whole, parts, row * (size_t)rows);
      }
      free(whole);
      free(parts);
    }
}

/* A row's first values do not depend on how many follow. */
static void test_prefix(void **state) {
  (void)state;
  const fm_rng r = {1, 2, 3};
  float wide[3 * 11], narrow[3 * 5];
  fm_rng_normal(&r, FM_F32, 10, 3, 11, wide);
  fm_rng_normal(&r, FM_F32, 10, 3, 5, narrow);
  for (int i = 0; i < 3; i++) assert_memory_equal(wide + 11 * i, narrow + 5 * i, 5 * sizeof(float));
}

/* A hash of the bits of normal deviates (little-endian), the same on every machine and compiler. */
static void test_same_everywhere(void **state) {
  (void)state;
  const fm_rng r = {2024, 1, 5};
  uint32_t h = 2166136261u; /* FNV-1a */
  fm_rng_normal(&r, FM_F32, 0, 1000, 50, f);
  fm_rng_normal(&r, FM_F64, 0, 1000, 50, d);
  for (int pass = 0; pass < 2; pass++) {
    const unsigned char *p = pass ? (const void *)d : (const void *)f;
    for (size_t i = 0; i < 50000 * (pass ? sizeof *d : sizeof *f); i++) h = (h ^ p[i]) * 16777619u;
  }
  assert_int_equal(h, 0xcc9bd58c);
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* sqrt(n) times the Kolmogorov-Smirnov distance of d[0..n) from a distribution function. */
static double kolmogorov(int n, double (*cdf)(double)) {
  double worst = 0;
  qsort(d, (size_t)n, sizeof *d, ascending);
  for (int i = 0; i < n; i++) {
    const double p = cdf(d[i]);
    worst = fmax(worst, fmax(p - (double)i / n, (double)(i + 1) / n - p));
  }
  return sqrt((double)n) * worst;
}

static double cdf_uniform(double x) { return x; }
static double cdf_normal(double x) { return 0.5 * erfc(-x / sqrt(2)); }

/* Moments within five standard errors, range, and the distribution (1.95: one in a thousand). */
static void check(fm_dtype t, bool normal, int64_t cols) {
  static const double moment_normal[] = {0, 1, 0, 3}, moment_uniform[] = {.5, 1. / 3, .25, .2};
  static const double spread_normal[] = {1, 2, 15, 96};
  static const double spread_uniform[] = {1. / 12, 4. / 45, 9. / 112, 16. / 225};
  const fm_rng r = {12345, 6, 78};
  const int n = 1 << 18;
  (normal ? fm_rng_normal : fm_rng_uniform)(&r, t, 0, n / cols, cols, t == FM_F32 ? (void *)f : d);
  double m[4] = {0};
  for (int i = 0; i < n; i++) {
    if (t == FM_F32) d[i] = (double)f[i];
    assert_true(normal ? fabs(d[i]) < 9 : d[i] >= 0 && d[i] < 1);
    for (int k = 0; k < 4; k++) m[k] += pow(d[i], k + 1) / n;
  }
  for (int k = 0; k < 4; k++) {
    const double spread = normal ? spread_normal[k] : spread_uniform[k];
    assert_true(fabs(m[k] - (normal ? moment_normal : moment_uniform)[k]) < 5 * sqrt(spread / n));
  }
  assert_true(kolmogorov(n, normal ? cdf_normal : cdf_uniform) < 1.95);
}

static void test_distribution(void **state) {
  (void)state;
  for (int t = FM_F32; t <= FM_F64; t++)
    for (int normal = 0; normal < 2; normal++)
      for (int64_t cols = 1; cols <= 64; cols *= 8) check((fm_dtype)t, normal, cols);
}

/* Each of the 24 bits of a value is set half of the time. */
static void test_bits(void **state) {
  (void)state;
  const fm_rng r = {99, 0, 0};
  int count[24] = {0};
  fm_rng_uniform(&r, FM_F32, 0, N / 4, 4, f);
  for (int i = 0; i < N; i++)
    for (int b = 0; b < 24; b++) count[b] += (int)((uint32_t)(f[i] * 0x1p24f) >> b & 1);
  for (int b = 0; b < 24; b++) assert_true(abs(count[b] - N / 2) < 5 * 512); /* sd 512 */
}

static double correlation(const float *a, const float *b, int n) {
  double s = 0;
  for (int i = 0; i < n; i++) s += (double)a[i] * (double)b[i];
  return s / sqrt((double)n); /* standard normal if independent */
}

/* Neighbours in seed, stream, step, sample and position are uncorrelated. */
static void test_independence(void **state) {
  (void)state;
  static const fm_rng pair[][2] = {{{1, 1, 1}, {2, 1, 1}}, {{1, 1, 1}, {1u + (1ull << 32), 1, 1}},
                                   {{1, 1, 1}, {1, 2, 1}}, {{1, 1, 1}, {1, 1, 2}},
                                   {{1, 1, 2}, {1, 2, 1}}, {{0, 0, 1}, {1, 0, 0}}};
  for (size_t k = 0; k < sizeof pair / sizeof *pair; k++)
    for (int64_t cols = 1; cols <= 16; cols *= 4) {
      const int n = N / 4;
      fm_rng_normal(&pair[k][0], FM_F32, 0, n / cols, cols, f);
      fm_rng_normal(&pair[k][1], FM_F32, 0, n / cols, cols, f + n);
      assert_true(fabs(correlation(f, f + n, n)) < 4.5);
      for (int lag = 1; lag <= 17; lag++) assert_true(fabs(correlation(f, f + lag, n - lag)) < 4.5);
    }
}

/* Blocks of neighbouring streams, steps and far samples: 2^18 distinct values of 53 bits. */
static void test_distinct(void **state) {
  (void)state;
  int n = 0;
  for (uint32_t stream = 0; stream < 16; stream++)
    for (uint32_t step = 0; step < 16; step++) {
      const fm_rng r = {5, stream << 28, step << 20};
      fm_rng_uniform(&r, FM_F64, (int64_t)step << 34, 256, 4, d + n);
      n += 1024;
    }
  qsort(d, (size_t)n, sizeof *d, ascending);
  for (int i = 1; i < n; i++) assert_true(d[i] > d[i - 1]);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_known),
                                     cmocka_unit_test(test_layout),
                                     cmocka_unit_test(test_cuts),
                                     cmocka_unit_test(test_prefix),
                                     cmocka_unit_test(test_same_everywhere),
                                     cmocka_unit_test(test_distribution),
                                     cmocka_unit_test(test_bits),
                                     cmocka_unit_test(test_independence),
                                     cmocka_unit_test(test_distinct)};
  return cmocka_run_group_tests_name("rng", tests, setup, teardown);
}
