/*
** npy.c - reading and writing NumPy's .npy format: "\x93NUMPY", the version, the length of the
** header (u16 in version 1.0, u32 in 2.0 and 3.0), the header (a Python dictionary, padded with
** blanks so that the data start at a multiple of 64 bytes), the data. Version 1.0 is written.
** Specification: numpy.lib.format (NEP 1).
*/
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../map.h"
#include "io.h"

static const char magic[8] = "\x93NUMPY\x01"; /* the terminating NUL is the minor version */

enum { PROLOGUE = 10, ALIGN = 64, MAX_HEADER = 65535, MOST_IN_F32 = 1 << 24 };

/*
** The types of values that are read; the first three are those of tensors, in the order of
** fm_dtype. Other whole numbers, and truth values, become float32.
*/
typedef struct npy_type {
  char name[8]; /* as in the header */
  fm_dtype dtype;
  unsigned size;         /* in the file, in bytes */
  bool whole, is_signed; /* whole: converted from a whole number */
} npy_type;

static const npy_type types[] = {
    {"'<f4'", FM_F32, 4, false, false}, {"'<f8'", FM_F64, 8, false, false},
    {"'|u1'", FM_U8, 1, false, false},  {"'|b1'", FM_F32, 1, true, false},
    {"'|i1'", FM_F32, 1, true, true},   {"'<i2'", FM_F32, 2, true, true},
    {"'<i4'", FM_F32, 4, true, true},   {"'<i8'", FM_F32, 8, true, true},
    {"'<u2'", FM_F32, 2, true, false},  {"'<u4'", FM_F32, 4, true, false},
    {"'<u8'", FM_F32, 8, true, false}};

typedef struct npy_header {
  const npy_type *type;
  bool fortran; /* column-major: the first index changes fastest */
  fm_shape shape;
} npy_header;

fm_err fm_save_npy(fm_ctx *ctx, const char *path, const fm_tensor *t) {
  char head[4 * ALIGN], dims[32 * FM_MAX_DIMS] = "";
  size_t at = 0;
  for (int i = 0; i < t->shape.nd; i++) {
    const char *sep = t->shape.nd == 1 ? "," : i + 1 < t->shape.nd ? ", " : "";
    at += (size_t)snprintf(dims + at, sizeof dims - at, "%lld%s", (long long)t->shape.d[i], sep);
  }
  int n = snprintf(head + PROLOGUE, sizeof head - PROLOGUE,
                   "{'descr': %s, 'fortran_order': False, 'shape': (%s), }", types[t->dtype].name,
                   dims);
  size_t used = PROLOGUE + (size_t)n + 1; /* + 1: the line feed that ends the header */
  size_t whole = (used + ALIGN - 1) / ALIGN * ALIGN;
  memset(head + used - 1, ' ', whole - used);
  head[whole - 1] = '\n';
  memcpy(head, magic, sizeof magic);
  head[8] = (char)((whole - PROLOGUE) & 0xFF);
  head[9] = (char)((whole - PROLOGUE) >> 8);

  fm_out out;
  fm_err err = fm_out_open(&out, ctx, path);
  if (!err) err = fm_out_write(&out, head, whole);
  if (!err) err = fm_out_write(&out, t->data, t->bytes);
  if (!err && (err = fm_map_check(t)) != FM_OK) fm_out_discard(&out); /* lost bytes are in it */
  if (!err) err = fm_out_commit(&out, false);
  return err;
}

/* ------------------------------------------------------------------ reading the header */

static const npy_type *read_type(fm_scan *s) {
  for (size_t k = 0; k < sizeof types / sizeof *types; k++)
    if (fm_scan_accept(s, types[k].name)) return &types[k];
  fm_scan_fail(s, "the type '<f4', '<f8', '|u1', '|b1', or that of other little-endian whole "
                  "numbers, such as '<i8',");
  return NULL;
}

/* The dictionary has three keys in any order, each once. */
static bool parse(fm_scan *s, npy_header *h) {
  bool descr = false, order = false, dims = false;
  if (!fm_scan_expect(s, "{")) return false;
  while (!fm_scan_accept(s, "}")) {
    if (!descr && fm_scan_accept(s, "'descr'")) {
      if (!fm_scan_expect(s, ":") || !(h->type = read_type(s))) return false;
      descr = true;
    } else if (!order && fm_scan_accept(s, "'fortran_order'")) {
      if (!fm_scan_expect(s, ":")) return false;
      h->fortran = fm_scan_accept(s, "True");
      if (!h->fortran && !fm_scan_accept(s, "False")) return fm_scan_bad(s, "True or False");
      order = true;
    } else if (!dims && fm_scan_accept(s, "'shape'")) {
      if (!fm_scan_expect(s, ":") || !fm_scan_expect(s, "(")) return false;
      if (!fm_scan_shape(s, &h->shape, ")")) return false;
      dims = true;
    } else {
      return fm_scan_bad(s, "'descr', 'fortran_order' and 'shape', each once,");
    }
    if (!fm_scan_accept(s, ",")) {
      if (!fm_scan_expect(s, "}")) return false;
      break;
    }
  }
  if (!(descr && order && dims)) return fm_scan_bad(s, "'descr', 'fortran_order' and 'shape'");
  return fm_scan_end(s);
}

/* Read what precedes the header; `n` is the length of the header. */
static fm_err read_start(fm_in *in, size_t *n) {
  unsigned char start[PROLOGUE + 2] = {0};
  if (in->size < PROLOGUE) {
    return fm_fail(in->ctx, FM_EDATA, "'%.300s' has %llu bytes, too few for a .npy file", in->path,
                   (unsigned long long)in->size);
  }
  fm_err err = fm_in_read(in, start, PROLOGUE);
  if (err) return err;
  const int version = start[6];
  if (memcmp(start, magic, 6) != 0 || version < 1 || version > 3 || start[7] != 0) {
    return fm_fail(in->ctx, FM_EDATA, "'%.300s' is not a .npy file of version 1.0, 2.0 or 3.0",
                   in->path);
  }
  if (version > 1 && (err = fm_in_read(in, start + PROLOGUE, 2)) != FM_OK) return err;
  *n = (size_t)start[8] | (size_t)start[9] << 8 | (size_t)start[10] << 16 | (size_t)start[11] << 24;
  if (*n > MAX_HEADER) {
    return fm_fail(in->ctx, FM_EDATA, "'%.300s' has a header of %zu bytes, expected at most %d",
                   in->path, *n, MAX_HEADER);
  }
  return FM_OK;
}

static fm_err read_header(fm_in *in, npy_header *h) {
  char text[MAX_HEADER + 1];
  size_t n = 0;
  fm_err err = read_start(in, &n);
  if (!err) err = fm_in_read(in, text, n);
  if (err) return err;
  fm_scan s;
  fm_scan_start(&s, in, text, n);
  return parse(&s, h) ? FM_OK : FM_EDATA;
}

/* ------------------------------------------------------------------ reading the values */

/* Whether the data are as many bytes as the type and the shape say. */
static fm_err check_size(const fm_in *in, const npy_header *h) {
  const uint64_t have = in->size - in->at;
  const bool fits = fm_sig_fits(&(fm_sig){h->type->dtype, h->shape});
  if (fits && (uint64_t)fm_shape_count(&h->shape) * h->type->size == have) return FM_OK;
  char text[96];
  return fm_fail(in->ctx, FM_EDATA,
                 "'%.300s' has %llu bytes of data, which do not make an array of type %s and "
                 "shape %s",
                 in->path, (unsigned long long)have, h->type->name, fm_shape_text(&h->shape, text));
}

/* The whole number of a type at `from`. */
static double whole_number(const npy_type *type, const unsigned char *from) {
  uint64_t bits = 0, ones = 0;
  for (unsigned k = type->size; k > 0; k--) bits = bits << 8 | from[k - 1], ones = ones << 8 | 255;
  const uint64_t sign = ones ^ ones >> 1;
  return type->is_signed && (bits & sign) ? -(double)((~bits + 1) & ones) : (double)bits;
}

/* Where the next value of the file belongs, in row-major order. */
static int64_t next(const npy_header *h, int64_t at, int64_t index[FM_MAX_DIMS]) {
  const fm_shape *s = &h->shape;
  int64_t stride = fm_shape_count(s);
  if (!h->fortran) return at + 1;
  for (int k = 0; k < s->nd; k++) {
    stride /= s->d[k];
    if (++index[k] < s->d[k]) return at + stride;
    index[k] = 0;
    at -= (s->d[k] - 1) * stride;
  }
  return at;
}

static fm_err read_values(fm_in *in, const npy_header *h, fm_tensor *t) {
  const unsigned size = h->type->size;
  if (!h->fortran && !h->type->whole) return fm_in_read(in, t->data, t->bytes);
  unsigned char part[8 * 1024];
  const int64_t n = fm_shape_count(&h->shape), most = (int64_t)(sizeof part / size);
  int64_t index[FM_MAX_DIMS] = {0}, at = 0;
  for (int64_t first = 0; first < n; first += most) {
    const int64_t count = n - first < most ? n - first : most;
    fm_err err = fm_in_read(in, part, (size_t)count * size);
    if (err) return err;
    for (int64_t k = 0; k < count; k++, at = next(h, at, index)) {
      const unsigned char *from = part + (size_t)k * size;
      if (!h->type->whole) {
        memcpy((char *)t->data + (size_t)at * size, from, size);
        continue;
      }
      const double x = whole_number(h->type, from);
      if (fabs(x) > MOST_IN_F32)
        return fm_fail(in->ctx, FM_EDATA,
                       "'%.300s': value %lld is %.9g, but float32 holds all whole numbers only "
                       "up to %d; save it as float64",
                       in->path, (long long)first + k + 1, x, MOST_IN_F32);
      fm_tensor_set(t, at, x);
    }
  }
  return FM_OK;
}

fm_err fm_load_npy(fm_ctx *ctx, const char *path, fm_tensor **out) {
  fm_in in;
  npy_header h = {0};
  fm_tensor *t = NULL;
  *out = NULL;
  fm_err err = fm_in_open(&in, ctx, path);
  if (err) return err;
  err = read_header(&in, &h);
  if (!err) err = check_size(&in, &h);
  if (!err) {
    t = fm_tensor_new(ctx, h.type->dtype, &h.shape);
    err = t ? read_values(&in, &h, t) : fm_error_code(ctx);
  }
  fm_in_close(&in);
  if (err) {
    fm_tensor_drop(t);
  } else {
    *out = t;
  }
  return err;
}
