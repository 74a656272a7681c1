/* check.c - the checks of check.h. A rule is tested only through the programs that it emits. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../kernels/isa.h"
#include "../op.h"

#define MAX_IN 3

/* The step of the differences, whose own error is of the order of its fourth power, and the
** largest relative errors that are accepted: of derivatives against differences; of identities,
** which only rounding disturbs; between instruction sets, whose sums have another order. All are
** chosen. */
#define STEP 1e-3
#define MOST_DIFFERENCE 1e-6
#define MOST_IDENTITY 1e-10
#define MOST_BETWEEN(dtype) ((dtype) == FM_F64 ? 1e-13 : 1e-6)

/* Streams of random numbers: operand k is number k, directions and the cotangent are others. */
enum { FIRST_DIRECTION = 10, SECOND_DIRECTION = 20, COTANGENT = 99 };

typedef struct trial {
  fm_ctx *ctx;
  fm_dtype dtype;
  const fm_op *op;
  const fm_sample *s;
  fm_check_fn each;
  void *arg;
  fm_tensor *x[MAX_IN], *dx[MAX_IN], *ddx[MAX_IN]; /* operands, first and second direction */
} trial;

static void report(trial *t, fm_dtype dtype, const char *check, double error, double bound) {
  const int sample = (int)(t->s - t->op->samples) + 1;
  const bool ok = error <= bound; /* false for a NaN */
  fm_check c = {t->op->name, check, sample, fm_dtype_name(dtype), error, bound, ok};
  t->each(t->arg, &c);
}

static double dot(const fm_tensor *a, const fm_tensor *b) {
  double sum = 0;
  for (int64_t i = 0; i < fm_shape_count(&a->shape); i++)
    sum += fm_tensor_get(a, i) * fm_tensor_get(b, i);
  return sum;
}

static double norm(const fm_tensor *a) { return sqrt(dot(a, a)); }

/* |a - b| / (1 + |b|) */
static double distance(const fm_tensor *a, const fm_tensor *b) {
  double sum = 0;
  for (int64_t i = 0; i < fm_shape_count(&b->shape); i++) {
    double d = fm_tensor_get(a, i) - fm_tensor_get(b, i);
    sum += d * d;
  }
  return sqrt(sum) / (1 + norm(b));
}

static fm_tensor *random_like(fm_ctx *ctx, fm_dtype dtype, const fm_shape *shape, double lo,
                              double hi, uint32_t stream) {
  fm_rng r = {20250518, stream, 0};
  fm_tensor *t = fm_tensor_new(ctx, dtype, shape);
  if (t == NULL) return NULL;
  int64_t n = fm_shape_count(shape);
  fm_rng_uniform(&r, dtype, 0, 1, n, t->data);
  for (int64_t i = 0; i < n; i++) fm_tensor_set(t, i, lo + (hi - lo) * fm_tensor_get(t, i));
  return t;
}

/* ------------------------------------------------------------------ running small programs */

/* Row indices and bytes are whole numbers and are not differentiated. */
static bool is_bytes(const fm_sample *s, int k) { return s->bytes >> k & 1; }
static bool is_whole(const fm_sample *s, int k) { return (s->whole | s->bytes) >> k & 1; }

static fm_sig sig_of(const fm_sample *s, int k, fm_dtype dtype) {
  return (fm_sig){is_bytes(s, k) ? FM_U8 : dtype, s->in[k]};
}

/* A random operand k. Bytes range over all their values, other operands over the sample's range. */
static fm_tensor *operand(fm_ctx *ctx, const fm_sample *s, int k, fm_dtype dtype) {
  double lo = is_bytes(s, k) ? 0 : s->lo, hi = is_bytes(s, k) ? 256 : s->hi;
  fm_tensor *x = random_like(ctx, dtype, &s->in[k], lo, hi, (uint32_t)k);
  if (x == NULL || !is_whole(s, k)) return x;
  fm_sig sig = sig_of(s, k, dtype);
  fm_tensor *whole = fm_tensor_new(ctx, sig.dtype, &sig.shape);
  for (int64_t i = 0; whole && i < fm_shape_count(&s->in[k]); i++)
    fm_tensor_set(whole, i, floor(fm_tensor_get(x, i)));
  fm_tensor_drop(x);
  return whole;
}

/* A random direction for operand k, zero for whole numbers. */
static fm_tensor *direction(const trial *t, int k, uint32_t stream) {
  double size = is_whole(t->s, k) ? 0 : 1;
  return random_like(t->ctx, t->dtype, &t->s->in[k], -size, size, stream);
}

/* The derivative of the operation that a small program computes. */
typedef enum deriv { VALUE, JVP, VJP, JVP_JVP, VJP_JVP } deriv;

static fm_val emit(trial *t, fm_prog *p, const fm_val *x) {
  return fm_emit(p, t->op, t->s->nin, x, &t->s->attr);
}

/*
** Inputs: x[], dx[], ddx[], and the cotangent u of the result. Outputs: VALUE y; JVP J dx; VJP J'u
** per operand; JVP_JVP the derivative of (x -> J dx) along ddx; VJP_JVP its transpose applied to u.
*/
static fm_err build(trial *t, fm_prog *p, deriv d, const fm_sig *result, int *nout) {
  fm_val x[MAX_IN], dx[MAX_IN], ddx[MAX_IN], g[MAX_IN];
  int n = t->s->nin;
  for (int k = 0; k < n; k++) {
    fm_sig sig = sig_of(t->s, k, t->dtype);
    x[k] = fm_input(p, FM_SHARED, &sig);
  }
  for (int k = 0; k < n; k++) dx[k] = fm_input(p, FM_SHARED, &(fm_sig){t->dtype, t->s->in[k]});
  for (int k = 0; k < n; k++) ddx[k] = fm_input(p, FM_SHARED, &(fm_sig){t->dtype, t->s->in[k]});
  fm_val u = fm_input(p, FM_SHARED, result), y = emit(t, p, x), dy = y, ddy;
  *nout = 1;
  if (d == JVP || d == JVP_JVP || d == VJP_JVP) fm_jvp(p, n, x, dx, 1, &y, &dy);
  if (d == JVP_JVP && dy != FM_NONE) {
    fm_jvp(p, n, x, ddx, 1, &dy, &ddy);
    dy = ddy;
  }
  if (d == VJP || d == VJP_JVP) {
    if (dy != FM_NONE) fm_vjp(p, 1, &dy, &u, n, x, g);
    for (int k = 0; k < n; k++) {
      bool absent = dy == FM_NONE || g[k] == FM_NONE;
      fm_output(p, absent ? fm_full(p, (fm_sig){t->dtype, t->s->in[k]}, 0) : g[k], FM_SUM);
    }
    *nout = n;
  } else {
    fm_output(p, dy == FM_NONE ? fm_full(p, *result, 0) : dy, FM_SUM);
  }
  return fm_prog_error(p);
}

static fm_err run(trial *t, deriv d, fm_tensor *const *x, fm_tensor *u, fm_tensor **out) {
  fm_sig result = {u->dtype, u->shape};
  fm_tensor *in[3 * MAX_IN + 1];
  int nout = 0, n = t->s->nin;
  fm_prog *p = fm_prog_new(t->ctx);
  if (p == NULL) return FM_ENOMEM;
  fm_exe *e = NULL;
  if (build(t, p, d, &result, &nout) == FM_OK) {
    fm_micro_batches micro = {1, (int[]){0}, (int64_t[]){0, 1}};
    e = fm_exe_new(t->ctx, 1, &p, &micro, FM_PASS_ALL);
  }
  fm_prog_free(p);
  if (e == NULL) return fm_error_code(t->ctx);
  for (int k = 0; k < n; k++) in[k] = x[k], in[n + k] = t->dx[k], in[2 * n + k] = t->ddx[k];
  in[3 * n] = u;
  fm_job job = {1, 0, in, out};
  fm_err err = fm_exe_run(e, &job);
  fm_exe_free(e);
  return err;
}

/* ------------------------------------------------------------------ the checks */

/* Fourth-order central differences of the value (or of the jvp) along `dir`. */
static fm_err difference(trial *t, deriv d, fm_tensor *const *dir, fm_tensor *u, fm_tensor *out) {
  static const double step[4] = {-2, -1, 1, 2}, weight[4] = {1. / 12, -8. / 12, 8. / 12, -1. / 12};
  const double h = STEP;
  fm_tensor *moved[MAX_IN] = {0}, *y = fm_tensor_new(t->ctx, u->dtype, &u->shape);
  fm_err err = y ? FM_OK : FM_ENOMEM;
  memset(out->data, 0, out->bytes);
  for (int k = 0; k < t->s->nin && err == FM_OK; k++)
    if (!(moved[k] = fm_tensor_new(t->ctx, t->x[k]->dtype, &t->s->in[k]))) err = FM_ENOMEM;
  for (int j = 0; j < 4 && err == FM_OK; j++) {
    for (int k = 0; k < t->s->nin; k++)
      for (int64_t i = 0; i < fm_shape_count(&t->s->in[k]); i++)
        fm_tensor_set(moved[k], i,
                      fm_tensor_get(t->x[k], i) + step[j] * h * fm_tensor_get(dir[k], i));
    err = run(t, d, moved, u, &y);
    for (int64_t i = 0; err == FM_OK && i < fm_shape_count(&y->shape); i++)
      fm_tensor_set(out, i, fm_tensor_get(out, i) + weight[j] / h * fm_tensor_get(y, i));
  }
  for (int k = 0; k < t->s->nin; k++) fm_tensor_drop(moved[k]);
  fm_tensor_drop(y);
  return err;
}

/* An identity without a rule: its tangent is zero by definition. */
static bool stops(const fm_op *op) { return (op->flags & FM_IDENTITY) && op->jvp == NULL; }

/* J (or the derivative of J dx) against central differences and against its transpose. */
static fm_err check_order(trial *t, deriv forward, deriv reverse, deriv value,
                          fm_tensor *const *dir, fm_tensor *u, const char *names[2]) {
  fm_tensor *jv = fm_tensor_new(t->ctx, u->dtype, &u->shape), *fd = NULL, *g[MAX_IN] = {0};
  fm_err err = jv && (fd = fm_tensor_new(t->ctx, u->dtype, &u->shape)) ? FM_OK : FM_ENOMEM;
  for (int k = 0; k < t->s->nin && err == FM_OK; k++)
    if (!(g[k] = fm_tensor_new(t->ctx, FM_F64, &t->s->in[k]))) err = FM_ENOMEM;
  if (err == FM_OK) err = run(t, forward, t->x, u, &jv);
  if (err == FM_OK && !stops(t->op)) err = difference(t, value, dir, u, fd);
  if (err == FM_OK) err = run(t, reverse, t->x, u, g);
  if (err == FM_OK) {
    double left = dot(u, jv), right = 0, size = norm(u) * norm(jv);
    for (int k = 0; k < t->s->nin; k++) right += dot(g[k], dir[k]);
    report(t, t->dtype, names[0], distance(jv, fd), MOST_DIFFERENCE);
    report(t, t->dtype, names[1], fabs(left - right) / (size > 1e-12 ? size : 1), MOST_IDENTITY);
  }
  for (int k = 0; k < t->s->nin; k++) fm_tensor_drop(g[k]);
  fm_tensor_drop(fd);
  fm_tensor_drop(jv);
  return err;
}

/* The values of every instruction set against those of the scalar one. */
static fm_err check_values(trial *t, fm_dtype dtype) {
  fm_tensor *x[MAX_IN] = {0}, *want = NULL;
  fm_err err = FM_OK;
  int was = fm_isa();
  for (int k = 0; k < t->s->nin; k++)
    if (!(x[k] = operand(t->ctx, t->s, k, dtype))) err = FM_ENOMEM;
  for (int isa = 0; isa < FM_NISA && err == FM_OK; isa++) {
    if (fm_set_isa(isa) != isa) break;
    fm_tensor *y = fm_apply(t->ctx, t->op, t->s->nin, x, &t->s->attr);
    if (y == NULL) err = FM_ENOMEM;
    if (y && want) report(t, dtype, fm_isa_name(isa), distance(y, want), MOST_BETWEEN(dtype));
    if (want == NULL)
      want = y;
    else
      fm_tensor_drop(y);
  }
  fm_set_isa(was);
  fm_tensor_drop(want);
  for (int k = 0; k < t->s->nin; k++) fm_tensor_drop(x[k]);
  return err;
}

static fm_err check_rules(trial *t) {
  static const char *first[2] = {"jvp = difference", "<u,Jv> = <J'u,v>"};
  static const char *second[2] = {"jvp of jvp = difference", "vjp of jvp: adjoint"};
  fm_sig in[MAX_IN], sig;
  for (int k = 0; k < t->s->nin; k++) in[k] = sig_of(t->s, k, FM_F64);
  fm_err err = fm_infer(t->ctx, t->op, t->s->nin, in, &t->s->attr, &sig);
  if (err != FM_OK) return err;
  fm_tensor *u = random_like(t->ctx, sig.dtype, &sig.shape, -1, 1, COTANGENT);
  if (u == NULL) return FM_ENOMEM;
  err = check_order(t, JVP, VJP, VALUE, t->dx, u, first);
  if (err == FM_OK) err = check_order(t, JVP_JVP, VJP_JVP, JVP, t->ddx, u, second);
  fm_tensor_drop(u);
  return err;
}

static fm_err draw_operands(trial *t) {
  for (int k = 0; k < t->s->nin; k++) {
    t->x[k] = operand(t->ctx, t->s, k, t->dtype);
    t->dx[k] = direction(t, k, FIRST_DIRECTION + (uint32_t)k);
    t->ddx[k] = direction(t, k, SECOND_DIRECTION + (uint32_t)k);
    if (!t->x[k] || !t->dx[k] || !t->ddx[k]) return FM_ENOMEM;
  }
  return FM_OK;
}

static void drop_operands(trial *t) {
  for (int k = 0; k < t->s->nin; k++) {
    fm_tensor_drop(t->x[k]);
    fm_tensor_drop(t->dx[k]);
    fm_tensor_drop(t->ddx[k]);
  }
}

static bool has_rules(const fm_op *op) { return !(op->flags & (FM_LEAF | FM_LOWERED)); }

static fm_err check_sample(trial *t) {
  fm_err err = draw_operands(t);
  if (err == FM_OK) err = check_values(t, FM_F32);
  if (err == FM_OK) err = check_values(t, FM_F64);
  if (err == FM_OK && has_rules(t->op)) err = check_rules(t);
  drop_operands(t);
  return err;
}

/* A rule's sentence names the operation that it emits, not the one whose rule it is. */
static fm_err named(fm_ctx *ctx, const fm_op *op, fm_err err) {
  char why[400];
  if (err != FM_EUSAGE) return err;
  snprintf(why, sizeof why, "%s", fm_error(ctx));
  fm_error_clear(ctx);
  return fm_fail(ctx, err, "gradcheck of %s: %s", op->name, why);
}

fm_err fm_check_op(fm_ctx *ctx, const fm_op *op, fm_check_fn each, void *arg) {
  int tried = 0;
  for (int k = 0; k < FM_MAX_SAMPLES; k++) {
    trial t = {ctx, FM_F64, op, &op->samples[k], each, arg, {0}, {0}, {0}};
    if (t.s->nin == 0 && t.s->hi == 0) break;
    fm_err err = check_sample(&t);
    if (err != FM_OK) return named(ctx, op, err);
    tried++;
  }
  fm_check c = {op->name, "has samples", 0, "", tried ? 0 : 1, 0, tried > 0};
  each(arg, &c);
  return FM_OK;
}

/* ------------------------------------------------------------------ fingerprint of the numerics */

/* The value of a sample, its jvp J dx and its vjp J'u. */
static fm_err probe_sample(trial *t, fm_probe_fn each, void *arg) {
  fm_err err = draw_operands(t);
  fm_tensor *y = err == FM_OK ? fm_apply(t->ctx, t->op, t->s->nin, t->x, &t->s->attr) : NULL;
  if (err == FM_OK && y == NULL) err = fm_error_code(t->ctx);
  if (y) each(arg, y);
  fm_tensor *g[MAX_IN] = {0}, *u = NULL, *jv = NULL;
  if (y && has_rules(t->op)) {
    u = random_like(t->ctx, y->dtype, &y->shape, -1, 1, COTANGENT);
    jv = fm_tensor_new(t->ctx, y->dtype, &y->shape);
    for (int k = 0; k < t->s->nin; k++) g[k] = fm_tensor_new(t->ctx, t->dtype, &t->s->in[k]);
    err = u && jv ? FM_OK : FM_ENOMEM;
    for (int k = 0; k < t->s->nin; k++) err = g[k] ? err : FM_ENOMEM;
    if (err == FM_OK) err = run(t, JVP, t->x, u, &jv);
    if (err == FM_OK) err = run(t, VJP, t->x, u, g);
    if (err == FM_OK) each(arg, jv);
    for (int k = 0; k < t->s->nin && err == FM_OK; k++) each(arg, g[k]);
  }
  for (int k = 0; k < t->s->nin; k++) fm_tensor_drop(g[k]);
  fm_tensor_drop(jv);
  fm_tensor_drop(u);
  fm_tensor_drop(y);
  drop_operands(t);
  return err;
}

fm_err fm_probe_op(fm_ctx *ctx, const fm_op *op, fm_probe_fn each, void *arg) {
  static const fm_dtype dtypes[] = {FM_F32, FM_F64};
  for (int k = 0; k < FM_MAX_SAMPLES; k++)
    for (int d = 0; d < 2; d++) {
      trial t = {ctx, dtypes[d], op, &op->samples[k], NULL, NULL, {0}, {0}, {0}};
      if (t.s->nin == 0 && t.s->hi == 0) return FM_OK;
      fm_err err = t.s->unprobed ? FM_OK : probe_sample(&t, each, arg);
      if (err != FM_OK) return err;
    }
  return FM_OK;
}
