/* tensor.c - shapes and reference-counted, row-major tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fm.h"

size_t fm_dtype_size(fm_dtype dtype) { return dtype == FM_F64 ? sizeof(double) : sizeof(float); }

const char *fm_dtype_name(fm_dtype dtype) { return dtype == FM_F64 ? "float64" : "float32"; }

int64_t fm_shape_count(const fm_shape *s) {
  int64_t n = 1;
  for (int i = 0; i < s->nd; i++) n *= s->d[i];
  return n;
}

bool fm_shape_eq(const fm_shape *a, const fm_shape *b) {
  if (a->nd != b->nd) return false;
  for (int i = 0; i < a->nd; i++)
    if (a->d[i] != b->d[i]) return false;
  return true;
}

const char *fm_shape_text(const fm_shape *s, char buf[96]) {
  int at = snprintf(buf, 96, "(");
  for (int i = 0; i < s->nd && at < 90; i++)
    at += snprintf(buf + at, (size_t)(96 - at), "%s%lld", i ? ", " : "", (long long)s->d[i]);
  if (at < 95) snprintf(buf + at, (size_t)(96 - at), ")");
  return buf;
}

/* The size in bytes, or false when the shape is malformed or too large to address. */
static bool shape_bytes(const fm_shape *s, fm_dtype dtype, size_t *bytes) {
  size_t n = fm_dtype_size(dtype);
  if (s->nd < 0 || s->nd > FM_MAX_DIMS) return false;
  for (int i = 0; i < s->nd; i++) {
    if (s->d[i] < 0) return false;
    if (s->d[i] > 0 && n > (SIZE_MAX >> 4) / (size_t)s->d[i]) return false;
    n *= (size_t)s->d[i];
  }
  *bytes = n;
  return true;
}

fm_tensor *fm_tensor_new(fm_ctx *ctx, fm_dtype dtype, const fm_shape *shape) {
  size_t bytes;
  if (!shape_bytes(shape, dtype, &bytes)) {
    char buf[96];
    fm_fail(ctx, FM_EUSAGE, "tensor: the shape %s is negative or too large to address",
            fm_shape_text(shape, buf));
    return NULL;
  }
  fm_tensor *t = fm_alloc(ctx, sizeof *t);
  if (t == NULL) return NULL;
  void *data = fm_alloc(ctx, bytes);
  if (data == NULL) {
    fm_free(ctx, t, sizeof *t);
    return NULL;
  }
  memset(data, 0, bytes);
  *t = (fm_tensor){ctx, data, bytes, *shape, dtype, 1};
  return t;
}

fm_tensor *fm_tensor_keep(fm_tensor *t) {
  t->refs++;
  return t;
}

void fm_tensor_drop(fm_tensor *t) {
  if (t == NULL || --t->refs > 0) return;
  fm_free(t->ctx, t->data, t->bytes);
  fm_free(t->ctx, t, sizeof *t);
}

double fm_tensor_get(const fm_tensor *t, int64_t i) {
  return t->dtype == FM_F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

void fm_tensor_set(fm_tensor *t, int64_t i, double value) {
  if (t->dtype == FM_F64)
    ((double *)t->data)[i] = value;
  else
    ((float *)t->data)[i] = (float)value;
}

bool fm_tensor_finite(const fm_tensor *t, int64_t *where) {
  int64_t n = fm_shape_count(&t->shape);
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(fm_tensor_get(t, i))) {
      if (where) *where = i;
      return false;
    }
  return true;
}
