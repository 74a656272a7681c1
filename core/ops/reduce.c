/* reduce.c - broadcasting, its transpose, and maxima. They are explicit operations on equal ranks,
** so that elementwise operations need no shape logic. Sums are accumulated in double. */
#include <string.h>

#include "ops.h"

#ifndef FM_RULES

/* Walks the rows (all axes but the last) of `big`; `at` is the matching offset in `small`. */
typedef struct walk {
  int nd;
  int64_t d[FM_MAX_DIMS], stride[FM_MAX_DIMS], index[FM_MAX_DIMS], at, rows, inner;
  bool wide; /* small has the last axis, too */
} walk;

static walk walk_start(const fm_shape *big, const fm_shape *small) {
  walk w = {.nd = big->nd, .rows = 1, .inner = 1, .wide = true};
  int64_t s = 1;
  for (int k = big->nd - 1; k >= 0; k--) {
    w.d[k] = big->d[k];
    w.stride[k] = small->d[k] == 1 ? 0 : s;
    s *= small->d[k];
    if (k < big->nd - 1) w.rows *= big->d[k];
  }
  if (big->nd > 0) {
    w.inner = big->d[big->nd - 1];
    w.wide = small->d[big->nd - 1] == w.inner;
  }
  return w;
}

static void walk_next(walk *w) {
  for (int k = w->nd - 2; k >= 0; k--) {
    w->at += w->stride[k];
    if (++w->index[k] < w->d[k]) return;
    w->at -= w->stride[k] * w->d[k];
    w->index[k] = 0;
  }
}

FM_EXEC(broadcast) {
  walk w = walk_start(&e->out->shape, &e->in[0].shape);
  const T *x = e->x[0];
  T *y = e->y;
  for (int64_t r = 0; r < w.rows; r++, y += w.inner, walk_next(&w))
    if (w.wide)
      memcpy(y, x + w.at, (size_t)w.inner * sizeof(T));
    else
      for (int64_t i = 0; i < w.inner; i++) y[i] = x[w.at];
}

/* The rows of `big` along the axes that `small` keeps, or else along those that are summed. */
static walk walk_along(const fm_shape *big, const fm_shape *small, bool kept) {
  walk w = {.nd = big->nd, .rows = 1, .inner = 1};
  int64_t step = 1;
  for (int k = big->nd - 1; k >= 0; k--) {
    w.d[k] = (small->d[k] == big->d[k]) == kept ? big->d[k] : 1;
    w.stride[k] = step;
    step *= big->d[k];
    if (k < big->nd - 1) w.rows *= w.d[k];
  }
  return w;
}

#define TILE 256

/* Where the last axis is kept: n <= TILE columns of all rows of the walk. */
static void sum_columns(T *y, const T *x, int64_t n, walk w) {
  double acc[TILE] = {0};
  for (int64_t r = 0; r < w.rows; r++, walk_next(&w))
    for (int64_t i = 0; i < n; i++) acc[i] += (double)x[w.at + i];
  for (int64_t i = 0; i < n; i++) y[i] = (T)acc[i];
}

static double sum_row(const T *x, int64_t n) {
  double acc[8] = {0};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; k++) acc[k] += (double)x[i + k];
  for (; i < n; i++) acc[0] += (double)x[i];
  return ((acc[0] + acc[4]) + (acc[2] + acc[6])) + ((acc[1] + acc[5]) + (acc[3] + acc[7]));
}

static void sum_rows(T *y, const T *x, int64_t n, walk w) {
  double total = 0;
  for (int64_t r = 0; r < w.rows; r++, walk_next(&w)) total += sum_row(x + w.at, n);
  *y = (T)total;
}

FM_EXEC(sum_to) {
  const fm_shape *big = &e->in[0].shape, *small = &e->out->shape;
  walk kept = walk_along(big, small, true), gone = walk_along(big, small, false);
  int64_t inner = big->nd > 0 ? big->d[big->nd - 1] : 1;
  bool wide = inner > 1 && small->d[big->nd - 1] == inner;
  T *y = e->y;
  if (fm_shape_count(big) == 0) {
    memset(y, 0, (size_t)fm_shape_count(small) * sizeof(T));
    return;
  }
  for (int64_t r = 0; r < kept.rows; r++, y += wide ? inner : 1, walk_next(&kept)) {
    const T *x = (const T *)e->x[0] + kept.at;
    if (!wide) sum_rows(y, x, inner, gone);
    for (int64_t i = 0; wide && i < inner; i += TILE)
      sum_columns(y + i, x + i, inner - i < TILE ? inner - i : TILE, gone);
  }
}

/* NaN if any value is NaN. */
static T max_row(const T *x, int64_t n) {
  V top = vset(-(T)INFINITY);
  int64_t i = 0;
  for (; i + VN <= n; i += VN) top = vmax(top, vload(x + i));
  for (; i < n; i++) top = vmax(top, vset(x[i]));
  return vmaxall(top);
}

FM_EXEC(max_to) {
  walk w = walk_start(&e->in[0].shape, &e->out->shape);
  const T *x = e->x[0];
  T *y = e->y;
  int64_t n = fm_shape_count(&e->out->shape);
  for (int64_t i = 0; i < n; i++) y[i] = -(T)INFINITY;
  for (int64_t r = 0; r < w.rows; r++, x += w.inner, walk_next(&w)) {
    const T one = w.wide ? 0 : max_row(x, w.inner), *from = w.wide ? x : &one;
    for (int64_t i = 0, m = w.wide ? w.inner : 1; i < m; i += VN)
      vgive(y + w.at + i, vmax(vtake(y + w.at + i, m - i), vtake(from + i, m - i)), m - i);
  }
}

#endif

#ifdef FM_RULES

static fm_err infer_to(fm_ctx *ctx, const fm_op *op, const fm_sig *in, const fm_attr *attr,
                       fm_sig *out, bool grow) {
  char a[96], b[96];
  fm_err err = fm_infer_shape(ctx, op, in[0].dtype, attr, out);
  if (err != FM_OK) return err;
  const fm_shape *big = grow ? &out->shape : &in[0].shape;
  const fm_shape *small = grow ? &in[0].shape : &out->shape;
  bool ok = big->nd == small->nd;
  for (int k = 0; ok && k < big->nd; k++) ok = small->d[k] == big->d[k] || small->d[k] == 1;
  if (ok) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: the shape %s cannot become %s; expected equal ranks, and "
                 "every size kept or %s 1", op->name, fm_shape_text(&in[0].shape, a),
                 fm_shape_text(&out->shape, b), grow ? "grown from" : "reduced to");
}

static fm_err infer_broadcast(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                              const fm_attr *attr, fm_sig *out) {
  (void)nin;
  return infer_to(ctx, op, in, attr, out, true);
}

static fm_err infer_reduce(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                           const fm_attr *attr, fm_sig *out) {
  (void)nin;
  return infer_to(ctx, op, in, attr, out, false);
}

/* An empty set of values has no maximum. */
static fm_err infer_max(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                        const fm_attr *attr, fm_sig *out) {
  char b[96];
  fm_err err = infer_reduce(ctx, op, nin, in, attr, out);
  if (err != FM_OK || fm_shape_count(&out->shape) == 0 || fm_shape_count(&in[0].shape) > 0)
    return err;
  return fm_fail(ctx, FM_EUSAGE, "%s: the shape %s has no values along an axis of the maximum, "
                 "expected one or more", op->name, fm_shape_text(&in[0].shape, b));
}

static void vjp_broadcast(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_sig x = fm_prog_sig(p, fm_arg(p, y, 0));
  dx[0] = fm_sum_to(p, dy, &x.shape);
}

static void vjp_sum_to(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_sig x = fm_prog_sig(p, fm_arg(p, y, 0));
  dx[0] = fm_broadcast(p, dy, &x.shape);
}

/* A broadcast of a broadcast is one broadcast. */
static fm_val fold_broadcast(fm_prog *p, const fm_sig *y, const fm_attr *attr, const fm_val *in) {
  (void)attr;
  if (fm_op_of(p, in[0]) != &fm_op_broadcast) return FM_NONE;
  return fm_broadcast(p, fm_arg(p, in[0], 0), &y->shape);
}

static fm_val fold_sum_to(fm_prog *p, const fm_sig *y, const fm_attr *attr, const fm_val *in) {
  const fm_sig x = fm_prog_sig(p, in[0]);
  const double many = (double)fm_shape_count(&x.shape), few = (double)fm_shape_count(&y->shape);
  double value;
  (void)attr;
  if (!fm_known(p, in[0], &value) || few == 0) return FM_NONE;
  return fm_full(p, *y, value * many / few);
}

static double flops_reduce(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin, (void)out, (void)attr;
  return (double)fm_shape_count(&in[0].shape);
}

const fm_op fm_op_broadcast = {.name = "broadcast", .doc = "Sizes of 1 repeated to a shape.",
  .args = "ts", .attrs = {"shape"}, .nin = 1, .flags = FM_SAME | FM_SELECTS | FM_REPEAT,
  .infer = infer_broadcast, .jvp = fm_jvp_linear, .vjp = vjp_broadcast, .linear = {FM_ALL},
  .fold = fold_broadcast, .samples = {{1, {FM_SHAPE2(1, 7)}, {{2, 5, 7}, {0}}, -1, 1},
                                      {1, {FM_SHAPE2(5, 1)}, {{2, 5, 7}, {0}}, -1, 1},
                                      {1, {FM_SHAPE3(2, 1, 3)}, {{3, 2, 5, 3}, {0}}, -1, 1}}};

const fm_op fm_op_sum_to = {.name = "sum_to", .doc = "Sums over the axes that become 1.",
  .args = "ts", .attrs = {"shape"}, .nin = 1, .flags = FM_SAME | FM_CLOSES_PASS | FM_KEEP,
  .infer = infer_reduce, .jvp = fm_jvp_linear, .vjp = vjp_sum_to, .flops = flops_reduce,
  .linear = {FM_ALL}, .fold = fold_sum_to,
  .samples = {{1, {FM_SHAPE2(5, 7)}, {{2, 1, 7}, {0}}, -1, 1},
              {1, {FM_SHAPE2(5, 7)}, {{2, 5, 1}, {0}}, -1, 1},
              {1, {FM_SHAPE3(2, 5, 3)}, {{3, 2, 1, 3}, {0}}, -1, 1},
              {1, {FM_SHAPE3(2, 5, 3)}, {{3, 1, 5, 1}, {0}}, -1, 1}}};

/* 1 where x is the maximum, divided evenly among ties. */
static fm_val max_mask(fm_prog *p, fm_val y) {
  fm_val x = fm_arg(p, y, 0);
  fm_sig big = fm_prog_sig(p, x), small = fm_prog_sig(p, y);
  fm_val hit = fm_e2(p, &fm_op_eq, x, fm_broadcast(p, y, &big.shape));
  fm_val ties = fm_broadcast(p, fm_sum_to(p, hit, &small.shape), &big.shape);
  return fm_e2(p, &fm_op_div, hit, ties);
}

static fm_val jvp_max_to(fm_prog *p, fm_val y, const fm_val *dx) {
  if (dx[0] == FM_NONE) return FM_NONE;
  fm_sig small = fm_prog_sig(p, y);
  return fm_sum_to(p, fm_mul(p, dx[0], max_mask(p, y)), &small.shape);
}

static void vjp_max_to(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_sig big = fm_prog_sig(p, fm_arg(p, y, 0));
  dx[0] = fm_mul(p, fm_broadcast(p, dy, &big.shape), max_mask(p, y));
}

const fm_op fm_op_max_to = {.name = "max_to", .doc = "The largest over the axes that become 1.",
  .args = "ts", .attrs = {"shape"}, .nin = 1, .infer = infer_max, .jvp = jvp_max_to,
  .vjp = vjp_max_to, .flops = flops_reduce, .flags = FM_SAME | FM_SELECTS,
  .samples = {{1, {FM_SHAPE2(5, 7)}, {{2, 1, 7}, {0}}, -1, 1},
              {1, {FM_SHAPE2(5, 7)}, {{2, 5, 1}, {0}}, -1, 1}}};

#endif
