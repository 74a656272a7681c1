/*
** test_sums.c - sums of many values in programs are as accurate as one rounding of the exact sum,
** whatever axes they run over and however the walk is cut into blocks.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/isa.h"
#include "numeric.h"
#include "program/program.h"

#define UNIT 0x1p-24 /* of one rounding to float32 */

/* Where a value of `big` goes in the shape `small`. */
static int64_t target(const fm_shape *big, const fm_shape *small, int64_t at) {
  int64_t to = 0, step = 1;
  for (int k = big->nd - 1; k >= 0; k--) {
    if (small->d[k] > 1) to += at % big->d[k] * step;
    step *= small->d[k];
    at /= big->d[k];
  }
  return to;
}

/* The values, the sums of which over some axes are wanted: half of each, by a pass before. */
static fm_tensor *run_sum(fm_tensor *x, const fm_shape *small, int passes) {
  fm_prog *p = fm_prog_new(ctx);
  fm_sig sig = {x->dtype, x->shape};
  fm_val v = fm_input(p, FM_SHARED, &sig);
  fm_output(p, fm_sum_to(p, fm_scale(p, v, 0.5), small), FM_SUM);
  fm_tensor *y = NULL;
  run_once(p, passes, 1, &x, &y);
  fm_prog_free(p);
  return y;
}

static void check(fm_tensor *x, unsigned summed) {
  fm_shape small = x->shape;
  for (int k = 0; k < small.nd; k++)
    if (summed >> k & 1) small.d[k] = 1;
  fm_tensor *exact = zeros(FM_F64, &small), *size = zeros(FM_F64, &small);
  double *sum = exact->data, *most = size->data;
  for (int64_t i = 0; i < fm_shape_count(&x->shape); i++) {
    int64_t to = target(&x->shape, &small, i);
    sum[to] += 0.5 * fm_tensor_get(x, i);
    most[to] += 0.5 * fabs(fm_tensor_get(x, i));
  }
  for (int fuse = 0; fuse < 2; fuse++) {
    fm_tensor *y = run_sum(x, &small, fuse ? FM_PASS_ALL : FM_PASS_ALL & ~FM_PASS_FUSE);
    for (int64_t i = 0; i < fm_shape_count(&small); i++) {
      double off = fabs(fm_tensor_get(y, i) - sum[i]);
      char a[96], b[96];
      if (!(off <= 1.01 * UNIT * fabs(sum[i]) + 0x1p-50 * most[i]))
        fail_msg("%s: sum %lld of %s to %s is off by %g, of %g", fm_isa_name(fm_isa()),
                 (long long)i, fm_shape_text(&x->shape, a), fm_shape_text(&small, b), off, sum[i]);
    }
    fm_tensor_drop(y);
  }
  fm_tensor_drop(exact);
  fm_tensor_drop(size);
}

static void check_shape(fm_shape shape) {
  int was = fm_isa();
  fm_tensor *same = zeros(FM_F32, &shape);
  for (int64_t i = 0; i < fm_shape_count(&shape); i++) fm_tensor_set(same, i, 0.2);
  fm_tensor *random = random_tensor(FM_F32, &shape, -0.2, 1, 11);
  for (int isa = 0; isa < FM_NISA; isa++)
    for (unsigned summed = 1; fm_set_isa(isa) == isa && summed < 1u << shape.nd; summed++) {
      check(same, summed);
      check(random, summed);
    }
  fm_set_isa(was);
  fm_tensor_drop(same);
  fm_tensor_drop(random);
}

static void test_long(void **state) {
  (void)state;
  check_shape((fm_shape){1, {1 << 18}});
  check_shape((fm_shape){2, {1 << 16, 2}});
  check_shape((fm_shape){2, {3, 65537}});
  check_shape((fm_shape){2, {400, 512}});
  check_shape((fm_shape){2, {211, 700}}); /* rows in two blocks */
}

/* Every combination of axes, with axes of size 1 and with rows that no block is a multiple of. */
static void test_axes(void **state) {
  (void)state;
  check_shape((fm_shape){4, {5, 6, 7, 8}});
  check_shape((fm_shape){4, {3, 37, 1, 11}});
  check_shape((fm_shape){3, {7, 531, 3}});
  check_shape((fm_shape){6, {2, 3, 2, 5, 3, 4}});
  check_shape((fm_shape){2, {1, 1}});
}

/* Sums over an axis without values are zeros; of no sums nothing is written. */
static void test_empty(void **state) {
  (void)state;
  check_shape((fm_shape){2, {0, 5}});
  check_shape((fm_shape){2, {5, 0}});
  check_shape((fm_shape){3, {4, 0, 3}});
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_long), TEST(test_axes), TEST(test_empty)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
