/*
** image.c - decoding JPEG and PNG, cropping and resizing, writing PNG. Both libraries leave a
** failed call by longjmp, so everything that must then be freed is kept in a struct, not in locals.
*/
#include "image.h"
#include "../map.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

static fm_err damaged(fm_ctx *ctx, const char *name, const char *why) {
  char shown[64];
  return fm_fail(ctx, FM_EDATA, "image '%s': %s", fm_shown(name, shown), why);
}

static fm_err no_memory(fm_ctx *ctx, const char *name) {
  char shown[64];
  return fm_fail(ctx, FM_ENOMEM, "image '%s': no memory to read it", fm_shown(name, shown));
}

/* ------------------------------------------------------------------ the threads' memory budget */

void fm_budget_open(fm_budget *b, size_t most) {
  *b = (fm_budget){.most = most};
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->freed, NULL);
}

void fm_budget_close(fm_budget *b) {
  pthread_cond_destroy(&b->freed);
  pthread_mutex_destroy(&b->lock);
}

static void claim(fm_image *image, size_t bytes) {
  fm_budget *b = image->budget;
  if (b == NULL) return;
  pthread_mutex_lock(&b->lock);
  while (b->used > 0 && b->used + bytes > b->most) pthread_cond_wait(&b->freed, &b->lock);
  b->used += bytes;
  pthread_mutex_unlock(&b->lock);
  image->claim = bytes;
}

static void release(fm_image *image) {
  fm_budget *b = image->budget;
  if (b == NULL || image->claim == 0) return;
  pthread_mutex_lock(&b->lock);
  b->used -= image->claim;
  pthread_cond_broadcast(&b->freed);
  pthread_mutex_unlock(&b->lock);
  image->claim = 0;
}

/* Check the size and allocate the result. extra: bytes per pixel that decoding needs besides it. */
static fm_err allocate(fm_ctx *ctx, const char *name, uint64_t h, uint64_t w, size_t extra,
                       fm_image *out) {
  char why[128];
  snprintf(why, sizeof why, "%llu x %llu pixels found, expected 1 to %d a side and at most %d",
           (unsigned long long)w, (unsigned long long)h, FM_IMAGE_SIDE, FM_IMAGE_PIXELS);
  if (h < 1 || w < 1 || h > FM_IMAGE_SIDE || w > FM_IMAGE_SIDE || h * w > FM_IMAGE_PIXELS) {
    damaged(ctx, name, why);
    return FM_EDATA;
  }
  claim(out, (size_t)(h * w) * (3 + extra));
  out->h = (int64_t)h, out->w = (int64_t)w;
  return (out->rgb = fm_alloc(ctx, (size_t)(h * w * 3))) ? FM_OK : FM_ENOMEM;
}

void fm_image_free(fm_ctx *ctx, fm_image *image) {
  if (image->rgb) fm_free(ctx, image->rgb, (size_t)(image->h * image->w * 3));
  image->rgb = NULL;
  release(image);
}

/* ------------------------------------------------------------------ JPEG */

enum { MAX_SCANS = 200 }; /* a progressive file could request unlimited work */

typedef struct jpeg {
  struct jpeg_decompress_struct d;
  struct jpeg_error_mgr err;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  char why[JMSG_LENGTH_MAX];
} jpeg;

static void jpeg_escape(j_common_ptr d) {
  jpeg *j = d->client_data;
  if (!j->why[0]) d->err->format_message(d, j->why);
  longjmp(j->escape, 1);
}

/* A warning (level < 0) means that libjpeg invented pixels: an error here. Traces are ignored. */
static void jpeg_message(j_common_ptr d, int level) {
  if (level < 0) jpeg_escape(d);
}

static void jpeg_watch(j_common_ptr d) {
  jpeg *j = d->client_data;
  if (((j_decompress_ptr)d)->input_scan_number <= MAX_SCANS) return;
  snprintf(j->why, sizeof j->why, "more than %d scans found", MAX_SCANS);
  jpeg_escape(d);
}

/* A number of an Exif block, whose byte order its first letter tells. */
static uint32_t number_at(const uint8_t *tiff, size_t at, int bytes) {
  uint32_t x = 0;
  for (int k = 0; k < bytes; k++)
    x = x << 8 | tiff[at + (size_t)(tiff[0] == 'I' ? bytes - 1 - k : k)];
  return x;
}

/*
** The orientation that a camera has noted, 1 to 8, in the first directory of the Exif block, or 1:
** where there is none, or the block is damaged, the picture is as it is.
*/
static int orientation_of(j_decompress_ptr d) {
  enum { EXIF = 6, HEAD = 8, ENTRY = 12, ORIENTATION = 0x112, SHORT = 3 };
  const struct jpeg_marker_struct *m = d->marker_list;
  while (m && (m->data_length < EXIF + HEAD || memcmp(m->data, "Exif\0", EXIF) != 0)) m = m->next;
  if (m == NULL) return 1;
  const uint8_t *tiff = m->data + EXIF;
  const size_t n = m->data_length - EXIF, at = number_at(tiff, 4, 4);
  if (number_at(tiff, 2, 2) != 42 || at > n - 2) return 1;
  const size_t entries = number_at(tiff, at, 2);
  for (size_t e = at + 2, k = 0; k < entries && e + ENTRY <= n; k++, e += ENTRY) {
    if (number_at(tiff, e, 2) != ORIENTATION || number_at(tiff, e + 2, 2) != SHORT) continue;
    const uint32_t value = number_at(tiff, e + 8, 2);
    return value >= 1 && value <= 8 ? (int)value : 1;
  }
  return 1;
}

/* Turn a picture upright: from 5 on rows become columns, and either may run backwards. */
static fm_err turn(fm_ctx *ctx, fm_image *m, int orientation) {
  const bool swap = orientation >= 5, up = orientation > 2 && orientation != 5 && orientation != 8;
  const bool left = orientation == 2 || orientation == 3 || orientation >= 7;
  const int64_t h = swap ? m->w : m->h, w = swap ? m->h : m->w;
  uint8_t *rgb = fm_alloc(ctx, (size_t)(h * w * 3));
  if (rgb == NULL) return FM_ENOMEM;
  for (int64_t y = 0; y < h; y++)
    for (int64_t x = 0; x < w; x++) {
      const int64_t i = swap ? x : y, j = swap ? y : x;
      const int64_t row = up ? m->h - 1 - i : i, column = left ? m->w - 1 - j : j;
      memcpy(rgb + (y * w + x) * 3, m->rgb + (row * m->w + column) * 3, 3);
    }
  fm_free(ctx, m->rgb, (size_t)(h * w * 3));
  m->rgb = rgb, m->h = h, m->w = w;
  return FM_OK;
}

static fm_err jpeg_read(jpeg *j, fm_ctx *ctx, const char *name, const uint8_t *bytes, size_t n,
                        fm_image *out) {
  jpeg_mem_src(&j->d, bytes, (unsigned long)n);
  jpeg_save_markers(&j->d, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&j->d, TRUE);
  const int orientation = orientation_of(&j->d);
  if (j->d.jpeg_color_space == JCS_CMYK || j->d.jpeg_color_space == JCS_YCCK)
    return damaged(ctx, name, "CMYK colours found, expected RGB or greyscale");
  /* With several scans the library keeps all coefficients, two bytes each. */
  size_t extra = jpeg_has_multiple_scans(&j->d) ? 2 * (size_t)j->d.num_components : 0;
  if (orientation > 1 && extra < 3) extra = 3; /* the picture before it is turned */
  fm_err err = allocate(ctx, name, j->d.image_height, j->d.image_width, extra, out);
  if (err) return err;
  j->d.out_color_space = JCS_RGB;
  j->d.dct_method = JDCT_ISLOW;
  j->d.mem->max_memory_to_use = 1L << 29;
  jpeg_start_decompress(&j->d);
  while (j->d.output_scanline < j->d.output_height) {
    JSAMPROW row = out->rgb + (size_t)j->d.output_scanline * (size_t)out->w * 3;
    jpeg_read_scanlines(&j->d, &row, 1);
  }
  jpeg_finish_decompress(&j->d);
  return orientation > 1 ? turn(ctx, out, orientation) : FM_OK;
}

static fm_err jpeg_decode(fm_ctx *ctx, const char *name, const uint8_t *bytes, size_t n,
                          fm_image *out) {
  jpeg j;
  fm_err err;
  memset(&j, 0, sizeof j);
  j.d.err = jpeg_std_error(&j.err);
  j.err.error_exit = jpeg_escape;
  j.err.emit_message = jpeg_message;
  j.d.client_data = &j;
  if (setjmp(j.escape)) {
    const bool memory = j.err.msg_code == JERR_OUT_OF_MEMORY;
    err = memory ? no_memory(ctx, name) : damaged(ctx, name, j.why);
  } else {
    jpeg_create_decompress(&j.d);
    j.d.client_data = &j;
    j.progress.progress_monitor = jpeg_watch;
    j.d.progress = &j.progress;
    err = jpeg_read(&j, ctx, name, bytes, n, out);
  }
  jpeg_destroy_decompress(&j.d);
  return err;
}

/* ------------------------------------------------------------------ PNG */

typedef struct png { /* the state of a read or a write */
  fm_ctx *ctx;
  bool no_memory;
  png_structp s;
  png_infop info;
  png_bytepp rows;
  size_t rows_bytes;
  const uint8_t *bytes;
  size_t left;
  fm_out *out;
  fm_err err;
  char why[128];
} png;

static void png_escape(png_structp s, png_const_charp why) {
  png *p = png_get_error_ptr(s);
  snprintf(p->why, sizeof p->why, "%s", why);
  png_longjmp(s, 1);
}

/* libpng allocates by fm_alloc, so that its memory is counted and can be made to fail. */
enum { PNG_SIZE = 64 }; /* bytes before each block, for its size; they keep the alignment */

static png_voidp png_allocate(png_structp s, png_alloc_size_t n) {
  png *p = png_get_mem_ptr(s);
  size_t *block = n < SIZE_MAX / 2 ? fm_alloc(p->ctx, n + PNG_SIZE) : NULL;
  p->no_memory = p->no_memory || block == NULL;
  if (block == NULL) return NULL;
  *block = n + PNG_SIZE;
  return (char *)block + PNG_SIZE;
}

static void png_release(png_structp s, png_voidp at) {
  png *p = png_get_mem_ptr(s);
  if (at == NULL) return;
  size_t *block = (size_t *)(void *)((char *)at - PNG_SIZE);
  fm_free(p->ctx, block, *block);
}

static void png_ignore(png_structp s, png_const_charp why) { (void)s, (void)why; }

static void png_feed(png_structp s, png_bytep to, size_t n) {
  png *p = png_get_io_ptr(s);
  if (n > p->left) png_error(s, "it ends too early");
  memcpy(to, p->bytes, n);
  p->bytes += n;
  p->left -= n;
}

/* Composite n RGBA pixels on white. */
static void png_flatten(const uint8_t *from, size_t n, uint8_t *rgb) {
  for (; n > 0; n--, from += 4)
    for (int c = 0; c < 3; c++) {
      const int v = from[c] * from[3] + 255 * (255 - from[3]);
      *rgb++ = (uint8_t)((v + 127) / 255);
    }
}

/* The passes of an interlaced picture need all rows in memory, at four bytes per pixel. */
static fm_err png_rows_interlaced(png *p, const fm_image *out) {
  const size_t h = (size_t)out->h, w = (size_t)out->w;
  p->rows_bytes = h * (sizeof(png_bytep) + 4 * w);
  if ((p->rows = fm_alloc(p->ctx, p->rows_bytes)) == NULL) return FM_ENOMEM;
  const png_bytep pixels = (png_bytep)(p->rows + h);
  for (size_t k = 0; k < h; k++) p->rows[k] = pixels + k * 4 * w;
  png_read_image(p->s, p->rows);
  png_read_end(p->s, NULL);
  png_flatten(pixels, h * w, out->rgb);
  return FM_OK;
}

static fm_err png_rows(png *p, const fm_image *out) {
  const size_t w = (size_t)out->w;
  p->rows_bytes = 4 * w;
  if ((p->rows = fm_alloc(p->ctx, p->rows_bytes)) == NULL) return FM_ENOMEM;
  for (int64_t k = 0; k < out->h; k++) {
    png_read_row(p->s, (png_bytep)p->rows, NULL);
    png_flatten((png_bytep)p->rows, w, out->rgb + (size_t)k * 3 * w);
  }
  png_read_end(p->s, NULL);
  return FM_OK;
}

/* Convert every kind of PNG to 8-bit RGBA. Text and profiles in the file are ignored. */
static fm_err png_read_rgba(png *p, const char *name, fm_image *out) {
  png_set_read_fn(p->s, p, png_feed);
  png_set_user_limits(p->s, FM_IMAGE_SIDE, FM_IMAGE_SIDE);
  png_set_chunk_malloc_max(p->s, 1 << 24);
  png_set_chunk_cache_max(p->s, 1); /* keeps none; the default would keep a thousand */
  png_read_info(p->s, p->info);
  const uint64_t h = png_get_image_height(p->s, p->info), w = png_get_image_width(p->s, p->info);
  const bool interlaced = png_get_interlace_type(p->s, p->info) != PNG_INTERLACE_NONE;
  fm_err err = allocate(p->ctx, name, h, w, interlaced ? 4 : 0, out);
  if (err) return err;
  png_set_expand(p->s); /* palettes, greys below 8 bits, transparent colours */
  png_set_scale_16(p->s);
  png_set_gray_to_rgb(p->s);
  png_set_add_alpha(p->s, 255, PNG_FILLER_AFTER);
  png_set_interlace_handling(p->s);
  png_read_update_info(p->s, p->info);
  if (png_get_rowbytes(p->s, p->info) != 4 * w)
    png_error(p->s, "its pixel format is not supported");
  return interlaced ? png_rows_interlaced(p, out) : png_rows(p, out);
}

static fm_err png_decode(fm_ctx *ctx, const char *name, const uint8_t *bytes, size_t n,
                         fm_image *out) {
  png p = {.ctx = ctx, .bytes = bytes, .left = n};
  fm_err err = FM_ENOMEM;
  p.s = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &p, png_escape, png_ignore, &p,
                                 png_allocate, png_release);
  p.info = p.s ? png_create_info_struct(p.s) : NULL;
  if (p.info == NULL) {
    err = no_memory(ctx, name);
  } else if (setjmp(png_jmpbuf(p.s))) {
    err = p.no_memory ? no_memory(ctx, name) : damaged(ctx, name, p.why);
  } else {
    err = png_read_rgba(&p, name, out);
  }
  if (p.rows) fm_free(ctx, p.rows, p.rows_bytes);
  png_destroy_read_struct(&p.s, &p.info, NULL);
  return err;
}

/* ------------------------------------------------------------------ any picture */

fm_err fm_image_decode_within(fm_budget *budget, fm_ctx *ctx, const char *name,
                              const uint8_t *bytes, size_t n, fm_image *out) {
  static const uint8_t is_png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  fm_err err;
  *out = (fm_image){.budget = budget};
  if (n >= 8 && memcmp(bytes, is_png, 8) == 0)
    err = png_decode(ctx, name, bytes, n, out);
  else if (n >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff)
    err = jpeg_decode(ctx, name, bytes, n, out);
  else
    err = damaged(ctx, name, n == 0 ? "it is empty" : "it is neither a JPEG nor a PNG file");
  if (err) fm_image_free(ctx, out);
  return err;
}

fm_err fm_image_decode(fm_ctx *ctx, const char *name, const uint8_t *bytes, size_t n,
                       fm_image *out) {
  return fm_image_decode_within(NULL, ctx, name, bytes, n, out);
}

/*
** Coordinates are counted in units of 1 / n of a source pixel, so that every overlap of a result
** pixel with a source pixel is a whole number and the sums are exact.
*/
void fm_image_fit(const fm_image *m, int64_t ch, int64_t cw, int side, uint8_t *rgb) {
  const int64_t top = (m->h - ch) / 2, left = (m->w - cw) / 2, n = side;
  const int64_t area = ch * cw; /* of a result pixel, in units of 1 / n^2 of a source pixel */
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = 0; i < n; i++) {
      int64_t sum[3] = {0};
      for (int64_t y = j * ch / n; y * n < (j + 1) * ch; y++) {
        const int64_t y0 = y * n > j * ch ? y * n : j * ch;
        const int64_t y1 = (y + 1) * n < (j + 1) * ch ? (y + 1) * n : (j + 1) * ch;
        const uint8_t *row = m->rgb + ((top + y) * m->w + left) * 3;
        for (int64_t x = i * cw / n; x * n < (i + 1) * cw; x++) {
          const int64_t x0 = x * n > i * cw ? x * n : i * cw;
          const int64_t x1 = (x + 1) * n < (i + 1) * cw ? (x + 1) * n : (i + 1) * cw;
          const int64_t weight = (y1 - y0) * (x1 - x0);
          for (int c = 0; c < 3; c++) sum[c] += weight * row[3 * x + c];
        }
      }
      for (int c = 0; c < 3; c++) *rgb++ = (uint8_t)((sum[c] + area / 2) / area);
    }
}

fm_err fm_load_image(fm_ctx *ctx, const char *path, fm_tensor **out) {
  char *bytes;
  size_t n;
  fm_image image;
  *out = NULL;
  fm_err err = fm_read_within(ctx, path, FM_IMAGE_FILE, &bytes, &n);
  if (err) return err;
  err = fm_image_decode(ctx, path, (const uint8_t *)bytes, n, &image);
  fm_free(ctx, bytes, n + 1);
  if (err) return err;
  const fm_shape s = {3, {image.h, image.w, 3}};
  if ((*out = fm_tensor_over(ctx, FM_U8, &s, image.rgb, NULL, 0)) != NULL) return FM_OK;
  fm_image_free(ctx, &image);
  return FM_ENOMEM;
}

/* ------------------------------------------------------------------ writing */

enum { MOST_SIDE = 65535 };

static void png_drain(png_structp s, png_bytep bytes, size_t n) {
  png *p = png_get_io_ptr(s);
  if ((p->err = fm_out_write(p->out, bytes, n)) != FM_OK) png_error(s, "write");
}

static void png_flush_nothing(png_structp s) { (void)s; }

static uint8_t level(const fm_tensor *t, int64_t k) {
  const double x = fm_tensor_get(t, k);
  return fm_byte(t->dtype == FM_U8 ? x : 127.5 * (x + 1));
}

static void png_emit(png *p, const fm_tensor *t, uint8_t *row) {
  const int64_t h = t->shape.d[0], w = t->shape.d[1];
  png_set_write_fn(p->s, p, png_drain, png_flush_nothing);
  png_set_IHDR(p->s, p->info, (png_uint_32)w, (png_uint_32)h, 8, PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(p->s, p->info);
  for (int64_t j = 0; j < h; j++) {
    for (int64_t i = 0; i < 3 * w; i++) row[i] = level(t, j * 3 * w + i);
    png_write_row(p->s, row);
  }
  png_write_end(p->s, NULL);
}

static fm_err write_png(fm_ctx *ctx, fm_out *out, const fm_tensor *t, uint8_t *row) {
  png p = {.ctx = ctx, .out = out};
  p.s = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &p, png_escape, png_ignore, &p,
                                  png_allocate, png_release);
  p.info = p.s ? png_create_info_struct(p.s) : NULL;
  if (p.info == NULL) {
    p.err = fm_fail(ctx, FM_ENOMEM, "no memory to write '%.400s'", out->name);
  } else if (setjmp(png_jmpbuf(p.s))) {
    if (!p.err)
      p.err = fm_fail(ctx, p.no_memory ? FM_ENOMEM : FM_EDATA, "cannot write '%.400s': %s",
                      out->name, p.why);
  } else {
    png_emit(&p, t, row);
  }
  png_destroy_write_struct(&p.s, &p.info);
  return p.err;
}

fm_err fm_save_png(fm_ctx *ctx, const char *path, const fm_tensor *t) {
  char shape[96];
  int64_t where;
  const fm_shape *s = &t->shape;
  if (s->nd != 3 || s->d[2] != 3 || s->d[0] < 1 || s->d[1] < 1 || s->d[0] > MOST_SIDE ||
      s->d[1] > MOST_SIDE)
    return fm_fail(ctx, FM_EUSAGE,
                   "save_png: a tensor of shape %s found, expected (H, W, 3) with sides from 1 to "
                   "%d",
                   fm_shape_text(s, shape), MOST_SIDE);
  if (!fm_tensor_finite(t, &where))
    return fm_fail(ctx, FM_ENUMERIC, "save_png: value %lld is %g, expected finite numbers",
                   (long long)where + 1, fm_tensor_get(t, where));
  fm_out out;
  const size_t bytes = (size_t)s->d[1] * 3;
  uint8_t *row = fm_alloc(ctx, bytes);
  if (row == NULL) return FM_ENOMEM;
  fm_err err = fm_out_open(&out, ctx, path);
  if (!err) {
    err = write_png(ctx, &out, t, row);
    if (!err) err = fm_map_check(t);
    if (!err) err = fm_out_commit(&out, false);
    fm_out_discard(&out);
  }
  fm_free(ctx, row, bytes);
  return err;
}
