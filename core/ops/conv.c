/* conv.c - convolution of images, channels last, and its two adjoints. With y the result of
** conv(x, w), zero outside x,
**   conv    y[n,i,j,o]  = sum w[o,a,b,c] x[n, i stride - ph + a, j stride - pw + b, c]
**   conv_x  x[n,h,v,c]  = sum w[o,a,b,c] y[n,i,j,o]   over all i stride - ph + a = h, same for j
**   conv_w  w[o,a,b,c]  = sum x[n, i stride - ph + a, ...] y[n,i,j,o]
** All three are bilinear, and the derivatives of each are the other two. Every bit of an image that
** conv or conv_x returns is independent of the other images of the call and of their number. */
#include "ops.h"

enum { CONV, CONV_X, CONV_W };
enum { SIZE = FM_PAD_X + 1 }; /* attr.i of conv_x and conv_w: height, then width of the result */

#ifndef FM_RULES

#include "../kernels/gemm.h"

/* Values gathered at a time: 384 KiB, which fit the L2 cache. DEEP: of one pixel, at most, so that
   a piece has some dozens of pixels, the rows of its product. */
#define PIECE (384 * 1024 / (int64_t)sizeof(T))
#define DEEP 2048

/* Which pixel of an image each pixel of a grid reads at each tap. */
typedef struct meeting {
  int64_t h, w, c;   /* image: rows, columns, channels */
  int64_t gh, gw;    /* grid */
  int64_t kh, kw;    /* taps */
  int64_t s, ph, pw; /* stride and padding */
  bool back;         /* from the result's pixels (images) to the operand's (grid): conv_x */
} meeting;

/* The row (or column) of the image that row i of the grid reads at tap a; -1: none. */
static inline int64_t partner(int64_t i, int64_t a, int64_t pad, int64_t s, bool back,
                              int64_t limit) {
  int64_t at = back ? i + pad - a : i * s - pad + a;
  if (at < 0 || (back && at % s != 0)) return -1;
  at = back ? at / s : at;
  return at < limit ? at : -1;
}

/* Gathers what pixels first .. first + count - 1 of all images' grids read at `taps` taps from the
   given one on, n channels from c on: out (count, taps, n). */
_Static_assert(PIECE * sizeof(T) <= FM_CONV_WORKSPACE, "a piece");
static void gather(const meeting *m, const T *x, int64_t first, int64_t count, int64_t tap,
                   int64_t taps, int64_t c, int64_t n, T *out) {
  int64_t j = first % m->gw, i = first / m->gw % m->gh, image = first / (m->gw * m->gh);
  for (int64_t p = 0; p < count; p++) {
    const T *from = x + image * m->h * m->w * m->c + c;
    int64_t a = tap / m->kw, b = tap % m->kw;
    for (int64_t t = 0; t < taps; t++, out += n) {
      int64_t row = partner(i, a, m->ph, m->s, m->back, m->h);
      int64_t column = partner(j, b, m->pw, m->s, m->back, m->w);
      if (row >= 0 && column >= 0)
        memcpy(out, from + (row * m->w + column) * m->c, (size_t)n * sizeof(T));
      else
        memset(out, 0, (size_t)n * sizeof(T));
      if (++b == m->kw) b = 0, a++;
    }
    if (++j < m->gw) continue;
    j = 0;
    if (++i == m->gh) i = 0, image++;
  }
}

/* Multiplies the gathered values `cols`: (count, n), of the pixels from p on, for the n pairs (tap,
   channel) from k on. */
static void multiply(const fm_exec *e, int kind, int64_t p, int64_t count, const T *cols, int64_t n,
                     int64_t k, int64_t tap, int64_t c) {
  const fm_shape *w = kind == CONV_W ? &e->out->shape : &e->in[1].shape;
  const int64_t O = w->d[0], I = w->d[3], K = w->d[1] * w->d[2] * I;
  const T *b = e->x[1];
  T *y = e->y;
  if (kind == CONV)
    FM_FN(gemm)(false, true, count, O, n, cols, n, b + k, K, e->accumulate || k > 0, y + p * O, O);
  else if (kind == CONV_X)
    FM_FN(gemm)(false, false, count, I, n, cols, n, b + c * K + tap * I, K, e->accumulate || k > 0,
                y + p * I, I);
  else
    FM_FN(gemm)(true, false, O, n, count, b + p * O, O, cols, n, e->accumulate || p > 0, y + k, K);
}

/* A sum over pixels loses digits with their number. Above MANY, the bound of ops/matmul.c, the
   gradient of the kernels is a sum in double of the products of pieces: of OUTPUTS channels of the
   result by PAIRS pairs (tap, channel) at a time, as large as the workspace allows. */
#define MANY 65536
#define OUTPUTS 64
#define PAIRS 1024
_Static_assert((PIECE + OUTPUTS * PAIRS) * sizeof(T) + OUTPUTS * PAIRS * sizeof(double) <=
                   FM_CONV_WORKSPACE,
               "a piece, a product and its sum");

/* `n` pairs from `k` on, all of tap t and channel c or of `taps` whole taps, for oc outputs. */
static void sum_pairs(const fm_exec *e, const meeting *m, int64_t o, int64_t oc, int64_t t,
                      int64_t taps, int64_t c, int64_t n) {
  T *cols = (T *)(void *)fm_conv_workspace, *some = cols + PIECE;
  double *sum = (double *)(void *)(some + OUTPUTS * PAIRS);
  const int64_t O = e->out->shape.d[0], K = m->kh * m->kw * m->c, width = taps * n;
  const int64_t pixels = e->in[1].shape.d[0] * m->gh * m->gw, rows = PIECE / width;
  memset(sum, 0, (size_t)(oc * width) * sizeof *sum);
  for (int64_t p = 0; p < pixels; p += rows) {
    int64_t count = pixels - p < rows ? pixels - p : rows;
    gather(m, e->x[0], p, count, t, taps, c, n, cols);
    FM_FN(gemm)(true, false, oc, width, count, (const T *)e->x[1] + p * O + o, O, cols, width,
                false, some, width);
    for (int64_t i = 0; i < oc * width; i++) sum[i] += (double)some[i];
  }
  for (int64_t i = 0; i < oc; i++)
    for (int64_t j = 0; j < width; j++) {
      T *y = (T *)e->y + (o + i) * K + t * m->c + c + j;
      *y = (T)((e->accumulate ? (double)*y : 0) + sum[i * width + j]);
    }
}

static void sum_many(const fm_exec *e, const meeting *m) {
  const int64_t O = e->out->shape.d[0], all = m->kh * m->kw;
  const int64_t chunk = m->c < PAIRS ? m->c : PAIRS, group = chunk < m->c ? 1 : PAIRS / chunk;
  for (int64_t o = 0; o < O; o += OUTPUTS)
    for (int64_t t = 0; t < all; t += group)
      for (int64_t c = 0; c < m->c; c += chunk)
        sum_pairs(e, m, o, O - o < OUTPUTS ? O - o : OUTPUTS, t, all - t < group ? all - t : group,
                  c, m->c - c < chunk ? m->c - c : chunk);
}

static void convolve(const fm_exec *e, int kind) {
  const fm_shape *x = &e->in[0].shape, *w = kind == CONV_W ? &e->out->shape : &e->in[1].shape;
  const fm_shape *grid = kind == CONV_W ? &e->in[1].shape : &e->out->shape;
  const int64_t *a = e->attr->i;
  const meeting m = {x->d[1], x->d[2], x->d[3], grid->d[1], grid->d[2], w->d[1],
                     w->d[2], a[FM_STRIDE], a[FM_PAD_Y], a[FM_PAD_X], kind == CONV_X};
  const int64_t pixels = x->d[0] * m.gh * m.gw, taps = m.kh * m.kw;
  const bool in_place = taps == 1 && m.s == 1 && m.ph == 0 && m.pw == 0;
  int64_t chunk = m.c < DEEP || in_place ? m.c : DEEP; /* channels and taps at a time */
  int64_t group = kind == CONV_X || chunk == 0 || chunk < m.c ? 1 : DEEP / chunk;
  group = group < 1 ? 1 : group > taps ? taps : group;
  int64_t rows = in_place || chunk == 0 ? pixels : PIECE / (group * chunk);
  if ((pixels == 0 || m.c == 0) && !e->accumulate)
    memset(e->y, 0, (size_t)fm_shape_count(&e->out->shape) * sizeof(T));
  if (kind == CONV_W && pixels > MANY) {
    sum_many(e, &m);
    return;
  }
  for (int64_t p = 0; p < pixels; p += rows)
    for (int64_t t = 0; t < taps; t += group)
      for (int64_t c = 0; c < m.c; c += chunk) {
        int64_t count = pixels - p < rows ? pixels - p : rows;
        int64_t some = taps - t < group ? taps - t : group, n = m.c - c < chunk ? m.c - c : chunk;
        if (!in_place) gather(&m, e->x[0], p, count, t, some, c, n, (T *)fm_conv_workspace);
        const T *cols = in_place ? e->x[0] : (const T *)fm_conv_workspace;
        multiply(e, kind, p, count, cols, some * n, t * m.c + c, t, c);
      }
}

FM_EXEC(conv) { convolve(e, CONV); }
FM_EXEC(conv_x) { convolve(e, CONV_X); }
FM_EXEC(conv_w) { convolve(e, CONV_W); }

#endif

#ifdef FM_RULES

/* ------------------------------------------------------------------ shapes */

#define LARGEST 32768 /* bound of stride, padding and sizes given as numbers: no sum overflows */

/* Checks the ranges; sizes only where they have names. */
static fm_err check_attr(fm_ctx *ctx, const fm_op *op, const fm_attr *attr, const char *size0,
                         const char *size1) {
  const char *names[] = {"stride", "vertical padding", "horizontal padding", size0, size1};
  for (int k = 0; k < 5 && names[k]; k++) {
    int64_t least = k == FM_PAD_Y || k == FM_PAD_X ? 0 : 1;
    if (attr->i[k] < least || attr->i[k] > LARGEST)
      return fm_fail(ctx, FM_EUSAGE, "%s: %s %lld found, expected %lld to %d", op->name, names[k],
                     (long long)attr->i[k], (long long)least, LARGEST);
  }
  return FM_OK;
}

/* Operands of rank 4 and one type, axis `ax` of the first as long as axis `bx` of the second. */
static fm_err check_pair(fm_ctx *ctx, const fm_op *op, const fm_sig *in, int ax, int bx,
                         const char *expected) {
  char a[96], b[96];
  const fm_shape *x = &in[0].shape, *w = &in[1].shape;
  if (x->nd == 4 && w->nd == 4 && in[0].dtype == in[1].dtype && x->d[ax] == w->d[bx]) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: operands %s (%s) and %s (%s) found, expected %s of one type",
                 op->name, fm_shape_text(x, a), fm_dtype_name(in[0].dtype), fm_shape_text(w, b),
                 fm_dtype_name(in[1].dtype), expected);
}

/* The size (height, width) of the result of conv on (h, w) for a kernel (kh, kw). */
static fm_err result_size(fm_ctx *ctx, const fm_op *op, const fm_attr *attr, const int64_t x[2],
                          const int64_t k[2], int64_t y[2]) {
  const int64_t *a = attr->i;
  for (int j = 0; j < 2; j++) {
    if (k[j] < 1 || x[j] + 2 * a[FM_PAD_Y + j] < k[j])
      return fm_fail(ctx, FM_EUSAGE,
                     "%s: a kernel of %lld x %lld found, expected one that fits into images of "
                     "%lld x %lld padded by %lld, %lld", op->name, (long long)k[0],
                     (long long)k[1], (long long)x[0], (long long)x[1], (long long)a[FM_PAD_Y],
                     (long long)a[FM_PAD_X]);
    y[j] = (x[j] + 2 * a[FM_PAD_Y + j] - k[j]) / a[FM_STRIDE] + 1;
  }
  return FM_OK;
}

static fm_err infer_conv(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                         const fm_attr *attr, fm_sig *out) {
  (void)nin;
  fm_err err = check_pair(ctx, op, in, 3, 3, "x: (N, H, W, I) and w: (O, kh, kw, I)");
  if (err == FM_OK) err = check_attr(ctx, op, attr, NULL, NULL);
  if (err != FM_OK) return err;
  *out = in[0];
  out->shape.d[3] = in[1].shape.d[0];
  return result_size(ctx, op, attr, in[0].shape.d + 1, in[1].shape.d + 1, out->shape.d + 1);
}

/* dy has the size of conv(x, k). */
static fm_err check_dy(fm_ctx *ctx, const fm_op *op, const fm_attr *attr, const int64_t *x,
                       const int64_t *k, const int64_t *dy) {
  int64_t y[2] = {0};
  fm_err err = result_size(ctx, op, attr, x, k, y);
  if (err != FM_OK || (y[0] == dy[0] && y[1] == dy[1])) return err;
  return fm_fail(ctx, FM_EUSAGE,
                 "%s: dy of %lld x %lld found, expected %lld x %lld, the result of a kernel "
                 "of %lld x %lld at stride %lld on images of %lld x %lld padded by %lld, %lld",
                 op->name, (long long)dy[0], (long long)dy[1], (long long)y[0], (long long)y[1],
                 (long long)k[0], (long long)k[1], (long long)attr->i[FM_STRIDE], (long long)x[0],
                 (long long)x[1], (long long)attr->i[FM_PAD_Y], (long long)attr->i[FM_PAD_X]);
}

static fm_err infer_conv_x(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                           const fm_attr *attr, fm_sig *out) {
  (void)nin;
  fm_err err = check_pair(ctx, op, in, 3, 0, "dy: (N, H', W', O) and w: (O, kh, kw, I)");
  if (err == FM_OK) err = check_attr(ctx, op, attr, "height", "width");
  if (err != FM_OK) return err;
  const fm_shape *dy = &in[0].shape, *w = &in[1].shape;
  *out = (fm_sig){in[0].dtype, {4, {dy->d[0], attr->i[SIZE], attr->i[SIZE + 1], w->d[3]}}};
  return check_dy(ctx, op, attr, attr->i + SIZE, w->d + 1, dy->d + 1);
}

static fm_err infer_conv_w(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                           const fm_attr *attr, fm_sig *out) {
  (void)nin;
  fm_err err = check_pair(ctx, op, in, 0, 0, "x: (N, H, W, I) and dy: (N, H', W', O)");
  if (err == FM_OK) err = check_attr(ctx, op, attr, "kernel height", "kernel width");
  if (err != FM_OK) return err;
  const fm_shape *x = &in[0].shape, *dy = &in[1].shape;
  *out = (fm_sig){in[0].dtype, {4, {dy->d[3], attr->i[SIZE], attr->i[SIZE + 1], x->d[3]}}};
  return check_dy(ctx, op, attr, x->d + 1, attr->i + SIZE, dy->d + 1);
}

/* ------------------------------------------------------------------ derivatives */

/* One of the three operations with the stride and padding of node y; sizes: of the images or of
   the kernel. */
static fm_val emit(fm_prog *p, const fm_op *op, fm_val a, fm_val b, fm_val y,
                   const int64_t *sizes) {
  fm_attr attr = fm_attr_of(p, y);
  fm_val in[2] = {a, b};
  attr.i[SIZE] = sizes ? sizes[0] : 0, attr.i[SIZE + 1] = sizes ? sizes[1] : 0;
  return fm_emit(p, op, 2, in, &attr);
}

/* The same operation with one operand replaced; sizes are unchanged. */
static fm_val jvp_conv(fm_prog *p, fm_val y, const fm_val *dx) {
  fm_attr attr = fm_attr_of(p, y);
  fm_val first[2] = {dx[0], fm_arg(p, y, 1)}, second[2] = {fm_arg(p, y, 0), dx[1]};
  fm_val da = dx[0] == FM_NONE ? FM_NONE : fm_emit(p, fm_op_of(p, y), 2, first, &attr);
  fm_val db = dx[1] == FM_NONE ? FM_NONE : fm_emit(p, fm_op_of(p, y), 2, second, &attr);
  return fm_add(p, da, db);
}

static void vjp_conv(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_val x = fm_arg(p, y, 0), w = fm_arg(p, y, 1);
  fm_shape xs = fm_prog_sig(p, x).shape, ws = fm_prog_sig(p, w).shape;
  dx[0] = emit(p, &fm_op_conv_x, dy, w, y, xs.d + 1);
  dx[1] = emit(p, &fm_op_conv_w, x, dy, y, ws.d + 1);
}

static void vjp_conv_x(fm_prog *p, fm_val y, fm_val u, fm_val *dx) {
  fm_val dy = fm_arg(p, y, 0), w = fm_arg(p, y, 1);
  fm_shape ws = fm_prog_sig(p, w).shape;
  dx[0] = emit(p, &fm_op_conv, u, w, y, NULL);
  dx[1] = emit(p, &fm_op_conv_w, u, dy, y, ws.d + 1);
}

static void vjp_conv_w(fm_prog *p, fm_val y, fm_val v, fm_val *dx) {
  fm_val x = fm_arg(p, y, 0), dy = fm_arg(p, y, 1);
  fm_shape xs = fm_prog_sig(p, x).shape;
  dx[0] = emit(p, &fm_op_conv_x, dy, v, y, xs.d + 1);
  dx[1] = emit(p, &fm_op_conv, x, v, y, NULL);
}

/* ------------------------------------------------------------------ lowering */

/*
** The method is chosen by the shape alone (never by the number of images, so that results do not
** depend on the micro-batches): Winograd's for 3x3 kernels where it is faster, a matrix product for
** 1x1, else the kernels above. Weight transforms become nodes of their own, which depend on weights
** alone.
*/

/* Stride 1, this padding. */
static bool plain(const fm_attr *a, int64_t pad) {
  return a->i[FM_STRIDE] == 1 && a->i[FM_PAD_Y] == pad && a->i[FM_PAD_X] == pad;
}

/*
** Winograd's method computes tiles of 4x4 pixels, those beyond the edge included: 36 products of a
** tile against the direct method's 9 for each pixel inside the image, and a quarter more for the
** transforms. Measured (tests/bench/conv.c; from 3 to 512 channels, images of 8x8 and more): the
** counts decide, so a tile must have 36 * 1.25 / 9 = 5 pixels.
*/
static bool winograd_pays(const fm_shape *x, const fm_shape *w) {
  int64_t tiles = (x->d[1] + 3) / 4 * ((x->d[2] + 3) / 4);
  return 5 * tiles <= x->d[1] * x->d[2] && w->d[0] > 0 && w->d[3] > 0;
}

/*
** The factors of a weight's outputs, (O, 1), and the weight that they belong to. Rows normalised,
** times a number (nn.mp_weight), are rows times factors: these few values are kept instead of a
** second copy of all weights. The factors of another weight are 1.
*/
static fm_val factors(fm_prog *q, const fm_prog *p, fm_val b, const fm_val *map, fm_val *w) {
  const fm_sig sig = fm_prog_sig(p, b);
  fm_sig column = {sig.dtype, {2, {sig.shape.d[0], 1}}};
  fm_val scaled = fm_op_of(p, b) == &fm_op_reshape ? fm_arg(p, b, 0) : b, rows = scaled;
  fm_attr scale = {{0}, {1, 0}};
  if (fm_op_of(p, scaled) == &fm_op_affine)
    scale = fm_attr_of(p, scaled), rows = fm_arg(p, scaled, 0);
  const fm_shape s = fm_prog_sig(p, rows).shape;
  *w = map[b];
  if (fm_op_of(p, rows) != &fm_op_normalize || scale.f[FM_SHIFT] != 0 || s.nd != 2 ||
      s.d[0] != sig.shape.d[0])
    return fm_full(q, column, 1);
  fm_val x = map[fm_arg(p, rows, 0)];
  fm_attr normalize = fm_attr_of(p, rows);
  fm_val mean = fm_scale(q, fm_sum_to(q, fm_e1(q, &fm_op_square, x), &column.shape),
                         s.d[1] ? 1 / (double)s.d[1] : 1);
  fm_val root = fm_affine(q, fm_e1(q, &fm_op_sqrt, mean), 1, fm_eps_of(&normalize));
  *w = fm_reshape(q, x, &sig.shape);
  return fm_scale(q, fm_e1(q, &fm_op_recip, root), scale.f[FM_SCALE]);
}

static fm_val winograd(fm_prog *q, const fm_prog *p, fm_val v, const fm_val *map, int kind) {
  fm_val a = map[fm_arg(p, v, 0)], b = map[fm_arg(p, v, 1)], kernel[2];
  fm_attr turned = {{kind == CONV_X}, {0}}, outputs = {{fm_prog_sig(p, v).shape.d[3]}, {0}};
  if (kind == CONV_W) return fm_e2(q, &fm_op_winograd_w, a, b);
  kernel[1] = factors(q, p, fm_arg(p, v, 1), map, &kernel[0]);
  fm_val in[2] = {a, fm_emit(q, &fm_op_winograd_weights, 2, kernel, &turned)};
  return fm_emit(q, &fm_op_winograd, 2, in, &outputs);
}

/* A 1x1 convolution: all pixels are the rows of one product. */
static fm_val product(fm_prog *q, const fm_prog *p, fm_val v, const fm_val *map, int kind) {
  fm_val x = fm_arg(p, v, 0), w = fm_arg(p, v, 1);
  const fm_shape xs = fm_prog_sig(p, x).shape, ws = fm_prog_sig(p, w).shape;
  fm_shape rows = {2, {xs.d[0] * xs.d[1] * xs.d[2], xs.d[3]}}, other = {2, {ws.d[0], ws.d[3]}};
  if (kind == CONV_W) other.d[0] = rows.d[0];
  fm_val a = fm_reshape(q, map[x], &rows), b = fm_reshape(q, map[w], &other);
  fm_val y = kind == CONV_W ? fm_matmul(q, b, a, true, false)
                            : fm_matmul(q, a, b, false, kind == CONV);
  fm_shape to = fm_prog_sig(p, v).shape;
  return fm_reshape(q, y, &to);
}

static fm_val lower(fm_prog *q, const fm_prog *p, fm_val v, const fm_val *map, int kind) {
  const fm_attr attr = fm_attr_of(p, v);
  const fm_shape x = fm_prog_sig(p, fm_arg(p, v, 0)).shape;
  const fm_shape w = fm_prog_sig(p, kind == CONV_W ? v : fm_arg(p, v, 1)).shape;
  if (w.d[1] == 3 && w.d[2] == 3 && plain(&attr, 1) && winograd_pays(&x, &w))
    return winograd(q, p, v, map, kind);
  return w.d[1] == 1 && w.d[2] == 1 && plain(&attr, 0) ? product(q, p, v, map, kind) : FM_NONE;
}

#define LOWER(name, kind)                                                                 \
  static fm_val lower_##name(fm_prog *q, const fm_prog *p, fm_val v, const fm_val *map,   \
                             const int *uses) {                                           \
    (void)uses;                                                                           \
    return lower(q, p, v, map, kind);                                                     \
  }
LOWER(conv, CONV)
LOWER(conv_x, CONV_X)
LOWER(conv_w, CONV_W)

/* ------------------------------------------------------------------ the table */

/* A multiply-add per pixel of y = conv(x, w), tap and pair of channels, borders included. */
static double flops_of(const fm_shape *y, const fm_shape *w) {
  return 2 * (double)fm_shape_count(y) * (double)fm_shape_count(w) /
         (double)(w->d[0] ? w->d[0] : 1);
}
static double flops_conv(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin, (void)attr;
  return flops_of(&out->shape, &in[1].shape);
}
static double flops_conv_x(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin, (void)attr, (void)out;
  return flops_of(&in[0].shape, &in[1].shape);
}
static double flops_conv_w(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  (void)nin, (void)attr;
  return flops_of(&in[1].shape, &out->shape);
}

/* Samples: 3x3 on an odd size; 5x5 at stride 2, rows left over; 1x7 without padding; 1x1. */
const fm_op fm_op_conv = {.name = "conv", .doc = "Convolution of images x: (N, H, W, I) with "
  "kernels w: (O, kh, kw, I), zero padding; stride 1 and the same size if not given.",
  .args = "tt|iii", .attrs = {"stride", "pad_y", "pad_x"}, .nin = 2, .flags = FM_STACKS_ROWS,
  .lower = lower_conv,
  .infer = infer_conv, .jvp = jvp_conv, .vjp = vjp_conv, .flops = flops_conv, .accumulates = true,
  .linear = {1, 2},
  .samples = {{2, {FM_SHAPE4(2, 5, 7, 3), FM_SHAPE4(4, 3, 3, 3)}, {{1, 1, 1}, {0}}, -1, 1},
              {2, {FM_SHAPE4(2, 8, 5, 2), FM_SHAPE4(3, 5, 5, 2)}, {{2, 2, 2}, {0}}, -1, 1},
              {2, {FM_SHAPE4(1, 2, 9, 2), FM_SHAPE4(3, 1, 7, 2)}, {{1, 0, 0}, {0}}, -1, 1},
              {2, {FM_SHAPE4(3, 2, 3, 5), FM_SHAPE4(2, 1, 1, 5)}, {{1, 0, 0}, {0}}, -1, 1}}};

const fm_op fm_op_conv_x = {.name = "conv_x", .doc = "Adjoint of conv in x: from dy: (N, H', W', "
  "O) and w to (N, H, W, I), the transposed convolution.", .args = "tt|iiiii",
  .attrs = {"stride", "pad_y", "pad_x", "height", "width"}, .nin = 2, .flags = FM_STACKS_ROWS,
  .lower = lower_conv_x,
  .infer = infer_conv_x, .jvp = jvp_conv, .vjp = vjp_conv_x, .flops = flops_conv_x,
  .accumulates = true, .linear = {1, 2},
  .samples = {{2, {FM_SHAPE4(2, 5, 7, 4), FM_SHAPE4(4, 3, 3, 3)}, {{1, 1, 1, 5, 7}, {0}}, -1, 1},
              {2, {FM_SHAPE4(2, 4, 3, 3), FM_SHAPE4(3, 5, 5, 2)}, {{2, 2, 2, 8, 5}, {0}}, -1, 1},
              {2, {FM_SHAPE4(1, 2, 3, 3), FM_SHAPE4(3, 1, 7, 2)}, {{1, 0, 0, 2, 9}, {0}}, -1, 1},
              {2, {FM_SHAPE4(3, 2, 3, 2), FM_SHAPE4(2, 1, 1, 5)}, {{1, 0, 0, 2, 3}, {0}}, -1, 1}}};

const fm_op fm_op_conv_w = {.name = "conv_w", .doc = "Adjoint of conv in w: from x and dy to (O, "
  "kh, kw, I), summed over images and pixels.", .args = "tt|iiiii",
  .attrs = {"stride", "pad_y", "pad_x", "height", "width"}, .nin = 2, .flags = FM_STACKS_SUMS,
  .lower = lower_conv_w,
  .infer = infer_conv_w, .jvp = jvp_conv, .vjp = vjp_conv_w, .flops = flops_conv_w,
  .accumulates = true, .linear = {1, 2},
  .samples = {{2, {FM_SHAPE4(2, 5, 7, 3), FM_SHAPE4(2, 5, 7, 4)}, {{1, 1, 1, 3, 3}, {0}}, -1, 1},
              {2, {FM_SHAPE4(2, 8, 5, 2), FM_SHAPE4(2, 4, 3, 3)}, {{2, 2, 2, 5, 5}, {0}}, -1, 1},
              {2, {FM_SHAPE4(1, 2, 9, 2), FM_SHAPE4(1, 2, 3, 3)}, {{1, 0, 0, 1, 7}, {0}}, -1, 1},
              {2, {FM_SHAPE4(3, 2, 3, 5), FM_SHAPE4(3, 2, 3, 2)}, {{1, 0, 0, 1, 1}, {0}}, -1, 1}}};

#endif
