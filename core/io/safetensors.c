/*
** safetensors.c - writing safetensors (format and checksum: see safetensors.h).
**
** The bytes depend only on the contents: metadata are sorted by key, tensors by the width of their
** type (so that all are aligned) and then by name, as in the reference implementation.
*/
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "safetensors.h"

/* ------------------------------------------------------------------ the header */

/* Text under construction; if out is NULL, its length is only counted. */
typedef struct text_out {
  char *out;
  size_t n;
} text_out;

static void put(text_out *t, const char *s) {
  size_t n = strlen(s);
  if (t->out) memcpy(t->out + t->n, s, n);
  t->n += n;
}

static void put_string(text_out *t, const char *s) {
  put(t, "\"");
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    char one[8] = {(char)c};
    if (c == '"' || c == '\\') snprintf(one, sizeof one, "\\%c", c);
    if (c < 0x20) snprintf(one, sizeof one, "\\u%04x", c);
    put(t, one);
  }
  put(t, "\"");
}

static void put_tensor(text_out *t, const fm_named *x, uint64_t begin) {
  char number[64];
  put(t, ",");
  put_string(t, x->name);
  put(t, ":{\"dtype\":\"");
  put(t, dtype_names[x->tensor->dtype]);
  put(t, "\",\"shape\":[");
  for (int i = 0; i < x->tensor->shape.nd; i++) {
    snprintf(number, sizeof number, "%s%lld", i ? "," : "", (long long)x->tensor->shape.d[i]);
    put(t, number);
  }
  snprintf(number, sizeof number, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin,
           (unsigned long long)begin + x->tensor->bytes);
  put(t, number);
}

static void put_header(text_out *t, int n, const fm_named *tensors, int nmeta,
                       const fm_pair *meta) {
  uint64_t at = 0;
  put(t, MARK ZEROS "\",\"" FORMAT_KEY "\":\"1\"");
  for (int i = 0; i < nmeta; i++) {
    put(t, ",");
    put_string(t, meta[i].key);
    put(t, ":");
    put_string(t, meta[i].value);
  }
  put(t, "}");
  for (int i = 0; i < n; i++) {
    put_tensor(t, &tensors[i], at);
    at += tensors[i].tensor->bytes;
  }
  put(t, "}");
  while (t->n % 8) put(t, " ");
}

/* ------------------------------------------------------------------ the file */

static int compare_names(const void *a, const void *b) {
  const fm_named *x = a, *y = b;
  return strcmp(x->name, y->name);
}

/* Widest type first, so that every tensor starts at a multiple of its width; then by name. */
static int compare_widths(const void *a, const void *b) {
  const fm_named *x = a, *y = b;
  size_t wx = fm_dtype_size(x->tensor->dtype), wy = fm_dtype_size(y->tensor->dtype);
  return wx != wy ? (wx < wy ? 1 : -1) : strcmp(x->name, y->name);
}

/* The fault of key i of the sorted metadata, or NULL. */
static const char *key_fault(const fm_pair *meta, int i) {
  if (key_reserved(meta[i].key)) return "is reserved";
  if (!fm_utf8_ok(meta[i].key)) return "is not UTF-8";
  if (!fm_utf8_ok(meta[i].value)) return "has a value that is not UTF-8";
  return i > 0 && !strcmp(meta[i].key, meta[i - 1].key) ? "is given twice" : NULL;
}

/* The fault of name i of the tensors, sorted by name, or NULL. */
static const char *name_fault(const fm_named *tensors, int i) {
  if (strcmp(tensors[i].name, META_KEY) == 0) return "is reserved";
  if (!fm_utf8_ok(tensors[i].name)) return "is not UTF-8";
  return i > 0 && !strcmp(tensors[i].name, tensors[i - 1].name) ? "is given twice" : NULL;
}

/* Check all arguments; leaves both lists sorted in the order of the file. */
static fm_err check_and_sort(fm_ctx *ctx, const char *path, int n, fm_named *tensors, int nmeta,
                             fm_pair *meta) {
  char shown[64];
  const char *fault;
  int64_t where;
  qsort(meta, (size_t)nmeta, sizeof *meta, compare_keys);
  for (int i = 0; i < nmeta; i++) {
    if ((fault = key_fault(meta, i)) == NULL) continue;
    return fm_fail(ctx, FM_EUSAGE, "save '%.250s': metadata key '%s' %s", path,
                   fm_shown(meta[i].key, shown), fault);
  }
  qsort(tensors, (size_t)n, sizeof *tensors, compare_names);
  for (int i = 0; i < n; i++) {
    const fm_tensor *t = tensors[i].tensor;
    if ((fault = name_fault(tensors, i)) != NULL) {
      return fm_fail(ctx, FM_EUSAGE, "save '%.250s': tensor name '%s' %s", path,
                     fm_shown(tensors[i].name, shown), fault);
    }
    if (t->dtype == FM_U8) {
      return fm_fail(ctx, FM_EUSAGE,
                     "save '%.250s': tensor '%s' is uint8, expected float32 or float64", path,
                     fm_shown(tensors[i].name, shown));
    }
    if (!fm_tensor_finite(t, &where)) {
      return fm_fail(ctx, FM_ENUMERIC,
                     "save '%.250s': tensor '%s' has %g at position %lld, expected "
                     "finite numbers; nothing was written",
                     path, fm_shown(tensors[i].name, shown), fm_tensor_get(t, where),
                     (long long)where);
    }
  }
  qsort(tensors, (size_t)n, sizeof *tensors, compare_widths);
  return FM_OK;
}

/* Write the length, the header and the checksum to `head`, of LENGTH_BYTES + size bytes. */
static void compose(char *head, size_t size, int n, const fm_named *tensors, int nmeta,
                    const fm_pair *meta) {
  char digits[CRC_DIGITS + 1];
  for (int i = 0; i < LENGTH_BYTES; i++) head[i] = (char)((uint64_t)size >> 8 * i & 0xFF);
  put_header(&(text_out){.out = head + LENGTH_BYTES}, n, tensors, nmeta, meta);
  uLong crc = crc32_z(0, (const Bytef *)head, LENGTH_BYTES + size);
  for (int i = 0; i < n; i++) crc = crc32_z(crc, tensors[i].tensor->data, tensors[i].tensor->bytes);
  snprintf(digits, sizeof digits, "%08lx", crc & 0xFFFFFFFFul);
  memcpy(head + LENGTH_BYTES + MARK_SIZE, digits, CRC_DIGITS);
}

static fm_err write_all(fm_ctx *ctx, const char *path, int n, const fm_named *tensors, int nmeta,
                        const fm_pair *meta, bool keep) {
  fm_out out;
  text_out measure = {0};
  put_header(&measure, n, tensors, nmeta, meta);
  if (measure.n > MAX_HEADER) {
    return fm_fail(ctx, FM_EUSAGE,
                   "save '%.250s': names and metadata take %zu bytes, expected at most %d", path,
                   measure.n, MAX_HEADER);
  }
  size_t size = LENGTH_BYTES + measure.n;
  char *head = fm_alloc(ctx, size);
  if (!head) return FM_ENOMEM;
  compose(head, measure.n, n, tensors, nmeta, meta);
  fm_err err = fm_out_open(&out, ctx, path);
  if (!err) err = fm_out_write(&out, head, size);
  for (int i = 0; !err && i < n; i++) {
    err = fm_out_write(&out, tensors[i].tensor->data, tensors[i].tensor->bytes);
  }
  if (!err) err = fm_out_commit(&out, keep);
  fm_free(ctx, head, size);
  return err;
}

fm_err fm_save_safetensors(fm_ctx *ctx, const char *path, int n, const fm_named *tensors, int nmeta,
                           const fm_pair *meta, bool keep) {
  size_t tensor_bytes = (size_t)n * sizeof *tensors, meta_bytes = (size_t)nmeta * sizeof *meta;
  fm_named *t = fm_alloc(ctx, tensor_bytes); /* copies of the lists, to be sorted */
  fm_pair *m = t ? fm_alloc(ctx, meta_bytes) : NULL;
  fm_err err = m ? FM_OK : FM_ENOMEM;
  if (!err) {
    if (n > 0) memcpy(t, tensors, tensor_bytes);
    if (nmeta > 0) memcpy(m, meta, meta_bytes);
    err = check_and_sort(ctx, path, n, t, nmeta, m);
    if (!err) err = write_all(ctx, path, n, t, nmeta, m, keep);
  }
  if (m) fm_free(ctx, m, meta_bytes);
  if (t) fm_free(ctx, t, tensor_bytes);
  return err;
}
