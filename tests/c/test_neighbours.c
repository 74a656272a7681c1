/*
** test_neighbours.c - for every elementwise operation, the bits of a result do not depend on the
** neighbouring values, the position or the length of the vector; for every instruction set, in
** float32 and float64.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/isa.h"
#include "numeric.h"

enum { LONGEST = 37 }; /* two vectors of sixteen and a tail */

static const double probes[] = {0.68, -1.3,  2.5, 0.0,      -0.0,  1e-40,    88.5,
                                -104, 1e-20, 7e5, INFINITY, 1e300, -INFINITY};
static const double hostile[] = {0.25, 1e30, -1e30, INFINITY, -INFINITY, NAN, 1e-42, 0, -0.0};

#define COUNT(list) ((int)(sizeof(list) / sizeof *(list)))

typedef struct kind { /* an operation with the attributes of one sample */
  const fm_op *op;
  const fm_kernel *kernel;
  const fm_attr *attr;
  fm_dtype dtype;
  int sample;
} kind;

static void put(fm_dtype dtype, void *x, int at, double value) {
  if (dtype == FM_F32)
    ((float *)x)[at] = (float)value;
  else
    ((double *)x)[at] = value;
}

/* Operand k of the value under test, so that operands differ. */
static double operand(int probe, int k) { return probes[(probe + 4 * k) % COUNT(probes)]; }

/* y[at] of a vector of n values, of which all except the one at `at` are hostile. */
static void run(const kind *k, int probe, double other, int n, int at, void *result) {
  double x[3][LONGEST], y[LONGEST];
  size_t size = fm_dtype_size(k->dtype);
  for (int j = 0; j < 3; j++)
    for (int i = 0; i < n; i++) put(k->dtype, x[j], i, i == at ? operand(probe, j) : other);
  k->kernel->map(n, y, x[0], k->op->nin > 1 ? x[1] : x[0], k->op->nin > 2 ? x[2] : x[0],
                 k->attr->f);
  memcpy(result, (char *)y + (size_t)at * size, size);
}

static bool alike(fm_dtype dtype, const void *a, const void *b) {
  double x = dtype == FM_F32 ? (double)*(const float *)a : *(const double *)a;
  double y = dtype == FM_F32 ? (double)*(const float *)b : *(const double *)b;
  return memcmp(a, b, fm_dtype_size(dtype)) == 0 || (isnan(x) && isnan(y));
}

static void check_at(const kind *k, int probe, double other, int n, int at) {
  double alone, among;
  run(k, probe, other, 1, 0, &alone);
  run(k, probe, other, n, at, &among);
  if (!alike(k->dtype, &alone, &among))
    fail_msg("%s %s (sample %d) of %g at place %d of %d among %g: other bits than alone",
             fm_isa_name(fm_isa()), k->op->name, k->sample, probes[probe], at + 1, n, other);
}

/* All orders of a family at once give the bits of each order alone. */
static void check_family(const kind *k) {
  double x[LONGEST], all[FM_ORDERS][LONGEST], one[LONGEST];
  void *y[FM_ORDERS] = {all[0], all[1], all[2]};
  for (int i = 0; i < LONGEST; i++) put(k->dtype, x, i, probes[i % COUNT(probes)]);
  k->kernel->family(LONGEST, y, x);
  for (int order = 0; order < FM_ORDERS; order++) {
    const double f[2] = {order, 0};
    size_t size = fm_dtype_size(k->dtype);
    k->kernel->map(LONGEST, one, x, x, x, f);
    for (size_t i = 0; i < LONGEST; i++)
      if (!alike(k->dtype, (char *)one + i * size, (char *)all[order] + i * size))
        fail_msg("%s order %d of %g: other bits together than alone", k->op->name, order,
                 probes[i % COUNT(probes)]);
  }
}

static void check_kind(const kind *k) {
  for (int probe = 0; probe < COUNT(probes); probe++)
    for (int h = 0; h < COUNT(hostile); h++)
      for (int at = 0; at < LONGEST; at++) {
        check_at(k, probe, hostile[h], LONGEST, at);
        check_at(k, probe, hostile[h], at + 1, at); /* the last one of a shorter vector */
      }
  if (k->kernel->family) check_family(k);
}

static int check_op(const fm_op *op) {
  int tried = 0;
  for (int s = 0; s < FM_MAX_SAMPLES && (s == 0 || op->samples[s].nin > 0); s++)
    for (int dtype = FM_F32; dtype <= FM_F64; dtype++, tried++)
      check_kind(&(kind){op, fm_kernel_of(op, (fm_dtype)dtype), &op->samples[s].attr,
                         (fm_dtype)dtype, s + 1});
  return tried;
}

static void test_neighbours(void **state) {
  (void)state;
  int tried = 0, was = fm_isa();
  for (int isa = 0; isa < FM_NISA; isa++) {
    if (fm_set_isa(isa) != isa) continue;
    for (int k = 0; k < fm_op_count(); k++)
      if (fm_op_at(k)->flags & FM_ELEMENTWISE) tried += check_op(fm_op_at(k));
  }
  fm_set_isa(was);
  assert_true(tried >= 60);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_neighbours)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
