/*
** test_sums.c - sums of many values in programs are as accurate as one rounding of the exact sum,
** for all axes and all divisions into blocks.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/isa.h"
#include "numeric.h"
#include "op_names.h"
#include "program/program.h"

#define UNIT 0x1p-24 /* of one rounding to float32 */

/* The position in the shape `small` to which a value of `big` is added. */
static int64_t target(const fm_shape *big, const fm_shape *small, int64_t at) {
  int64_t to = 0, step = 1;
  for (int k = big->nd - 1; k >= 0; k--) {
    if (small->d[k] > 1) to += at % big->d[k] * step;
    step *= small->d[k];
    at /= big->d[k];
  }
  return to;
}

/* The values to be summed: half of each input, computed by an earlier operation. */
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

/* Every combination of axes, with axes of size 1 and row lengths that do not divide a block. */
static void test_axes(void **state) {
  (void)state;
  check_shape((fm_shape){4, {5, 6, 7, 8}});
  check_shape((fm_shape){4, {3, 37, 1, 11}});
  check_shape((fm_shape){3, {7, 531, 3}});
  check_shape((fm_shape){6, {2, 3, 2, 5, 3, 4}});
  check_shape((fm_shape){2, {1, 1}});
}

/* Sums over an axis without values are zeros; an empty result is not written. */
static void test_empty(void **state) {
  (void)state;
  check_shape((fm_shape){2, {0, 5}});
  check_shape((fm_shape){2, {5, 0}});
  check_shape((fm_shape){3, {4, 0, 3}});
}

/* ------------------------------------------------------------------ sums over micro-batches */

enum { WIDE = 7, MICRO = 5, MOST = 41 };

/* Two sums over the rows of a micro-batch: one that a product computes in place, which can add to
** it, and one of a fused pass; and one without values. */
static fm_prog *two_sums(void) {
  fm_prog *p = fm_prog_new(ctx);
  fm_val x = fm_input(p, FM_ROWS, &(fm_sig){FM_F32, {2, {MICRO, WIDE}}});
  fm_output(p, fm_matmul(p, fm_e1(p, &fm_op_sin, x), x, true, false), FM_SUM);
  fm_output(p, fm_sum_to(p, fm_e1(p, &fm_op_sin, x), &(fm_shape){2, {1, WIDE}}), FM_SUM);
  fm_output(p, fm_sum_to(p, fm_slice(p, x, 1, 0, 0), &(fm_shape){2, {1, 0}}), FM_SUM);
  return p;
}

/* Micro-batches from .. to - 1 of x. */
static void run_part(fm_tensor *x, int from, int to, int passes, fm_tensor *out[3]) {
  int which[MOST] = {0};
  int64_t row0[MOST + 1];
  for (int k = 0; k <= to - from; k++) row0[k] = k * MICRO;
  fm_prog *p = two_sums();
  fm_exe *e = fm_exe_new(ctx, 1, &p, &(fm_micro_batches){to - from, which, row0}, passes);
  fm_tensor part = *x, *in = &part;
  part.shape.d[0] = (to - from) * MICRO;
  part.bytes = (size_t)(to - from) * MICRO * WIDE * sizeof(float);
  part.data = (float *)x->data + from * MICRO * WIDE;
  make_outputs(e, out);
  assert_int_equal(fm_exe_run(e, &(fm_job){.in = &in, .out = out}), FM_OK);
  fm_exe_free(e);
  fm_prog_free(p);
}

/* The same by the definition: the sum of `size` micro-batches from `from` on, of n, is that of the
** lower half of a power of two plus that of the rest; a leaf is run alone. */
static void add_up(fm_tensor *x, int from, int size, int n, int passes, fm_tensor *out[3]) {
  fm_tensor *high[3];
  int leaf = passes & FM_SCARCE ? 2 : 1, half = size / 2;
  if (size == leaf) {
    run_part(x, from, from + size < n ? from + size : n, passes, out);
    return;
  }
  add_up(x, from, half, n, passes, out);
  if (from + half >= n) return;
  add_up(x, from + half, half, n, passes, high);
  for (int k = 0; k < 2; k++)
    for (int64_t i = 0; i < fm_shape_count(&out[k]->shape); i++)
      ((float *)out[k]->data)[i] += ((float *)high[k]->data)[i];
  drop_all(3, high);
}

static void test_tree(void **state) {
  (void)state;
  fm_tensor *x = random_tensor(FM_F32, &(fm_shape){2, {MOST * MICRO, WIDE}}, -1, 1, 3);
  for (int n = 1; n <= MOST; n++)
    for (int scarce = 0; scarce < 2; scarce++) {
      int passes = FM_PASS_ALL | (scarce ? FM_SCARCE : 0);
      fm_tensor *want[3], *out[3];
      add_up(x, 0, 64, n, passes, want);
      for (int threads = 1; threads <= 5; threads += 2) {
        assert_int_equal(fm_set_threads(ctx, threads), FM_OK);
        run_part(x, 0, n, passes, out);
        for (int k = 0; k < 2; k++) assert_memory_equal(out[k]->data, want[k]->data, out[k]->bytes);
        drop_all(3, out);
      }
      drop_all(3, want);
    }
  fm_tensor_drop(x);
}

/* ------------------------------------------------------------------ sums inside operations */

enum { MANY = 1 << 18 };

/* Equal values: the rounding errors of a running sum then all have the same sign. */
static fm_tensor *repeated(fm_dtype dtype, fm_shape shape, double a, double b) {
  fm_tensor *t = zeros(dtype, &shape);
  for (int64_t i = 0; i < fm_shape_count(&shape); i++)
    fm_tensor_set(t, i, (double)(float)(i % 2 ? b : a));
  return t;
}

typedef struct trial {
  const char *name;
  fm_attr attr;
  int nin;
  fm_shape shape[3];
  double a[3], b[3]; /* values of the operands at even and at odd places */
  double bound;      /* relative to the largest value */
} trial;

static const trial trials[] = {
    {"softmax", {{0}, {0}}, 1, {{2, {2, MANY + 1}}}, {0.3}, {0}, 3e-6},
    {"softmax_d", {{0}, {0}}, 2, {{1, {MANY}}, {1, {MANY}}}, {0.3, 0.7}, {0.3, 0.2}, 3e-6},
    {"normalize", {{0}, {0}}, 1, {{2, {3, MANY + 5}}}, {0.3}, {0.7}, 3e-6},
    {"normalize_d", {{0}, {0}}, 2, {{1, {MANY}}, {1, {MANY}}}, {0.3, 0.7}, {0.3, 0.1}, 1e-5},
    {"normalize_dd",
     {{0}, {0}},
     3,
     {{1, {MANY}}, {1, {MANY}}, {1, {MANY}}},
     {0.3, 0.7, 0.2},
     {0.3, 0.1, 0.9},
     2e-5},
    {"scatter", {{1}, {0}}, 2, {{2, {MANY, 2}}, {1, {MANY}}}, {0.1, 0}, {0.3, 0}, 1e-7},
    {"scatter", {{300000}, {0}}, 2, {{2, {MANY, 1}}, {1, {MANY}}}, {0.1, 0}, {0.3, 299999}, 1e-7},
    {"avg_pool", {{512, 0, 0, 0}, {0}}, 1, {{4, {1, 512, 512, 1}}}, {0.1}, {0.1}, 3e-6},
    {"resize_bilinear_t", {{1, 2, 1}, {0}}, 1, {{4, {1, 512, 512, 2}}}, {0.1}, {0.3}, 1e-6},
    {"matmul", {{0}, {0}}, 2, {{2, {3, MANY}}, {2, {MANY, 1}}}, {0.1, 0.3}, {0.1, 0.3}, 5e-6},
    {"matmul", {{0}, {0}}, 2, {{2, {3, MANY}}, {2, {MANY, 9}}}, {0.1, 0.3}, {0.1, 0.3}, 5e-6},
    {"matmul", {{1, 1}, {0}}, 2, {{2, {MANY, 3}}, {2, {9, MANY}}}, {0.1, 0.3}, {0.1, 0.3}, 5e-6},
    {"conv_w",
     {{1, 0, 0, 1, 1}, {0}},
     2,
     {{4, {1, 512, 512, 1}}, {4, {1, 512, 512, 1}}},
     {0.1, 0.3},
     {0.1, 0.3},
     5e-6},
    {"winograd_w",
     {{0}, {0}},
     2,
     {{4, {1, 1024, 1024, 1}}, {4, {1, 1024, 1024, 1}}},
     {0.1, 0.3},
     {0.1, 0.3},
     5e-6},
};

/* In float32 against float64. */
static void try_operation(const trial *t) {
  fm_tensor *x[2][3], *y[2];
  for (int dtype = FM_F32; dtype <= FM_F64; dtype++) {
    for (int k = 0; k < t->nin; k++)
      x[dtype][k] = repeated((fm_dtype)dtype, t->shape[k], t->a[k], t->b[k]);
    y[dtype] = apply(t->name, t->nin, x[dtype], t->attr);
    drop_all(t->nin, x[dtype]);
  }
  double most = 0, off = 0;
  for (int64_t i = 0; i < fm_shape_count(&y[0]->shape); i++) {
    most = fmax(most, fabs(fm_tensor_get(y[1], i)));
    const double d = fabs(fm_tensor_get(y[0], i) - fm_tensor_get(y[1], i));
    off = d <= off || isnan(off) ? off : d; /* keeps a NaN */
  }
  if (!(off <= t->bound * most))
    fail_msg("%s %s: off by %g of %g, bound %g", fm_isa_name(fm_isa()), t->name, off / most, most,
             t->bound);
  drop_all(2, y);
}

static void test_operations(void **state) {
  (void)state;
  int was = fm_isa();
  for (int isa = 0; isa < FM_NISA; isa++)
    for (size_t k = 0; fm_set_isa(isa) == isa && k < sizeof trials / sizeof *trials; k++)
      try_operation(&trials[k]);
  fm_set_isa(was);
}

/* ------------------------------------------------------------------ sums over micro-batches */

/* Two runs of one executable: the second must also start from zero. */
static void check_micro_batches(int micro, int passes) {
  int *which = calloc((size_t)micro, sizeof *which);
  int64_t *row0 = calloc((size_t)micro + 1, sizeof *row0);
  for (int k = 0; k <= micro; k++) row0[k] = k;
  fm_tensor *x = zeros(FM_F32, SHAPE(2, micro, 3)), *out = NULL;
  for (int64_t i = 0; i < 3 * micro; i++) fm_tensor_set(x, i, 0.2 + 0.1 * (double)(i % 3));
  fm_prog *p = fm_prog_new(ctx);
  fm_sig sig = {FM_F32, {2, {1, 3}}};
  fm_val v = fm_input(p, FM_ROWS, &sig);
  fm_output(p, fm_scale(p, v, 0.5), FM_SUM);
  fm_exe *e = fm_exe_new(ctx, 1, &p, &(fm_micro_batches){micro, which, row0}, passes);
  assert_non_null(e);
  for (int run = 0; run < 2; run++) {
    run_exe(e, &x, &out);
    for (int i = 0; i < 3; i++) {
      double exact = 0.5 * micro * fm_tensor_get(x, i);
      assert_within(fabs(fm_tensor_get(out, i) - exact) / exact, 1.5e-6, "micro-batches", micro);
    }
    fm_tensor_drop(out);
  }
  fm_exe_free(e);
  fm_prog_free(p);
  fm_tensor_drop(x);
  free(which), free(row0);
}

static void test_micro_batches(void **state) {
  (void)state;
  const int sizes[] = {1, 5, 256, 257, 320, 511, 1000, 20000};
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
    check_micro_batches(sizes[k], FM_PASS_ALL);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_long),          TEST(test_axes),
                                     TEST(test_empty),         TEST(test_operations),
                                     TEST(test_micro_batches), TEST(test_tree)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
