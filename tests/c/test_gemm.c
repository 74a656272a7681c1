/*
** test_gemm.c - the matrix product of kernels/gemm.c, for every instruction set this machine has:
** against sums in double within the rounding bound |error| <= k eps sum |a| |b|, in all four
** orientations, with and without accumulation, for sizes on both sides of every block's edge;
** memory between the rows of y is not written; a row's bits do not depend on the other rows.
*/
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/isa.h"
#include "sparse.h"

#define MOST 600
#define GAP 3 /* values between the rows, which must survive */

typedef void (*gemm_f32)(bool, bool, int64_t, int64_t, int64_t, const float *, int64_t,
                         const float *, int64_t, bool, float *, int64_t);
typedef void (*gemm_f64)(bool, bool, int64_t, int64_t, int64_t, const double *, int64_t,
                         const double *, int64_t, bool, double *, int64_t);

#define DECLARE(t, type, isa)                                                                      \
  void fm_gemm_##t##_##isa(bool, bool, int64_t, int64_t, int64_t, const type *, int64_t,           \
                           const type *, int64_t, bool, type *, int64_t);
#define DECLARE_BOTH(isa) DECLARE(f32, float, isa) DECLARE(f64, double, isa)
FM_EACH_ISA(DECLARE_BOTH)
#define F32(isa) fm_gemm_f32_##isa,
#define F64(isa) fm_gemm_f64_##isa,
static const gemm_f32 in_f32[] = {FM_EACH_ISA(F32)};
static const gemm_f64 in_f64[] = {FM_EACH_ISA(F64)};

/* (m, n, k): edges of tiles (4, 6, 14 rows; 2, 8, 16, 32 columns) and of blocks (224, 256, 512). */
static const int64_t shapes[][3] = {
    {1, 1, 1},     {1, 33, 5},     {3, 2, 17},     {4, 16, 16},   {6, 31, 9},
    {7, 8, 33},    {13, 15, 7},    {14, 32, 40},   {15, 33, 64},  {29, 47, 255},
    {28, 64, 256}, {57, 65, 257},  {223, 9, 31},   {224, 40, 12}, {225, 34, 70},
    {31, 257, 20}, {231, 300, 19}, {16, 513, 300}, {5, 7, 0},     {43, 24, 600},
};

typedef struct both {
  float f[MOST * MOST];
  double d[MOST * MOST];
} both;

static both a, b, y, before;

static void fill(both *x, size_t n) {
  for (size_t i = 0; i < n; i++) {
    x->f[i] = (float)rand() / (float)RAND_MAX - 0.5F;
    x->d[i] = x->f[i];
  }
}

/* One product in float32 or float64; the first value that is wrong fails the test. */
static void check_product(int isa, bool wide, bool ta, bool tb, bool add, const int64_t *s) {
  const int64_t m = s[0], n = s[1], k = s[2], ldy = n + GAP;
  const int64_t lda = (ta ? m : k) + 1, ldb = (tb ? k : n) + 2;
  fill(&a, (size_t)((ta ? k : m) * lda)), fill(&b, (size_t)((tb ? n : k) * ldb));
  fill(&y, (size_t)(m * ldy));
  before = y;
  if (wide)
    in_f64[isa](ta, tb, m, n, k, a.d, lda, b.d, ldb, add, y.d, ldy);
  else
    in_f32[isa](ta, tb, m, n, k, a.f, lda, b.f, ldb, add, y.f, ldy);
  const double eps = wide ? DBL_EPSILON : FLT_EPSILON;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < ldy; j++) {
      const int64_t at = i * ldy + j;
      double sum = j >= n || add ? before.d[at] : 0, size = fabs(sum);
      for (int64_t p = 0; j < n && p < k; p++) {
        double term = a.d[ta ? p * lda + i : i * lda + p] * b.d[tb ? j * ldb + p : p * ldb + j];
        sum += term, size += fabs(term);
      }
      double got = wide ? y.d[at] : y.f[at], bound = j < n ? (double)(k + 1) * eps * size : 0;
      if (!(fabs(got - sum) <= bound))
        fail_msg("%s %s ta %d tb %d add %d (%ld, %ld, %ld): y[%ld, %ld] = %.9g, expected %.9g",
                 fm_isa_name(isa), wide ? "float64" : "float32", ta, tb, add, (long)m, (long)n,
                 (long)k, (long)i, (long)j, got, sum);
    }
}

static void test_products(void **state) {
  (void)state;
  for (int isa = 0; isa < FM_NISA && fm_set_isa(isa) == isa; isa++)
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
      for (int bits = 0; bits < 16; bits++)
        if (!left_out()) check_product(isa, bits & 1, bits & 2, bits & 4, bits & 8, shapes[s]);
}

/* Rows 100..139 alone are, bit for bit, those rows of the whole product. */
static void test_rows_alone(void **state) {
  (void)state;
  const int64_t m = 300, n = 70, k = 300, first = 100, rows = 40;
  fill(&a, (size_t)(m * k)), fill(&b, (size_t)(n * k));
  for (int isa = 0; isa < FM_NISA && fm_set_isa(isa) == isa; isa++)
    for (int ta = 0; ta < 2; ta++) {
      in_f32[isa](ta, false, m, n, k, a.f, ta ? m : k, b.f, n, false, y.f, n);
      in_f32[isa](ta, false, rows, n, k, a.f + (ta ? first : first * k), ta ? m : k, b.f, n, false,
                  before.f, n);
      assert_memory_equal(y.f + first * n, before.f, (size_t)(rows * n) * sizeof(float));
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_products),
      cmocka_unit_test(test_rows_alone),
  };
  return cmocka_run_group_tests_name("gemm", tests, NULL, NULL);
}
