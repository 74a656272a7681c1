/*
** made_files.h - pictures and archives created in memory, for tests of their readers. Include it
** after scratch.h.
*/
#ifndef MADE_FILES_H
#define MADE_FILES_H

#include <archive.h>
#include <archive_entry.h>
#include <jpeglib.h>

enum { MOST = 1 << 17 };

typedef struct blob {
  size_t n;
  uint8_t b[MOST];
} blob;

typedef struct jpeg_kind {
  int w, h, channels, quality;
  J_COLOR_SPACE space;
  bool progressive;
  uint8_t (*value)(int x, int y, int c);
} jpeg_kind;

static inline void encode_jpeg(blob *out, const jpeg_kind *kind) {
  struct jpeg_compress_struct c;
  struct jpeg_error_mgr err;
  unsigned char *bytes = NULL;
  unsigned long n = 0;
  JSAMPLE row[256];
  JSAMPROW at = row;
  assert_true(kind->w * kind->channels <= (int)sizeof row);
  c.err = jpeg_std_error(&err);
  jpeg_create_compress(&c);
  jpeg_mem_dest(&c, &bytes, &n);
  c.image_width = (JDIMENSION)kind->w, c.image_height = (JDIMENSION)kind->h;
  c.input_components = kind->channels, c.in_color_space = kind->space;
  jpeg_set_defaults(&c);
  jpeg_set_quality(&c, kind->quality, TRUE);
  if (kind->progressive) jpeg_simple_progression(&c);
  jpeg_start_compress(&c, TRUE);
  for (int y = 0; y < kind->h; y++) {
    for (int k = 0; k < kind->channels * kind->w; k++)
      row[k] = kind->value(k / kind->channels, y, k % kind->channels);
    jpeg_write_scanlines(&c, &at, 1);
  }
  jpeg_finish_compress(&c);
  assert_true(n < MOST);
  memcpy(out->b, bytes, out->n = n);
  free(bytes);
  jpeg_destroy_compress(&c);
}

static inline uint8_t slanted(int x, int y, int c) { return (uint8_t)((3 * x + c) * 7 + y * 11); }

/* A picture of 24 x 20 pixels. */
static inline void small_jpeg(blob *out, bool progressive) {
  encode_jpeg(out, &(jpeg_kind){24, 20, 3, 75, JCS_RGB, progressive, slanted});
}

/* An archive that is written to `out`: "zip", "pax", "tar", or a tar with the filter "gz", "xz" or
   "bz2". */
static inline struct archive *archive_begin(blob *out, const char *kind) {
  struct archive *a = archive_write_new();
  if (strcmp(kind, "zip") == 0)
    archive_write_set_format_zip(a);
  else if (strcmp(kind, "pax") == 0)
    archive_write_set_format_pax(a);
  else
    archive_write_set_format_ustar(a);
  if (strcmp(kind, "gz") == 0) archive_write_add_filter_gzip(a);
  if (strcmp(kind, "xz") == 0) archive_write_add_filter_xz(a);
  if (strcmp(kind, "bz2") == 0) archive_write_add_filter_bzip2(a);
  assert_int_equal(archive_write_open_memory(a, out->b, MOST, &out->n), ARCHIVE_OK);
  return a;
}

static inline void archive_add(struct archive *a, const char *name, const void *bytes, size_t n) {
  struct archive_entry *e = archive_entry_new();
  archive_entry_set_pathname(e, name);
  archive_entry_set_filetype(e, AE_IFREG);
  archive_entry_set_perm(e, 0644);
  archive_entry_set_size(e, (int64_t)n);
  archive_write_header(a, e);
  archive_write_data(a, bytes, n);
  archive_entry_free(e);
}

static inline void archive_end(struct archive *a) {
  archive_write_close(a);
  archive_write_free(a);
}

static inline void load_blob(const char *path, blob *out) {
  char *bytes;
  assert_int_equal(fm_read_file(ctx, path, &bytes, &out->n), FM_OK);
  assert_true(out->n <= MOST);
  memcpy(out->b, bytes, out->n);
  fm_free(ctx, bytes, out->n + 1);
}

#endif
