/*
** activation.c - GELU (tanh form, JAX's default) and SiLU, each with its derivatives as one family:
** the order is an attribute. Orders 0, 1 and 2 have kernels, because a step through a jvp needs
** just these; the derivative of order 2 is emitted from elementary operations.
*/
#include "ops.h"

#define GELU_C 0.7978845608028654 /* sqrt(2/pi) */
#define GELU_A 0.044715
#define FAR 1000 /* beyond +-FAR the logistic function is 0 or 1 */

#ifndef FM_RULES

/*
** gelu(x) = x (1 + tanh u)/2 = x s(w) with w = 2u = 2c (x + a x^3) and the logistic function s,
** whose derivatives are s' = s (1 - s) w' and so on: one exponential and one division for any
** order.
*/
#define K(x) vset((T)(x))
#define ONE K(1)
#define W(x2) vfma(K(2 * GELU_C * GELU_A), x2, K(2 * GELU_C))  /* w / x */
#define W1(x2) vfma(K(6 * GELU_C * GELU_A), x2, K(2 * GELU_C)) /* w' */

/* s(w) and 1 - s(w), the latter without cancellation, and bounded so that it is 0 where s is 0. */
static inline V sigmoid(V w, V *rest) {
  V e = vexp(-w), s = ONE / (ONE + e);
  *rest = vmin0(K(FM_LARGEST), e) * s;
  return s;
}

/* Beyond +-FAR a product of s or 1 - s with x equals its value at the bound. Clamping x gives these
   limits where infinity times 0 would give NaN. Order 0 grows with x: only the lower bound applies
   to it. */
static inline V bounded(V x, V *low) {
  *low = vmax0(K(-FAR), x); /* NaN is kept */
  return vmin0(K(FAR), *low);
}

/* Orders 0, 1 and 2 of gelu, those that are wanted:
** x s, s (1 + x (1 - s) w'), s (1 - s) (2 w' + x w'' + x (1 - 2 s) w'^2). */
static inline void gelu_orders(V v, V y[FM_ORDERS], const bool want[FM_ORDERS]) {
  V low, x = bounded(v, &low), x2 = x * x, r, s = sigmoid(x * W(x2), &r), w1 = W1(x2);
  if (want[0]) y[0] = low * s;
  if (want[1]) y[1] = s * vfma(x * r, w1, ONE);
  if (want[2]) {
    V w = vfma(K(12 * GELU_C * GELU_A), x2, K(2) * w1);
    y[2] = s * r * vfma(x * (r - s), w1 * w1, w);
  }
}

/* x s, s (1 + x (1 - s)), s (1 - s) (2 + x (1 - 2 s)) with s = s(x) */
static inline void silu_orders(V v, V y[FM_ORDERS], const bool want[FM_ORDERS]) {
  V low, x = bounded(v, &low), r, s = sigmoid(x, &r);
  if (want[0]) y[0] = low * s;
  if (want[1]) y[1] = s * vfma(x, r, ONE);
  if (want[2]) y[2] = s * r * vfma(x, r - s, K(2));
}

/*
** A family's kernels: all wanted orders in one sweep, specialised for the sets that occur (a loop
** with constant `want` has no branches), and the map, which is the sweep for one order.
*/
#define SWEEP(name, w0, w1, w2)                                                        \
  do {                                                                                 \
    static const bool want[FM_ORDERS] = {w0, w1, w2};                                  \
    for (int64_t i = 0; i < n; i += VN) {                                              \
      int64_t left = n - i;                                                            \
      V v[FM_ORDERS];                                                                  \
      name##_orders(vtake(x + i, left), v, want);                                      \
      for (int k = 0; k < FM_ORDERS; k++)                                              \
        if (want[k]) vgive((T *)y[k] + i, v[k], left);                                 \
    }                                                                                  \
  } while (0)

#define FAMILY(name)                                                                   \
  void FM_FN(name##_family)(int64_t n, void *const y[FM_ORDERS], const void *from);    \
  void FM_FN(name##_family)(int64_t n, void *const y[FM_ORDERS], const void *from) {   \
    const T *x = from;                                                                 \
    switch ((y[0] != NULL) + 2 * (y[1] != NULL) + 4 * (y[2] != NULL)) {                \
      case 1: SWEEP(name, 1, 0, 0); break;                                             \
      case 2: SWEEP(name, 0, 1, 0); break;                                             \
      case 3: SWEEP(name, 1, 1, 0); break;                                             \
      case 4: SWEEP(name, 0, 0, 1); break;                                             \
      case 5: SWEEP(name, 1, 0, 1); break;                                             \
      case 6: SWEEP(name, 0, 1, 1); break;                                             \
      case 7: SWEEP(name, 1, 1, 1); break;                                             \
      default: break;                                                                  \
    }                                                                                  \
  }                                                                                    \
  void FM_FN(name)(ARGS);                                                              \
  void FM_FN(name)(ARGS) {                                                             \
    void *one[FM_ORDERS] = {NULL, NULL, NULL};                                         \
    (void)b, (void)c;                                                                  \
    one[f[FM_ORDER] < 0.5 ? 0 : f[FM_ORDER] < 1.5 ? 1 : 2] = y;                        \
    FM_FN(name##_family)(n, one, a);                                                   \
  }
#define ARGS int64_t n, void *y, const void *a, const void *b, const void *c, const double *f
FAMILY(gelu)
FAMILY(silu)

#endif

#ifdef FM_RULES

static fm_val order(fm_prog *p, const fm_op *op, fm_val x, double k) {
  fm_attr a = {{0}, {k, 0}};
  return fm_emit(p, op, 1, &x, &a);
}

static fm_err infer_activation(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                               const fm_attr *attr, fm_sig *out) {
  (void)nin;
  const double k = attr->f[FM_ORDER];
  if (k != 0 && k != 1 && k != 2)
    return fm_fail(ctx, FM_EUSAGE, "%s: order %g found, expected 0, 1 or 2", op->name, k);
  *out = in[0];
  return FM_OK;
}

/* At either bound the third and all higher derivatives are 0. */
static fm_val bounded(fm_prog *p, fm_val x) {
  fm_attr limits = {{0}, {-FAR, FAR}};
  return fm_emit(p, &fm_op_clip, 1, &x, &limits);
}

/* gelu'''(x), with t = tanh u, s = 1 - t^2, t' = s u', s' = -2 t s u'. */
static fm_val gelu_3(fm_prog *p, fm_val at) {
  fm_val x = bounded(p, at);
  const double ca = GELU_C * GELU_A;
  fm_val x2 = fm_e1(p, &fm_op_square, x);
  fm_val u = fm_mul(p, x, fm_affine(p, x2, ca, GELU_C));
  fm_val u1 = fm_affine(p, x2, 3 * ca, GELU_C), u2 = fm_scale(p, x, 6 * ca);
  fm_val t = fm_e1(p, &fm_op_tanh, u);
  fm_val s = fm_affine(p, fm_e1(p, &fm_op_square, t), -1, 1);
  fm_val u1u1 = fm_e1(p, &fm_op_square, u1);
  fm_val ds = fm_scale(p, fm_mul(p, fm_mul(p, t, s), u1), -2);
  /* gelu'' = s w with w = u' + x u''/2 - x t u'^2 */
  fm_val w = fm_sub(p, fm_add(p, u1, fm_scale(p, fm_mul(p, x, u2), 0.5)),
                    fm_mul(p, x, fm_mul(p, t, u1u1)));
  fm_val dw = fm_affine(p, u2, 1.5, 0);
  dw = fm_add(p, dw, fm_scale(p, x, 3 * ca)); /* x u'''/2 with u''' = 6 ca */
  dw = fm_sub(p, dw, fm_mul(p, t, u1u1));
  dw = fm_sub(p, dw, fm_mul(p, x, fm_mul(p, fm_mul(p, s, u1), u1u1)));
  dw = fm_sub(p, dw, fm_scale(p, fm_mul(p, x, fm_mul(p, t, fm_mul(p, u1, u2))), 2));
  return fm_add(p, fm_mul(p, ds, w), fm_mul(p, s, dw));
}

/* silu''' = q ((1 - 2 s)(3 + x (1 - 2 s)) - 2 x q) with s = sigmoid x, q = s (1 - s). */
static fm_val silu_3(fm_prog *p, fm_val at) {
  fm_val x = bounded(p, at);
  fm_val s = fm_e1(p, &fm_op_sigmoid, x);
  fm_val q = fm_mul(p, s, fm_affine(p, s, -1, 1)), r = fm_affine(p, s, -2, 1);
  fm_val inner = fm_mul(p, r, fm_affine(p, fm_mul(p, x, r), 1, 3));
  return fm_mul(p, q, fm_sub(p, inner, fm_scale(p, fm_mul(p, x, q), 2)));
}

static fm_val jvp_gelu(fm_prog *p, fm_val y, const fm_val *dx) {
  double k = fm_attr_of(p, y).f[FM_ORDER];
  fm_val x = fm_arg(p, y, 0);
  return fm_mul(p, dx[0], k < 2 ? order(p, &fm_op_gelu, x, k + 1) : gelu_3(p, x));
}

#define ORDERS(lo, hi) {{1, {FM_SHAPE2(3, 7)}, {{0}, {0, 0}}, lo, hi}, \
  {1, {FM_SHAPE2(3, 7)}, {{0}, {1, 0}}, lo, hi}, {1, {FM_SHAPE2(3, 7)}, {{0}, {2, 0}}, lo, hi}}

const fm_op fm_op_gelu = {.name = "gelu", .doc = "GELU in its tanh form, or a derivative of it.",
  .args = "t|n", .attrs = {[FM_F] = "order"}, .nin = 1, .cost = 30, .flags = FM_ELEMENTWISE,
  .infer = infer_activation, .jvp = jvp_gelu, .samples = ORDERS(-3, 3)};

static fm_val jvp_silu(fm_prog *p, fm_val y, const fm_val *dx) {
  double k = fm_attr_of(p, y).f[FM_ORDER];
  fm_val x = fm_arg(p, y, 0);
  return fm_mul(p, dx[0], k < 2 ? order(p, &fm_op_silu, x, k + 1) : silu_3(p, x));
}

const fm_op fm_op_silu = {.name = "silu", .doc = "x / (1 + e^-x), or a derivative of it.",
  .args = "t|n", .attrs = {[FM_F] = "order"}, .nin = 1, .cost = 24, .flags = FM_ELEMENTWISE,
  .infer = infer_activation, .jvp = jvp_silu, .samples = ORDERS(-3, 3)};

#endif
