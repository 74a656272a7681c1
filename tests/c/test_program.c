/*
** test_program.c - random programs and their derivatives under every combination of passes against
** eager execution, operation by operation, in float64.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "numeric.h"
#include "op_names.h"
#include "programs.h" /* an eager run of a trace looks at its nodes */

enum { PROGRAMS = 60, INPUTS = 4, STEPS = 40, MOST = 256, LARGEST = 3000 };

/* ------------------------------------------------------------------ growing a random program */

/* The values so far, traced and computed eagerly; inputs come first. */
typedef struct growth {
  fm_prog *p;
  fm_val v[MOST];
  fm_tensor *t[MOST];
  int n;
  uint64_t seed;
  uint32_t draws;
} growth;

static int64_t pick(growth *g, int64_t n) { /* 0 .. n-1 */
  double u;
  fm_rng_uniform(&(fm_rng){g->seed, 1, g->draws++}, FM_F64, 0, 1, 1, &u);
  return (int64_t)(u * (double)n);
}

/* Any earlier value, recent ones more often. */
static int any(growth *g) { return g->n - 1 - (int)(pick(g, g->n) * pick(g, g->n) / g->n); }

static int step(growth *g, const char *name, int nin, const int *in, fm_attr attr) {
  fm_val v[8];
  fm_tensor *t[8];
  for (int k = 0; k < nin; k++) v[k] = g->v[in[k]], t[k] = g->t[in[k]];
  g->v[g->n] = fm_emit(g->p, fm_op_find(name), nin, v, &attr);
  g->t[g->n] = apply(name, nin, t, attr);
  return g->n++;
}

static void scaled(growth *g, int a, double by) {
  step(g, "affine", 1, &a, (fm_attr){{0}, {by, 0.01}});
}

/* Keeps values small: the sine of a large number would magnify rounding errors. */
static void bounded(growth *g, int a) {
  double most = 0;
  for (int64_t i = 0; i < fm_shape_count(&g->t[a]->shape); i++)
    most = fmax(most, fabs(fm_tensor_get(g->t[a], i)));
  if (most > 4) step(g, "tanh", 1, &a, (fm_attr){{0}, {0}});
}

/* An earlier value of the same shape as a, possibly a itself. */
static int partner(growth *g, int a) {
  int from = (int)pick(g, g->n);
  while (!fm_shape_eq(&g->t[from]->shape, &g->t[a]->shape)) from = (from + 1) % g->n;
  return from;
}

static void grow_unary(growth *g) {
  static const char *const names[] = {"tanh", "sin", "cos", "sigmoid", "gelu", "silu", "affine"};
  int k = (int)pick(g, 7), a = any(g);
  step(g, names[k], 1, &a, k == 6 ? (fm_attr){{0}, {-0.7, 0.3}} : (fm_attr){{0}, {0}});
}

static void grow_binary(growth *g) {
  static const char *const names[] = {"add", "sub", "mul", "mul", "maximum", "minimum"};
  int a = any(g), in[3] = {a, partner(g, a), a};
  if (pick(g, 7) == 0) {
    in[2] = partner(g, a);
    in[0] = step(g, "lt", 2, (int[]){in[1], in[2]}, (fm_attr){{0}, {0}});
    step(g, "where", 3, in, (fm_attr){{0}, {0}});
  } else {
    bounded(g, step(g, names[pick(g, 6)], 2, in, (fm_attr){{0}, {0}}));
  }
}

static void grow_broadcast(growth *g) {
  int a = any(g);
  fm_shape to = g->t[a]->shape;
  for (int k = 0; k < to.nd; k++)
    if (to.d[k] == 1) to.d[k] = 1 + pick(g, 4);
  if (fm_shape_count(&to) <= LARGEST) step(g, "broadcast", 1, &a, fm_attr_shape(&to));
}

static void grow_sum(growth *g) {
  int a = any(g);
  fm_shape to = g->t[a]->shape;
  for (int k = 0; k < to.nd; k++)
    if (pick(g, 2)) to.d[k] = 1;
  double many = (double)fm_shape_count(&g->t[a]->shape) / (double)fm_shape_count(&to);
  scaled(g, step(g, "sum_to", 1, &a, fm_attr_shape(&to)), 1 / many);
}

/* The product of the first pair that fits, starting at a random value. */
static void grow_matmul(growth *g) {
  int a = any(g), from = (int)pick(g, g->n), ta = (int)pick(g, 2), tb = (int)pick(g, 2);
  if (g->t[a]->shape.nd != 2) return;
  int64_t inner = g->t[a]->shape.d[ta ? 0 : 1];
  for (int k = 0; k < g->n; k++) {
    int b = (from + k) % g->n;
    if (g->t[b]->shape.nd != 2 || g->t[b]->shape.d[tb ? 1 : 0] != inner) continue;
    int y = step(g, "matmul", 2, (int[]){a, b}, (fm_attr){{ta, tb}, {0}});
    scaled(g, y, 1 / (double)inner);
    return;
  }
}

static void grow_slice(growth *g) {
  int a = any(g);
  const fm_shape *s = &g->t[a]->shape;
  if (s->nd == 0) return;
  int64_t axis = pick(g, s->nd), start = pick(g, s->d[axis]);
  int64_t length = 1 + pick(g, s->d[axis] - start);
  step(g, "slice", 1, &a, (fm_attr){{axis, start, length}, {0}});
}

static void grow_concat(growth *g) {
  int a = any(g), in[3] = {a, partner(g, a), partner(g, a)}, n = 2 + (int)pick(g, 2);
  const fm_shape *s = &g->t[a]->shape;
  if (s->nd > 0 && n * fm_shape_count(s) <= LARGEST)
    step(g, "concat", n, in, (fm_attr){{pick(g, s->nd)}, {0}});
}

static void grow_reshape(growth *g) {
  int a = any(g);
  fm_shape s = g->t[a]->shape, to = {2, {fm_shape_count(&s), 1}};
  if (s.nd >= 2 && pick(g, 2)) {
    to = (fm_shape){2, {fm_shape_count(&s) / s.d[0], s.d[0]}};
  } else if (pick(g, 2)) {
    to = (fm_shape){1, {fm_shape_count(&s)}};
  } else if (s.nd < 4) {
    to = s;
    to.d[to.nd++] = 1;
  }
  step(g, "reshape", 1, &a, fm_attr_shape(&to));
}

static void grow_transpose(growth *g) {
  int a = any(g), nd = g->t[a]->shape.nd;
  fm_attr perm = {{0, 1, 2, 3, 4, 5}, {0}};
  for (int k = 0; k < nd; k++) {
    int j = (int)pick(g, nd);
    int64_t was = perm.i[k];
    perm.i[k] = perm.i[j], perm.i[j] = was;
  }
  for (int k = nd; k < 6; k++) perm.i[k] = 0;
  step(g, "transpose", 1, &a, perm);
}

static void grow(growth *g) {
  static void (*const kinds[])(growth *) = {
      grow_unary,  grow_unary,  grow_binary, grow_binary, grow_broadcast, grow_sum,
      grow_matmul, grow_matmul, grow_slice,  grow_concat, grow_reshape,   grow_transpose};
  for (int k = 0; k < STEPS; k++) kinds[pick(g, sizeof kinds / sizeof *kinds)](g);
}

/* The same values, but dependent on the micro-batch: random numbers times zero are added. */
static fm_val of_batch(fm_prog *p, fm_val v) {
  fm_sig sig = fm_prog_sig(p, v);
  fm_attr a = fm_attr_shape(&sig.shape);
  a.f[1] = 1;
  return fm_add(p, v, fm_scale(p, fm_emit(p, &fm_op_uniform, 0, NULL, &a), 0));
}

/* Two matrices of the batch, two of weights, and a known number. In half of the programs all are
** square, so that products are the weights of further products. */
static void start(growth *g, uint64_t seed) {
  *g = (growth){.p = fm_prog_new(ctx), .seed = seed};
  int64_t n = 1 + pick(g, 6), m = 1 + pick(g, 6), k = 1 + pick(g, 6);
  if (pick(g, 2)) n = m = k;
  const fm_shape shapes[INPUTS] = {{2, {n, m}}, {2, {m, k}}, {2, {1, m}}, {2, {n, m}}};
  for (; g->n < INPUTS; g->n++) {
    g->v[g->n] = fm_input(g->p, FM_SHARED, &(fm_sig){FM_F64, shapes[g->n]});
    g->t[g->n] = random_tensor(FM_F64, &shapes[g->n], -1, 1, seed * 31 + (uint64_t)g->n);
    if (g->n % 3 == 0) g->v[g->n] = of_batch(g->p, g->v[g->n]);
  }
  fm_attr known = fm_attr_shape(&shapes[0]);
  known.f[0] = 0.5, known.f[1] = 1;
  step(g, "full", 0, NULL, known);
}

static void finish(growth *g) {
  drop_all(g->n, g->t);
  fm_prog_free(g->p);
}

/* ------------------------------------------------------------------ every combination of passes */

static void check_passes(fm_prog *p, fm_tensor *const *in, int n, fm_tensor *const *want,
                         double bound, const char *what, int which) {
  check_texts(p);
  fm_tensor *out[MOST];
  for (int passes = 0; passes <= FM_PASS_ALL; passes++)
    for (int times = 1; times <= 5; times += 4) { /* of five, two pairs share their memory */
      run_once(p, passes | FM_SCARCE, times, in, out);
      for (int k = 0; k < n; k++) {
        double error = worst(out[k], want[k], times);
        if (!(error <= bound))
          fail_msg("%s %d, passes %d, output %d: error %g", what, which, passes, k, error);
      }
      drop_all(n, out);
    }
}

static void test_values(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= PROGRAMS; seed++) {
    growth g;
    start(&g, seed);
    grow(&g);
    fm_tensor *want[MOST];
    int n = 0;
    for (int k = INPUTS; k < g.n; k++)
      if (k == g.n - 1 || pick(&g, 4) == 0) {
        fm_output(g.p, g.v[k], FM_SUM);
        want[n++] = g.t[k];
      }
    check_passes(g.p, g.t, n, want, 1e-12, "program", (int)seed);
    finish(&g);
  }
}

/* ------------------------------------------------------------------ and of their derivatives */

/* Compute every node of a trace by eager operations. */
static void interpret(const fm_prog *p, fm_tensor *const *in, fm_tensor **t) {
  for (fm_val v = 0; v < p->n; v++) {
    const fm_node *n = &p->node[v];
    fm_tensor *x[64];
    assert_true(n->nin <= 64);
    for (int k = 0; k < n->nin; k++) x[k] = t[fm_ins(p, v)[k]];
    if (n->op == &fm_op_input)
      t[v] = fm_tensor_keep(in[n->attr.i[7]]);
    else
      t[v] = apply(n->op->name, n->nin, x, n->attr);
  }
}

/* The sum over all values of a tensor, of rank 0. */
static fm_val total(fm_prog *p, fm_val v) {
  fm_sig sig = fm_prog_sig(p, v);
  fm_val flat = fm_reshape(p, v, SHAPE(1, fm_shape_count(&sig.shape)));
  return fm_reshape(p, fm_sum_to(p, flat, SHAPE(1, 1)), SHAPE(0, 0));
}

/* A loss of the last values, its gradient, and the gradient of its derivative along a direction. */
static void differentiate(growth *g) {
  fm_prog *p = g->p;
  fm_val loss = FM_NONE, one = fm_full(p, *SIG(0, 0), 1), along[INPUTS], slope, grad[INPUTS];
  for (int k = g->n - 1; k >= INPUTS && k > g->n - 5; k--)
    loss = fm_add(p, loss, total(p, fm_e1(p, &fm_op_sin, g->v[k])));
  fm_output(p, loss, FM_SUM);
  fm_vjp(p, 1, &loss, &one, INPUTS, g->v, grad);
  for (int k = 0; k < INPUTS; k++)
    if (grad[k] != FM_NONE) fm_output(p, grad[k], FM_SUM);
  for (int k = 0; k < INPUTS; k++) along[k] = k == 2 ? FM_NONE : fm_e1(p, &fm_op_cos, g->v[k]);
  fm_jvp(p, INPUTS, g->v, along, 1, &loss, &slope);
  if (slope == FM_NONE) return;
  fm_output(p, slope, FM_SUM);
  fm_vjp(p, 1, &slope, &one, INPUTS, g->v, grad);
  for (int k = 0; k < INPUTS; k++)
    if (grad[k] != FM_NONE) fm_output(p, grad[k], FM_SUM);
}

static void test_derivatives(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= PROGRAMS; seed++) {
    growth g;
    start(&g, 1000 + seed);
    grow(&g);
    differentiate(&g);
    if (fm_prog_error(g.p) != FM_OK) fail_msg("program %d: %s", (int)seed, fm_error(ctx));
    int n = g.p->n;
    fm_tensor **all = calloc((size_t)n, sizeof *all), *want[MOST];
    interpret(g.p, g.t, all);
    for (int k = 0; k < g.p->nout; k++) want[k] = all[g.p->out[k].v];
    /* Products of products in the derivatives: 6e-12 by rounding alone, without any pass. */
    check_passes(g.p, g.t, g.p->nout, want, 1e-10, "derivative", (int)seed);
    drop_all(n, all);
    free(all);
    finish(&g);
  }
}

/*
** Passes over several blocks with operands and sums of every kind of smaller shape: along each of
** four axes an operand has all values or one. Rows shorter and longer than a block, that fit it or
** not.
*/
static void check_smaller(fm_dtype dtype, fm_shape big) {
  fm_prog *p = fm_prog_new(ctx);
  fm_tensor *in[17], *want[17], *out[17];
  fm_val x = fm_input(p, FM_SHARED, &(fm_sig){dtype, big}), y = x;
  fm_tensor *t = fm_tensor_keep(in[0] = random_tensor(dtype, &big, 0.5, 1, 99));
  for (int kind = 0; kind < 16; kind++) {
    fm_shape small = big;
    for (int k = 0; k < 4; k++)
      if (kind >> k & 1) small.d[k] = 1;
    fm_tensor *a = in[kind + 1] = random_tensor(dtype, &small, 0.5, 1, (uint64_t)kind);
    fm_val v = fm_input(p, FM_SHARED, &(fm_sig){dtype, small});
    y = fm_add(p, y, fm_mul(p, x, fm_broadcast(p, v, &big)));
    fm_tensor *wide = apply("broadcast", 1, &a, fm_attr_shape(&big));
    fm_tensor *product = apply("mul", 2, (fm_tensor *[]){in[0], wide}, (fm_attr){{0}, {0}});
    fm_tensor *sum = apply("add", 2, (fm_tensor *[]){t, product}, (fm_attr){{0}, {0}});
    drop_all(3, (fm_tensor *[]){wide, product, t});
    t = sum;
  }
  want[16] = t;
  for (int kind = 0; kind < 16; kind++) {
    fm_shape small = big;
    for (int k = 0; k < 4; k++)
      if (kind >> k & 1) small.d[k] = 1;
    fm_output(p, fm_sum_to(p, y, &small), FM_SUM);
    want[kind] = apply("sum_to", 1, &t, fm_attr_shape(&small));
  }
  fm_output(p, y, FM_SUM);
  run_once(p, FM_PASS_ALL, 1, in, out);
  for (int k = 0; k < 17; k++)
    assert_within(worst(out[k], want[k], 1), dtype == FM_F64 ? 1e-14 : 2e-6, "smaller operand", k);
  fm_prog_free(p);
  drop_all(17, in);
  drop_all(17, want);
  drop_all(17, out);
}

static void test_smaller_operands(void **state) {
  (void)state;
  static const fm_shape shapes[] = {{4, {2, 9, 5, 64}},   {4, {3, 4, 7, 40}},  {4, {2, 3, 2, 700}},
                                    {4, {2, 2, 2, 2048}}, {4, {5, 1, 300, 3}}, {4, {7, 31, 5, 1}},
                                    {4, {2, 3, 1, 521}}};
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
    check_smaller(FM_F64, shapes[k]);
    check_smaller(FM_F32, shapes[k]);
  }
}

/* Calls with the same w that cannot be stacked: other attributes, or rows of other lengths. */
static void test_not_stackable(void **state) {
  (void)state;
  fm_prog *p = fm_prog_new(ctx);
  fm_tensor *in[3], *want[4], *out[4];
  static const fm_shape shapes[] = {{2, {3, 4}}, {2, {4, 4}}, {2, {5, 4}}};
  fm_val v[3];
  for (int k = 0; k < 3; k++) {
    v[k] = fm_input(p, FM_SHARED, &(fm_sig){FM_F64, shapes[k]});
    in[k] = random_tensor(FM_F64, &shapes[k], -1, 1, (uint64_t)k);
  }
  for (int k = 0; k < 4; k++) {
    int x = k < 2 ? 0 : 2, turned = k % 2;
    fm_output(p, fm_matmul(p, v[x], v[1], false, turned), FM_SUM);
    want[k] = apply("matmul", 2, (fm_tensor *[]){in[x], in[1]}, (fm_attr){{0, turned}, {0}});
  }
  fm_exe *e = prepare(p, FM_PASS_STACK, 1);
  run_exe(e, in, out);
  for (int k = 0; k < 4; k++) assert_within(worst(out[k], want[k], 1), 1e-14, "product", k);
  assert_int_equal(fm_exe_stats(e).executed, 2 + 2 + 4); /* copies, products, sums */
  fm_exe_free(e);
  fm_prog_free(p);
  drop_all(3, in);
  drop_all(4, want);
  drop_all(4, out);
}

/* The passes achieve their purpose: fewer steps, less memory. */
static void test_passes_help(void **state) {
  (void)state;
  fm_prog *p = fm_prog_new(ctx);
  fm_val x = fm_input(p, FM_SHARED, SIG(2, 64, 32)), w = fm_input(p, FM_SHARED, SIG(2, 32, 32));
  fm_val one = fm_full(p, *SIG(2, 1, 1), 1), y = x, dy, g;
  for (int k = 0; k < 3; k++) y = fm_e1(p, &fm_op_gelu, fm_matmul(p, y, w, false, false));
  fm_jvp(p, 1, &x, &x, 1, &y, &dy);
  fm_val loss = fm_sum_to(p, fm_e1(p, &fm_op_square, fm_add(p, y, dy)), SHAPE(2, 1, 1));
  fm_vjp(p, 1, &loss, &one, 1, &w, &g);
  fm_output(p, g, FM_SUM);
  fm_exe *none = prepare(p, 0, 1), *all = prepare(p, FM_PASS_ALL, 1);
  fm_stats a = fm_exe_stats(none), b = fm_exe_stats(all);
  assert_true(2 * b.executed < a.executed && b.flops <= a.flops && b.moved < a.moved);
  assert_true(b.arena < a.arena);
  fm_exe_free(none);
  fm_exe_free(all);
  fm_prog_free(p);
}

/* The arenas of p without and with FM_SCARCE; the bits of the results must be equal. */
static void two_arenas(fm_prog *p, int nin, fm_tensor **in, size_t arena[2]) {
  fm_tensor *out[2];
  for (int k = 0; k < 2; k++) {
    fm_exe *e = prepare(p, (FM_PASS_ALL & ~FM_PASS_HOIST) | (k ? FM_SCARCE : 0), 1);
    arena[k] = fm_exe_stats(e).arena;
    run_exe(e, in, &out[k]);
    fm_exe_free(e);
  }
  assert_memory_equal(out[0]->data, out[1]->data, out[0]->bytes);
  drop_all(2, out);
  drop_all(nin, in);
  fm_prog_free(p);
}

/*
** A deep network of products and cheap functions. The gradient needs the function of each layer and
** its derivative; only the product from which both are computed is to be kept. Bits do not change.
*/
static void test_recompute(void **state) {
  (void)state;
  enum { LAYERS = 12 };
  fm_prog *p = fm_prog_new(ctx);
  const fm_sig rows = *SIG(2, 256, 16), weight = *SIG(2, 16, 16);
  fm_val x = fm_input(p, FM_SHARED, &rows), w = fm_input(p, FM_SHARED, &weight), y = x, g;
  fm_val one = fm_full(p, *SIG(2, 1, 1), 1);
  for (int k = 0; k < LAYERS; k++) {
    fm_val z = fm_matmul(p, y, w, false, false);
    y = fm_mul(p, fm_e1(p, &fm_op_silu, z), fm_e1(p, &fm_op_cos, z));
  }
  fm_val loss = fm_sum_to(p, fm_e1(p, &fm_op_square, y), SHAPE(2, 1, 1));
  fm_vjp(p, 1, &loss, &one, 1, &w, &g);
  fm_output(p, g, FM_SUM);
  fm_tensor *in[2] = {random_tensor(FM_F64, &rows.shape, -1, 1, 1),
                      random_tensor(FM_F64, &weight.shape, -1, 1, 2)};
  size_t arena[2];
  two_arenas(p, 2, in, arena);
  const size_t plane = 256 * 16 * sizeof(double);
  assert_true(arena[0] >= 3 * (LAYERS - 1) * plane); /* y and the two factors of its derivative */
  assert_true(arena[1] <= (LAYERS + 7) * plane);     /* z alone, and the values in use */
}

/* Scores y y' of short rows, as in attention, are rematerialised as well: their operands are
** smaller, and a product of 4 operations per byte is cheaper than the memory. */
static void test_recompute_scores(void **state) {
  (void)state;
  enum { LAYERS = 12 };
  fm_prog *p = fm_prog_new(ctx);
  const fm_sig rows = *SIG(2, 256, 16);
  fm_val x = fm_input(p, FM_SHARED, &rows), y = x, g, one = fm_full(p, *SIG(2, 1, 1), 1);
  for (int k = 0; k < LAYERS; k++)
    y = fm_matmul(p, fm_e1(p, &fm_op_cos, fm_matmul(p, y, y, false, true)), y, false, false);
  fm_val loss = fm_sum_to(p, fm_e1(p, &fm_op_square, y), SHAPE(2, 1, 1));
  fm_vjp(p, 1, &loss, &one, 1, &x, &g);
  fm_output(p, g, FM_SUM);
  fm_tensor *in = random_tensor(FM_F64, &rows.shape, -1, 1, 1);
  size_t arena[2];
  two_arenas(p, 1, &in, arena);
  const size_t scores = 256 * 256 * sizeof(double);
  assert_true(arena[0] >= (LAYERS - 1) * scores);
  assert_true(arena[1] <= LAYERS * scores / 2);
}

/* Two networks with the same weights, stacked into one call per layer. The gradient needs the
** products of only one of them; of the stacked results, only those are kept. */
static void test_recompute_slices(void **state) {
  (void)state;
  enum { LAYERS = 12 };
  fm_prog *p = fm_prog_new(ctx);
  const fm_sig rows = *SIG(2, 64, 160), weight = *SIG(2, 160, 160);
  fm_val x[2] = {fm_input(p, FM_SHARED, &rows), fm_input(p, FM_SHARED, &rows)}, y[2], g;
  fm_val w = fm_input(p, FM_SHARED, &weight), one = fm_full(p, *SIG(2, 1, 1), 1);
  memcpy(y, x, sizeof y);
  for (int k = 0; k < LAYERS; k++)
    for (int i = 0; i < 2; i++) {
      fm_val z = fm_matmul(p, y[i], w, false, false);
      y[i] = fm_mul(p, fm_e1(p, &fm_op_silu, z), fm_e1(p, &fm_op_cos, z));
    }
  fm_val loss = fm_sum_to(p, fm_e1(p, &fm_op_square, fm_mul(p, y[0], y[1])), SHAPE(2, 1, 1));
  fm_vjp(p, 1, &loss, &one, 1, &x[0], &g);
  fm_output(p, g, FM_SUM);
  fm_tensor *in[3] = {random_tensor(FM_F64, &rows.shape, -1, 1, 1),
                      random_tensor(FM_F64, &rows.shape, -1, 1, 2),
                      random_tensor(FM_F64, &weight.shape, -0.1, 0.1, 3)};
  size_t arena[2];
  two_arenas(p, 3, in, arena);
  const size_t plane = 64 * 160 * sizeof(double);
  assert_true(arena[0] >= 2 * (LAYERS - 1) * plane); /* z of both */
  assert_true(arena[1] <= (LAYERS + 7) * plane);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_values),           TEST(test_derivatives),
                                     TEST(test_smaller_operands), TEST(test_not_stackable),
                                     TEST(test_passes_help),      TEST(test_recompute),
                                     TEST(test_recompute_scores), TEST(test_recompute_slices)};
  return cmocka_run_group_tests_name("program", tests, NULL, NULL);
}
