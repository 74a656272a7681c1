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

/* Headers of files with 8 bytes of data; sentence NULL: must be read. */
static const struct {
  const char *header, *sentence;
} foreign[] = {
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", NULL},
    {"{'shape':(1,2),'fortran_order':False,'descr':'<f4'}\n", NULL},
    {"{'descr': '<f8', 'fortran_order': False, 'shape': ()}", NULL},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1)}", NULL},
    {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4)}", NULL},
    {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,)}", "the type '<f4', '<f8', '|u1'"},
    {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "the type"},
    {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 1)}", "True or False"},
    {"{'descr': '<i8', 'fortran_order': False, 'shape': (2,)}", "type '<i8' and shape (2)"},
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

static void test_foreign(void **state) {
  (void)state;
  const char *path = in_folder("a.npy");
  for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
    char bytes[200] = "\x93NUMPY\1";
    size_t n = strlen(foreign[i].header);
    fm_tensor *back;
    bytes[8] = (char)n;
    memcpy(bytes + 10, foreign[i].header, n);
    fm_err err = load_bytes(path, bytes, 10 + n + 8, &back);
    if (foreign[i].sentence) {
      assert_refused(err, path, foreign[i].sentence);
    } else {
      assert_int_equal(err, FM_OK);
      fm_tensor_drop(back);
    }
  }
}

/* A file of a version, a type, an order and a shape, whose values are the n bytes `data`. */
static fm_err load_made(int version, const char *type, bool fortran, const char *shape,
                        const void *data, size_t n, fm_tensor **back) {
  char bytes[512] = "\x93NUMPY";
  const int start = version == 1 ? 10 : 12;
  const int header =
      snprintf(bytes + start, 256, "{'descr': '%s', 'fortran_order': %s, 'shape': %s}", type,
               fortran ? "True" : "False", shape);
  bytes[6] = (char)version;
  bytes[8] = (char)header;
  memcpy(bytes + start + header, data, n);
  return load_bytes(in_folder("a.npy"), bytes, (size_t)(start + header) + n, back);
}

static void assert_values(fm_tensor *t, fm_dtype dtype, int n, const double *values) {
  assert_int_equal(t->dtype, dtype);
  assert_int_equal(fm_shape_count(&t->shape), n);
  for (int k = 0; k < n; k++) assert_true(fm_tensor_get(t, k) == values[k]);
  fm_tensor_drop(t);
}

/* Labels and images as NumPy writes them: whole numbers are float32, bytes remain bytes. */
static void test_whole_numbers(void **state) {
  (void)state;
  fm_tensor *t;
  const int64_t i8[] = {0, 9, -3, 1 << 24, -(1 << 24)};
  const uint64_t u8[] = {0, 7};
  const int32_t i4[] = {5, -5}, most[] = {1, (1 << 24) + 1};
  const int16_t i2[] = {-32768, 32767};
  const int8_t i1[] = {-128, 127};
  const uint8_t u1[] = {0, 200, 255, 1}, b1[] = {1, 0};
  const char *path = in_folder("a.npy");
  assert_int_equal(load_made(1, "<i8", false, "(5,)", i8, sizeof i8, &t), FM_OK);
  assert_values(t, FM_F32, 5, (double[]){0, 9, -3, 16777216, -16777216});
  assert_int_equal(load_made(2, "<u8", false, "(2,)", u8, sizeof u8, &t), FM_OK);
  assert_values(t, FM_F32, 2, (double[]){0, 7});
  assert_int_equal(load_made(3, "<i4", false, "(2,)", i4, sizeof i4, &t), FM_OK);
  assert_values(t, FM_F32, 2, (double[]){5, -5});
  assert_int_equal(load_made(1, "<u2", false, "(2,)", i2, sizeof i2, &t), FM_OK);
  assert_values(t, FM_F32, 2, (double[]){32768, 32767});
  assert_int_equal(load_made(1, "<i2", false, "(2,)", i2, sizeof i2, &t), FM_OK);
  assert_values(t, FM_F32, 2, (double[]){-32768, 32767});
  assert_int_equal(load_made(1, "|i1", false, "(2,)", i1, sizeof i1, &t), FM_OK);
  assert_values(t, FM_F32, 2, (double[]){-128, 127});
  assert_int_equal(load_made(1, "|b1", false, "(2,)", b1, sizeof b1, &t), FM_OK);
  assert_values(t, FM_F32, 2, (double[]){1, 0});
  assert_int_equal(load_made(1, "|u1", false, "(2, 2)", u1, sizeof u1, &t), FM_OK);
  fm_tensor *back;
  assert_int_equal(fm_save_npy(ctx, path, t), FM_OK);
  assert_int_equal(fm_load_npy(ctx, path, &back), FM_OK);
  assert_same(t, back);
  fm_tensor_drop(back);
  assert_values(t, FM_U8, 4, (double[]){0, 200, 255, 1});
  assert_refused(load_made(1, "<i4", false, "(2,)", most, sizeof most, &t), path,
                 "value 2 is 16777217");
  assert_refused(load_made(1, "<i8", false, "(1,)", &(int64_t){INT64_MIN}, 8, &t), path,
                 "is -9.22337204e+18,");
  assert_refused(load_made(1, "<u8", false, "(1,)", &(uint64_t){UINT64_MAX}, 8, &t), path,
                 "is 1.84467441e+19,");
}

/* Column-major values, as of np.asfortranarray and of transposed arrays, longer than one piece. */
static void test_fortran(void **state) {
  (void)state;
  fm_tensor *t;
  const float f[] = {1, 4, 2, 5, 3, 6};
  const uint8_t u[] = {0, 4, 2, 6, 1, 5, 3, 7};
  assert_int_equal(load_made(1, "<f4", true, "(2, 3)", f, sizeof f, &t), FM_OK);
  assert_values(t, FM_F32, 6, (double[]){1, 2, 3, 4, 5, 6});
  assert_int_equal(load_made(1, "|u1", true, "(2, 2, 2)", u, sizeof u, &t), FM_OK);
  assert_values(t, FM_U8, 8, (double[]){0, 1, 2, 3, 4, 5, 6, 7});
  assert_int_equal(load_made(1, "|i1", true, "(2, 2, 2)", u, sizeof u, &t), FM_OK);
  assert_values(t, FM_F32, 8, (double[]){0, 1, 2, 3, 4, 5, 6, 7});
  assert_int_equal(load_made(1, "<f8", true, "(0, 3)", f, 0, &t), FM_OK);
  assert_values(t, FM_F64, 0, NULL);
  assert_int_equal(load_made(1, "<i8", true, "()", &(int64_t){8}, 8, &t), FM_OK);
  assert_values(t, FM_F32, 1, (double[]){8});
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
      TEST(test_round_trip),    TEST(test_bytes),   TEST(test_damage),    TEST(test_foreign),
      TEST(test_whole_numbers), TEST(test_fortran), TEST(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
