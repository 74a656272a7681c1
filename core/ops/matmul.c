/* matmul.c - (batched) matrix products y = op(a) op(b), where op may transpose; leading axes are
** equal. A product runs on one thread: the workers run side by side. */
#include <string.h>

#include "ops.h"

/* OpenBLAS multiplies where y has fewer columns than this, since a tile of our kernel would be
   mostly empty. A product in bfloat16 needs rows at least this long in a, b and y: inputs and
   outputs of a few coordinates keep their accuracy at next to no cost. The number of rows never
   matters. */
#define NARROW 8

bool fm_matmul_rounds(const fm_sig *in, const fm_sig *out); /* one of the rules, asked by kernels */

#ifndef FM_RULES

#include "../blas.h"
#include "../kernels/gemm.h"
#include "../kernels/gemm_bf16.h"
#include "../kernels/isa.h"

/* The largest inner dimension that is left to our kernels, which move their sums between registers
   and y every few hundred terms, and to those of OpenBLAS, some of which keep one sum for all
   terms. Longer products are sums of such products, in double. */
#define DEEPEST 65536
#define DEEPEST_BLAS 4096
#define ROWS 64 /* rows and columns of y at a time */
#define COLUMNS 128
_Static_assert(ROWS * COLUMNS * (sizeof(double) + sizeof(T)) <= FM_CONV_WORKSPACE,
               "a part of y: its sum, and one product");

typedef struct product { /* y = op(a) op(b) */
  bool ta, tb, narrow, bf16;
  int64_t m, n, k, lda, ldb, ldy;
  int64_t deepest; /* of k, in one piece */
} product;

static void multiply(const product *p, const T *a, const T *b, bool accumulate, T *y) {
#if FM_BITS == 32
  if (p->bf16) {
    FM_FN(gemm_bf16)(fm_bf16_native(), p->ta, p->tb, p->m, p->n, p->k, a, p->lda, b, p->ldb,
                     accumulate, y, p->ldy);
    return;
  }
#endif
  if (p->narrow && FM_GLUE(fm_blas_gemm_, FM_T)(p->ta, p->tb, p->m, p->n, p->k, a, p->lda, b,
                                                p->ldb, accumulate, y, p->ldy))
    return;
  FM_FN(gemm)(p->ta, p->tb, p->m, p->n, p->k, a, p->lda, b, p->ldb, accumulate, y, p->ldy);
}

/* A part of y, at most ROWS by COLUMNS, over the whole inner dimension. */
static void multiply_part(const product *p, const T *a, const T *b, bool accumulate, T *y) {
  double *sum = (double *)(void *)fm_conv_workspace;
  T *some = (T *)(void *)(sum + ROWS * COLUMNS);
  product piece = *p;
  piece.ldy = p->n;
  memset(sum, 0, (size_t)(p->m * p->n) * sizeof *sum);
  for (int64_t at = 0; at < p->k; at += p->deepest) {
    piece.k = p->k - at < p->deepest ? p->k - at : p->deepest;
    multiply(&piece, a + at * (p->ta ? p->lda : 1), b + at * (p->tb ? 1 : p->ldb), false, some);
    for (int64_t i = 0; i < p->m * p->n; i++) sum[i] += (double)some[i];
  }
  for (int64_t i = 0; i < p->m; i++, y += p->ldy)
    for (int64_t j = 0; j < p->n; j++)
      y[j] = (T)((accumulate ? (double)y[j] : 0) + sum[i * p->n + j]);
}

static void multiply_deep(const product *p, const T *a, const T *b, bool accumulate, T *y) {
  product part = *p;
  for (int64_t i = 0; i < p->m; i += ROWS)
    for (int64_t j = 0; j < p->n; j += COLUMNS) {
      part.m = p->m - i < ROWS ? p->m - i : ROWS, part.n = p->n - j < COLUMNS ? p->n - j : COLUMNS;
      multiply_part(&part, a + i * (p->ta ? 1 : p->lda), b + j * (p->tb ? p->ldb : 1), accumulate,
                    y + i * p->ldy + j);
    }
}

FM_EXEC(matmul) {
  const fm_shape *a = &e->in[0].shape, *b = &e->in[1].shape, *y = &e->out->shape;
  const int nd = y->nd;
  product p = {.ta = e->attr->i[FM_TA], .tb = e->attr->i[FM_TB]};
  p.m = y->d[nd - 2], p.n = y->d[nd - 1];
  int64_t count = 1;
  for (int i = 0; i < nd - 2; i++) count *= y->d[i];
  p.lda = a->d[nd - 1], p.ldb = b->d[nd - 1], p.ldy = p.n;
  p.k = a->d[p.ta ? nd - 2 : nd - 1];
  p.narrow = p.n < NARROW;
  p.deepest = p.narrow ? DEEPEST_BLAS : DEEPEST;
  p.bf16 = e->bf16 && fm_matmul_rounds(e->in, e->out);
  if (p.m == 0 || p.n == 0) return;
  for (int64_t i = 0; i < count; i++)
    (p.k > p.deepest ? multiply_deep : multiply)(&p, (const T *)e->x[0] + i * p.m * p.k,
                                               (const T *)e->x[1] + i * p.k * p.n, e->accumulate,
                                               (T *)e->y + i * p.m * p.n);
}

#endif

#ifdef FM_RULES

bool fm_matmul_rounds(const fm_sig *in, const fm_sig *out) {
  const int last = out->shape.nd - 1;
  return out->shape.d[last] >= NARROW && in[0].shape.d[last] >= NARROW &&
         in[1].shape.d[last] >= NARROW;
}

static fm_err infer_matmul(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                           const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  const fm_shape *x = &in[0].shape, *w = &in[1].shape;
  int nd = x->nd, ta = attr->i[FM_TA] != 0, tb = attr->i[FM_TB] != 0;
  (void)nin;
  bool ok = nd >= 2 && w->nd == nd && in[0].dtype == in[1].dtype;
  for (int k = 0; ok && k < nd - 2; k++) ok = x->d[k] == w->d[k];
  ok = ok && x->d[ta ? nd - 2 : nd - 1] == w->d[tb ? nd - 1 : nd - 2];
  if (!ok)
    return fm_fail(ctx, FM_EUSAGE, "%s: the shapes %s%s (%s) and %s%s (%s) cannot be multiplied",
                   op->name, fm_shape_text(x, a), ta ? " transposed" : "",
                   fm_dtype_name(in[0].dtype), fm_shape_text(w, b), tb ? " transposed" : "",
                   fm_dtype_name(in[1].dtype));
  *out = in[0];
  out->shape.d[nd - 2] = x->d[ta ? nd - 1 : nd - 2];
  out->shape.d[nd - 1] = w->d[tb ? nd - 2 : nd - 1];
  return FM_OK;
}

static fm_val jvp_matmul(fm_prog *p, fm_val y, const fm_val *dx) {
  fm_attr t = fm_attr_of(p, y);
  fm_val a = fm_arg(p, y, 0), b = fm_arg(p, y, 1), da = FM_NONE, db = FM_NONE;
  if (dx[0] != FM_NONE) da = fm_matmul(p, dx[0], b, t.i[FM_TA], t.i[FM_TB]);
  if (dx[1] != FM_NONE) db = fm_matmul(p, a, dx[1], t.i[FM_TA], t.i[FM_TB]);
  return fm_add(p, da, db);
}

/* y = a b: da = dy b', db = a' dy, and the same with either operand transposed. */
static void vjp_matmul(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr t = fm_attr_of(p, y);
  bool ta = t.i[FM_TA], tb = t.i[FM_TB];
  fm_val a = fm_arg(p, y, 0), b = fm_arg(p, y, 1);
  dx[0] = ta ? fm_matmul(p, b, dy, tb, true) : fm_matmul(p, dy, b, false, !tb);
  dx[1] = tb ? fm_matmul(p, dy, a, true, ta) : fm_matmul(p, a, dy, !ta, false);
}

static double flops_matmul(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin;
  int nd = in[0].shape.nd;
  return 2.0 * (double)fm_shape_count(&out->shape) *
         (double)in[0].shape.d[attr->i[FM_TA] ? nd - 2 : nd - 1];
}

/* Rows of a matrix that is not transposed stack; so do sums over the rows of two matrices. */
static unsigned stacks_matmul(const fm_sig *in, const fm_attr *attr) {
  if (in[0].shape.nd != 2) return 0;
  if (!attr->i[FM_TA]) return FM_STACKS_ROWS;
  return attr->i[FM_TB] ? 0 : FM_STACKS_SUMS;
}

const fm_op fm_op_matmul = {.name = "matmul", .doc = "Matrix product of a and b, transposed where "
  "ta and tb are true; leading axes are equal.", .args = "tt|bb", .attrs = {"ta", "tb"}, .nin = 2,
  .infer = infer_matmul, .jvp = jvp_matmul, .vjp = vjp_matmul, .flops = flops_matmul,
  .rounds = fm_matmul_rounds,
  .accumulates = true, .flags = FM_STACKS_ROWS | FM_STACKS_SUMS | FM_BLAS, .stacks = stacks_matmul,
  .linear = {1, 2},
  .samples = {{2, {FM_SHAPE2(5, 4), FM_SHAPE2(4, 3)}, {{0, 0}, {0}}, -1, 1},
              {2, {FM_SHAPE2(4, 5), FM_SHAPE2(3, 4)}, {{1, 1}, {0}}, -1, 1},
              {2, {FM_SHAPE2(4, 5), FM_SHAPE2(4, 3)}, {{1, 0}, {0}}, -1, 1},
              {2, {FM_SHAPE3(2, 5, 4), FM_SHAPE3(2, 3, 4)}, {{0, 1}, {0}}, -1, 1}}};

#endif
