/*
** numeric.h - for tests of operations and programs: a context per test, which must end without
** leaks and unhandled errors; small tensors; running a program once; comparisons. Include it after
** cmocka.h.
*/
#ifndef NUMERIC_H
#define NUMERIC_H

#include <math.h>

#include "op.h"

static fm_ctx *ctx;

static inline int setup(void **state) {
  (void)state;
  ctx = fm_ctx_new(1);
  return ctx ? 0 : -1;
}

static inline int teardown(void **state) {
  (void)state;
  size_t left = fm_bytes_now(ctx);
  bool clean = fm_error_code(ctx) == FM_OK;
  if (left != 0) print_error("%zu bytes leaked\n", left);
  if (!clean) print_error("unexpected error: %s\n", fm_error(ctx));
  fm_ctx_free(ctx);
  return left == 0 && clean ? 0 : -1;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#define SHAPE(nd, ...) (&(fm_shape){nd, {__VA_ARGS__}})
#define SIG(nd, ...) (&(fm_sig){FM_F64, {nd, {__VA_ARGS__}}})

/* Assert that the last call failed with `code` and a sentence that contains `part`. */
static inline void assert_sentence(fm_err code, const char *part) {
  if (fm_error_code(ctx) != code || !strstr(fm_error(ctx), part))
    fail_msg("error %d '%s', expected %d with '%s'", fm_error_code(ctx), fm_error(ctx), code, part);
  fm_error_clear(ctx);
}

/* ------------------------------------------------------------------ tensors */

static inline fm_tensor *zeros(fm_dtype dtype, const fm_shape *shape) {
  fm_tensor *t = fm_tensor_new(ctx, dtype, shape);
  if (t == NULL) fail_msg("%s", fm_error(ctx));
  return t;
}

/* Uniform on [lo, hi); a seed gives the same numbers in float32 and float64. */
static inline fm_tensor *random_tensor(fm_dtype dtype, const fm_shape *shape, double lo, double hi,
                                       uint64_t seed) {
  fm_tensor *t = zeros(dtype, shape);
  for (int64_t i = 0; i < fm_shape_count(shape); i++) {
    double u;
    fm_rng_uniform(&(fm_rng){seed, 0, 0}, FM_F64, i, 1, 1, &u);
    fm_tensor_set(t, i, lo + (hi - lo) * u);
  }
  return t;
}

static inline fm_tensor *list_tensor(fm_dtype dtype, const fm_shape *shape, const double *values) {
  fm_tensor *t = zeros(dtype, shape);
  for (int64_t i = 0; i < fm_shape_count(shape); i++) fm_tensor_set(t, i, values[i]);
  return t;
}

static inline void drop_all(int n, fm_tensor **list) {
  for (int k = 0; k < n; k++) fm_tensor_drop(list[k]);
}

static inline fm_tensor *apply(const char *name, int nin, fm_tensor *const *in, fm_attr attr) {
  const fm_op *op = fm_op_find(name);
  assert_non_null(op);
  fm_tensor *y = fm_apply(ctx, op, nin, in, &attr);
  if (y == NULL) fail_msg("%s", fm_error(ctx));
  return y;
}

/* The largest |a - factor b| / (1 + |factor b|); equal NaNs count as equal. */
static inline double worst(const fm_tensor *a, const fm_tensor *b, double factor) {
  double most = 0;
  assert_true(fm_shape_eq(&a->shape, &b->shape) && a->dtype == b->dtype);
  for (int64_t i = 0; i < fm_shape_count(&a->shape); i++) {
    double x = fm_tensor_get(a, i), y = factor * fm_tensor_get(b, i);
    if (isnan(x) && isnan(y)) continue;
    double d = x == y ? 0 : fabs(x - y) / (1 + fabs(y));
    if (!(d <= most)) most = d; /* keeps a NaN */
    if (isnan(d)) return d;
  }
  return most;
}

static inline void assert_within(double found, double bound, const char *what, int which) {
  if (!(found <= bound)) fail_msg("%s (%d): error %g, bound %g", what, which, found, bound);
}

/* ------------------------------------------------------------------ programs */

/* `times` micro-batches without rows: sums come out `times`-fold. */
static inline fm_exe *prepare(fm_prog *p, int passes, int times) {
  int which[16] = {0};
  int64_t row0[17] = {0};
  assert_true(times <= 16);
  fm_exe *e = fm_exe_new(ctx, 1, &p, &(fm_micro_batches){times, which, row0}, passes);
  if (e == NULL) fail_msg("%s", fm_error(ctx));
  return e;
}

/* New tensors for the results of e. */
static inline void make_outputs(const fm_exe *e, fm_tensor **out) {
  for (int k = 0; k < fm_exe_outs(e); k++) {
    fm_merge merge;
    fm_sig sig = fm_exe_out(e, k, &merge);
    out[k] = zeros(sig.dtype, &sig.shape);
  }
}

static inline void run_exe(fm_exe *e, fm_tensor *const *in, fm_tensor **out) {
  fm_job job = {7, 3, in, out};
  make_outputs(e, out);
  if (fm_exe_run(e, &job) != FM_OK) fail_msg("%s", fm_error(ctx));
}

/* The program on these inputs; `out` gets new tensors. */
static inline void run_once(fm_prog *p, int passes, int times, fm_tensor *const *in,
                            fm_tensor **out) {
  fm_exe *e = prepare(p, passes, times);
  run_exe(e, in, out);
  fm_exe_free(e);
}

#endif
