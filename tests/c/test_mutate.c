/*
** test_mutate.c - random damage to every kind of file: each is either read or refused with FM_EDATA
** and one sentence; nothing crashes, leaks, or allocates without need. FM_SEED selects other
** damage, FM_ROUNDS the number of rounds.
*/
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <zlib.h>

#include "scratch.h"

#include "made_files.h"

#include "io/archive.h"
#include "io/image.h"

enum { SIDE = 4, ROUNDS = 250 };

static int refused, taken; /* of all rounds: both must happen */

/* ------------------------------------------------------------------ damage */

static uint64_t seed;

static uint32_t draw(uint32_t n) { /* 0 .. n-1 */
  static uint32_t counter;
  uint32_t out[4];
  fm_philox((uint32_t[4]){counter++, 0, 0, 0}, (uint32_t[2]){(uint32_t)seed, 7}, out);
  return n ? out[0] % n : 0;
}

/* Numbers that make sizes overflow. */
static void overwrite_number(uint8_t *at, size_t room) {
  static const uint64_t odd[] = {0,          1,          UINT64_MAX, INT64_MAX,     INT64_MAX - 7,
                                 1ull << 62, 1ull << 32, INT32_MAX,  0xFFFFFFFFull, 1ull << 40};
  uint64_t v = odd[draw(10)];
  if (draw(2)) v = __builtin_bswap64(v);
  const size_t n = draw(2) ? 8 : 4;
  memcpy(at, &v, n < room ? n : room);
}

static void overwrite_text(uint8_t *at, size_t room) {
  static const char *const odd[] = {"9223372036854775807",
                                    "-1",
                                    "\"",
                                    "}",
                                    "]",
                                    "18446744073709551616",
                                    "\\u0000",
                                    "\xff\xfe",
                                    "[[[[[[",
                                    "0,0,0,0,0,0,0,0",
                                    "1e99",
                                    "00"};
  const char *text = odd[draw(12)];
  const size_t n = strlen(text);
  memcpy(at, text, n < room ? n : room);
}

static void damage(const blob *from, blob *to) {
  memcpy(to->b, from->b, to->n = from->n);
  for (uint32_t k = 1 + draw(3); k > 0 && to->n > 0; k--) {
    /* Half of the damage is done to headers. */
    const uint32_t reach = draw(2) && to->n > 200 ? 200 : (uint32_t)to->n;
    const size_t at = draw(reach), left = to->n - at;
    const size_t length = 1 + draw(left < 64 ? (uint32_t)left : 64);
    switch (draw(7)) {
    case 0: to->b[at] ^= (uint8_t)(1u << draw(8)); break;
    case 1: to->b[at] = (uint8_t)draw(256); break;
    case 2: overwrite_number(to->b + at, left); break;
    case 3: overwrite_text(to->b + at, left); break;
    case 4: to->n = at; break;
    case 5: /* a part is missing */
      memmove(to->b + at, to->b + at + length, left - length);
      to->n -= length;
      break;
    default: /* or is repeated */
      if (to->n + length > MOST) break;
      memmove(to->b + at + length, to->b + at, left);
      to->n += length;
    }
  }
}

static void judge(fm_err err) {
  if (err == FM_OK) {
    taken++;
    return;
  }
  const char *s = fm_error(ctx);
  if (err != FM_EDATA || strlen(s) < 20 || strpbrk(s, "\n\r\033"))
    fail_msg("error %d, seed %llu: %s", err, (unsigned long long)seed, s);
  fm_error_clear(ctx);
  refused++;
}

typedef void (*reader)(const char *path, const blob *bytes);

/* Each round damages a file, repairs its checksums in every second round, and reads it. */
static void rounds(const blob *good, void (*mend)(blob *), reader read_it) {
  static blob bad;
  char path[PATH_ROOM];
  strcpy(path, in_folder("it"));
  const char *n = getenv("FM_ROUNDS"), *s = getenv("FM_SEED");
  seed = s ? strtoull(s, NULL, 10) : 20251;
  refused = taken = 0;
  dump(path, good->b, good->n);
  read_it(path, good);
  assert_int_equal(taken, 1);
  for (int k = n ? atoi(n) : ROUNDS; k > 0; k--) {
    damage(good, &bad);
    if (bad.n == good->n && memcmp(bad.b, good->b, bad.n) == 0) continue; /* unchanged */
    if (mend && k % 2) mend(&bad);
    dump(path, bad.b, bad.n);
    read_it(path, &bad);
  }
  assert_true(refused > 10);
  assert_true(fm_bytes_peak(ctx) < (size_t)1 << 28);
}

/* ------------------------------------------------------------------ tensors */

static void read_npy(const char *path, const blob *bytes) {
  fm_tensor *t = NULL;
  (void)bytes;
  judge(fm_load_npy(ctx, path, &t));
  fm_tensor_drop(t);
}

static void test_npy(void **state) {
  static blob good;
  (void)state;
  fm_tensor *t = ramp(FM_F32, 3);
  assert_int_equal(fm_save_npy(ctx, in_folder("it"), t), FM_OK);
  fm_tensor_drop(t);
  load_blob(in_folder("it"), &good);
  rounds(&good, NULL, read_npy);
}

static void read_safetensors(const char *path, const blob *bytes) {
  fm_ckpt c;
  (void)bytes;
  fm_err err = fm_load_safetensors(ctx, path, &c);
  judge(err);
  if (!err) fm_ckpt_free(&c);
}

static void test_safetensors(void **state) {
  static blob good;
  (void)state;
  fm_named t[2] = {{"a", ramp(FM_F32, 2)}, {"b", ramp(FM_F64, 3)}};
  const fm_pair meta[2] = {{"key", "value"}, {"other", "\xc3\xb6"}};
  assert_int_equal(fm_save_safetensors(ctx, in_folder("it"), 2, t, 2, meta, false), FM_OK);
  for (int k = 0; k < 2; k++) fm_tensor_drop(t[k].tensor);
  load_blob(in_folder("it"), &good);
  rounds(&good, NULL, read_safetensors);
  /* The checksum detects all damage, except where several changes give a file without one. */
  assert_true(taken <= 2);
  static const char foreign[] =
      "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"F32\",\"shape\":"
      "[2,2],\"data_offsets\":[0,16]},\"b\":{\"dtype\":\"F64\",\"shape\":"
      "[1],\"data_offsets\":[16,24]}}";
  const uint64_t length = sizeof foreign - 1;
  memset(good.b, 0, good.n = 8 + length + 24);
  memcpy(good.b, &length, 8);
  memcpy(good.b + 8, foreign, length);
  rounds(&good, NULL, read_safetensors);
}

/* ------------------------------------------------------------------ packed images */

static void mend_pack(blob *b) {
  if (b->n < FM_PACK_HEADER) return;
  const uint32_t crc = (uint32_t)crc32(0, b->b + 12, FM_PACK_HEADER - 12);
  memcpy(b->b + 8, &crc, 4);
}

static void read_pack(const char *path, const blob *bytes) {
  fm_pack_info i;
  fm_tensor *table, *labels;
  (void)bytes;
  fm_err err = fm_pack_look(ctx, path, &i);
  judge(err);
  if (err) return;
  err = fm_pack_map(ctx, path, 0, i.train, NULL, &table, &labels);
  judge(err);
  if (!err) {
    double sum = 0;
    for (size_t k = 0; k < table->bytes; k++) sum += ((uint8_t *)table->data)[k];
    assert_true(sum >= 0);
  }
  fm_tensor_drop(table);
  fm_tensor_drop(labels);
  judge(fm_pack_verify(ctx, path, NULL));
}

static void test_pack(void **state) {
  static blob good;
  (void)state;
  char path[PATH_ROOM];
  strcpy(path, in_folder("it"));
  uint8_t pixels[4 * SIDE * SIDE * 3];
  for (size_t k = 0; k < sizeof pixels; k++) pixels[k] = (uint8_t)k;
  const fm_pack_info i = {.count = 4,
                          .height = SIDE,
                          .width = SIDE,
                          .channels = 3,
                          .train = 3,
                          .classes = 2,
                          .text = "{\"title\": \"t\"}"};
  fm_pack p;
  assert_int_equal(fm_pack_create(&p, ctx, path, &i), FM_OK);
  assert_int_equal(fm_pack_put(&p, 0, 4, pixels, (const uint8_t[4]){0, 1, 0, 1}), FM_OK);
  assert_int_equal(fm_pack_finish(&p), FM_OK);
  fm_pack_close(&p);
  load_blob(path, &good);
  taken = 0;
  read_pack(path, &good);
  assert_int_equal(taken, 3);
  char *rounds_wanted = getenv("FM_ROUNDS");
  static blob bad;
  seed = 20252;
  refused = 0;
  for (int k = rounds_wanted ? atoi(rounds_wanted) : 2 * ROUNDS; k > 0; k--) {
    damage(&good, &bad);
    if (k % 2) mend_pack(&bad);
    dump(path, bad.b, bad.n);
    read_pack(path, &bad);
  }
  assert_true(refused > 10);
}

/* ------------------------------------------------------------------ pictures */

static void make_png(blob *out, bool noise) {
  fm_tensor *t = fm_tensor_new(ctx, FM_U8, &(fm_shape){3, {9, 11, 3}});
  for (int64_t k = 0; k < fm_shape_count(&t->shape); k++)
    fm_tensor_set(t, k, noise ? (double)(k * 37 % 251) : 7);
  assert_int_equal(fm_save_png(ctx, in_folder("it"), t), FM_OK);
  fm_tensor_drop(t);
  load_blob(in_folder("it"), out);
}

static void mend_png(blob *b) {
  for (size_t at = 8; at + 12 <= b->n;) {
    const uint8_t *c = b->b + at;
    const size_t n = (size_t)c[0] << 24 | (size_t)c[1] << 16 | (size_t)c[2] << 8 | c[3];
    if (n > b->n - at - 12) return;
    const uint32_t crc = __builtin_bswap32((uint32_t)crc32(0, c + 4, (uInt)(n + 4)));
    memcpy(b->b + at + 8 + n, &crc, 4);
    at += 12 + n;
  }
}

static void read_picture(const char *path, const blob *bytes) {
  fm_image m;
  (void)path;
  fm_err err = fm_image_decode(ctx, "it", bytes->b, bytes->n, &m);
  judge(err);
  if (!err) fm_image_free(ctx, &m);
}

static void test_pictures(void **state) {
  static blob good;
  (void)state;
  for (int k = 0; k < 2; k++) {
    make_png(&good, k);
    rounds(&good, mend_png, read_picture);
    small_jpeg(&good, k);
    rounds(&good, NULL, read_picture);
  }
}

/* ------------------------------------------------------------------ archives */

static void make_archive(blob *out, const char *kind) {
  static blob picture;
  make_png(&picture, true);
  struct archive *a = archive_begin(out, kind);
  for (int k = 0; k < 3; k++) {
    char name[64];
    snprintf(name, sizeof name, "set/\xc3\xb6%d.png", k);
    archive_add(a, name, picture.b, picture.n);
  }
  archive_end(a);
}

static fm_err import(const char *path, const char *out) {
  fm_source *s = fm_source_open(ctx, path);
  if (s == NULL) return fm_error_code(ctx);
  int64_t place[64], files = 1, n = 0;
  uint8_t label[64] = {0};
  for (int64_t k = 0; k < fm_source_count(s) && k < 64; k++)
    place[k] = strstr(fm_source_name(s, k), ".png") ? n++ : -1;
  const fm_pack_info info = {
      .count = n ? n : 1, .height = SIDE, .width = SIDE, .channels = 3, .train = 1};
  fm_pack p;
  fm_err err = fm_source_count(s) > 64 ? fm_fail(ctx, FM_EDATA, "more than 64 files were found")
                                       : fm_pack_create(&p, ctx, out, &info);
  if (fm_source_count(s) <= 64) {
    while (!err && files) err = fm_pack_take(&p, s, &(fm_intake){place, label, 0, 0, 0, 0}, &files);
    fm_pack_close(&p);
  }
  fm_source_close(s);
  return err;
}

static void read_archive(const char *path, const blob *bytes) {
  char out[PATH_ROOM + 8];
  (void)bytes;
  snprintf(out, sizeof out, "%s.images", path);
  judge(import(path, out));
  assert_int_equal(access(out, F_OK), -1);
}

static void test_archives(void **state) {
  static blob good;
  (void)state;
  static const char *const kinds[] = {"zip", "tar", "pax", "gz", "xz", "bz2"};
  for (int k = 0; k < 6; k++) {
    make_archive(&good, kinds[k]);
    rounds(&good, NULL, read_archive);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_npy), TEST(test_safetensors), TEST(test_pack),
                                     TEST(test_pictures), TEST(test_archives)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
