/*
** test_facts.c - what an operation states about itself (op.h) is true of what it does: names of
** attribute slots against the slots that change its result.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

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

/* Where the values of an input or a constant are is no matter of the operation. */
static bool is_index(const fm_op *op, int k) {
  return k == FM_INDEX && (op == &fm_op_input || op == &fm_op_constant);
}

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

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_slots)};
  return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
