/*
** test_text.c - programs as text: every operation is printed and parsed back as the same node; text
** that is none is refused in one sentence; and the passes, by small programs before and after.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "numeric.h"
#include "op_names.h"
#include "programs.h"

/* ------------------------------------------------------------------ there and back */

static fm_val sample_leaf(fm_prog *p, const fm_op *op, const fm_attr *a) {
  const fm_sig sig = {FM_F32, fm_shape_of_attr(a)};
  if (op == &fm_op_input) return fm_input(p, FM_ROWS, &sig);
  if (op != &fm_op_constant) return fm_emit(p, op, 0, NULL, a);
  fm_tensor *t = random_tensor(sig.dtype, &sig.shape, -1, 1, 5);
  fm_val v = fm_const(p, t);
  fm_tensor_drop(t);
  return v;
}

/* Sample k of an operation as a program; NULL: there is none. */
static fm_prog *sample_program(const fm_op *op, int k) {
  const fm_sample *s = &op->samples[k];
  if (s->nin == 0 && s->hi == 0) return NULL;
  fm_prog *p = fm_prog_new(ctx);
  fm_val in[3], v;
  for (int j = 0; j < s->nin; j++)
    in[j] = fm_input(p, FM_SHARED, &(fm_sig){s->bytes >> j & 1 ? FM_U8 : FM_F64, s->in[j]});
  p->verbatim = true; /* what would be folded, too */
  v = s->nin ? fm_emit(p, op, s->nin, in, &s->attr) : sample_leaf(p, op, &s->attr);
  fm_output(p, v, FM_STACK);
  p->verbatim = false;
  if (fm_prog_error(p) != FM_OK) fail_msg("%s: %s", op->name, fm_error(ctx));
  return p;
}

static void test_every_operation(void **state) {
  (void)state;
  for (int i = 0; i < fm_op_count(); i++)
    for (int k = 0; k < FM_MAX_SAMPLES; k++) {
      fm_prog *p = sample_program(fm_op_at(i), k);
      if (p == NULL) break;
      check_text(p);
      p->node[p->n - 1].rematerialised = true;
      check_text(p);
      fm_prog_free(p);
    }
}

/* Numbers whose decimal form is long, or none. */
static void test_numbers(void **state) {
  (void)state;
  static const double odd[] = {0.1,      -0.0,      1.0 / 3, 1e300,       5e-324, 1e22 + 1,
                               INFINITY, -INFINITY, 0x1p-53, 1 - 0x1p-53, 65536,  123456789.125};
  for (size_t k = 0; k < sizeof odd / sizeof *odd; k++)
    for (fm_dtype t = FM_F32; t <= FM_F64; t++) {
      fm_prog *p = fm_prog_new(ctx);
      fm_tensor *c = list_tensor(t, SHAPE(1, 2), (double[]){odd[k], -odd[k]});
      fm_val x = fm_const(p, c), y = fm_full(p, (fm_sig){t, *SHAPE(1, 2)}, odd[k]);
      fm_output(p, fm_e2(p, &fm_op_maximum, x, y), FM_SUM);
      check_text(p);
      fm_tensor_drop(c);
      fm_prog_free(p);
    }
}

/* Constants are told apart, though their values are equal; a second node of one is that one. */
static void test_constants(void **state) {
  (void)state;
  fm_prog *p = fm_prog_new(ctx);
  p->share = false;
  for (int n = 2; n <= 12; n += 10)
    for (int k = 0; k < 2; k++) {
      fm_tensor *t = random_tensor(FM_F32, SHAPE(1, n), 0, 1, 3);
      fm_val a = fm_const(p, t), b = fm_const(p, t);
      fm_output(p, fm_e2(p, &fm_op_add, a, b), FM_SUM);
      fm_tensor_drop(t);
    }
  assert_int_equal(p->nconst, 4);
  check_text(p);
  fm_prog_free(p);
}

/* A parsed program is built on: what comes is folded and shared again. */
static void test_builds_on(void **state) {
  (void)state;
  char text[600 * 40] = "%0: f64[2] = input shared\n";
  for (int k = 1; k < 600; k++) sprintf(strchr(text, 0), "%%%d: f64[2] = sin %%%d\n", k, k - 1);
  fm_prog *p = parsed(text);
  assert_int_equal(fm_e1(p, &fm_op_sin, 41), 42);
  assert_int_equal(fm_scale(p, 7, 1), 7);
  fm_prog_free(p);
}

static void test_looks(void **state) {
  (void)state;
  static const char text[] = "%0: f32[64,2]   = input rows\n"
                             "%1: f32[512,2]  = input shared\n"
                             "%2: f32[64,512] = matmul %0, %1 {ta=0, tb=1}\n"
                             "%3: f32[64,512] = silu %2 rematerialised\n"
                             "%4: f32[512,64] = transpose %3 {axes=[1,0]}\n"
                             "%5: f32[]       = full {value=0.1}\n"
                             "%6: f32[3]      = constant #0 [1, 0.5, 0.1]\n"
                             "output %3 rows\n"
                             "output %4 sum\n";
  fm_prog *p = parsed(text);
  char *again = printed(p);
  assert_string_equal(again, text);
  free(again);
  fm_prog_free(p);
}

/* Long lines are broken at blanks. */
static void test_wraps(void **state) {
  (void)state;
  fm_prog *p = fm_prog_new(ctx);
  fm_val in[64], x = fm_input(p, FM_SHARED, SIG(2, 1, 123456));
  for (int k = 0; k < 64; k++) in[k] = x;
  fm_val y = fm_concat(p, 64, in, 1), both[2] = {y, y};
  const fm_attr mix = {{0}, {1.0 / 3, 1e-300 / 3}};
  p->node[fm_emit(p, fm_op_find("mix"), 2, both, &mix)].rematerialised = true;
  check_text(p);
  char *text = printed(p);
  for (const char *line = text; *line; line = strchr(line, '\n') + 1)
    if (strcspn(line, "\n") > 80) fail_msg("a long line in %s", text);
  free(text);
  fm_prog_free(p);
}

/* ------------------------------------------------------------------ what is refused */

static void test_refused(void **state) {
  (void)state;
  static const char *const bad[][2] = {
      {"%1: f32[] = full {value=1}",
       "line 1: '1:' found, expected 0, the number of the next value"},
      {"\n%0: f16[2] = input rows", "line 2: 'f16[2]' found, expected f32, f64 or u8"},
      {"%0: f32[-1] = input rows", "'-1]' found, expected a size"},
      {"%0: f32[9999999999,9999999999] = input rows", "expected smaller sizes"},
      {"%0: f32[1,1,1,1,1,1,1] = input rows", "',1]' found, expected ']'"},
      {"%0: f32[2] = input", "the end found, expected shared or rows"},
      {"%0: f32[2] = sinus", "'sinus' found, expected the name of an operation"},
      {"%0: f32[2] = sin %0", "'0' found, expected the number of an earlier value"},
      {"%0: f32[2] = sin", "line 1: sin: 0 operands found, expected 1"},
      {"%0: f32[2] = input rows\n\n%1: f32[3] = sin %0 ; why",
       "line 3: sin gives float32 (2), but float32 (3) is stated"},
      {"%0: f32[2] = full {worth=1}", "'worth=1}' found, expected the name of an attribute"},
      {"%0: f32[2] = full {shape=1}", "'shape=1}' found, expected the name of an attribute"},
      {"%0: f32[2] = full {value=one}", "'one}' found, expected a number"},
      {"%0: u8[2] = full {value=1}", "line 1: full: uint8 found, expected float32 or float64"},
      {"%0: f32[2] = constant #1 [1, 2]", "'1' found, expected the number of this or the next"},
      {"%0: f32[2] = constant #0 [1]", "']' found, expected ','"},
      {"%0: f32[9] = constant #0 [1]", "expected 'hash', as the constant is large"},
      {"%0: f32[9] = constant #0 hash 0123",
       "'0123' found, expected the hash of one of the constants"},
      {"%0: f32[1] = constant #0 [1]\n%1: f32[1] = constant #0 [2]", "values of this constant as"},
      {"%0: f32[2] = input rows\noutput %0 some", "'some' found, expected sum or rows"},
      {"%0: u8[2] = input rows\noutput %0 sum", "line 2: program: output 1 is uint8"},
      {"return %0", "'return' found, expected a value such as '%0: ...', or 'output'"},
      {"%0: f32[2] = input rows \033[2J", "'?[2J' found"},
  };
  for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
    fm_prog *p = parse_program(ctx, bad[k][0], 0, NULL);
    if (p != NULL) fail_msg("parsed: %s", bad[k][0]);
    assert_sentence(FM_EDATA, bad[k][1]);
  }
}

static uint32_t draw(uint32_t n) { /* 0 .. n-1 */
  static uint32_t counter;
  uint32_t out[4];
  fm_philox((uint32_t[4]){counter++, 0, 0, 0}, (uint32_t[2]){2025, 7}, out);
  return out[0] % n;
}

/* A byte, a number, a missing or a repeated part. */
static void damage(char *text, size_t n) {
  static const char signs[] = "%:=,[]{}#; \n0123456789-.eixfnu_\x80\x01";
  static const char *const odd[] = {
      "9223372036854775807", "-1", "1e999", "nan", "%0", "[[[[", "f64"};
  size_t at = draw((uint32_t)n), left = n - at, part = 1 + draw(left < 20 ? (uint32_t)left : 20);
  const char *word = odd[draw(7)];
  switch (draw(5)) {
  case 0: text[at] = signs[draw(sizeof signs)]; break;
  case 1: text[at] ^= (char)(1 << draw(7)); break;
  case 2: memcpy(text + at, word, strlen(word) < left ? strlen(word) : left); break;
  case 3: memmove(text + at, text + at + part, left - part + 1); break;
  default: memmove(text + at, text + draw((uint32_t)(n - part + 1)), part);
  }
}

static int refused, taken;

static void try_text(const char *text, const fm_prog *p) {
  fm_prog *q = parse_program(ctx, text, p->nconst, p->constant);
  if (q != NULL) {
    check_text(q);
    fm_prog_free(q);
    taken++;
    return;
  }
  const char *s = fm_error(ctx);
  if (fm_error_code(ctx) != FM_EDATA || strncmp(s, "program text, line ", 19) != 0 ||
      strpbrk(s, "\n\r\033"))
    fail_msg("%s: error %d '%s'", text, fm_error_code(ctx), s);
  fm_error_clear(ctx);
  refused++;
}

/* Every beginning of every operation's text, and random damage to it. */
static void test_damage(void **state) {
  (void)state;
  static char text[4096];
  for (int i = 0; i < fm_op_count(); i++) {
    fm_prog *p = sample_program(fm_op_at(i), 0);
    char *good = printed(p);
    const size_t length = strlen(good);
    assert_true(length < sizeof text - 32);
    for (size_t k = 0; k < length; k++) {
      memcpy(text, good, k);
      text[k] = 0;
      try_text(text, p);
    }
    for (int k = 0; k < 200; k++) {
      strcpy(text, good);
      for (uint32_t times = 1 + draw(3); times > 0 && text[0]; times--) damage(text, strlen(text));
      try_text(text, p);
    }
    free(good);
    fm_prog_free(p);
  }
  assert_true(refused > 1000 && taken > 300);
}

/* Every allocation fails in turn. */
static void test_memory(void **state) {
  (void)state;
  fm_prog *p = sample_program(fm_op_find("concat"), 1), *q = NULL;
  char *text = printed(p);
  for (long k = 1; q == NULL; k++) {
    fm_fail_alloc(ctx, k);
    q = parse_program(ctx, text, 0, NULL);
    fm_fail_alloc(ctx, 0);
    if (q == NULL) assert_sentence(FM_ENOMEM, "memory: ");
  }
  free(text);
  fm_prog_free(p);
  fm_prog_free(q);
}

static void test_compile_memory(void **state) {
  (void)state;
  fm_prog *p = sample_program(fm_op_find("matmul"), 0);
  char *text = NULL;
  for (long k = 1; text == NULL; k++) {
    fm_fail_alloc(ctx, k);
    text = fm_compile_text(ctx, 1, &p, FM_PASS_ALL, "plan");
    fm_fail_alloc(ctx, 0);
    if (text == NULL) assert_sentence(FM_ENOMEM, "memory: ");
  }
  assert_non_null(strstr(text, "= matmul %0, %1\n"));
  free(text);
  assert_null(fm_compile_text(ctx, 1, &p, FM_PASS_ALL, "plane"));
  assert_sentence(FM_EUSAGE, "there is no pass 'plane'");
  fm_prog_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_every_operation), TEST(test_numbers),
                                     TEST(test_constants),       TEST(test_builds_on),
                                     TEST(test_looks),           TEST(test_wraps),
                                     TEST(test_refused),         TEST(test_damage),
                                     TEST(test_memory),          TEST(test_compile_memory)};
  return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
