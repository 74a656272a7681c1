/*
** intake.c - importing images from a folder or an archive into a pack. Files are read one after
** another and decoded by all workers in parallel, in batches of bounded size.
*/
#include <stdio.h>
#include <string.h>

#include "archive.h"
#include "image.h"

enum { BATCH = 64, RECORD = 1 + 3072, RECORDS = 1000 };
enum { BATCH_BYTES = 1 << 25 };   /* a batch that holds as many file bytes is full */
enum { DECODED_BYTES = 1 << 27 }; /* the budget of all threads for decoding */
enum { MOST_RECORDS = 1 << 20 };  /* the most records of a file in CIFAR-10's format */

typedef struct picture {
  int64_t file;
  uint8_t *bytes; /* `n` bytes of `capacity` are used */
  size_t n, capacity;
} picture;

typedef struct batch {
  fm_ctx *ctx;
  const fm_source *source;
  const fm_intake *plan;
  picture picture[BATCH];
  int n, side;
  uint8_t *pixels;
  fm_budget budget;
  fm_err err[BATCH];
} batch;

/* ------------------------------------------------------------------ pictures */

static fm_err read_all(fm_source *s, picture *p, fm_ctx *ctx, const char *name) {
  size_t got;
  p->n = 0;
  for (;;) {
    if (p->n == p->capacity) {
      const size_t to = p->capacity ? 2 * p->capacity : 1 << 15;
      char shown[64];
      if (to > FM_IMAGE_FILE)
        return fm_fail(ctx, FM_EDATA, "image '%s': more than %d MiB found", fm_shown(name, shown),
                       FM_IMAGE_FILE >> 20);
      uint8_t *more = fm_resize(ctx, p->bytes, p->capacity, to);
      if (more == NULL) return FM_ENOMEM;
      p->bytes = more;
      p->capacity = to;
    }
    fm_err err = fm_source_read(s, p->bytes + p->n, p->capacity - p->n, &got);
    if (err || got == 0) return err;
    p->n += got;
  }
}

static fm_err check_size(const batch *b, const char *name, const fm_image *m, int64_t side) {
  const fm_intake *plan = b->plan;
  char shown[64];
  if (plan->height && (m->h != plan->height || m->w != plan->width))
    return fm_fail(b->ctx, FM_EDATA, "image '%s': %lld x %lld pixels found, expected %lld x %lld",
                   fm_shown(name, shown), (long long)m->w, (long long)m->h, (long long)plan->width,
                   (long long)plan->height);
  const int64_t least = side > b->side ? side : b->side;
  if (m->h < least || m->w < least)
    return fm_fail(b->ctx, FM_EDATA,
                   "image '%s': %lld x %lld pixels found, expected at least %lld x %lld",
                   fm_shown(name, shown), (long long)m->w, (long long)m->h, (long long)least,
                   (long long)least);
  return FM_OK;
}

static void decode(void *arg, int k) {
  batch *b = arg;
  const picture *p = &b->picture[k];
  const char *name = fm_source_name(b->source, p->file);
  fm_image m;
  if ((b->err[k] = fm_image_decode_within(&b->budget, b->ctx, name, p->bytes, p->n, &m)) != FM_OK)
    return;
  const size_t size = 3 * (size_t)b->side * (size_t)b->side;
  const int64_t least = m.h < m.w ? m.h : m.w, side = b->plan->crop ? b->plan->crop : least;
  b->err[k] = check_size(b, name, &m, side);
  if (b->err[k] == FM_OK) fm_image_fit(&m, side, side, b->side, b->pixels + (size_t)k * size);
  fm_image_free(b->ctx, &m);
}

/* The error of the first picture in order, whichever failed first: a damaged one is decoded again
   alone, since the sentence kept may be that of another. */
static fm_err decode_all(batch *b) {
  fm_parallel(b->ctx, b->n, decode, b);
  for (int k = 0; k < b->n; k++) {
    if (b->err[k] == FM_OK) continue;
    if (b->err[k] == FM_ENOMEM && fm_error_code(b->ctx) == FM_ENOMEM) return FM_ENOMEM;
    fm_error_clear(b->ctx);
    decode(b, k);
    if (b->err[k]) return b->err[k];
  }
  return FM_OK;
}

static fm_err take_pictures(fm_pack *p, fm_source *s, batch *b, const uint8_t *wanted) {
  fm_err err = FM_OK;
  const size_t size = 3 * (size_t)b->side * (size_t)b->side;
  for (size_t bytes = 0; b->n < BATCH && bytes < BATCH_BYTES && !err; b->n++) {
    picture *one = &b->picture[b->n];
    err = fm_source_next(s, wanted, &one->file);
    if (err || one->file < 0) break;
    err = read_all(s, one, b->ctx, fm_source_name(s, one->file));
    bytes += one->capacity;
  }
  if (!err) err = decode_all(b);
  for (int k = 0; k < b->n && !err; k++) {
    const int64_t file = b->picture[k].file;
    err = fm_pack_put(p, b->plan->place[file], 1, b->pixels + (size_t)k * size,
                      &b->plan->label[file]);
  }
  return err;
}

/* ------------------------------------------------------------------ CIFAR-10 batches */

/* A record is a label and the red, green and blue planes of 32 x 32 pixels. */
static void unpack(const uint8_t *record, uint8_t *rgb, uint8_t *label) {
  *label = record[0];
  for (int k = 0; k < 1024; k++)
    for (int c = 0; c < 3; c++) rgb[3 * k + c] = record[1 + 1024 * c + k];
}

static fm_err take_records(fm_pack *p, fm_source *s, const fm_intake *plan, int64_t file,
                           uint8_t *record, uint8_t *rgb) {
  char shown[64];
  const char *name = fm_shown(fm_source_name(s, file), shown);
  fm_ctx *ctx = p->out.ctx;
  uint8_t label[RECORDS];
  for (int64_t at = 0; at < plan->records;) {
    const int64_t n = plan->records - at < RECORDS ? plan->records - at : RECORDS;
    size_t got;
    fm_err err = fm_source_read(s, record, (size_t)(n * RECORD), &got);
    if (err) return err;
    const int64_t whole = at + (int64_t)got / RECORD;
    if (got != (size_t)(n * RECORD))
      return fm_fail(ctx, FM_EDATA,
                     "'%s': %lld records and %lld bytes found, expected %lld records "
                     "of %d bytes",
                     name, (long long)whole, (long long)(got % RECORD), (long long)plan->records,
                     RECORD);
    for (int64_t k = 0; k < n; k++) {
      unpack(record + k * RECORD, rgb + k * 3072, &label[k]);
      const int64_t number = at + k + 1;
      if (label[k] > 9)
        return fm_fail(ctx, FM_EDATA, "'%s': label %d found in record %lld, expected 0 to 9", name,
                       label[k], (long long)number);
    }
    if ((err = fm_pack_put(p, plan->place[file] + at, n, rgb, label)) != FM_OK) return err;
    at += n;
  }
  size_t more;
  fm_err err = fm_source_read(s, record, 1, &more);
  if (!err && more)
    return fm_fail(ctx, FM_EDATA, "'%s': more than the expected %lld records of %d bytes found",
                   name, (long long)plan->records, RECORD);
  return err;
}

static fm_err take_batch_file(fm_pack *p, fm_source *s, const fm_intake *plan,
                              const uint8_t *wanted, int64_t *files) {
  fm_ctx *ctx = p->out.ctx;
  int64_t file;
  fm_err err = fm_source_next(s, wanted, &file);
  if (err || file < 0) return err;
  const size_t bytes = RECORDS * (RECORD + 3072);
  uint8_t *record = fm_alloc(ctx, bytes);
  if (record == NULL) return FM_ENOMEM;
  err = take_records(p, s, plan, file, record, record + RECORDS * RECORD);
  fm_free(ctx, record, bytes);
  *files = 1;
  return err;
}

/* ------------------------------------------------------------------ either */

static fm_err take(fm_pack *p, fm_source *s, const fm_intake *plan, const uint8_t *wanted,
                   int64_t *files) {
  if (plan->records) return take_batch_file(p, s, plan, wanted, files);
  fm_ctx *ctx = p->out.ctx;
  batch *b = fm_alloc(ctx, sizeof *b);
  if (b == NULL) return FM_ENOMEM;
  memset(b, 0, sizeof *b);
  b->ctx = ctx, b->source = s, b->plan = plan, b->side = (int)p->info.height;
  fm_budget_open(&b->budget, DECODED_BYTES);
  const size_t bytes = BATCH * 3 * (size_t)b->side * (size_t)b->side;
  fm_err err = (b->pixels = fm_alloc(ctx, bytes)) ? take_pictures(p, s, b, wanted) : FM_ENOMEM;
  *files = b->n;
  for (int k = 0; k < BATCH; k++)
    if (b->picture[k].bytes) fm_free(ctx, b->picture[k].bytes, b->picture[k].capacity);
  if (b->pixels) fm_free(ctx, b->pixels, bytes);
  fm_budget_close(&b->budget);
  fm_free(ctx, b, sizeof *b);
  return err;
}

/* The plan's numbers come from outside and are used in arithmetic, so they are checked first. */
static fm_err check_plan(const fm_pack *p, const fm_source *s, const fm_intake *plan) {
  const int64_t most = plan->records ? plan->records : 1;
  fm_ctx *ctx = p->out.ctx;
  if (plan->records < 0 || plan->records > MOST_RECORDS)
    return fm_fail(ctx, FM_EUSAGE, "packed images: %lld records found, expected 1 to %d",
                   (long long)plan->records, MOST_RECORDS);
  if (plan->height < 0 || plan->width < 0 || plan->crop < 0 || plan->height > FM_IMAGE_SIDE ||
      plan->width > FM_IMAGE_SIDE || plan->crop > FM_IMAGE_SIDE)
    return fm_fail(ctx, FM_EUSAGE,
                   "packed images: pictures of %lld x %lld cropped to %lld found, expected sizes "
                   "from 0 to %d",
                   (long long)plan->width, (long long)plan->height, (long long)plan->crop,
                   FM_IMAGE_SIDE);
  if (!plan->records && plan->crop > 0 && plan->crop < p->info.height)
    return fm_fail(ctx, FM_EUSAGE,
                   "packed images: a crop to %lld pixels found, expected at least the %lld of a "
                   "packed image",
                   (long long)plan->crop, (long long)p->info.height);
  for (int64_t k = 0; k < fm_source_count(s); k++)
    if (plan->place[k] < -1 || plan->place[k] > p->info.count - most)
      return fm_fail(ctx, FM_EUSAGE, "packed images: place %lld found, but there are only %lld",
                     (long long)plan->place[k], (long long)p->info.count);
  return FM_OK;
}

fm_err fm_pack_take(fm_pack *p, fm_source *s, const fm_intake *plan, int64_t *files) {
  fm_ctx *ctx = p->out.ctx;
  const int64_t n = fm_source_count(s), side = plan->records ? 32 : p->info.height;
  *files = 0;
  if (p->info.height != side || p->info.width != side || p->info.channels != 3)
    return fm_fail(
        ctx, FM_EUSAGE, "packed images: %lld x %lld x %lld found, expected squares with 3 channels",
        (long long)p->info.height, (long long)p->info.width, (long long)p->info.channels);
  fm_err err = check_plan(p, s, plan);
  if (err) return err;
  uint8_t *wanted = fm_alloc(ctx, (size_t)n + 1);
  if (wanted == NULL) return FM_ENOMEM;
  for (int64_t k = 0; k < n; k++) wanted[k] = plan->place[k] >= 0;
  err = take(p, s, plan, wanted, files);
  fm_free(ctx, wanted, (size_t)n + 1);
  return err;
}
