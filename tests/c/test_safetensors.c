/*
** test_safetensors.c - safetensors files: values and strings are read back exactly; damage is
** detected by the checksum in our files and by the structure in foreign ones.
*/
#define _DEFAULT_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scratch.h"

/* ------------------------------------------------------------------ a file of ours */

static const fm_pair sample_meta[] = {
    {"step", "42"},
    {"config", "{\"lr\": 1e-3,\n\t\"name\": \"C:\\\\x\"}"},
    {"\x01\x1f\x7f/", "control characters"},
    {"\u540d", "\u00fc \u20ac \U0001f600"}, /* 2, 3 and 4 bytes of UTF-8 */
    {"", ""},
};
enum { NMETA = sizeof sample_meta / sizeof *sample_meta, NTENSORS = 4 };

/* Names in no order, both widths, ranks 0 to 3. */
static void sample_tensors(fm_named t[NTENSORS]) {
  t[0] = (fm_named){"w.1", ramp(FM_F32, 2)};
  t[1] = (fm_named){"a \"quoted\"\n\u00e9", ramp(FM_F32, 0)};
  t[2] = (fm_named){"w.0", ramp(FM_F64, 3)};
  t[3] = (fm_named){"ema", ramp(FM_F64, 1)};
}

static void drop(const fm_named t[NTENSORS]) {
  for (int i = 0; i < NTENSORS; i++) fm_tensor_drop(t[i].tensor);
}

static void save_sample(const char *path) {
  fm_named t[NTENSORS];
  sample_tensors(t);
  assert_int_equal(fm_save_safetensors(ctx, path, NTENSORS, t, NMETA, sample_meta, false), FM_OK);
  drop(t);
}

static const char *value_of(const fm_ckpt *c, const char *key) {
  for (int i = 0; i < c->nmeta; i++) {
    if (!strcmp(c->meta[i].key, key)) return c->meta[i].value;
  }
  return "(missing)";
}

static const fm_tensor *tensor_of(const fm_ckpt *c, const char *name) {
  for (int i = 0; i < c->n; i++) {
    if (!strcmp(c->tensors[i].name, name)) return c->tensors[i].tensor;
  }
  fail_msg("no tensor '%s'", name);
  return NULL;
}

static void test_round_trip(void **state) {
  (void)state;
  const char *path = in_folder("a.safetensors");
  fm_named t[NTENSORS];
  fm_ckpt c;
  save_sample(path);
  assert_int_equal(fm_load_safetensors(ctx, path, &c), FM_OK);
  sample_tensors(t);
  assert_int_equal(c.n, NTENSORS);
  for (int i = 0; i < NTENSORS; i++) assert_same(t[i].tensor, tensor_of(&c, t[i].name));
  assert_int_equal(c.nmeta, NMETA); /* the checksum's keys are hidden */
  for (int i = 0; i < NMETA; i++) {
    assert_string_equal(value_of(&c, sample_meta[i].key), sample_meta[i].value);
  }
  drop(t);
  fm_tensor *kept = fm_tensor_keep(c.tensors[0].tensor);
  fm_ckpt_free(&c);
  fm_ckpt_free(&c);                          /* may be repeated */
  assert_true(fm_tensor_finite(kept, NULL)); /* survives the file it came from */
  fm_tensor_drop(kept);
}

static void test_ranks(void **state) {
  (void)state;
  const char *path = in_folder("a.safetensors");
  for (int i = 0; i < 2 * (FM_MAX_DIMS + 1); i++) {
    fm_ckpt c;
    fm_named t = {"x", ramp(i % 2 ? FM_F64 : FM_F32, i / 2)};
    assert_int_equal(fm_save_safetensors(ctx, path, 1, &t, 0, NULL, false), FM_OK);
    assert_int_equal(fm_load_safetensors(ctx, path, &c), FM_OK);
    assert_same(t.tensor, tensor_of(&c, "x"));
    fm_tensor_drop(t.tensor);
    fm_ckpt_free(&c);
  }
  fm_ckpt none;
  assert_int_equal(fm_save_safetensors(ctx, path, 0, NULL, 0, NULL, true), FM_OK);
  assert_int_equal(fm_load_safetensors(ctx, path, &none), FM_OK);
  assert_int_equal(none.n + none.nmeta, 0);
  fm_ckpt_free(&none);
  assert_int_equal(fm_load_safetensors(ctx, in_folder("a.safetensors.prev"), &none), FM_OK);
  assert_int_equal(none.n, 1);
  fm_ckpt_free(&none);
}

/* The bytes depend on the contents, not on the order of the arguments. */
static void test_bytes(void **state) {
  (void)state;
  static const char header[] =
      "{\"__metadata__\":{\"flowmap.crc32\":\"1ed77417\",\"flowmap.format\":\"1\",\"k\":\"v\","
      "\"l\":\"\\u000a\"},"
      "\"b\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
      "\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[8,16]}}";
  const char *path = in_folder("a.safetensors");
  fm_named t[2] = {{"a", ramp(FM_F32, 2)}, {"b", ramp(FM_F64, 0)}};
  fm_pair meta[2] = {{"l", "\n"}, {"k", "v"}};
  for (int turn = 0; turn < 2; turn++) {
    char *bytes;
    size_t n, length = (sizeof header + 6) / 8 * 8;
    assert_int_equal(fm_save_safetensors(ctx, path, 2, t, 2, meta, false), FM_OK);
    assert_int_equal(fm_read_file(ctx, path, &bytes, &n), FM_OK);
    assert_int_equal(n, 8 + length + 16);
    assert_int_equal((unsigned char)bytes[0], length);
    for (int i = 1; i < 8; i++) assert_int_equal(bytes[i], 0);
    assert_memory_equal(bytes + 8, header, sizeof header - 1);
    for (size_t i = 7 + sizeof header; i < 8 + length; i++) assert_int_equal(bytes[i], ' ');
    assert_memory_equal(bytes + 8 + length, t[turn ? 0 : 1].tensor->data, 8);
    fm_free(ctx, bytes, n + 1);
    fm_named x = t[0];
    t[0] = t[1], t[1] = x;
    fm_pair p = meta[0];
    meta[0] = meta[1], meta[1] = p;
  }
  fm_tensor_drop(t[0].tensor);
  fm_tensor_drop(t[1].tensor);
}

/* ------------------------------------------------------------------ damage */

/* Assert that a file is refused in a sentence, without results and leaks. */
static void assert_damaged(const char *path, const void *bytes, size_t n, const char *part) {
  fm_ckpt c;
  size_t before = fm_bytes_now(ctx);
  dump(path, bytes, n);
  assert_refused(fm_load_safetensors(ctx, path, &c), path, part);
  assert_int_equal(c.n + c.nmeta, 0);
  assert_int_equal(fm_bytes_now(ctx), before);
}

static void test_truncations(void **state) {
  (void)state;
  const char *path = in_folder("a.safetensors");
  char *bytes;
  size_t n;
  save_sample(path);
  assert_int_equal(fm_read_file(ctx, path, &bytes, &n), FM_OK);
  for (size_t k = 0; k < n; k++) assert_damaged(path, bytes, k, k < 8 ? "too few" : "'");
  assert_damaged(path, bytes, n + 1, "of data"); /* one byte more, too */
  fm_free(ctx, bytes, n + 1);
}

static void test_flipped_bytes(void **state) {
  (void)state;
  static const unsigned char masks[] = {1, 2, 4, 8, 16, 32, 64, 128, 255};
  const char *path = in_folder("a.safetensors");
  char *bytes;
  size_t n;
  save_sample(path);
  assert_int_equal(fm_read_file(ctx, path, &bytes, &n), FM_OK);
  for (size_t i = 0; i < n; i++) {
    for (size_t m = 0; m < sizeof masks; m++) {
      bytes[i] = (char)(bytes[i] ^ masks[m]);
      assert_damaged(path, bytes, n, "'");
      bytes[i] = (char)(bytes[i] ^ masks[m]);
    }
  }
  assert_true(fm_bytes_peak(ctx) < 8 * n + 65536); /* no damage caused a large allocation */
  fm_free(ctx, bytes, n + 1);
}

/* ------------------------------------------------------------------ foreign files */

static size_t compose(char *bytes, const char *header, uint64_t length, size_t ndata) {
  size_t n = strlen(header);
  for (int i = 0; i < 8; i++) bytes[i] = (char)(length >> 8 * i & 0xFF);
  memcpy(bytes + 8, header, n);
  memset(bytes + 8 + n, 0, ndata);
  return 8 + n + ndata;
}

#define X(fields) "{\"x\":{" fields "}}"
#define F32_2 "\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]"
#define DEEP "[[[[[[[["

/* Read as 8 bytes of data when `sentence` is NULL, or refused with it. */
static const struct {
  const char *header, *sentence;
} foreign[] = {
    {X(F32_2), NULL},
    {" { \"x\" :\t{\"data_offsets\" : [ 0 ,8 ] ,\r\n\"shape\":[ ],\"dtype\":\"F64\" } } \n", NULL},
    {"{\"__metadata__\":{},\"x\":{" F32_2 "}}", NULL},
    {"{\"x\":{" F32_2 "},\"__metadata__\":{\"\\u00e9\\ud83d\\ude00\\/\":\"\\b\\f\\r\\t\"}}", NULL},
    {"{\"x\":{" F32_2 "},\"y\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[8,8]}}", NULL},
    {"", "expected '{'"},
    {"[]", "expected '{'"},
    {"{}", "has 8 bytes of data, expected 0"},
    {DEEP DEEP DEEP DEEP DEEP DEEP, "expected '{'"},
    {"{\"x\":" DEEP DEEP "}", "expected '{'"},
    {"{\"x\":{\"dtype\":{\"dtype\":{}}}}", "expected '\"'"},
    {X(F32_2) "}", "expected the end"},
    {"{\"x\":{" F32_2 "},}", "expected '\"'"},
    {"{\"x\":{" F32_2 "} \"y\"", "expected '}'"},
    {"{\"x", "closing quote"},
    {"{\"x\n\"", "closing quote"},
    {"{\"\\x\"", "an escape sequence"},
    {"{\"\\u00g0\"", "a character code"},
    {"{\"\\u0000\"", "a character code"},
    {"{\"\\ud83d\"", "UTF-8"},
    {"{\"\\ud83d\\u0041\"", "a character code"},
    {"{\"\\ude00\"", "UTF-8"},
    {"{\"\xc3\"", "UTF-8"},
    {"{\"\xc0\xaf\"", "UTF-8"},
    {"{\"\xed\xa0\x80\"", "UTF-8"},
    {"{\"\xf4\x90\x80\x80\"", "UTF-8"},
    {"{\"\xff\"", "UTF-8"},
    {"{\"x\":{" F32_2 "},\"x\":{" F32_2 "}}", "tensor 'x' appears twice"},
    {"{\"__metadata__\":{\"k\":\"\",\"k\":\"\"},\"x\":{" F32_2 "}}", "key 'k' appears twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{},\"x\":{" F32_2 "}}", "one __metadata__"},
    {"{\"__metadata__\":{\"k\":1},\"x\":{" F32_2 "}}", "expected '\"'"},
    {"{\"__metadata__\":{\"flowmap.format\":\"1\"},\"x\":{" F32_2 "}}", "its checksum"},
    {"{\"__metadata__\":{\"k\":\"\",\"flowmap.crc32\":\"0\"},\"x\":{" F32_2 "}}", "its checksum"},
    {X(F32_2 ",\"dtype\":\"F32\""), "each once"},
    {X(F32_2 ",\"more\":1"), "each once"},
    {X("\"dtype\":\"F32\",\"shape\":[2]"), "dtype, shape and data_offsets"},
    {X("\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]"), "'BF16', expected F32 or F64"},
    {X("\"dtype\":\"f32\",\"shape\":[2],\"data_offsets\":[0,8]"), "'f32', expected F32 or F64"},
    {X("\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]"),
     "which do not make a float32 tensor"},
    {X("\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,8]"),
     "which do not make a float32 tensor"},
    {X("\"dtype\":\"F32\",\"shape\":[4611686018427387906],\"data_offsets\":[0,8]"), "do not make"},
    {X("\"dtype\":\"F32\",\"shape\":[9223372036854775808],\"data_offsets\":[0,8]"), "below 2^63"},
    {X("\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,8]"), "below 2^63"},
    {X("\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]"), "a whole number"},
    {X("\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]"), "expected ']'"},
    {X("\"dtype\":\"F32\",\"shape\":[02],\"data_offsets\":[0,8]"), "a whole number"},
    {X("\"dtype\":\"F32\",\"shape\":[2,],\"data_offsets\":[0,8]"), "a whole number"},
    {X("\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,2],\"data_offsets\":[0,8]"), "6 dimensions"},
    {X("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]"), "start at 0"},
    {X("\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]"), "8 bytes of data, expected 4"},
    {X("\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]"), "within 8"},
    {X("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]"), "start at 0"},
    {X("\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]"), "expected ']'"},
    {"{\"x\":{" F32_2 "},\"y\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "at 8"},
    {"{\"x\":{" F32_2 "},\"y\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,4]}}", "at 8"},
};

static void test_foreign(void **state) {
  (void)state;
  const char *path = in_folder("a.safetensors");
  for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
    char bytes[400];
    fm_ckpt c;
    const char *header = foreign[i].header;
    dump(path, bytes, compose(bytes, header, strlen(header), 8));
    fm_err err = fm_load_safetensors(ctx, path, &c);
    if (foreign[i].sentence) {
      assert_refused(err, path, foreign[i].sentence);
      continue;
    }
    assert_int_equal(err, FM_OK);
    assert_int_equal(tensor_of(&c, "x")->bytes, 8);
    if (c.nmeta) assert_string_equal(value_of(&c, "\u00e9\U0001f600/"), "\b\f\r\t");
    fm_ckpt_free(&c);
  }
}

static void test_absurd_lengths(void **state) {
  (void)state;
  static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 8, UINT64_MAX / 2, 100000001, 1000};
  const char *path = in_folder("a.safetensors");
  char bytes[200];
  fm_ckpt c;
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    dump(path, bytes, compose(bytes, X(F32_2), lengths[i], 8));
    assert_refused(fm_load_safetensors(ctx, path, &c), path, "announces a header");
  }
  assert_true(fm_bytes_peak(ctx) < 10000);
  dump(path, bytes, compose(bytes, X(F32_2), 100000001, 0));
  assert_int_equal(truncate(path, 200000000), 0); /* long enough, but sparse */
  assert_refused(fm_load_safetensors(ctx, path, &c), path, "announces a header");
  char with_nul[] = X(F32_2) "  tail";
  size_t n = compose(bytes, with_nul, sizeof with_nul - 1, 8);
  bytes[8 + sizeof X(F32_2)] = 0; /* text after a NUL must not be overlooked */
  dump(path, bytes, n);
  assert_refused(fm_load_safetensors(ctx, path, &c), path, "expected the end");
}

/* Without a checksum some damage cannot be detected, but none may do harm. */
static void test_mutations(void **state) {
  (void)state;
  const char *path = in_folder("a.safetensors"), *header = foreign[3].header;
  uint32_t x = 1;
  int read = 0;
  for (int round = 0; round < 5000; round++) {
    char bytes[400];
    fm_ckpt c;
    size_t n = compose(bytes, header, strlen(header), 8);
    for (int i = 0; i <= round % 3; i++) {
      x ^= x << 13, x ^= x >> 17, x ^= x << 5;
      bytes[x % n] = i % 2 ? bytes[x / 7 % n] : (char)(x >> 24);
    }
    dump(path, bytes, n);
    fm_err err = fm_load_safetensors(ctx, path, &c);
    read += err == FM_OK;
    if (err != FM_OK) assert_refused(err, path, "'");
    fm_ckpt_free(&c);
  }
  assert_in_range(read, 1, 4999);
}

/* ------------------------------------------------------------------ refusals, lack of memory */

static void test_not_finite(void **state) {
  (void)state;
  const char *path = in_folder("a.safetensors");
  static const double bad[] = {NAN, INFINITY, -INFINITY};
  fm_named t[NTENSORS];
  fm_ckpt c;
  save_sample(path);
  for (int i = 0; i < 3; i++) {
    sample_tensors(t);
    fm_tensor_set(t[i % 2 ? 0 : 2].tensor, 1, bad[i]);
    fm_err err = fm_save_safetensors(ctx, path, NTENSORS, t, 0, NULL, true);
    assert_int_equal(err, FM_ENUMERIC);
    assert_non_null(strstr(fm_error(ctx), i % 2 ? "'w.1'" : "'w.0'"));
    assert_non_null(strstr(fm_error(ctx), "at position 1"));
    fm_error_clear(ctx);
    drop(t);
    assert_int_equal(list(false), 1);
    assert_int_equal(fm_load_safetensors(ctx, path, &c), FM_OK);
    assert_int_equal(c.nmeta, NMETA); /* the old file */
    fm_ckpt_free(&c);
  }
}

#define LONG "0123456789abcdef0123456789abcdef0123456789abcdef01234567" /* as much as is shown */

static void test_bad_names(void **state) {
  (void)state;
  static const struct {
    const char *name[2], *key[2], *value, *sentence;
  } cases[] = {
      {{"a", "a"}, {"k", "l"}, "", "tensor name 'a' is given twice"},
      {{"a", "__metadata__"}, {"k", "l"}, "", "'__metadata__' is reserved"},
      {{"a", "\xff\n"}, {"k", "l"}, "", "tensor name '?\?' is not UTF-8"},
      {{"a", "b"}, {"k", "k"}, "", "metadata key 'k' is given twice"},
      {{LONG "1", LONG "1"}, {"k", "l"}, "", "name '" LONG "...' is given twice"},
      {{"a", "b"}, {"k", "flowmap.crc32"}, "", "'flowmap.crc32' is reserved"},
      {{"a", "b"}, {"flowmap.format", "k"}, "", "'flowmap.format' is reserved"},
      {{"a", "b"}, {"k", "\xe2\x82"}, "", "'?\?' is not UTF-8"},
      {{"a", "b"}, {"k", "l"}, "\x80", "metadata key 'k' has a value that is not UTF-8"},
  };
  const char *path = in_folder("a.safetensors");
  fm_tensor *x = ramp(FM_F32, 1);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fm_named t[2] = {{cases[i].name[0], x}, {cases[i].name[1], x}};
    fm_pair meta[2] = {{cases[i].key[0], cases[i].value}, {cases[i].key[1], ""}};
    assert_int_equal(fm_save_safetensors(ctx, path, 2, t, 2, meta, false), FM_EUSAGE);
    if (!strstr(fm_error(ctx), cases[i].sentence)) fail_msg("%s", fm_error(ctx));
    fm_error_clear(ctx);
    assert_int_equal(list(false), 0);
  }
  fm_tensor_drop(x);
}

/* Each allocation fails once; the old file and the memory account are as before. */
static void test_no_memory(void **state) {
  (void)state;
  const char *path = in_folder("a.safetensors");
  fm_named t[NTENSORS];
  fm_ckpt c;
  sample_tensors(t);
  save_sample(path);
  size_t before = fm_bytes_now(ctx);
  for (int saving = 0; saving < 2; saving++) {
    int k = 1;
    for (;; k++) {
      fm_fail_alloc(ctx, k);
      fm_err err = saving ? fm_save_safetensors(ctx, path, NTENSORS, t, 1, sample_meta, true)
                          : fm_load_safetensors(ctx, path, &c);
      fm_fail_alloc(ctx, 0);
      if (!saving) fm_ckpt_free(&c);
      assert_int_equal(fm_bytes_now(ctx), before);
      if (err == FM_OK) break;
      assert_int_equal(err, FM_ENOMEM);
      fm_error_clear(ctx);
      assert_int_equal(list(false), 1);
    }
    assert_true(k > (saving ? 3 : 3 + 3 * NTENSORS + 2 * NMETA));
  }
  drop(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_round_trip),     TEST(test_ranks),         TEST(test_bytes),
      TEST(test_truncations),    TEST(test_flipped_bytes), TEST(test_foreign),
      TEST(test_absurd_lengths), TEST(test_mutations),     TEST(test_not_finite),
      TEST(test_bad_names),      TEST(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
