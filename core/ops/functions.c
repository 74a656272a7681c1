/* functions.c - elementary functions; derivatives reuse y where that is cheaper. */
#include "ops.h"

enum { EXPONENT }; /* attr.f of pow */

FM_MAP1(exp, vexp(A))
FM_MAP1(log, vlog(A))
FM_MAP1(sqrt, vsqrt(A))
FM_MAP1(rsqrt, vset((T)1) / vsqrt(A))
FM_MAP1(tanh, vtanh(A))
FM_MAP1(sin, vsin(A))
FM_MAP1(cos, vcos(A))
FM_MAP1(sigmoid, vset((T)1) / (vset((T)1) + vexp(-A)))

#ifndef FM_RULES
/* x^p by the C library: accurate for every p, and rarely used. */
void FM_FN(pow)(int64_t n, void *y, const void *a, const void *b, const void *c, const double *f);
void FM_FN(pow)(int64_t n, void *y, const void *a, const void *b, const void *c, const double *f) {
  (void)b, (void)c;
  for (int64_t i = 0; i < n; i++) ((T *)y)[i] = (T)pow((double)((const T *)a)[i], f[EXPONENT]);
}
#endif

#ifdef FM_RULES

static fm_val jvp_exp(fm_prog *p, fm_val y, const fm_val *dx) { return fm_mul(p, dx[0], y); }

const fm_op fm_op_exp = {.name = "exp", .doc = "y = e^x.", .args = "t", .nin = 1, .cost = 16,
  .flags = FM_ELEMENTWISE, .jvp = jvp_exp, .samples = FM_UNARY_SAMPLES(-2, 2)};

static fm_val jvp_log(fm_prog *p, fm_val y, const fm_val *dx) {
  return dx[0] == FM_NONE ? FM_NONE : fm_e2(p, &fm_op_div, dx[0], fm_arg(p, y, 0));
}

const fm_op fm_op_log = {.name = "log", .doc = "y = ln x.", .args = "t", .nin = 1, .cost = 16,
  .flags = FM_ELEMENTWISE, .jvp = jvp_log, .samples = FM_UNARY_SAMPLES(0.5, 3)};

static fm_val jvp_sqrt(fm_prog *p, fm_val y, const fm_val *dx) { /* dx / (2 y) */
  return dx[0] == FM_NONE ? FM_NONE
                          : fm_scale(p, fm_e2(p, &fm_op_div, dx[0], y), 0.5);
}

const fm_op fm_op_sqrt = {.name = "sqrt", .doc = "y = x^(1/2).", .args = "t", .nin = 1, .cost = 4,
  .flags = FM_ELEMENTWISE, .jvp = jvp_sqrt, .samples = FM_UNARY_SAMPLES(0.5, 3)};

static fm_val jvp_rsqrt(fm_prog *p, fm_val y, const fm_val *dx) { /* -y^3 dx / 2 */
  fm_val y3 = fm_mul(p, fm_e1(p, &fm_op_square, y), y);
  return fm_scale(p, fm_mul(p, dx[0], y3), -0.5);
}

const fm_op fm_op_rsqrt = {.name = "rsqrt", .doc = "y = x^(-1/2).", .args = "t", .nin = 1,
  .cost = 8, .flags = FM_ELEMENTWISE, .jvp = jvp_rsqrt, .samples = FM_UNARY_SAMPLES(0.5, 3)};

static fm_val jvp_tanh(fm_prog *p, fm_val y, const fm_val *dx) { /* (1 - y^2) dx */
  return fm_mul(p, dx[0], fm_affine(p, fm_e1(p, &fm_op_square, y), -1, 1));
}

const fm_op fm_op_tanh = {.name = "tanh", .doc = "y = tanh x.", .args = "t", .nin = 1, .cost = 20,
  .flags = FM_ELEMENTWISE, .jvp = jvp_tanh, .samples = FM_UNARY_SAMPLES(-2, 2)};

static fm_val jvp_sin(fm_prog *p, fm_val y, const fm_val *dx) {
  return fm_mul(p, dx[0], fm_e1(p, &fm_op_cos, fm_arg(p, y, 0)));
}

const fm_op fm_op_sin = {.name = "sin", .doc = "y = sin x.", .args = "t", .nin = 1, .cost = 20,
  .flags = FM_ELEMENTWISE, .jvp = jvp_sin, .samples = FM_UNARY_SAMPLES(-4, 4)};

static fm_val jvp_cos(fm_prog *p, fm_val y, const fm_val *dx) {
  return fm_scale(p, fm_mul(p, dx[0], fm_e1(p, &fm_op_sin, fm_arg(p, y, 0))), -1);
}

const fm_op fm_op_cos = {.name = "cos", .doc = "y = cos x.", .args = "t", .nin = 1, .cost = 20,
  .flags = FM_ELEMENTWISE, .jvp = jvp_cos, .samples = FM_UNARY_SAMPLES(-4, 4)};

static fm_val jvp_sigmoid(fm_prog *p, fm_val y, const fm_val *dx) { /* y (1 - y) dx */
  return fm_mul(p, dx[0], fm_mul(p, y, fm_affine(p, y, -1, 1)));
}

const fm_op fm_op_sigmoid = {.name = "sigmoid", .doc = "y = 1 / (1 + e^-x).", .args = "t",
  .nin = 1, .cost = 20, .flags = FM_ELEMENTWISE, .jvp = jvp_sigmoid,
  .samples = FM_UNARY_SAMPLES(-2, 2)};

static fm_val jvp_pow(fm_prog *p, fm_val y, const fm_val *dx) { /* e x^(e-1) dx */
  fm_attr a = fm_attr_of(p, y);
  double e = a.f[EXPONENT];
  fm_val x = fm_arg(p, y, 0);
  if (e == 0) return FM_NONE; /* not 0 x^-1, which is NaN at 0 */
  a.f[EXPONENT] = e - 1;
  return fm_scale(p, fm_mul(p, dx[0], fm_emit(p, &fm_op_pow, 1, &x, &a)), e);
}

const fm_op fm_op_pow = {.name = "pow", .doc = "y = x^exponent.", .args = "tn",
  .attrs = {[FM_F] = "exponent"}, .nin = 1, .cost = 40, .flags = FM_ELEMENTWISE, .jvp = jvp_pow,
  .samples = {{1, {FM_SHAPE2(3, 7)}, {{0}, {2.5, 0}}, 0.5, 2}}};

#endif
