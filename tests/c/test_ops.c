/*
** test_ops.c - values of the operations: elementwise ones against the C library, the others against
** plain loops, on ordinary and on unusual shapes: scalars, rank 6, sizes of 0.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/isa.h"
#include "op_names.h"
#include "numeric.h"

/* ------------------------------------------------------------------ elementwise */

static double r_affine(double x) { return -1.5 * x + 0.25; }
static double r_square(double x) { return x * x; }
static double r_recip(double x) { return 1 / x; }
static double r_rsqrt(double x) { return 1 / sqrt(x); }
static double r_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double r_pow(double x) { return pow(x, 2.5); }
static double r_sign(double x) { return (x > 0) - (x < 0); }
static double r_copy(double x) { return x; }
static double r_silu(double x) { return x / (1 + exp(-x)); }
static double r_gelu(double x) {
  return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

static const struct unary {
  const char *name;
  double (*f)(double);
  double lo, hi;
  fm_attr attr;
} unaries[] = {
    {"copy", r_copy, -2, 2, {{0}, {0}}},
    {"stop", r_copy, -2, 2, {{0}, {0}}},
    {"affine", r_affine, -9, 9, {{0}, {-1.5, 0.25}}},
    {"square", r_square, -9, 9, {{0}, {0}}},
    {"recip", r_recip, 0.1, 9, {{0}, {0}}},
    {"exp", exp, -20, 20, {{0}, {0}}},
    {"log", log, 0.01, 50, {{0}, {0}}},
    {"sqrt", sqrt, 0, 50, {{0}, {0}}},
    {"rsqrt", r_rsqrt, 0.01, 50, {{0}, {0}}},
    {"tanh", tanh, -12, 12, {{0}, {0}}},
    {"sin", sin, -30, 30, {{0}, {0}}},
    {"cos", cos, -30, 30, {{0}, {0}}},
    {"sigmoid", r_sigmoid, -30, 30, {{0}, {0}}},
    {"pow", r_pow, 0.1, 9, {{0}, {2.5, 0}}},
    {"abs", fabs, -2, 2, {{0}, {0}}},
    {"sign", r_sign, -2, 2, {{0}, {0}}},
    {"floor", floor, -9, 9, {{0}, {0}}},
    {"gelu", r_gelu, -12, 12, {{0}, {0}}},
    {"silu", r_silu, -12, 12, {{0}, {0}}},
};

/* Lengths that leave a tail in every vector width; every instruction set. */
static void test_unary(void **state) {
  (void)state;
  int was = fm_isa();
  for (int isa = 0; isa < FM_NISA && fm_set_isa(isa) == isa; isa++)
    for (size_t k = 0; k < sizeof unaries / sizeof *unaries; k++)
      for (int d = 0; d < 2; d++)
        for (int64_t n = 0; n <= 37; n++) {
          const struct unary *u = &unaries[k];
          fm_tensor *x = random_tensor((fm_dtype)d, SHAPE(1, n), u->lo, u->hi, (uint64_t)n);
          fm_tensor *y = apply(u->name, 1, &x, u->attr);
          for (int64_t i = 0; i < n; i++) {
            double want = u->f(fm_tensor_get(x, i));
            double error = fabs(fm_tensor_get(y, i) - want) / (fabs(want) + 0.01);
            assert_within(error, d ? 2e-14 : 2e-6, u->name, isa);
          }
          fm_tensor_drop(x);
          fm_tensor_drop(y);
        }
  fm_set_isa(was);
}

static double b_add(double a, double b) { return a + b; }
static double b_sub(double a, double b) { return a - b; }
static double b_mul(double a, double b) { return a * b; }
static double b_div(double a, double b) { return a / b; }
static double b_max(double a, double b) { return a > b ? a : b; }
static double b_min(double a, double b) { return a < b ? a : b; }
static double b_lt(double a, double b) { return a < b; }
static double b_le(double a, double b) { return a <= b; }
static double b_eq(double a, double b) { return a == b; }

static const struct binary {
  const char *name;
  double (*f)(double, double);
} binaries[] = {{"add", b_add}, {"sub", b_sub},     {"mul", b_mul},
                {"div", b_div}, {"maximum", b_max}, {"minimum", b_min},
                {"lt", b_lt},   {"le", b_le},       {"eq", b_eq}};

/* On small whole numbers, so that results are exact and ties occur. */
static void test_binary(void **state) {
  (void)state;
  int was = fm_isa();
  for (int isa = 0; isa < FM_NISA && fm_set_isa(isa) == isa; isa++)
    for (int d = 0; d < 2; d++) {
      fm_tensor *x[3];
      for (int k = 0; k < 3; k++) {
        x[k] = zeros((fm_dtype)d, SHAPE(2, 5, 7));
        for (int i = 0; i < 35; i++) fm_tensor_set(x[k], i, (i * (k + 2) + k) % 4 + (k == 1));
      }
      for (size_t k = 0; k < sizeof binaries / sizeof *binaries; k++) {
        fm_tensor *y = apply(binaries[k].name, 2, x, (fm_attr){{0}, {0}});
        for (int i = 0; i < 35; i++) {
          double want = binaries[k].f(fm_tensor_get(x[0], i), fm_tensor_get(x[1], i));
          assert_true(fm_tensor_get(y, i) == (d ? want : (double)(float)want));
        }
        fm_tensor_drop(y);
      }
      fm_tensor *y = apply("where", 3, x, (fm_attr){{0}, {0}});
      for (int i = 0; i < 35; i++)
        assert_true(fm_tensor_get(y, i) ==
                    fm_tensor_get(x[fm_tensor_get(x[0], i) != 0 ? 1 : 2], i));
      fm_tensor_drop(y);
      drop_all(3, x);
    }
  fm_set_isa(was);
}

/* ------------------------------------------------------------------ broadcasting and reductions */

/* The flat index in `small` of flat index i of `big`, where sizes 1 repeat. */
static int64_t small_index(const fm_shape *big, const fm_shape *small, int64_t i) {
  int64_t at = 0, step = 1;
  for (int k = big->nd - 1; k >= 0; k--) {
    if (small->d[k] != 1) at += i % big->d[k] * step;
    step *= small->d[k];
    i /= big->d[k];
  }
  return at;
}

/* The maximum of no values is undefined. */
static fm_tensor *largest_of_none(fm_tensor *x, const fm_shape *small) {
  fm_attr to = fm_attr_shape(small);
  assert_null(fm_apply(ctx, &fm_op_max_to, 1, &x, &to));
  assert_sentence(FM_EUSAGE, "no values");
  return NULL;
}

/* Plain loops for one pair of shapes. */
static void check_pair(fm_dtype dtype, const fm_shape *big, const fm_shape *small) {
  int64_t many = fm_shape_count(big), few = fm_shape_count(small);
  fm_tensor *x = random_tensor(dtype, big, -1, 1, 1), *s = random_tensor(dtype, small, -1, 1, 2);
  fm_tensor *wide = apply("broadcast", 1, &s, fm_attr_shape(big));
  fm_tensor *sum = apply("sum_to", 1, &x, fm_attr_shape(small));
  fm_tensor *max = many == 0 && few > 0 ? largest_of_none(x, small)
                                        : apply("max_to", 1, &x, fm_attr_shape(small));
  for (int64_t i = 0; i < many; i++)
    assert_true(fm_tensor_get(wide, i) == fm_tensor_get(s, small_index(big, small, i)));
  for (int64_t j = 0; j < few; j++) {
    double total = 0, most = -INFINITY;
    for (int64_t i = 0; i < many; i++) {
      if (small_index(big, small, i) != j) continue;
      total += fm_tensor_get(x, i);
      most = fmax(most, fm_tensor_get(x, i));
    }
    assert_within(fabs(fm_tensor_get(sum, j) - total), dtype ? 1e-13 : 1e-5, "sum_to", (int)j);
    if (max) assert_true(fm_tensor_get(max, j) == most);
  }
  drop_all(5, (fm_tensor *[]){x, s, wide, sum, max});
}

/* Every subset of the axes of some shapes, scalars, rank 6 and empty ones among them. */
static void test_reductions(void **state) {
  (void)state;
  static const fm_shape shapes[] = {{0, {0}},
                                    {1, {1}},
                                    {1, {0}},
                                    {1, {37}},
                                    {2, {5, 7}},
                                    {2, {3, 300}},
                                    {2, {300, 3}},
                                    {2, {0, 3}},
                                    {2, {3, 0}},
                                    {3, {4, 1, 9}},
                                    {3, {2, 0, 3}},
                                    {4, {3, 2, 4, 5}},
                                    {6, {2, 3, 1, 2, 3, 2}},
                                    {6, {2, 1, 3, 2, 1, 17}}};
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
    for (int axes = 0; axes < 1 << shapes[k].nd; axes++) {
      fm_shape small = shapes[k];
      for (int i = 0; i < small.nd; i++)
        if (axes >> i & 1) small.d[i] = 1;
      check_pair(FM_F64, &shapes[k], &small);
      check_pair(FM_F32, &shapes[k], &small);
    }
}

/* A million values between 0 and 1: the exact sum to float32's own precision. */
static void test_accuracy(void **state) {
  (void)state;
  const int64_t n = 1000000;
  fm_tensor *x = random_tensor(FM_F32, SHAPE(1, n), 0, 1, 5);
  static const fm_shape of[][2] = {{{1, {1000000}}, {1, {1}}},
                                   {{2, {1000, 1000}}, {2, {1, 1}}},
                                   {{2, {500000, 2}}, {2, {1, 2}}},
                                   {{2, {2, 500000}}, {2, {2, 1}}},
                                   {{3, {1000, 2, 500}}, {3, {1, 2, 1}}}};
  for (size_t k = 0; k < sizeof of / sizeof *of; k++) {
    double want[2] = {0, 0};
    for (int64_t i = 0; i < n; i++)
      want[small_index(&of[k][0], &of[k][1], i)] += fm_tensor_get(x, i);
    x->shape = of[k][0];
    fm_tensor *y = apply("sum_to", 1, &x, fm_attr_shape(&of[k][1]));
    for (int64_t j = 0; j < fm_shape_count(&y->shape); j++)
      assert_within(fabs(fm_tensor_get(y, j) / want[j] - 1), 1e-6, "float32 sum", (int)k);
    fm_tensor_drop(y);
  }
  fm_tensor_drop(x);
}

/* A NaN anywhere is the maximum; so is the only value, however small. */
static void test_max_of_nan(void **state) {
  (void)state;
  for (int at = 0; at < 5; at++) {
    fm_tensor *x = zeros(FM_F32, SHAPE(2, 1, 5)), *y;
    fm_tensor_set(x, at, NAN);
    y = apply("max_to", 1, &x, fm_attr_shape(SHAPE(2, 1, 1)));
    if (!isnan(fm_tensor_get(y, 0))) fail_msg("a NaN at place %d was lost", at);
    drop_all(2, (fm_tensor *[]){x, y});
  }
}

static void test_bad_broadcast(void **state) {
  (void)state;
  fm_tensor *x = zeros(FM_F32, SHAPE(2, 2, 3));
  fm_attr rank = fm_attr_shape(SHAPE(3, 1, 2, 3)), size = fm_attr_shape(SHAPE(2, 4, 3));
  assert_null(fm_apply(ctx, &fm_op_broadcast, 1, &x, &rank));
  assert_sentence(FM_EUSAGE, "(1, 2, 3)");
  assert_null(fm_apply(ctx, &fm_op_broadcast, 1, &x, &size));
  assert_sentence(FM_EUSAGE, "(4, 3)");
  assert_null(fm_apply(ctx, &fm_op_sum_to, 1, &x, &size));
  assert_sentence(FM_EUSAGE, "sum_to");
  fm_tensor *pair[2] = {x, zeros(FM_F32, SHAPE(2, 2, 1))};
  assert_null(fm_apply(ctx, &fm_op_add, 2, pair, NULL)); /* broadcasting is explicit */
  assert_sentence(FM_EUSAGE, "(2, 1)");
  fm_tensor_drop(pair[1]);
  pair[1] = zeros(FM_F64, SHAPE(2, 2, 3));
  assert_null(fm_apply(ctx, &fm_op_add, 2, pair, NULL));
  assert_sentence(FM_EUSAGE, "float64");
  assert_null(fm_apply(ctx, &fm_op_add, 1, pair, NULL));
  assert_sentence(FM_EUSAGE, "1 operands found, expected 2");
  drop_all(2, pair);
}

/* ------------------------------------------------------------------ products */

static void check_product(fm_dtype dtype, int64_t m, int64_t n, int64_t k, bool ta, bool tb) {
  fm_tensor *x[2] = {random_tensor(dtype, ta ? SHAPE(2, k, m) : SHAPE(2, m, k), -1, 1, 1),
                     random_tensor(dtype, tb ? SHAPE(2, n, k) : SHAPE(2, k, n), -1, 1, 2)};
  fm_tensor *y = apply("matmul", 2, x, (fm_attr){{ta, tb}, {0}});
  assert_true(fm_shape_eq(&y->shape, SHAPE(2, m, n)));
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double want = 0;
      for (int64_t l = 0; l < k; l++)
        want += fm_tensor_get(x[0], ta ? l * m + i : i * k + l) *
                fm_tensor_get(x[1], tb ? j * k + l : l * n + j);
      assert_within(fabs(fm_tensor_get(y, i * n + j) - want), dtype ? 1e-13 : 1e-5, "matmul", ta);
    }
  drop_all(2, x);
  fm_tensor_drop(y);
}

static void test_matmul(void **state) {
  (void)state;
  static const int64_t size[] = {0, 1, 2, 5, 17};
  for (int t = 0; t < 8; t++)
    for (int m = 0; m < 5; m++)
      for (int n = 0; n < 5; n++)
        for (int k = 0; k < 5; k++)
          check_product((fm_dtype)(t >> 2), size[m], size[n], size[k], t & 1, t & 2);
}

static void test_matmul_stacks(void **state) {
  (void)state;
  fm_tensor *x[2] = {random_tensor(FM_F64, SHAPE(4, 2, 3, 4, 5), -1, 1, 1),
                     random_tensor(FM_F64, SHAPE(4, 2, 3, 6, 5), -1, 1, 2)};
  fm_tensor *y = apply("matmul", 2, x, (fm_attr){{0, 1}, {0}});
  assert_true(fm_shape_eq(&y->shape, SHAPE(4, 2, 3, 4, 6)));
  for (int b = 0; b < 6; b++)
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 6; j++) {
        double want = 0;
        for (int l = 0; l < 5; l++)
          want += fm_tensor_get(x[0], b * 20 + i * 5 + l) * fm_tensor_get(x[1], b * 30 + j * 5 + l);
        assert_within(fabs(fm_tensor_get(y, b * 24 + i * 6 + j) - want), 1e-13, "matmul", b);
      }
  assert_null(fm_apply(ctx, &fm_op_matmul, 2, x, NULL));
  assert_sentence(FM_EUSAGE, "(2, 3, 6, 5)");
  drop_all(2, x);
  fm_tensor_drop(y);
}

static void test_softmax(void **state) {
  (void)state;
  for (int64_t n = 1; n < 40; n++) {
    fm_tensor *x = random_tensor(FM_F32, SHAPE(2, 3, n), -80, 900, 4);
    fm_tensor *y = apply("softmax", 1, &x, (fm_attr){{0}, {0}});
    for (int64_t r = 0; r < 3; r++) {
      double top = -INFINITY, total = 0;
      for (int64_t i = 0; i < n; i++) top = fmax(top, fm_tensor_get(x, r * n + i));
      for (int64_t i = 0; i < n; i++) total += exp(fm_tensor_get(x, r * n + i) - top);
      for (int64_t i = 0; i < n; i++) {
        double want = exp(fm_tensor_get(x, r * n + i) - top) / total;
        assert_within(fabs(fm_tensor_get(y, r * n + i) - want), 1e-6, "softmax", (int)n);
      }
    }
    drop_all(2, (fm_tensor *[]){x, y});
  }
}

/* ------------------------------------------------------------------ moving values */

static void test_moving(void **state) {
  (void)state;
  fm_tensor *x = random_tensor(FM_F64, SHAPE(6, 2, 3, 1, 2, 2, 4), -1, 1, 1);
  fm_tensor *y = apply("transpose", 1, &x, (fm_attr){{5, 3, 0, 2, 1, 4}, {0}});
  assert_true(fm_shape_eq(&y->shape, SHAPE(6, 4, 2, 2, 1, 3, 2)));
  for (int i = 0; i < 96; i++) { /* i = (a, b, 0, c, d, e) of (2, 3, 1, 2, 2, 4) */
    int e = i % 4, d = i / 4 % 2, c = i / 8 % 2, b = i / 16 % 3, a = i / 48;
    int at = (((e * 2 + c) * 2 + a) * 3 + b) * 2 + d;
    assert_true(fm_tensor_get(y, at) == fm_tensor_get(x, i));
  }
  fm_tensor *s = apply("slice", 1, &y, (fm_attr){{4, 1, 2}, {0}});
  fm_tensor *f = apply("slice", 1, &y, (fm_attr){{4, 0, 1}, {0}});
  fm_tensor *back = apply("concat", 2, (fm_tensor *[]){f, s}, (fm_attr){{4}, {0}});
  assert_true(worst(back, y, 1) == 0);
  fm_tensor *p = apply("pad", 1, &s, (fm_attr){{4, 1, 3}, {0}});
  fm_tensor *q = apply("pad", 1, &f, (fm_attr){{4, 0, 3}, {0}});
  fm_tensor *sum = apply("add", 2, (fm_tensor *[]){p, q}, (fm_attr){{0}, {0}});
  assert_true(worst(sum, y, 1) == 0);
  fm_tensor *none = apply("slice", 1, &y, (fm_attr){{0, 4, 0}, {0}});
  assert_int_equal(fm_shape_count(&none->shape), 0);
  fm_tensor *same = apply("concat", 3, (fm_tensor *[]){none, y, none}, (fm_attr){{0}, {0}});
  assert_true(worst(same, y, 1) == 0);
  assert_null(fm_apply(ctx, &fm_op_slice, 1, &y, &(fm_attr){{0, 3, 2}, {0}}));
  assert_sentence(FM_EUSAGE, "entries 4 to 5 found, but axis 1 has 4");
  assert_null(fm_apply(ctx, &fm_op_transpose, 1, &y, &(fm_attr){{0, 1, 2, 3, 4, 4}, {0}}));
  assert_sentence(FM_EUSAGE, "axis 5");
  fm_attr bad = fm_attr_shape(SHAPE(2, 5, 19));
  assert_null(fm_apply(ctx, &fm_op_reshape, 1, &y, &bad));
  assert_sentence(FM_EUSAGE, "(5, 19)");
  assert_null(fm_apply(ctx, &fm_op_concat, 2, (fm_tensor *[]){x, y}, &(fm_attr){{0}, {0}}));
  assert_sentence(FM_EUSAGE, "concat");
  drop_all(10, (fm_tensor *[]){x, y, s, f, back, p, q, sum, none, same});
}

/* Row indices outside the table, NaN included, give NaN rows and touch no memory. */
static void test_gather(void **state) {
  (void)state;
  const double at[] = {2, 0, -1, 3, NAN, 1e30, -INFINITY, 1};
  const int row[] = {2, 0, -1, -1, -1, -1, -1, 1};
  for (int d = 0; d < 2; d++) {
    fm_tensor *x[2] = {random_tensor((fm_dtype)d, SHAPE(3, 3, 2, 2), -1, 1, 1),
                       list_tensor((fm_dtype)d, SHAPE(1, 8), at)};
    fm_tensor *y = apply("gather", 2, x, (fm_attr){{0}, {0}});
    for (int r = 0; r < 8; r++)
      for (int i = 0; i < 4; i++) {
        double v = fm_tensor_get(y, r * 4 + i);
        assert_true(row[r] < 0 ? isnan(v) : v == fm_tensor_get(x[0], row[r] * 4 + i));
      }
    fm_tensor *z = apply("scatter", 2, (fm_tensor *[]){y, x[1]}, (fm_attr){{3}, {0}});
    assert_true(worst(z, x[0], 1) == 0); /* valid rows are scattered back, the others dropped */
    fm_tensor *table = zeros((fm_dtype)d, SHAPE(2, 0, 4));
    fm_tensor *empty = apply("gather", 2, (fm_tensor *[]){table, x[1]}, (fm_attr){{0}, {0}});
    assert_true(fm_shape_eq(&empty->shape, SHAPE(2, 8, 4)) && isnan(fm_tensor_get(empty, 31)));
    drop_all(6, (fm_tensor *[]){x[0], x[1], y, z, table, empty});
  }
}

static void test_cast(void **state) {
  (void)state;
  fm_tensor *x = random_tensor(FM_F64, SHAPE(2, 3, 7), -1, 1, 1);
  fm_tensor *narrow = apply("cast", 1, &x, (fm_attr){{0}, {0, 0}});
  fm_tensor *wide = apply("cast", 1, &narrow, (fm_attr){{0}, {0, 1}});
  assert_true(narrow->dtype == FM_F32 && wide->dtype == FM_F64);
  for (int i = 0; i < 21; i++)
    assert_true(fm_tensor_get(wide, i) == (double)(float)fm_tensor_get(x, i));
  drop_all(3, (fm_tensor *[]){x, narrow, wide});
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_unary),  TEST(test_binary),  TEST(test_reductions),    TEST(test_accuracy),
      TEST(test_matmul), TEST(test_softmax), TEST(test_matmul_stacks), TEST(test_bad_broadcast),
      TEST(test_moving), TEST(test_gather),  TEST(test_cast),          TEST(test_max_of_nan)};
  return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
