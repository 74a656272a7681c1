/*
** test_images.c - pictures, archives and packed files: valid ones of every kind are read correctly,
** damaged ones refused with a sentence. All files are created here.
*/
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <png.h>

#include "scratch.h"

#include "made_files.h"

#include "io/archive.h"
#include "io/image.h"

enum { W = 12, H = 8 };

/* ------------------------------------------------------------------ making files */

static uint8_t value(int x, int y, int c) { return (uint8_t)(20 * x + 7 * y * (c + 1) + 40 * c); }

static uint8_t ink(int x, int y, int c) { return value(x, y, c % 3); }

static void make_jpeg(blob *out, J_COLOR_SPACE space, int channels, bool progressive) {
  encode_jpeg(out, &(jpeg_kind){W, H, channels, 95, space, progressive, ink});
}

static void append(png_structp s, png_bytep bytes, size_t n) {
  blob *out = png_get_io_ptr(s);
  assert_true(out->n + n < MOST);
  memcpy(out->b + out->n, bytes, n);
  out->n += n;
}

static void no_flush(png_structp s) { (void)s; }

static void make_png(blob *out, int colour, int depth, bool interlaced) {
  png_structp s = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(s);
  out->n = 0;
  png_set_write_fn(s, out, append, no_flush);
  png_set_IHDR(s, info, W, H, depth, colour, interlaced ? PNG_INTERLACE_ADAM7 : 0, 0, 0);
  png_color palette[256];
  for (int k = 0; k < 256; k++) palette[k] = (png_color){(png_byte)k, (png_byte)(255 - k), 9};
  if (colour == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(s, info, palette, 256);
  png_write_info(s, info);
  const int channels = png_get_channels(s, info), wide = depth / 8;
  png_byte data[H][W * 8];
  png_bytep rows[H];
  for (int y = 0; y < H; y++) {
    rows[y] = data[y];
    for (int k = 0; k < W * channels * wide; k++)
      data[y][k] = value(k / channels / wide, y, k / wide % channels % 3);
  }
  png_write_image(s, rows);
  png_write_end(s, info);
  png_destroy_write_struct(&s, &info);
}

/* An archive of `count` pictures in two class folders, and a file that is not a picture. */
static void make_archive(blob *out, const char *kind, int count, const blob *picture) {
  struct archive *a = archive_begin(out, kind);
  archive_add(a, "readme.txt", "hello", 5);
  for (int k = 0; k < count; k++) {
    char name[64];
    snprintf(name, sizeof name, "set/%s/%d.png", k % 2 ? "cat" : "dog", k);
    archive_add(a, name, picture->b, picture->n);
  }
  archive_end(a);
}

/* ------------------------------------------------------------------ pictures */

static void check_decoded(const blob *in, int bound, uint8_t (*want)(int, int, int)) {
  fm_image m;
  assert_int_equal(fm_image_decode(ctx, "it", in->b, in->n, &m), FM_OK);
  assert_int_equal(m.h, H);
  assert_int_equal(m.w, W);
  for (int k = 0; k < H * W * 3; k++)
    assert_in_range(m.rgb[k] + 255 - want(k / 3 % W, k / 3 / W, k % 3), 255 - bound, 255 + bound);
  fm_image_free(ctx, &m);
}

static uint8_t grey(int x, int y, int c) { return (void)c, value(x, y, 0); }
static uint8_t mapped(int x, int y, int c) {
  return c == 2 ? 9 : (uint8_t)(c ? 255 - value(x, y, 0) : value(x, y, 0));
}

static void test_kinds(void **state) {
  static blob b;
  (void)state;
  for (int interlaced = 0; interlaced < 2; interlaced++) {
    make_png(&b, PNG_COLOR_TYPE_RGB, 8, interlaced);
    check_decoded(&b, 0, value);
    make_png(&b, PNG_COLOR_TYPE_RGB, 16, interlaced);
    check_decoded(&b, 0, value); /* v v as 16 bits is v as 8 */
    make_png(&b, PNG_COLOR_TYPE_GRAY, 8, interlaced);
    check_decoded(&b, 0, grey);
    make_png(&b, PNG_COLOR_TYPE_PALETTE, 8, interlaced);
    check_decoded(&b, 0, mapped);
  }
  make_jpeg(&b, JCS_GRAYSCALE, 1, false);
  fm_image m;
  assert_int_equal(fm_image_decode(ctx, "it", b.b, b.n, &m), FM_OK);
  for (int k = 0; k < H * W; k++) assert_int_equal(m.rgb[3 * k], m.rgb[3 * k + 2]);
  fm_image_free(ctx, &m);
  for (int progressive = 0; progressive < 2; progressive++) {
    make_jpeg(&b, JCS_RGB, 3, progressive);
    assert_int_equal(fm_image_decode(ctx, "it", b.b, b.n, &m), FM_OK);
    fm_image_free(ctx, &m);
  }
  make_jpeg(&b, JCS_CMYK, 4, false);
  assert_refused(fm_image_decode(ctx, "it", b.b, b.n, &m), "it", "CMYK colours found");
  assert_refused(fm_image_decode(ctx, "it", (const uint8_t *)"GIF89a..", 8, &m), "it", "neither");
  assert_refused(fm_image_decode(ctx, "it", b.b, 0, &m), "it", "empty");
}

static uint8_t *put(uint8_t *to, uint32_t x, uint32_t bytes, bool little) {
  for (uint32_t k = 0; k < bytes; k++) to[k] = (uint8_t)(x >> 8 * (little ? k : bytes - 1 - k));
  return to + bytes;
}

/* A picture whose Exif block, in either byte order, has one entry, or says that it is at `at`. */
static void make_turned(blob *out, uint32_t orientation, bool little, uint32_t at) {
  static blob plain;
  const uint32_t number[][2] = {{42, 2}, {at, 4},          {1, 2}, {0x112, 2}, {3, 2},
                                {1, 4},  {orientation, 2}, {0, 2}, {0, 4}};
  uint8_t *to = out->b + 14;
  make_jpeg(&plain, JCS_RGB, 3, false);
  memcpy(out->b, plain.b, 2);
  memcpy(out->b + 2,
         "\xff\xe1\0\x22"
         "Exif\0",
         10);
  memset(out->b + 12, little ? 'I' : 'M', 2);
  for (size_t k = 0; k < sizeof number / sizeof *number; k++)
    to = put(to, number[k][0], number[k][1], little);
  memcpy(to, plain.b + 2, plain.n - 2);
  out->n = plain.n + 36;
}

/* Where row 0 and column 0 of the file are in the picture, as Exif defines orientations 1 to 8. */
static void check_turned(const fm_image *is, const fm_image *was, int orientation) {
  static const char place[8][3] = {"tl", "tr", "br", "bl", "lt", "rt", "rb", "lb"};
  const char *rows = place[orientation - 1], *columns = rows + 1;
  const bool turned = orientation > 4;
  assert_int_equal(is->h, turned ? W : H);
  assert_int_equal(is->w, turned ? H : W);
  for (int r = 0; r < H; r++)
    for (int c = 0; c < W; c++) {
      const int a = strchr("tl", *rows) ? r : H - 1 - r, b = strchr("tl", *columns) ? c : W - 1 - c;
      const int64_t at = turned ? b * is->w + a : a * is->w + b;
      assert_memory_equal(is->rgb + 3 * at, was->rgb + 3 * (r * W + c), 3);
    }
}

static void test_turned(void **state) {
  static blob b;
  fm_image was, is;
  (void)state;
  make_jpeg(&b, JCS_RGB, 3, false);
  assert_int_equal(fm_image_decode(ctx, "it", b.b, b.n, &was), FM_OK);
  for (int k = 0; k <= 9; k++)
    for (int how = 0; how < 4; how++) { /* an entry that is not in the block is none */
      make_turned(&b, (uint32_t)k, how & 1, how & 2 ? 200 : 8);
      assert_int_equal(fm_image_decode(ctx, "it", b.b, b.n, &is), FM_OK);
      check_turned(&is, &was, k >= 1 && k <= 8 && how < 2 ? k : 1);
      fm_image_free(ctx, &is);
    }
  fm_image_free(ctx, &was);
}

static void test_transparent(void **state) {
  static blob b;
  fm_image m;
  (void)state;
  make_png(&b, PNG_COLOR_TYPE_RGB_ALPHA, 8, false); /* the fourth channel is value(x, y, 0) */
  assert_int_equal(fm_image_decode(ctx, "it", b.b, b.n, &m), FM_OK);
  for (int k = 0; k < H * W; k++) {
    const int a = value(k % W, k / W, 0), v = value(k % W, k / W, 1);
    assert_in_range(m.rgb[3 * k + 1] + 1 - (v * a + 255 * (255 - a)) / 255, 0, 2);
  }
  fm_image_free(ctx, &m);
}

/* Area averaging keeps constants, takes a ramp to its value at the centre, and is exact. */
static void test_fit(void **state) {
  uint8_t source[5 * 7 * 3], out[4 * 4 * 3];
  (void)state;
  fm_image m = {.h = 5, .w = 7, .rgb = source};
  memset(source, 77, sizeof source);
  fm_image_fit(&m, 5, 5, 3, out);
  for (int k = 0; k < 27; k++) assert_int_equal(out[k], 77);
  for (int k = 0; k < 5 * 7 * 3; k++) source[k] = (uint8_t)(k / 3 % 7 * 30);
  fm_image_fit(&m, 4, 4, 2, out); /* columns 1, 2 and 3, 4 */
  assert_int_equal(out[0], 45);
  assert_int_equal(out[3], 105);
  fm_image_fit(&m, 5, 5, 3, out); /* 5/3 wide: columns 1, 2 (2/3); 2 (1/3), 3, 4 (1/3); ... */
  assert_int_equal(out[0], (30 * 3 + 60 * 2) / 5);
  assert_int_equal(out[3], 90);
}

static int damaged_files; /* number of files refused */

/* Assert FM_EDATA and one sentence. */
static void assert_sentence(fm_err err) {
  assert_int_equal(err, FM_EDATA);
  assert_true(strlen(fm_error(ctx)) > 10 && !strpbrk(fm_error(ctx), "\n\r"));
  fm_error_clear(ctx);
  damaged_files++;
}

/* Truncated pictures are refused if their format has an end mark; flipped bits never do harm. */
static void test_damaged_pictures(void **state) {
  static blob b;
  fm_image m;
  (void)state;
  for (int kind = 0; kind < 4; kind++) {
    if (kind < 2)
      make_jpeg(&b, JCS_RGB, 3, kind == 1);
    else
      make_png(&b, PNG_COLOR_TYPE_RGB, 8, kind == 3);
    for (int k = 0; k < 20; k++, damaged_files++)
      assert_refused(fm_image_decode(ctx, "it", b.b, b.n * (size_t)k / 20, &m), "it", "image");
    for (size_t k = 0; k < b.n; k++) {
      b.b[k] ^= (uint8_t)(1 << k % 8);
      fm_err err = fm_image_decode(ctx, "it", b.b, b.n, &m);
      b.b[k] ^= (uint8_t)(1 << k % 8);
      if (err)
        assert_refused(err, "it", "image"), damaged_files++;
      else
        fm_image_free(ctx, &m);
    }
  }
  assert_true(damaged_files >= 50);
}

/* A header that announces 60,000 x 60,000 pixels causes no allocation. */
static void test_bomb(void **state) {
  static blob b;
  fm_image m;
  (void)state;
  make_jpeg(&b, JCS_RGB, 3, false);
  for (size_t k = 0; k + 9 < b.n; k++)
    if (b.b[k] == 0xff && b.b[k + 1] == 0xc0) b.b[k + 5] = b.b[k + 7] = 0xea;
  assert_refused(fm_image_decode(ctx, "it", b.b, b.n, &m), "it", "pixels found");
  assert_true(fm_bytes_peak(ctx) < 1 << 20);
}

/* ------------------------------------------------------------------ archives */

enum { COUNT = 6, SIDE = 4 };

/* Import all pictures of an archive, in its order; the result at `out` or nothing. */
static fm_err import(const char *path, const char *out) {
  fm_source *s = fm_source_open(ctx, path);
  if (s == NULL) return fm_error_code(ctx);
  int64_t place[16], files = 1, n = 0;
  uint8_t label[16] = {0};
  for (int64_t k = 0; k < fm_source_count(s) && k < 16; k++)
    place[k] = strstr(fm_source_name(s, k), ".png") ? n++ : -1;
  fm_pack p;
  const fm_pack_info info = {.count = n ? n : 1,
                             .height = SIDE,
                             .width = SIDE,
                             .channels = 3,
                             .train = 1,
                             .classes = 1,
                             .text = "{}"};
  fm_err err = fm_pack_create(&p, ctx, out, &info);
  while (!err && files) err = fm_pack_take(&p, s, &(fm_intake){place, label, 0, 0, 0, 0}, &files);
  if (!err) err = fm_pack_finish(&p);
  fm_pack_close(&p);
  fm_source_close(s);
  return err;
}

/* An intact archive of COUNT copies of a picture is imported as that many images. */
static void check_import(const char *path, const char *out, const blob *picture) {
  fm_tensor *table, *labels;
  uint8_t want[SIDE * SIDE * 3];
  fm_image m;
  assert_int_equal(import(path, out), FM_OK);
  assert_int_equal(fm_pack_map(ctx, out, 0, COUNT, NULL, &table, &labels), FM_OK);
  assert_int_equal(fm_image_decode(ctx, "it", picture->b, picture->n, &m), FM_OK);
  fm_image_fit(&m, H, H, SIDE, want);
  for (int k = 0; k < COUNT; k++)
    assert_memory_equal((uint8_t *)table->data + k * (int)sizeof want, want, sizeof want);
  fm_image_free(ctx, &m);
  fm_tensor_drop(table);
  fm_tensor_drop(labels);
  unlink(out);
}

/* Import an archive that may be damaged: all of it or nothing. Whether it was refused. */
static int import_damaged(const char *path, const char *out, bool must_fail) {
  fm_err err = import(path, out);
  if (err || must_fail) assert_sentence(err);
  assert_int_equal(access(out, F_OK), err ? -1 : 0);
  unlink(out);
  return err != FM_OK;
}

static void test_archives(void **state) {
  static const char *const kinds[] = {"zip", "tar", "gz", "xz"};
  static blob picture, b;
  (void)state;
  const char *path = in_folder("a.archive"), *out = in_folder("a.images");
  int refused = 0;
  make_png(&picture, PNG_COLOR_TYPE_RGB, 8, false);
  for (int kind = 0; kind < 4; kind++) {
    make_archive(&b, kinds[kind], COUNT, &picture);
    dump(path, b.b, b.n);
    check_import(path, out, &picture);
    for (int k = 0; k < 15; k++) { /* truncated; a plain tar may end between two of its files */
      dump(path, b.b, b.n * (size_t)k / 15 - (k ? 1 : 0));
      refused += import_damaged(path, out, kind != 1);
    }
    for (int k = 0; k < 60; k++) { /* a flipped bit: refused or harmless */
      const size_t at = b.n * (size_t)k / 60;
      b.b[at] ^= 0x10;
      dump(path, b.b, b.n);
      b.b[at] ^= 0x10;
      refused += import_damaged(path, out, false);
    }
    if (kind == 2) { /* a wrong checksum at the very end, after all images */
      b.b[b.n - 6] ^= 1;
      dump(path, b.b, b.n);
      assert_sentence(import(path, out));
    }
    assert_int_equal(list(false), 1); /* no temporary file is left */
  }
  assert_true(refused >= 100);
}

/* An archive of one file with the given name: stored in a tar, compressed in a zip. */
static void make_single(blob *out, bool zip, const char *name, const void *bytes, size_t n) {
  struct archive *a = archive_begin(out, zip ? "zip" : "tar");
  archive_add(a, name, bytes, n);
  archive_end(a);
}

/* A file that would unpack to more than a picture, or a disk, may hold is abandoned early. */
static void test_zip_bomb(void **state) {
  static blob b;
  (void)state;
  const char *path = in_folder("a.archive"), *out = in_folder("a.images");
  const size_t n = FM_IMAGE_FILE + 1;
  void *zeros = calloc(n, 1);
  make_single(&b, true, "dog/0.png", zeros, n);
  free(zeros);
  dump(path, b.b, b.n);
  assert_refused(import(path, out), "dog/0.png", "more than 64 MiB found");
  assert_true(fm_bytes_peak(ctx) < 3 * (size_t)FM_IMAGE_FILE / 2 + (1 << 20));

  make_single(&b, false, "dog/0.png", "", 0); /* the size, in binary: 2^38; then the checksum */
  memcpy(b.b + 124, "\200\0\0\0\0\0\0\100\0\0\0\0", 12);
  memset(b.b + 148, ' ', 8);
  unsigned sum = 0;
  for (int k = 0; k < 512; k++) sum += b.b[k];
  snprintf((char *)b.b + 148, 8, "%06o", sum);
  dump(path, b.b, b.n);
  assert_refused(import(path, out), path, "unpacks to more than 1025 MiB");
  assert_int_equal(list(false), 1);
}

static void test_tricks(void **state) {
  static blob b;
  (void)state;
  const char *path = in_folder("a.tar");
  static const char *const names[] = {"../a.png", "/etc/a.png", "x/../../a.png"};
  for (int k = 0; k < 3; k++) {
    make_single(&b, false, names[k], "", 0);
    dump(path, b.b, b.n);
    assert_null(fm_source_open(ctx, path));
    assert_refused(fm_error_code(ctx), path, "points outside");
  }
}

/* ------------------------------------------------------------------ packed files */

/* Three images, written in two parts out of order, and the last of them mapped. */
static void pack_three(const char *path) {
  const uint8_t pixels[3 * 12] = {1, 2, 3}, labels[3] = {1, 0, 1};
  fm_pack p;
  fm_pack_info i = {.count = 3,
                    .height = 2,
                    .width = 2,
                    .channels = 3,
                    .train = 2,
                    .classes = 2,
                    .text = "{\"title\": \"t\"}"};
  assert_int_equal(fm_pack_create(&p, ctx, path, &i), FM_OK);
  assert_int_equal(fm_pack_put(&p, 1, 2, pixels + 12, labels + 1), FM_OK);
  assert_int_equal(fm_pack_finish(&p), FM_EDATA); /* one image is missing */
  fm_error_clear(ctx);
  assert_int_equal(fm_pack_put(&p, 0, 1, pixels, labels), FM_OK);
  assert_int_equal(fm_pack_finish(&p), FM_OK);
  fm_pack_close(&p);
  assert_int_equal(fm_pack_verify(ctx, path, NULL), FM_OK);
  fm_tensor *table, *numbers;
  assert_int_equal(fm_pack_map(ctx, path, 2, 1, NULL, &table, &numbers), FM_OK);
  assert_int_equal(fm_tensor_get(numbers, 0), 1);
  assert_memory_equal(table->data, pixels + 24, 12);
  fm_tensor_drop(table);
  fm_tensor_drop(numbers);
}

static void test_packed(void **state) {
  char *bytes;
  size_t n;
  fm_pack_info i;
  (void)state;
  const char *path = in_folder("a.images");
  pack_three(path);
  assert_int_equal(fm_read_file(ctx, path, &bytes, &n), FM_OK);
  for (size_t k = 0; k <= n + 1; k += k < 200 ? 1 : 97) { /* truncated, or with one byte more */
    if (k == n) continue;
    dump(path, bytes, k);
    assert_refused(fm_pack_look(ctx, path, &i), path, "'");
  }
  for (size_t k = 0; k < n; k += k < 200 || k > 4090 ? 1 : 97) {
    bytes[k] ^= 4;
    dump(path, bytes, n);
    bytes[k] ^= 4;
    assert_refused(fm_pack_verify(ctx, path, NULL), path, "'");
  }
  fm_free(ctx, bytes, n + 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_kinds),    TEST(test_turned),           TEST(test_transparent),
      TEST(test_fit),      TEST(test_damaged_pictures), TEST(test_bomb),
      TEST(test_archives), TEST(test_zip_bomb),         TEST(test_tricks),
      TEST(test_packed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
