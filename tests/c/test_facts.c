/*
** test_facts.c - what an operation states about itself (op.h) is true of what it does on its
** samples: names of attribute slots, flags, sets of operands in which it is linear, views; and what
** an absent tangent is.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "op_names.h"
#include "numeric.h"

/* ------------------------------------------------------------------ samples of the operations */

typedef struct trial {
  const fm_op *op;
  const fm_sample *s;
  fm_tensor *x[3];
} trial;

static bool open_trial(trial *t, const fm_op *op, int sample) {
  *t = (trial){.op = op, .s = &op->samples[sample]};
  if (sample >= FM_MAX_SAMPLES || (t->s->nin == 0 && t->s->hi == 0)) return false;
  for (int k = 0; k < t->s->nin; k++) {
    bool bytes = t->s->bytes >> k & 1, whole = bytes || (t->s->whole >> k & 1);
    t->x[k] = bytes ? zeros(FM_U8, &t->s->in[k])
                    : random_tensor(FM_F64, &t->s->in[k], t->s->lo, t->s->hi, (uint64_t)k);
    for (int64_t i = 0; whole && i < fm_shape_count(&t->s->in[k]); i++)
      fm_tensor_set(t->x[k], i, bytes ? (double)(i % 256) : floor(fm_tensor_get(t->x[k], i)));
  }
  return true;
}

static void close_trial(trial *t) { drop_all(t->s->nin, t->x); }

/* The result with these attributes; NULL where the operation refuses them. */
static fm_tensor *result(const trial *t, const fm_attr *attr) {
  fm_tensor *y = fm_apply(ctx, t->op, t->s->nin, t->x, attr);
  if (y == NULL) fm_error_clear(ctx);
  return y;
}

static bool equal(const fm_tensor *a, const fm_tensor *b) {
  return a->dtype == b->dtype && fm_shape_eq(&a->shape, &b->shape) &&
         memcmp(a->data, b->data, a->bytes) == 0;
}

/* ------------------------------------------------------------------ names of attribute slots */

/* How many slots the name of slot k stands for. */
static int width(const trial *t, int k) {
  const char *name = t->op->attrs[k];
  if (strcmp(name, "shape") == 0) return FM_MAX_DIMS + 1;
  return strcmp(name, "axes") == 0 ? t->s->in[0].nd : 1;
}

static void find_names(const trial *t, const char *name[FM_ATTRS]) {
  memset(name, 0, FM_ATTRS * sizeof *name);
  for (int k = 0; k < FM_ATTRS; k++)
    for (int j = 0; t->op->attrs[k] && j < width(t, k); j++) {
      if (name[k + j]) fail_msg("%s: slot %d has two names", t->op->name, k + j);
      name[k + j] = t->op->attrs[k];
    }
}

static double slot(const fm_attr *a, int k) { return k < FM_F ? (double)a->i[k] : a->f[k - FM_F]; }

static void move(fm_attr *a, int k, double by) {
  if (k < FM_F)
    a->i[k] += (int64_t)by;
  else
    a->f[k - FM_F] += by;
}

/* Does slot k of the attributes change what the operation does on this sample? */
static bool matters(const trial *t, int k) {
  bool found = false;
  fm_tensor *was = result(t, &t->s->attr);
  assert_non_null(was);
  for (int by = -1; by <= 1 && !found; by += 2) {
    fm_attr a = t->s->attr;
    move(&a, k, by);
    fm_tensor *now = result(t, &a);
    found = now == NULL || !equal(now, was);
    fm_tensor_drop(now);
  }
  fm_tensor_drop(was);
  return found;
}

/* Where the values of an input or a constant are is for the program to know. */
static bool is_index(const fm_op *op, int k) { return k == FM_INDEX && (op->flags & FM_BOUND); }

static void check_slots(const fm_op *op) {
  const char *name[FM_ATTRS] = {NULL};
  bool mattered[FM_ATTRS] = {false};
  trial t;
  for (int sample = 0; open_trial(&t, op, sample); sample++) {
    find_names(&t, name);
    for (int k = 0; k < FM_ATTRS; k++) {
      if (!name[k] && slot(&t.s->attr, k) != 0)
        fail_msg("%s: sample %d sets slot %d, which has no name", op->name, sample, k);
      bool now = !is_index(op, k) && matters(&t, k);
      if (now && !name[k]) fail_msg("%s: slot %d is used and has no name", op->name, k);
      mattered[k] = mattered[k] || now;
    }
    close_trial(&t);
  }
  for (int k = 0; k < FM_ATTRS; k++)
    if (op->attrs[k] && !mattered[k] && !is_index(op, k))
      fail_msg("%s: '%s', slot %d, is not used", op->name, op->attrs[k], k);
}

static void test_slots(void **state) {
  (void)state;
  for (int k = 0; k < fm_op_count(); k++) check_slots(fm_op_at(k));
}

/* ------------------------------------------------------------------ linear in which operands */

/* The rules' view: y is linear in a set if its tangent along the set is the operation itself on the
   tangents, in the same program. */
static bool rules_say_linear(const trial *t, unsigned set) {
  fm_val x[3], dx[3], moved[3], dy = FM_NONE;
  fm_prog *p = fm_prog_new(ctx);
  for (int k = 0; k < t->s->nin; k++) {
    fm_sig sig = {t->x[k]->dtype, t->s->in[k]};
    x[k] = fm_input(p, FM_SHARED, &sig);
    dx[k] = set >> k & 1 ? fm_input(p, FM_SHARED, &sig) : FM_NONE;
    moved[k] = dx[k] == FM_NONE ? x[k] : dx[k];
  }
  fm_val y = fm_emit(p, t->op, t->s->nin, x, &t->s->attr);
  if (t->op->jvp) dy = t->op->jvp(p, y, dx);
  bool same = dy != FM_NONE && dy == fm_emit(p, t->op, t->s->nin, moved, &t->s->attr);
  same = same || y == x[0]; /* a cast to the same number format */
  assert_int_equal(fm_prog_error(p), FM_OK);
  fm_prog_free(p);
  return same;
}

/* f(x + 3 d) = f(x) + 3 f(d) for x and d that differ in the set alone, and f is 0 at 0. */
static void check_linear(const trial *t, unsigned set) {
  fm_tensor *y[3], *d[3] = {NULL}, *both[3] = {NULL}, *const x[3] = {t->x[0], t->x[1], t->x[2]};
  for (int k = 0; k < t->s->nin; k++) {
    bool moves = set >> k & 1;
    if (moves && x[k]->dtype == FM_U8) return;
    d[k] = moves ? random_tensor(x[k]->dtype, &x[k]->shape, -1, 1, 7) : fm_tensor_keep(x[k]);
    both[k] = moves ? zeros(x[k]->dtype, &x[k]->shape) : fm_tensor_keep(x[k]);
    for (int64_t i = 0; moves && i < fm_shape_count(&x[k]->shape); i++)
      fm_tensor_set(both[k], i, fm_tensor_get(x[k], i) + 3 * fm_tensor_get(d[k], i));
  }
  fm_tensor *const *in[3] = {x, d, both};
  for (int k = 0; k < 3; k++) y[k] = fm_apply(ctx, t->op, t->s->nin, in[k], &t->s->attr);
  for (int64_t i = 0; i < fm_shape_count(&y[0]->shape); i++) {
    double want = fm_tensor_get(y[0], i) + 3 * fm_tensor_get(y[1], i);
    double error = fabs(fm_tensor_get(y[2], i) - want) / (1 + fabs(want));
    assert_within(error, y[0]->dtype == FM_F64 ? 1e-12 : 1e-5, t->op->name, (int)set);
  }
  drop_all(3, y);
  drop_all(3, d);
  drop_all(3, both);
}

/* Rules and fact agree for every set, except where there are no rules (operations of lowering state
   no set), or where a rule passes tangents on (copies never meet the pass that asks). */
static void test_linear(void **state) {
  (void)state;
  trial t;
  for (int o = 0; o < fm_op_count(); o++)
    for (int sample = 0; open_trial(&t, fm_op_at(o), sample); sample++, close_trial(&t))
      for (unsigned set = 1; set < 1u << t.s->nin; set++) {
        bool all = set + 1 == 1u << t.s->nin;
        bool stated = fm_linear_in(t.op, &t.s->attr, all ? FM_ALL : set);
        if (stated) check_linear(&t, set);
        if (stated != rules_say_linear(&t, set) && !(t.op->flags & FM_UNIQUE))
          fail_msg("%s: linear in the set %u: stated %d", t.op->name, set, stated);
      }
  fm_attr shifted = {{0}, {2, 1}}, scaled = {{0}, {2, 0}};
  assert_false(fm_linear_in(&fm_op_affine, &shifted, FM_ALL));
  assert_true(fm_linear_in(&fm_op_affine, &scaled, FM_ALL));
}

/* ------------------------------------------------------------------ absent tangents */

/* The tangent along the operands of a set: that of the others is absent, or a tensor of zeros. */
static void check_absent(const trial *t, unsigned set) {
  const int n = t->s->nin;
  fm_tensor *in[9] = {NULL}, *out[2];
  fm_val x[3], d[3], absent[3], zero[3], dy[2];
  fm_prog *p = fm_prog_new(ctx);
  for (int k = 0; k < n; k++) {
    in[k] = fm_tensor_keep(t->x[k]);
    in[n + k] = random_tensor(FM_F64, &t->s->in[k], -1, 1, 20 + (uint64_t)k);
    in[2 * n + k] = zeros(FM_F64, &t->s->in[k]);
    x[k] = fm_input(p, FM_SHARED, &(fm_sig){t->x[k]->dtype, t->s->in[k]});
  }
  for (int k = 0; k < n; k++) d[k] = fm_input(p, FM_SHARED, &(fm_sig){FM_F64, t->s->in[k]});
  for (int k = 0; k < n; k++) {
    const fm_val none = fm_input(p, FM_SHARED, &(fm_sig){FM_F64, t->s->in[k]});
    const bool moves = set >> k & 1;
    absent[k] = moves ? d[k] : FM_NONE, zero[k] = moves ? d[k] : none;
  }
  const fm_val y = fm_emit(p, t->op, n, x, &t->s->attr);
  dy[0] = t->op->jvp(p, y, absent), dy[1] = t->op->jvp(p, y, zero);
  for (int j = 0; j < 2; j++)
    fm_output(p, dy[j] == FM_NONE ? fm_full(p, fm_prog_sig(p, y), 0) : dy[j], FM_SUM);
  run_once(p, FM_PASS_ALL, 1, in, out);
  assert_within(worst(out[0], out[1], 1), 1e-13, t->op->name, (int)set);
  fm_prog_free(p);
  drop_all(3 * n, in);
  drop_all(2, out);
}

static void test_absent(void **state) {
  (void)state;
  trial t;
  int tried = 0;
  for (int o = 0; o < fm_op_count(); o++)
    for (int sample = 0; open_trial(&t, fm_op_at(o), sample); sample++, close_trial(&t))
      for (unsigned set = 1; t.op->jvp && t.s->nin > 1 && set + 1 < 1u << t.s->nin; set++, tried++)
        check_absent(&t, set);
  assert_true(tried > 60);
}

/* ------------------------------------------------------------------ flags and views */

static bool has(const trial *t, unsigned flags) { return t->op->flags & flags; }

static double total(const fm_tensor *x) {
  double sum = 0;
  for (int64_t i = 0; i < fm_shape_count(&x->shape); i++) sum += fm_tensor_get(x, i);
  return sum;
}

static void check_values(const trial *t, const fm_tensor *y) {
  const fm_tensor *x = t->x[0];
  if (has(t, FM_IDENTITY)) assert_true(equal(x, y));
  if (has(t, FM_KEEP)) assert_true(y->bytes < x->bytes);
  if (has(t, FM_CLOSES_PASS)) assert_within(fabs(total(x) - total(y)), 1e-13, t->op->name, 0);
  for (int64_t i = 0; has(t, FM_FILL) && i < fm_shape_count(&y->shape); i++)
    assert_true(fm_tensor_get(y, i) == t->s->attr.f[FM_VALUE]);
  for (int64_t i = 0; has(t, FM_SELECTS | FM_REPEAT) && i < fm_shape_count(&y->shape); i++) {
    bool found = false;
    for (int64_t j = 0; j < fm_shape_count(&x->shape); j++)
      found = found || fm_tensor_get(y, i) == fm_tensor_get(x, j);
    if (!found) fail_msg("%s: value %d is none of the operand's", t->op->name, (int)i);
  }
}

/* A view's bytes are the operand's, from the stated place on. */
static void check_view(const trial *t, const fm_tensor *y) {
  assert_int_equal(t->op->view != NULL, has(t, FM_RESHAPE | FM_PART));
  if (t->op->view == NULL) return;
  fm_sig sig = {t->x[0]->dtype, t->x[0]->shape};
  int64_t from = t->op->view(&sig, &t->s->attr);
  if (has(t, FM_RESHAPE)) assert_true(from == 0 && y->bytes == t->x[0]->bytes);
  if (from < 0) return;
  const char *x = t->x[0]->data;
  assert_memory_equal(x + (size_t)from * fm_dtype_size(sig.dtype), y->data, y->bytes);
}

/* The operands' bytes one behind the other. */
static void check_join(const trial *t, const fm_tensor *y) {
  size_t at = 0;
  if (t->op->joins == NULL || !t->op->joins(&t->s->attr)) return;
  for (int k = 0; k < t->s->nin; at += t->x[k++]->bytes)
    assert_memory_equal((const char *)y->data + at, t->x[k]->data, t->x[k]->bytes);
  assert_int_equal(at, y->bytes);
}

/* Attributes with which the result has the signature of x, as far as slots of known names go. */
static fm_attr same_as(const fm_op *op, const fm_tensor *x) {
  fm_attr a = {{0}, {0}};
  for (int k = 0; k < FM_ATTRS; k++) {
    if (op->attrs[k] && strcmp(op->attrs[k], "shape") == 0) a = fm_attr_shape(&x->shape);
    if (op->attrs[k] && strcmp(op->attrs[k], "length") == 0) a.i[k] = x->shape.d[0];
    if (op->attrs[k] && strcmp(op->attrs[k], "dtype") == 0) a.f[k - FM_F] = x->dtype;
  }
  return a;
}

/* Emission drops a node that changes nothing, keeps what is one number one number, and merges equal
   nodes, except where an operation states otherwise. */
static void check_emission(const trial *t, const fm_tensor *y) {
  double value = 0;
  fm_sig sig = {FM_F64, t->s->in[0]};
  fm_prog *p = fm_prog_new(ctx);
  fm_val x = fm_input(p, FM_SHARED, &sig), fill = fm_full(p, sig, 0.75);
  if (has(t, FM_SAME)) {
    fm_attr same = same_as(t->op, t->x[0]);
    fm_tensor *z = fm_apply(ctx, t->op, 1, t->x, &same);
    assert_true(equal(z, t->x[0]) && fm_emit(p, t->op, 1, &x, &same) == x);
    fm_tensor_drop(z);
  }
  if (has(t, FM_SELECTS)) {
    fm_val v = fm_emit(p, t->op, 1, &fill, &t->s->attr);
    fm_shape shape = fm_prog_sig(p, v).shape;
    assert_true(fm_known(p, v, &value) && value == 0.75 && fm_shape_eq(&shape, &y->shape));
  }
  if (t->op->nin == 1 && !has(t, FM_BYTES))
    assert_int_equal(fm_emit(p, t->op, 1, &x, &t->s->attr) != fm_emit(p, t->op, 1, &x, &t->s->attr),
                     has(t, FM_UNIQUE));
  fm_prog_free(p);
}

static void check_kinds(const fm_op *op) {
  unsigned kind = op->flags & (FM_BOUND | FM_FILL | FM_RANDOM);
  assert_int_equal(op->nin == 0, (op->flags & FM_LEAF) != 0);
  assert_int_equal(kind != 0 && (kind & (kind - 1)) == 0, op->nin == 0); /* one of the three */
  if (op->flags & FM_LOWERED) assert_true(op->jvp == NULL && op->vjp == NULL);
}

static void test_flags(void **state) {
  (void)state;
  trial t;
  for (int o = 0; o < fm_op_count(); o++) {
    check_kinds(fm_op_at(o));
    for (int sample = 0; open_trial(&t, fm_op_at(o), sample); sample++, close_trial(&t)) {
      fm_tensor *y = result(&t, &t.s->attr);
      check_values(&t, y);
      check_view(&t, y);
      check_join(&t, y);
      if (t.s->nin > 0) check_emission(&t, y);
      fm_tensor_drop(y);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_slots), TEST(test_linear), TEST(test_absent),
                                     TEST(test_flags)};
  return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
