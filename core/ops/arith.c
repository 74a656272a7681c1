/* arith.c - elementwise arithmetic. Each jvp rule is the differential, in fm_* emitters. */
#include "ops.h"

FM_MAP1(copy, A)
FM_MAP1(stop, A)
FM_MAP1(affine, vfma(A, F0, F1))
FM_MAP2(add, A + B)
FM_MAP2(sub, A - B)
FM_MAP2(mul, A * B)
FM_MAP2(div, A / B)
FM_MAP1(square, A * A)
FM_MAP1(recip, vset((T)1) / A)

#ifdef FM_RULES

static fm_val jvp_copy(fm_prog *p, fm_val y, const fm_val *dx) {
  (void)p, (void)y;
  return dx[0];
}

/* The argument of a differentiated function passes through here: see fm_jvp. */
const fm_op fm_op_copy = {.name = "copy", .doc = "y = x.", .args = "t", .nin = 1, .cost = 0,
  .flags = FM_ELEMENTWISE | FM_IDENTITY, .jvp = jvp_copy, .samples = FM_UNARY_SAMPLES(-2, 2)};

const fm_op fm_op_stop = {.name = "stop", .doc = "y = x, a constant to differentiation.",
  .args = "t", .nin = 1, .cost = 0, .flags = FM_ELEMENTWISE | FM_IDENTITY, .jvp = NULL,
  .samples = FM_UNARY_SAMPLES(-2, 2)};

static fm_val jvp_affine(fm_prog *p, fm_val y, const fm_val *dx) {
  return fm_scale(p, dx[0], fm_attr_of(p, y).f[0]);
}

const fm_op fm_op_affine = {.name = "affine", .doc = "y = scale x + shift.", .args = "tnn",
  .attrs = {[FM_F + FM_SCALE] = "scale", [FM_F + FM_SHIFT] = "shift"}, .nin = 1, .cost = 2,
  .flags = FM_ELEMENTWISE, .jvp = jvp_affine,
  .samples = {{1, {FM_SHAPE2(3, 7)}, {{0}, {-1.5, 0.25}}, -2, 2}}};

static fm_val jvp_add(fm_prog *p, fm_val y, const fm_val *dx) {
  (void)y;
  return fm_add(p, dx[0], dx[1]);
}

const fm_op fm_op_add = {.name = "add", .doc = "y = a + b.", .args = "tt", .nin = 2, .cost = 1,
  .flags = FM_ELEMENTWISE, .jvp = jvp_add, .samples = FM_BINARY_SAMPLES(-2, 2)};

static fm_val jvp_sub(fm_prog *p, fm_val y, const fm_val *dx) {
  (void)y;
  return fm_sub(p, dx[0], dx[1]);
}

const fm_op fm_op_sub = {.name = "sub", .doc = "y = a - b.", .args = "tt", .nin = 2, .cost = 1,
  .flags = FM_ELEMENTWISE, .jvp = jvp_sub, .samples = FM_BINARY_SAMPLES(-2, 2)};

static fm_val jvp_mul(fm_prog *p, fm_val y, const fm_val *dx) {
  fm_val a = fm_arg(p, y, 0), b = fm_arg(p, y, 1);
  return fm_add(p, fm_mul(p, dx[0], b), fm_mul(p, a, dx[1]));
}

const fm_op fm_op_mul = {.name = "mul", .doc = "y = a b.", .args = "tt", .nin = 2, .cost = 1,
  .flags = FM_ELEMENTWISE, .jvp = jvp_mul, .samples = FM_BINARY_SAMPLES(-2, 2)};

static fm_val jvp_div(fm_prog *p, fm_val y, const fm_val *dx) { /* (da - y db) / b */
  fm_val b = fm_arg(p, y, 1);
  fm_val d = fm_sub(p, dx[0], fm_mul(p, y, dx[1]));
  return d == FM_NONE ? FM_NONE : fm_e2(p, &fm_op_div, d, b);
}

const fm_op fm_op_div = {.name = "div", .doc = "y = a / b.", .args = "tt", .nin = 2, .cost = 4,
  .flags = FM_ELEMENTWISE, .jvp = jvp_div, .samples = FM_BINARY_SAMPLES(0.5, 2)};

static fm_val jvp_square(fm_prog *p, fm_val y, const fm_val *dx) {
  return fm_mul(p, dx[0], fm_scale(p, fm_arg(p, y, 0), 2));
}

const fm_op fm_op_square = {.name = "square", .doc = "y = x^2.", .args = "t", .nin = 1, .cost = 1,
  .flags = FM_ELEMENTWISE, .jvp = jvp_square, .samples = FM_UNARY_SAMPLES(-2, 2)};

static fm_val jvp_recip(fm_prog *p, fm_val y, const fm_val *dx) { /* -y^2 dx */
  return fm_scale(p, fm_mul(p, dx[0], fm_e1(p, &fm_op_square, y)), -1);
}

const fm_op fm_op_recip = {.name = "recip", .doc = "y = 1 / x.", .args = "t", .nin = 1, .cost = 4,
  .flags = FM_ELEMENTWISE, .jvp = jvp_recip, .samples = FM_UNARY_SAMPLES(0.5, 2)};

#endif
