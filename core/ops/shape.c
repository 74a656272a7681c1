/* shape.c - operations that move values without changing them. All are linear, and the transpose of
** each is here as well: reshape/reshape, transpose/transpose, slice/pad, concat/slices. */
#include <string.h>

#include "ops.h"

#ifndef FM_RULES

/* The shape as (outer, d[axis], inner). */
static void around(const fm_shape *s, int64_t axis, int64_t *outer, int64_t *inner) {
  *outer = *inner = 1;
  for (int i = 0; i < s->nd; i++) {
    if (i < axis) *outer *= s->d[i];
    if (i > axis) *inner *= s->d[i];
  }
}

FM_EXEC(reshape) {
  memcpy(e->y, e->x[0], (size_t)fm_shape_count(&e->out->shape) * fm_dtype_size(e->out->dtype));
}

/* The axes of y without those of size 1; axes that are neighbours in x and in y are merged. */
typedef struct axes {
  int n;
  int64_t d[FM_MAX_DIMS], from[FM_MAX_DIMS], to[FM_MAX_DIMS]; /* sizes; strides in x and in y */
} axes;

static axes merged(const fm_shape *in, const int64_t *order) {
  axes a = {0};
  int64_t stride[FM_MAX_DIMS] = {0}, step = 1;
  for (int k = in->nd - 1; k >= 0; k--) stride[k] = step, step *= in->d[k];
  for (int k = 0; k < in->nd; k++) {
    const int64_t d = in->d[order[k]], s = stride[order[k]];
    if (d == 1) continue;
    if (a.n > 0 && a.from[a.n - 1] == d * s) {
      a.d[a.n - 1] *= d;
      a.from[a.n - 1] = s;
    } else {
      a.d[a.n] = d;
      a.from[a.n++] = s;
    }
  }
  step = 1;
  for (int k = a.n - 1; k >= 0; k--) a.to[k] = step, step *= a.d[k];
  return a;
}

/* Three interleaved rows, to or from three separate ones: compilers turn this into shuffles. */
static void from_threes(T *restrict a, T *restrict b, T *restrict c, const T *restrict x,
                        int64_t n) {
  for (int64_t j = 0; j < n; j++) a[j] = x[3 * j], b[j] = x[3 * j + 1], c[j] = x[3 * j + 2];
}
static void to_threes(T *restrict y, const T *restrict a, const T *restrict b, const T *restrict c,
                      int64_t n) {
  for (int64_t i = 0; i < n; i++) y[3 * i] = a[i], y[3 * i + 1] = b[i], y[3 * i + 2] = c[i];
}

/* Transpose a plane, y[i t + j] = x[j s + i], i < m, j < n, in tiles of VN x VN in registers. */
static void turn(T *y, int64_t t, int64_t m, const T *x, int64_t s, int64_t n) {
  int64_t i = 0;
  if (m == 3 && s == 3) {
    from_threes(y, y + t, y + 2 * t, x, n);
    return;
  }
  if (n == 3 && t == 3) {
    to_threes(y, x, x + s, x + 2 * s, m);
    return;
  }
  for (; i + VN <= m; i += VN) {
    int64_t j = 0;
    for (; j + VN <= n; j += VN) {
      V tile[VN];
      for (int k = 0; k < VN; k++) tile[k] = vload(x + (j + k) * s + i);
      vtranspose(tile);
      for (int k = 0; k < VN; k++) vstore(y + (i + k) * t + j, tile[k]);
    }
    for (; j < n; j++)
      for (int k = 0; k < VN; k++) y[(i + k) * t + j] = x[j * s + i + k];
  }
  for (int64_t j = 0; i < m && j < n; j++)
    for (int64_t k = i; k < m; k++) y[k * t + j] = x[j * s + k];
}

/* Plane by plane, spanned by the fastest axes of x and y (rows where these are the same axis). */
FM_EXEC(transpose) {
  const axes a = merged(&e->in[0].shape, e->attr->i);
  const int last = a.n - 1;
  int64_t at[FM_MAX_DIMS] = {0}, planes = 1;
  int fast = last; /* the axis of y along which x is contiguous */
  while (fast > 0 && a.from[fast] != 1) fast--;
  for (int k = 0; k < last; k++) planes *= k == fast ? 1 : a.d[k];
  const T *x = e->x[0];
  T *y = e->y;
  if (fm_shape_count(&e->out->shape) == 0) return;
  if (a.n == 0) *y = *x;
  for (int64_t p = 0; a.n > 0 && p < planes; p++) {
    if (fast == last)
      memcpy(y, x, (size_t)a.d[last] * sizeof(T));
    else
      turn(y, a.to[fast], a.d[fast], x, a.from[last], a.d[last]);
    for (int k = last - 1; k >= 0; k--) { /* the next plane */
      if (k == fast) continue;
      x += a.from[k], y += a.to[k];
      if (++at[k] < a.d[k]) break;
      x -= a.from[k] * a.d[k], y -= a.to[k] * a.d[k];
      at[k] = 0;
    }
  }
}

/* memcpy, without a call for the short rows of images with few channels. */
static inline void move(T *y, const T *x, int64_t n) {
  if (n > 32 * VN) {
    memcpy(y, x, (size_t)n * sizeof(T));
    return;
  }
  for (int64_t i = 0; i < n; i += VN) vgive(y + i, vtake(x + i, n - i), n - i);
}

FM_EXEC(slice) {
  int64_t outer, inner, axis = e->attr->i[FM_AXIS];
  around(&e->in[0].shape, axis, &outer, &inner);
  int64_t from = e->in[0].shape.d[axis] * inner, to = e->out->shape.d[axis] * inner;
  int64_t start = e->attr->i[FM_START] * inner;
  for (int64_t o = 0; o < outer; o++, start += from)
    if (e->out->dtype == FM_U8)
      memcpy((uint8_t *)e->y + o * to, (const uint8_t *)e->x[0] + start, (size_t)to);
    else
      move((T *)e->y + o * to, (const T *)e->x[0] + start, to);
}

FM_EXEC(pad) {
  int64_t outer, inner, axis = e->attr->i[FM_AXIS];
  around(&e->in[0].shape, axis, &outer, &inner);
  int64_t from = e->in[0].shape.d[axis] * inner, to = e->out->shape.d[axis] * inner;
  const int64_t before = e->attr->i[FM_START] * inner, after = to - before - from;
  const T *x = e->x[0];
  T *y = e->y;
  for (int64_t o = 0; o < outer; o++, x += from, y += to) {
    memset(y, 0, (size_t)before * sizeof(T));
    move(y + before, x, from);
    memset(y + before + from, 0, (size_t)after * sizeof(T));
  }
}

FM_EXEC(concat) {
  int64_t outer, inner, axis = e->attr->i[FM_AXIS], at = 0;
  around(&e->out->shape, axis, &outer, &inner);
  int64_t to = e->out->shape.d[axis] * inner;
  for (int k = 0; k < e->nin; k++) {
    int64_t from = e->in[k].shape.d[axis] * inner;
    for (int64_t o = 0; o < outer; o++)
      move((T *)e->y + o * to + at, (const T *)e->x[k] + o * from, from);
    at += from;
  }
}

#endif

#ifdef FM_RULES

/* ------------------------------------------------------------------ reshape */

static fm_err infer_reshape(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                            const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  (void)nin;
  fm_err err = fm_infer_shape(ctx, op, in[0].dtype, attr, out);
  if (err != FM_OK) return err;
  if (fm_shape_count(&out->shape) == fm_shape_count(&in[0].shape)) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: the shape %s does not hold as many values as %s", op->name,
                 fm_shape_text(&out->shape, a), fm_shape_text(&in[0].shape, b));
}

static void vjp_reshape(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_sig x = fm_prog_sig(p, fm_arg(p, y, 0));
  dx[0] = fm_reshape(p, dy, &x.shape);
}

static fm_val fold_reshape(fm_prog *p, const fm_sig *y, const fm_attr *attr, const fm_val *in) {
  (void)attr;
  if (fm_op_of(p, in[0]) != &fm_op_reshape) return FM_NONE;
  return fm_reshape(p, fm_arg(p, in[0], 0), &y->shape);
}

static int64_t view_reshape(const fm_sig *x, const fm_attr *attr) {
  (void)x, (void)attr;
  return 0;
}

const fm_op fm_op_reshape = {.name = "reshape", .doc = "The same values in another shape.",
  .args = "ts", .attrs = {"shape"}, .nin = 1, .flags = FM_BYTES | FM_SAME | FM_SELECTS | FM_RESHAPE,
  .infer = infer_reshape, .jvp = fm_jvp_linear, .vjp = vjp_reshape, .linear = {FM_ALL},
  .fold = fold_reshape, .view = view_reshape,
  .samples = {{1, {FM_SHAPE2(4, 6)}, {{3, 2, 3, 4}, {0}}, -1, 1}}};

/* ------------------------------------------------------------------ transpose */

static fm_err infer_transpose(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                              const fm_attr *attr, fm_sig *out) {
  unsigned seen = 0;
  (void)nin;
  *out = in[0];
  for (int k = 0; k < in[0].shape.nd; k++) {
    int64_t from = attr->i[k];
    if (from < 0 || from >= in[0].shape.nd || (seen & (1u << from)))
      return fm_fail(ctx, FM_EUSAGE, "%s: axis %lld found at position %d, expected each axis of 1 "
                     "to %d once", op->name, (long long)fm_plus(from, 1), k + 1, in[0].shape.nd);
    seen |= 1u << from;
    out->shape.d[k] = in[0].shape.d[from];
  }
  return FM_OK;
}

static void vjp_transpose(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr a = fm_attr_of(p, y), inverse = {{0}, {0}};
  int nd = fm_prog_sig(p, y).shape.nd;
  for (int k = 0; k < nd; k++) inverse.i[a.i[k]] = k;
  dx[0] = fm_emit(p, &fm_op_transpose, 1, &dy, &inverse);
}

const fm_op fm_op_transpose = {.name = "transpose", .doc = "Axes in another order.", .args = "tp",
  .attrs = {"axes"}, .nin = 1, .flags = FM_SELECTS, .infer = infer_transpose, .jvp = fm_jvp_linear,
  .vjp = vjp_transpose, .linear = {FM_ALL},
  .samples = {{1, {FM_SHAPE3(2, 3, 5)}, {{2, 0, 1}, {0}}, -1, 1},
              {1, {FM_SHAPE2(4, 3)}, {{1, 0}, {0}}, -1, 1},
              {1, {{5, {2, 3, 1, 2, 3}}}, {{4, 0, 2, 3, 1}, {0}}, -1, 1},
              {1, {FM_SHAPE3(2, 21, 19)}, {{0, 2, 1}, {0}}, -1, 1}}};

/* ------------------------------------------------------------------ slice and pad */

static fm_err bad_axis(fm_ctx *ctx, const fm_op *op, const fm_sig *in, int64_t axis) {
  char b[96];
  return fm_fail(ctx, FM_EUSAGE, "%s: axis %lld found, expected one of the axes of the shape %s",
                 op->name, (long long)fm_plus(axis, 1), fm_shape_text(&in->shape, b));
}

static fm_err infer_slice(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                          const fm_attr *attr, fm_sig *out) {
  int64_t axis = attr->i[FM_AXIS], start = attr->i[FM_START], length = attr->i[FM_LENGTH];
  (void)nin;
  if (axis < 0 || axis >= in[0].shape.nd) return bad_axis(ctx, op, in, axis);
  *out = in[0];
  out->shape.d[axis] = length;
  if (start >= 0 && length >= 0 && length <= in[0].shape.d[axis] - start) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: entries %lld to %lld found, but axis %lld has %lld", op->name,
                 (long long)fm_plus(start, 1), (long long)fm_plus(start, length),
                 (long long)axis + 1, (long long)in[0].shape.d[axis]);
}

/* The length is that of the result. */
static fm_err infer_pad(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                        const fm_attr *attr, fm_sig *out) {
  int64_t axis = attr->i[FM_AXIS], start = attr->i[FM_START], length = attr->i[FM_LENGTH];
  (void)nin;
  if (axis < 0 || axis >= in[0].shape.nd) return bad_axis(ctx, op, in, axis);
  *out = in[0];
  out->shape.d[axis] = length;
  if (start >= 0 && fm_plus(start, in[0].shape.d[axis]) <= length) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: %lld entries from %lld on do not fit in %lld", op->name,
                 (long long)in[0].shape.d[axis], (long long)fm_plus(start, 1), (long long)length);
}

static void vjp_slice(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr a = fm_attr_of(p, y);
  a.i[FM_LENGTH] = fm_prog_sig(p, fm_arg(p, y, 0)).shape.d[a.i[FM_AXIS]];
  dx[0] = fm_emit(p, &fm_op_pad, 1, &dy, &a);
}

static void vjp_pad(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr a = fm_attr_of(p, y);
  int64_t length = fm_prog_sig(p, fm_arg(p, y, 0)).shape.d[a.i[FM_AXIS]];
  dx[0] = fm_slice(p, dy, (int)a.i[FM_AXIS], a.i[FM_START], length);
}

/* Slices along the first axis are contiguous, others have gaps. */
static int64_t view_slice(const fm_sig *x, const fm_attr *attr) {
  int64_t at = attr->i[FM_START];
  for (int k = 1; k < x->shape.nd; k++) at *= x->shape.d[k];
  return attr->i[FM_AXIS] == 0 ? at : -1;
}

const fm_op fm_op_slice = {.name = "slice", .doc = "`length` entries of an axis from `start` on.",
  .args = "taoi", .attrs = {"axis", "start", "length"}, .nin = 1,
  .flags = FM_BYTES | FM_PICKS | FM_SAME | FM_SELECTS | FM_PART, .infer = infer_slice,
  .jvp = fm_jvp_linear, .vjp = vjp_slice, .linear = {FM_ALL}, .view = view_slice,
  .samples = {{1, {FM_SHAPE3(4, 5, 3)}, {{1, 2, 2}, {0}}, -1, 1},
              {1, {FM_SHAPE2(4, 5)}, {{0, 1, 3}, {0}}, -1, 1}}};

const fm_op fm_op_pad = {.name = "pad", .doc = "Zeros around: x becomes a slice of the result.",
  .args = "taoi", .attrs = {"axis", "start", "length"}, .nin = 1, .flags = FM_SAME,
  .infer = infer_pad, .jvp = fm_jvp_linear, .vjp = vjp_pad, .linear = {FM_ALL},
  .samples = {{1, {FM_SHAPE3(4, 2, 3)}, {{1, 2, 5}, {0}}, -1, 1},
              {1, {FM_SHAPE2(4, 5)}, {{0, 1, 6}, {0}}, -1, 1}}};

/* ------------------------------------------------------------------ concat */

static fm_err infer_concat(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                           const fm_attr *attr, fm_sig *out) {
  int64_t axis = attr->i[FM_AXIS], total = 0;
  if (nin < 1)
    return fm_fail(ctx, FM_EUSAGE, "%s: no tensor found, expected one or more", op->name);
  if (axis < 0 || axis >= in[0].shape.nd) return bad_axis(ctx, op, in, axis);
  if (axis > 0 && nin > FM_MAX_OPERANDS) /* along the first axis programs write part by part */
    return fm_fail(ctx, FM_EUSAGE, "%s: %d tensors found, expected at most %d along axis %lld",
                   op->name, nin, FM_MAX_OPERANDS, (long long)axis + 1);
  for (int k = 0; k < nin; k++) {
    fm_shape s = in[k].shape;
    if (s.nd == in[0].shape.nd) {
      total = fm_plus(total, s.d[axis]);
      s.d[axis] = in[0].shape.d[axis];
    }
    if (!fm_shape_eq(&s, &in[0].shape) || in[k].dtype != in[0].dtype) {
      char a[96], b[96];
      return fm_fail(ctx, FM_EUSAGE, "%s: tensor %d has the shape %s (%s), which does not "
                     "continue %s (%s) along axis %lld", op->name, k + 1,
                     fm_shape_text(&in[k].shape, a),
                     fm_dtype_name(in[k].dtype), fm_shape_text(&in[0].shape, b),
                     fm_dtype_name(in[0].dtype), (long long)axis + 1);
    }
  }
  *out = in[0];
  out->shape.d[axis] = total;
  return FM_OK;
}

static void vjp_concat(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  int axis = (int)fm_attr_of(p, y).i[FM_AXIS];
  int64_t at = 0;
  for (int k = 0; k < fm_nargs(p, y); k++) {
    int64_t length = fm_prog_sig(p, fm_arg(p, y, k)).shape.d[axis];
    dx[k] = fm_slice(p, dy, axis, at, length);
    at += length;
  }
}

static bool joins_concat(const fm_attr *attr) { return attr->i[FM_AXIS] == 0; }

/* Append v, or the parts that v concatenates along this axis, to a list of n values; returns the
   new n. */
static int append(const fm_prog *p, fm_val v, int64_t axis, fm_val *list, int n) {
  bool parts = fm_op_of(p, v) == &fm_op_concat && fm_attr_of(p, v).i[FM_AXIS] == axis;
  for (int k = 0; k < (parts ? fm_nargs(p, v) : 1) && n <= FM_MAX_OPERANDS; k++)
    list[n++] = parts ? fm_arg(p, v, k) : v;
  return n;
}

/*
** The sum of two neighbouring parts of an axis, each padded to its whole length, is one padded
** concatenation. Thus the cotangents of all slices of a value become one concatenation instead of a
** sum of mostly zeros.
*/
fm_val fm_join_pads(fm_prog *p, const fm_val *in) {
  if (fm_op_of(p, in[0]) != &fm_op_pad || fm_op_of(p, in[1]) != &fm_op_pad) return FM_NONE;
  int lower = fm_attr_of(p, in[0]).i[FM_START] > fm_attr_of(p, in[1]).i[FM_START];
  fm_attr a = fm_attr_of(p, in[lower]), b = fm_attr_of(p, in[1 - lower]);
  fm_val first = fm_arg(p, in[lower], 0), second = fm_arg(p, in[1 - lower], 0);
  const int64_t axis = a.i[FM_AXIS], length = fm_prog_sig(p, first).shape.d[axis];
  fm_val list[FM_MAX_OPERANDS + 1];
  if (b.i[FM_AXIS] != axis || a.i[FM_START] + length != b.i[FM_START]) return FM_NONE;
  int n = append(p, second, axis, list, append(p, first, axis, list, 0));
  if (n > FM_MAX_OPERANDS) return FM_NONE;
  fm_val both = fm_concat(p, n, list, (int)axis);
  return both == FM_NONE ? FM_NONE : fm_emit(p, &fm_op_pad, 1, &both, &a);
}

const fm_op fm_op_concat = {.name = "concat", .doc = "Tensors one after the other along an axis.",
  .args = "Ta", .attrs = {"axis"}, .nin = -1, .flags = FM_SAME, .infer = infer_concat,
  .jvp = fm_jvp_linear, .vjp = vjp_concat, .linear = {FM_ALL}, .joins = joins_concat,
  .samples = {{2, {FM_SHAPE2(4, 2), FM_SHAPE2(4, 3)}, {{1}, {0}}, -1, 1},
              {3, {FM_SHAPE2(1, 3), FM_SHAPE2(2, 3), FM_SHAPE2(3, 3)}, {{0}, {0}}, -1, 1}}};

#endif
