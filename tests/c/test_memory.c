/*
** test_memory.c - the k-th allocation fails, for every k, while a program is built, differentiated,
** planned and run: always FM_ENOMEM with a sentence, without leaks or damage; and tensors.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "op_names.h"
#include "numeric.h"

enum { PARTS = 12, MICROS = 6, ROWS = 4 };

typedef struct inputs {
  fm_tensor *x, *w; /* (MICROS ROWS, PARTS), split in rows; (PARTS, PARTS) */
  fm_tensor *shift; /* (1, PARTS), a constant */
  fm_tensor *out[2];
} inputs;

/* Products that stack, a concatenation of many parts, a sum, a constant, both derivatives. */
static fm_prog *build(const inputs *in) {
  fm_prog *p = fm_prog_new(ctx);
  if (p == NULL) return NULL;
  fm_val part[PARTS], dy = FM_NONE, g = FM_NONE;
  fm_val x = fm_input(p, FM_ROWS, SIG(2, ROWS, PARTS));
  fm_val w = fm_input(p, FM_SHARED, SIG(2, PARTS, PARTS));
  fm_val shift = fm_broadcast(p, fm_const(p, in->shift), SHAPE(2, ROWS, PARTS));
  fm_val y = fm_e1(p, &fm_op_tanh, fm_add(p, fm_matmul(p, x, w, false, false), shift));
  for (int k = 0; k < PARTS; k++) part[k] = fm_slice(p, y, 1, PARTS - 1 - k, 1);
  y = fm_matmul(p, fm_concat(p, PARTS, part, 1), w, false, false);
  if (fm_jvp(p, 1, &x, &x, 1, &y, &dy) == FM_OK) {
    fm_val loss = fm_sum_to(p, fm_mul(p, y, dy), SHAPE(2, 1, 1));
    fm_val one = fm_full(p, *SIG(2, 1, 1), 1);
    fm_vjp(p, 1, &loss, &one, 1, &w, &g);
  }
  fm_output(p, g, FM_SUM);
  fm_output(p, dy, FM_STACK);
  return p;
}

static fm_exe *plan(const inputs *in, int passes) {
  int64_t row0[MICROS + 1];
  fm_prog *p = build(in), *twice[2] = {p, p};
  if (p == NULL) return NULL;
  for (int k = 0; k <= MICROS; k++) row0[k] = ROWS * k;
  fm_micro_batches split = {MICROS, (int[]){0, 1, 1, 0, 1, 0}, row0};
  fm_exe *e = fm_exe_new(ctx, 2, twice, &split, passes);
  fm_prog_free(p);
  return e;
}

static fm_err run(fm_exe *e, inputs *in) {
  return fm_exe_run(e, &(fm_job){1, 1, (fm_tensor *[]){in->x, in->w}, in->out});
}

static inputs make_inputs(void) {
  return (inputs){
      random_tensor(FM_F64, SHAPE(2, MICROS * ROWS, PARTS), -1, 1, 1),
      random_tensor(FM_F64, SHAPE(2, PARTS, PARTS), -1, 1, 2),
      random_tensor(FM_F64, SHAPE(2, 1, PARTS), -1, 1, 3),
      {zeros(FM_F64, SHAPE(2, PARTS, PARTS)), zeros(FM_F64, SHAPE(2, MICROS * ROWS, PARTS))}};
}

static void drop_inputs(inputs *in) {
  drop_all(5, (fm_tensor *[]){in->x, in->w, in->shift, in->out[0], in->out[1]});
}

static void assert_out_of_memory(size_t before, long k) {
  if (fm_bytes_now(ctx) != before)
    fail_msg("allocation %ld: %ld bytes leaked", k, (long)fm_bytes_now(ctx) - (long)before);
  assert_sentence(FM_ENOMEM, "memory: ");
}

/* Building and planning without passes, with them, and as for large programs. */
static void test_building(void **state) {
  (void)state;
  inputs in = make_inputs();
  size_t before = fm_bytes_now(ctx);
  for (int round = 0; round < 3; round++) {
    int passes = (const int[]){0, FM_PASS_ALL, FM_PASS_ALL | FM_SCARCE}[round];
    long k = 0;
    for (fm_exe *e = NULL; e == NULL;) {
      fm_fail_alloc(ctx, ++k);
      e = plan(&in, passes);
      fm_fail_alloc(ctx, 0);
      if (e == NULL) assert_out_of_memory(before, k);
      fm_exe_free(e);
    }
    assert_true(k > 60);
    assert_int_equal(fm_bytes_now(ctx), before);
  }
  drop_inputs(&in);
}

/* Running: after a failure the same executable can run and gives the right results. */
static void test_running(void **state) {
  (void)state;
  inputs in = make_inputs(), want = in;
  want.out[0] = zeros(FM_F64, &in.out[0]->shape);
  want.out[1] = zeros(FM_F64, &in.out[1]->shape);
  fm_exe *e = plan(&in, FM_PASS_ALL);
  assert_int_equal(run(e, &want), FM_OK);
  fm_exe_free(e);
  for (int threads = 1; threads <= 3; threads++) {
    fm_err err = FM_ENOMEM;
    assert_int_equal(fm_set_threads(ctx, threads), FM_OK);
    for (long k = 1; err != FM_OK; k++) {
      e = plan(&in, FM_PASS_ALL);
      size_t before = fm_bytes_now(ctx);
      fm_fail_alloc(ctx, k);
      err = run(e, &in);
      fm_fail_alloc(ctx, 0);
      if (err != FM_OK) {
        assert_out_of_memory(before, k);
        assert_int_equal(run(e, &in), FM_OK);
      } else {
        assert_true(k > threads);
      }
      for (int j = 0; j < 2; j++)
        assert_memory_equal(in.out[j]->data, want.out[j]->data, in.out[j]->bytes);
      fm_exe_free(e);
    }
  }
  drop_all(2, want.out);
  drop_inputs(&in);
}

/* Eager operations. */
static void test_eager(void **state) {
  (void)state;
  fm_tensor *x = zeros(FM_F32, SHAPE(2, 3, 3)), *y = NULL;
  size_t before = fm_bytes_now(ctx);
  long k = 0;
  while (y == NULL) {
    fm_fail_alloc(ctx, ++k);
    y = fm_apply(ctx, &fm_op_exp, 1, &x, NULL);
    fm_fail_alloc(ctx, 0);
    if (y == NULL) assert_out_of_memory(before, k);
  }
  assert_int_equal(k, 3); /* the tensor and its values */
  drop_all(2, (fm_tensor *[]){x, y});
}

/* ------------------------------------------------------------------ tensors */

static void test_tensors(void **state) {
  (void)state;
  char text[96];
  fm_tensor *t = zeros(FM_F64, SHAPE(3, 2, 1, 3));
  assert_int_equal((uintptr_t)t->data % 64, 0);
  assert_int_equal(t->bytes, 48);
  for (int i = 0; i < 6; i++) assert_true(fm_tensor_get(t, i) == 0);
  assert_string_equal(fm_shape_text(&t->shape, text), "(2, 1, 3)");
  assert_string_equal(fm_shape_text(SHAPE(0, 0), text), "()");
  assert_string_equal(fm_shape_text(SHAPE(1, 7), text), "(7)");
  assert_true(fm_shape_count(SHAPE(0, 0)) == 1 && fm_shape_count(SHAPE(2, 4, 0)) == 0);
  assert_true(fm_shape_eq(SHAPE(2, 1, 2), SHAPE(2, 1, 2)));
  assert_false(fm_shape_eq(SHAPE(1, 2), SHAPE(2, 1, 2)));
  assert_string_equal(fm_dtype_name(FM_F32), "float32");
  assert_ptr_equal(fm_tensor_keep(t), t);
  fm_tensor_drop(t);
  fm_tensor_set(t, 4, 2.5); /* one reference is left */
  int64_t where = -1;
  assert_true(fm_tensor_get(t, 4) == 2.5 && fm_tensor_finite(t, &where));
  fm_tensor_set(t, 5, -INFINITY);
  assert_true(!fm_tensor_finite(t, &where) && where == 5 && !fm_tensor_finite(t, NULL));
  fm_tensor_drop(t);
  fm_tensor_drop(NULL);
}

/* Shapes that are too large, negative or of too high a rank are refused before any allocation. */
static void test_bad_shapes(void **state) {
  (void)state;
  static const fm_shape bad[] = {{1, {-1}},
                                 {2, {INT64_MAX, 2}},
                                 {3, {1LL << 31, 1LL << 31, 8}},
                                 {7, {1, 1, 1, 1, 1, 1}},
                                 {-1, {0}}};
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    assert_null(fm_tensor_new(ctx, FM_F32, &bad[k]));
    assert_sentence(FM_EUSAGE, "tensor: the shape");
  }
}

/* The first sentence stays; an error in a program sticks and names the operation. */
static void test_errors(void **state) {
  (void)state;
  assert_string_equal(fm_error(ctx), "");
  assert_int_equal(fm_fail(ctx, FM_EDATA, "first %d", 1), FM_EDATA);
  assert_int_equal(fm_fail(ctx, FM_ENUMERIC, "second"), FM_ENUMERIC);
  assert_sentence(FM_EDATA, "first 1");
  fm_prog *p = fm_prog_new(ctx);
  fm_val x = fm_input(p, FM_SHARED, SIG(2, 2, 3)), y = fm_matmul(p, x, x, false, false);
  assert_int_equal(y, FM_NONE);
  int n = fm_prog_count(p);
  assert_int_equal(fm_e1(p, &fm_op_exp, x), FM_NONE); /* even for a valid operation */
  assert_int_equal(fm_prog_error(p), FM_EUSAGE);
  assert_int_equal(fm_prog_count(p), n);
  assert_sentence(FM_EUSAGE, "matmul: the shapes (2, 3)");
  fm_prog_free(p);
  assert_int_equal(fm_set_threads(ctx, 0), FM_EUSAGE);
  assert_sentence(FM_EUSAGE, "found 0, expected 1 to 256");
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_building), TEST(test_running),    TEST(test_eager),
                                     TEST(test_tensors),  TEST(test_bad_shapes), TEST(test_errors)};
  return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
