/* tensor.c - shapes and reference-counted, row-major tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "map.h"
#include "sizes.h"

size_t fm_dtype_size(fm_dtype dtype) {
  static const size_t size[] = {[FM_F32] = sizeof(float), [FM_F64] = sizeof(double), [FM_U8] = 1};
  return size[dtype];
}

const char *fm_dtype_name(fm_dtype dtype) {
  static const char *const name[] = {[FM_F32] = "float32", [FM_F64] = "float64", [FM_U8] = "uint8"};
  return name[dtype];
}

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

bool fm_sig_fits(const fm_sig *sig) {
  const fm_shape *s = &sig->shape;
  size_t n = fm_dtype_size(sig->dtype);
  if (s->nd < 0 || s->nd > FM_MAX_DIMS) return false;
  for (int i = 0; i < s->nd; i++) {
    size_t d = s->d[i] > 0 ? (size_t)s->d[i] : 1;
    if (s->d[i] < 0 || n > FM_MOST_BYTES / d) return false;
    n *= d;
  }
  return true;
}

static bool check_shape(fm_ctx *ctx, fm_dtype dtype, const fm_shape *shape, size_t *bytes) {
  char buf[96];
  const fm_sig sig = {dtype, *shape};
  if (fm_sig_fits(&sig)) {
    *bytes = (size_t)fm_shape_count(shape) * fm_dtype_size(dtype);
    return true;
  }
  fm_fail(ctx, FM_EUSAGE, "tensor: the shape %s has a negative size or is too large to address",
          fm_shape_text(shape, buf));
  return false;
}

fm_tensor *fm_tensor_over(fm_ctx *ctx, fm_dtype dtype, const fm_shape *shape, void *data, void *map,
                          size_t map_bytes) {
  size_t bytes;
  if (!check_shape(ctx, dtype, shape, &bytes)) return NULL;
  fm_tensor *t = fm_alloc(ctx, sizeof *t);
  if (t) *t = (fm_tensor){ctx, data, bytes, *shape, dtype, 1, map, map_bytes, NULL, 0};
  return t;
}

fm_tensor *fm_tensor_new(fm_ctx *ctx, fm_dtype dtype, const fm_shape *shape) {
  size_t bytes;
  if (!check_shape(ctx, dtype, shape, &bytes)) return NULL;
  void *data = fm_alloc(ctx, bytes);
  if (data == NULL) return NULL;
  memset(data, 0, bytes);
  fm_tensor *t = fm_tensor_over(ctx, dtype, shape, data, NULL, 0);
  if (t == NULL) fm_free(ctx, data, bytes);
  return t;
}

fm_tensor *fm_tensor_view(fm_tensor *t, int64_t first, int64_t n) {
  if (t->shape.nd == 0) {
    fm_fail(t->ctx, FM_EUSAGE, "view: a scalar found, expected a tensor with rows");
    return NULL;
  }
  const int64_t rows = t->shape.d[0];
  if (first < 0 || n < 0 || first > rows || n > rows - first) {
    fm_fail(t->ctx, FM_EUSAGE, "view: rows %lld to %lld found, expected a range within 1 to %lld",
            (long long)fm_plus(first, 1), (long long)fm_plus(first, n), (long long)rows);
    return NULL;
  }
  fm_shape shape = t->shape;
  shape.d[0] = n;
  size_t row = rows > 0 ? t->bytes / (size_t)rows : 0;
  fm_tensor *view =
      fm_tensor_over(t->ctx, t->dtype, &shape, (char *)t->data + (size_t)first * row, NULL, 0);
  if (view) view->of = fm_tensor_keep(t->of ? t->of : t);
  return view;
}

bool fm_tensor_overlap(const fm_tensor *a, const fm_tensor *b) {
  const uintptr_t x = (uintptr_t)a->data, y = (uintptr_t)b->data;
  return a->bytes > 0 && b->bytes > 0 && x < y + b->bytes && y < x + a->bytes;
}

void fm_tensor_written(fm_tensor *t) { (t->of ? t->of : t)->writes++; }

uint64_t fm_tensor_writes(const fm_tensor *t) { return (t->of ? t->of : t)->writes; }

fm_tensor *fm_tensor_keep(fm_tensor *t) {
  t->refs++;
  return t;
}

void fm_tensor_drop(fm_tensor *t) {
  if (t == NULL || --t->refs > 0) return;
  if (t->of)
    fm_tensor_drop(t->of);
  else if (t->map)
    fm_unmap(t->map, t->map_bytes);
  else
    fm_free(t->ctx, t->data, t->bytes);
  fm_free(t->ctx, t, sizeof *t);
}

double fm_tensor_get(const fm_tensor *t, int64_t i) {
  switch (t->dtype) {
  case FM_F64: return ((const double *)t->data)[i];
  case FM_U8: return ((const uint8_t *)t->data)[i];
  default: return (double)((const float *)t->data)[i];
  }
}

uint8_t fm_byte(double value) {
  if (!(value > 0)) return 0; /* also for a NaN */
  return value >= 255 ? 255 : (uint8_t)lround(value);
}

void fm_tensor_set(fm_tensor *t, int64_t i, double value) {
  switch (t->dtype) {
  case FM_F64: ((double *)t->data)[i] = value; break;
  case FM_U8: ((uint8_t *)t->data)[i] = fm_byte(value); break;
  default: ((float *)t->data)[i] = (float)value;
  }
}

bool fm_tensor_finite(const fm_tensor *t, int64_t *where) {
  int64_t n = t->dtype == FM_U8 ? 0 : fm_shape_count(&t->shape);
  for (int64_t i = 0; i < n; i++)
    if (!isfinite(fm_tensor_get(t, i))) {
      if (where) *where = i;
      return false;
    }
  return true;
}
