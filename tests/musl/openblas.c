/*
** openblas.c - a stand-in for OpenBLAS in the build for musl (.ci/musl.sh), where Debian has none:
** the functions that core/blas.c loads, written plainly. Products in double; eigenvectors by
** Jacobi's rotations (Golub and Van Loan, Matrix Computations, section 8.5).
*/
#include <cblas.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define PRODUCT(name, t)                                                                           \
  void name(CBLAS_ORDER order, CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, blasint m, blasint n,       \
            blasint k, t alpha, const t *a, blasint lda, const t *b, blasint ldb, t beta, t *y,    \
            blasint ldy) {                                                                         \
    (void)order; /* by rows */                                                                     \
    for (blasint i = 0; i < m; i++)                                                                \
      for (blasint j = 0; j < n; j++) {                                                            \
        double sum = 0;                                                                            \
        for (blasint p = 0; p < k; p++)                                                            \
          sum += (double)a[ta == CblasNoTrans ? i * lda + p : p * lda + i] *                       \
                 (double)b[tb == CblasNoTrans ? p * ldb + j : j * ldb + p];                        \
        t *to = y + i * ldy + j;                                                                   \
        *to = (t)((double)alpha * sum + (beta == 0 ? 0 : (double)beta * (double)*to));             \
      }                                                                                            \
  }
PRODUCT(cblas_sgemm, float)
PRODUCT(cblas_dgemm, double)

/* Makes a[p][q] zero by a rotation, which v collects as columns. */
static void rotate(int n, double *a, double *v, int p, int q) {
  const double apq = a[p * n + q];
  if (apq == 0) return;
  const double theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
  const double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
  const double c = 1 / sqrt(t * t + 1), s = t * c;
  for (int k = 0; k < n; k++) {
    const double x = a[k * n + p], y = a[k * n + q];
    a[k * n + p] = c * x - s * y, a[k * n + q] = s * x + c * y;
  }
  for (int k = 0; k < n; k++) {
    const double x = a[p * n + k], y = a[q * n + k];
    a[p * n + k] = c * x - s * y, a[q * n + k] = s * x + c * y;
  }
  for (int k = 0; k < n; k++) {
    const double x = v[k * n + p], y = v[k * n + q];
    v[k * n + p] = c * x - s * y, v[k * n + q] = s * x + c * y;
  }
}

void dsyevd_(const char *jobz, const char *uplo, const blasint *size, double *a, const blasint *lda,
             double *w, double *work, const blasint *lwork, blasint *iwork, const blasint *liwork,
             blasint *info, size_t one, size_t other);
void dsyevd_(const char *jobz, const char *uplo, const blasint *size, double *a, const blasint *lda,
             double *w, double *work, const blasint *lwork, blasint *iwork, const blasint *liwork,
             blasint *info, size_t one, size_t other) {
  const int n = *size;
  double *v = work; /* (n, n) */
  (void)jobz, (void)uplo, (void)lda, (void)lwork, (void)iwork, (void)liwork, (void)one, (void)other;
  for (int i = 0; i < n; i++) /* column-major, upper triangle */
    for (int j = 0; j < i; j++) a[j * n + i] = a[i * n + j];
  memset(v, 0, (size_t)n * (size_t)n * sizeof *v);
  for (int i = 0; i < n; i++) v[i * n + i] = 1;
  for (int sweep = 0; sweep < 30; sweep++)
    for (int p = 0; p < n; p++)
      for (int q = p + 1; q < n; q++) rotate(n, a, v, p, q);
  for (int i = 0; i < n; i++) w[i] = a[i * n + i];
  for (int r = 0; r < n; r++) { /* by selection: ascending; row r of a is the vector of w[r] */
    int least = r;
    for (int i = r + 1; i < n; i++)
      if (w[i] < w[least]) least = i;
    const double x = w[r];
    w[r] = w[least], w[least] = x;
    for (int k = 0; k < n; k++) {
      const double y = v[k * n + r];
      v[k * n + r] = v[k * n + least], v[k * n + least] = y;
    }
  }
  for (int r = 0; r < n; r++)
    for (int k = 0; k < n; k++) a[r * n + k] = v[k * n + r];
  *info = 0;
}

void openblas_set_num_threads(int n) { (void)n; }

char *openblas_get_corename(void) { return (char *)(intptr_t) "stand-in"; }
