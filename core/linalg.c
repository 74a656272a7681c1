/* linalg.c - symmetric eigenproblems and sorting, which the metrics need and programs do not. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "fm.h"

#define MAX_SIDE 16384 /* rows of a matrix; the 2 n^2 doubles of scratch then take 4 GiB */

/* ------------------------------------------------------------------ eigenvalues */

/* LAPACK reads only one triangle: an asymmetric matrix would silently lose the other. */
static fm_err check_symmetric(fm_ctx *ctx, const fm_tensor *a) {
  int64_t n = a->shape.d[0];
  const double *x = a->data;
  double top = 0, worst = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j <= i; j++) {
      top = fmax(top, fabs(x[i * n + j]));
      worst = fmax(worst, fabs(x[i * n + j] - x[j * n + i]));
    }
  if (worst <= 1e-8 * top) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE,
                 "eigh: the matrix differs from its transpose by %.3g, and its largest value is "
                 "%.3g; expected a symmetric matrix",
                 worst, top);
}

static fm_err check_matrix(fm_ctx *ctx, const fm_tensor *a) {
  char s[96];
  int64_t where;
  if (a->dtype != FM_F64 || a->shape.nd != 2 || a->shape.d[0] != a->shape.d[1])
    return fm_fail(ctx, FM_EUSAGE, "eigh: %s %s found, expected a square float64 matrix",
                   fm_dtype_name(a->dtype), fm_shape_text(&a->shape, s));
  if (a->shape.d[0] > MAX_SIDE)
    return fm_fail(ctx, FM_EUSAGE, "eigh: a matrix %s found, expected at most %d rows",
                   fm_shape_text(&a->shape, s), MAX_SIDE);
  if (!fm_tensor_finite(a, &where))
    return fm_fail(ctx, FM_ENUMERIC, "eigh: value %lld of the matrix is not finite",
                   (long long)where + 1);
  return check_symmetric(ctx, a);
}

static fm_err decompose(fm_ctx *ctx, fm_tensor *w, fm_tensor *v) {
  int64_t n = v->shape.d[0], nwork = 1 + 6 * n + 2 * n * n, niwork = 3 + 5 * n;
  size_t bytes = (size_t)nwork * sizeof(double), ibytes = (size_t)niwork * sizeof(int);
  double *work = fm_alloc(ctx, bytes);
  int *iwork = work ? fm_alloc(ctx, ibytes) : NULL;
  fm_err err = iwork ? FM_OK : FM_ENOMEM;
  if (err == FM_OK) err = fm_reserve_calls(ctx, 2); /* LAPACK and the products it calls */
  if (err == FM_OK) {
    int info = fm_blas_eigh(n, v->data, w->data, work, nwork, iwork, niwork);
    if (info != 0)
      err = fm_fail(ctx, FM_ENUMERIC, "eigh: LAPACK's dsyevd did not converge (code %d)", info);
  }
  if (iwork) fm_free(ctx, iwork, ibytes);
  if (work) fm_free(ctx, work, bytes);
  return err;
}

fm_err fm_eigh(fm_ctx *ctx, const fm_tensor *a, fm_tensor **w, fm_tensor **v) {
  *w = *v = NULL;
  fm_err err = check_matrix(ctx, a);
  if (err != FM_OK) return err;
  fm_shape line = {1, {a->shape.d[0]}};
  *w = fm_tensor_new(ctx, FM_F64, &line);
  *v = *w ? fm_tensor_new(ctx, FM_F64, &a->shape) : NULL;
  if (*v == NULL)
    err = FM_ENOMEM;
  else if (a->bytes > 0) {
    memcpy((*v)->data, a->data, a->bytes);
    err = decompose(ctx, *w, *v);
  }
  if (err != FM_OK) {
    fm_tensor_drop(*w);
    fm_tensor_drop(*v);
    *w = *v = NULL;
  }
  return err;
}

/* ------------------------------------------------------------------ sorting */

static int by_f32(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static int by_f64(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

typedef struct sort_job {
  fm_tensor *t;
  int64_t rows, n;
  int tasks;
} sort_job;

static void sort_task(void *arg, int task) {
  const sort_job *job = arg;
  size_t size = fm_dtype_size(job->t->dtype), row = (size_t)job->n * size;
  int64_t last = job->rows * (task + 1) / job->tasks;
  for (int64_t r = job->rows * task / job->tasks; r < last; r++)
    qsort((char *)job->t->data + (size_t)r * row, (size_t)job->n, size,
          job->t->dtype == FM_F32 ? by_f32 : by_f64);
}

static bool has_nan(const fm_tensor *x) {
  int64_t n = fm_shape_count(&x->shape);
  for (int64_t k = 0; k < n; k++)
    if (isnan(fm_tensor_get(x, k))) return true;
  return false;
}

fm_tensor *fm_sort_rows(fm_ctx *ctx, const fm_tensor *x) {
  if (x->shape.nd == 0 || (x->dtype != FM_F32 && x->dtype != FM_F64)) {
    char s[96];
    fm_fail(ctx, FM_EUSAGE, "sort: %s %s found, expected float32 or float64 of rank 1 or more",
            fm_dtype_name(x->dtype), fm_shape_text(&x->shape, s));
    return NULL;
  }
  if (has_nan(x)) { /* NaN has no place in an order */
    fm_fail(ctx, FM_ENUMERIC, "sort: a NaN found, expected numbers");
    return NULL;
  }
  fm_tensor *t = fm_tensor_new(ctx, x->dtype, &x->shape);
  int64_t count = fm_shape_count(&x->shape);
  if (t == NULL || count == 0) return t;
  memcpy(t->data, x->data, x->bytes);
  int64_t n = x->shape.d[x->shape.nd - 1];
  sort_job job = {t, count / n, n, fm_threads(ctx)};
  fm_parallel(ctx, job.tasks, sort_task, &job);
  return t;
}
