/*
** test_imops.c - the operations of image networks against plain loops, for every instruction set,
** in float32 and float64, with sizes that leave a tail in every vector width; their singular
** points; their error sentences.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/isa.h"
#include "op_names.h"
#include "numeric.h"

#define AT(t, i) fm_tensor_get(t, i)

/* Run `check` with every instruction set, in float32 and float64. */
static void everywhere(void (*check)(fm_dtype dtype)) {
  const int was = fm_isa();
  for (int isa = 0; isa < FM_NISA && fm_set_isa(isa) == isa; isa++)
    for (int d = 0; d < 2; d++) check((fm_dtype)d);
  fm_set_isa(was);
}

static double tolerance(fm_dtype dtype) { return dtype == FM_F64 ? 1e-13 : 4e-6; }

static void assert_near(double found, double want, fm_dtype dtype, const char *what, int64_t at) {
  assert_within(fabs(found - want) / (1 + fabs(want)), tolerance(dtype), what, (int)at);
}

static void assert_fails(const char *name, int nin, fm_tensor **in, fm_attr a, const char *part) {
  assert_null(fm_apply(ctx, fm_op_find(name), nin, in, &a));
  assert_sentence(FM_EUSAGE, part);
}

/* ------------------------------------------------------------------ normalize */

static double row_dot(const fm_tensor *a, const fm_tensor *b, int64_t row, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += AT(a, row * n + i) * AT(b, row * n + i);
  return sum;
}

/* The three formulas of normalize.c, row by row; one row of x is zero. */
static void check_normalize(fm_dtype dtype) {
  static const int64_t rows[] = {1, 3, 16, 21}, sizes[] = {1, 2, 15, 16, 33, 70};
  const fm_attr given = {{0}, {0.25}}, absent = {{0}, {0}};
  for (int k = 0; k < 24; k++) {
    const int64_t m = rows[k / 6], n = sizes[k % 6];
    const double eps = k % 2 ? 0.25 : 1e-4;
    const fm_attr a = k % 2 ? given : absent;
    fm_tensor *x[3], *y[3];
    for (int j = 0; j < 3; j++)
      x[j] = random_tensor(dtype, SHAPE(2, m, n), -2, 2, (uint64_t)(3 * k + j));
    for (int64_t i = 0; i < n; i++) fm_tensor_set(x[0], (m - 1) * n + i, 0);
    y[0] = apply("normalize", 1, x, a);
    y[1] = apply("normalize_d", 2, x, a);
    y[2] = apply("normalize_dd", 3, x, a);
    for (int64_t r = 0; r < m; r++) {
      const double rms = sqrt(row_dot(x[0], x[0], r, n) / (double)n), q = 1 / (eps + rms);
      const double over_r = rms > 0 ? 1 / rms : 0, over_n = 1 / (double)n;
      const double A = row_dot(x[0], x[1], r, n) * over_n * over_r;
      const double B = row_dot(x[0], x[2], r, n) * over_n * over_r;
      const double DE = row_dot(x[1], x[2], r, n) * over_n;
      for (int64_t i = r * n; i < (r + 1) * n; i++) {
        const double X = AT(x[0], i), D = AT(x[1], i), E = AT(x[2], i), scale = q * q;
        assert_near(AT(y[0], i), q * X, dtype, "normalize", i);
        assert_near(AT(y[1], i) / q, D - q * A * X, dtype, "normalize_d", i);
        const double second = (2 * q * A * B + (A * B - DE) * over_r) * X - B * D - A * E;
        assert_near(AT(y[2], i) / scale, second, dtype, "normalize_dd", i);
      }
    }
    drop_all(3, x);
    drop_all(3, y);
  }
}

static void test_normalize(void **state) {
  (void)state;
  everywhere(check_normalize);
}

/* At zero the value is 0, the derivative d / eps and those of order 2 and 3 are 0; all of them are
   finite there and as near to it as float32 gets. */
static void test_normalize_at_zero(void **state) {
  (void)state;
  static const double sizes[] = {0, 1e-40, 1e-30, 1e-20, 1e-12, 1e-6};
  for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
    fm_sig sig = {FM_F32, {2, {2, 5}}};
    fm_tensor *in[2] = {random_tensor(FM_F32, &sig.shape, -sizes[k], sizes[k], 1),
                        random_tensor(FM_F32, &sig.shape, -1, 1, 2)},
              *out[5];
    fm_prog *p = fm_prog_new(ctx);
    fm_val x = fm_input(p, FM_SHARED, &sig), d = fm_input(p, FM_SHARED, &sig), v[4], g;
    v[0] = fm_e1(p, &fm_op_normalize, x);
    for (int j = 0; j < 3; j++) fm_jvp(p, 1, &x, &d, 1, &v[j], &v[j + 1]);
    fm_vjp(p, 1, &v[2], &d, 1, &x, &g);
    for (int j = 0; j < 4; j++) fm_output(p, v[j], FM_SUM);
    fm_output(p, g, FM_SUM);
    run_once(p, FM_PASS_ALL, 1, in, out);
    for (int j = 0; j < 5; j++) {
      int64_t where;
      bool bounded = j < 3 || sizes[k] == 0 || sizes[k] >= 1e-12; /* the third grows as 1/|x| */
      if (bounded && !fm_tensor_finite(out[j], &where))
        fail_msg("derivative %d of normalize at |x| = %g is not finite", j, sizes[k]);
    }
    for (int64_t i = 0; i < 10 && sizes[k] == 0; i++) {
      assert_true(AT(out[0], i) == 0);
      assert_near(AT(out[1], i), 1e4 * AT(in[1], i), FM_F32, "J(0) d", i);
      for (int j = 2; j < 5; j++) assert_true(AT(out[j], i) == 0);
    }
    fm_prog_free(p);
    drop_all(2, in);
    drop_all(5, out);
  }
  fm_tensor *scalar = zeros(FM_F32, SHAPE(0, 0));
  assert_fails("normalize", 1, &scalar, (fm_attr){{0}, {0}}, "a scalar");
  assert_fails("normalize", 1, &scalar, (fm_attr){{0}, {-1}}, "scalar");
  fm_tensor_drop(scalar);
}

/* ------------------------------------------------------------------ resampling, weighted sums */

static int64_t pixel(const fm_shape *s, int64_t n, int64_t y, int64_t x, int64_t c) {
  return ((n * s->d[1] + y) * s->d[2] + x) * s->d[3] + c;
}

static void check_resample(fm_dtype dtype) {
  static const int64_t channels[] = {1, 3, 16, 37};
  for (int k = 0; k < 4; k++) {
    const int64_t C = channels[k];
    const double weight = k % 2 ? 0.7 : 0;
    fm_tensor *x = random_tensor(dtype, SHAPE(4, 2, 4, 6, C), -1, 1, (uint64_t)k);
    fm_tensor *half = apply("downsample", 1, &x, (fm_attr){{0}, {weight}});
    fm_tensor *twice = apply("upsample", 1, &x, (fm_attr){{0}, {weight}});
    for (int64_t i = 0; i < fm_shape_count(&half->shape); i++) {
      const int64_t c = i % C, h = i / C % 3, v = i / C / 3 % 2, n = i / C / 6;
      double sum = 0;
      for (int j = 0; j < 4; j++)
        sum += AT(x, pixel(&x->shape, n, 2 * v + j / 2, 2 * h + j % 2, c));
      assert_near(AT(half, i), sum * (weight == 0 ? 0.25 : weight), dtype, "downsample", i);
    }
    for (int64_t i = 0; i < fm_shape_count(&twice->shape); i++) {
      const int64_t c = i % C, h = i / C % 12, v = i / C / 12 % 8, n = i / C / 96;
      const double from = AT(x, pixel(&x->shape, n, v / 2, h / 2, c));
      assert_near(AT(twice, i), from * (weight == 0 ? 1 : weight), dtype, "upsample", i);
    }
    drop_all(3, (fm_tensor *[]){x, half, twice});
  }
}

static void check_mix(fm_dtype dtype) {
  static const int64_t widths[][2] = {{1, 1}, {3, 20}, {16, 16}, {33, 2}, {0, 5}};
  for (int k = 0; k < 5; k++) {
    const int64_t na = widths[k][0], nb = widths[k][1], n = na + nb;
    fm_tensor *x[2] = {random_tensor(dtype, SHAPE(3, 2, 3, na), -1, 1, 1),
                       random_tensor(dtype, SHAPE(3, 2, 3, nb), -1, 1, 2)};
    fm_tensor *y = apply("mix_cat", 2, x, (fm_attr){{0}, {0.5, -3}});
    for (int64_t i = 0; i < 6 * n; i++) {
      const int64_t r = i / n, c = i % n;
      const double want = c < na ? 0.5 * AT(x[0], r * na + c) : -3 * AT(x[1], r * nb + c - na);
      assert_near(AT(y, i), want, dtype, "mix_cat", i);
    }
    fm_tensor_drop(y);
    if (na == nb) {
      y = apply("mix", 2, x, (fm_attr){{0}, {0.5, -3}});
      for (int64_t i = 0; i < 6 * na; i++)
        assert_near(AT(y, i), 0.5 * AT(x[0], i) - 3 * AT(x[1], i), dtype, "mix", i);
      fm_tensor_drop(y);
    }
    drop_all(2, x);
  }
}

static void test_resample_and_mix(void **state) {
  (void)state;
  everywhere(check_resample);
  everywhere(check_mix);
  fm_tensor *odd[2] = {zeros(FM_F32, SHAPE(4, 1, 5, 4, 2)), zeros(FM_F32, SHAPE(3, 4, 4, 2))};
  assert_fails("downsample", 1, odd, (fm_attr){{0}, {0}}, "odd height or width found, (1, 5,");
  assert_fails("upsample", 1, odd + 1, (fm_attr){{0}, {0}}, "expected images (N, H, W, C)");
  assert_fails("mix_cat", 2, odd, (fm_attr){{0}, {1, 1}}, "differ in the last axis at most");
  drop_all(2, odd);
}

/* ------------------------------------------------------------------ clip */

/* Below, at, between and above the limits; NaN stays, with derivative 0. */
static void check_clip(fm_dtype dtype) {
  static const double x[] = {-INFINITY, -1.5, -1, -0.5, 2, 2.5, INFINITY, NAN};
  static const double want[] = {-1, -1, -1, -0.5, 2, 2, 2, NAN};
  static const double slope[] = {0, 0, 1, 1, 1, 0, 0, 0};
  fm_tensor *in[2] = {list_tensor(dtype, SHAPE(1, 8), x), zeros(dtype, SHAPE(1, 8))};
  for (int i = 0; i < 8; i++) fm_tensor_set(in[1], i, 1);
  fm_tensor *y = apply("clip", 1, in, (fm_attr){{0}, {-1, 2}});
  fm_tensor *d = apply("clip_d", 2, in, (fm_attr){{0}, {-1, 2}});
  for (int i = 0; i < 8; i++) {
    assert_true(AT(y, i) == want[i] || (isnan(AT(y, i)) && isnan(want[i])));
    assert_true(AT(d, i) == slope[i]);
  }
  assert_fails("clip", 1, in, (fm_attr){{0}, {2, -1}}, "2 and -1 found");
  drop_all(4, (fm_tensor *[]){in[0], in[1], y, d});
}

static void test_clip(void **state) {
  (void)state;
  everywhere(check_clip);
}

/* ------------------------------------------------------------------ pooling */

/* Channel c of window (v, h) of image n: the maximum, its position, the sum and the pixel count. */
typedef struct found {
  double max, sum;
  int64_t at, count;
} found;

static found look(const fm_tensor *x, fm_attr a, int64_t n, int64_t v, int64_t h, int64_t c) {
  const int64_t stride = a.i[1] ? a.i[1] : a.i[0];
  found f = {-INFINITY, 0, -1, 0};
  for (int64_t i = 0; i < a.i[0]; i++)
    for (int64_t j = 0; j < a.i[0]; j++) {
      const int64_t y = v * stride - a.i[2] + i, z = h * stride - a.i[2] + j;
      if (y < 0 || z < 0 || y >= x->shape.d[1] || z >= x->shape.d[2]) continue;
      const int64_t at = pixel(&x->shape, n, y, z, c);
      if (AT(x, at) > f.max) f.max = AT(x, at), f.at = at;
      f.sum += AT(x, at);
      f.count++;
    }
  return f;
}

/* Values are multiples of 1/2, so that ties occur; the first of them must be taken. */
static void check_pool(fm_dtype dtype) {
  static const int64_t shapes[][4] = {{2, 7, 6, 3}, {1, 4, 5, 17}, {2, 3, 3, 16}};
  static const int64_t windows[][3] = {{3, 2, 0}, {3, 1, 1}, {2, 0, 0}, {2, 1, 1}, {1, 1, 0}};
  for (int k = 0; k < 15; k++) {
    const int64_t *s = shapes[k / 5], *w = windows[k % 5];
    fm_tensor *x[2] = {zeros(dtype, SHAPE(4, s[0], s[1], s[2], s[3])), NULL}, *y[5], *put;
    for (int64_t i = 0; i < fm_shape_count(&x[0]->shape); i++)
      fm_tensor_set(x[0], i, (double)(i * i % 7 - i % 5) / 2);
    x[1] = random_tensor(dtype, &x[0]->shape, -1, 1, 3);
    fm_attr a = {{w[0], w[1], w[2]}, {0}}, counted = {{w[0], w[1], w[2], 1}, {0}};
    y[0] = apply("max_pool", 1, x, a);
    y[1] = apply("max_pick", 2, x, a);
    y[2] = apply("avg_pool", 1, x, a);
    y[3] = apply("avg_pool", 1, x, counted);
    y[4] = apply("max_put", 2, (fm_tensor *[]){x[0], y[0]}, a);
    put = zeros(dtype, &x[0]->shape);
    const fm_shape *o = &y[0]->shape;
    for (int64_t i = 0; i < fm_shape_count(o); i++) {
      const int64_t c = i % s[3], h = i / s[3] % o->d[2], v = i / s[3] / o->d[2] % o->d[1];
      const found f = look(x[0], a, i / s[3] / o->d[2] / o->d[1], v, h, c);
      assert_true(AT(y[0], i) == f.max && AT(y[1], i) == AT(x[1], f.at));
      assert_near(AT(y[2], i), f.sum / (double)f.count, dtype, "avg_pool", i);
      assert_near(AT(y[3], i), f.sum / (double)(w[0] * w[0]), dtype, "avg_pool, counted", i);
      fm_tensor_set(put, f.at, AT(put, f.at) + f.max);
    }
    assert_true(worst(y[4], put, 1) == 0); /* such sums are exact */
    drop_all(2, x);
    drop_all(5, y);
    fm_tensor_drop(put);
  }
}

static void test_pool(void **state) {
  (void)state;
  everywhere(check_pool);
  fm_tensor *x[2] = {zeros(FM_F32, SHAPE(4, 1, 3, 3, 2)), zeros(FM_F32, SHAPE(4, 1, 2, 2, 2))};
  assert_fails("max_pool", 1, x, (fm_attr){{4, 1, 0}, {0}}, "smaller than the window of 4");
  assert_fails("max_pool", 1, x, (fm_attr){{3, 1, 2}, {0}}, "at most half a window of padding");
  assert_fails("avg_pool", 1, x, (fm_attr){{0, 1, 0}, {0}}, "window 0");
  assert_fails("max_put", 2, x, (fm_attr){{3, 1, 0}, {0}}, "expected that of pooled images (1, 3,");
  x[0]->shape = *SHAPE(2, 3, 6);
  assert_fails("avg_pool", 1, x, (fm_attr){{2, 1, 0}, {0}}, "expected images (N, H, W, C)");
  drop_all(2, x);
}

/* ------------------------------------------------------------------ interpolation */

/* A ramp of two pixels on four, in both grids; PyTorch and TensorFlow 1 give the same numbers. */
static void check_resize(fm_dtype dtype) {
  static const double ramp[] = {0, 1}, half[] = {0, 0.25, 0.75, 1}, corner[] = {0, 0.5, 1, 1};
  fm_tensor *x = list_tensor(dtype, SHAPE(4, 1, 1, 2, 1), ramp), *y;
  for (int grid = 0; grid < 2; grid++) {
    y = apply("resize_bilinear", 1, &x, (fm_attr){{3, 4, grid}, {0}});
    for (int64_t i = 0; i < 12; i++)
      assert_near(AT(y, i), (grid ? half : corner)[i % 4], dtype, "ramp", i);
    fm_tensor_drop(y);
  }
  fm_tensor_drop(x);
  /* A product of linear functions is reproduced inside; the same size changes nothing. */
  x = zeros(dtype, SHAPE(4, 2, 5, 6, 3));
  for (int64_t i = 0; i < fm_shape_count(&x->shape); i++)
    fm_tensor_set(x, i, (1 + (double)(i / 18 % 5)) * (2 - (double)(i / 3 % 6)) + (double)(i % 3));
  for (int grid = 0; grid < 2; grid++) {
    y = apply("resize_bilinear", 1, &x, (fm_attr){{5, 6, grid}, {0}});
    assert_true(worst(y, x, 1) == 0);
    fm_tensor_drop(y);
    y = apply("resize_bilinear", 1, &x, (fm_attr){{11, 13, grid}, {0}});
    for (int64_t i = 0; i < fm_shape_count(&y->shape); i++) {
      const double shift = grid ? 0.5 : 0;
      const double v = ((double)(i / 39 % 11) + shift) * 5 / 11 - shift;
      const double h = ((double)(i / 3 % 13) + shift) * 6 / 13 - shift;
      if (v < 0 || h < 0 || v > 4 || h > 5) continue;
      assert_near(AT(y, i), (1 + v) * (2 - h) + (double)(i % 3), dtype, "bilinear", i);
    }
    fm_tensor_drop(y);
  }
  assert_fails("resize_bilinear", 1, &x, (fm_attr){{0, 5, 1}, {0}}, "0 x 5");
  fm_tensor_drop(x);
}

static void test_resize(void **state) {
  (void)state;
  everywhere(check_resize);
}

/* ------------------------------------------------------------------ rows */

static void check_softmax(fm_dtype dtype) {
  for (int64_t n = 1; n < 40; n++) {
    fm_tensor *x = random_tensor(dtype, SHAPE(2, 19, n), -3, 3, (uint64_t)n), *y;
    for (int64_t i = 0; i < 3 * n; i++) fm_tensor_set(x, i, AT(x, i) - 1000);   /* far below zero */
    for (int64_t r = 4; r < 19; r++) fm_tensor_set(x, r * n + 7 * r % n, 1000); /* and far above */
    y = apply("softmax", 1, &x, (fm_attr){{0}, {0}});
    for (int64_t r = 0; r < 19; r++) {
      double top = -INFINITY, sum = 0;
      for (int64_t i = 0; i < n; i++) top = fmax(top, AT(x, r * n + i));
      for (int64_t i = 0; i < n; i++) sum += exp(AT(x, r * n + i) - top);
      for (int64_t i = 0; i < n; i++)
        assert_near(AT(y, r * n + i), exp(AT(x, r * n + i) - top) / sum, dtype, "softmax", n);
    }
    drop_all(2, (fm_tensor *[]){x, y});
  }
}

/* Concatenating, slicing and padding rows of every length does not change them. */
static void check_rows(fm_dtype dtype) {
  for (int64_t n = 1; n < 70; n++) {
    fm_tensor *x[2] = {random_tensor(dtype, SHAPE(2, 3, n), -1, 1, 1),
                       random_tensor(dtype, SHAPE(2, 3, 71 - n), -1, 1, 2)};
    fm_tensor *both = apply("concat", 2, x, (fm_attr){{1}, {0}});
    fm_tensor *a = apply("slice", 1, &both, (fm_attr){{1, 0, n}, {0}});
    fm_tensor *b = apply("slice", 1, &both, (fm_attr){{1, n, 71 - n}, {0}});
    fm_tensor *wide = apply("pad", 1, x + 1, (fm_attr){{1, n, 80}, {0}});
    assert_true(worst(a, x[0], 1) == 0 && worst(b, x[1], 1) == 0);
    for (int64_t i = 0; i < 240; i++) {
      const int64_t c = i % 80 - n;
      assert_true(AT(wide, i) == (c < 0 || c >= 71 - n ? 0 : AT(x[1], i / 80 * (71 - n) + c)));
    }
    drop_all(6, (fm_tensor *[]){x[0], x[1], both, a, b, wide});
  }
}

/* All orders of four axes, with whole and partial tiles and axes of size 1. */
static void check_transpose(fm_dtype dtype) {
  static const fm_shape shapes[] = {{4, {2, 17, 3, 18}},
                                    {4, {1, 34, 1, 20}},
                                    {4, {3, 1, 16, 2}},
                                    {4, {2, 0, 3, 4}},
                                    {4, {2, 5, 18, 3}}};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (int k = 0; k < 256; k++) {
      const int order[4] = {k & 3, k >> 2 & 3, k >> 4 & 3, k >> 6};
      if ((1 << order[0] | 1 << order[1] | 1 << order[2] | 1 << order[3]) != 15) continue;
      fm_tensor *x = random_tensor(dtype, &shapes[s], -1, 1, 1);
      fm_tensor *y =
          apply("transpose", 1, &x, (fm_attr){{order[0], order[1], order[2], order[3]}, {0}});
      for (int64_t i = 0; i < fm_shape_count(&y->shape); i++) {
        int64_t at[4] = {0}, rest = i;
        for (int j = 3; j >= 0; j--) at[order[j]] = rest % y->shape.d[j], rest /= y->shape.d[j];
        if (AT(y, i) != AT(x, pixel(&x->shape, at[0], at[1], at[2], at[3])))
          fail_msg("order %d%d%d%d: wrong value at %d", order[0], order[1], order[2], order[3],
                   (int)i);
      }
      drop_all(2, (fm_tensor *[]){x, y});
    }
}

static void test_rows(void **state) {
  (void)state;
  everywhere(check_softmax);
  everywhere(check_rows);
  everywhere(check_transpose);
}

/* The cotangents of three slices that cover a value become one concatenation, without sums. */
static void test_cotangents_of_slices(void **state) {
  (void)state;
  fm_prog *p = fm_prog_new(ctx);
  fm_sig sig = {FM_F64, {2, {6, 2}}};
  fm_val x = fm_input(p, FM_SHARED, &sig), y[3], u[3], g;
  for (int k = 0; k < 3; k++) y[k] = fm_slice(p, x, 0, 2 * k, 2);
  for (int k = 0; k < 3; k++) u[k] = fm_scale(p, y[2 - k], k + 2);
  fm_vjp(p, 3, y, u, 1, &x, &g);
  assert_ptr_equal(fm_op_of(p, g), &fm_op_concat);
  assert_int_equal(fm_nargs(p, g), 3);
  fm_val part[2] = {y[0], y[2]}, apart; /* two slices with a gap between them */
  fm_vjp(p, 2, part, u, 1, &x, &apart);
  assert_ptr_equal(fm_op_of(p, apart), &fm_op_add);
  fm_output(p, g, FM_SUM);
  fm_output(p, apart, FM_SUM);
  fm_tensor *in = random_tensor(FM_F64, &sig.shape, -1, 1, 1), *out[2];
  run_once(p, FM_PASS_ALL, 1, &in, out);
  for (int64_t i = 0; i < 12; i++) {
    const int64_t part_of = i / 4, from = (2 - part_of) * 4 + i % 4;
    assert_near(AT(out[0], i), (double)(part_of + 2) * AT(in, from), FM_F64, "parts", i);
    const double want = part_of == 1 ? 0 : part_of == 0 ? 2 * AT(in, 8 + i) : 3 * AT(in, i - 4);
    assert_near(AT(out[1], i), want, FM_F64, "parts with a gap", i);
  }
  fm_prog_free(p);
  drop_all(3, (fm_tensor *[]){in, out[0], out[1]});
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_normalize),
                                     TEST(test_normalize_at_zero),
                                     TEST(test_resample_and_mix),
                                     TEST(test_clip),
                                     TEST(test_pool),
                                     TEST(test_resize),
                                     TEST(test_rows),
                                     TEST(test_cotangents_of_slices)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
