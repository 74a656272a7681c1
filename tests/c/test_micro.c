/*
** test_micro.c - a training step run in micro-batches: the gradient of Lagrangian self-distillation
** through a small MLP against central differences under every combination of passes; results do not
** depend on how the batch is split or on the threads; stacked rows, random numbers, unequal traces.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "op_names.h"
#include "numeric.h"

enum { D = 2, H = 6, NPARAM = 6, NROWS = 4, NIN = NPARAM + NROWS, BATCH = 23 };

/* Two hidden layers from (x, s, t) to the velocity; then x0, x1, s, t, one row per sample. */
static const fm_shape param_shapes[NPARAM] = {{2, {D + 2, H}}, {2, {1, H}}, {2, {H, H}},
                                              {2, {1, H}},     {2, {H, D}}, {2, {1, D}}};
static const int64_t widths[NROWS] = {D, D, 1, 1};

enum { LOSS, GRADS, MAPPED = GRADS + NPARAM, NOISE, NOUT };

/* ------------------------------------------------------------------ the step */

static fm_val layer(fm_prog *p, fm_val x, fm_val w, fm_val b) {
  fm_val y = fm_matmul(p, x, w, false, false);
  fm_sig sig = fm_prog_sig(p, y);
  return fm_add(p, y, fm_broadcast(p, b, &sig.shape));
}

static fm_val across(fm_prog *p, fm_val column) { /* (n, 1) -> (n, D) */
  fm_shape to = fm_prog_sig(p, column).shape;
  to.d[1] = D;
  return fm_broadcast(p, column, &to);
}

/* Columns of about unit length: values that depend only on weights, and their gradients, are
** computed once per run. */
static fm_val normalized(fm_prog *p, fm_val w) {
  fm_shape big = fm_prog_sig(p, w).shape, row = {2, {1, big.d[1]}};
  fm_val r = fm_affine(p, fm_sum_to(p, fm_e1(p, &fm_op_square, w), &row), 1, 0.5);
  return fm_mul(p, w, fm_broadcast(p, fm_e1(p, &fm_op_rsqrt, r), &big));
}

static fm_val velocity(fm_prog *p, const fm_val *w, fm_val x, fm_val s, fm_val t) {
  fm_val z = fm_concat(p, 3, (fm_val[]){x, s, t}, 1);
  z = fm_e1(p, &fm_op_gelu, layer(p, z, normalized(p, w[0]), w[1]));
  z = fm_e1(p, &fm_op_gelu, layer(p, z, normalized(p, w[2]), w[3]));
  return layer(p, z, normalized(p, w[4]), w[5]);
}

/* X_{s,t}(x) = x + (t - s) v_{s,t}(x) */
static fm_val flow_map(fm_prog *p, const fm_val *w, fm_val x, fm_val s, fm_val t) {
  fm_val dt = across(p, fm_sub(p, t, s));
  return fm_add(p, x, fm_mul(p, dt, velocity(p, w, x, s, t)));
}

/* sum |a - b|^2 / 2 */
static fm_val distance(fm_prog *p, fm_val a, fm_val b) {
  fm_val sum = fm_sum_to(p, fm_e1(p, &fm_op_square, fm_sub(p, a, b)), SHAPE(2, 1, 1));
  return fm_scale(p, sum, 0.5);
}

/*
** The loss |v_{s,s}(I_s) - I'_s|^2 + |d/dt X_{s,t}(I_s) - v_{t,t}(X_{s,t}(I_s))|^2 of n rows,
** without the paper's stop-gradient, so that differences of the loss are its gradient.
*/
static fm_val loss_of(fm_prog *p, const fm_val *w, const fm_val *r, fm_val *mapped) {
  fm_val x0 = r[0], x1 = r[1], s = r[2], t = fm_e1(p, &fm_op_copy, r[3]), dxdt;
  fm_val is = fm_add(p, x0, fm_mul(p, across(p, s), fm_sub(p, x1, x0)));
  fm_val diag = distance(p, velocity(p, w, is, s, s), fm_sub(p, x1, x0));
  fm_val one = fm_full(p, fm_prog_sig(p, t), 1);
  *mapped = flow_map(p, w, is, s, t);
  fm_jvp(p, 1, &t, &one, 1, mapped, &dxdt);
  return fm_add(p, diag, distance(p, dxdt, velocity(p, w, *mapped, t, t)));
}

static fm_prog *trace(int64_t n, bool gradient) {
  fm_prog *p = fm_prog_new(ctx);
  fm_val in[NIN], g[NPARAM], mapped;
  for (int k = 0; k < NPARAM; k++)
    in[k] = fm_input(p, FM_SHARED, &(fm_sig){FM_F64, param_shapes[k]});
  for (int k = 0; k < NROWS; k++) in[NPARAM + k] = fm_input(p, FM_ROWS, SIG(2, n, widths[k]));
  fm_val loss = loss_of(p, in, in + NPARAM, &mapped), one = fm_full(p, fm_prog_sig(p, loss), 1);
  fm_output(p, loss, FM_SUM);
  if (!gradient) return p;
  fm_vjp(p, 1, &loss, &one, NPARAM, in, g);
  for (int k = 0; k < NPARAM; k++) fm_output(p, g[k], FM_SUM);
  fm_output(p, mapped, FM_STACK);
  fm_attr a = fm_attr_shape(SHAPE(2, n, 3));
  a.i[7] = 5, a.f[1] = 1;
  fm_output(p, fm_emit(p, &fm_op_normal, 0, NULL, &a), FM_STACK);
  if (fm_prog_error(p) != FM_OK) fail_msg("%s", fm_error(ctx));
  return p;
}

static void make_inputs(fm_tensor **in) {
  for (int k = 0; k < NPARAM; k++)
    in[k] = random_tensor(FM_F64, &param_shapes[k], -1, 1, (uint64_t)k);
  for (int k = 0; k < NROWS; k++)
    in[NPARAM + k] = random_tensor(FM_F64, SHAPE(2, BATCH, widths[k]), 0, 1, 50 + (uint64_t)k);
}

/* ------------------------------------------------------------------ splits */

/* `micros` micro-batches of sizes as equal as possible; a second trace where sizes differ. */
static fm_exe *cut_into(int micros, int passes, bool gradient) {
  int which[BATCH];
  int64_t row0[BATCH + 1], small = BATCH / micros;
  for (int k = 0; k <= micros; k++) row0[k] = (int64_t)k * BATCH / micros;
  for (int k = 0; k < micros; k++) which[k] = row0[k + 1] - row0[k] > small;
  fm_prog *p[2] = {trace(small, gradient), trace(small + 1, gradient)};
  fm_exe *e = fm_exe_new(ctx, 2, p, &(fm_micro_batches){micros, which, row0}, passes);
  if (e == NULL) fail_msg("%s", fm_error(ctx));
  fm_prog_free(p[0]);
  fm_prog_free(p[1]);
  return e;
}

static void run_cut(int micros, int passes, fm_tensor *const *in, fm_tensor **out) {
  fm_exe *e = cut_into(micros, passes, true);
  run_exe(e, in, out);
  fm_exe_free(e);
}

/* Fourth-order central differences, per parameter. */
static void test_gradient(void **state) {
  (void)state;
  static const double weight[] = {8. / 12, -1. / 12};
  const double h = 2e-3;
  fm_tensor *in[NIN], *out[NOUT], *loss = zeros(FM_F64, SHAPE(2, 1, 1)), *want[NPARAM];
  make_inputs(in);
  fm_exe *e = cut_into(1, 0, false);
  fm_job job = {7, 3, in, &loss};
  for (int k = 0; k < NPARAM; k++) {
    want[k] = zeros(FM_F64, &param_shapes[k]);
    for (int64_t i = 0; i < fm_shape_count(&param_shapes[k]); i++) {
      double at = fm_tensor_get(in[k], i), slope = 0;
      for (int j = -2; j <= 2; j++) {
        if (j == 0) continue;
        fm_tensor_set(in[k], i, at + j * h);
        assert_int_equal(fm_exe_run(e, &job), FM_OK);
        slope += (j > 0 ? 1 : -1) * weight[j * j > 1] * fm_tensor_get(loss, 0) / h;
      }
      fm_tensor_set(in[k], i, at);
      fm_tensor_set(want[k], i, slope);
    }
  }
  for (int round = 0; round <= 2 * FM_PASS_ALL + 1; round++) {
    int passes = round / 2 | (round % 2 ? FM_SCARCE : 0);
    run_cut(5, passes, in, out);
    for (int k = 0; k < NPARAM; k++)
      assert_within(worst(out[GRADS + k], want[k], 1), 1e-9, "gradient", passes);
    drop_all(NOUT, out);
  }
  fm_exe_free(e);
  fm_tensor_drop(loss);
  drop_all(NPARAM, want);
  drop_all(NIN, in);
}

static void test_cuts(void **state) {
  (void)state;
  fm_tensor *in[NIN], *whole[NOUT], *out[NOUT];
  make_inputs(in);
  run_cut(1, FM_PASS_ALL, in, whole);
  assert_true(fm_shape_eq(&whole[MAPPED]->shape, SHAPE(2, BATCH, D)));
  for (int micros = 2; micros <= BATCH; micros++)
    for (int k = 0; k < 3; k++) {
      run_cut(micros, (const int[]){0, FM_PASS_ALL, FM_PASS_ALL | FM_SCARCE}[k], in, out);
      for (int j = 0; j < NOISE; j++)
        assert_within(worst(out[j], whole[j], 1), 1e-12, "split", micros);
      assert_memory_equal(out[NOISE]->data, whole[NOISE]->data, whole[NOISE]->bytes);
      drop_all(NOUT, out);
    }
  drop_all(NOUT, whole);
  drop_all(NIN, in);
}

/* 1 to 4 threads, the same executable or a new one: the same bits. */
static void test_threads(void **state) {
  (void)state;
  fm_tensor *in[NIN], *first[NOUT], *out[NOUT];
  make_inputs(in);
  for (int run = 1; run <= 12; run++) { /* the even ones in pairs */
    int micros = (run - 1) / 2 * 2 + 1;
    fm_exe *e = cut_into(micros, FM_PASS_ALL | (run % 2 ? 0 : FM_SCARCE), true);
    run_exe(e, in, first);
    for (int round = 0; round < 40; round++) {
      assert_int_equal(fm_set_threads(ctx, 1 + round % 4), FM_OK);
      run_exe(e, in, out);
      for (int k = 0; k < NOUT; k++)
        assert_memory_equal(out[k]->data, first[k]->data, out[k]->bytes);
      drop_all(NOUT, out);
    }
    fm_exe_free(e);
    drop_all(NOUT, first);
  }
  drop_all(NIN, in);
}

/* ------------------------------------------------------------------ random, other traces */

/* Seed, stream, step and sample each change the random numbers; the split does not. */
static void test_random(void **state) {
  (void)state;
  fm_prog *p = fm_prog_new(ctx);
  for (int stream = 0; stream < 2; stream++) {
    fm_attr a = fm_attr_shape(SHAPE(2, 4, 3));
    a.i[7] = stream, a.f[1] = 1;
    fm_output(p, fm_emit(p, &fm_op_uniform, 0, NULL, &a), FM_STACK);
  }
  fm_micro_batches split = {3, (int[]){0, 0, 0}, (int64_t[]){8, 12, 16, 20}};
  fm_exe *e = fm_exe_new(ctx, 1, &p, &split, 0);
  static const fm_job jobs[] = {{1, 1, NULL, NULL}, {2, 1, NULL, NULL}, {1, 2, NULL, NULL}};
  fm_tensor *out[3][2];
  for (int k = 0; k < 3; k++) {
    fm_job job = jobs[k];
    make_outputs(e, job.out = out[k]);
    assert_int_equal(fm_exe_run(e, &job), FM_OK);
    for (uint32_t stream = 0; stream < 2; stream++) {
      double want[36];
      fm_rng_uniform(&(fm_rng){job.seed, stream, job.step}, FM_F64, 8, 12, 3, want);
      assert_memory_equal(out[k][stream]->data, want, sizeof want);
    }
  }
  assert_true(worst(out[0][0], out[0][1], 1) > 0.1 && worst(out[0][0], out[1][0], 1) > 0.1 &&
              worst(out[0][0], out[2][0], 1) > 0.1);
  for (int k = 0; k < 3; k++) drop_all(2, out[k]);
  fm_exe_free(e);
  fm_prog_free(p);
}

/* (sum factor x, factor x) of n rows of 2, the sum as a product, whose kernel can add to it; with
** `gain` times cos w, which the prologue computes. */
static fm_prog *scaling(int64_t n, double factor, bool gain) {
  fm_prog *p = fm_prog_new(ctx);
  fm_val x = fm_input(p, FM_ROWS, SIG(2, n, 2)), y = fm_scale(p, x, factor);
  fm_val w = gain ? fm_input(p, FM_SHARED, SIG(2, 1, 2)) : FM_NONE;
  if (gain) y = fm_mul(p, y, fm_broadcast(p, fm_e1(p, &fm_op_cos, w), SHAPE(2, n, 2)));
  fm_val ones = fm_full(p, *SIG(2, n, 1), 1);
  fm_output(p, fm_matmul(p, ones, y, true, false), FM_SUM);
  fm_output(p, y, FM_STACK);
  return p;
}

/* Three traces of different sizes and contents in one batch, one of them without rows, which alone
** has sums for an epilogue, so that there is none. */
static void check_different_traces(bool gain) {
  static const double factor[] = {1, -2, 7};
  static const int which[] = {1, 0, 2, 0, 1, 1, 0, 1};
  static const int64_t size[] = {2, 3, 0};
  int64_t row0[9] = {0};
  for (int k = 0; k < 8; k++) row0[k + 1] = row0[k] + size[which[k]];
  fm_prog *p[3];
  for (int k = 0; k < 3; k++) p[k] = scaling(size[k], factor[k], gain);
  fm_exe *e = fm_exe_new(ctx, 3, p, &(fm_micro_batches){8, which, row0}, FM_PASS_ALL);
  fm_tensor *out[2], *in[2] = {random_tensor(FM_F64, SHAPE(2, row0[8], 2), -1, 1, 1),
                               random_tensor(FM_F64, SHAPE(2, 1, 2), 0, 0, 1)}; /* cos 0 = 1 */
  run_exe(e, in, out);
  double want[2] = {0, 0};
  for (int k = 0; k < 8; k++)
    for (int64_t i = 2 * row0[k]; i < 2 * row0[k + 1]; i++) {
      double value = factor[which[k]] * fm_tensor_get(in[0], i);
      assert_true(fm_tensor_get(out[1], i) == value);
      want[i % 2] += value;
    }
  for (int i = 0; i < 2; i++)
    assert_within(fabs(fm_tensor_get(out[0], i) - want[i]), 1e-14, "sum", i);
  fm_exe_free(e);
  for (int k = 0; k < 3; k++) fm_prog_free(p[k]);
  drop_all(2, in);
  drop_all(2, out);
}

static void test_different_traces(void **state) {
  (void)state;
  check_different_traces(false);
  check_different_traces(true);
}

/* w * factor[k] * sum x of n rows, and that sum again: linear in the sum, which may be all that a
** micro-batch makes, if the programs agree on the rest. */
static fm_prog *late_product(int64_t n, double factor) {
  fm_prog *p = fm_prog_new(ctx);
  fm_val w = fm_input(p, FM_SHARED, SIG(2, 3, 2)), x = fm_input(p, FM_ROWS, SIG(2, n, 2));
  fm_val sum = fm_sum_to(p, x, SHAPE(2, 1, 2));
  fm_val y = fm_scale(p, fm_mul(p, w, fm_broadcast(p, sum, SHAPE(2, 3, 2))), factor);
  fm_output(p, y, FM_SUM);
  fm_output(p, fm_e1(p, &fm_op_sin, w), FM_SUM); /* shared, but counted for every micro-batch */
  fm_output(p, fm_add(p, x, x), FM_STACK);
  return p;
}

static void test_epilogue(void **state) {
  (void)state;
  static const int which[] = {0, 1, 1, 0, 1};
  static const int64_t row0[] = {0, 2, 5, 8, 10, 13};
  fm_tensor *in[2] = {random_tensor(FM_F64, SHAPE(2, 3, 2), -1, 1, 1),
                      random_tensor(FM_F64, SHAPE(2, 13, 2), -1, 1, 2)};
  for (int round = 0; round < 4; round++) {
    double factor[2] = {3, round < 2 ? 3 : -2};
    bool on = round % 2 == 0;
    fm_prog *p[2] = {late_product(2, factor[0]), late_product(3, factor[1])};
    fm_exe *e = fm_exe_new(ctx, 2, p, &(fm_micro_batches){5, which, row0}, on ? FM_PASS_ALL : 0);
    fm_tensor *out[3];
    run_exe(e, in, out);
    for (int i = 0; i < 6; i++) {
      double want = 0, w = fm_tensor_get(in[0], i);
      for (int k = 0; k < 5; k++)
        for (int64_t r = row0[k]; r < row0[k + 1]; r++)
          want += w * factor[which[k]] * fm_tensor_get(in[1], 2 * r + i % 2);
      assert_within(fabs(fm_tensor_get(out[0], i) - want), 1e-13, "hoisted product", round);
      assert_within(fabs(fm_tensor_get(out[1], i) - 5 * sin(w)), 1e-13, "shared sum", round);
    }
    /* Beside the outputs: blocks of 2 values if those are all that is added, else 6; sin w: 6. */
    assert_int_equal(fm_exe_stats(e).sums, on && round < 2 ? (5 * 2 + 4 * 6) * 8 : 4 * 12 * 8);
    assert_true((fm_exe_stats(e).once > 0) == on);
    fm_exe_free(e);
    for (int k = 0; k < 2; k++) fm_prog_free(p[k]);
    drop_all(3, out);
  }
  drop_all(2, in);
}

/* Random numbers are never hoisted, whatever they are combined with. */
static void test_random_stays(void **state) {
  (void)state;
  fm_prog *p = fm_prog_new(ctx);
  fm_attr a = fm_attr_shape(SHAPE(2, 4, 3));
  a.f[1] = 1;
  fm_val w = fm_input(p, FM_SHARED, SIG(2, 4, 3));
  fm_output(p, fm_mul(p, fm_e1(p, &fm_op_sin, w), fm_emit(p, &fm_op_uniform, 0, NULL, &a)),
            FM_STACK);
  fm_exe *e = fm_exe_new(ctx, 1, &p, &(fm_micro_batches){2, (int[]){0, 0}, (int64_t[]){0, 4, 8}},
                         FM_PASS_ALL);
  fm_tensor *in = random_tensor(FM_F64, SHAPE(2, 4, 3), -1, 1, 1), *out;
  double u[24];
  run_exe(e, &in, &out);
  fm_rng_uniform(&(fm_rng){7, 0, 3}, FM_F64, 0, 8, 3, u);
  for (int i = 0; i < 24; i++)
    assert_within(fabs(fm_tensor_get(out, i) - sin(fm_tensor_get(in, i % 12)) * u[i]), 1e-15,
                  "random", i);
  fm_exe_free(e);
  fm_prog_free(p);
  drop_all(2, (fm_tensor *[]){in, out});
}

/* A micro-batch is small, so partial sums in float32 inside a step lose little accuracy. */
static void test_sums_in_a_step(void **state) {
  (void)state;
  static const fm_shape to[] = {{2, {1, 512}}, {2, {2048, 1}}, {2, {1, 1}}};
  fm_tensor *x = random_tensor(FM_F32, SHAPE(2, 2048, 512), 0, 1, 5), *out[3];
  fm_prog *p = fm_prog_new(ctx);
  fm_val in = fm_input(p, FM_SHARED, &(fm_sig){FM_F32, x->shape});
  for (int k = 0; k < 3; k++) fm_output(p, fm_sum_to(p, in, &to[k]), FM_SUM);
  run_once(p, FM_PASS_ALL, 1, &x, out);
  for (int k = 0; k < 3; k++) {
    fm_tensor *want = apply("sum_to", 1, &x, fm_attr_shape(&to[k]));
    assert_within(worst(out[k], want, 1), 1e-5, "float32 sum", k);
    fm_tensor_drop(want);
  }
  fm_prog_free(p);
  drop_all(3, out);
  fm_tensor_drop(x);
}

/* The table lists the micro-batches of every trace: its totals are those of the whole run. */
static void test_explain(void **state) {
  (void)state;
  fm_tensor *in[NIN], *out[NOUT];
  make_inputs(in);
  fm_exe *e = cut_into(5, FM_PASS_ALL, true);
  make_outputs(e, out);
  char *text = fm_exe_explain(e, &(fm_job){7, 3, in, out});
  assert_non_null(text);
  assert_non_null(strstr(text, "micro-batch of 4 rows, 2 times of 5"));
  assert_non_null(strstr(text, "micro-batch of 5 rows, 3 times of 5"));
  free(text);
  fm_exe_free(e);
  drop_all(NIN, in), drop_all(NOUT, out);
}

/* ------------------------------------------------------------------ refusals */

static void test_bad_jobs(void **state) {
  (void)state;
  fm_tensor *in = zeros(FM_F64, SHAPE(2, 5, 2)), *out[2];
  fm_prog *p[2] = {scaling(5, 1, false), fm_prog_new(ctx)};
  fm_micro_batches split = {1, (int[]){0}, (int64_t[]){0, 5}};
  assert_null(fm_exe_new(ctx, 2, p, &split, 0));
  assert_sentence(FM_EUSAGE, "1 and 0 inputs");
  assert_null(fm_exe_new(ctx, 1, p, &(fm_micro_batches){0, NULL, NULL}, 0));
  assert_sentence(FM_EUSAGE, "no micro-batch");
  fm_micro_batches other = {2, (int[]){0, 0}, (int64_t[]){0, 5, 9}};
  assert_null(fm_exe_new(ctx, 1, p, &other, 0)); /* would read beyond the last row */
  assert_sentence(FM_EUSAGE, "input 1 is float64 (5, 2) in a micro-batch of 4 rows");
  fm_micro_batches absent = {1, (int[]){1}, (int64_t[]){0, 5}};
  assert_null(fm_exe_new(ctx, 1, p, &absent, 0));
  assert_sentence(FM_EUSAGE, "micro-batch 1 runs program 2, expected 1 to 1");
  fm_exe *e = fm_exe_new(ctx, 1, p, &split, 0);
  make_outputs(e, out);
  fm_tensor *wrong[] = {NULL, zeros(FM_F64, SHAPE(2, 4, 2)), zeros(FM_F32, SHAPE(2, 5, 2))};
  static const char *const part[] = {"is absent, expected float64", "(4, 2)", "float32"};
  for (int k = 0; k < 3; k++) {
    assert_int_equal(fm_exe_run(e, &(fm_job){0, 0, &wrong[k], out}), FM_EUSAGE);
    assert_sentence(FM_EUSAGE, part[k]);
    fm_tensor *bad[2] = {out[0], wrong[k]};
    assert_int_equal(fm_exe_run(e, &(fm_job){0, 0, &in, bad}), FM_EUSAGE);
    assert_sentence(FM_EUSAGE, part[k]);
  }
  assert_int_equal(fm_exe_run(e, &(fm_job){0, 0, &in, (fm_tensor *[]){out[0], in}}), FM_EUSAGE);
  assert_sentence(FM_EUSAGE, "input 1 and output 2 share memory");
  assert_int_equal(fm_exe_run(e, &(fm_job){0, 0, &in, out}), FM_OK);
  fm_output(p[1], FM_NONE, FM_SUM);
  assert_sentence(FM_EUSAGE, "output 1 is absent");
  assert_null(fm_exe_new(ctx, 1, &p[1], &split, 0));
  assert_sentence(FM_EUSAGE, "this trace has failed before");
  fm_exe_free(e);
  for (int k = 0; k < 2; k++) fm_prog_free(p[k]);
  drop_all(3, wrong);
  drop_all(3, (fm_tensor *[]){in, out[0], out[1]});
}

/* Traces that differ in more than their rows, even if no micro-batch has one of them. */
static void test_unlike_traces(void **state) {
  (void)state;
  static const struct {
    fm_role role;
    int width;
    fm_merge merge;
    const char *part;
  } other[] = {{FM_SHARED, 2, FM_SUM,
                "input 1 is float64 (4, 2) in rows in one trace, float64 "
                "(4, 2) in another"},
               {FM_ROWS, 3, FM_SUM,
                "input 1 is float64 (4, 2) in rows in one trace, float64 "
                "(4, 3) in rows in another"},
               {FM_ROWS, 2, FM_STACK,
                "output 1 is float64 (1, 2) in one trace, float64 (1, 2) in "
                "rows in another"}};
  for (int k = -1; k < 3; k++) {
    fm_prog *p[2];
    for (int i = 0; i < 2; i++) {
      bool changed = i == 1 && k >= 0;
      int width = changed ? other[k].width : 2;
      p[i] = fm_prog_new(ctx);
      fm_val x = fm_input(p[i], changed ? other[k].role : FM_ROWS, SIG(2, 4, width));
      fm_output(p[i], fm_sum_to(p[i], x, SHAPE(2, 1, width)), changed ? other[k].merge : FM_SUM);
    }
    fm_exe *e = fm_exe_new(ctx, 2, p, &(fm_micro_batches){1, (int[]){0}, (int64_t[]){0, 4}}, 0);
    assert_true((e != NULL) == (k < 0));
    if (e == NULL) assert_sentence(FM_EUSAGE, other[k].part);
    fm_exe_free(e);
    for (int i = 0; i < 2; i++) fm_prog_free(p[i]);
  }
}

/* Stacked results have one row per sample: with more, memory would be overwritten. */
static void test_bad_rows(void **state) {
  (void)state;
  const fm_micro_batches split = {2, (int[]){0, 0}, (int64_t[]){0, 3, 6}};
  for (int k = 0; k < 3; k++) {
    fm_prog *p = fm_prog_new(ctx);
    fm_val x = fm_input(p, FM_ROWS, SIG(2, 3, 2));
    fm_val y[] = {fm_concat(p, 2, (fm_val[]){x, x}, 0), fm_slice(p, x, 0, 0, 2),
                  fm_full(p, *SIG(0, 0), 1)};
    static const char *const part[] = {"(6, 2)", "(2, 2)", "()"};
    fm_output(p, y[k], FM_STACK);
    assert_null(fm_exe_new(ctx, 1, &p, &split, FM_PASS_ALL));
    assert_sentence(FM_EUSAGE, part[k]);
    fm_prog_free(p);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_gradient),         TEST(test_cuts),
                                     TEST(test_threads),          TEST(test_random),
                                     TEST(test_different_traces), TEST(test_epilogue),
                                     TEST(test_random_stays),     TEST(test_sums_in_a_step),
                                     TEST(test_explain),          TEST(test_bad_jobs),
                                     TEST(test_unlike_traces),    TEST(test_bad_rows)};
  return cmocka_run_group_tests_name("micro", tests, NULL, NULL);
}
