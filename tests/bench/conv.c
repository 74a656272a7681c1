/*
** conv.c - speed of the 3x3 convolutions, forward and both backwards, on two threads that each work
** through micro-batches of their own, as training does. GF/s counts the direct method's
** multiply-adds as two operations, whichever method runs, per second of processor time (which other
** programs hardly change), in the best of several runs, times two.
**
**   conv [images per micro-batch] [only this many input channels]; 0: all
*/
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/isa.h"
#include "kernels/peak.h"
#include "op_names.h"
#include "op.h"

#define IMAGES 32 /* in all */
#define THREADS 2
#define SECONDS 0.25 /* spent on each figure at least */

/* Channels in and out, rows and columns. */
static const int64_t shapes[][3] = {{32, 32, 32},   {32, 32, 16},   {64, 64, 32},   {64, 64, 16},
                                    {64, 64, 8},    {128, 128, 32}, {128, 128, 16}, {128, 128, 8},
                                    {256, 256, 32}, {256, 256, 16}, {256, 256, 8},  {512, 512, 8},
                                    {4, 64, 32},    {64, 3, 32},    {128, 64, 16}};

static int micro = 4; /* images per micro-batch */

static double clock_of(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static double now(void) { return clock_of(CLOCK_MONOTONIC); }
static double used(void) { return clock_of(CLOCK_THREAD_CPUTIME_ID); }

/* An operation on one micro-batch after the other. */
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

/* An operation on micro-batches: tensors of all images are cut, others are whole or, if the result,
   one per thread. */
static work work_of(const fm_op *op, fm_attr attr, fm_tensor *a, fm_tensor *b, fm_tensor *y,
                    int64_t size) {
  work w = {.op = op, .attr = attr, .count = IMAGES / micro / THREADS};
  fm_tensor *t[3] = {a, b, y};
  fm_sig sig[3];
  for (int k = 0; k < 3; k++) {
    sig[k] = (fm_sig){FM_F32, t[k]->shape};
    if (t[k]->shape.d[1] != size) continue;
    sig[k].shape.d[0] = micro;
    w.step[k] = t[k]->bytes / IMAGES * (size_t)micro;
  }
  if (w.step[2] == 0) {
    w.own = y->bytes / THREADS;
    sig[2].shape.d[0] /= THREADS;
  }
  w.in[0] = sig[0], w.in[1] = sig[1], w.out = sig[2];
  w.x[0] = a->data, w.x[1] = b->data, w.y = y->data;
  return w;
}

/* The transform of kernels w times factors f to u, on one thread. */
static double weights_seconds(fm_tensor *const w[2], fm_tensor *u, fm_attr attr) {
  fm_sig in[2] = {{FM_F32, w[0]->shape}, {FM_F32, w[1]->shape}}, out = {FM_F32, u->shape};
  const void *x[2] = {w[0]->data, w[1]->data};
  fm_exec e = {.attr = &attr, .in = in, .out = &out, .nin = 2, .x = x, .y = u->data};
  double least = 1e9;
  for (int k = 0; k < 9; k++) {
    double start = used();
    fm_kernel_of(&fm_op_winograd_weights, FM_F32)->exec(&e);
    least = used() - start < least ? used() - start : least;
  }
  return least;
}

/* x, dx; dy, y: the batch; w and its transforms u, v; g: a gradient per thread. */
static void measure(fm_ctx *ctx, int64_t in, int64_t out, int64_t size) {
  const fm_attr same = {{1, 1, 1, 3, 3}, {0}}, back = {{1, 1, 1, size, size}, {0}};
  const fm_attr straight = {{0}, {0}}, turned = {{1}, {0}}, outputs = {{out}, {0}},
                inputs = {{in}, {0}};
  fm_tensor *x = images(ctx, IMAGES, size, in, 0), *dy = images(ctx, IMAGES, size, out, 1);
  fm_tensor *y = images(ctx, IMAGES, size, out, 2), *dx = images(ctx, IMAGES, size, in, 3);
  fm_tensor *w = images(ctx, out, 3, in, 4), *g = images(ctx, THREADS * out, 3, in, 5);
  fm_tensor *f = fm_tensor_new(ctx, FM_F32, &(fm_shape){2, {out, 1}}), *wf[2] = {w, f};
  for (int64_t k = 0; k < out; k++) fm_tensor_set(f, k, 1);
  fm_tensor *u = fm_apply(ctx, &fm_op_winograd_weights, 2, wf, &straight);
  fm_tensor *v = fm_apply(ctx, &fm_op_winograd_weights, 2, wf, &turned);
  double top = peak(ctx);
  work list[] = {work_of(&fm_op_winograd, outputs, x, u, y, size),
                 work_of(&fm_op_winograd, inputs, dy, v, dx, size),
                 work_of(&fm_op_winograd_w, same, x, dy, g, size),
                 work_of(&fm_op_conv, same, x, w, y, size),
                 work_of(&fm_op_conv_x, back, dy, w, dx, size),
                 work_of(&fm_op_conv_w, same, x, dy, g, size)};
  double flops = 18.0 * IMAGES * (double)(size * size * in * out);
  printf("%3d -> %3d, %2dx%2d ", (int)in, (int)out, (int)size, (int)size);
  for (int k = 0; k < 6; k++)
    printf("%s %4.0f", k % 3 ? " /" : k ? "    " : "", flops / seconds(ctx, &list[k]) / 1e9);
  printf("   %4.0f   %.0f / %.0f us\n", top / 1e9, 1e6 * weights_seconds(wf, u, straight),
         1e6 * weights_seconds(wf, v, turned));
  fflush(stdout);
  fm_tensor *all[] = {x, dy, y, dx, w, g, u, v, f};
  for (int k = 0; k < 9; k++) fm_tensor_drop(all[k]);
}

/* The same shapes in PyTorch, where a Python with it is found ($PYTHON, else python3). */
static void ask_peer(int only) {
  char command[1024];
  const char *python = getenv("PYTHON");
  size_t n = (size_t)snprintf(command, sizeof command, "%s tests/bench/peer_conv.py",
                              python ? python : "python3");
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
    if (!only || only == shapes[k][0])
      n += (size_t)snprintf(command + n, sizeof command - n, " %d %d %d", (int)shapes[k][0],
                            (int)shapes[k][1], (int)shapes[k][2]);
  fflush(stdout);
  if (system(command) != 0) printf("no PyTorch to compare with: '%.40s...' failed\n", command);
}

int main(int argc, char **argv) {
  int only = argc > 2 ? atoi(argv[2]) : 0;
  fm_ctx *ctx = fm_ctx_new(THREADS);
  if (argc > 1) micro = atoi(argv[1]);
  if (ctx == NULL || micro < 1 || IMAGES % (micro * THREADS)) return 2;
  printf("%s, %d images in micro-batches of %d, %d threads; GF/s\n", fm_isa_name(fm_isa()), IMAGES,
         micro, THREADS);
  printf("channels, size     Winograd fwd / bwd-d / bwd-w   direct              peak   weights\n");
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
    if (!only || only == shapes[k][0]) measure(ctx, shapes[k][0], shapes[k][1], shapes[k][2]);
  fm_ctx_free(ctx);
  ask_peer(only);
  return 0;
}
