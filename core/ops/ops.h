/*
** ops.h - how a file of ops/ is read. It is compiled once with FM_RULES (its rules and table
** entries) and once per instruction set and dtype (its kernels, through simd.h).
*/
#ifndef FM_OPS_H
#define FM_OPS_H

#include "../op.h"

#ifdef FM_RULES
#define FM_MAP1(name, expr)
#define FM_MAP2(name, expr)
#define FM_MAP3(name, expr)
#else
#include "../kernels/simd.h"
#define FM_EXEC(name)                     \
  void FM_FN(name)(const fm_exec *e);     \
  void FM_FN(name)(const fm_exec *e)
#endif

/* Elementwise samples of common kinds. */
#define FM_SHAPE1(a) {1, {a}}
#define FM_SHAPE2(a, b) {2, {a, b}}
#define FM_SHAPE3(a, b, c) {3, {a, b, c}}
#define FM_SHAPE4(a, b, c, d) {4, {a, b, c, d}}
#define FM_UNARY_SAMPLES(lo, hi) {{1, {FM_SHAPE2(3, 7)}, {{0}, {0}}, lo, hi}}
#define FM_BINARY_SAMPLES(lo, hi) {{2, {FM_SHAPE2(3, 7), FM_SHAPE2(3, 7)}, {{0}, {0}}, lo, hi}}

#endif
