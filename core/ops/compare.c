/* compare.c - comparisons (1 for true, 0 for false), selection, and piecewise linear functions. */
#include "ops.h"

#ifndef FM_RULES
#define ONE vset((T)1)
#define ZERO vset((T)0)
#endif

FM_MAP2(lt, vsel(vlt(A, B), ONE, ZERO))
FM_MAP2(le, vsel(vle(A, B), ONE, ZERO))
FM_MAP2(eq, vsel(veq(A, B), ONE, ZERO))
FM_MAP3(where, vsel(veq(A, ZERO), C, B))
FM_MAP2(maximum, vmax(A, B))
FM_MAP2(minimum, vmin(A, B))
FM_MAP1(abs, vabs(A))
FM_MAP1(sign, vsel(vlt(ZERO, A), ONE, vsel(vlt(A, ZERO), -ONE, A))) /* zeros and NaN are kept */
FM_MAP1(floor, vfloor(A))

#ifdef FM_RULES

#define COMPARE(op, text)                                                                      \
  const fm_op fm_op_##op = {.name = #op, .doc = "1 where a " text " b, else 0.", .args = "tt", \
    .nin = 2, .cost = 1, .flags = FM_ELEMENTWISE, .samples = FM_BINARY_SAMPLES(-2, 2)};
COMPARE(lt, "<")
COMPARE(le, "<=")
COMPARE(eq, "=")

/* where(c, da, db); absent tangents are zeros. */
static fm_val select_tangent(fm_prog *p, fm_val c, fm_val da, fm_val db) {
  if (da == FM_NONE && db == FM_NONE) return FM_NONE;
  fm_val zero = fm_full(p, fm_prog_sig(p, c), 0);
  fm_val in[3] = {c, da == FM_NONE ? zero : da, db == FM_NONE ? zero : db};
  return fm_emit(p, &fm_op_where, 3, in, NULL);
}

static fm_val jvp_where(fm_prog *p, fm_val y, const fm_val *dx) {
  return select_tangent(p, fm_arg(p, y, 0), dx[1], dx[2]);
}

const fm_op fm_op_where = {.name = "where", .doc = "For operands c, a and b: a where c is not 0, "
  "else b.", .args = "ttt", .nin = 3, .cost = 1, .flags = FM_ELEMENTWISE, .jvp = jvp_where,
  .linear = {2 | 4},
  .samples = {{3, {FM_SHAPE2(3, 7), FM_SHAPE2(3, 7), FM_SHAPE2(3, 7)}, {{0}, {0}}, -2, 2}}};

/* The tangent follows the chosen operand, at a tie the first. */
static fm_val jvp_maximum(fm_prog *p, fm_val y, const fm_val *dx) {
  fm_val a = fm_arg(p, y, 0), b = fm_arg(p, y, 1);
  return select_tangent(p, fm_e2(p, &fm_op_le, b, a), dx[0], dx[1]);
}

const fm_op fm_op_maximum = {.name = "maximum", .doc = "The larger of a and b.", .args = "tt",
  .nin = 2, .cost = 1, .flags = FM_ELEMENTWISE, .jvp = jvp_maximum,
  .samples = FM_BINARY_SAMPLES(-2, 2)};

static fm_val jvp_minimum(fm_prog *p, fm_val y, const fm_val *dx) {
  fm_val a = fm_arg(p, y, 0), b = fm_arg(p, y, 1);
  return select_tangent(p, fm_e2(p, &fm_op_le, a, b), dx[0], dx[1]);
}

const fm_op fm_op_minimum = {.name = "minimum", .doc = "The smaller of a and b.", .args = "tt",
  .nin = 2, .cost = 1, .flags = FM_ELEMENTWISE, .jvp = jvp_minimum,
  .samples = FM_BINARY_SAMPLES(-2, 2)};

static fm_val jvp_abs(fm_prog *p, fm_val y, const fm_val *dx) {
  return fm_mul(p, dx[0], fm_e1(p, &fm_op_sign, fm_arg(p, y, 0)));
}

const fm_op fm_op_abs = {.name = "abs", .doc = "y = |x|.", .args = "t", .nin = 1, .cost = 1,
  .flags = FM_ELEMENTWISE, .jvp = jvp_abs, .samples = FM_UNARY_SAMPLES(-2, 2)};

const fm_op fm_op_sign = {.name = "sign", .doc = "-1, 0 or 1.", .args = "t", .nin = 1, .cost = 1,
  .flags = FM_ELEMENTWISE, .samples = FM_UNARY_SAMPLES(-2, 2)};

const fm_op fm_op_floor = {.name = "floor", .doc = "The largest whole number <= x.", .args = "t",
  .nin = 1, .cost = 1, .flags = FM_ELEMENTWISE, .samples = FM_UNARY_SAMPLES(-2, 2)};

#endif
