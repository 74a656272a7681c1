/*
** test_gemm_bf16.c - the matrix product of kernels/gemm_bf16.c, for every instruction set this
** machine has, and with the processor's own bfloat16 instruction where there is one: exact on small
** integers; operands rounded to nearest even, special values included; within the rounding bound of
** sums in double over rounded operands, in all four orientations, with and without accumulation;
** memory between the rows of y is not written; a row's bits do not depend on the other rows; all
** code paths give the same bits, except that of Arm's own instruction, which gives those of a model
** of it.
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

#include "flush.h"
#include "kernels/isa.h"
#include "sparse.h"

#define MOST 1100000
#define GAP 3 /* values between the rows, which must survive */

typedef void (*gemm)(bool, bool, bool, int64_t, int64_t, int64_t, const float *, int64_t,
                     const float *, int64_t, bool, float *, int64_t);
#define DECLARE(isa)                                                                               \
  void fm_gemm_bf16_f32_##isa(bool, bool, bool, int64_t, int64_t, int64_t, const float *, int64_t, \
                              const float *, int64_t, bool, float *, int64_t);
FM_EACH_ISA(DECLARE)

static const struct way {
  const char *name;
  gemm fn;
  int isa;
  bool native, odd; /* odd: sums are rounded to odd */
} ways[] = {
    {"scalar", fm_gemm_bf16_f32_scalar, FM_SCALAR, false},
#if defined(__x86_64__)
    {"avx2", fm_gemm_bf16_f32_avx2, FM_AVX2, false},
    {"avx512", fm_gemm_bf16_f32_avx512, FM_AVX512, false},
    {"avx512_bf16", fm_gemm_bf16_f32_avx512, FM_AVX512, true},
#elif defined(__aarch64__)
    {"neon", fm_gemm_bf16_f32_neon, FM_NEON, false},
    {"neon_bf16", fm_gemm_bf16_f32_neon, FM_NEON, true, true},
#endif
};
#define WAYS (sizeof ways / sizeof *ways)

static bool here(const struct way *w) {
  return fm_set_isa(w->isa) == w->isa && (!w->native || fm_bf16_native());
}

/* (m, n, k): edges of tiles (4, 6, 14 rows; 2, 8, 16, 32 columns), pairs and blocks. */
static const int64_t shapes[][3] = {
    {1, 1, 1},      {1, 33, 5},    {3, 2, 17},     {4, 16, 16},   {6, 31, 9},    {7, 8, 33},
    {13, 15, 7},    {14, 32, 40},  {15, 33, 64},   {29, 47, 255}, {28, 64, 256}, {57, 65, 257},
    {127, 9, 31},   {129, 40, 12}, {225, 130, 70}, {31, 257, 20}, {9, 513, 300}, {5, 7, 0},
    {43, 24, 1025}, {16, 16, 512}, {17, 20, 513},
};

static float a[MOST], b[MOST], y[MOST], before[MOST], first[MOST];

static void fill(float *x, int64_t n) {
  assert_true(n <= MOST);
  for (int64_t i = 0; i < n; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5F;
}

static void fill_integers(float *x, int64_t n) {
  assert_true(n <= MOST);
  for (int64_t i = 0; i < n; i++) x[i] = (float)(rand() % 257 - 128);
}

/* The test's own rounding to nearest even, for finite normal values. */
static double nearest(float x) {
  int e;
  double m = frexp((double)x, &e) * 256; /* 8 bits before the point */
  return ldexp(rint(m), e - 8);
}

/* a + b rounded to odd: truncated, with the last bit set if that changes the value. Finite. */
static float add_odd(float left, float right) {
  const double p = (double)left, q = (double)right, sum = p + q, back = sum - p;
  const double lost = (p - (sum - back)) + (q - back); /* Knuth's two-sum: exact */
  float near = (float)sum;
  if ((double)near == sum && lost == 0) return near;
  const double over = (double)near - sum - lost; /* of use only for its sign */
  if (near > 0 ? over > 0 : over < 0) near = nextafterf(near, 0);
  uint32_t u;
  memcpy(&u, &near, sizeof u);
  u |= 1;
  memcpy(&near, &u, sizeof near);
  return near;
}

/* Value (i, j) of op(a) op(b) as Arm's BFMMLA computes it, in chains of 512 products. */
static float chain_odd(bool ta, bool tb, const int64_t *s, int64_t i, int64_t j, float before_it) {
  const int64_t m = s[0], n = s[1], k = s[2], lda = (ta ? m : k) + 1, ldb = (tb ? k : n) + 2;
  float whole = before_it;
  for (int64_t start = 0; start < k; start += 512) {
    float sum = 0;
    for (int64_t p = start; p < k && p < start + 512; p += 2) {
      float term[2] = {0, 0};
      for (int64_t q = p; q < k && q < p + 2; q++)
        term[q - p] = (float)(nearest(a[ta ? q * lda + i : i * lda + q]) *
                              nearest(b[tb ? j * ldb + q : q * ldb + j]));
      sum = add_odd(sum, add_odd(term[0], term[1]));
    }
    whole += sum;
  }
  return whole;
}

/* y against the chain that rounds to odd, bit by bit, in some of its values. */
static void check_odd(const char *name, bool ta, bool tb, bool add, const int64_t *s) {
  const int64_t m = s[0], n = s[1], k = s[2], ldy = n + GAP;
  for (int64_t i = 0; i < m; i += i < 20 ? 1 : 13)
    for (int64_t j = 0; j < n; j += j < 20 ? 1 : 11) {
      const float want = chain_odd(ta, tb, s, i, j, add ? before[i * ldy + j] : 0);
      if (memcmp(&y[i * ldy + j], &want, sizeof want) != 0)
        fail_msg("%s: ta %d tb %d add %d (%ld, %ld, %ld): y[%ld, %ld] = %a, expected %a", name, ta,
                 tb, add, (long)m, (long)n, (long)k, (long)i, (long)j, (double)y[i * ldy + j],
                 (double)want);
    }
}

/* `exact`: integers; else the values are arbitrary. */
static void check_product(bool exact, bool ta, bool tb, bool add, const int64_t *s) {
  const int64_t m = s[0], n = s[1], k = s[2], ldy = n + GAP;
  const int64_t lda = (ta ? m : k) + 1, ldb = (tb ? k : n) + 2;
  (exact ? fill_integers : fill)(a, (ta ? k : m) * lda);
  (exact ? fill_integers : fill)(b, (tb ? n : k) * ldb);
  (exact ? fill_integers : fill)(before, m * ldy);
  for (size_t w = 0; w < WAYS; w++) {
    if (!here(&ways[w])) continue;
    memcpy(y, before, (size_t)(m * ldy) * sizeof *y);
    ways[w].fn(ways[w].native, ta, tb, m, n, k, a, lda, b, ldb, add, y, ldy);
    if (ways[w].odd) {
      check_odd(ways[w].name, ta, tb, add, s);
    } else if (w > 0) {
      if (memcmp(y, first, (size_t)(m * ldy) * sizeof *y) != 0)
        fail_msg("%s and scalar differ: ta %d tb %d add %d (%ld, %ld, %ld)", ways[w].name, ta, tb,
                 add, (long)m, (long)n, (long)k);
      continue;
    } else
      memcpy(first, y, (size_t)(m * ldy) * sizeof *y);
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < ldy; j++) {
        const int64_t at = i * ldy + j;
        double sum = j >= n || add ? (double)before[at] : 0, size = fabs(sum);
        for (int64_t p = 0; j < n && p < k; p++) {
          double term = nearest(a[ta ? p * lda + i : i * lda + p]) *
                        nearest(b[tb ? j * ldb + p : p * ldb + j]);
          sum += term, size += fabs(term);
        }
        double bound = j < n && !exact ? (double)(k + 1) * FLT_EPSILON * size : 0;
        if (!(fabs((double)y[at] - sum) <= bound))
          fail_msg("ta %d tb %d add %d (%ld, %ld, %ld): y[%ld, %ld] = %.9g, expected %.9g", ta, tb,
                   add, (long)m, (long)n, (long)k, (long)i, (long)j, (double)y[at], sum);
      }
  }
}

static void test_integers(void **state) { /* of sums below 2^24: 1000 128^2 and less */
  (void)state;
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (int bits = 0; bits < 8; bits++)
      if (shapes[s][2] < 1000 && !left_out())
        check_product(true, bits & 1, bits & 2, bits & 4, shapes[s]);
}

static void test_products(void **state) {
  (void)state;
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (int bits = 0; bits < 8; bits++)
      if (!left_out()) check_product(false, bits & 1, bits & 2, bits & 4, shapes[s]);
}

/* One value times 1, in both positions of a pair, as either operand; flush.h as in the core. */
static void test_rounding(void **state) {
  static const struct {
    uint32_t from, to;
  } list[] = {
      {0x3F800000, 0x3F800000}, /* 1 */
      {0x3F808000, 0x3F800000}, /* halfway: to even, down */
      {0x3F818000, 0x3F820000}, /* halfway: to even, up */
      {0x3F808001, 0x3F810000}, /* just above half */
      {0xBF817FFF, 0xBF810000}, /* just below, negative */
      {0x3FFFFFFF, 0x40000000}, /* into the next power */
      {0x7F7FFFFF, 0x7F800000}, /* the largest float: to infinity */
      {0x7F7F7FFF, 0x7F7F0000}, /* the largest that stays finite */
      {0xFF800000, 0xFF800000}, /* -infinity */
      {0x007FFFFF, 0x00000000}, /* below 2^-126 */
      {0x00800000, 0x00800000}, /* 2^-126 */
  };
  (void)state;
  const fm_flush was = fm_flush_begin();
  for (size_t w = 0; w < WAYS; w++)
    for (size_t v = 0; here(&ways[w]) && v < sizeof list / sizeof *list; v++)
      for (int place = 0; place < 4; place++) {
        float x[2] = {0, 0}, one[2] = {0, 0}, got = 5;
        uint32_t bits;
        memcpy(&x[place & 1], &list[v].from, sizeof *x);
        one[place & 1] = 1;
        ways[w].fn(ways[w].native, false, false, 1, 1, 2, place & 2 ? x : one, 2,
                   place & 2 ? one : x, 1, false, &got, 1);
        memcpy(&bits, &got, sizeof bits);
        bool infinite = (list[v].to & 0x7FFFFFFF) == 0x7F800000;
        if (bits != list[v].to)
          fail_msg("%s%s: %08x becomes %08x, expected %08x", ways[w].name,
                   infinite ? " (infinite)" : "", list[v].from, bits, list[v].to);
      }
  fm_flush_end(was);
}

static void test_nan(void **state) {
  (void)state;
  for (size_t w = 0; w < WAYS; w++) {
    const uint32_t quiet[] = {0x7F800001, 0xFFC00000, 0x7FFFFFFF};
    for (size_t v = 0; here(&ways[w]) && v < 3; v++) {
      float x[3] = {1, 2, 3}, one[3] = {1, 1, 1}, got = 5;
      memcpy(&x[v], &quiet[v], sizeof *x);
      ways[w].fn(ways[w].native, false, false, 1, 1, 3, x, 3, one, 1, false, &got, 1);
      if (got == got) fail_msg("%s: a NaN became %g", ways[w].name, (double)got);
    }
  }
}

/* Rows 100..139 alone are, bit for bit, those rows of the whole product. */
static void test_rows_alone(void **state) {
  const int64_t m = 300, n = 300, k = 700, from = 100, rows = 40;
  (void)state;
  fill(a, m * k), fill(b, n * k);
  for (size_t w = 0; w < WAYS; w++)
    for (int ta = 0; here(&ways[w]) && ta < 2; ta++) {
      ways[w].fn(ways[w].native, ta, false, m, n, k, a, ta ? m : k, b, n, false, y, n);
      ways[w].fn(ways[w].native, ta, false, rows, n, k, a + (ta ? from : from * k), ta ? m : k, b,
                 n, false, before, n);
      assert_memory_equal(y + from * n, before, (size_t)(rows * n) * sizeof *y);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_integers),   cmocka_unit_test(test_products),
      cmocka_unit_test(test_rounding),   cmocka_unit_test(test_nan),
      cmocka_unit_test(test_rows_alone),
  };
  return cmocka_run_group_tests_name("gemm_bf16", tests, NULL, NULL);
}
