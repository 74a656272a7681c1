/*
** pool.c - pooling of images (N, H, W, C) over k x k windows, `stride` pixels apart, with `pad`
** pixels of padding on every side. Padding is never the maximum; the average counts it on request.
** The derivative of the maximum follows the first largest value of a window: max_pick reads another
** image at that pixel, max_put writes there, and each is the transpose of the other.
*/
#include <string.h>

#include "ops.h"

enum { KERNEL, STRIDE, PAD, COUNT_PAD, HEIGHT, WIDTH }; /* attr.i; the last two: avg_unpool */

static inline int64_t stride_of(const fm_attr *a) {
  return a->i[STRIDE] ? a->i[STRIDE] : a->i[KERNEL];
}

#ifndef FM_RULES

typedef struct window { /* one window without its padding: rows x cols pixels from value `big` on */
  const fm_attr *attr;
  int64_t h, w, c, ow, oh; /* sizes of the large and the small image; channels */
  int64_t left, ox, oy, image;
  int64_t rows, cols, line, big, small;
} window;

static void clamp(int64_t at, int64_t k, int64_t size, int64_t *from, int64_t *count) {
  const int64_t lo = at < 0 ? 0 : at, hi = at + k > size ? size : at + k;
  *from = lo;
  *count = hi - lo;
}

static void place(window *w) {
  const int64_t k = w->attr->i[KERNEL], s = stride_of(w->attr), pad = w->attr->i[PAD];
  int64_t y, x;
  clamp(w->oy * s - pad, k, w->h, &y, &w->rows);
  clamp(w->ox * s - pad, k, w->w, &x, &w->cols);
  w->big = w->image + y * w->line + x * w->c;
}

static window start(const fm_exec *e, const fm_shape *large, const fm_shape *small) {
  window w = {.attr = e->attr, .h = large->d[1], .w = large->d[2], .c = large->d[3]};
  w.oh = small->d[1], w.ow = small->d[2], w.line = w.w * w.c;
  w.left = w.c ? fm_shape_count(small) / w.c : 0;
  place(&w);
  return w;
}

static void next(window *w) {
  w->left--;
  w->small += w->c;
  if (++w->ox == w->ow) {
    w->ox = 0;
    if (++w->oy == w->oh) w->oy = 0, w->image += w->h * w->line;
  }
  place(w);
}

FM_EXEC(max_pool) {
  for (window w = start(e, &e->in[0].shape, &e->out->shape); w.left > 0; next(&w))
    for (int64_t i = 0; i < w.c; i += VN) {
      const T *x = (const T *)e->x[0] + w.big + i;
      V best = vtake(x, w.c - i);
      for (int64_t r = 0; r < w.rows; r++)
        for (int64_t k = 0; k < w.cols; k++)
          best = vmax(best, vtake(x + r * w.line + k * w.c, w.c - i));
      vgive((T *)e->y + w.small + i, best, w.c - i);
    }
}

FM_EXEC(max_pick) {
  for (window w = start(e, &e->in[0].shape, &e->out->shape); w.left > 0; next(&w))
    for (int64_t i = 0; i < w.c; i += VN) {
      const T *x = (const T *)e->x[0] + w.big + i, *d = (const T *)e->x[1] + w.big + i;
      V best = vtake(x, w.c - i), pick = vtake(d, w.c - i);
      for (int64_t r = 0; r < w.rows; r++)
        for (int64_t k = 0; k < w.cols; k++) {
          V v = vtake(x + r * w.line + k * w.c, w.c - i);
          M more = vlt(best, v);
          best = vsel(more, v, best);
          pick = vsel(more, vtake(d + r * w.line + k * w.c, w.c - i), pick);
        }
      vgive((T *)e->y + w.small + i, pick, w.c - i);
    }
}

FM_EXEC(max_put) {
  memset(e->y, 0, (size_t)fm_shape_count(&e->out->shape) * sizeof(T));
  for (window w = start(e, &e->in[0].shape, &e->in[1].shape); w.left > 0; next(&w))
    for (int64_t i = 0; i < w.c; i += VN) {
      const T *x = (const T *)e->x[0] + w.big + i;
      T *y = (T *)e->y + w.big + i;
      V best = vtake(x, w.c - i), at = vset(0);
      V d = vtake((const T *)e->x[1] + w.small + i, w.c - i);
      for (int64_t k = 0; k < w.rows * w.cols; k++) {
        V v = vtake(x + k / w.cols * w.line + k % w.cols * w.c, w.c - i);
        M more = vlt(best, v);
        best = vsel(more, v, best);
        at = vsel(more, vset((T)k), at);
      }
      for (int64_t k = 0; k < w.rows * w.cols; k++) {
        T *to = y + k / w.cols * w.line + k % w.cols * w.c;
        V add = vsel(veq(at, vset((T)k)), d, vset(0));
        vgive(to, vtake(to, w.c - i) + add, w.c - i);
      }
    }
}

/* The weight of a value in the mean of its window. */
static T weight(const window *w) {
  const int64_t k = w->attr->i[KERNEL];
  return 1 / (T)(w->attr->i[COUNT_PAD] ? k * k : w->rows * w->cols);
}

/* The sum over a window, for VN channels or `left` < VN of them. */
static V window_sum(const window *w, const T *x, int64_t left) {
  V sum = vset(0);
  VD total[VDS];
  int64_t n = 0;
  for (int k = 0; k < VDS; k++) total[k] = vdset(0);
  for (int64_t r = 0; r < w->rows; r++)
    for (int64_t k = 0; k < w->cols; k++) {
      sum = sum + vtake(x + r * w->line + k * w->c, left);
      if (++n % FM_CHAIN == 0) vdeepen(total, &sum);
    }
  if (n < FM_CHAIN) return sum;
  vdeepen(total, &sum);
  return vnarrow(total);
}

FM_EXEC(avg_pool) {
  for (window w = start(e, &e->in[0].shape, &e->out->shape); w.left > 0; next(&w))
    for (int64_t i = 0; i < w.c; i += VN) {
      V sum = window_sum(&w, (const T *)e->x[0] + w.big + i, w.c - i);
      vgive((T *)e->y + w.small + i, sum * vset(weight(&w)), w.c - i);
    }
}

FM_EXEC(avg_unpool) {
  memset(e->y, 0, (size_t)fm_shape_count(&e->out->shape) * sizeof(T));
  for (window w = start(e, &e->out->shape, &e->in[0].shape); w.left > 0; next(&w))
    for (int64_t i = 0; i < w.c; i += VN) {
      T *y = (T *)e->y + w.big + i;
      V d = vtake((const T *)e->x[0] + w.small + i, w.c - i) * vset(weight(&w));
      for (int64_t r = 0; r < w.rows; r++)
        for (int64_t k = 0; k < w.cols; k++) {
          T *to = y + r * w.line + k * w.c;
          vgive(to, vtake(to, w.c - i) + d, w.c - i);
        }
    }
}

#endif

#ifdef FM_RULES

/* The shape of the pooled images. */
static fm_err pooled(fm_ctx *ctx, const fm_op *op, const fm_shape *s, const fm_attr *attr,
                     fm_shape *out) {
  char a[96];
  const int64_t k = attr->i[KERNEL], stride = stride_of(attr), pad = attr->i[PAD];
  if (s->nd != 4)
    return fm_fail(ctx, FM_EUSAGE, "%s: the shape %s found, expected images (N, H, W, C)",
                   op->name, fm_shape_text(s, a));
  if (k < 1 || k > 1024 || stride < 1 || pad < 0 || pad > k / 2)
    return fm_fail(ctx, FM_EUSAGE, "%s: window %lld, stride %lld, padding %lld found, expected a "
                   "window of 1 to 1024 pixels, a stride from 1 on and at most half a window of "
                   "padding", op->name, (long long)k, (long long)stride, (long long)pad);
  *out = *s;
  for (int d = 1; d < 3; d++) {
    if (s->d[d] < 1 || s->d[d] + 2 * pad < k)
      return fm_fail(ctx, FM_EUSAGE, "%s: the shape %s found, with padding %lld smaller than the "
                     "window of %lld pixels", op->name, fm_shape_text(s, a), (long long)pad,
                     (long long)k);
    out->d[d] = (s->d[d] + 2 * pad - k) / stride + 1;
  }
  return FM_OK;
}

static fm_err infer_pool(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                         const fm_attr *attr, fm_sig *out) {
  fm_err err = fm_infer_alike(ctx, op, nin, in, out);
  return err != FM_OK ? err : pooled(ctx, op, &in[0].shape, attr, &out->shape);
}

static fm_err unfit(fm_ctx *ctx, const fm_op *op, const fm_shape *small, const fm_shape *large) {
  char a[96], b[96];
  return fm_fail(ctx, FM_EUSAGE, "%s: the shape %s found, expected that of pooled images %s",
                 op->name, fm_shape_text(small, a), fm_shape_text(large, b));
}

static fm_err infer_max_put(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                            const fm_attr *attr, fm_sig *out) {
  fm_shape small;
  (void)nin;
  *out = in[0];
  fm_err err = pooled(ctx, op, &in[0].shape, attr, &small);
  if (err != FM_OK) return err;
  bool fits = fm_shape_eq(&small, &in[1].shape) && in[0].dtype == in[1].dtype;
  return fits ? FM_OK : unfit(ctx, op, &in[1].shape, &in[0].shape);
}

static fm_err infer_avg_unpool(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                               const fm_attr *attr, fm_sig *out) {
  fm_shape small;
  (void)nin;
  *out = in[0];
  out->shape.d[1] = attr->i[HEIGHT];
  out->shape.d[2] = attr->i[WIDTH];
  fm_err err = fm_check_sig(ctx, op, out);
  if (err == FM_OK) err = pooled(ctx, op, &out->shape, attr, &small);
  if (err != FM_OK) return err;
  return fm_shape_eq(&small, &in[0].shape) ? FM_OK : unfit(ctx, op, &in[0].shape, &out->shape);
}

static fm_val two(fm_prog *p, fm_val y, const fm_op *op, fm_val d) {
  fm_attr a = fm_attr_of(p, y);
  fm_val in[2] = {fm_arg(p, y, 0), d};
  return d == FM_NONE ? FM_NONE : fm_emit(p, op, 2, in, &a);
}

static fm_val jvp_max_pool(fm_prog *p, fm_val y, const fm_val *dx) {
  return two(p, y, &fm_op_max_pick, dx[0]);
}

static void vjp_max_pool(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  dx[0] = two(p, y, &fm_op_max_put, dy);
}

/* Both are piecewise constant in the first operand and linear in the second. */
static fm_val jvp_second(fm_prog *p, fm_val y, const fm_val *dx) {
  return two(p, y, fm_op_of(p, y), dx[1]);
}

static void vjp_max_pick(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  dx[1] = two(p, y, &fm_op_max_put, dy);
}

static void vjp_max_put(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  dx[1] = two(p, y, &fm_op_max_pick, dy);
}

static void vjp_avg_pool(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr a = fm_attr_of(p, y);
  fm_shape x = fm_prog_sig(p, fm_arg(p, y, 0)).shape;
  a.i[HEIGHT] = x.d[1], a.i[WIDTH] = x.d[2];
  dx[0] = fm_emit(p, &fm_op_avg_unpool, 1, &dy, &a);
}

static void vjp_avg_unpool(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr a = fm_attr_of(p, y);
  a.i[HEIGHT] = a.i[WIDTH] = 0;
  dx[0] = fm_emit(p, &fm_op_avg_pool, 1, &dy, &a);
}

static double flops_pool(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin, (void)in;
  return (double)fm_shape_count(&out->shape) * (double)(attr->i[KERNEL] * attr->i[KERNEL]);
}

#define X FM_SHAPE4(2, 5, 4, 3)
#define Y FM_SHAPE4(2, 2, 1, 3) /* windows 3, stride 2 */
#define Z FM_SHAPE4(2, 5, 4, 3) /* windows 3, stride 1, padding 1 */

const fm_op fm_op_max_pool = {.name = "max_pool", .doc = "Largest value in windows of images (N, "
  "H, W, C); the stride is the window and the padding 0 if not given.", .args = "ti|ii",
  .attrs = {"window", "stride", "pad"}, .nin = 1, .infer = infer_pool, .jvp = jvp_max_pool,
  .vjp = vjp_max_pool, .flops = flops_pool,
  .samples = {{1, {X}, {{3, 2}, {0}}, -2, 2}, {1, {X}, {{3, 1, 1}, {0}}, -2, 2},
              {1, {FM_SHAPE4(1, 4, 4, 17)}, {{2}, {0}}, -2, 2}}};

const fm_op fm_op_max_pick = {.name = "max_pick", .doc = "For operands x and d: the value of d "
  "where max_pool finds the largest x.", .args = "tti|ii", .attrs = {"window", "stride", "pad"},
  .nin = 2, .infer = infer_pool, .jvp = jvp_second, .vjp = vjp_max_pick, .flops = flops_pool,
  .linear = {2},
  .samples = {{2, {X, X}, {{3, 2}, {0}}, -2, 2}, {2, {X, X}, {{3, 1, 1}, {0}}, -2, 2}}};

const fm_op fm_op_max_put = {.name = "max_put", .doc = "For operands x and d: zeros, and each "
  "value of d added where max_pool finds the largest x.", .args = "tti|ii",
  .attrs = {"window", "stride", "pad"}, .nin = 2, .infer = infer_max_put, .jvp = jvp_second,
  .vjp = vjp_max_put, .flops = flops_pool, .linear = {2},
  .samples = {{2, {X, Y}, {{3, 2}, {0}}, -2, 2}, {2, {X, Z}, {{3, 1, 1}, {0}}, -2, 2}}};

const fm_op fm_op_avg_pool = {.name = "avg_pool", .doc = "Mean over windows of images (N, H, W, "
  "C); the stride is the window, the padding 0 and not counted if not given.", .args = "ti|iib",
  .attrs = {"window", "stride", "pad", "count_pad"}, .nin = 1, .infer = infer_pool,
  .jvp = fm_jvp_linear, .vjp = vjp_avg_pool, .flops = flops_pool, .linear = {FM_ALL},
  .samples = {{1, {X}, {{3, 2}, {0}}, -1, 1}, {1, {X}, {{3, 1, 1}, {0}}, -1, 1},
              {1, {X}, {{3, 1, 1, 1}, {0}}, -1, 1},
              {1, {FM_SHAPE4(1, 4, 4, 17)}, {{2}, {0}}, -1, 1}}};

const fm_op fm_op_avg_unpool = {.name = "avg_unpool", .doc = "The transpose of avg_pool, to images "
  "of this height and width.", .args = "tiiibii",
  .attrs = {"window", "stride", "pad", "count_pad", "height", "width"}, .nin = 1,
  .infer = infer_avg_unpool, .jvp = fm_jvp_linear, .vjp = vjp_avg_unpool, .flops = flops_pool,
  .linear = {FM_ALL}, .samples = {{1, {Y}, {{3, 2, 0, 0, 5, 4}, {0}}, -1, 1},
                                  {1, {Z}, {{3, 1, 1, 0, 5, 4}, {0}}, -1, 1},
                                  {1, {Z}, {{3, 1, 1, 1, 5, 4}, {0}}, -1, 1}}};

#endif
