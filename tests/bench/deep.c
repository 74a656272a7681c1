/*
** deep.c - what a deep network costs before it runs, and while it does: residual blocks with
** normalised weights, modulation, pixel norms and activations on channels-last images, trained as a
** Lagrangian loss is (a diagonal part; a part with its tangent and a frozen target). Products stand
** for convolutions.  deep [blocks] [channels] [pixels] [micro-batch] [micro-batches] [explain]
*/
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "op_names.h"
#include "program/program.h"

enum { MOST = 256 };

typedef struct net {
  fm_prog *p;
  int blocks;
  int64_t c, e; /* channels, width of the embedding */
  fm_val w[MOST][4], own[MOST][4];
} net;

static fm_sig f32(int nd, int64_t a, int64_t b, int64_t c, int64_t d) {
  return (fm_sig){FM_F32, {nd, {a, nd > 1 ? b : 0, nd > 2 ? c : 0, nd > 3 ? d : 0}}};
}

/* x / (1e-4 + rms over the axes that are 1 in `small`) */
static fm_val normalize(fm_prog *p, fm_val x, fm_shape small) {
  fm_shape big = fm_prog_sig(p, x).shape;
  double share = (double)fm_shape_count(&small) / (double)fm_shape_count(&big);
  fm_val s = fm_sum_to(p, fm_e1(p, &fm_op_square, x), &small);
  fm_val rms = fm_affine(p, fm_e1(p, fm_op_find("sqrt"), fm_scale(p, s, share)), 1, 1e-4);
  return fm_mul(p, x, fm_broadcast(p, fm_e1(p, fm_op_find("recip"), rms), &big));
}

static fm_val product(fm_prog *p, fm_val x, fm_val w) { /* (N, H, W, C) times a normalised weight */
  fm_shape s = fm_prog_sig(p, x).shape, ws = fm_prog_sig(p, w).shape;
  fm_shape flat = {2, {s.d[0] * s.d[1] * s.d[2], s.d[3]}}, one = {2, {1, ws.d[1]}};
  fm_val y = fm_matmul(p, fm_reshape(p, x, &flat), normalize(p, w, one), false, false);
  s.d[3] = ws.d[1];
  return fm_reshape(p, y, &s);
}

static fm_val silu(fm_prog *p, fm_val x) {
  return fm_scale(p, fm_e1(p, fm_op_find("silu"), x), 1 / 0.596);
}

static fm_val forward(net *n, fm_val x, fm_val emb) {
  fm_prog *p = n->p;
  fm_shape big = fm_prog_sig(p, x).shape, pixel = big, image = {4, {big.d[0], 1, 1, n->c}};
  pixel.d[3] = 1;
  for (int k = 0; k < n->blocks; k++) {
    const fm_val *w = n->own[k];
    if (k % 2) x = normalize(p, x, pixel);
    fm_val y = product(p, silu(p, x), w[0]);
    fm_val m = fm_matmul(p, emb, normalize(p, w[2], (fm_shape){2, {1, n->c}}), false, false);
    fm_val gain = fm_broadcast(p, fm_reshape(p, w[3], &(fm_shape){2, {1, 1}}),
                               &(fm_shape){2, {big.d[0], n->c}});
    m = fm_affine(p, fm_mul(p, m, gain), 1, 1);
    y = fm_mul(p, y, fm_broadcast(p, fm_reshape(p, m, &image), &big));
    y = product(p, silu(p, y), w[1]);
    x = fm_add(p, fm_scale(p, x, 0.9), fm_scale(p, y, 0.4));
  }
  return x;
}

static fm_val half_square(fm_prog *p, fm_val x) {
  fm_val s = fm_sum_to(p, fm_e1(p, &fm_op_square, x), &(fm_shape){4, {1, 1, 1, 1}});
  return fm_reshape(p, fm_scale(p, s, 0.5), &(fm_shape){0, {0}});
}

static fm_prog *trace(fm_ctx *ctx, int blocks, int64_t c, int64_t side, int64_t n) {
  net *t = calloc(1, sizeof *t);
  *t = (net){.p = fm_prog_new(ctx), .blocks = blocks, .c = c, .e = c};
  fm_prog *p = t->p;
  int64_t nd = n > 1 ? n * 3 / 4 : 0;
  fm_val flat[4 * MOST], grad[4 * MOST];
  for (int k = 0; k < blocks; k++)
    for (int j = 0; j < 4; j++) {
      fm_sig sig = j < 2 ? f32(2, c, c, 0, 0) : j == 2 ? f32(2, c, c, 0, 0) : f32(0, 0, 0, 0, 0);
      t->w[k][j] = fm_input(p, FM_SHARED, &sig);
      t->own[k][j] = flat[4 * k + j] = fm_e1(p, &fm_op_copy, t->w[k][j]);
    }
  fm_sig image = f32(4, n, side, side, c), code = f32(2, n, c, 0, 0);
  fm_val x = fm_input(p, FM_ROWS, &image), emb = fm_input(p, FM_ROWS, &code), loss = FM_NONE;
  if (nd > 0)
    loss = half_square(p, forward(t, fm_slice(p, x, 0, 0, nd), fm_slice(p, emb, 0, 0, nd)));
  fm_val xo = fm_slice(p, x, 0, nd, n - nd), eo = fm_slice(p, emb, 0, nd, n - nd), own, y, dy;
  own = fm_e1(p, &fm_op_copy, eo);
  y = forward(t, xo, own);
  fm_jvp(p, 1, &own, &eo, 1, &y, &dy);
  fm_val target = fm_e1(p, &fm_op_stop, forward(t, fm_e1(p, &fm_op_stop, y), eo));
  loss = fm_add(p, loss, half_square(p, fm_sub(p, dy, target)));
  fm_sig scalar = f32(0, 0, 0, 0, 0);
  fm_val one = fm_full(p, scalar, 1);
  fm_vjp(p, 1, &loss, &one, 4 * blocks, flat, grad);
  for (int k = 0; k < 4 * blocks; k++) fm_output(p, grad[k], FM_SUM);
  fm_output(p, loss, FM_SUM);
  free(t);
  return p;
}

static double now(void) {
  struct timespec t;
  timespec_get(&t, TIME_UTC);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void run(fm_exe *e, fm_prog *p, int micros, bool explain) {
  fm_ctx *ctx = fm_prog_ctx(p);
  int nin = fm_exe_ins(e), nout = fm_exe_outs(e);
  fm_tensor *in[4 * MOST + 2], *out[4 * MOST + 1];
  for (int k = 0; k < nin; k++) {
    fm_sig sig = p->node[p->in[k].v].sig;
    if (p->in[k].role == FM_ROWS) sig.shape.d[0] *= micros;
    in[k] = fm_tensor_new(ctx, sig.dtype, &sig.shape);
    fm_rng_normal(&(fm_rng){1, (uint32_t)k, 0}, sig.dtype, 0, 1, fm_shape_count(&sig.shape),
                  in[k]->data);
  }
  for (int k = 0; k < nout; k++) {
    fm_merge merge;
    fm_sig sig = fm_exe_out(e, k, &merge);
    out[k] = fm_tensor_new(ctx, sig.dtype, &sig.shape);
  }
  double best = 1e30;
  for (int k = 0; k < 3; k++) {
    double start = now();
    if (fm_exe_run(e, &(fm_job){1, 1, in, out}) != FM_OK) printf("%s\n", fm_error(ctx));
    double ms = now() - start;
    best = ms < best ? ms : best;
  }
  fm_stats s = fm_exe_stats(e);
  printf("run %.1f ms, %.1f GFLOP/s, %.1f GB/s, loss %.7g\n", best, s.flops / best * 1e-6,
         s.moved / best * 1e-6, fm_tensor_get(out[nout - 1], 0));
  if (explain) {
    char *text = fm_exe_explain(e, &(fm_job){1, 1, in, out});
    fputs(text, stdout);
    free(text);
  }
  for (int k = 0; k < nin; k++) fm_tensor_drop(in[k]);
  for (int k = 0; k < nout; k++) fm_tensor_drop(out[k]);
}

static long argument(int argc, char **argv, int k, long otherwise) {
  return argc > k ? strtol(argv[k], NULL, 10) : otherwise;
}

int main(int argc, char **argv) {
  int blocks = (int)argument(argc, argv, 1, 40), micros = (int)argument(argc, argv, 5, 2);
  int64_t c = argument(argc, argv, 2, 64), side = argument(argc, argv, 3, 16);
  int64_t n = argument(argc, argv, 4, 4);
  int which[64] = {0}, passes = (int)argument(argc, argv, 7, FM_PASS_ALL);
  int64_t row0[65] = {0};
  if (blocks > MOST || micros > 64) return 2;
  for (int k = 0; k < micros; k++) row0[k + 1] = row0[k] + n;
  fm_ctx *ctx = fm_ctx_new(0);
  double start = now();
  fm_prog *p = trace(ctx, blocks, c, side, n);
  double traced = now() - start;
  fm_exe *e = fm_exe_new(ctx, 1, &p, &(fm_micro_batches){micros, which, row0}, passes);
  if (e == NULL) printf("%s\n", fm_error(ctx));
  if (e == NULL) return 1;
  fm_stats s = fm_exe_stats(e);
  printf("%d blocks: %d nodes, %d steps; trace and derive %.1f ms, optimise %.1f ms, plan %.1f ms\n"
         "arena %.1f MiB a worker, sums %.1f MiB, %.2f GFLOP\n",
         blocks, s.traced, s.executed, traced, s.ms_optimise, s.ms_plan, (double)s.arena / 1048576,
         (double)s.sums / 1048576, s.flops * 1e-9);
  run(e, p, micros, argument(argc, argv, 6, 0) != 0);
  printf("peak %.1f MiB\n", (double)fm_bytes_peak(ctx) / 1048576);
  fm_exe_free(e);
  fm_prog_free(p);
  fm_ctx_free(ctx);
  return 0;
}
