/*
** normalize.c - rows of the last axis to unit root mean square (Karras et al. 2024, eq. 66):
** with r = |x| / sqrt(n) and q = 1 / (eps + r),
**
**   normalize(x)          = q x
**   normalize_d(x, d)     = J(x) d = q d - q^2 a x,                    a = <x, d> / (n r)
**   normalize_dd(x, d, e) = dJ(x)[e] d = q^2 ((2 q a b + (a b - <d, e> / n) / r) x - b d - a e),
**                                                                      b = <x, e> / (n r)
**
** Roots and quotients are taken for VN rows at once. <u, J d> is symmetric in u, d, and
** <u, dJ[e] d> in u, d, e, so that each rule is also its own transpose. Where r = 0, a, b and 1/r
** are taken as 0, and all values are finite. Where 1/r is denormal, r > 8.5e37 in float32, q is 0.
*/
#include "ops.h"

#ifndef FM_RULES

typedef struct group { /* up to VN rows, one per lane of the vectors below */
  const T *x[3];
  T *y;
  int64_t n, left, count; /* values per row; rows left, this group included; rows of the group */
  T eps;
  V over_n, q, over_r, a, b, de; /* see above; de = <d, e> / n */
} group;

/* Repeats the sums in double for rows whose sum of squares overflows. */
static void measure_large(group *g, int terms, V r) {
  T root[VN], q[VN], over[VN], a[VN], b[VN], de[VN];
  vstore(root, r), vstore(q, g->q), vstore(over, g->over_r);
  vstore(a, g->a), vstore(b, g->b), vstore(de, g->de);
  for (int64_t row = 0; row < g->count; row++) {
    if (root[row] < (T)INFINITY) continue;
    double s[4] = {0}, n = (double)g->n;
    for (int64_t i = row * g->n; i < (row + 1) * g->n; i++) {
      const double x = (double)g->x[0][i], d = terms > 1 ? (double)g->x[1][i] : 0;
      const double e = terms > 2 ? (double)g->x[2][i] : 0;
      s[0] += x * x, s[1] += x * d, s[2] += x * e, s[3] += d * e;
    }
    const double size = sqrt(s[0] / n);
    q[row] = (T)(1 / ((double)g->eps + size)), over[row] = (T)(1 / size);
    a[row] = (T)(s[1] / n / size), b[row] = (T)(s[2] / n / size), de[row] = (T)(s[3] / n);
  }
  g->q = vload(q), g->over_r = vload(over);
  g->a = vload(a), g->b = vload(b), g->de = vload(de);
}

/* <x, x>, <x, d>, <x, e>, <d, e> over the values [from, to) of row r, lane by lane. */
static inline void add_products(const group *g, int terms, int64_t r, int64_t from, int64_t to,
                                V s[4]) {
  for (int64_t i = from; i < to; i += VN) {
    const int64_t at = r * g->n + i, left = g->n - i;
    V x = vtake(g->x[0] + at, left), d = terms > 1 ? vtake(g->x[1] + at, left) : vset(0);
    V e = terms > 2 ? vtake(g->x[2] + at, left) : vset(0);
    s[0] = vfma(x, x, s[0]);
    if (terms > 1) s[1] = vfma(x, d, s[1]);
    if (terms > 2) s[2] = vfma(x, e, s[2]), s[3] = vfma(d, e, s[3]);
  }
}

static void add_long(const group *g, int terms, int64_t r, V s[4]) {
  VD total[4][VDS];
  for (int k = 0; k < 4 * VDS; k++) total[k / VDS][k % VDS] = vdset(0);
  for (int64_t from = 0, to; from < g->n; from = to) {
    to = g->n - from > FM_CHAIN * VN ? from + FM_CHAIN * VN : g->n;
    add_products(g, terms, r, from, to, s);
    for (int k = 0; k < 4; k++) vdeepen(total[k], &s[k]);
  }
  for (int k = 0; k < 4; k++) s[k] = vnarrow(total[k]);
}

/* The factors of the formulas, from the rows of x, d and e (the first `terms` of them). */
static inline void measure(group *g, int terms) {
  const V zero = vset(0), one = vset(1);
  V xx[VN], xd[VN], xe[VN], de[VN];
  g->count = g->left < VN ? g->left : VN;
  for (int64_t r = 0; r < VN; r++) xx[r] = xd[r] = xe[r] = de[r] = zero;
  for (int64_t r = 0; r < g->count; r++) {
    V s[4] = {zero, zero, zero, zero};
    if (g->n <= FM_CHAIN * VN)
      add_products(g, terms, r, 0, g->n, s);
    else
      add_long(g, terms, r, s);
    xx[r] = s[0], xd[r] = s[1], xe[r] = s[2], de[r] = s[3];
  }
  V r = vsqrt(vsums(xx) * g->over_n);
  M any = vlt(zero, r);
  g->over_r = vsel(any, one / vsel(any, r, one), zero);
  g->q = one / (vset(g->eps) + r);
  if (terms > 1) g->a = vsums(xd) * g->over_n * g->over_r;
  if (terms > 2) g->b = vsums(xe) * g->over_n * g->over_r;
  if (terms > 2) g->de = vsums(de) * g->over_n;
  if (!vall(vlt(r, vset((T)INFINITY)))) measure_large(g, terms, r);
}

static inline group start(const fm_exec *e, int terms) {
  const fm_shape *s = &e->out->shape;
  group g = {.y = e->y, .n = s->d[s->nd - 1], .eps = (T)fm_eps_of(e->attr)};
  for (int k = 0; k < terms; k++) g.x[k] = e->x[k];
  g.left = g.n ? fm_shape_count(s) / g.n : 0;
  g.over_n = vset(1 / (T)(g.n ? g.n : 1));
  g.a = g.b = g.de = vset(0);
  if (g.left > 0) measure(&g, terms);
  return g;
}

static inline void next(group *g, int terms) {
  for (int k = 0; k < terms; k++) g->x[k] += g->count * g->n;
  g->y += g->count * g->n;
  g->left -= g->count;
  g->count = 0;
  if (g->left > 0) measure(g, terms);
}

/* y = f[0] x[0] + f[1] x[1] + ... (`terms` terms); lane r of the factors belongs to row r. */
static inline void put(const group *g, int terms, const V *f) {
  T lane[3][VN];
  for (int j = 0; j < terms; j++) vstore(lane[j], f[j]);
  for (int64_t r = 0; r < g->count; r++) {
    const int64_t from = r * g->n;
    V c[3];
    for (int j = 0; j < terms; j++) c[j] = vset(lane[j][r]);
    for (int64_t i = 0; i < g->n; i += VN) {
      V v = c[0] * vtake(g->x[0] + from + i, g->n - i);
      for (int j = 1; j < terms; j++) v = vfma(c[j], vtake(g->x[j] + from + i, g->n - i), v);
      vgive(g->y + from + i, v, g->n - i);
    }
  }
}

FM_EXEC(normalize) {
  for (group g = start(e, 1); g.count > 0; next(&g, 1)) put(&g, 1, &g.q);
}

FM_EXEC(normalize_d) {
  for (group g = start(e, 2); g.count > 0; next(&g, 2))
    put(&g, 2, (V[]){-g.q * g.q * g.a, g.q});
}

FM_EXEC(normalize_dd) {
  for (group g = start(e, 3); g.count > 0; next(&g, 3)) {
    V q2 = g.q * g.q, ab = g.a * g.b;
    put(&g, 3, (V[]){q2 * ((g.q + g.q) * ab + (ab - g.de) * g.over_r), -q2 * g.b, -q2 * g.a});
  }
}

#endif

#ifdef FM_RULES

static fm_err infer_normalize(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                              const fm_attr *attr, fm_sig *out) {
  if (in[0].shape.nd == 0)
    return fm_fail(ctx, FM_EUSAGE, "%s: a scalar found, expected rank 1 or more", op->name);
  if (!(attr->f[FM_EPS] >= 0))
    return fm_fail(ctx, FM_EUSAGE, "%s: the offset %g found, expected a positive number", op->name,
                   attr->f[FM_EPS]);
  return fm_infer_alike(ctx, op, nin, in, out);
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

/* dJ(x)[e] d from elementary operations, for its derivative in x. */
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
  fm_val q = fm_e1(p, &fm_op_recip, fm_affine(p, fm_mul(p, r2, over_r), 1, eps));
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
    fm_val at = fm_e1(p, &fm_op_copy, x), z = spelled_out(p, at, d, e, fm_eps_of(&t));
    fm_jvp(p, 1, &at, dx, 1, &z, &dy);
  }
  return fm_add(p, dy, fm_add(p, second(p, x, dx[1], e, t), second(p, x, d, dx[2], t)));
}

static void vjp_normalize_dd(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_attr t = fm_attr_of(p, y);
  fm_val x = fm_arg(p, y, 0), d = fm_arg(p, y, 1), e = fm_arg(p, y, 2);
  fm_val at = fm_e1(p, &fm_op_copy, x), z = spelled_out(p, at, d, e, fm_eps_of(&t));
  fm_vjp(p, 1, &z, &dy, 1, &at, dx);
  dx[1] = second(p, x, dy, e, t);
  dx[2] = second(p, x, d, dy, t);
}

#define S FM_SHAPE2(3, 7)

const fm_op fm_op_normalize = {.name = "normalize", .doc = "Rows of the last axis divided by eps "
  "plus their root mean square; eps is 1e-4 if not given or 0.", .args = "t|n",
  .attrs = {[FM_F] = "eps"}, .nin = 1, .cost = 4, .infer = infer_normalize, .jvp = jvp_normalize,
  .vjp = vjp_normalize,
  .samples = {{1, {S}, {{0}, {0}}, -2, 2}, {1, {FM_SHAPE2(19, 5)}, {{0}, {0.5, 0}}, -2, 2}}};

const fm_op fm_op_normalize_d = {.name = "normalize_d", .doc = "The derivative of normalize at x "
  "along d.", .args = "tt|n", .attrs = {[FM_F] = "eps"}, .nin = 2, .cost = 8,
  .infer = infer_normalize, .jvp = jvp_normalize_d, .vjp = vjp_normalize_d, .linear = {2},
  .samples = {{2, {S, S}, {{0}, {0}}, -2, 2},
              {2, {FM_SHAPE2(19, 5), FM_SHAPE2(19, 5)}, {{0}, {0.5, 0}}, -2, 2}}};

const fm_op fm_op_normalize_dd = {.name = "normalize_dd", .doc = "The second derivative of "
  "normalize at x along d and e.", .args = "ttt|n", .attrs = {[FM_F] = "eps"}, .nin = 3, .cost = 14,
  .infer = infer_normalize, .jvp = jvp_normalize_dd, .vjp = vjp_normalize_dd, .linear = {2, 4},
  .samples = {{3, {S, S, S}, {{0}, {0}}, -2, 2},
              {3, {FM_SHAPE2(19, 5), FM_SHAPE2(19, 5), FM_SHAPE2(19, 5)}, {{0}, {0.5, 0}}, -2, 2}}};

#endif
