/*
** test_assignment.c - optimal assignments against all permutations and against the sorted order,
** with ties and with costs that are not finite; for every instruction set, in both precisions.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/isa.h"
#include "numeric.h"

enum { MOST = 128 };

static double cost_at(const fm_tensor *c, int64_t n, int64_t i, int64_t j) {
  return fm_tensor_get(c, i * n + j);
}

/* The sum of an assignment's costs, which must take each column once. */
static double checked_sum(const fm_tensor *c, const fm_tensor *y, int64_t n) {
  bool taken[MOST] = {false};
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    const int64_t j = (int64_t)fm_tensor_get(y, i);
    assert_true(j >= 0 && j < n && !taken[j]);
    taken[j] = true;
    sum += cost_at(c, n, i, j);
  }
  return sum;
}

/* The least sum over all permutations of the columns from row i on. */
static double least(const fm_tensor *c, int64_t n, int64_t i, unsigned taken) {
  double best = i == n ? 0 : INFINITY;
  for (int64_t j = 0; j < n && i < n; j++)
    if (!(taken >> j & 1)) {
      const double sum = cost_at(c, n, i, j) + least(c, n, i + 1, taken | 1u << j);
      if (sum < best) best = sum;
    }
  return best;
}

static fm_tensor *assigned(fm_tensor *c) { return apply("assignment", 1, &c, (fm_attr){{0}, {0}}); }

/* Whole numbers from 0 to 3 have many ties. */
static fm_tensor *costs(fm_dtype dtype, int64_t n, bool whole, uint64_t seed) {
  fm_tensor *c = random_tensor(dtype, SHAPE(2, n, n), whole ? 0 : -1, whole ? 4 : 1, seed);
  for (int64_t k = 0; whole && k < n * n; k++) fm_tensor_set(c, k, floor(fm_tensor_get(c, k)));
  return c;
}

static void test_all_permutations(void **state) {
  (void)state;
  const int was = fm_isa();
  for (int isa = 0; isa < FM_NISA && fm_set_isa(isa) == isa; isa++)
    for (int d = 0; d < 2; d++)
      for (int64_t n = 0; n <= 6; n++)
        for (int trial = 0; trial < 12; trial++) {
          fm_tensor *c = costs((fm_dtype)d, n, trial % 2, (uint64_t)(100 * n + trial));
          fm_tensor *y = assigned(c);
          const double error = fabs(checked_sum(c, y, n) - least(c, n, 0, 0));
          assert_within(error, 1e-6, "assignment", (int)n);
          fm_tensor_drop(y);
          fm_tensor_drop(c);
        }
  fm_set_isa(was);
}

static void test_seven(void **state) {
  (void)state;
  fm_tensor *c = costs(FM_F64, 7, false, 3), *y = assigned(c);
  assert_within(fabs(checked_sum(c, y, 7) - least(c, 7, 0, 0)), 1e-12, "assignment", 7);
  fm_tensor_drop(y);
  fm_tensor_drop(c);
}

/* On a line, squared distances pair the k-th smallest with the k-th smallest. */
static void test_sorted(void **state) {
  (void)state;
  fm_tensor *a = random_tensor(FM_F64, SHAPE(1, MOST), -1, 1, 1);
  fm_tensor *b = random_tensor(FM_F64, SHAPE(1, MOST), 2, 5, 2);
  fm_tensor *c = random_tensor(FM_F64, SHAPE(2, MOST, MOST), 0, 1, 3);
  double identity = 0;
  for (int64_t i = 0; i < MOST; i++)
    for (int64_t j = 0; j < MOST; j++) {
      const double gap = fm_tensor_get(a, i) - fm_tensor_get(b, j);
      fm_tensor_set(c, i * MOST + j, gap * gap);
      if (i == j) identity += gap * gap;
    }
  fm_tensor *y = assigned(c);
  assert_true(checked_sum(c, y, MOST) < identity);
  for (int64_t i = 0; i < MOST; i++) {
    int below = 0, under = 0;
    const double to = fm_tensor_get(b, (int64_t)fm_tensor_get(y, i));
    for (int64_t k = 0; k < MOST; k++) {
      below += fm_tensor_get(a, k) < fm_tensor_get(a, i);
      under += fm_tensor_get(b, k) < to;
    }
    assert_int_equal(below, under);
  }
  fm_tensor *all[] = {a, b, c, y};
  for (int k = 0; k < 4; k++) fm_tensor_drop(all[k]);
}

/* Equal costs give the identity, and so does a cost that is not finite, wherever it is. */
static void test_identity(void **state) {
  (void)state;
  const double strange[] = {0, NAN, INFINITY, -INFINITY};
  for (int d = 0; d < 2; d++)
    for (int k = 0; k < 4; k++)
      for (int64_t at = 0; at < 9; at++) {
        fm_tensor *c = random_tensor((fm_dtype)d, SHAPE(2, 3, 3), k ? -1 : 2, k ? 1 : 2, 5);
        if (k) fm_tensor_set(c, at, strange[k]);
        fm_tensor *y = assigned(c);
        for (int64_t i = 0; i < 3; i++) assert_true(fm_tensor_get(y, i) == (double)i);
        fm_tensor_drop(y);
        fm_tensor_drop(c);
      }
}

/* Reduced costs of the second row overflow: the search ends, with the identity. */
static void test_huge(void **state) {
  (void)state;
  fm_tensor *c = random_tensor(FM_F64, SHAPE(2, 2, 2), -1, 1, 7);
  for (int64_t k = 0; k < 4; k++) fm_tensor_set(c, k, k < 2 ? -1.7e308 : 1.7e308);
  fm_tensor *y = assigned(c);
  for (int64_t i = 0; i < 2; i++) assert_true(fm_tensor_get(y, i) == (double)i);
  fm_tensor_drop(y);
  fm_tensor_drop(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_all_permutations), TEST(test_seven),
                                     TEST(test_sorted), TEST(test_identity), TEST(test_huge)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
