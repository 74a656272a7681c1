/*
** conv.c - speed of the 3x3 convolutions, forward and both backwards, on two threads that each work
** through micro-batches of their own, as training does. GF/s counts the direct method's
** multiply-adds as two operations, whichever method runs, per second of processor time (which other
** programs hardly change), in the best of several runs, times two.
**
**   conv [images per micro-batch] [only this many channels]
*/
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/isa.h"
#include "kernels/peak.h"
#include "op.h"

#define IMAGES 32 /* in all */
#define THREADS 2
#define SECONDS 0.25 /* spent on each figure at least */

static const int64_t shapes[][3] = {{32, 32, 0},  {32, 16, 0},  {64, 32, 0},  {64, 16, 0},
                                    {64, 8, 0},   {128, 32, 0}, {128, 16, 0}, {128, 8, 0},
                                    {256, 32, 0}, {256, 16, 0}, {256, 8, 0},  {512, 8, 0}};

static double clock_of(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static double now(void) { return clock_of(CLOCK_MONOTONIC); }
static double used(void) { return clock_of(CLOCK_THREAD_CPUTIME_ID); }

/* A call per micro-batch on rows of `row` values; the weights' transform may come first. */
typedef struct work {
  const fm_op *op;
  fm_attr attr;
  fm_sig in[2], out;
  char *x[2], *y; /* whole batch, or one for all (weights), or one per thread (gradients) */
  size_t step[3]; /* bytes from one micro-batch to the next */
  size_t own;     /* bytes from one thread's result to the other's */
  int count;      /* micro-batches per thread */
  double seconds[THREADS];
} work;

static void run_one(const work *w, int thread, int k) {
  size_t m = (size_t)(thread * w->count + k);
  const void *x[2] = {w->x[0] + m * w->step[0], w->x[1] + m * w->step[1]};
  fm_exec e = {.attr = &w->attr, .out = &w->out, .in = w->in, .nin = 2, .x = x};
  e.y = w->y + m * w->step[2] + (size_t)thread * w->own;
  e.accumulate = w->own && k > 0;
  fm_kernel_of(w->op, w->out.dtype)->exec(&e);
}

static void run_thread(void *arg, int thread) {
  work *w = arg;
  double start = used();
  for (int k = 0; k < w->count; k++) run_one(w, thread, k);
  w->seconds[thread] = used() - start;
}

static double seconds(fm_ctx *ctx, work *w) {
  double least = 1e9, start = now();
  for (int k = 0; k < 5 || now() - start < SECONDS; k++) {
    fm_parallel(ctx, THREADS, run_thread, w);
    double t = (w->seconds[0] + w->seconds[1]) / THREADS;
    least = t < least ? t : least;
  }
  return least;
}

static void peak_task(void *arg, int task) {
  double start = used(), flops = fm_peak_flops(2000000);
  ((double *)arg)[task] = flops / (used() - start);
}

static double peak(fm_ctx *ctx) {
  double rate[THREADS], best = 0;
  for (int k = 0; k < 5; k++) {
    fm_parallel(ctx, THREADS, peak_task, rate);
    best = rate[0] + rate[1] > best ? rate[0] + rate[1] : best;
  }
  return best;
}

static fm_tensor *images(fm_ctx *ctx, int64_t n, int64_t size, int64_t c, uint32_t stream) {
  fm_tensor *t = fm_tensor_new(ctx, FM_F32, &(fm_shape){4, {n, size, size, c}});
  if (t) fm_rng_normal(&(fm_rng){1, stream, 0}, FM_F32, 0, 1, n * size * size * c, t->data);
  return t;
}

/* x, dy: the batch; y: as large; w (C, 3, 3, C), u: its transform; g: a gradient per thread. */
static void measure(fm_ctx *ctx, int64_t c, int64_t size, int micro, double top) {
  const fm_attr same = {{1, 1, 1, 3, 3}, {0}}, back = {{1, 1, 1, size, size}, {0}};
  fm_tensor *x = images(ctx, IMAGES, size, c, 0), *dy = images(ctx, IMAGES, size, c, 1);
  fm_tensor *y = images(ctx, IMAGES, size, c, 2), *w = images(ctx, c, 3, c, 3);
  fm_tensor *g = images(ctx, THREADS * c, 3, c, 4);
  fm_attr turned = {{1}, {0}};
  double t0 = used();
  fm_tensor *u = fm_apply(ctx, &fm_op_winograd_weights, 1, &w, NULL);
  double t1 = used();
  fm_tensor *v = fm_apply(ctx, &fm_op_winograd_weights, 1, &w, &turned);
  double t2 = used();
  fm_sig batch = {FM_F32, {4, {micro, size, size, c}}}, kernel = {FM_F32, w->shape};
  fm_sig uu = {FM_F32, u->shape};
  size_t step = (size_t)(micro * size * size * c) * sizeof(float);
  int count = IMAGES / micro / THREADS;
  work list[] = {{&fm_op_winograd,
                  {{c}, {0}},
                  {batch, uu},
                  batch,
                  {x->data, u->data},
                  y->data,
                  {step, 0, step},
                  0,
                  count,
                  {0}},
                 {&fm_op_winograd,
                  {{c}, {0}},
                  {batch, uu},
                  batch,
                  {dy->data, v->data},
                  y->data,
                  {step, 0, step},
                  0,
                  count,
                  {0}},
                 {&fm_op_winograd_w,
                  same,
                  {batch, batch},
                  kernel,
                  {x->data, dy->data},
                  g->data,
                  {step, step, 0},
                  w->bytes,
                  count,
                  {0}},
                 {&fm_op_conv,
                  same,
                  {batch, kernel},
                  batch,
                  {x->data, w->data},
                  y->data,
                  {step, 0, step},
                  0,
                  count,
                  {0}},
                 {&fm_op_conv_x,
                  back,
                  {batch, kernel},
                  batch,
                  {dy->data, w->data},
                  y->data,
                  {step, 0, step},
                  0,
                  count,
                  {0}},
                 {&fm_op_conv_w,
                  same,
                  {batch, batch},
                  kernel,
                  {x->data, dy->data},
                  g->data,
                  {step, step, 0},
                  w->bytes,
                  count,
                  {0}}};
  double flops = 18.0 * IMAGES * (double)(size * size * c * c);
  printf("%4d, %2dx%2d  ", (int)c, (int)size, (int)size);
  for (int k = 0; k < 6; k++) {
    double t = seconds(ctx, &list[k]);
    printf("%s %4.0f", k % 3 ? " /" : k ? "    " : "", flops / t / 1e9);
  }
  printf("   %4.0f   weights %.0f, %.0f us\n", top / 1e9, 1e6 * (t1 - t0), 1e6 * (t2 - t1));
  fflush(stdout);
  fm_tensor *all[] = {x, dy, y, w, g, u, v};
  for (int k = 0; k < 7; k++) fm_tensor_drop(all[k]);
}

int main(int argc, char **argv) {
  int micro = argc > 1 ? atoi(argv[1]) : 4, only = argc > 2 ? atoi(argv[2]) : 0;
  fm_ctx *ctx = fm_ctx_new(THREADS);
  if (ctx == NULL || micro < 1 || IMAGES % (micro * THREADS)) return 2;
  printf("%s, %d images in micro-batches of %d, %d threads; GF/s\n", fm_isa_name(fm_isa()), IMAGES,
         micro, THREADS);
  printf("C, size      Winograd fwd / bwd-d / bwd-w   direct              peak\n");
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
    if (!only || only == shapes[k][0]) measure(ctx, shapes[k][0], shapes[k][1], micro, peak(ctx));
  fm_ctx_free(ctx);
  return 0;
}
