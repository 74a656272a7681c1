/*
** test_conv.c - convolution and its adjoints, as operations and in programs, which choose the
** algorithm (Winograd's for 3x3, a product for 1x1): against plain loops in double for every
** instruction set, odd sizes, few and many channels; adjoint identities; an image's bits do not
** depend on the other images; accuracy of float32 results for unit-variance data.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/isa.h"
#include "sparse.h"
#include "op_names.h"
#include "numeric.h"

typedef struct geometry {
  int64_t n, h, w, in, out, kh, kw, stride, ph, pw;
} geometry;

static int64_t grid(int64_t size, int64_t k, int64_t stride, int64_t pad) {
  return (size + 2 * pad - k) / stride + 1;
}

/* 0 x, 1 w, 2 dy */
static fm_shape shape_of(const geometry *g, int what) {
  int64_t gh = grid(g->h, g->kh, g->stride, g->ph), gw = grid(g->w, g->kw, g->stride, g->pw);
  if (what == 0) return (fm_shape){4, {g->n, g->h, g->w, g->in}};
  if (what == 1) return (fm_shape){4, {g->out, g->kh, g->kw, g->in}};
  return (fm_shape){4, {g->n, gh, gw, g->out}};
}

static double *doubles(const fm_tensor *t) {
  int64_t n = fm_shape_count(&t->shape);
  double *x = calloc((size_t)n + 1, sizeof *x);
  assert_non_null(x);
  for (int64_t i = 0; i < n; i++) x[i] = fm_tensor_get(t, i);
  return x;
}

/* The operands of one tap at one pixel: pixels x, dx, y, dy, and rows w, dw of a kernel. */
static void meet(int64_t in, const double *x, const double *w, double dy, double *dx, double *dw,
                 double *y) {
  double sum = 0;
  for (int64_t c = 0; c < in; c++) {
    sum += x[c] * w[c];
    dx[c] += w[c] * dy;
    dw[c] += x[c] * dy;
  }
  *y += sum;
}

/* want[]: y, dx, dw by the definition; in[]: x, w, dy. */
static void reference(const geometry *g, fm_tensor *const *in, double *want[3]) {
  double *x = doubles(in[0]), *w = doubles(in[1]), *dy = doubles(in[2]);
  fm_shape y = shape_of(g, 2);
  want[0] = calloc((size_t)fm_shape_count(&y) + 1, sizeof(double));
  want[1] = calloc((size_t)fm_shape_count(&in[0]->shape) + 1, sizeof(double));
  want[2] = calloc((size_t)fm_shape_count(&in[1]->shape) + 1, sizeof(double));
  assert_true(want[0] && want[1] && want[2]);
  int64_t p = 0;
  for (int64_t n = 0; n < g->n; n++)
    for (int64_t i = 0; i < y.d[1]; i++)
      for (int64_t j = 0; j < y.d[2]; j++)
        for (int64_t o = 0; o < g->out; o++, p++)
          for (int64_t a = 0; a < g->kh; a++)
            for (int64_t b = 0; b < g->kw; b++) {
              int64_t row = i * g->stride - g->ph + a, column = j * g->stride - g->pw + b;
              if (row < 0 || row >= g->h || column < 0 || column >= g->w) continue;
              int64_t from = ((n * g->h + row) * g->w + column) * g->in;
              int64_t tap = ((o * g->kh + a) * g->kw + b) * g->in;
              meet(g->in, x + from, w + tap, dy[p], want[1] + from, want[2] + tap, want[0] + p);
            }
  free(x), free(w), free(dy);
}

typedef struct distance {
  double norm, most; /* of the error, relative to the root mean square of the expected values */
} distance;

static distance compare(const fm_tensor *got, const double *want) {
  int64_t n = fm_shape_count(&got->shape);
  double error = 0, size = 0, most = 0;
  for (int64_t i = 0; i < n; i++) {
    double d = fm_tensor_get(got, i) - want[i];
    error += d * d, size += want[i] * want[i];
    most = fmax(most, fabs(d)); /* a NaN is seen in the norm */
  }
  if (size == 0) return (distance){sqrt(error), most};
  return (distance){sqrt(error / size), most / sqrt(size / (double)n)};
}

static void normal(fm_tensor *t, uint32_t stream) {
  fm_rng_normal(&(fm_rng){5, stream, 0}, t->dtype, 0, 1, fm_shape_count(&t->shape), t->data);
}

static void make_inputs(const geometry *g, fm_dtype dtype, fm_tensor *in[3]) {
  for (int k = 0; k < 3; k++) {
    fm_shape s = shape_of(g, k);
    in[k] = zeros(dtype, &s);
    normal(in[k], (uint32_t)k);
  }
}

static const char *const names[3] = {"conv", "conv_x", "conv_w"};

static fm_attr attr_of(const geometry *g, int which) {
  fm_attr a = {{g->stride, g->ph, g->pw, 0, 0}, {0}};
  if (which == 1) a.i[3] = g->h, a.i[4] = g->w;
  if (which == 2) a.i[3] = g->kh, a.i[4] = g->kw;
  return a;
}

/* Operands of the three operations among x, w, dy. */
static const int first[3] = {0, 2, 0}, second[3] = {1, 1, 2};

/* A program of all three; images are the rows of inputs x, dy and outputs y, dx if `cut`. */
static fm_prog *all_three(const geometry *g, fm_dtype dtype, bool cut) {
  fm_prog *p = fm_prog_new(ctx);
  fm_val v[3];
  for (int k = 0; k < 3; k++) {
    fm_sig sig = {dtype, shape_of(g, k)};
    v[k] = fm_input(p, cut && k != 1 ? FM_ROWS : FM_SHARED, &sig);
  }
  for (int k = 0; k < 3; k++) {
    fm_attr a = attr_of(g, k);
    fm_val in[2] = {v[first[k]], v[second[k]]};
    fm_output(p, fm_emit(p, fm_op_find(names[k]), 2, in, &a), cut && k < 2 ? FM_STACK : FM_SUM);
  }
  return p;
}

/* All images are one micro-batch. */
static fm_exe *program_of(const geometry *g, fm_dtype dtype, int passes) {
  fm_prog *p = all_three(g, dtype, true);
  fm_exe *e =
      fm_exe_new(ctx, 1, &p, &(fm_micro_batches){1, (int[]){0}, (int64_t[]){0, g->n}}, passes);
  if (e == NULL) fail_msg("%s", fm_error(ctx));
  fm_prog_free(p);
  return e;
}

static void run_program(const geometry *g, int passes, fm_tensor *const *in, fm_tensor **out) {
  fm_exe *e = program_of(g, in[0]->dtype, passes);
  run_exe(e, in, out);
  fm_exe_free(e);
}

static void check(const geometry *g, fm_tensor *const *out, double *const want[3], double norm,
                  double most) {
  for (int k = 0; k < 3; k++) {
    distance d = compare(out[k], want[k]);
    if (!(d.norm <= norm && d.most <= most))
      fail_msg("%s, %s, %s, (%d, %d, %d, %d) x (%d, %d, %d), stride %d: error %.2g, largest %.2g, "
               "bounds %.2g, %.2g",
               names[k], fm_isa_name(fm_isa()), fm_dtype_name(out[k]->dtype), (int)g->n, (int)g->h,
               (int)g->w, (int)g->in, (int)g->out, (int)g->kh, (int)g->kw, (int)g->stride, d.norm,
               d.most, norm, most);
  }
}

/* ------------------------------------------------------------------ values */

static const geometry odd[] = {
    {1, 1, 1, 3, 4, 3, 3, 1, 1, 1},     {2, 5, 7, 1, 1, 3, 3, 1, 1, 1},
    {2, 5, 7, 4, 48, 3, 3, 1, 1, 1},    {1, 33, 31, 3, 4, 3, 3, 1, 1, 1},
    {3, 4, 4, 48, 3, 3, 3, 1, 1, 1},    {1, 2, 9, 17, 33, 3, 3, 1, 1, 1},
    {9, 8, 8, 34, 40, 3, 3, 1, 1, 1},   {1, 6, 3, 290, 20, 3, 3, 1, 1, 1},
    {2, 3, 5, 270, 300, 3, 3, 1, 1, 1}, {0, 5, 7, 4, 3, 3, 3, 1, 1, 1},
    {2, 5, 7, 4, 3, 3, 3, 2, 1, 1},     {2, 6, 7, 5, 4, 3, 3, 1, 0, 2},
    {2, 9, 8, 3, 70, 5, 5, 3, 2, 1},    {1, 3, 12, 4, 3, 1, 7, 1, 0, 0},
    {3, 5, 4, 33, 35, 1, 1, 1, 0, 0},   {2, 5, 4, 6, 5, 1, 1, 2, 0, 0},
    {1, 4, 4, 3, 2, 2, 4, 1, 1, 1},     {1, 3, 3, 2100, 3, 2, 2, 1, 0, 0},
    {2, 1, 40, 20, 10, 3, 3, 1, 1, 1},  {1, 5, 5, 6, 0, 3, 3, 1, 1, 1},
    {1, 34, 31, 64, 90, 3, 3, 1, 1, 1},
};

/* -1: each operation alone. For few images, weights are transformed only with FM_SCARCE. */
static const int all_passes[] = {-1, 0, FM_PASS_ALL, FM_PASS_ALL | FM_SCARCE};

/* Each operation alone, and all in one program with each set of passes. */
static void test_values(void **state) {
  (void)state;
  int was = fm_isa();
  for (size_t k = 0; k < sizeof odd / sizeof *odd; k++)
    for (int d = 0; d < 2; d++) {
      const geometry *g = &odd[k];
      if (left_out()) continue;
      fm_tensor *in[3], *out[3];
      double *want[3];
      make_inputs(g, (fm_dtype)d, in);
      reference(g, in, want);
      for (int isa = 0; isa < FM_NISA && fm_set_isa(isa) == isa; isa++)
        for (size_t i = 0; i < sizeof all_passes / sizeof *all_passes; i++) {
          if (all_passes[i] >= 0)
            run_program(g, all_passes[i], in, out);
          else
            for (int j = 0; j < 3; j++)
              out[j] =
                  apply(names[j], 2, (fm_tensor *[]){in[first[j]], in[second[j]]}, attr_of(g, j));
          check(g, out, want, d ? 1e-14 : 5e-6, d ? 1e-13 : 6e-5);
          drop_all(3, out);
        }
      fm_set_isa(was);
      for (int j = 0; j < 3; j++) free(want[j]);
      drop_all(3, in);
    }
}

/* Results of five micro-batches are five times those of one. With FM_SCARCE two of them share the
** memory of their sum, and the kernel of the second adds to it. */
static void test_accumulation(void **state) {
  (void)state;
  static const geometry each[] = {{2, 5, 6, 7, 9, 3, 3, 1, 1, 1},
                                  {2, 5, 6, 7, 9, 3, 3, 2, 1, 1},
                                  {2, 5, 6, 7, 9, 1, 1, 1, 0, 0}};
  static const int passes[] = {FM_PASS_ALL, FM_SCARCE, FM_PASS_ALL | FM_SCARCE};
  for (size_t k = 0; k < sizeof each / sizeof *each; k++) {
    fm_tensor *in[3], *once[3], *five[3];
    make_inputs(&each[k], FM_F64, in);
    run_program(&each[k], FM_PASS_ALL, in, once);
    fm_prog *p = all_three(&each[k], FM_F64, false);
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
      run_once(p, passes[i], 5, in, five);
      for (int j = 0; j < 3; j++) assert_within(worst(five[j], once[j], 5), 1e-13, names[j], j);
      drop_all(3, five);
    }
    fm_prog_free(p);
    drop_all(3, once), drop_all(3, in);
  }
}

/* ------------------------------------------------------------------ accuracy, adjoints */

static bool mentions(const geometry *g, int passes, const char *word) {
  fm_tensor *in[3], *out[3];
  make_inputs(g, FM_F32, in);
  fm_exe *e = program_of(g, FM_F32, passes);
  make_outputs(e, out);
  char *text = fm_exe_explain(e, &(fm_job){7, 3, in, out});
  assert_non_null(text);
  bool found = strstr(text, word) != NULL;
  free(text);
  fm_exe_free(e);
  drop_all(3, in), drop_all(3, out);
  return found;
}

/* Algorithms are chosen by their pass, and only by it. */
static void test_methods(void **state) {
  (void)state;
  const geometry three = {1, 8, 8, 64, 64, 3, 3, 1, 1, 1}, one = {1, 8, 8, 64, 64, 1, 1, 1, 0, 0};
  const geometry two = {1, 8, 8, 64, 64, 3, 3, 2, 1, 1};
  assert_true(mentions(&three, FM_PASS_ALL, "winograd_weights"));
  assert_true(mentions(&three, FM_PASS_ALL, "winograd_w "));
  assert_true(mentions(&three, FM_PASS_ALL | FM_SCARCE, "winograd_product"));
  assert_false(mentions(&three, FM_PASS_ALL | FM_SCARCE, "winograd_weights"));
  assert_false(mentions(&three, FM_PASS_ALL, "winograd_product"));
  assert_false(mentions(&three, FM_PASS_ALL, "conv"));
  assert_false(mentions(&three, FM_PASS_ALL & ~FM_PASS_LOWER, "winograd"));
  assert_true(mentions(&one, FM_PASS_ALL, "matmul"));
  assert_false(mentions(&one, FM_PASS_ALL, "conv"));
  assert_false(mentions(&two, FM_PASS_ALL, "winograd"));
}

/* Accuracy for 64 to 512 channels and every instruction set; the bounds have some margin. */
static void test_accuracy(void **state) {
  (void)state;
  int was = fm_isa();
  static const geometry wide[] = {{2, 16, 16, 64, 64, 3, 3, 1, 1, 1},
                                  {4, 8, 8, 128, 128, 3, 3, 1, 1, 1},
                                  {1, 8, 8, 512, 512, 3, 3, 1, 1, 1}};
  for (size_t k = 0; k < sizeof wide / sizeof *wide; k++) {
    fm_tensor *in[3], *out[3];
    double *want[3];
    if (left_out()) continue;
    make_inputs(&wide[k], FM_F32, in);
    reference(&wide[k], in, want);
    for (int isa = 0; isa < FM_NISA && fm_set_isa(isa) == isa; isa++) {
      run_program(&wide[k], FM_PASS_ALL, in, out);
      check(&wide[k], out, want, 2.5e-6, 3e-5);
      drop_all(3, out);
    }
    fm_set_isa(was);
    for (int j = 0; j < 3; j++) free(want[j]);
    drop_all(3, in);
  }
}

static double dot(const fm_tensor *a, const fm_tensor *b) {
  double sum = 0;
  for (int64_t i = 0; i < fm_shape_count(&a->shape); i++)
    sum += fm_tensor_get(a, i) * fm_tensor_get(b, i);
  return sum;
}

/* <conv(x, w), dy> = <x, conv_x(dy, w)> = <w, conv_w(x, dy)>, for every algorithm. */
static void test_adjoints(void **state) {
  (void)state;
  static const geometry list[] = {{3, 13, 10, 70, 45, 3, 3, 1, 1, 1},
                                  {2, 6, 7, 40, 33, 1, 1, 1, 0, 0},
                                  {2, 9, 11, 20, 19, 5, 3, 2, 1, 0}};
  for (size_t k = 0; k < sizeof list / sizeof *list; k++) {
    fm_tensor *in[3], *out[3];
    make_inputs(&list[k], FM_F64, in);
    run_program(&list[k], FM_PASS_ALL, in, out);
    double y = dot(out[0], in[2]), size = sqrt(dot(out[0], out[0]) * dot(in[2], in[2]));
    assert_within(fabs(y - dot(in[0], out[1])) / size, 1e-14, "<y, dy> = <x, dx>", (int)k);
    assert_within(fabs(y - dot(in[1], out[2])) / size, 1e-14, "<y, dy> = <w, dw>", (int)k);
    drop_all(3, in), drop_all(3, out);
  }
}

/* ------------------------------------------------------------------ images alone */

/* Results of the batch split into two micro-batches of `g->n` images and the rest one by one. */
static void run_cut(const geometry *g, int64_t batch, int passes, fm_tensor *const *in,
                    fm_tensor **out) {
  geometry one = *g;
  one.n = 1;
  fm_prog *p[2] = {all_three(g, FM_F32, true), all_three(&one, FM_F32, true)};
  int which[64], count = 0;
  int64_t row0[65] = {0};
  while (row0[count] < batch) {
    which[count] = count >= 2;
    row0[count + 1] = row0[count] + (count < 2 ? g->n : 1);
    count++;
  }
  assert_int_equal(row0[count], batch);
  fm_exe *e = fm_exe_new(ctx, 2, p, &(fm_micro_batches){count, which, row0}, passes);
  if (e == NULL) fail_msg("%s", fm_error(ctx));
  run_exe(e, in, out);
  fm_exe_free(e);
  fm_prog_free(p[0]), fm_prog_free(p[1]);
}

/* conv and conv_x give the same bits per image however a batch is split, for every algorithm,
** including the one for few images, and there with more tiles than fit in a block. */
static void test_images_alone(void **state) {
  (void)state;
  int was = fm_isa();
  static const geometry list[] = {
      {10, 7, 9, 35, 50, 3, 3, 1, 1, 1},  {5, 4, 4, 300, 33, 3, 3, 1, 1, 1},
      {9, 8, 8, 16, 3, 3, 3, 1, 1, 1},    {8, 6, 5, 40, 20, 1, 1, 1, 0, 0},
      {7, 9, 6, 40, 21, 3, 3, 2, 1, 1},   {3, 5, 5, 6, 7, 5, 5, 1, 2, 2},
      {5, 12, 17, 64, 90, 3, 3, 1, 1, 1}, {5, 12, 17, 260, 140, 3, 3, 1, 1, 1}};
  for (size_t k = 0; k < sizeof list / sizeof *list; k++)
    for (int isa = 0; isa < FM_NISA && fm_set_isa(isa) == isa; isa++) {
      geometry whole = list[k], some = list[k];
      fm_tensor *in[3], *all[3], *cut[3];
      if (left_out()) continue;
      whole.n = 2 * whole.n + 3;
      make_inputs(&whole, FM_F32, in);
      run_program(&whole, FM_PASS_ALL, in, all);
      for (int scarce = 0; scarce < 2; scarce++) { /* with FM_SCARCE: the one for few images */
        run_cut(&some, whole.n, FM_PASS_ALL | (scarce ? FM_SCARCE : 0), in, cut);
        for (int j = 0; j < 2; j++) assert_memory_equal(all[j]->data, cut[j]->data, all[j]->bytes);
        drop_all(3, cut);
      }
      drop_all(3, in), drop_all(3, all);
    }
  fm_set_isa(was);
}

/* ------------------------------------------------------------------ stacking, sentences */

/* y and its tangent along x: one stacked call gives the values of two calls. */
static void test_tangent(void **state) {
  (void)state;
  const geometry g = {3, 8, 8, 20, 30, 3, 3, 1, 1, 1};
  fm_tensor *in[3], *dx, *out[2], *want, *dwant;
  make_inputs(&g, FM_F32, in);
  dx = zeros(FM_F32, &in[0]->shape);
  normal(dx, 9);
  fm_prog *p = fm_prog_new(ctx);
  fm_sig x_sig = {FM_F32, in[0]->shape}, w_sig = {FM_F32, in[1]->shape};
  fm_val x = fm_input(p, FM_SHARED, &x_sig), w = fm_input(p, FM_SHARED, &w_sig);
  fm_val v = fm_input(p, FM_SHARED, &x_sig), operands[2] = {x, w}, dy;
  fm_attr a = attr_of(&g, 0);
  fm_val y = fm_emit(p, &fm_op_conv, 2, operands, &a);
  assert_int_equal(fm_jvp(p, 1, &x, &v, 1, &y, &dy), FM_OK);
  fm_output(p, y, FM_SUM), fm_output(p, dy, FM_SUM);
  fm_exe *e = prepare(p, FM_PASS_ALL, 1);
  fm_prog_free(p);
  run_exe(e, (fm_tensor *[]){in[0], in[1], dx}, out);
  fm_exe_free(e);
  fm_tensor *pair[3] = {in[0], in[1], in[2]}, *parts[3];
  run_program(&g, FM_PASS_ALL, pair, parts);
  want = parts[0];
  assert_memory_equal(out[0]->data, want->data, want->bytes);
  fm_tensor_drop(parts[1]), fm_tensor_drop(parts[2]);
  pair[0] = dx;
  run_program(&g, FM_PASS_ALL, pair, parts);
  dwant = parts[0];
  assert_memory_equal(out[1]->data, dwant->data, dwant->bytes);
  fm_tensor_drop(parts[1]), fm_tensor_drop(parts[2]);
  fm_tensor_drop(want), fm_tensor_drop(dwant), fm_tensor_drop(dx);
  drop_all(3, in), drop_all(2, out);
}

static void refuse(const char *name, const fm_shape *a, const fm_shape *b, fm_attr attr,
                   const char *part) {
  fm_tensor *in[2] = {zeros(FM_F32, a), zeros(FM_F32, b)};
  assert_null(fm_apply(ctx, fm_op_find(name), 2, in, &attr));
  assert_sentence(FM_EUSAGE, part);
  drop_all(2, in);
}

static void test_sentences(void **state) {
  (void)state;
  const fm_shape *x = SHAPE(4, 2, 5, 7, 3), *w = SHAPE(4, 4, 3, 3, 3), *y = SHAPE(4, 2, 5, 7, 4);
  refuse("conv", x, SHAPE(4, 4, 3, 3, 2), (fm_attr){{1, 1, 1}, {0}}, "(4, 3, 3, 2)");
  refuse("conv", SHAPE(3, 2, 5, 7), w, (fm_attr){{1, 1, 1}, {0}}, "(2, 5, 7)");
  refuse("conv", x, w, (fm_attr){{0, 1, 1}, {0}}, "stride 0 found");
  refuse("conv", x, w, (fm_attr){{1, 1, -1}, {0}}, "horizontal padding -1 found");
  refuse("conv", x, w, (fm_attr){{INT64_MAX, 1, 1}, {0}}, "expected 1 to 32768");
  refuse("conv", SHAPE(4, 2, 1, 1, 3), w, (fm_attr){{1, 0, 0}, {0}}, "images of 1 x 1");
  refuse("conv_x", y, w, (fm_attr){{1, 1, 1, 6, 7}, {0}}, "dy of 5 x 7 found, expected 6 x 7");
  refuse("conv_x", y, w, (fm_attr){{1, 1, 1, 0, 7}, {0}}, "height 0 found");
  refuse("conv_w", x, y, (fm_attr){{1, 1, 1, 5, 3}, {0}}, "expected 3 x 7");
  refuse("conv_w", x, SHAPE(4, 3, 5, 7, 4), (fm_attr){{1, 1, 1, 3, 3}, {0}}, "(3, 5, 7, 4)");
  refuse("winograd", x, w, (fm_attr){{4}, {0}}, "winograd_weights");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_values),   TEST(test_accumulation), TEST(test_methods), TEST(test_accuracy),
      TEST(test_adjoints), TEST(test_images_alone), TEST(test_tangent), TEST(test_sentences),
  };
  return cmocka_run_group_tests_name("conv", tests, NULL, NULL);
}
