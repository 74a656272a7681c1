/*
** test_work.c - the work of compiling grows with the length of a program, not with its square. It
** is counted, not timed: for this test the compiler is built with a call in each basic block.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "numeric.h"
#include "op_names.h"

static int64_t work;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void) { work++; }

/* The work of tracing and compiling n steps x <- x + c_k tanh(x w), each with a constant c_k. */
static int64_t work_of(int n) {
  fm_prog *p = fm_prog_new(ctx);
  fm_val x = fm_input(p, FM_ROWS, SIG(2, 8, 4)), w = fm_input(p, FM_SHARED, SIG(2, 4, 4));
  work = 0;
  for (int k = 0; k < n; k++) {
    fm_tensor *c = zeros(FM_F64, SHAPE(2, 8, 4));
    fm_val y = fm_e1(p, &fm_op_tanh, fm_e2(p, &fm_op_matmul, x, w));
    x = fm_add(p, x, fm_e2(p, &fm_op_mul, fm_const(p, c), y));
    fm_tensor_drop(c);
  }
  assert_int_equal(fm_output(p, x, FM_STACK), FM_OK);
  fm_plans *plans = fm_compile(ctx, 1, &p, &(fm_options){FM_PASS_ALL, NULL, NULL});
  if (plans == NULL) fail_msg("%s", fm_error(ctx));
  fm_plans_free(plans);
  fm_prog_free(p);
  return work;
}

static void test_steps(void **state) {
  (void)state;
  const double few = (double)work_of(1000), many = (double)work_of(8000);
  assert_true(few > 1000);
  if (many > 10 * few) fail_msg("8 times as many steps take %.1f times the work", many / few);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_steps)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
