/*
** blas.c - OpenBLAS behind a few functions. The library is loaded at run time, not linked, because
** only an environment variable set before it starts keeps it from creating threads. With more than
** one, OpenBLAS 0.3.21 waits forever, ignoring SIGTERM, if memory for their buffers is short.
*/
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#define _POSIX_C_SOURCE 200809L
#include "blas.h"

#include <cblas.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "processors.h"
#include "symbol.h"

/* The names of the library, until NULL: Debian's, Alpine's; where Homebrew keeps it. */
static const char *const libraries[] = {
#if defined(__APPLE__)
    FM_SHARED("openblas", "0"),
    "/opt/homebrew/opt/openblas/lib/" FM_SHARED("openblas", "0"),
    "/usr/local/opt/openblas/lib/" FM_SHARED("openblas", "0"),
#else
    FM_SHARED("openblas", "0"),
    FM_SHARED("openblas", "3"),
#endif
    NULL,
};
#define THREADS "OPENBLAS_NUM_THREADS"

/* The Fortran interface: every argument by address, then the lengths of the two strings. The
   library contains LAPACK, but not LAPACKE, which would declare it. */
typedef void dsyevd_fn(const char *jobz, const char *uplo, const blasint *n, double *a,
                       const blasint *lda, double *w, double *work, const blasint *lwork,
                       blasint *iwork, const blasint *liwork, blasint *info, size_t, size_t);

/* The functions used, with the types that the library's header gives them. */
static struct {
  void (*sgemm)(CBLAS_ORDER, CBLAS_TRANSPOSE, CBLAS_TRANSPOSE, blasint, blasint, blasint, float,
                const float *, blasint, const float *, blasint, float, float *, blasint);
  void (*dgemm)(CBLAS_ORDER, CBLAS_TRANSPOSE, CBLAS_TRANSPOSE, blasint, blasint, blasint, double,
                const double *, blasint, const double *, blasint, double, double *, blasint);
  dsyevd_fn *dsyevd;
  void (*set_num_threads)(int);
  char *(*corename)(void);
  void *(*memory_alloc)(int); /* these two may be absent */
  void (*memory_free)(void *);
} api;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char problem[256];

/* ------------------------------------------------------------------ loading */

static void complain(const char *why) {
  snprintf(problem, sizeof problem, "OpenBLAS could not be loaded: %.200s",
           why ? why : "there is not enough memory");
}

/* The first name says best why there is no library. */
static void *open_any(int mode) {
  void *library = NULL;
  for (int k = 0; libraries[k] && library == NULL; k++) {
    library = dlopen(libraries[k], RTLD_LAZY | RTLD_LOCAL | mode);
    if (library == NULL && k == 0) complain(dlerror());
  }
  return library;
}

/* dlopen with the variable set, and restored afterwards: child processes do not inherit it. */
static void *open_library(void) {
  void *trial = malloc(1 << 20); /* libgfortran, a dependency, aborts if memory is short */
  free(trial);
  complain(NULL);
  if (trial == NULL) return NULL;
  const char *set = getenv(THREADS);
  char *was = set ? strdup(set) : NULL;
  if (set && was == NULL) return NULL;
  setenv(THREADS, "1", 1);
  void *library = open_any(0);
  if (was)
    setenv(THREADS, was, 1);
  else
    unsetenv(THREADS);
  free(was);
  return library;
}

static void load(void) {
  void *library = open_any(RTLD_NOLOAD); /* a host may have it already */
  if (library == NULL) library = open_library();
  if (library && fm_symbol(library, "cblas_sgemm", &api.sgemm) &&
      fm_symbol(library, "cblas_dgemm", &api.dgemm) && fm_symbol(library, "dsyevd_", &api.dsyevd) &&
      fm_symbol(library, "openblas_set_num_threads", &api.set_num_threads) &&
      fm_symbol(library, "openblas_get_corename", &api.corename)) {
    if (!fm_symbol(library, "blas_memory_alloc", &api.memory_alloc) ||
        !fm_symbol(library, "blas_memory_free", &api.memory_free))
      api.memory_alloc = NULL;
    api.set_num_threads(1);
    problem[0] = '\0';
  } else if (library)
    complain(dlerror());
}

const char *fm_blas_init(void) {
  pthread_once(&once, load);
  return problem[0] ? problem : NULL;
}

/* ------------------------------------------------------------------ memory */

#define BUFFER ((size_t)128 << 20) /* address space of a call's buffer in the largest builds */

/*
** A call for which OpenBLAS finds no memory retries forever. The buffers of all calls that can run
** concurrently are therefore allocated in advance: a trial mapping shows that the address space
** suffices, then OpenBLAS allocates the buffers and returns them to its pool.
*/
size_t fm_blas_reserve(int calls) {
  static int reserved; /* called only by the thread that owns a context */
  void *buffer[FM_MAX_THREADS];
  if (calls > FM_MAX_THREADS) calls = FM_MAX_THREADS;
  if (calls <= reserved || api.memory_alloc == NULL) return 0;
  const size_t bytes = (size_t)(calls - reserved) * BUFFER;
  void *trial =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (trial == MAP_FAILED) return bytes;
  munmap(trial, bytes);
  for (int k = 0; k < calls; k++) buffer[k] = api.memory_alloc(0);
  for (int k = 0; k < calls; k++) api.memory_free(buffer[k]);
  reserved = calls;
  return 0;
}

/* ------------------------------------------------------------------ products, eigenvalues */

static bool fits(int64_t a, int64_t b, int64_t c) {
  return a <= INT32_MAX && b <= INT32_MAX && c <= INT32_MAX;
}

/* Sums over k = 0 terms are set to zero here: BLAS may leave y unchanged. */
#define GEMM(name, t, call)                                                                        \
  bool name(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const t *a, int64_t lda,            \
            const t *b, int64_t ldb, bool accumulate, t *y, int64_t ldy) {                         \
    if (m == 0 || n == 0) return true;                                                             \
    if (!fits(m, n, k) || !fits(lda, ldb, ldy)) return false;                                      \
    if (k == 0 && !accumulate)                                                                     \
      for (int64_t i = 0; i < m; i++) memset(y + i * ldy, 0, (size_t)n * sizeof *y);               \
    if (k > 0)                                                                                     \
      call(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,          \
           (blasint)m, (blasint)n, (blasint)k, 1, a, (blasint)lda, b, (blasint)ldb, accumulate, y, \
           (blasint)ldy);                                                                          \
    return true;                                                                                   \
  }
GEMM(fm_blas_gemm_f32, float, api.sgemm)
GEMM(fm_blas_gemm_f64, double, api.dgemm)

int fm_blas_eigh(int64_t n, double *a, double *w, double *work, int64_t nwork, int *iwork,
                 int64_t niwork) {
  blasint size = (blasint)n, lwork = (blasint)nwork, liwork = (blasint)niwork, info = 0;
  if (n > 0) api.dsyevd("V", "U", &size, a, &size, w, work, &lwork, iwork, &liwork, &info, 1, 1);
  return (int)info;
}

const char *fm_blas_name(void) { return api.corename(); }
