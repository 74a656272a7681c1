/* test_npy.c - .npy files have NumPy's bytes, are read back exactly, and are refused if damaged. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scratch.h"

static void test_round_trip(void **state) {
  (void)state;
  const char *path = in_folder("a.npy");
  for (int i = 0; i < 2 * (FM_MAX_DIMS + 1); i++) {
    fm_tensor *back, *t = ramp(i % 2 ? FM_F64 : FM_F32, i / 2);
    assert_int_equal(fm_save_npy(ctx, path, t), FM_OK);
    assert_int_equal(fm_load_npy(ctx, path, &back), FM_OK);
    assert_same(t, back);
    fm_tensor_drop(t);
    fm_tensor_drop(back);
  }
}

/* The bytes that numpy 2 writes for np.save(path, np.array([1, 2], "<f8")). */
static void test_bytes(void **state) {
  (void)state;
  static const char header[] = "\x93NUMPY\1\0v\0{'descr': '<f8', 'fortran_order': False, "
                               "'shape': (2,), }";
  const char *path = in_folder("a.npy");
  char *bytes;
  size_t n;
  fm_tensor *t = fm_tensor_new(ctx, FM_F64, &(fm_shape){1, {2}});
  fm_tensor_set(t, 0, 1);
  fm_tensor_set(t, 1, 2);
  assert_int_equal(fm_save_npy(ctx, path, t), FM_OK);
  assert_int_equal(fm_read_file(ctx, path, &bytes, &n), FM_OK);
  assert_int_equal(n, 128 + 16);
  assert_memory_equal(bytes, header, sizeof header - 1);
  for (size_t i = sizeof header - 1; i < 127; i++) assert_int_equal(bytes[i], ' ');
  assert_int_equal(bytes[127], '\n');
  assert_memory_equal(bytes + 128, t->data, 16);
  fm_free(ctx, bytes, n + 1);
  fm_tensor_drop(t);
}

static fm_err load_bytes(const char *path, const char *bytes, size_t n, fm_tensor **back) {
  dump(path, bytes, n);
  return fm_load_npy(ctx, path, back);
}

/* Truncated, with an extra byte, or with a header bit flipped: refused, or of the same meaning. */
static void test_damage(void **state) {
  (void)state;
  const char *path = in_folder("a.npy");
  char *bytes;
  size_t n;
  fm_tensor *back, *t = ramp(FM_F32, 3);
  assert_int_equal(fm_save_npy(ctx, path, t), FM_OK);
  assert_int_equal(fm_read_file(ctx, path, &bytes, &n), FM_OK);
  for (size_t k = 0; k <= n + 1; k++) {
    if (k == n) continue;
    assert_refused(load_bytes(path, bytes, k, &back), path, "'"); /* n + 1: the NUL behind */
    assert_null(back);
  }
  for (size_t i = 0; i < 8 * 128; i++) {
    bytes[i / 8] ^= (char)(1 << i % 8);
    fm_err err = load_bytes(path, bytes, n, &back);
    bytes[i / 8] ^= (char)(1 << i % 8);
    if (err) {
      assert_refused(err, path, "'");
    } else { /* a blank became another kind of blank */
      assert_true(bytes[i / 8] == ' ' || bytes[i / 8] == '\n');
      assert_same(t, back);
      fm_tensor_drop(back);
    }
  }
  fm_free(ctx, bytes, n + 1);
  fm_tensor_drop(t);
}

static void test_foreign(void **state) {
  (void)state;
  static const struct {
    const char *header, *sentence; /* sentence NULL: must be read, with 8 bytes of data */
  } cases[] = {
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", NULL},
      {"{'shape':(1,2),'fortran_order':False,'descr':'<f4'}\n", NULL},
      {"{'descr': '<f8', 'fortran_order': False, 'shape': ()}", NULL},
      {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", "'<f4' or '<f8'"},
      {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1)}", "False (C order)"},
      {"{'descr': '<f4', 'fortran_order': False}", "'shape'"},
      {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "each once"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", "8 bytes of data"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", "the end"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (02,)}", "a whole number"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}", "a whole number"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,)}", "below 2^63"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387906,)}", "bytes"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,2)}", "6 dimensions"},
      {"", "'{'"},
  };
  const char *path = in_folder("a.npy");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char bytes[200] = "\x93NUMPY\1";
    size_t n = strlen(cases[i].header);
    fm_tensor *back;
    bytes[8] = (char)n;
    memcpy(bytes + 10, cases[i].header, n);
    fm_err err = load_bytes(path, bytes, 10 + n + 8, &back);
    if (cases[i].sentence) {
      assert_refused(err, path, cases[i].sentence);
    } else {
      assert_int_equal(err, FM_OK);
      fm_tensor_drop(back);
    }
  }
}

static void test_no_memory(void **state) {
  (void)state;
  const char *path = in_folder("a.npy");
  fm_tensor *back, *t = ramp(FM_F32, 2);
  assert_int_equal(fm_save_npy(ctx, path, t), FM_OK);
  int k = 1;
  for (;; k++) {
    fm_fail_alloc(ctx, k);
    fm_err err = fm_load_npy(ctx, path, &back);
    if (err == FM_OK) break;
    assert_int_equal(err, FM_ENOMEM);
    fm_error_clear(ctx);
  }
  assert_true(k > 1);
  fm_fail_alloc(ctx, 0);
  fm_tensor_drop(back);
  fm_tensor_drop(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_round_trip), TEST(test_bytes),     TEST(test_damage),
      TEST(test_foreign),    TEST(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
