/*
** test_optim.c - RAdam and AdamW against a plain implementation in double, on a random quadratic;
** clipping, averages, threads, gradients that are not finite, failing allocations.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "fm.h"
#include "kernels/isa.h"
#include "sparse.h"

enum { NP = 4, STEPS = 40, MOST = 40000 };

/* A scalar, a tail, a parameter of several chunks, a matrix; of mixed types. */
static const fm_shape shapes[NP] = {{0, {0}}, {1, {7}}, {1, {40000}}, {2, {33, 65}}};

static const fm_optim_conf radam = {FM_RADAM, 0.9, 0.999, 1e-8, 0, 0, 2, {0.999, 0.5}};
static const fm_optim_conf adamw = {FM_ADAMW, 0.9, 0.99, 1e-8, 0.1, 0, 1, {0.9}};

/* The loss is sum h (w - c)^2 / 2: gradient h (w - c). */
typedef struct problem {
  fm_tensor *w[NP], *g[NP];
  double h[NP][MOST], c[NP][MOST];
} problem;

static problem now; /* too large for the stack */

/* mixed: float64 for odd parameters; else all of type `t`. */
static void pose(fm_ctx *ctx, problem *p, fm_dtype t, bool mixed) {
  for (uint32_t i = 0; i < NP; i++) {
    const fm_dtype type = mixed ? (i % 2 ? FM_F64 : FM_F32) : t;
    p->w[i] = fm_tensor_new(ctx, type, &shapes[i]);
    p->g[i] = fm_tensor_new(ctx, type, &shapes[i]);
    assert_true(p->w[i] && p->g[i]);
    const int64_t n = fm_shape_count(&shapes[i]);
    fm_rng_uniform(&(fm_rng){7, 0, i}, FM_F64, 0, 1, n, p->h[i]);
    fm_rng_normal(&(fm_rng){7, 1, i}, FM_F64, 0, 1, n, p->c[i]);
    fm_rng_normal(&(fm_rng){7, 2, i}, type, 0, 1, n, p->w[i]->data);
  }
}

static void gradient(problem *p) {
  for (int i = 0; i < NP; i++)
    for (int64_t j = 0; j < fm_shape_count(&shapes[i]); j++)
      fm_tensor_set(p->g[i], j, p->h[i][j] * (fm_tensor_get(p->w[i], j) - p->c[i][j]));
}

static void drop(problem *p) {
  for (int i = 0; i < NP; i++) {
    fm_tensor_drop(p->w[i]);
    fm_tensor_drop(p->g[i]);
  }
}

/* ------------------------------------------------------------------ the reference */

typedef struct reference {
  double w[NP][MOST], m[NP][MOST], v[NP][MOST], e[FM_MAX_EMA][NP][MOST];
} reference;

static reference ref;

static void ref_start(const problem *p) {
  memset(&ref, 0, sizeof ref);
  for (int i = 0; i < NP; i++)
    for (int64_t j = 0; j < fm_shape_count(&shapes[i]); j++) {
      ref.w[i][j] = fm_tensor_get(p->w[i], j);
      for (int k = 0; k < FM_MAX_EMA; k++) ref.e[k][i][j] = ref.w[i][j];
    }
}

/* optax.scale_by_radam and optax.scale_by_adam, line by line. */
static double direction(const fm_optim_conf *c, double m, double v, int t) {
  const double m_hat = m / (1 - pow(c->b1, t)), v_hat = v / (1 - pow(c->b2, t));
  if (c->kind == FM_ADAMW) return m_hat / (sqrt(v_hat) + c->eps);
  const double ro_inf = 2 / (1 - c->b2) - 1, b2t = pow(c->b2, t);
  const double ro = ro_inf - 2 * t * b2t / (1 - b2t);
  if (ro < 5.0) return m_hat;
  const double r = sqrt((ro - 4) * (ro - 2) * ro_inf / ((ro_inf - 4) * (ro_inf - 2) * ro));
  return r * m_hat / (sqrt(v_hat) + c->eps);
}

static double ref_norm(const problem *p, double scale) {
  double sum = 0;
  for (int i = 0; i < NP; i++)
    for (int64_t j = 0; j < fm_shape_count(&shapes[i]); j++)
      sum += pow(scale * fm_tensor_get(p->g[i], j), 2);
  return sqrt(sum);
}

static void ref_update(const fm_optim_conf *c, const problem *p, int t, double lr, double scale) {
  const double norm = ref_norm(p, scale);
  const double clip = c->clip > 0 && norm > c->clip ? c->clip / norm : 1;
  for (int i = 0; i < NP; i++)
    for (int64_t j = 0; j < fm_shape_count(&shapes[i]); j++) {
      const double g = fm_tensor_get(p->g[i], j) * scale * clip;
      double *m = &ref.m[i][j], *v = &ref.v[i][j], *w = &ref.w[i][j];
      *m = c->b1 * *m + (1 - c->b1) * g;
      *v = c->b2 * *v + (1 - c->b2) * g * g;
      double d = direction(c, *m, *v, t);
      if (c->kind == FM_ADAMW) d += c->weight_decay * *w;
      *w -= lr * d;
      for (int k = 0; k < c->nema; k++)
        ref.e[k][i][j] = c->ema[k] * ref.e[k][i][j] + (1 - c->ema[k]) * *w;
    }
}

/* ------------------------------------------------------------------ tests */

static void near(const fm_tensor *t, const double *r) {
  const double bound = t->dtype == FM_F64 ? 1e-12 : 1e-4;
  for (int64_t j = 0; j < fm_shape_count(&t->shape); j++) {
    const double error = fabs(fm_tensor_get(t, j) - r[j]);
    if (!(error <= bound * (1 + fabs(r[j]))))
      fail_msg("value %lld: %.17g, expected %.17g", (long long)j, fm_tensor_get(t, j), r[j]);
  }
}

static void follow(const fm_optim_conf *conf, fm_dtype t, bool mixed) {
  fm_ctx *ctx = fm_ctx_new(2);
  pose(ctx, &now, t, mixed);
  ref_start(&now);
  fm_optim *o = fm_optim_new(ctx, conf, NP, now.w);
  const int steps = sparse() > 1 ? 8 : STEPS;
  assert_non_null(o);
  for (int step = 1; step <= steps; step++) {
    double norm, scale = 0.5, lr = 0.05 / sqrt(step);
    gradient(&now);
    ref_update(conf, &now, step, lr, scale);
    const double expected = ref_norm(&now, scale);
    assert_int_equal(fm_optim_update(o, now.g, lr, scale, &norm), FM_OK);
    assert_true(fabs(norm - expected) <= 1e-12 * expected);
    assert_int_equal(fm_optim_steps(o), step);
    for (int i = 0; i < NP && (step < 8 || step == steps); i++) {
      near(now.w[i], ref.w[i]);
      near(fm_optim_state(o, 0, i), ref.m[i]);
      near(fm_optim_state(o, 1, i), ref.v[i]);
      for (int k = 0; k < conf->nema; k++) near(fm_optim_state(o, 2 + k, i), ref.e[k][i]);
    }
  }
  fm_optim_free(o);
  drop(&now);
  assert_int_equal(fm_bytes_now(ctx), 0);
  fm_ctx_free(ctx);
}

static void each_isa(const fm_optim_conf *conf) {
  const int was = fm_isa();
  for (int isa = 0; isa < FM_NISA; isa++) {
    if (fm_set_isa(isa) != isa) continue;
    follow(conf, FM_F64, false);
    follow(conf, FM_F32, true);
  }
  fm_set_isa(was);
}

static void test_radam(void **state) { (void)state, each_isa(&radam); }
static void test_adamw(void **state) { (void)state, each_isa(&adamw); }

/* b2 = 0.99: steps become adaptive after five steps here, too; clipping acts only at first. */
static void test_clip(void **state) {
  (void)state;
  fm_optim_conf conf = radam;
  conf.clip = 30;
  conf.b2 = 0.99;
  each_isa(&conf);
}

/* By hand: the first step of RAdam is lr times the gradient, that of AdamW lr times its sign. */
static void test_first_step(void **state) {
  (void)state;
  fm_ctx *ctx = fm_ctx_new(1);
  fm_tensor *w = fm_tensor_new(ctx, FM_F64, &shapes[1]),
            *g = fm_tensor_new(ctx, FM_F64, &shapes[1]);
  for (int kind = 0; kind < 2; kind++) {
    fm_optim_conf conf = kind ? adamw : radam;
    conf.weight_decay = 0;
    for (int j = 0; j < 7; j++) fm_tensor_set(w, j, 1), fm_tensor_set(g, j, j + 1);
    fm_optim *o = fm_optim_new(ctx, &conf, 1, &w);
    assert_int_equal(fm_optim_update(o, &g, 0.01, 1, NULL), FM_OK);
    for (int j = 0; j < 7; j++)
      assert_true(fabs(fm_tensor_get(w, j) - (1 - 0.01 * (kind ? 1 : j + 1))) < 1e-9);
    fm_optim_set_steps(o, -1); /* a count from a file: no less than 0, and exact as a double */
    assert_int_equal(fm_optim_steps(o), 0);
    fm_optim_set_steps(o, INT64_MAX);
    assert_int_equal(fm_optim_steps(o), (int64_t)1 << 53);
    fm_optim_free(o);
  }
  fm_tensor_drop(w);
  fm_tensor_drop(g);
  fm_ctx_free(ctx);
}

static uint32_t hash(uint32_t h, const fm_tensor *t) {
  const unsigned char *p = t->data;
  for (size_t i = 0; i < t->bytes; i++) h = (h ^ p[i]) * 16777619u;
  return h;
}

static uint32_t hash_all(fm_optim *o) {
  uint32_t h = 2166136261u;
  for (int i = 0; i < NP; i++) {
    h = hash(h, now.w[i]);
    for (int what = 0; what < 4; what++) h = hash(h, fm_optim_state(o, what, i));
  }
  return h;
}

/* 1 to 5 threads give the same bits; so does resumption with the state and the step count. */
static void test_threads_and_resume(void **state) {
  (void)state;
  uint32_t expected = 0;
  for (int threads = 1; threads <= 5; threads++) {
    fm_ctx *ctx = fm_ctx_new(threads % 5 + 1);
    fm_optim_conf conf = radam;
    conf.clip = 40;
    pose(ctx, &now, FM_F32, false);
    fm_optim *o = fm_optim_new(ctx, &conf, NP, now.w);
    for (int step = 0; step < 12; step++) {
      if (threads == 5 && step == 7) { /* move into a new optimiser */
        fm_optim *next = fm_optim_new(ctx, &conf, NP, now.w);
        for (int i = 0; i < NP; i++)
          for (int what = 0; what < 4; what++) {
            const fm_tensor *from = fm_optim_state(o, what, i);
            memcpy(fm_optim_state(next, what, i)->data, from->data, from->bytes);
          }
        fm_optim_set_steps(next, fm_optim_steps(o));
        fm_optim_free(o);
        o = next;
      }
      gradient(&now);
      assert_int_equal(fm_optim_update(o, now.g, 0.01, 1, NULL), FM_OK);
    }
    if (threads == 1) expected = hash_all(o);
    assert_int_equal(hash_all(o), expected);
    fm_optim_free(o);
    drop(&now);
    fm_ctx_free(ctx);
  }
}

/* A decay that is set acts from the next step on; others are refused. */
static void test_decay(void **state) {
  (void)state;
  fm_ctx *ctx = fm_ctx_new(1);
  pose(ctx, &now, FM_F64, false);
  fm_optim *o = fm_optim_new(ctx, &radam, NP, now.w);
  for (int step = 0; step < 3; step++) {
    assert_int_equal(fm_optim_set_decay(o, 0, step == 1 ? 1 : 0), FM_OK);
    const double before = fm_tensor_get(fm_optim_state(o, 2, 0), 0);
    gradient(&now);
    assert_int_equal(fm_optim_update(o, now.g, 0.01, 1, NULL), FM_OK);
    const double after = fm_tensor_get(fm_optim_state(o, 2, 0), 0);
    const double expected = step == 1 ? before : fm_tensor_get(now.w[0], 0);
    assert_memory_equal(&after, &expected, sizeof after);
  }
  assert_int_equal(fm_optim_set_decay(o, radam.nema, 0.5), FM_EUSAGE);
  assert_non_null(strstr(fm_error(ctx), "there is no average"));
  const double bad[] = {-0.1, 1.1, NAN};
  for (int i = 0; i < 3; i++) assert_int_equal(fm_optim_set_decay(o, 0, bad[i]), FM_EUSAGE);
  assert_int_equal(fm_optim_set_decay(o, -1, 0.5), FM_EUSAGE);
  fm_optim_free(o);
  drop(&now);
  fm_ctx_free(ctx);
}

/* NaN, infinity or a wrong call: a code, a sentence that names the place, and no change. */
static void test_refusal(void **state) {
  (void)state;
  fm_ctx *ctx = fm_ctx_new(2);
  pose(ctx, &now, FM_F32, true);
  fm_optim *o = fm_optim_new(ctx, &radam, NP, now.w);
  gradient(&now);
  assert_int_equal(fm_optim_update(o, now.g, 0.01, 1, NULL), FM_OK);
  const uint32_t before = hash_all(o);
  const double bad[] = {NAN, INFINITY, -INFINITY};
  for (int i = 0; i < NP; i++)
    for (int k = 0; k < 3; k++) {
      char place[32];
      double norm = 0;
      const int64_t at = fm_shape_count(&shapes[i]) - 1;
      const double good = fm_tensor_get(now.g[i], at);
      fm_tensor_set(now.g[i], at, bad[k]);
      assert_int_equal(fm_optim_update(o, now.g, 0.01, 1, &norm), FM_ENUMERIC);
      assert_true(isnan(norm) || isinf(norm));
      snprintf(place, sizeof place, "parameter %d,", i + 1);
      assert_non_null(strstr(fm_error(ctx), place));
      fm_error_clear(ctx);
      fm_tensor_set(now.g[i], at, good);
    }
  fm_tensor_set(now.g[1], 0, 1e200); /* finite, but its square is not */
  assert_int_equal(fm_optim_update(o, now.g, 0.01, 1, NULL), FM_ENUMERIC);
  fm_error_clear(ctx);
  assert_int_equal(fm_optim_update(o, now.g, NAN, 1, NULL), FM_ENUMERIC);
  fm_error_clear(ctx);
  fm_tensor *swapped[NP] = {now.g[0], now.g[2], now.g[1], now.g[3]};
  assert_int_equal(fm_optim_update(o, swapped, 0.01, 1, NULL), FM_EUSAGE);
  assert_non_null(strstr(fm_error(ctx), "(40000)"));
  assert_true(hash_all(o) == before && fm_optim_steps(o) == 1);
  fm_error_clear(ctx);
  fm_optim_free(o);
  drop(&now);
  fm_ctx_free(ctx);
}

static void test_bad_conf(void **state) {
  (void)state;
  fm_ctx *ctx = fm_ctx_new(1);
  fm_optim_conf bad[] = {radam, radam, radam, radam, radam, radam};
  bad[0].b1 = 1, bad[1].b2 = NAN, bad[2].eps = -1, bad[3].nema = FM_MAX_EMA + 1;
  bad[4].ema[1] = 1.5, bad[5].clip = -1;
  pose(ctx, &now, FM_F32, false);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_null(fm_optim_new(ctx, &bad[i], NP, now.w));
    assert_int_equal(fm_error_code(ctx), FM_EUSAGE);
    fm_error_clear(ctx);
  }
  fm_tensor *twice[2] = {now.w[1], now.w[1]};
  assert_null(fm_optim_new(ctx, &radam, 2, twice));
  assert_int_equal(fm_error_code(ctx), FM_EUSAGE);
  fm_error_clear(ctx);
  drop(&now);
  fm_ctx_free(ctx);
}

/* The k-th allocation fails, for every k: a sentence, and no leak. */
static void test_memory(void **state) {
  (void)state;
  fm_ctx *ctx = fm_ctx_new(1);
  pose(ctx, &now, FM_F32, false);
  const size_t before = fm_bytes_now(ctx);
  fm_optim *o = NULL;
  long k = 0;
  while (o == NULL) {
    fm_fail_alloc(ctx, ++k);
    o = fm_optim_new(ctx, &radam, NP, now.w);
    fm_fail_alloc(ctx, 0);
    if (o != NULL) break;
    assert_int_equal(fm_error_code(ctx), FM_ENOMEM);
    assert_int_equal(fm_bytes_now(ctx), before);
    fm_error_clear(ctx);
  }
  assert_true(k > 30); /* 16 tensors of two allocations each, and the rest */
  fm_optim_free(o);
  drop(&now);
  assert_int_equal(fm_bytes_now(ctx), 0);
  fm_ctx_free(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_radam),
                                     cmocka_unit_test(test_adamw),
                                     cmocka_unit_test(test_clip),
                                     cmocka_unit_test(test_first_step),
                                     cmocka_unit_test(test_threads_and_resume),
                                     cmocka_unit_test(test_decay),
                                     cmocka_unit_test(test_refusal),
                                     cmocka_unit_test(test_bad_conf),
                                     cmocka_unit_test(test_memory)};
  return cmocka_run_group_tests_name("optim", tests, NULL, NULL);
}
