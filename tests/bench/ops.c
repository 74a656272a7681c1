/*
** ops.c - how fast operations that move memory run: gigabytes read and written per second of one
** core, on shapes of image networks (float32), beside a plain copy of the same size.
*/
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "op.h"

typedef struct trial {
  const char *name;
  int nin;
  fm_shape in[3];
  fm_attr attr;
} trial;

#define BIG                                                                                        \
  {                                                                                                \
    4, { 8, 32, 32, 128 }                                                                          \
  } /* 4 MiB a tensor: beyond the second cache */
#define DEEP                                                                                       \
  {                                                                                                \
    4, { 4, 16, 16, 256 }                                                                          \
  } /* 1 MiB */
#define ROW                                                                                        \
  {                                                                                                \
    4, { 8, 1, 1, 128 }                                                                            \
  }
#define DRAM                                                                                       \
  {                                                                                                \
    4, { 32, 32, 32, 128 }                                                                         \
  }
#define HEADS                                                                                      \
  {                                                                                                \
    5, { 4, 256, 4, 64, 3 }                                                                        \
  } /* query, key and value of 4 heads, 16 x 16 pixels */
#define LOGITS                                                                                     \
  {                                                                                                \
    3, { 16, 256, 256 }                                                                            \
  }

static const trial trials[] = {
    {"copy", 1, {BIG}, {{0}, {0}}},
    {"copy", 1, {DRAM}, {{0}, {0}}},
    {"normalize", 1, {BIG}, {{0}, {0}}},
    {"normalize", 1, {DEEP}, {{0}, {0}}},
    {"normalize", 1, {DRAM}, {{0}, {0}}},
    {"normalize", 1, {{4, {8, 32, 32, 32}}}, {{0}, {0}}},
    {"normalize_d", 2, {BIG, BIG}, {{0}, {0}}},
    {"normalize_d", 2, {{4, {8, 32, 32, 32}}, {4, {8, 32, 32, 32}}}, {{0}, {0}}},
    {"normalize_dd", 3, {BIG, BIG, BIG}, {{0}, {0}}},
    {"downsample", 1, {BIG}, {{0}, {0}}},
    {"upsample", 1, {DEEP}, {{0}, {0}}},
    {"mix", 2, {BIG, BIG}, {{0}, {0.7, 0.3}}},
    {"mix_cat", 2, {BIG, BIG}, {{0}, {0.7, 0.3}}},
    {"mix_cat", 2, {{4, {8, 32, 32, 32}}, {4, {8, 32, 32, 32}}}, {{0}, {0.7, 0.3}}},
    {"concat", 2, {BIG, BIG}, {{3}, {0}}},
    {"slice", 1, {BIG}, {{3, 32, 64}, {0}}},
    {"pad", 1, {BIG}, {{3, 0, 256}, {0}}},
    {"silu", 1, {BIG}, {{0}, {0}}},
    {"clip", 1, {BIG}, {{0}, {-256, 256}}},
    {"dropout", 0, {{0}}, {{4, 8, 32, 32, 128}, {0.13, 0}}},
    {"uniform", 0, {{0}}, {{4, 8, 32, 32, 128}, {0}}},
    {"transpose", 1, {HEADS}, {{4, 0, 2, 1, 3}, {0}}},
    {"transpose", 1, {{5, {3, 4, 4, 256, 64}}}, {{1, 3, 2, 4, 0}, {0}}}, /* and back */
    {"transpose", 1, {{4, {4, 4, 256, 64}}}, {{0, 2, 1, 3}, {0}}},
    {"transpose", 1, {{3, {16, 256, 256}}}, {{0, 2, 1}, {0}}},
    {"transpose", 1, {{3, {8, 1024, 128}}}, {{0, 2, 1}, {0}}},
    {"softmax", 1, {LOGITS}, {{0}, {0}}},
    {"softmax", 1, {{3, {64, 64, 64}}}, {{0}, {0}}},
    {"softmax_d", 2, {LOGITS, LOGITS}, {{0}, {0}}},
    {"broadcast", 1, {ROW}, {{4, 8, 32, 32, 128}, {0}}},
    {"sum_to", 1, {BIG}, {{4, 8, 1, 1, 128}, {0}}},
    {"sum_to", 1, {BIG}, {{4, 8, 32, 32, 1}, {0}}},
    {"max_to", 1, {BIG}, {{4, 8, 1, 1, 128}, {0}}},
    {"max_to", 1, {BIG}, {{4, 8, 32, 32, 1}, {0}}},
    {"max_pool", 1, {{4, {4, 35, 35, 288}}}, {{3, 2}, {0}}},
    {"max_pool", 1, {{4, {4, 8, 8, 2048}}}, {{3, 1, 1}, {0}}},
    {"max_put", 2, {BIG, {4, {8, 16, 16, 128}}}, {{2}, {0}}},
    {"avg_pool", 1, {{4, {4, 35, 35, 288}}}, {{3, 1, 1}, {0}}},
    {"resize_bilinear", 1, {{4, {4, 32, 32, 3}}}, {{299, 299, 1}, {0}}},
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run(const fm_op *op, const fm_exec *e, const fm_attr *a) {
  const fm_kernel *k = fm_kernel_of(op, FM_F32);
  if (k->exec)
    k->exec(e);
  else
    k->map(fm_shape_count(&e->out->shape), e->y, e->x[0], e->nin > 1 ? e->x[1] : e->x[0], e->x[0],
           a->f);
}

static void measure(fm_ctx *ctx, const trial *t) {
  const fm_op *op = fm_op_find(t->name);
  fm_tensor *in[3] = {NULL}, *y;
  fm_sig sig[3], out;
  const void *x[3];
  size_t bytes = 0;
  char shape[96];
  for (int k = 0; k < t->nin; k++) {
    sig[k] = (fm_sig){FM_F32, t->in[k]};
    in[k] = fm_tensor_new(ctx, FM_F32, &t->in[k]);
    fm_rng_normal(&(fm_rng){1, (uint32_t)k, 0}, FM_F32, 0, 1, fm_shape_count(&t->in[k]),
                  in[k]->data);
    x[k] = in[k]->data;
    bytes += in[k]->bytes;
  }
  if (fm_infer(ctx, op, t->nin, sig, &t->attr, &out) != FM_OK) {
    printf("%s\n", fm_error(ctx));
    fm_error_clear(ctx);
    return;
  }
  y = fm_tensor_new(ctx, FM_F32, &out.shape);
  bytes += y->bytes;
  if (strcmp(t->name, "slice") == 0) bytes = 2 * y->bytes; /* it reads what it takes */
  fm_exec e = {.attr = &t->attr, .out = &out, .in = sig, .nin = t->nin, .y = y->data, .x = x};
  double best = 1e9, start = now();
  for (int k = 0; k < 200 && (k < 3 || now() - start < 0.25); k++) {
    double s = now();
    run(op, &e, &t->attr);
    s = now() - s;
    best = s < best ? s : best;
  }
  printf("%-16s %-20s %8.1f us %7.1f GB/s\n", t->name,
         fm_shape_text(t->nin ? &t->in[0] : &out.shape, shape), 1e6 * best,
         1e-9 * (double)bytes / best);
  for (int k = 0; k < t->nin; k++) fm_tensor_drop(in[k]);
  fm_tensor_drop(y);
}

int main(int argc, char **argv) {
  fm_ctx *ctx = fm_ctx_new(1);
  if (ctx == NULL) return 1;
  for (size_t k = 0; k < sizeof trials / sizeof *trials; k++)
    if (argc < 2 || strcmp(argv[1], trials[k].name) == 0) measure(ctx, &trials[k]);
  fm_ctx_free(ctx);
  return 0;
}
