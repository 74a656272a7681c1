/*
** test_gradcheck.c - every operation of the table passes its checks, and the checks are effective:
** each of the faults planted below in a copy of an operation is found by the check responsible.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "run/check.h"
#include "op_names.h"
#include "numeric.h"

/* ------------------------------------------------------------------ the table */

static void must_hold(void *arg, const fm_check *c) {
  ++*(int *)arg;
  if (!c->ok) fail_msg("%s: %s: error %g, bound %g", c->op, c->check, c->error, c->bound);
  const bool whole = strcmp(c->check, "has samples") == 0; /* all others state what they tried */
  assert_true(whole ? c->sample == 0 : c->sample >= 1 && c->sample <= FM_MAX_SAMPLES);
  assert_int_equal(strncmp(c->dtype, "float", 5) == 0, !whole);
}

static void test_table(void **state) {
  (void)state;
  for (int k = 0; k < fm_op_count(); k++) {
    int checks = 0;
    const fm_op *op = fm_op_at(k);
    assert_int_equal(fm_op_id(op), k);
    assert_ptr_equal(fm_op_find(op->name), op);
    assert_true(op->doc && op->doc[0] && op->args);
    if (fm_check_op(ctx, op, must_hold, &checks) != FM_OK) fail_msg("%s", fm_error(ctx));
    assert_true(checks >= (op->flags & (FM_LEAF | FM_LOWERED) ? 1 : 5));
  }
  assert_null(fm_op_find("no such operation"));
}

/* A copy of an operation uses the kernels of its original: without a fault it passes. */
static void test_copies(void **state) {
  (void)state;
  for (int k = 0; k < fm_op_count(); k++) {
    int checks = 0;
    fm_op copy = *fm_op_at(k);
    assert_int_equal(fm_check_op(ctx, &copy, must_hold, &checks), FM_OK);
  }
}

/* ------------------------------------------------------------------ faulty rules */

static fm_shape shape_of(const fm_prog *p, fm_val v) { return fm_prog_sig(p, v).shape; }

#define JVP(name) static fm_val name(fm_prog *p, fm_val y, const fm_val *dx)
#define VJP(name) static void name(fm_prog *p, fm_val y, fm_val dy, fm_val *dx)
#define X fm_arg(p, y, 0)

JVP(tanh_plus) { /* 1 + y^2 */
  return fm_mul(p, dx[0], fm_affine(p, fm_e1(p, &fm_op_square, y), 1, 1));
}

JVP(tanh_frozen) { /* the right value, but a constant for the next derivative */
  fm_val stopped = fm_e1(p, &fm_op_stop, y);
  return fm_mul(p, dx[0], fm_affine(p, fm_e1(p, &fm_op_square, stopped), -1, 1));
}

JVP(mul_first) { return fm_mul(p, dx[0], fm_arg(p, y, 1)); }

JVP(div_plus) { /* (da + y db) / b */
  fm_val d = fm_add(p, dx[0], fm_mul(p, y, dx[1]));
  return d == FM_NONE ? d : fm_e2(p, &fm_op_div, d, fm_arg(p, y, 1));
}

JVP(sub_plus) {
  (void)y;
  return fm_add(p, dx[0], dx[1]);
}

JVP(gelu_same) { /* the order k instead of k + 1 */
  fm_attr a = fm_attr_of(p, y);
  fm_val x = X;
  return fm_mul(p, dx[0], fm_emit(p, &fm_op_gelu, 1, &x, &a));
}

JVP(silu_sigmoid) { return fm_mul(p, dx[0], fm_e1(p, &fm_op_sigmoid, X)); }

JVP(rsqrt_factor) { /* -y^3 dx */
  return fm_scale(p, fm_mul(p, dx[0], fm_mul(p, fm_e1(p, &fm_op_square, y), y)), -1);
}

JVP(sigmoid_linear) { return fm_mul(p, dx[0], y); }

JVP(cos_plus) { return fm_mul(p, dx[0], fm_e1(p, &fm_op_sin, X)); }

JVP(pow_same) { return fm_scale(p, fm_mul(p, dx[0], y), fm_attr_of(p, y).f[0]); }

JVP(affine_one) {
  (void)p, (void)y;
  return dx[0];
}

JVP(where_swapped) {
  fm_val zero = fm_full(p, fm_prog_sig(p, y), 0);
  fm_val in[3] = {X, dx[2] == FM_NONE ? zero : dx[2], dx[1] == FM_NONE ? zero : dx[1]};
  return fm_emit(p, &fm_op_where, 3, in, NULL);
}

JVP(maximum_first) {
  (void)p, (void)y;
  return dx[0];
}

JVP(abs_one) {
  (void)p, (void)y;
  return dx[0];
}

JVP(softmax_diagonal_jvp) { return fm_mul(p, y, dx[0]); }
VJP(softmax_diagonal) { dx[0] = fm_mul(p, y, dy); }

VJP(matmul_untransposed) { /* da = dy b instead of dy b' */
  dx[0] = fm_matmul(p, dy, fm_arg(p, y, 1), false, false);
  dx[1] = fm_matmul(p, X, dy, true, false);
}

VJP(matmul_swapped) { /* db = dy' a, the transpose of a' dy */
  dx[0] = fm_matmul(p, dy, fm_arg(p, y, 1), false, true);
  dx[1] = fm_matmul(p, dy, X, true, false);
}

VJP(sum_half) {
  fm_shape x = shape_of(p, X);
  dx[0] = fm_scale(p, fm_broadcast(p, dy, &x), 0.5);
}

VJP(broadcast_nothing) {
  (void)p, (void)y, (void)dy;
  dx[0] = FM_NONE;
}

VJP(slice_shifted) {
  fm_attr a = fm_attr_of(p, y);
  a.i[1]--;
  a.i[2] = shape_of(p, X).d[a.i[0]];
  dx[0] = fm_emit(p, &fm_op_pad, 1, &dy, &a);
}

VJP(pad_shifted) {
  fm_attr a = fm_attr_of(p, y);
  dx[0] = fm_slice(p, dy, (int)a.i[0], a.i[1] - 1, shape_of(p, X).d[a.i[0]]);
}

VJP(transpose_again) { /* not the inverse */
  fm_attr a = fm_attr_of(p, y);
  dx[0] = fm_emit(p, &fm_op_transpose, 1, &dy, &a);
}

VJP(concat_swapped) {
  int64_t n = fm_prog_sig(p, y).shape.d[1] / 2;
  dx[0] = fm_slice(p, dy, 1, n, n);
  dx[1] = fm_slice(p, dy, 1, 0, n);
}

VJP(gather_dropped) {
  (void)p, (void)y, (void)dy;
  dx[0] = dx[1] = FM_NONE;
}

VJP(max_everywhere) {
  fm_shape x = shape_of(p, X);
  dx[0] = fm_broadcast(p, dy, &x);
}

/* ------------------------------------------------------------------ finding them */

#define DIFFERENCE "jvp = difference"
#define SECOND "jvp of jvp = difference"
#define ADJOINT "<u,Jv> = <J'u,v>"

typedef struct fault {
  const char *what, *op;
  fm_val (*jvp)(fm_prog *p, fm_val y, const fm_val *dx);    /* NULL: as it is */
  void (*vjp)(fm_prog *p, fm_val y, fm_val dy, fm_val *dx); /* NULL: as it is */
  const char *check;                                        /* that must fail */
  fm_sample sample; /* if nin > 0, replaces its own samples: shapes that hide the fault best */
} fault;

#define SQUARE(n)                                                                                  \
  {                                                                                                \
    2, { n, n }                                                                                    \
  }

static const fault faults[] = {
    {"1 + y^2", "tanh", tanh_plus, NULL, DIFFERENCE, {0}},
    {"frozen in the second derivative", "tanh", tanh_frozen, NULL, SECOND, {0}},
    {"no second term", "mul", mul_first, NULL, DIFFERENCE, {0}},
    {"sign of the second term", "div", div_plus, NULL, DIFFERENCE, {0}},
    {"sign", "sub", sub_plus, NULL, DIFFERENCE, {0}},
    {"order k", "gelu", gelu_same, NULL, DIFFERENCE, {0}},
    {"first term only", "silu", silu_sigmoid, NULL, DIFFERENCE, {0}},
    {"factor", "rsqrt", rsqrt_factor, NULL, DIFFERENCE, {0}},
    {"y instead of y (1 - y)", "sigmoid", sigmoid_linear, NULL, DIFFERENCE, {0}},
    {"sign", "cos", cos_plus, NULL, DIFFERENCE, {0}},
    {"exponent", "pow", pow_same, NULL, DIFFERENCE, {0}},
    {"scale forgotten", "affine", affine_one, NULL, DIFFERENCE, {0}},
    {"branches swapped", "where", where_swapped, NULL, DIFFERENCE, {0}},
    {"always the first operand", "maximum", maximum_first, NULL, DIFFERENCE, {0}},
    {"sign forgotten", "abs", abs_one, NULL, DIFFERENCE, {0}},
    {"no mean, jvp", "softmax", softmax_diagonal_jvp, NULL, DIFFERENCE, {0}},
    {"no mean, vjp", "softmax", NULL, softmax_diagonal, ADJOINT, {0}},
    {"b not transposed",
     "matmul",
     NULL,
     matmul_untransposed,
     ADJOINT,
     {2, {SQUARE(4), SQUARE(4)}, {{0}, {0}}, -1, 1}},
    {"db transposed",
     "matmul",
     NULL,
     matmul_swapped,
     ADJOINT,
     {2, {SQUARE(4), SQUARE(4)}, {{0}, {0}}, -1, 1}},
    {"half", "sum_to", NULL, sum_half, ADJOINT, {0}},
    {"zero", "broadcast", NULL, broadcast_nothing, ADJOINT, {0}},
    {"shifted by one", "slice", NULL, slice_shifted, ADJOINT, {0}},
    {"shifted by one", "pad", NULL, pad_shifted, ADJOINT, {0}},
    {"not inverted",
     "transpose",
     NULL,
     transpose_again,
     ADJOINT,
     {1, {{3, {3, 3, 3}}}, {{2, 0, 1}, {0}}, -1, 1}},
    {"parts swapped",
     "concat",
     NULL,
     concat_swapped,
     ADJOINT,
     {2, {SQUARE(3), SQUARE(3)}, {{1}, {0}}, -1, 1}},
    {"dropped", "gather", NULL, gather_dropped, ADJOINT, {0}},
    {"everywhere", "max_to", NULL, max_everywhere, ADJOINT, {0}},
};

typedef struct hunt {
  const char *check;
  int found;
} hunt;

static void look(void *arg, const fm_check *c) {
  hunt *h = arg;
  if (!c->ok && strcmp(c->check, h->check) == 0) h->found++;
}

static void test_faults(void **state) {
  (void)state;
  for (size_t k = 0; k < sizeof faults / sizeof *faults; k++) {
    const fault *f = &faults[k];
    fm_op op = *fm_op_find(f->op);
    hunt h = {f->check, 0};
    if (f->jvp) op.jvp = f->jvp;
    if (f->vjp) op.vjp = f->vjp;
    if (f->sample.nin > 0) {
      memset(op.samples, 0, sizeof op.samples);
      op.samples[0] = f->sample;
    }
    if (fm_check_op(ctx, &op, look, &h) != FM_OK) fail_msg("%s: %s", f->op, fm_error(ctx));
    if (h.found == 0) fail_msg("%s, %s: not found by '%s'", f->op, f->what, f->check);
  }
}

static void test_missing(void **state) {
  (void)state;
  hunt none = {"has samples", 0}, zero = {DIFFERENCE, 0};
  fm_op op = fm_op_exp;
  memset(op.samples, 0, sizeof op.samples);
  assert_int_equal(fm_check_op(ctx, &op, look, &none), FM_OK);
  assert_int_equal(none.found, 1);
  op = fm_op_exp;
  op.jvp = NULL; /* a missing rule would mean a constant */
  assert_int_equal(fm_check_op(ctx, &op, look, &zero), FM_OK);
  assert_int_equal(zero.found, 1);
}

VJP(max_untouched) { /* dy where x's shape is expected */
  dx[0] = fm_mul(p, dy, X);
}

static void refused(const fm_op *op, const char *sentence) {
  hunt none = {"has samples", 0};
  assert_int_equal(fm_check_op(ctx, op, look, &none), FM_EUSAGE);
  assert_string_equal(fm_error(ctx), sentence);
  fm_error_clear(ctx);
}

static void test_broken(void **state) {
  (void)state;
  fm_op op = fm_op_max_to;
  op.vjp = NULL;
  refused(&op, "gradcheck of max_to: max_to: a jvp rule without a vjp rule found, expected both");
  op.vjp = max_untouched;
  refused(&op, "gradcheck of max_to: mul: operands of the shapes (1, 7) (float64) and (5, 7) "
               "(float64) found, expected equal ones");
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_table), TEST(test_copies), TEST(test_faults),
                                     TEST(test_missing), TEST(test_broken)};
  return cmocka_run_group_tests_name("gradcheck", tests, NULL, NULL);
}
