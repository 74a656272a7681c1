/* ctx.c - the context: one error sentence, one memory account, one pool of worker threads. */
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"
#include "flush.h"
#include "fm.h"
#include "utf8.h"
#include "kernels/isa.h"
#include "processors.h"

/* Bytes of a worker's stack: its thread-local storage (kernels/workspace.h), its calls. */
#define STACK (8u << 20)

typedef void (*task_fn)(void *arg, int task);

struct fm_ctx {
  pthread_mutex_t lock; /* guards the error, the job and the pool */
  pthread_cond_t wake, done;
  char sentence[512];
  fm_err code;
  atomic_size_t now, peak;
  atomic_long fail_in; /* > 0: the number of the next allocation that fails */
  int threads;         /* requested, the calling thread included */
  int nworkers;        /* started, the calling thread excluded */
  pthread_t worker[FM_MAX_THREADS];
  bool quit;
  unsigned long job; /* counts jobs, so that a worker recognises a new one */
  task_fn fn;
  void *arg;
  int ntasks, busy;
  atomic_int next;
};

/* ------------------------------------------------------------------ errors */

fm_err fm_fail(fm_ctx *ctx, fm_err err, const char *format, ...) {
  pthread_mutex_lock(&ctx->lock);
  if (ctx->code == FM_OK) {
    va_list args;
    va_start(args, format);
    vsnprintf(ctx->sentence, sizeof ctx->sentence, format, args);
    va_end(args);
    fm_make_printable(ctx->sentence); /* it may quote a file, or be cut within a character */
    ctx->code = err;
  }
  pthread_mutex_unlock(&ctx->lock);
  return err;
}

const char *fm_error(const fm_ctx *ctx) { return ctx->code == FM_OK ? "" : ctx->sentence; }

fm_err fm_error_code(const fm_ctx *ctx) { return ctx->code; }

void fm_error_clear(fm_ctx *ctx) { ctx->code = FM_OK; }

/* ------------------------------------------------------------------ memory */

static bool must_fail(fm_ctx *ctx) {
  long left = atomic_load(&ctx->fail_in);
  while (left > 0)
    if (atomic_compare_exchange_weak(&ctx->fail_in, &left, left - 1)) return left == 1;
  return false;
}

void *fm_alloc(fm_ctx *ctx, size_t bytes) {
  void *p = NULL;
  size_t size = bytes == 0 ? 64 : bytes;
  if (must_fail(ctx) || size > SIZE_MAX / 2 || posix_memalign(&p, 64, size) != 0) {
    fm_fail(ctx, FM_ENOMEM, "memory: %zu bytes could not be allocated (%zu are in use)", bytes,
            atomic_load(&ctx->now));
    return NULL;
  }
  size_t now = atomic_fetch_add(&ctx->now, bytes) + bytes;
  size_t peak = atomic_load(&ctx->peak);
  while (now > peak && !atomic_compare_exchange_weak(&ctx->peak, &peak, now)) continue;
  return p;
}

void *fm_resize(fm_ctx *ctx, void *p, size_t was, size_t to) {
  void *q = fm_alloc(ctx, to);
  if (q == NULL) return NULL;
  if (p != NULL) memcpy(q, p, was < to ? was : to);
  fm_free(ctx, p, was);
  return q;
}

void fm_free(fm_ctx *ctx, void *p, size_t bytes) {
  if (p == NULL) return;
  atomic_fetch_sub(&ctx->now, bytes);
  free(p);
}

size_t fm_bytes_now(const fm_ctx *ctx) { return atomic_load(&ctx->now); }

size_t fm_bytes_peak(const fm_ctx *ctx) { return atomic_load(&ctx->peak); }

void fm_fail_alloc(fm_ctx *ctx, long k) { atomic_store(&ctx->fail_in, k); }

/* ------------------------------------------------------------------ threads */

static void run_tasks(fm_ctx *ctx, task_fn fn, void *arg, int n) {
  fm_flush was = fm_flush_begin();
  for (int i; (i = atomic_fetch_add(&ctx->next, 1)) < n;) fn(arg, i);
  fm_flush_end(was);
}

static void *worker_main(void *p) {
  fm_ctx *ctx = p;
  unsigned long seen = 0;
  pthread_mutex_lock(&ctx->lock);
  for (;;) {
    while (!ctx->quit && ctx->job == seen) pthread_cond_wait(&ctx->wake, &ctx->lock);
    if (ctx->quit) break;
    seen = ctx->job;
    if (ctx->fn == NULL) continue; /* the job ended before this thread woke up */
    task_fn fn = ctx->fn;
    void *arg = ctx->arg;
    int n = ctx->ntasks;
    ctx->busy++;
    pthread_mutex_unlock(&ctx->lock);
    run_tasks(ctx, fn, arg, n);
    pthread_mutex_lock(&ctx->lock);
    if (--ctx->busy == 0) pthread_cond_signal(&ctx->done);
  }
  pthread_mutex_unlock(&ctx->lock);
  return NULL;
}

static void stop_workers(fm_ctx *ctx) {
  pthread_mutex_lock(&ctx->lock);
  ctx->quit = true;
  pthread_cond_broadcast(&ctx->wake);
  pthread_mutex_unlock(&ctx->lock);
  for (int i = 0; i < ctx->nworkers; i++) pthread_join(ctx->worker[i], NULL);
  ctx->nworkers = 0;
  ctx->quit = false;
}

/*
** Signals sent to the process are for the thread that called us: a handler may belong to a Lua
** state, which only that thread may touch. Workers get those of their own faults alone.
*/
static void block_signals(sigset_t *was) {
  static const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
  sigset_t all;
  sigfillset(&all);
  for (size_t k = 0; k < sizeof faults / sizeof *faults; k++) sigdelset(&all, faults[k]);
  pthread_sigmask(SIG_SETMASK, &all, was);
}

/*
** Workers start with the first parallel job: a program that only prints its help needs none. The
** size of their stacks is set here because under `ulimit -s unlimited` the default is 2 MiB, less
** than their thread-local storage.
*/
static void start_workers(fm_ctx *ctx) {
  pthread_attr_t attr;
  if (ctx->nworkers >= ctx->threads - 1 || pthread_attr_init(&attr) != 0) return;
  const bool sized = pthread_attr_setstacksize(&attr, STACK) == 0;
  sigset_t was; /* workers inherit the mask */
  block_signals(&was);
  while (sized && ctx->nworkers < ctx->threads - 1) {
    if (pthread_create(&ctx->worker[ctx->nworkers], &attr, worker_main, ctx) != 0) break;
    ctx->nworkers++;
  }
  pthread_sigmask(SIG_SETMASK, &was, NULL);
  pthread_attr_destroy(&attr);
}

void fm_parallel(fm_ctx *ctx, int n, task_fn fn, void *arg) {
  if (n <= 1 || ctx->threads == 1) {
    fm_flush was = fm_flush_begin();
    for (int i = 0; i < n; i++) fn(arg, i);
    fm_flush_end(was);
    return;
  }
  start_workers(ctx);
  pthread_mutex_lock(&ctx->lock);
  ctx->fn = fn;
  ctx->arg = arg;
  ctx->ntasks = n;
  atomic_store(&ctx->next, 0);
  ctx->job++;
  pthread_cond_broadcast(&ctx->wake);
  pthread_mutex_unlock(&ctx->lock);
  run_tasks(ctx, fn, arg, n);
  pthread_mutex_lock(&ctx->lock);
  ctx->fn = NULL; /* a thread that wakes up only now must not touch the finished job */
  while (ctx->busy > 0) pthread_cond_wait(&ctx->done, &ctx->lock);
  pthread_mutex_unlock(&ctx->lock);
}

int fm_threads(const fm_ctx *ctx) { return ctx->threads; }

fm_err fm_set_threads(fm_ctx *ctx, int threads) {
  if (threads < 1 || threads > FM_MAX_THREADS)
    return fm_fail(ctx, FM_EUSAGE, "threads: found %d, expected 1 to %d", threads, FM_MAX_THREADS);
  stop_workers(ctx);
  ctx->threads = threads;
  return FM_OK;
}

/* ------------------------------------------------------------------ memory of the library */

fm_err fm_reserve_calls(fm_ctx *ctx, int calls) {
  const size_t missing = fm_blas_reserve(calls);
  if (missing == 0) return FM_OK;
  return fm_fail(ctx, FM_ENOMEM,
                 "memory: matrix products on %d thread%s need %zu MiB more address space than is "
                 "available%s",
                 calls, calls > 1 ? "s" : "", missing >> 20,
                 calls > 1 ? "; --threads 1 needs the least" : "");
}

/* ------------------------------------------------------------------ creation, destruction */

static int default_threads(void) {
  const char *text = getenv("FM_THREADS");
  long n = text ? strtol(text, NULL, 10) : 0;
  if (n < 1 || n > FM_MAX_THREADS) n = fm_processors();
  return n < 1 ? 1 : n > FM_MAX_THREADS ? FM_MAX_THREADS : (int)n;
}

fm_ctx *fm_ctx_new(int threads) {
  if (fm_blas_init() != NULL) return NULL;
  fm_ctx *ctx = calloc(1, sizeof *ctx);
  if (ctx == NULL) return NULL;
  pthread_mutex_init(&ctx->lock, NULL);
  pthread_cond_init(&ctx->wake, NULL);
  pthread_cond_init(&ctx->done, NULL);
  ctx->threads = threads > 0 && threads <= FM_MAX_THREADS ? threads : default_threads();
  fm_isa(); /* chosen once, before any worker asks */
  return ctx;
}

void fm_ctx_free(fm_ctx *ctx) {
  if (ctx == NULL) return;
  stop_workers(ctx);
  pthread_cond_destroy(&ctx->done);
  pthread_cond_destroy(&ctx->wake);
  pthread_mutex_destroy(&ctx->lock);
  free(ctx);
}
