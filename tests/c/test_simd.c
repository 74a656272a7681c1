/*
** test_simd.c - the vector functions of kernels/simd.h, tested through the elementwise operations
** that use them, for every instruction set of this machine: error in units of the last place
** against the double functions of the C library, special values, tails.
*/
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/isa.h"
#include "op.h"
#include "sparse.h"

#define ULP_BOUND 1.6
#define STRIDE 509 /* every 509th float32, so every exponent many times */
#define BLOCK 1021 /* odd: each call has a tail */

#define ONE_MAP(name, t, isa)                                                                      \
  void fm_##name##_##t##_##isa(int64_t n, void *y, const void *a, const void *b, const void *c,    \
                               const double *f);
#if defined(__x86_64__)
#define EACH_ISA(entry, name, t) entry(name, t, scalar) entry(name, t, avx2) entry(name, t, avx512)
#elif defined(__aarch64__)
#define EACH_ISA(entry, name, t) entry(name, t, scalar) entry(name, t, neon)
#else
#define EACH_ISA(entry, name, t) entry(name, t, scalar)
#endif
#define ENTRY(name, t, isa) fm_##name##_##t##_##isa,
#define MAPS(name)                                                                                 \
  EACH_ISA(ONE_MAP, name, f32)                                                                     \
  EACH_ISA(ONE_MAP, name, f64)                                                                     \
  static const fm_map name##_f32[FM_NISA] = {EACH_ISA(ENTRY, name, f32)};                          \
  static const fm_map name##_f64[FM_NISA] = {EACH_ISA(ENTRY, name, f64)};

MAPS(exp)
MAPS(log)
MAPS(tanh)
MAPS(sin)
MAPS(cos)
MAPS(sqrt)
MAPS(floor)
MAPS(minimum)
MAPS(maximum)
MAPS(where)

typedef double (*libm_fn)(double);

static bool have(int isa) { return fm_set_isa(isa) == isa; }

static float from_bits(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* The distance of y from the true value r in units of r's last place in float32. */
static double ulps(float y, double r) {
  const float rounded = (float)r;
  int e;
  if (isnan(rounded) || isnan(y)) return isnan(rounded) && isnan(y) ? 0 : INFINITY;
  if (isinf(rounded) || isinf(y)) return rounded == y ? 0 : INFINITY;
  frexp(r, &e);
  if (e < -125) e = -125; /* denormals share the smallest unit */
  return fabs((double)y - r) / ldexp(1.0, e - 24);
}

static void sweep(const char *name, const fm_map *map, libm_fn libm) {
  double worst[FM_NISA] = {0};
  const uint64_t step = (uint64_t)(STRIDE * sparse());
  uint64_t bits = 0;
  while (bits <= UINT32_MAX) {
    float x[BLOCK], y[BLOCK];
    double r[BLOCK];
    int n = 0;
    for (; n < BLOCK && bits <= UINT32_MAX; n++, bits += step) {
      x[n] = from_bits((uint32_t)bits);
      r[n] = libm((double)x[n]);
    }
    for (int isa = 0; isa < FM_NISA; isa++) {
      if (!have(isa)) continue;
      map[isa](n, y, x, NULL, NULL, NULL);
      for (int i = 0; i < n; i++) {
        const double u = ulps(y[i], r[i]);
        if (u > ULP_BOUND)
          fail_msg("%s %s(%a) = %a: %g ulp", fm_isa_name(isa), name, (double)x[i], (double)y[i], u);
        if (u > worst[isa]) worst[isa] = u;
      }
    }
  }
  for (int isa = 0; isa < FM_NISA; isa++)
    if (have(isa)) print_message("# %s %s: %.3f ulp\n", fm_isa_name(isa), name, worst[isa]);
}

static void test_exp(void **state) { (void)state, sweep("exp", exp_f32, exp); }
static void test_log(void **state) { (void)state, sweep("log", log_f32, log); }
static void test_tanh(void **state) { (void)state, sweep("tanh", tanh_f32, tanh); }
static void test_sin(void **state) { (void)state, sweep("sin", sin_f32, sin); }
static void test_cos(void **state) { (void)state, sweep("cos", cos_f32, cos); }

/* Densely where errors peak: next to the branch points and to multiples of pi/4. */
static void test_borders(void **state) {
  (void)state;
  const struct {
    const fm_map *map;
    libm_fn libm;
    double at[6];
  } border[] = {{exp_f32, exp, {88.722839, -87.336548, -103.97208, 0.34657359, -0.34657359, 0}},
                {log_f32, log, {0.70710678, 1.41421356, 1, 1.17549435e-38, 1e-45, 2}},
                {tanh_f32, tanh, {0.625, -0.625, 9.0109, 44, 1e-20, -1e-38}},
                {sin_f32, sin, {3.14159265, 0.78539816, 100000, 31415.9265, 1e-40, 268435456}},
                {cos_f32, cos, {1.57079633, 0.78539816, 100000, 15707.9633, 1e-40, -268435456}}};
  for (size_t k = 0; k < sizeof border / sizeof *border; k++)
    for (int j = 0; j < 6; j++) {
      float x[2001], y[2001];
      x[1000] = (float)border[k].at[j];
      for (int i = 1000; i > 0; i--) x[i - 1] = nextafterf(x[i], -INFINITY);
      for (int i = 1000; i < 2000; i++) x[i + 1] = nextafterf(x[i], INFINITY);
      for (int isa = 0; isa < FM_NISA; isa++) {
        if (!have(isa)) continue;
        border[k].map[isa](2001, y, x, NULL, NULL, NULL);
        for (int i = 0; i < 2001; i++)
          assert_true(ulps(y[i], border[k].libm((double)x[i])) <= ULP_BOUND);
      }
    }
}

/* Infinities, NaN, signed zeros and denormals: exactly the results of the C library. */
static void test_special(void **state) {
  (void)state;
  const float x[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.0f, -1.0f, 1e-45f, -1e-45f, 3e38f};
  enum { N = sizeof x / sizeof *x };
  const struct {
    const fm_map *map;
    libm_fn libm;
  } function[] = {{exp_f32, exp}, {log_f32, log},   {tanh_f32, tanh},  {sin_f32, sin},
                  {cos_f32, cos}, {sqrt_f32, sqrt}, {floor_f32, floor}};
  for (int isa = 0; isa < FM_NISA; isa++)
    for (size_t k = 0; have(isa) && k < sizeof function / sizeof *function; k++) {
      float y[N];
      function[k].map[isa](N, y, x, NULL, NULL, NULL);
      for (int i = 0; i < N; i++) {
        const double r = function[k].libm((double)x[i]);
        if (!(ulps(y[i], r) <= ULP_BOUND) || (!isnan(r) && !signbit(y[i]) != !signbit((float)r)))
          fail_msg("%s function %zu of %a: %a, expected %a", fm_isa_name(isa), k, (double)x[i],
                   (double)y[i], r);
      }
    }
}

static void test_nan_wins(void **state) {
  (void)state;
  const float a[] = {1, NAN, NAN, 2, -INFINITY}, b[] = {NAN, 1, NAN, -3, NAN};
  for (int isa = 0; isa < FM_NISA; isa++) {
    float lo[5], hi[5];
    if (!have(isa)) continue;
    minimum_f32[isa](5, lo, a, b, NULL, NULL);
    maximum_f32[isa](5, hi, a, b, NULL, NULL);
    for (int i = 0; i < 5; i++) {
      if (i == 3) continue;
      assert_true(isnan(lo[i]) && isnan(hi[i]));
    }
    assert_true(lo[3] == -3 && hi[3] == 2);
  }
}

/* For every length, all values are computed and nothing after them is touched; also in place. */
static void test_tails(void **state) {
  (void)state;
  for (int isa = 0; isa < FM_NISA; isa++)
    for (int n = 0; have(isa) && n < 40; n++) {
      float a[41], b[41], c[41], y[41];
      double da[41], dy[41];
      for (int i = 0; i < 41; i++) {
        a[i] = (float)(i % 3), b[i] = (float)i, c[i] = (float)-i, y[i] = 77;
        da[i] = i, dy[i] = 77;
      }
      where_f32[isa](n, y, a, b, c, NULL);
      exp_f64[isa](n, dy, da, NULL, NULL, NULL);
      minimum_f32[isa](n, b, b, c, NULL, NULL);
      for (int i = 0; i < 41; i++) {
        assert_true(y[i] == (i >= n ? 77.0f : i % 3 ? (float)i : (float)-i));
        assert_true(dy[i] == (i >= n ? 77.0 : exp(i)));
        assert_true(b[i] == (i >= n ? (float)i : (float)-i));
      }
    }
}

/* float64 uses the C library, lane by lane. */
static void test_double(void **state) {
  (void)state;
  const struct {
    const fm_map *map;
    libm_fn libm;
  } function[] = {{log_f64, log}, {tanh_f64, tanh},   {sin_f64, sin},
                  {cos_f64, cos}, {floor_f64, floor}, {sqrt_f64, sqrt}};
  for (int isa = 0; isa < FM_NISA; isa++)
    for (size_t k = 0; have(isa) && k < sizeof function / sizeof *function; k++) {
      double x[101], y[101];
      for (int i = 0; i < 101; i++) x[i] = 0.01 + 0.37 * i;
      function[k].map[isa](101, y, x, NULL, NULL, NULL);
      for (int i = 0; i < 101; i++) assert_true(y[i] == function[k].libm(x[i]));
    }
  double lo, hi, a = NAN, b = 1;
  minimum_f64[FM_SCALAR](1, &lo, &a, &b, NULL, NULL);
  maximum_f64[FM_SCALAR](1, &hi, &b, &a, NULL, NULL);
  where_f64[FM_SCALAR](1, &b, &b, &b, &a, NULL);
  assert_true(isnan(lo) && isnan(hi) && b == 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_exp),     cmocka_unit_test(test_log),
      cmocka_unit_test(test_tanh),    cmocka_unit_test(test_sin),
      cmocka_unit_test(test_cos),     cmocka_unit_test(test_borders),
      cmocka_unit_test(test_special), cmocka_unit_test(test_nan_wins),
      cmocka_unit_test(test_tails),   cmocka_unit_test(test_double)};
  return cmocka_run_group_tests_name("simd", tests, NULL, NULL);
}
