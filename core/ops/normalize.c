/*
** normalize.c - rows of the last axis to unit root mean square (Karras et al. 2024, eq. 66):
** with r = |x| / sqrt(n) and q = 1 / (eps + r),
**
**   normalize(x)          = q x
**   normalize_d(x, d)     = J(x) d = q d - q^2 a x,                    a = <x, d> / (n r)
**   normalize_dd(x, d, e) = dJ(x)[e] d = q^2 ((2 q a b + (a b - <d, e> / n) / r) x - b d - a e),
**                                                                      b = <x, e> / (n r)
**
** <u, J d> is symmetric in u, d and <u, dJ[e] d> in u, d, e, so that each rule is also its own
** transpose. Where r = 0, a, b and 1/r are taken as 0, and all values are finite.
*/
#include "ops.h"

#ifndef FM_RULES

/*
** <a, b> for each of `rows` <= VN rows of n values. The lanes of a vector are rows here, so that
** roots and quotients are taken for VN rows at once.
*/
static V dots(const T *a, const T *b, int64_t n, int64_t rows) {
  V sum[VN];
  for (int64_t r = 0; r < VN; r++) sum[r] = vset(0);
  for (int64_t r = 0; r < rows; r++, a += n, b += n) {
    V s = vset(0);
    int64_t i = 0;
    for (; i + VN <= n; i += VN) s = vfma(vload(a + i), vload(b + i), s);
    if (i < n) s = vfma(vloadn(a + i, n - i), vloadn(b + i, n - i), s);
    sum[r] = s;
  }
  vtranspose(sum);
  for (int h = VN / 2; h > 0; h /= 2)
    for (int i = 0; i < h; i++) sum[i] = sum[i] + sum[i + h];
  return sum[0];
}

typedef struct group { /* up to VN rows */
  const T *x[3];
  T *y;
  int64_t n, left, count; /* values of a row; rows from here on; rows of this group */
  T eps;
  V q, over_r, over_n;
} group;

static void measure(group *g) {
  const V zero = vset(0), one = vset(1);
  g->count = g->left < VN ? g->left : VN;
  V r = vsqrt(dots(g->x[0], g->x[0], g->n, g->count) * g->over_n);
  M any = vlt(zero, r);
  g->over_r = vsel(any, one / vsel(any, r, one), zero);
  g->q = one / (vset(g->eps) + r);
}

static group start(const fm_exec *e) {
  const fm_shape *s = &e->out->shape;
  group g = {.y = e->y, .n = s->d[s->nd - 1], .eps = (T)e->attr->f[0]};
  for (int k = 0; k < e->nin; k++) g.x[k] = e->x[k];
  g.left = g.n ? fm_shape_count(s) / g.n : 0;
  if (e->attr->f[0] == 0) g.eps = (T)1e-4;
  g.over_n = vset(1 / (T)(g.n ? g.n : 1));
  if (g.left > 0) measure(&g);
  return g;
}

static void next(group *g) {
  for (int k = 0; k < 3 && g->x[k]; k++) g->x[k] += g->count * g->n;
  g->y += g->count * g->n;
  g->left -= g->count;
  g->count = 0;
  if (g->left > 0) measure(g);
}

/* y = f[0] x[0] + f[1] x[1] + ... (`terms` of them), each row with its own lane of the factors. */
static inline void put(const group *g, int terms, const V *f) {
  T lane[3][VN];
  for (int j = 0; j < terms; j++) vstore(lane[j], f[j]);
  for (int64_t r = 0; r < g->count; r++) {
    const int64_t from = r * g->n;
    V c[3];
    for (int j = 0; j < terms; j++) c[j] = vset(lane[j][r]);
    for (int64_t i = 0; i < g->n; i += VN) {
      const int64_t m = g->n - i;
      V v = vset(0);
      if (m >= VN) {
        for (int j = 0; j < terms; j++) v = vfma(c[j], vload(g->x[j] + from + i), v);
        vstore(g->y + from + i, v);
      } else {
        for (int j = 0; j < terms; j++) v = vfma(c[j], vloadn(g->x[j] + from + i, m), v);
        vstoren(g->y + from + i, v, m);
      }
    }
  }
}

FM_EXEC(normalize) {
  for (group g = start(e); g.count > 0; next(&g)) put(&g, 1, &g.q);
}

FM_EXEC(normalize_d) {
  for (group g = start(e); g.count > 0; next(&g)) {
    V a = dots(g.x[0], g.x[1], g.n, g.count) * g.over_n * g.over_r;
    put(&g, 2, (V[]){-g.q * g.q * a, g.q});
  }
}

FM_EXEC(normalize_dd) {
  for (group g = start(e); g.count > 0; next(&g)) {
    V a = dots(g.x[0], g.x[1], g.n, g.count) * g.over_n * g.over_r;
    V b = dots(g.x[0], g.x[2], g.n, g.count) * g.over_n * g.over_r;
    V de = dots(g.x[1], g.x[2], g.n, g.count) * g.over_n, q2 = g.q * g.q;
    V x = q2 * ((g.q + g.q) * a * b + (a * b - de) * g.over_r);
    put(&g, 3, (V[]){x, -q2 * b, -q2 * a});
  }
}

#endif

#ifdef FM_RULES

static fm_err infer_normalize(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                              const fm_attr *attr, fm_sig *out) {
  char a[96], b[96];
  *out = in[0];
  if (in[0].shape.nd == 0)
    return fm_fail(ctx, FM_EUSAGE, "%s: a scalar found, expected rank 1 or more", op->name);
  if (!(attr->f[0] >= 0))
    return fm_fail(ctx, FM_EUSAGE, "%s: the offset %g found, expected a positive number", op->name,
                   attr->f[0]);
  for (int k = 1; k < nin; k++)
    if (!fm_shape_eq(&in[k].shape, &in[0].shape) || in[k].dtype != in[0].dtype)
      return fm_fail(ctx, FM_EUSAGE, "%s: operands of the shapes %s (%s) and %s (%s) found, "
                     "expected equal ones", op->name, fm_shape_text(&in[0].shape, a),
                     fm_dtype_name(in[0].dtype), fm_shape_text(&in[k].shape, b),
                     fm_dtype_name(in[k].dtype));
  return FM_OK;
}

/* J(x) d and dJ(x)[e] d; absent where d or e is. */
static fm_val first(fm_prog *p, fm_val x, fm_val d, fm_attr a) {
  fm_val in[2] = {x, d};
  return d == FM_NONE ? FM_NONE : fm_emit(p, &fm_op_normalize_d, 2, in, &a);
}

static fm_val second(fm_prog *p, fm_val x, fm_val d, fm_val e, fm_attr a) {
  fm_val in[3] = {x, d, e};
  return d == FM_NONE || e == FM_NONE ? FM_NONE : fm_emit(p, &fm_op_normalize_dd, 3, in, &a);
}

/* dJ(x)[e] d from elementary operations: what its derivative in x is derived from. */
static fm_val spelled_out(fm_prog *p, fm_val x, fm_val d, fm_val e, double eps) {
  fm_sig big = fm_prog_sig(p, x), row = big;
  row.shape.d[row.shape.nd - 1] = 1;
  const double n = (double)big.shape.d[big.shape.nd - 1];
#define MEAN(u, v) fm_scale(p, fm_sum_to(p, fm_mul(p, u, v), &row.shape), 1 / n)
#define TIMES(factor, v) fm_mul(p, fm_broadcast(p, factor, &big.shape), v)
  fm_val r2 = MEAN(x, x), none = fm_e2(p, &fm_op_eq, r2, fm_full(p, row, 0));
  fm_val safe[3] = {none, fm_full(p, row, 1), r2};
  fm_val over_r = fm_e1(p, &fm_op_rsqrt, fm_emit(p, &fm_op_where, 3, safe, NULL));
  over_r = fm_mul(p, over_r, fm_affine(p, none, -1, 1)); /* 0 at x = 0 */
  fm_val q = fm_e1(p, &fm_op_recip, fm_affine(p, fm_mul(p, r2, over_r), 1, eps == 0 ? 1e-4 : eps));
  fm_val q2 = fm_e1(p, &fm_op_square, q);
  fm_val a = fm_mul(p, MEAN(x, d), over_r), b = fm_mul(p, MEAN(x, e), over_r);
  fm_val ab = fm_mul(p, a, b);
  fm_val fx = fm_add(p, fm_scale(p, fm_mul(p, q, ab), 2),
                     fm_mul(p, fm_sub(p, ab, MEAN(d, e)), over_r));
  fm_val y = fm_sub(p, TIMES(fm_mul(p, q2, fx), x), TIMES(fm_mul(p, q2, b), d));
  return fm_sub(p, y, TIMES(fm_mul(p, q2, a), e));
#undef MEAN
#undef TIMES
}

static fm_val jvp_normalize(fm_prog *p, fm_val y, const fm_val *dx) {
  return first(p, fm_arg(p, y, 0), dx[0], fm_attr_of(p, y));
}

static void vjp_normalize(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  dx[0] = first(p, fm_arg(p, y, 0), dy, fm_attr_of(p, y));
}

static fm_val jvp_normalize_d(fm_prog *p, fm_val y, const fm_val *dx) {
  fm_attr a = fm_attr_of(p, y);
  fm_val x = fm_arg(p, y, 0), d = fm_arg(p, y, 1);
  return fm_add(p, first(p, x, dx[1], a), second(p, x, d, dx[0], a));
}

static void vjp_normalize_d(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr a = fm_attr_of(p, y);
  fm_val x = fm_arg(p, y, 0), d = fm_arg(p, y, 1);
  dx[0] = second(p, x, d, dy, a);
  dx[1] = first(p, x, dy, a);
}

static fm_val jvp_normalize_dd(fm_prog *p, fm_val y, const fm_val *dx) {
  fm_attr t = fm_attr_of(p, y);
  fm_val x = fm_arg(p, y, 0), d = fm_arg(p, y, 1), e = fm_arg(p, y, 2), dy = FM_NONE;
  if (dx[0] != FM_NONE) {
    fm_val at = fm_e1(p, &fm_op_copy, x), z = spelled_out(p, at, d, e, t.f[0]);
    fm_jvp(p, 1, &at, dx, 1, &z, &dy);
  }
  return fm_add(p, dy, fm_add(p, second(p, x, dx[1], e, t), second(p, x, d, dx[2], t)));
}

static void vjp_normalize_dd(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr t = fm_attr_of(p, y);
  fm_val x = fm_arg(p, y, 0), d = fm_arg(p, y, 1), e = fm_arg(p, y, 2);
  fm_val at = fm_e1(p, &fm_op_copy, x), z = spelled_out(p, at, d, e, t.f[0]);
  fm_vjp(p, 1, &z, &dy, 1, &at, dx);
  dx[1] = second(p, x, dy, e, t);
  dx[2] = second(p, x, d, dy, t);
}

#define S FM_SHAPE2(3, 7)

const fm_op fm_op_normalize = {.name = "normalize", .doc = "Rows of the last axis divided by their "
  "root mean square plus 1e-4, or plus the number given.", .args = "t|n", .nin = 1, .cost = 4,
  .infer = infer_normalize, .jvp = jvp_normalize, .vjp = vjp_normalize,
  .samples = {{1, {S}, {{0}, {0}}, -2, 2}, {1, {FM_SHAPE2(19, 5)}, {{0}, {0.5, 0}}, -2, 2}}};

const fm_op fm_op_normalize_d = {.name = "normalize_d", .doc = "The derivative of normalize at x "
  "along d.", .args = "tt|n", .nin = 2, .cost = 8, .infer = infer_normalize,
  .jvp = jvp_normalize_d, .vjp = vjp_normalize_d,
  .samples = {{2, {S, S}, {{0}, {0}}, -2, 2},
              {2, {FM_SHAPE2(19, 5), FM_SHAPE2(19, 5)}, {{0}, {0.5, 0}}, -2, 2}}};

const fm_op fm_op_normalize_dd = {.name = "normalize_dd", .doc = "The second derivative of "
  "normalize at x along d and e.", .args = "ttt|n", .nin = 3, .cost = 14, .infer = infer_normalize,
  .jvp = jvp_normalize_dd, .vjp = vjp_normalize_dd,
  .samples = {{3, {S, S, S}, {{0}, {0}}, -2, 2},
              {3, {FM_SHAPE2(19, 5), FM_SHAPE2(19, 5), FM_SHAPE2(19, 5)}, {{0}, {0.5, 0}}, -2, 2}}};

#endif
