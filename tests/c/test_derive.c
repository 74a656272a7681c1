/*
** test_derive.c - nested derivatives against closed forms: every sequence of forward and reverse
** mode up to third order, Hessians, activations to fourth order, and the hard cases of nesting:
** variables of equal value, stopped values, functions that do not depend on their argument.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "op_names.h"
#include "numeric.h"

typedef fm_val (*function)(fm_prog *p, fm_val x);

static fm_val full_like(fm_prog *p, fm_val x, double value) {
  return fm_full(p, fm_prog_sig(p, x), value);
}

/*
** The derivative of an elementwise function, one order per letter of `modes`: j forward, v reverse.
** As the binding does, each order renames its variable by a copy.
*/
static fm_val derivative(fm_prog *p, function f, fm_val x, const char *modes) {
  if (*modes == 0) return f(p, x);
  fm_val own = fm_e1(p, &fm_op_copy, x), dy = FM_NONE, one = full_like(p, x, 1);
  fm_val y = derivative(p, f, own, modes + 1);
  if (*modes == 'j')
    fm_jvp(p, 1, &own, &one, 1, &y, &dy);
  else
    fm_vjp(p, 1, &y, &one, 1, &own, &dy);
  return dy == FM_NONE ? full_like(p, x, 0) : dy;
}

static const char *const orders[] = {"",    "j",   "v",   "jj",  "jv",  "vj",  "vv", "jjj",
                                     "jjv", "jvj", "jvv", "vjj", "vjv", "vvj", "vvv"};
enum { NORDERS = sizeof orders / sizeof *orders };

/* All orders[] of f at x in one program. */
static void derivatives(function f, fm_tensor *x, fm_tensor *out[NORDERS], int passes) {
  fm_prog *p = fm_prog_new(ctx);
  fm_val in = fm_input(p, FM_SHARED, &(fm_sig){x->dtype, x->shape});
  for (int k = 0; k < NORDERS; k++) fm_output(p, derivative(p, f, in, orders[k]), FM_SUM);
  run_once(p, passes, 1, &x, out);
  fm_prog_free(p);
}

/* ------------------------------------------------------------------ elementary functions */

static fm_val unary(fm_prog *p, const char *name, fm_val x) {
  return fm_e1(p, fm_op_find(name), x);
}

static fm_val power(fm_prog *p, fm_val x, double e) {
  return fm_emit(p, &fm_op_pow, 1, &x, &(fm_attr){{0}, {e, 0}});
}

static fm_val f_exp(fm_prog *p, fm_val x) { return unary(p, "exp", x); }
static fm_val f_log(fm_prog *p, fm_val x) { return unary(p, "log", x); }
static fm_val f_sin(fm_prog *p, fm_val x) { return unary(p, "sin", x); }
static fm_val f_cos(fm_prog *p, fm_val x) { return unary(p, "cos", x); }
static fm_val f_sqrt(fm_prog *p, fm_val x) { return unary(p, "sqrt", x); }
static fm_val f_rsqrt(fm_prog *p, fm_val x) { return unary(p, "rsqrt", x); }
static fm_val f_recip(fm_prog *p, fm_val x) { return unary(p, "recip", x); }
static fm_val f_square(fm_prog *p, fm_val x) { return unary(p, "square", x); }
static fm_val f_tanh(fm_prog *p, fm_val x) { return unary(p, "tanh", x); }
static fm_val f_sigmoid(fm_prog *p, fm_val x) { return unary(p, "sigmoid", x); }
static fm_val f_pow(fm_prog *p, fm_val x) { return power(p, x, 2.5); }
static fm_val f_cube(fm_prog *p, fm_val x) { return fm_mul(p, x, fm_mul(p, x, x)); }
static fm_val f_xsin(fm_prog *p, fm_val x) { return fm_mul(p, x, unary(p, "sin", x)); }
static fm_val f_ratio(fm_prog *p, fm_val x) { /* x / (1 + x) */
  return fm_e2(p, &fm_op_div, x, fm_affine(p, x, 1, 1));
}

/* f, f', f'', f''' at x. */
static void d_exp(double x, double d[4]) { d[0] = d[1] = d[2] = d[3] = exp(x); }
static void d_power(double x, double d[4], double e) {
  d[0] = pow(x, e), d[1] = e * pow(x, e - 1), d[2] = e * (e - 1) * pow(x, e - 2);
  d[3] = e * (e - 1) * (e - 2) * pow(x, e - 3);
}
static void d_sqrt(double x, double d[4]) { d_power(x, d, 0.5); }
static void d_rsqrt(double x, double d[4]) { d_power(x, d, -0.5); }
static void d_recip(double x, double d[4]) { d_power(x, d, -1); }
static void d_square(double x, double d[4]) { d_power(x, d, 2); }
static void d_cube(double x, double d[4]) { d_power(x, d, 3); }
static void d_pow(double x, double d[4]) { d_power(x, d, 2.5); }
static void d_log(double x, double d[4]) {
  d[0] = log(x), d[1] = 1 / x, d[2] = -1 / (x * x), d[3] = 2 / (x * x * x);
}
static void d_sin(double x, double d[4]) {
  d[0] = sin(x), d[1] = cos(x), d[2] = -d[0], d[3] = -d[1];
}
static void d_cos(double x, double d[4]) {
  d[0] = cos(x), d[1] = -sin(x), d[2] = -d[0], d[3] = -d[1];
}
static void d_xsin(double x, double d[4]) {
  d[0] = x * sin(x), d[1] = sin(x) + x * cos(x), d[2] = 2 * cos(x) - x * sin(x);
  d[3] = -3 * sin(x) - x * cos(x);
}
static void d_tanh(double x, double d[4]) {
  double y = tanh(x), s = 1 - y * y;
  d[0] = y, d[1] = s, d[2] = -2 * y * s, d[3] = -2 * s * (1 - 3 * y * y);
}
static void d_sigmoid(double x, double d[4]) {
  double y = 1 / (1 + exp(-x)), q = y * (1 - y);
  d[0] = y, d[1] = q, d[2] = q * (1 - 2 * y), d[3] = q * (1 - 6 * q);
}
static void d_ratio(double x, double d[4]) { /* 1 - 1/(1 + x) */
  d_power(1 + x, d, -1);
  for (int k = 0; k < 4; k++) d[k] = (k == 0) - d[k];
}

static const struct known {
  const char *name;
  function f;
  void (*d)(double x, double d[4]);
} table[] = {{"exp", f_exp, d_exp},       {"log", f_log, d_log},
             {"sin", f_sin, d_sin},       {"cos", f_cos, d_cos},
             {"sqrt", f_sqrt, d_sqrt},    {"rsqrt", f_rsqrt, d_rsqrt},
             {"recip", f_recip, d_recip}, {"square", f_square, d_square},
             {"tanh", f_tanh, d_tanh},    {"sigmoid", f_sigmoid, d_sigmoid},
             {"x^2.5", f_pow, d_pow},     {"x x x", f_cube, d_cube},
             {"x sin x", f_xsin, d_xsin}, {"x / (1 + x)", f_ratio, d_ratio}};

static void test_closed_forms(void **state) {
  (void)state;
  fm_tensor *x = random_tensor(FM_F64, SHAPE(2, 3, 5), 0.3, 2.5, 1), *y[NORDERS];
  for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
    derivatives(table[k].f, x, y, FM_PASS_ALL);
    for (int i = 0; i < 15; i++) {
      double d[4];
      table[k].d(fm_tensor_get(x, i), d);
      for (int j = 0; j < NORDERS; j++) {
        double want = d[strlen(orders[j])], error = fabs(fm_tensor_get(y[j], i) - want);
        assert_within(error / (1 + fabs(want)), 1e-12, table[k].name, j);
      }
    }
    drop_all(NORDERS, y);
  }
  fm_tensor_drop(x);
}

/* ------------------------------------------------------------------ activations */

static fm_val f_gelu(fm_prog *p, fm_val x) { return unary(p, "gelu", x); }
static fm_val f_silu(fm_prog *p, fm_val x) { return unary(p, "silu", x); }

static double order_at(function f, fm_tensor *x, const char *modes) {
  fm_prog *p = fm_prog_new(ctx);
  fm_tensor *y;
  fm_val in = fm_input(p, FM_SHARED, &(fm_sig){x->dtype, x->shape});
  fm_output(p, derivative(p, f, in, modes), FM_SUM);
  run_once(p, FM_PASS_ALL, 1, &x, &y);
  fm_prog_free(p);
  double value = fm_tensor_get(y, 0);
  fm_tensor_drop(y);
  return value;
}

/* Each order is the derivative of the one below: central differences of sixth order. */
static void test_activations(void **state) {
  (void)state;
  static const char *const modes[] = {"", "j", "vj", "jvj", "vjvj"};
  static const double weight[] = {45. / 60, -9. / 60, 1. / 60};
  const double h = 4e-3;
  function family[] = {f_gelu, f_silu};
  fm_tensor *x = zeros(FM_F64, SHAPE(1, 1));
  for (int f = 0; f < 2; f++)
    for (double at = -4.3; at < 4.5; at += 0.7)
      for (int order = 1; order <= 4; order++) {
        double slope = 0;
        for (int k = 0; k < 3; k++)
          for (int side = -1; side <= 1; side += 2) {
            fm_tensor_set(x, 0, at + side * (k + 1) * h);
            slope += side * weight[k] * order_at(family[f], x, modes[order - 1]) / h;
          }
        fm_tensor_set(x, 0, at);
        assert_within(fabs(order_at(family[f], x, modes[order]) - slope), 1e-10,
                      f ? "silu" : "gelu", order);
      }
  fm_tensor_drop(x);
}

/* ------------------------------------------------------------------ Hessians */

enum { N = 5, M = 4 };

/* f(x) = sum_i tanh (A x)_i for A: (M, N), x: (N, 1) */
static fm_val sum_of_tanh(fm_prog *p, fm_val a, fm_val x) {
  fm_val y = fm_e1(p, &fm_op_tanh, fm_matmul(p, a, x, false, false));
  return fm_sum_to(p, y, SHAPE(2, 1, 1));
}

/* H v, with the inner and the outer derivative in the modes given. */
static fm_val hessian_times(fm_prog *p, fm_val a, fm_val x, fm_val v, const char *modes) {
  fm_val y = sum_of_tanh(p, a, x), one = fm_full(p, *SIG(2, 1, 1), 1), g, h;
  if (modes[0] == 'j') { /* <grad f, v> first, then its gradient */
    fm_jvp(p, 1, &x, &v, 1, &y, &g);
    fm_vjp(p, 1, &g, &one, 1, &x, &h);
    return h;
  }
  fm_vjp(p, 1, &y, &one, 1, &x, &g);
  if (modes[1] == 'j') /* the gradient first, then its derivative along v */
    fm_jvp(p, 1, &x, &v, 1, &g, &h);
  else
    fm_vjp(p, 1, &g, &v, 1, &x, &h);
  return h;
}

static void test_hessian(void **state) {
  (void)state;
  fm_tensor *in[3] = {random_tensor(FM_F64, SHAPE(2, M, N), -1, 1, 1),
                      random_tensor(FM_F64, SHAPE(2, N, 1), -1, 1, 2),
                      zeros(FM_F64, SHAPE(2, N, 1))};
  fm_prog *p = fm_prog_new(ctx);
  fm_val a = fm_input(p, FM_SHARED, SIG(2, M, N)), x = fm_input(p, FM_SHARED, SIG(2, N, 1));
  fm_val v = fm_input(p, FM_SHARED, SIG(2, N, 1));
  fm_output(p, hessian_times(p, a, x, v, "jv"), FM_SUM);
  fm_output(p, hessian_times(p, a, x, v, "vj"), FM_SUM);
  fm_output(p, hessian_times(p, a, x, v, "vv"), FM_SUM);
  double h[3][N][N];
  for (int j = 0; j < N; j++) {
    fm_tensor *out[3];
    for (int i = 0; i < N; i++) fm_tensor_set(in[2], i, i == j);
    run_once(p, FM_PASS_ALL, 1, in, out);
    for (int k = 0; k < 3; k++)
      for (int i = 0; i < N; i++) h[k][i][j] = fm_tensor_get(out[k], i);
    drop_all(3, out);
  }
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      double want = 0; /* A' diag(tanh'' (A x)) A */
      for (int m = 0; m < M; m++) {
        double z = 0, d[4];
        for (int k = 0; k < N; k++) z += fm_tensor_get(in[0], m * N + k) * fm_tensor_get(in[1], k);
        d_tanh(z, d);
        want += fm_tensor_get(in[0], m * N + i) * d[2] * fm_tensor_get(in[0], m * N + j);
      }
      for (int k = 0; k < 3; k++) {
        assert_within(fabs(h[k][i][j] - want), 1e-13, "hessian", k);
        assert_within(fabs(h[k][i][j] - h[k][j][i]), 1e-14, "symmetry", k);
      }
    }
  fm_prog_free(p);
  drop_all(3, in);
}

/* ------------------------------------------------------------------ what makes nesting hard */

/* The value of the only output of a program without inputs. */
static double finish(fm_prog *p, fm_val v) {
  fm_tensor *out;
  fm_output(p, v, FM_SUM);
  run_once(p, FM_PASS_ALL, 1, NULL, &out);
  fm_prog_free(p);
  double value = fm_tensor_get(out, 0);
  fm_tensor_drop(out);
  return value;
}

static fm_val derive(fm_prog *p, char mode, fm_val y, fm_val x) {
  fm_val one = full_like(p, x, 1), d = FM_NONE;
  if (mode == 'j')
    fm_jvp(p, 1, &x, &one, 1, &y, &d);
  else
    fm_vjp(p, 1, &y, &one, 1, &x, &d);
  return d == FM_NONE ? full_like(p, x, 0) : d;
}

/* The point 1, as a constant tensor or as a known number, which could be folded. */
static fm_val point(fm_prog *p, bool known) {
  if (known) return fm_full(p, *SIG(0, 0), 1);
  fm_tensor *t = list_tensor(FM_F64, SHAPE(0, 0), (double[]){1});
  fm_val v = fm_const(p, t);
  fm_tensor_drop(t);
  return v;
}

/*
** d/dx (x d/dy (x + y)) at x = y = 1 is 1 (Siskind and Pearlmutter's example); d/dx (x d/dy (x y))
** is 2 x. The variables have the same value but must stay distinct.
*/
static void test_perturbation_confusion(void **state) {
  (void)state;
  for (int k = 0; k < 16; k++) {
    fm_prog *p = fm_prog_new(ctx);
    bool product = k & 8;
    fm_val at = point(p, k & 4), x = fm_e1(p, &fm_op_copy, at), y = fm_e1(p, &fm_op_copy, at);
    fm_val inner = product ? fm_mul(p, x, y) : fm_add(p, x, y);
    fm_val slope = derive(p, k & 1 ? 'j' : 'v', inner, y);
    double d = finish(p, derive(p, k & 2 ? 'j' : 'v', fm_mul(p, x, slope), x));
    assert_within(fabs(d - (product ? 2 : 1)), 0, "confusion", k);
  }
}

/* A variable whose value is a known number remains a variable: (x^2 + 3 x)' = 5 at 1. */
static void test_known_point(void **state) {
  (void)state;
  for (int k = 0; k < 4; k++) {
    fm_prog *p = fm_prog_new(ctx);
    fm_val x = fm_e1(p, &fm_op_copy, point(p, k & 1));
    fm_val y = fm_add(p, fm_e1(p, &fm_op_square, x), fm_scale(p, x, 3));
    assert_within(fabs(finish(p, derive(p, k & 2 ? 'j' : 'v', y, x)) - 5), 0, "known point", k);
  }
}

/* stop(x) x + x^2: the stopped factor is a constant, at every order. */
static fm_val f_stopped(fm_prog *p, fm_val x) {
  return fm_add(p, fm_mul(p, fm_e1(p, &fm_op_stop, x), x), fm_e1(p, &fm_op_square, x));
}

static fm_val f_constant(fm_prog *p, fm_val x) { return full_like(p, x, 3); }
static fm_val f_floor(fm_prog *p, fm_val x) { return fm_e1(p, &fm_op_floor, x); }
static fm_val f_identity(fm_prog *p, fm_val x) {
  (void)p;
  return x;
}
static fm_val f_pow2(fm_prog *p, fm_val x) { return power(p, x, 2); }

static void check_orders(function f, double at, const double want[4], const char *what) {
  fm_tensor *x = list_tensor(FM_F64, SHAPE(1, 1), &at), *y[NORDERS];
  derivatives(f, x, y, FM_PASS_ALL);
  for (int k = 0; k < NORDERS; k++)
    assert_within(fabs(fm_tensor_get(y[k], 0) - want[strlen(orders[k])]), 1e-14, what, k);
  drop_all(NORDERS, y);
  fm_tensor_drop(x);
}

static void test_stop_and_absent(void **state) {
  (void)state;
  check_orders(f_stopped, 1.5, (double[]){4.5, 4.5, 2, 0}, "stop");
  check_orders(f_constant, 1.5, (double[]){3, 0, 0, 0}, "constant");
  check_orders(f_floor, 1.5, (double[]){1, 0, 0, 0}, "floor");
  check_orders(f_identity, 1.5, (double[]){1.5, 1, 0, 0}, "identity");
  check_orders(f_pow2, 0, (double[]){0, 0, 2, 0}, "x^2 at 0");
}

/* Both operands are 1 at x = 1, where the first one is followed. */
static fm_val f_larger(fm_prog *p, fm_val x) {
  return fm_e2(p, &fm_op_maximum, x, fm_affine(p, x, -1, 2));
}

static fm_val f_larger_turned(fm_prog *p, fm_val x) {
  return fm_e2(p, &fm_op_maximum, fm_affine(p, x, -1, 2), x);
}

static fm_val f_smaller(fm_prog *p, fm_val x) {
  return fm_e2(p, &fm_op_minimum, x, fm_affine(p, x, -1, 2));
}

static fm_val f_smaller_turned(fm_prog *p, fm_val x) {
  return fm_e2(p, &fm_op_minimum, fm_affine(p, x, -1, 2), x);
}

/* The largest of x, 2 - x, x and 0: three of them are 1 at x = 1 and share the derivative. */
static fm_val f_largest(fm_prog *p, fm_val x) {
  fm_val y[4] = {x, fm_affine(p, x, -1, 2), x, full_like(p, x, 0)};
  fm_shape one = fm_prog_sig(p, x).shape;
  fm_attr to = fm_attr_shape(&one);
  fm_val all = fm_concat(p, 4, y, 0);
  return fm_emit(p, &fm_op_max_to, 1, &all, &to);
}

static void test_ties(void **state) {
  (void)state;
  check_orders(f_larger, 1, (double[]){1, 1, 0, 0}, "maximum");
  check_orders(f_larger_turned, 1, (double[]){1, -1, 0, 0}, "maximum, turned");
  check_orders(f_smaller, 1, (double[]){1, 1, 0, 0}, "minimum");
  check_orders(f_smaller_turned, 1, (double[]){1, -1, 0, 0}, "minimum, turned");
  check_orders(f_largest, 1, (double[]){1, 1 / 3.0, 0, 0}, "max_to");
}

static fm_val cast(fm_prog *p, fm_val x, fm_dtype dtype) {
  return fm_emit(p, &fm_op_cast, 1, &x, &(fm_attr){{0}, {[FM_DTYPE] = dtype}});
}

static fm_val f_cast(fm_prog *p, fm_val x) { /* x^2 in float32 */
  return cast(p, fm_e1(p, &fm_op_square, cast(p, x, FM_F32)), FM_F64);
}

/* Derivatives have the format of what they belong to, in both directions. */
static void test_cast(void **state) {
  (void)state;
  check_orders(f_cast, 1.5, (double[]){2.25, 3, 2, 0}, "cast");
}

/* Several variables, some without a tangent; a result that depends on none has no tangent. */
static void test_absent_tangents(void **state) {
  (void)state;
  fm_prog *p = fm_prog_new(ctx);
  fm_val x[3], y[3], dx[3] = {FM_NONE, FM_NONE, FM_NONE}, dy[3], g[3];
  for (int k = 0; k < 3; k++) x[k] = fm_input(p, FM_SHARED, SIG(1, 4));
  y[0] = fm_mul(p, x[0], x[1]);
  y[1] = fm_e1(p, &fm_op_exp, x[2]);
  y[2] = fm_e1(p, &fm_op_stop, x[0]);
  assert_int_equal(fm_jvp(p, 3, x, dx, 3, y, dy), FM_OK);
  assert_true(dy[0] == FM_NONE && dy[1] == FM_NONE && dy[2] == FM_NONE);
  dx[0] = x[1];
  assert_int_equal(fm_jvp(p, 3, x, dx, 3, y, dy), FM_OK);
  assert_true(dy[0] != FM_NONE && dy[1] == FM_NONE && dy[2] == FM_NONE);
  assert_int_equal(fm_vjp(p, 1, &y[1], &y[1], 3, x, g), FM_OK);
  assert_true(g[0] == FM_NONE && g[1] == FM_NONE && g[2] != FM_NONE);
  assert_int_equal(fm_vjp(p, 1, &y[2], &y[1], 3, x, g), FM_OK);
  assert_true(g[0] == FM_NONE && g[1] == FM_NONE && g[2] == FM_NONE);
  fm_output(p, dy[0], FM_SUM); /* x1 * x1 */
  fm_tensor *in[3], *out;
  for (int k = 0; k < 3; k++) in[k] = random_tensor(FM_F64, SHAPE(1, 4), -1, 1, (uint64_t)k);
  run_once(p, FM_PASS_ALL, 1, in, &out);
  for (int i = 0; i < 4; i++)
    assert_true(fm_tensor_get(out, i) == fm_tensor_get(in[1], i) * fm_tensor_get(in[1], i));
  fm_prog_free(p);
  drop_all(3, in);
  fm_tensor_drop(out);
}

/* More operands than the rules keep on the stack. */
static void test_many_operands(void **state) {
  (void)state;
  fm_val x[40], g[40], y, u;
  fm_prog *p = fm_prog_new(ctx);
  for (int k = 0; k < 40; k++) x[k] = fm_input(p, FM_SHARED, SIG(2, 2, 1));
  y = fm_concat(p, 40, x, 1);
  u = fm_e1(p, &fm_op_sin, y);
  fm_vjp(p, 1, &y, &u, 40, x, g);
  for (int k = 0; k < 40; k++) fm_output(p, g[k], FM_SUM);
  fm_tensor *in[40], *out[40];
  for (int k = 0; k < 40; k++) in[k] = random_tensor(FM_F64, SHAPE(2, 2, 1), -1, 1, (uint64_t)k);
  run_once(p, FM_PASS_ALL, 1, in, out);
  for (int k = 0; k < 40; k++)
    for (int i = 0; i < 2; i++)
      assert_within(fabs(fm_tensor_get(out[k], i) - sin(fm_tensor_get(in[k], i))), 1e-15, "part",
                    k);
  fm_prog_free(p);
  drop_all(40, in);
  drop_all(40, out);
}

/* More operands than an operation takes: rows are copied part by part, columns are refused. */
static void test_too_many_operands(void **state) {
  (void)state;
  for (int axis = 0; axis < 2; axis++) {
    fm_prog *p = fm_prog_new(ctx);
    fm_val x[FM_MAX_OPERANDS + 1], y;
    for (int k = 0; k <= FM_MAX_OPERANDS; k++)
      x[k] = fm_scale(p, fm_e1(p, &fm_op_copy, fm_full(p, *SIG(2, 1, 1), 1)), k);
    y = fm_concat(p, FM_MAX_OPERANDS + 1, x, axis);
    if (axis == 1) {
      assert_int_equal(y, FM_NONE);
      assert_sentence(FM_EUSAGE, "65 tensors found, expected at most 64 along axis 2");
      fm_prog_free(p);
    } else {
      assert_true(finish(p, fm_slice(p, y, 0, FM_MAX_OPERANDS, 1)) == FM_MAX_OPERANDS);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_closed_forms),
                                     TEST(test_activations),
                                     TEST(test_hessian),
                                     TEST(test_perturbation_confusion),
                                     TEST(test_known_point),
                                     TEST(test_stop_and_absent),
                                     TEST(test_absent_tangents),
                                     TEST(test_many_operands),
                                     TEST(test_too_many_operands),
                                     TEST(test_ties),
                                     TEST(test_cast)};
  return cmocka_run_group_tests_name("derive", tests, NULL, NULL);
}
