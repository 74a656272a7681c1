/*
** test_passes.c - what each pass does, by example: a small program as text before and after it,
** with the switches of that pass alone.
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
#include "programs.h"

typedef struct example {
  const char *pass;
  int switches;
  const char *before, *after;
} example;

/* ------------------------------------------------------------------ the examples */

/* Folding: arithmetic with a known number is affine, reshapes of reshapes are one, and an operation
** that changes nothing is its operand. */
static const example fold = {"optimise", 0,
                             "%0: f32[2,3] = input shared\n"
                             "%1: f32[2,3] = full {value=2}\n"
                             "%2: f32[2,3] = mul %0, %1\n"
                             "%3: f32[2,3] = add %2, %1\n"
                             "%4: f32[2,3] = affine %3 {scale=1, shift=0}\n"
                             "%5: f32[6]   = reshape %4\n"
                             "%6: f32[3,2] = reshape %5\n"
                             "output %6 sum\n",
                             "%0: f32[2,3] = input shared\n"
                             "%1: f32[2,3] = affine %0 {scale=2, shift=2}\n"
                             "%2: f32[3,2] = reshape %1\n"
                             "output %2 sum\n"};

/* Identities and dead values are removed. */
static const example dead = {"optimise", 0,
                             "%0: f32[2] = input shared\n"
                             "%1: f32[2] = copy %0\n"
                             "%2: f32[2] = sin %1\n"
                             "%3: f32[2] = stop %2\n"
                             "%4: f32[2] = cos %1\n"
                             "%5: f32[2] = mul %3, %4\n"
                             "output %3 sum\n",
                             "%0: f32[2] = input shared\n"
                             "%1: f32[2] = sin %0\n"
                             "output %1 sum\n"};

/* Equal values are computed once. */
static const example share = {"optimise", FM_PASS_CSE,
                              "%0: f32[2] = input shared\n"
                              "%1: f32[2] = sin %0\n"
                              "%2: f32[2] = sin %0\n"
                              "%3: f32[2] = mul %1, %2\n"
                              "output %3 sum\n",
                              "%0: f32[2] = input shared\n"
                              "%1: f32[2] = sin %0\n"
                              "%2: f32[2] = mul %1, %1\n"
                              "output %2 sum\n"};

/* The factor of the latest stage comes last: %0 silu'' no longer waits for the matrix product. */
static const example reassociate = {"optimise", FM_PASS_REASSOCIATE,
                                    "%0: f32[4,4] = input shared\n"
                                    "%1: f32[4,4] = input shared\n"
                                    "%2: f32[4,4] = silu %0 {order=2}\n"
                                    "%3: f32[4,4] = matmul %1, %0\n"
                                    "%4: f32[4,4] = mul %3, %0\n"
                                    "%5: f32[4,4] = mul %4, %2\n"
                                    "output %5 sum\n",
                                    "%0: f32[4,4] = input shared\n"
                                    "%1: f32[4,4] = input shared\n"
                                    "%2: f32[4,4] = silu %0 {order=2}\n"
                                    "%3: f32[4,4] = matmul %1, %0\n"
                                    "%4: f32[4,4] = mul %0, %2\n"
                                    "%5: f32[4,4] = mul %3, %4\n"
                                    "output %5 sum\n"};

/* Two matrix products with the same right operand become one on a concatenation. */
static const example rows = {"stack", FM_PASS_STACK,
                             "%0: f32[8,2] = input rows\n"
                             "%1: f32[8,2] = input rows\n"
                             "%2: f32[2,5] = input shared\n"
                             "%3: f32[8,5] = matmul %0, %2\n"
                             "%4: f32[8,5] = matmul %1, %2\n"
                             "%5: f32[8,5] = mul %3, %4\n"
                             "output %5 rows\n",
                             "%0: f32[8,2]  = input rows\n"
                             "%1: f32[8,2]  = input rows\n"
                             "%2: f32[2,5]  = input shared\n"
                             "%3: f32[16,2] = concat %0, %1\n"
                             "%4: f32[16,5] = matmul %3, %2\n"
                             "%5: f32[8,5]  = slice %4 {axis=0, start=0, length=8}\n"
                             "%6: f32[8,5]  = slice %4 {axis=0, start=8, length=8}\n"
                             "%7: f32[8,5]  = mul %5, %6\n"
                             "output %7 rows\n"};

/* So do the two summands of a gradient, whose operands are stacked already. */
static const example sums = {"stack", FM_PASS_STACK,
                             "%0: f32[8,2] = input rows\n"
                             "%1: f32[8,2] = input rows\n"
                             "%2: f32[2,5] = input shared\n"
                             "%3: f32[8,5] = matmul %0, %2\n"
                             "%4: f32[8,5] = matmul %1, %2\n"
                             "%5: f32[2,5] = matmul %0, %3 {ta=1, tb=0}\n"
                             "%6: f32[2,5] = matmul %1, %4 {ta=1, tb=0}\n"
                             "%7: f32[2,5] = add %5, %6\n"
                             "output %7 sum\n",
                             "%0:  f32[8,2]  = input rows\n"
                             "%1:  f32[8,2]  = input rows\n"
                             "%2:  f32[2,5]  = input shared\n"
                             "%3:  f32[16,2] = concat %0, %1\n"
                             "%4:  f32[16,5] = matmul %3, %2\n"
                             "%5:  f32[8,5]  = slice %4 {axis=0, start=0, length=8}\n"
                             "%6:  f32[8,5]  = slice %4 {axis=0, start=8, length=8}\n"
                             "%7:  f32[2,5]  = matmul %0, %5 {ta=1, tb=0}\n"
                             "%8:  f32[2,5]  = matmul %1, %6 {ta=1, tb=0}\n"
                             "%9:  f32[16,5] = concat %5, %6\n"
                             "%10: f32[2,5]  = matmul %3, %9 {ta=1, tb=0}\n"
                             "output %10 sum\n"};

/* A 1x1 convolution and its transpose are matrix products. */
static const example product = {
    "lower", FM_PASS_LOWER,
    "%0: f32[2,8,8,3] = input shared\n"
    "%1: f32[5,1,1,3] = input shared\n"
    "%2: f32[2,8,8,5] = conv %0, %1 {stride=1, pad_y=0, pad_x=0}\n"
    "%3: f32[2,8,8,3] = conv_x %2, %1 {stride=1, pad_y=0, pad_x=0, height=8, width=8}\n"
    "output %3 sum\n",
    "%0: f32[2,8,8,3] = input shared\n"
    "%1: f32[5,1,1,3] = input shared\n"
    "%2: f32[128,3]   = reshape %0\n"
    "%3: f32[5,3]     = reshape %1\n"
    "%4: f32[128,5]   = matmul %2, %3 {ta=0, tb=1}\n"
    "%5: f32[2,8,8,5] = reshape %4\n"
    "%6: f32[5,3]     = reshape %1\n"
    "%7: f32[128,3]   = matmul %4, %6\n"
    "%8: f32[2,8,8,3] = reshape %7\n"
    "output %8 sum\n"};

/* A 3x3 convolution by Winograd's method; the weights are transformed by a node of their own. */
static const example winograd = {"lower", FM_PASS_LOWER,
                                 "%0: f32[2,8,8,3] = input shared\n"
                                 "%1: f32[5,3,3,3] = input shared\n"
                                 "%2: f32[2,8,8,5] = conv %0, %1 {stride=1, pad_y=1, pad_x=1}\n"
                                 "output %2 sum\n",
                                 "%0: f32[2,8,8,3]   = input shared\n"
                                 "%1: f32[5,3,3,3]   = input shared\n"
                                 "%2: f32[5,1]       = full {value=1}\n"
                                 "%3: f32[1,36,3,32] = winograd_weights %1, %2\n"
                                 "%4: f32[2,8,8,5]   = winograd %0, %3 {outputs=5}\n"
                                 "output %4 sum\n"};

/* Normalised weights depend on no micro-batch; the gradient through them is linear in the sum over
** the micro-batches. */
static const example hoist = {"hoist", FM_PASS_HOIST,
                              "%0: f32[8,3] = input rows\n"
                              "%1: f32[5,3] = input shared\n"
                              "%2: f32[5,3] = normalize %1\n"
                              "%3: f32[8,5] = matmul %0, %2 {ta=0, tb=1}\n"
                              "%4: f32[5,3] = matmul %3, %0 {ta=1, tb=0}\n"
                              "%5: f32[5,3] = normalize_d %1, %4\n"
                              "output %5 sum\n",
                              "; prologue 1\n"
                              "%0: f32[8,3] = input rows\n"
                              "%1: f32[5,3] = input shared\n"
                              "%2: f32[5,3] = normalize %1\n"
                              "output %2 rows\n"
                              "; body 1\n"
                              "%0: f32[8,3] = input rows\n"
                              "%1: f32[5,3] = input shared\n"
                              "%2: f32[5,3] = input shared\n"
                              "%3: f32[8,5] = matmul %0, %2 {ta=0, tb=1}\n"
                              "%4: f32[5,3] = matmul %3, %0 {ta=1, tb=0}\n"
                              "output %4 sum\n"
                              "; epilogue 1\n"
                              "%0: f32[8,3] = input rows\n"
                              "%1: f32[5,3] = input shared\n"
                              "%2: f32[5,3] = input shared\n"
                              "%3: f32[5,3] = input shared\n"
                              "%4: f32[5,3] = normalize_d %1, %3\n"
                              "output %4 rows\n"};

/* With few images, these and not the larger transformed weights are stored. */
static const example few = {
    "lower_few", FM_PASS_LOWER,
    "%0: f32[1,8,8,16]  = input shared\n"
    "%1: f32[16,3,3,16] = input shared\n"
    "%2: f32[1,8,8,16]  = conv %0, %1 {stride=1, pad_y=1, pad_x=1}\n"
    "output %2 sum\n",
    "; body 1\n"
    "%0: f32[1,8,8,16]   = input shared\n"
    "%1: f32[16,3,3,16]  = input shared\n"
    "%2: f32[16,1]       = full {value=1}\n"
    "%3: f32[1,36,17,32] = winograd_weights %1, %2\n"
    "%4: f32[1,36,4,32]  = winograd_images %0\n"
    "%5: f32[1,8,8,16]   = winograd_product %4, %1, %2 {images=1, height=8, width=8,\n"
    "    turned=0}\n"
    "output %5 sum\n"};

/* Where the plan needs most memory, %2 and %4 are live; what the backward pass reads of them is
** rematerialised. */
static const example again = {"recompute", FM_PASS_RECOMPUTE | FM_SCARCE,
                              "%0:  f32[8,8] = input rows\n"
                              "%1:  f32[8,8] = input shared\n"
                              "%2:  f32[8,8] = matmul %0, %1\n"
                              "%3:  f32[8,8] = silu %2\n"
                              "%4:  f32[8,8] = matmul %3, %1\n"
                              "%5:  f32[8,8] = silu %4\n"
                              "%6:  f32[8,8] = matmul %5, %1 {ta=0, tb=1}\n"
                              "%7:  f32[8,8] = silu %4 {order=1}\n"
                              "%8:  f32[8,8] = mul %6, %7\n"
                              "%9:  f32[8,8] = matmul %8, %1 {ta=0, tb=1}\n"
                              "%10: f32[8,8] = silu %2 {order=1}\n"
                              "%11: f32[8,8] = mul %9, %10\n"
                              "%12: f32[8,8] = matmul %0, %11 {ta=1, tb=0}\n"
                              "output %12 sum\n",
                              "; body 1\n"
                              "%0:  f32[8,8] = input rows\n"
                              "%1:  f32[8,8] = input shared\n"
                              "%2:  f32[8,8] = matmul %0, %1\n"
                              "%3:  f32[8,8] = silu %2\n"
                              "%4:  f32[8,8] = matmul %3, %1\n"
                              "%5:  f32[8,8] = silu %4\n"
                              "%6:  f32[8,8] = silu %4 rematerialised\n"
                              "%7:  f32[8,8] = matmul %6, %1 {ta=0, tb=1}\n"
                              "%8:  f32[8,8] = silu %4 {order=1}\n"
                              "%9:  f32[8,8] = silu %4 {order=1} rematerialised\n"
                              "%10: f32[8,8] = mul %7, %9\n"
                              "%11: f32[8,8] = matmul %10, %1 {ta=0, tb=1}\n"
                              "%12: f32[8,8] = silu %2 {order=1}\n"
                              "%13: f32[8,8] = mul %11, %12\n"
                              "%14: f32[8,8] = matmul %0, %13 {ta=1, tb=0}\n"
                              "output %14 sum\n"};

/* Elementwise operations between two products are one fused pass, a sum at its end included. */
static const example fuse = {"fuse", FM_PASS_FUSE,
                             "%0: f32[8,4] = input rows\n"
                             "%1: f32[1,4] = input shared\n"
                             "%2: f32[8,4] = broadcast %1\n"
                             "%3: f32[8,4] = add %0, %2\n"
                             "%4: f32[8,4] = tanh %3\n"
                             "%5: f32[8,8] = matmul %4, %4 {ta=0, tb=1}\n"
                             "%6: f32[8,4] = matmul %5, %0\n"
                             "%7: f32[8,4] = mul %6, %2\n"
                             "%8: f32[1,4] = sum_to %7\n"
                             "output %8 sum\n",
                             "; body 1\n"
                             "%0: f32[8,4] = input rows\n"
                             "%1: f32[1,4] = input shared\n"
                             "%2: f32[8,4] = broadcast %1\n"
                             "%3: f32[8,4] = add %0, %2 ; pass 1\n"
                             "%4: f32[8,4] = tanh %3 ; pass 1\n"
                             "%5: f32[8,8] = matmul %4, %4 {ta=0, tb=1}\n"
                             "%6: f32[8,4] = matmul %5, %0\n"
                             "%7: f32[8,4] = mul %6, %2 ; pass 2\n"
                             "%8: f32[1,4] = sum_to %7 ; pass 2\n"
                             "output %8 sum\n"};

/* ------------------------------------------------------------------ trying them */

typedef struct result {
  const char *pass;
  char text[4096];
} result;

static void add_program(void *data, const char *pass, const char *part, const fm_prog *p,
                        const int *fused) {
  result *r = data;
  if (strcmp(pass, r->pass) != 0) return;
  const size_t n = strlen(r->text);
  FILE *out = fmemopen(r->text + n, sizeof r->text - n, "w");
  assert_non_null(out);
  if (strcmp(part, "program 1") != 0) fprintf(out, "; %s\n", part);
  assert_true(fm_print_program(out, p, NULL, fused) && fclose(out) == 0);
  check_text(p);
}

static void check(const example *e) {
  fm_prog *p = parsed(e->before);
  char *before = printed(p);
  assert_string_equal(before, e->before);
  free(before);
  result r = {e->pass, ""};
  const fm_options options = {e->switches, add_program, &r};
  fm_plans *plans = fm_compile(ctx, 1, &p, &options);
  if (plans == NULL) fail_msg("%s", fm_error(ctx));
  if (strcmp(r.text, e->after) != 0)
    fail_msg("%s makes of\n%s\n%s\nexpected\n%s", e->pass, e->before, r.text, e->after);
  fm_plans_free(plans);
  fm_prog_free(p);
}

static void test_examples(void **state) {
  (void)state;
  static const example *const all[] = {&fold,    &dead,     &share, &reassociate, &rows,  &sums,
                                       &product, &winograd, &hoist, &few,         &again, &fuse};
  for (size_t k = 0; k < sizeof all / sizeof *all; k++) check(all[k]);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_examples)};
  return cmocka_run_group_tests_name("passes", tests, NULL, NULL);
}
