/*
** safetensors_load.c - reading safetensors (format and checksum: see safetensors.h).
**
** Nothing in a file is trusted: sizes are checked against the file before memory is allocated,
** tensors must cover the data exactly, and in our own files the checksum must match.
*/
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "safetensors.h"

/* ------------------------------------------------------------------ the header */

typedef struct entry { /* a tensor as the header describes it */
  const char *name;    /* in head.text */
  fm_dtype dtype;
  fm_shape shape;
  int64_t begin, end; /* in the data */
} entry;

typedef struct head {
  fm_scan scan;
  char *text; /* decoded in place by the scanner; names and metadata point into it */
  size_t size;
  int64_t data_size; /* bytes of the file after the header */
  bool ours;         /* the header begins with MARK: there is a checksum */
  bool marked;       /* the header has a key of ours: there must be a checksum */
  bool has_meta;
  char recorded[CRC_DIGITS + 1];
  uLong crc;
  entry *entries;
  fm_pair *meta;
  int n, nmeta, capacity, meta_capacity; /* entries used, and allocated */
} head;

/* Make sure that n + 1 items of `size` bytes fit; NULL if memory is short (`items` stays valid). */
static void *grow(head *h, void *items, int n, int *capacity, size_t size) {
  if (n < *capacity) return items;
  int to = *capacity ? 2 * *capacity : 16;
  void *p = fm_resize(h->scan.ctx, items, (size_t)*capacity * size, (size_t)to * size);
  if (p) {
    *capacity = to;
  } else {
    h->scan.err = FM_ENOMEM;
  }
  return p;
}

static bool parse_metadata(head *h) {
  fm_scan *s = &h->scan;
  if (h->has_meta) return fm_scan_bad(s, "one " META_KEY);
  h->has_meta = true;
  if (!fm_scan_expect(s, "{")) return false;
  if (fm_scan_accept(s, "}")) return true;
  do {
    char *key = fm_scan_string(s);
    char *value = key && fm_scan_expect(s, ":") ? fm_scan_string(s) : NULL;
    if (!value) return false;
    /* Any key with the prefix counts: both of our own may be damaged. */
    if (strncmp(key, OUR_PREFIX, sizeof OUR_PREFIX - 1) == 0) h->marked = true;
    if (key_reserved(key)) continue;
    fm_pair *p = grow(h, h->meta, h->nmeta, &h->meta_capacity, sizeof *p);
    if (!p) return false;
    h->meta = p;
    h->meta[h->nmeta++] = (fm_pair){key, value};
  } while (fm_scan_accept(s, ","));
  return fm_scan_expect(s, "}");
}

static bool parse_dtype(fm_scan *s, fm_dtype *dtype) {
  char *name = fm_scan_string(s), shown[64];
  if (!name) return false;
  *dtype = strcmp(name, dtype_names[FM_F32]) == 0 ? FM_F32 : FM_F64;
  if (strcmp(name, dtype_names[*dtype]) == 0) return true;
  s->err = fm_fail(s->ctx, FM_EDATA, "'%.250s' has a tensor of type '%s', expected F32 or F64",
                   s->path, fm_shown(name, shown));
  return false;
}

static bool parse_tensor(head *h, const char *name) {
  fm_scan *s = &h->scan;
  entry e = {.name = name};
  unsigned seen = 0;
  if (!fm_scan_expect(s, "{")) return false;
  do {
    char *field = fm_scan_string(s);
    if (!field || !fm_scan_expect(s, ":")) return false;
    unsigned which = !strcmp(field, "dtype")          ? 1u
                     : !strcmp(field, "shape")        ? 2u
                     : !strcmp(field, "data_offsets") ? 4u
                                                      : 0u;
    if (which == 0 || (seen & which)) {
      return fm_scan_bad(s, "dtype, shape and data_offsets, each once,");
    }
    seen |= which;
    bool ok = which == 1   ? parse_dtype(s, &e.dtype)
              : which == 2 ? fm_scan_expect(s, "[") && fm_scan_shape(s, &e.shape, "]")
                           : fm_scan_expect(s, "[") && fm_scan_natural(s, &e.begin) &&
                                 fm_scan_expect(s, ",") && fm_scan_natural(s, &e.end) &&
                                 fm_scan_expect(s, "]");
    if (!ok) return false;
  } while (fm_scan_accept(s, ","));
  if (seen != 7) return fm_scan_bad(s, "dtype, shape and data_offsets");
  entry *p = grow(h, h->entries, h->n, &h->capacity, sizeof *p);
  if (!p) return false;
  h->entries = p;
  h->entries[h->n++] = e;
  return fm_scan_expect(s, "}");
}

static bool parse_header(head *h) {
  fm_scan *s = &h->scan;
  if (!fm_scan_expect(s, "{")) return false;
  if (fm_scan_accept(s, "}")) return fm_scan_end(s);
  do {
    char *name = fm_scan_string(s);
    if (!name || !fm_scan_expect(s, ":")) return false;
    if (!(strcmp(name, META_KEY) == 0 ? parse_metadata(h) : parse_tensor(h, name))) return false;
  } while (fm_scan_accept(s, ","));
  return fm_scan_expect(s, "}") && fm_scan_end(s);
}

static int compare_entry_names(const void *a, const void *b) {
  const entry *x = a, *y = b;
  return strcmp(x->name, y->name);
}

static int compare_entry_places(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
  return (x->end > y->end) - (x->end < y->end);
}

static fm_err twice(const head *h, const char *what, const char *name) {
  char shown[64];
  return fm_fail(h->scan.ctx, FM_EDATA, "'%.250s' is damaged: %s '%s' appears twice", h->scan.path,
                 what, fm_shown(name, shown));
}

/* Names must be unique, shapes must fit their bytes, and tensors must cover the data exactly. */
static fm_err check_layout(head *h) {
  char shown[64], shape[96];
  int64_t at = 0;
  if (h->nmeta) qsort(h->meta, (size_t)h->nmeta, sizeof *h->meta, compare_keys);
  for (int i = 1; i < h->nmeta; i++) {
    if (!strcmp(h->meta[i].key, h->meta[i - 1].key)) return twice(h, "key", h->meta[i].key);
  }
  if (h->n) qsort(h->entries, (size_t)h->n, sizeof *h->entries, compare_entry_names);
  for (int i = 1; i < h->n; i++) {
    if (!strcmp(h->entries[i].name, h->entries[i - 1].name)) {
      return twice(h, "tensor", h->entries[i].name);
    }
  }
  if (h->n) qsort(h->entries, (size_t)h->n, sizeof *h->entries, compare_entry_places);
  for (int i = 0; i < h->n; i++) {
    const entry *e = &h->entries[i];
    if (e->begin != at || e->end < at || e->end > h->data_size) {
      return fm_fail(h->scan.ctx, FM_EDATA,
                     "'%.250s' is damaged: tensor '%s' lies at bytes %lld to %lld of the data, "
                     "expected a start at %lld and an end within %lld",
                     h->scan.path, fm_shown(e->name, shown), (long long)e->begin, (long long)e->end,
                     (long long)at, (long long)h->data_size);
    }
    if (fm_shape_bytes(&e->shape, e->dtype, (uint64_t)h->data_size) != e->end - e->begin) {
      return fm_fail(
          h->scan.ctx, FM_EDATA,
          "'%.250s' is damaged: tensor '%s' has %lld bytes, which do not make a %s tensor "
          "of shape %s",
          h->scan.path, fm_shown(e->name, shown), (long long)(e->end - e->begin),
          fm_dtype_name(e->dtype), fm_shape_text(&e->shape, shape));
    }
    at = e->end;
  }
  if (at == h->data_size) return FM_OK;
  return fm_fail(h->scan.ctx, FM_EDATA,
                 "'%.250s' is damaged: it has %lld bytes of data, expected %lld", h->scan.path,
                 (long long)h->data_size, (long long)at);
}

/* The checksum of the header as it was when written, and whether there is one to compare with. */
static void begin_checksum(head *h, const unsigned char *length) {
  h->ours = h->size >= MARK_SIZE + CRC_DIGITS && memcmp(h->text, MARK, MARK_SIZE) == 0;
  if (!h->ours) return;
  memcpy(h->recorded, h->text + MARK_SIZE, CRC_DIGITS);
  memcpy(h->text + MARK_SIZE, ZEROS, CRC_DIGITS);
  h->crc = crc32_z(crc32_z(0, length, LENGTH_BYTES), (const Bytef *)h->text, h->size);
}

static fm_err read_header(fm_in *in, head *h) {
  unsigned char length[LENGTH_BYTES];
  uint64_t size = 0;
  if (in->size < LENGTH_BYTES) {
    return fm_fail(in->ctx, FM_EDATA, "'%.250s' has %llu bytes, too few for a safetensors file",
                   in->path, (unsigned long long)in->size);
  }
  fm_err err = fm_in_read(in, length, LENGTH_BYTES);
  if (err) return err;
  for (int i = 0; i < LENGTH_BYTES; i++) size |= (uint64_t)length[i] << 8 * i;
  if (size > in->size - LENGTH_BYTES || size > MAX_HEADER) {
    return fm_fail(in->ctx, FM_EDATA,
                   "'%.250s' is cut short or not a safetensors file: it announces a header of %llu "
                   "bytes and has %llu bytes in all",
                   in->path, (unsigned long long)size, (unsigned long long)in->size);
  }
  h->size = (size_t)size;
  h->text = fm_alloc(in->ctx, h->size + 1);
  if (!h->text) return FM_ENOMEM;
  err = fm_in_read(in, h->text, h->size);
  if (err) return err;
  h->data_size = (int64_t)(in->size - in->at);
  begin_checksum(h, length);
  fm_scan_start(&h->scan, in, h->text, h->size);
  if (!parse_header(h)) return h->scan.err;
  if (h->marked && !h->ours) {
    return fm_fail(in->ctx, FM_EDATA,
                   "'%.250s' is damaged: its checksum is not where it was written", in->path);
  }
  return check_layout(h);
}

/* ------------------------------------------------------------------ the contents */

static char *copy_text(fm_ctx *ctx, const char *text) {
  size_t n = strlen(text) + 1;
  char *p = fm_alloc(ctx, n);
  return p ? memcpy(p, text, n) : NULL;
}

static void free_text(fm_ctx *ctx, const char *text) {
  if (text) fm_free(ctx, (char *)(uintptr_t)text, strlen(text) + 1);
}

/* n zeroed records, or NULL. */
static void *records(fm_ctx *ctx, int n, size_t size) {
  void *p = fm_alloc(ctx, (size_t)n * size);
  return p ? memset(p, 0, (size_t)n * size) : NULL;
}

static fm_err read_tensors(fm_in *in, head *h, fm_ckpt *out) {
  out->tensors = records(in->ctx, h->n, sizeof *out->tensors);
  if (!out->tensors) return FM_ENOMEM;
  out->n = h->n;
  for (int i = 0; i < h->n; i++) {
    fm_tensor *t = fm_tensor_new(in->ctx, h->entries[i].dtype, &h->entries[i].shape);
    if (!t) return fm_error_code(in->ctx);
    out->tensors[i].tensor = t;
    out->tensors[i].name = copy_text(in->ctx, h->entries[i].name);
    if (!out->tensors[i].name) return FM_ENOMEM;
    fm_err err = fm_in_read(in, t->data, t->bytes);
    if (err) return err;
    if (h->ours) h->crc = crc32_z(h->crc, t->data, t->bytes);
  }
  return FM_OK;
}

static fm_err copy_meta(fm_ctx *ctx, const head *h, fm_ckpt *out) {
  out->meta = records(ctx, h->nmeta, sizeof *out->meta);
  if (!out->meta) return FM_ENOMEM;
  out->nmeta = h->nmeta;
  for (int i = 0; i < h->nmeta; i++) {
    out->meta[i].key = copy_text(ctx, h->meta[i].key);
    out->meta[i].value = copy_text(ctx, h->meta[i].value);
    if (!out->meta[i].key || !out->meta[i].value) return FM_ENOMEM;
  }
  return FM_OK;
}

static fm_err check_checksum(const head *h) {
  char digits[CRC_DIGITS + 1];
  snprintf(digits, sizeof digits, "%08lx", h->crc & 0xFFFFFFFFul);
  if (!h->ours || strcmp(digits, h->recorded) == 0) return FM_OK;
  return fm_fail(h->scan.ctx, FM_EDATA,
                 "'%.250s' is damaged: its CRC-32 is %s, which is not the one recorded",
                 h->scan.path, digits);
}

fm_err fm_load_safetensors(fm_ctx *ctx, const char *path, fm_ckpt *out) {
  fm_in in;
  head h = {0};
  *out = (fm_ckpt){.ctx = ctx};
  fm_err err = fm_in_open(&in, ctx, path);
  if (err) return err;
  err = read_header(&in, &h);
  if (!err) err = read_tensors(&in, &h, out);
  if (!err) err = check_checksum(&h);
  if (!err) err = copy_meta(ctx, &h, out);
  fm_in_close(&in);
  if (h.entries) fm_free(ctx, h.entries, (size_t)h.capacity * sizeof *h.entries);
  if (h.meta) fm_free(ctx, h.meta, (size_t)h.meta_capacity * sizeof *h.meta);
  if (h.text) fm_free(ctx, h.text, h.size + 1);
  if (err) fm_ckpt_free(out);
  return err;
}

void fm_ckpt_free(fm_ckpt *c) {
  for (int i = 0; i < c->n; i++) {
    free_text(c->ctx, c->tensors[i].name);
    fm_tensor_drop(c->tensors[i].tensor);
  }
  for (int i = 0; i < c->nmeta; i++) {
    free_text(c->ctx, c->meta[i].key);
    free_text(c->ctx, c->meta[i].value);
  }
  if (c->tensors) fm_free(c->ctx, c->tensors, (size_t)c->n * sizeof *c->tensors);
  if (c->meta) fm_free(c->ctx, c->meta, (size_t)c->nmeta * sizeof *c->meta);
  *c = (fm_ckpt){.ctx = c->ctx};
}
