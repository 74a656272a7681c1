/* leaf.c - values without operands: inputs, constants, fills with one number, random numbers. */
#include <string.h>

#include "ops.h"

#ifndef FM_RULES

/* The plan binds inputs and constants to their bytes: nothing runs. */
FM_EXEC(input) { (void)e; }
FM_EXEC(constant) { (void)e; }

FM_EXEC(full) {
  int64_t n = fm_shape_count(&e->out->shape);
  T *y = e->y;
  for (int64_t i = 0; i < n; i++) y[i] = (T)e->attr->f[FM_VALUE];
}

typedef void (*draw_fn)(const fm_rng *, fm_dtype, int64_t, int64_t, int64_t, void *);

/* One row per sample: its numbers do not depend on the micro-batch that it is in. */
static void draw(const fm_exec *e, draw_fn fn) {
  int64_t n = fm_shape_count(&e->out->shape);
  int64_t rows = e->out->shape.nd > 0 ? e->out->shape.d[0] : 1;
  fm_rng rng = e->rng;
  rng.stream = (uint32_t)e->attr->i[FM_STREAM];
  if (rows > 0) fn(&rng, e->out->dtype, e->row0, rows, n / rows, e->y);
}

FM_EXEC(uniform) { draw(e, fm_rng_uniform); }
FM_EXEC(normal) { draw(e, fm_rng_normal); }

#endif

#ifdef FM_RULES

static fm_err check_dtype(fm_ctx *ctx, const fm_op *op, const fm_attr *attr) {
  const double t = attr->f[FM_DTYPE];
  if (t == FM_F32 || t == FM_F64 || t == FM_U8) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: number format %g found, expected one of three", op->name, t);
}

static fm_err infer_leaf(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                         const fm_attr *attr, fm_sig *out) {
  (void)nin, (void)in;
  fm_err err = check_dtype(ctx, op, attr);
  if (err == FM_OK) err = fm_infer_shape(ctx, op, (fm_dtype)attr->f[FM_DTYPE], attr, out);
  if (err != FM_OK) return err;
  if (out->dtype != FM_U8 || (op->flags & FM_BOUND)) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: uint8 found, expected float32 or float64", op->name);
}

/* One row per sample, whose values have numbers of their own in the counter. */
static fm_err infer_random(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                           const fm_attr *attr, fm_sig *out) {
  char a[96];
  fm_err err = infer_leaf(ctx, op, nin, in, attr, out);
  if (err != FM_OK) return err;
  const int64_t rows = out->shape.nd > 0 ? out->shape.d[0] : 1;
  if (rows == 0) return FM_OK;
  if (fm_shape_count(&out->shape) / rows <= FM_RNG_VALUES(out->dtype)) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: the shape %s found, expected at most %lld values per sample "
                 "(along the first axis)", op->name, fm_shape_text(&out->shape, a),
                 (long long)FM_RNG_VALUES(out->dtype));
}

#define LEAF(op, fact, infer_op, text, value, ...)                                      \
  const fm_op fm_op_##op = {.name = #op, .doc = text, .args = "",                      \
    .attrs = {"shape", __VA_ARGS__, [FM_F + FM_DTYPE] = "dtype"}, .nin = 0, .cost = 0, \
    .flags = FM_LEAF | (fact), .infer = infer_op,                                      \
    .samples = {{0, {{0}}, {{2, 3, 7}, {value, 0}}, 0, 1}}};

LEAF(input, FM_BOUND, infer_leaf, "An input of the program.", 0, [FM_INDEX] = "index")
LEAF(constant, FM_BOUND, infer_leaf, "A tensor that the program holds.", 0, [FM_INDEX] = "index")
LEAF(full, FM_FILL, infer_leaf, "One number everywhere.", 0.5, [FM_F + FM_VALUE] = "value")
LEAF(uniform, FM_RANDOM, infer_random, "Uniform numbers on [0, 1), keyed by seed, stream, step and "
     "sample.", 0, [FM_STREAM] = "stream")
LEAF(normal, FM_RANDOM, infer_random, "Standard normal numbers, keyed by seed, stream, step and "
     "sample.", 0, [FM_STREAM] = "stream")

#endif
