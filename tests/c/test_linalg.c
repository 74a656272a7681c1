/*
** test_linalg.c - eigenvalues and sorting when memory runs out: always FM_ENOMEM, without leaks.
** Their mathematics is tested in tests/lua/test_frechet.lua.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "numeric.h"

static fm_tensor *symmetric(int64_t n) {
  fm_tensor *a = random_tensor(FM_F64, SHAPE(2, n, n), -1, 1, 1);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < i; j++) fm_tensor_set(a, i * n + j, fm_tensor_get(a, j * n + i));
  return a;
}

/* The sum of the eigenvalues is the trace, the sum of their squares that of all values' squares. */
static void test_invariants(void **state) {
  (void)state;
  fm_tensor *a = symmetric(40), *w, *v;
  double trace = 0, sum = 0, all = 0, squares = 0;
  assert_int_equal(fm_eigh(ctx, a, &w, &v), FM_OK);
  for (int64_t i = 0; i < 40; i++) {
    trace += fm_tensor_get(a, 41 * i), sum += fm_tensor_get(w, i);
    squares += fm_tensor_get(w, i) * fm_tensor_get(w, i);
  }
  for (int64_t i = 0; i < 1600; i++) all += fm_tensor_get(a, i) * fm_tensor_get(a, i);
  assert_true(fabs(trace - sum) < 1e-12);
  assert_true(fabs(all - squares) < 1e-12 * all);
  fm_tensor_drop(a), fm_tensor_drop(w), fm_tensor_drop(v);
}

static void test_eigh_without_memory(void **state) {
  (void)state;
  fm_tensor *a = symmetric(30), *w, *v;
  const size_t before = fm_bytes_now(ctx);
  int failed = 0;
  for (long k = 1; k < 100; k++) {
    fm_fail_alloc(ctx, k);
    fm_err err = fm_eigh(ctx, a, &w, &v);
    fm_fail_alloc(ctx, 0);
    if (err == FM_OK) break;
    assert_int_equal(err, FM_ENOMEM);
    assert_true(w == NULL && v == NULL && fm_error(ctx)[0] != 0);
    assert_int_equal(fm_bytes_now(ctx), before);
    fm_error_clear(ctx);
    failed++;
  }
  assert_true(failed >= 4); /* values, vectors, two kinds of scratch */
  fm_tensor_drop(a), fm_tensor_drop(w), fm_tensor_drop(v);
}

static void test_sort_without_memory(void **state) {
  (void)state;
  fm_tensor *x = random_tensor(FM_F32, SHAPE(2, 3, 17), -1, 1, 2), *y = NULL;
  const size_t before = fm_bytes_now(ctx);
  for (long k = 1; y == NULL; k++) {
    assert_true(k < 100);
    assert_int_equal(fm_bytes_now(ctx), before);
    fm_fail_alloc(ctx, k);
    y = fm_sort_rows(ctx, x);
    fm_fail_alloc(ctx, 0);
    assert_int_equal(fm_error_code(ctx), y ? FM_OK : FM_ENOMEM);
    fm_error_clear(ctx);
  }
  for (int64_t i = 0; i < 51; i++)
    assert_true(i % 17 == 0 || fm_tensor_get(y, i - 1) <= fm_tensor_get(y, i));
  fm_tensor_drop(x), fm_tensor_drop(y);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_invariants), TEST(test_eigh_without_memory),
                                     TEST(test_sort_without_memory)};
  return cmocka_run_group_tests_name("linalg", tests, NULL, NULL);
}
