/*
** test_intake.c - what an import takes from an archive: names in any alphabet and locale, memory
** within a budget however many threads decode, numbers that fit, and no work without bound.
*/
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <sys/stat.h>

#include "io/archive.h"
#include "io/image.h"
#include "standin/standin.h"
#include "scratch.h"

#include "made_files.h"

enum { SIDE = 4, ROOM = 1 << 20 };

static char bytes[ROOM];
static size_t size;

/* ------------------------------------------------------------------ making archives */

static struct archive *start(const char *kind) {
  struct archive *a = archive_write_new();
  if (strcmp(kind, "zip") == 0)
    archive_write_set_format_zip(a);
  else
    archive_write_set_format_ustar(a);
  if (strcmp(kind, "xz") == 0) archive_write_add_filter_xz(a);
  assert_int_equal(archive_write_open_memory(a, bytes, sizeof bytes, &size), ARCHIVE_OK);
  return a;
}

static const char *finish(struct archive *a) {
  archive_end(a);
  const char *path = in_folder("a.archive");
  dump(path, bytes, size);
  return path;
}

/* The mark that says names are UTF-8, in every header of a zip file. */
static void mark_utf8(void) {
  for (size_t k = 0; k + 10 < size; k++) {
    if (memcmp(bytes + k, "PK\3\4", 4) == 0) bytes[k + 7] |= 8;
    if (memcmp(bytes + k, "PK\1\2", 4) == 0) bytes[k + 9] |= 8;
  }
}

static void check_name(const char *path, const char *want) {
  fm_source *s = fm_source_open(ctx, path);
  if (s == NULL) fail_msg("%s", fm_error(ctx));
  uint8_t wanted[1] = {1}, content[8];
  int64_t k;
  size_t got;
  assert_int_equal(fm_source_count(s), 1);
  assert_string_equal(fm_source_name(s, 0), want);
  assert_int_equal(fm_source_next(s, wanted, &k), FM_OK);
  assert_int_equal(k, 0);
  assert_int_equal(fm_source_read(s, content, sizeof content, &got), FM_OK);
  assert_int_equal(got, 4);
  assert_int_equal(fm_source_next(s, wanted, &k), FM_OK);
  assert_int_equal(k, -1);
  fm_source_close(s);
}

/* ------------------------------------------------------------------ names */

/* The bytes of a name in an archive, the name expected, and whether it is marked as UTF-8. */
static const struct {
  const char *raw, *want;
  bool marked;
} spellings[] = {
    {"set/Gr\xc3\xb6\xc3\x9f"
     "e/1.png",
     "set/Gr\xc3\xb6\xc3\x9f"
     "e/1.png",
     true},
    {"set/Gr\xc3\xb6\xc3\x9f"
     "e/1.png",
     "set/Gr\xc3\xb6\xc3\x9f"
     "e/1.png",
     false},
    {"\xe6\x97\xa5\xe6\x9c\xac/\xf0\x9f\x90\x88.png",
     "\xe6\x97\xa5\xe6\x9c\xac/\xf0\x9f\x90\x88.png", true},
    {"gr\x94\xe1"
     "e.png",
     "gr\xc3\xb6\xc3\x9f"
     "e.png",
     false}, /* code page 437 */
    {"\xdb\xfe.png", "\xe2\x96\x88\xe2\x96\xa0.png", false},
};

static void test_names(void **state) {
  static const char *const locales[] = {"C", "C.UTF-8"};
  (void)state;
  for (int l = 0; l < 2; l++) {
    assert_non_null(setlocale(LC_ALL, locales[l]));
    for (size_t k = 0; k < sizeof spellings / sizeof *spellings; k++)
      for (int tar = 0; tar < 2; tar++) {
        setlocale(LC_ALL, "C"); /* names are written unchanged */
        struct archive *a = start(tar ? "tar" : "zip");
        archive_add(a, spellings[k].raw, "text", 4);
        archive_write_close(a);
        if (spellings[k].marked && !tar) mark_utf8();
        const char *path = finish(a);
        setlocale(LC_ALL, locales[l]);
        check_name(path, spellings[k].want);
      }
  }
  setlocale(LC_ALL, "C");
}

/* A false mark: imported under some name, or refused in a sentence, the same every time. */
static void test_lying_mark(void **state) {
  (void)state;
  struct archive *a = start("zip");
  archive_add(a, "a\xff\xfe/1.png", "text", 4);
  archive_write_close(a);
  mark_utf8();
  const char *path = finish(a);
  fm_source *s = fm_source_open(ctx, path);
  if (s == NULL) {
    assert_refused(fm_error_code(ctx), path, "'");
    return;
  }
  assert_true(fm_utf8_ok(fm_source_name(s, 0)));
  uint8_t wanted[1] = {1};
  int64_t k;
  assert_int_equal(fm_source_next(s, wanted, &k), FM_OK);
  fm_source_close(s);
}

static void test_escaping_names(void **state) {
  static const char *const names[] = {"../a.png", "/etc/a.png", "x/../../a.png", "x/..",
                                      "\xc3\xb6/../../a.png"};
  (void)state;
  for (size_t k = 0; k < sizeof names / sizeof *names; k++)
    for (int marked = 0; marked < 2; marked++) {
      struct archive *a = start("zip");
      archive_add(a, names[k], "text", 4);
      archive_write_close(a);
      if (marked) mark_utf8();
      const char *path = finish(a);
      assert_null(fm_source_open(ctx, path));
      assert_refused(fm_error_code(ctx), path, "points outside");
    }
}

/* ------------------------------------------------------------------ pictures that would be lost */

/* The verdict on an archive of two files of these names, of which the first `taken` are taken. */
static fm_err check_two(const char *kind, const char *first, const char *second, int taken) {
  struct archive *a = start(kind);
  archive_add(a, first, "text", 4);
  archive_add(a, second, "text", 4);
  archive_write_close(a);
  fm_source *s = fm_source_open(ctx, finish(a));
  if (s == NULL) fail_msg("%s", fm_error(ctx));
  const int64_t place[2] = {0, taken == 2 ? 1 : -1};
  assert_int_equal(fm_source_count(s), 2);
  fm_err err = fm_source_check(s, place);
  fm_source_close(s);
  return err;
}

static void test_twice(void **state) {
  static const char *const same[] = {"a/1.png", "./a/1.png", "a//1.png", "a/./1.png", ".//a/1.png"};
  (void)state;
  for (size_t k = 0; k < sizeof same / sizeof *same; k++)
    for (int tar = 0; tar < 2; tar++) {
      const char *kind = tar ? "tar" : "zip";
      assert_int_equal(check_two(kind, same[0], same[k], 2), FM_EDATA);
      assert_refused(FM_EDATA, "a.archive", "has a file 'a/1.png' that is in it twice");
      assert_int_equal(check_two(kind, same[0], same[k], 1), FM_OK); /* as a text may be */
    }
  assert_int_equal(check_two("zip", "a/1.png", "b/1.png", 2), FM_OK);
}

static void test_other_formats(void **state) {
  static const char *const others[] = {"b/2.webp", "2.BMP", "b/2.jfif", "b.c/2.TIFF"};
  static const char *const left[] = {"2.txt", "2", "b/.2.webp", "__MACOSX/2.bmp", "a.bmp/2.json"};
  (void)state;
  for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
    assert_int_equal(check_two("tar", "a/1.jpg", others[k], 1), FM_EDATA);
    assert_refused(FM_EDATA, others[k], "is not a .jpg, .jpeg or .png; convert it, or remove it");
    assert_int_equal(check_two("tar", "data_batch_1.bin", others[k], 1), FM_OK);
  }
  for (size_t k = 0; k < sizeof left / sizeof *left; k++)
    assert_int_equal(check_two("tar", "a/1.jpg", left[k], 1), FM_OK);
}

/* A link in an archive: refused if it stands for a picture, else passed over. */
static void test_links(void **state) {
  (void)state;
  for (int hard = 0; hard < 2; hard++)
    for (int picture = 0; picture < 2; picture++) {
      struct archive *a = start("tar");
      struct archive_entry *e = archive_entry_new();
      archive_add(a, "1.png", "text", 4);
      archive_entry_set_pathname(e, picture ? "2.png" : "latest");
      archive_entry_set_filetype(e, hard ? AE_IFREG : AE_IFLNK);
      if (hard)
        archive_entry_set_hardlink(e, "1.png");
      else
        archive_entry_set_symlink(e, "1.png");
      assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
      archive_entry_free(e);
      archive_write_close(a);
      const char *path = finish(a);
      if (!picture) {
        check_name(path, "1.png");
        continue;
      }
      assert_null(fm_source_open(ctx, path));
      assert_refused(fm_error_code(ctx), path, "has a file '2.png' that is a link, which is not");
    }
}

/* ------------------------------------------------------------------ bounds */

static fm_err import(const char *path, int64_t count, const fm_intake *plan, int64_t place) {
  fm_source *s = fm_source_open(ctx, path);
  if (s == NULL) return fm_error_code(ctx);
  int64_t places[64], files = 1;
  uint8_t label[64] = {0};
  for (int64_t k = 0; k < fm_source_count(s) && k < 64; k++) places[k] = place < 0 ? k : place;
  const fm_pack_info info = {
      .count = count, .height = SIDE, .width = SIDE, .channels = 3, .train = 1, .text = "{}"};
  fm_intake it = *plan;
  it.place = places, it.label = label;
  fm_pack p;
  fm_err err = fm_pack_create(&p, ctx, in_folder("a.images"), &info);
  while (!err && files) err = fm_pack_take(&p, s, &it, &files);
  if (!err) err = fm_pack_finish(&p);
  fm_pack_close(&p);
  fm_source_close(s);
  return err;
}

/* Large pictures that compress to nothing, and more threads than fit into the budget. */
static void test_budget(void **state) {
  enum { PICTURES = 6, LARGE = 3600 };
  (void)state;
  const char *first = in_folder("0.png");
  fm_tensor *t = fm_tensor_new(ctx, FM_U8, &(fm_shape){3, {LARGE, LARGE, 3}});
  assert_int_equal(fm_save_png(ctx, first, t), FM_OK);
  fm_tensor_drop(t);
  char *picture;
  size_t n;
  assert_int_equal(fm_read_file(ctx, first, &picture, &n), FM_OK);
  struct archive *a = start("zip");
  for (int k = 0; k < PICTURES; k++) {
    char name[16];
    snprintf(name, sizeof name, "%d.png", k);
    archive_add(a, name, picture, n);
  }
  fm_free(ctx, picture, n + 1);
  const char *path = finish(a);
  assert_true(size < 4096);
  fm_ctx *quiet = ctx; /* its peak includes the tensor */
  ctx = fm_ctx_new(8);
  assert_int_equal(import(path, PICTURES, &(fm_intake){0}, -1), FM_OK);
  const size_t peak = fm_bytes_peak(ctx), left = fm_bytes_now(ctx);
  fm_ctx_free(ctx);
  ctx = quiet;
  assert_int_equal(left, 0);
  assert_true(peak > (size_t)LARGE * LARGE * 3);
  assert_true(peak < ((size_t)1 << 27) + ((size_t)1 << 24));
}

/* Overwrite the size of the first file in a tar. */
static void state_size(const char field[12]) {
  unsigned sum = 0;
  memcpy(bytes + 124, field, 12);
  memset(bytes + 148, ' ', 8);
  for (int k = 0; k < 512; k++) sum += (unsigned char)bytes[k];
  snprintf(bytes + 148, 8, "%06o", sum);
}

/* A small archive is not unpacked to more bytes than images could compress from. */
static void test_ratio(void **state) {
  (void)state;
  struct archive *a = start("tar");
  archive_add(a, "0.png", "", 0);
  archive_write_close(a);
  state_size("11300000000"); /* 1200 MiB */
  const char *path = finish(a);
  assert_null(fm_source_open(ctx, path));
  assert_refused(fm_error_code(ctx), path, "unpacks to more than 10");
}

/* Numbers from an archive and from a caller, near the limits of their ranges. */
static void test_numbers(void **state) {
  static const int64_t odd[] = {-1, -2, INT64_MIN, INT64_MAX, INT64_MAX - 1, 1LL << 62, 1LL << 32};
  (void)state;
  struct archive *a = start("tar");
  archive_add(a, "data_batch_1.bin", "text", 4);
  char path[PATH_ROOM + 32];
  strcpy(path, finish(a));
  for (size_t k = 0; k < sizeof odd / sizeof *odd; k++) {
    const fm_intake plans[] = {{.records = odd[k]},
                               {.height = odd[k], .width = 1},
                               {.width = odd[k], .height = 1},
                               {.crop = odd[k]}};
    for (int j = 0; j < 4; j++) {
      assert_int_equal(import(path, 1, &plans[j], -1), FM_EUSAGE);
      fm_error_clear(ctx);
    }
    if (odd[k] == -1) continue; /* -1 means that the file is not wanted */
    if (odd[k] > 0) {
      assert_int_equal(import(path, 1, &(fm_intake){0}, odd[k]), FM_EUSAGE);
      fm_error_clear(ctx);
    }
    const fm_pack_info info = {
        .count = 4, .height = 32, .width = 32, .channels = 3, .train = 1, .classes = 10};
    fm_pack p;
    assert_int_equal(fm_pack_create(&p, ctx, in_folder("s.images"), &info), FM_OK);
    const uint8_t pixel = 0;
    for (int j = 0; j < 2; j++) {
      const int64_t at = j ? 1 : odd[k], n = j ? odd[k] : 4;
      assert_int_equal(fm_standin_draw(&p, FM_OBJECTS, 1, at, n), FM_EUSAGE);
      fm_error_clear(ctx);
      assert_int_equal(fm_pack_put(&p, at, n, &pixel, NULL), FM_EUSAGE);
      fm_error_clear(ctx);
    }
    fm_pack_close(&p);
  }
}

/* Two sizes near 2^63 in a tar: their sum must not overflow. */
static void test_huge_sizes(void **state) {
  (void)state;
  struct archive *a = start("tar");
  archive_add(a, "0.png", "", 0);
  archive_write_close(a);
  for (int k = 0; k < 2; k++) {
    state_size(k ? "\377\377\377\377\200\0\0\0\0\0\0" /* negative */
                 : "\200\0\0\0\177\377\377\377\377\377\377\377");
    dump(in_folder("a.archive"), bytes, size);
    fm_source *s = fm_source_open(ctx, in_folder("a.archive"));
    if (s) {
      fm_source_close(s); /* libarchive treats a negative size as absent */
      continue;
    }
    assert_refused(fm_error_code(ctx), "a.archive", "'");
  }
  archive_write_free(a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_names),         TEST(test_lying_mark), TEST(test_escaping_names), TEST(test_budget),
      TEST(test_ratio),         TEST(test_numbers),    TEST(test_huge_sizes),     TEST(test_twice),
      TEST(test_other_formats), TEST(test_links)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
