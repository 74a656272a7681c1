/*
** npy.c - reading and writing NumPy's .npy format, version 1.0: "\x93NUMPY" 1 0, u16 length of the
** header, the header (a Python dictionary, padded with blanks so that the data start at a multiple
** of 64 bytes), the data. Specification: numpy.lib.format (NEP 1).
*/
#include <stdio.h>
#include <string.h>

#include "io.h"

static const char magic[8] = "\x93NUMPY\x01"; /* the terminating NUL is the minor version */

enum { PROLOGUE = 10, ALIGN = 64, MAX_HEADER = 65535 };

fm_err fm_save_npy(fm_ctx *ctx, const char *path, const fm_tensor *t) {
  if (t->dtype == FM_U8)
    return fm_fail(ctx, FM_EUSAGE,
                   "cannot write '%.400s': a uint8 tensor found, expected float32 or float64",
                   path);
  char head[4 * ALIGN], dims[32 * FM_MAX_DIMS] = "";
  size_t at = 0;
  for (int i = 0; i < t->shape.nd; i++) {
    const char *sep = t->shape.nd == 1 ? "," : i + 1 < t->shape.nd ? ", " : "";
    at += (size_t)snprintf(dims + at, sizeof dims - at, "%lld%s", (long long)t->shape.d[i], sep);
  }
  int n = snprintf(head + PROLOGUE, sizeof head - PROLOGUE,
                   "{'descr': '<f%zu', 'fortran_order': False, 'shape': (%s), }",
                   fm_dtype_size(t->dtype), dims);
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
  if (!err) err = fm_out_commit(&out, false);
  return err;
}

/* The dictionary has three keys in any order, each once. */
static bool parse(fm_scan *s, fm_dtype *dtype, fm_shape *shape) {
  bool descr = false, order = false, dims = false;
  if (!fm_scan_expect(s, "{")) return false;
  while (!fm_scan_accept(s, "}")) {
    if (!descr && fm_scan_accept(s, "'descr'")) {
      if (!fm_scan_expect(s, ":")) return false;
      *dtype = fm_scan_accept(s, "'<f4'") ? FM_F32 : FM_F64;
      if (*dtype == FM_F64 && !fm_scan_accept(s, "'<f8'")) {
        return fm_scan_bad(s, "the type '<f4' or '<f8'");
      }
      descr = true;
    } else if (!order && fm_scan_accept(s, "'fortran_order'")) {
      if (!fm_scan_expect(s, ":")) return false;
      if (!fm_scan_accept(s, "False")) return fm_scan_bad(s, "False (C order)");
      order = true;
    } else if (!dims && fm_scan_accept(s, "'shape'")) {
      if (!fm_scan_expect(s, ":") || !fm_scan_expect(s, "(")) return false;
      if (!fm_scan_shape(s, shape, ")")) return false;
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

static fm_err read_header(fm_in *in, fm_dtype *dtype, fm_shape *shape) {
  unsigned char start[PROLOGUE];
  if (in->size < sizeof start) {
    return fm_fail(in->ctx, FM_EDATA, "'%.300s' has %llu bytes, too few for a .npy file", in->path,
                   (unsigned long long)in->size);
  }
  fm_err err = fm_in_read(in, start, sizeof start);
  if (err) return err;
  if (memcmp(start, magic, sizeof magic) != 0) {
    return fm_fail(in->ctx, FM_EDATA, "'%.300s' is not a .npy file of version 1.0", in->path);
  }
  char text[MAX_HEADER + 1];
  size_t n = (size_t)start[8] | (size_t)start[9] << 8;
  err = fm_in_read(in, text, n);
  if (err) return err;
  fm_scan s;
  fm_scan_start(&s, in, text, n);
  return parse(&s, dtype, shape) ? FM_OK : FM_EDATA;
}

fm_err fm_load_npy(fm_ctx *ctx, const char *path, fm_tensor **out) {
  fm_in in;
  fm_dtype dtype = FM_F32;
  fm_shape shape = {0};
  fm_tensor *t = NULL;
  *out = NULL;
  fm_err err = fm_in_open(&in, ctx, path);
  if (err) return err;
  err = read_header(&in, &dtype, &shape);
  if (!err) {
    uint64_t have = in.size - in.at;
    int64_t need = fm_shape_bytes(&shape, dtype, have);
    if (need < 0 || (uint64_t)need != have) {
      char text[96];
      err =
          fm_fail(ctx, FM_EDATA,
                  "'%.300s' has %llu bytes of data, which do not make a %s array of shape %s", path,
                  (unsigned long long)have, fm_dtype_name(dtype), fm_shape_text(&shape, text));
    }
  }
  if (!err) {
    t = fm_tensor_new(ctx, dtype, &shape);
    err = t ? fm_in_read(&in, t->data, t->bytes) : fm_error_code(ctx);
  }
  fm_in_close(&in);
  if (err) {
    fm_tensor_drop(t);
  } else {
    *out = t;
  }
  return err;
}
