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

/* Arguments of a differentiated function pass through a copy (see fm_jvp): a variable, which must
   not be folded even where its value is known. Hence no FM_SELECTS. */
const fm_op fm_op_copy = {.name = "copy", .doc = "y = x.", .args = "t", .nin = 1, .cost = 0,
  .flags = FM_ELEMENTWISE | FM_IDENTITY | FM_UNIQUE, .jvp = jvp_copy, .linear = {FM_ALL},
  .samples = FM_UNARY_SAMPLES(-2, 2)};

const fm_op fm_op_stop = {.name = "stop", .doc = "y = x, a constant to differentiation.",
  .args = "t", .nin = 1, .cost = 0, .flags = FM_ELEMENTWISE | FM_IDENTITY | FM_SELECTS, .jvp = NULL,
  .samples = FM_UNARY_SAMPLES(-2, 2)};

static fm_val jvp_affine(fm_prog *p, fm_val y, const fm_val *dx) {
  return fm_scale(p, dx[0], fm_attr_of(p, y).f[FM_SCALE]);
}

static bool unshifted(const fm_attr *attr) { return attr->f[FM_SHIFT] == 0; }

static fm_val fold_affine(fm_prog *p, const fm_sig *y, const fm_attr *attr, const fm_val *in) {
  const double scale = attr->f[FM_SCALE], shift = attr->f[FM_SHIFT];
  double x;
  if (scale == 1 && shift == 0) return in[0];
  return fm_known(p, in[0], &x) ? fm_full(p, *y, scale * x + shift) : FM_NONE;
}

const fm_op fm_op_affine = {.name = "affine", .doc = "y = scale x + shift.", .args = "tnn",
  .attrs = {[FM_F + FM_SCALE] = "scale", [FM_F + FM_SHIFT] = "shift"}, .nin = 1, .cost = 2,
  .flags = FM_ELEMENTWISE, .jvp = jvp_affine, .linear = {FM_ALL}, .linear_if = unshifted,
  .fold = fold_affine, .samples = {{1, {FM_SHAPE2(3, 7)}, {{0}, {-1.5, 0.25}}, -2, 2}}};

/* a + q b where a or b is a known number. */
static fm_val fold_sum(fm_prog *p, const fm_val *in, double q) {
  double a, b;
  if (fm_known(p, in[1], &b)) return fm_affine(p, in[0], 1, q * b);
  return fm_known(p, in[0], &a) ? fm_affine(p, in[1], q, a) : FM_NONE;
}

static fm_val fold_add(fm_prog *p, const fm_sig *y, const fm_attr *attr, const fm_val *in) {
  (void)y, (void)attr;
  fm_val v = fold_sum(p, in, 1);
  return v == FM_NONE ? fm_join_pads(p, in) : v;
}

static fm_val jvp_add(fm_prog *p, fm_val y, const fm_val *dx) {
  (void)y;
  return fm_add(p, dx[0], dx[1]);
}

const fm_op fm_op_add = {.name = "add", .doc = "y = a + b.", .args = "tt", .nin = 2, .cost = 1,
  .flags = FM_ELEMENTWISE, .jvp = jvp_add, .linear = {FM_ALL}, .fold = fold_add,
  .samples = FM_BINARY_SAMPLES(-2, 2)};

static fm_val fold_sub(fm_prog *p, const fm_sig *y, const fm_attr *attr, const fm_val *in) {
  (void)y, (void)attr;
  return fold_sum(p, in, -1);
}

static fm_val jvp_sub(fm_prog *p, fm_val y, const fm_val *dx) {
  (void)y;
  return fm_sub(p, dx[0], dx[1]);
}

const fm_op fm_op_sub = {.name = "sub", .doc = "y = a - b.", .args = "tt", .nin = 2, .cost = 1,
  .flags = FM_ELEMENTWISE, .jvp = jvp_sub, .linear = {FM_ALL}, .fold = fold_sub,
  .samples = FM_BINARY_SAMPLES(-2, 2)};

static fm_val fold_mul(fm_prog *p, const fm_sig *y, const fm_attr *attr, const fm_val *in) {
  double a, b;
  (void)y, (void)attr;
  if (fm_known(p, in[1], &b)) return fm_scale(p, in[0], b);
  return fm_known(p, in[0], &a) ? fm_scale(p, in[1], a) : FM_NONE;
}

static fm_val jvp_mul(fm_prog *p, fm_val y, const fm_val *dx) {
  fm_val a = fm_arg(p, y, 0), b = fm_arg(p, y, 1);
  return fm_add(p, fm_mul(p, dx[0], b), fm_mul(p, a, dx[1]));
}

const fm_op fm_op_mul = {.name = "mul", .doc = "y = a b.", .args = "tt", .nin = 2, .cost = 1,
  .flags = FM_ELEMENTWISE, .jvp = jvp_mul, .linear = {1, 2}, .fold = fold_mul,
  .samples = FM_BINARY_SAMPLES(-2, 2)};

static fm_val jvp_div(fm_prog *p, fm_val y, const fm_val *dx) { /* (da - y db) / b */
  fm_val b = fm_arg(p, y, 1);
  fm_val d = fm_sub(p, dx[0], fm_mul(p, y, dx[1]));
  return d == FM_NONE ? FM_NONE : fm_e2(p, &fm_op_div, d, b);
}

const fm_op fm_op_div = {.name = "div", .doc = "y = a / b.", .args = "tt", .nin = 2, .cost = 4,
  .flags = FM_ELEMENTWISE, .jvp = jvp_div, .linear = {1}, .samples = FM_BINARY_SAMPLES(0.5, 2)};

static fm_val jvp_square(fm_prog *p, fm_val y, const fm_val *dx) {
  return fm_mul(p, dx[0], fm_scale(p, fm_arg(p, y, 0), 2));
}

static fm_val fold_square(fm_prog *p, const fm_sig *y, const fm_attr *attr, const fm_val *in) {
  double x;
  (void)attr;
  return fm_known(p, in[0], &x) ? fm_full(p, *y, x * x) : FM_NONE;
}

const fm_op fm_op_square = {.name = "square", .doc = "y = x^2.", .args = "t", .nin = 1, .cost = 1,
  .flags = FM_ELEMENTWISE, .jvp = jvp_square, .fold = fold_square,
  .samples = FM_UNARY_SAMPLES(-2, 2)};

static fm_val jvp_recip(fm_prog *p, fm_val y, const fm_val *dx) { /* -y^2 dx */
  return fm_scale(p, fm_mul(p, dx[0], fm_e1(p, &fm_op_square, y)), -1);
}

const fm_op fm_op_recip = {.name = "recip", .doc = "y = 1 / x.", .args = "t", .nin = 1, .cost = 4,
  .flags = FM_ELEMENTWISE, .jvp = jvp_recip, .samples = FM_UNARY_SAMPLES(0.5, 2)};

#endif
