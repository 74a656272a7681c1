/* rows.c - rows of a table by number (0-based, stored as floating-point whole numbers), and the
** transpose, which adds rows into a table. For a number outside the table, gather gives a row of
** NaN, so that the mistake shows at once, and scatter leaves the row out. The transpose of scatter
** is a gather that gives zeros there: what was left out has no derivative. */
#include <string.h>

#include "ops.h"

enum { ZEROS }; /* attr.i of gather: outside of the table zeros, not NaN */

#ifndef FM_RULES

#include "../kernels/workspace.h"

static int64_t row_size(const fm_shape *s) {
  int64_t n = 1;
  for (int k = 1; k < s->nd; k++) n *= s->d[k];
  return n;
}

FM_EXEC(gather) {
  const T *table = e->x[0], *index = e->x[1];
  int64_t rows = e->in[0].shape.d[0], size = row_size(&e->in[0].shape);
  const T outside = e->attr->i[ZEROS] ? 0 : (T)NAN;
  T *y = e->y;
  for (int64_t r = 0; r < e->in[1].shape.d[0]; r++, y += size) {
    if (index[r] >= 0 && index[r] < (T)rows)
      memcpy(y, table + (int64_t)index[r] * size, (size_t)size * sizeof(T));
    else
      for (int64_t i = 0; i < size; i++) y[i] = outside;
  }
}

/* Columns [from, from + n) of rows [first, end) of the table, accumulated in double. */
static void scatter_part(const fm_exec *e, int64_t first, int64_t end, int64_t from, int64_t n) {
  const int64_t size = row_size(&e->out->shape);
  const T *index = e->x[1];
  double *sum = (double *)(void *)fm_conv_workspace;
  memset(sum, 0, (size_t)((end - first) * n) * sizeof *sum);
  for (int64_t r = 0; r < e->in[1].shape.d[0]; r++) {
    if (!(index[r] >= (T)first && index[r] < (T)end)) continue;
    const T *x = (const T *)e->x[0] + r * size + from;
    double *to = sum + ((int64_t)index[r] - first) * n;
    for (int64_t i = 0; i < n; i++) to[i] += (double)x[i];
  }
  for (int64_t r = first; r < end; r++, sum += n) {
    T *y = (T *)e->y + r * size + from;
    for (int64_t i = 0; i < n; i++) y[i] = (T)sum[i];
  }
}

/* As many rows at a time as the workspace holds sums for. */
FM_EXEC(scatter) {
  const int64_t most = FM_CONV_WORKSPACE / (int64_t)sizeof(double);
  const int64_t rows = e->out->shape.d[0], size = row_size(&e->out->shape);
  if (size == 0) return;
  const int64_t n = size < most ? size : most, some = most / n;
  for (int64_t r = 0; r < rows; r += some)
    for (int64_t i = 0; i < size; i += n)
      scatter_part(e, r, rows - r < some ? rows : r + some, i, size - i < n ? size - i : n);
}

#endif

#ifdef FM_RULES

static fm_err infer_gather(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                           const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  (void)nin, (void)attr;
  if (in[0].shape.nd < 1 || in[1].shape.nd != 1 || in[0].dtype != in[1].dtype)
    return fm_fail(ctx, FM_EUSAGE, "%s: a table %s and row numbers %s found, expected a table of "
                   "rank 1 or more and a list of rank 1 of the same dtype", op->name,
                   fm_shape_text(&in[0].shape, a), fm_shape_text(&in[1].shape, b));
  *out = in[0];
  out->shape.d[0] = in[1].shape.d[0];
  return FM_OK;
}

enum { ROWS }; /* attr.i of scatter: rows of the table */

static fm_err infer_scatter(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                            const fm_attr *attr, fm_sig *out) {
  fm_err err = infer_gather(ctx, op, nin, in, attr, out);
  if (err == FM_OK && in[0].shape.d[0] != in[1].shape.d[0])
    return fm_fail(ctx, FM_EUSAGE, "%s: %lld rows and %lld row numbers found, expected as many",
                   op->name, (long long)in[0].shape.d[0], (long long)in[1].shape.d[0]);
  if (err == FM_OK) out->shape.d[0] = attr->i[ROWS];
  return err;
}

/* Linear in the rows for fixed row numbers. */
static fm_val jvp_rows(fm_prog *p, fm_val y, const fm_val *dx) {
  fm_attr a = fm_attr_of(p, y);
  fm_val in[2] = {dx[0], fm_arg(p, y, 1)};
  return dx[0] == FM_NONE ? FM_NONE : fm_emit(p, fm_op_of(p, y), 2, in, &a);
}

static void vjp_gather(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr a = {{fm_prog_sig(p, fm_arg(p, y, 0)).shape.d[0]}, {0}};
  fm_val in[2] = {dy, fm_arg(p, y, 1)};
  dx[0] = fm_emit(p, &fm_op_scatter, 2, in, &a);
  dx[1] = FM_NONE;
}

static void vjp_scatter(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr a = {{[ZEROS] = 1}, {0}};
  fm_val in[2] = {dy, fm_arg(p, y, 1)};
  dx[0] = fm_emit(p, &fm_op_gather, 2, in, &a);
  dx[1] = FM_NONE;
}

const fm_op fm_op_gather = {.name = "gather", .doc = "Rows of a table by 0-based "
  "number; NaN where it has none.",
  .args = "tt", .attrs = {"zeros"}, .nin = 2, .flags = FM_PICKS, .infer = infer_gather,
  .jvp = jvp_rows, .vjp = vjp_gather, .linear = {1},
  .samples = {{2, {FM_SHAPE2(4, 3), FM_SHAPE1(6)}, {{0}, {0}}, 0, 3.9, .whole = 2},
              {2, {FM_SHAPE2(3, 2), FM_SHAPE1(16)}, {{1}, {0}}, -2, 5, .whole = 2,
               .unprobed = true}}};

const fm_op fm_op_scatter = {.name = "scatter", .doc = "Rows added into a table of zeros, "
  "except those whose number it does not have.",
  .args = "tti", .attrs = {"rows"}, .nin = 2, .infer = infer_scatter, .jvp = jvp_rows,
  .vjp = vjp_scatter, .flags = FM_KEEP, .linear = {1},
  .samples = {{2, {FM_SHAPE2(6, 3), FM_SHAPE1(6)}, {{4}, {0}}, 0, 3.9, .whole = 2},
              {2, {FM_SHAPE2(16, 2), FM_SHAPE1(16)}, {{3}, {0}}, -2, 5, .whole = 2,
               .unprobed = true}}};

#endif
