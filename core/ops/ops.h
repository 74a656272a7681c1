/*
** ops.h - how a file of ops/ is compiled: once with FM_RULES (rules and table entries) and once per
** instruction set and dtype (kernels, through simd.h).
*/
#ifndef FM_OPS_H
#define FM_OPS_H

#include "../op.h"

#ifdef FM_RULES
#include "../op_names.h"
fm_val fm_join_pads(fm_prog *p, const fm_val *in); /* fold rule of pad + pad, in shape.c */
#define FM_MAP1(name, expr)
#define FM_MAP2(name, expr)
#define FM_MAP3(name, expr)
#else
#include "../kernels/simd.h"
/* Lane r of the result is the sum, or the maximum, over the lanes of x[r]; x is overwritten. */
#if VN > 1
#define FM_FOLD(x, join)                                                    \
  for (int h = VN / 2; h > 0; h /= 2)                                       \
    for (int i = 0; i < h; i++) {                                           \
      V low = FM_ZIP(x[i], x[i + h], 0), high = FM_ZIP(x[i], x[i + h], 1);  \
      x[i] = join;                                                          \
    }
#else
#define FM_FOLD(x, join)
#endif
static inline V vsums(V x[VN]) {
  FM_FOLD(x, low + high)
  return x[0];
}
static inline V vtops(V x[VN]) {
  FM_FOLD(x, vmax0(low, high))
  return x[0];
}

#define FM_EXEC(name)                     \
  void FM_FN(name)(const fm_exec *e);     \
  void FM_FN(name)(const fm_exec *e)
#endif

/* Shapes, and samples of elementwise operations. */
#define FM_SHAPE1(a) {1, {a}}
#define FM_SHAPE2(a, b) {2, {a, b}}
#define FM_SHAPE3(a, b, c) {3, {a, b, c}}
#define FM_SHAPE4(a, b, c, d) {4, {a, b, c, d}}
#define FM_UNARY_SAMPLES(lo, hi) {{1, {FM_SHAPE2(3, 7)}, {{0}, {0}}, lo, hi}}
#define FM_BINARY_SAMPLES(lo, hi) {{2, {FM_SHAPE2(3, 7), FM_SHAPE2(3, 7)}, {{0}, {0}}, lo, hi}}

#endif
