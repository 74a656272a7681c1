/* leaf.c - values that no operation makes: inputs, constants, constant fills, random numbers. */
#include <string.h>

#include "ops.h"

#ifndef FM_RULES

/* Inputs and constants are bound to their bytes by the plan: nothing runs. */
FM_EXEC(input) { (void)e; }
FM_EXEC(constant) { (void)e; }

FM_EXEC(full) {
  int64_t n = fm_shape_count(&e->out->shape);
  T *y = e->y;
  for (int64_t i = 0; i < n; i++) y[i] = (T)e->attr->f[0];
}

typedef void (*draw_fn)(const fm_rng *, fm_dtype, int64_t, int64_t, int64_t, void *);

/* One row per sample: the numbers of a sample do not depend on how the batch is cut. */
static void draw(const fm_exec *e, draw_fn fn) {
  int64_t n = fm_shape_count(&e->out->shape);
  int64_t rows = e->out->shape.nd > 0 ? e->out->shape.d[0] : 1;
  fm_rng rng = e->rng;
  rng.stream = (uint32_t)e->attr->i[7];
  if (rows > 0) fn(&rng, e->out->dtype, e->row0, rows, n / rows, e->y);
}

FM_EXEC(uniform) { draw(e, fm_rng_uniform); }
FM_EXEC(normal) { draw(e, fm_rng_normal); }

#endif

#ifdef FM_RULES

/* Shape in i[0..6], dtype in f[1]. */
static fm_err infer_leaf(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                         const fm_attr *attr, fm_sig *out) {
  (void)nin, (void)in;
  if (attr->i[0] < 0 || attr->i[0] > FM_MAX_DIMS)
    return fm_fail(ctx, FM_EUSAGE, "%s: rank %lld found, expected 0 to %d", op->name,
                   (long long)attr->i[0], FM_MAX_DIMS);
  out->shape = fm_shape_of_attr(attr);
  for (int i = 0; i < out->shape.nd; i++)
    if (out->shape.d[i] < 0)
      return fm_fail(ctx, FM_EUSAGE, "%s: size %lld found, expected 0 or more", op->name,
                     (long long)out->shape.d[i]);
  out->dtype = (fm_dtype)attr->f[1];
  if (out->dtype != FM_U8 || op == &fm_op_input || op == &fm_op_constant) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "%s: uint8 found, expected float32 or float64", op->name);
}

#define LEAF(op, text)                                                                        \
  const fm_op fm_op_##op = {.name = #op, .doc = text, .args = "", .nin = 0, .flags = FM_LEAF, \
    .cost = 0, .infer = infer_leaf, .samples = {{0, {{0}}, {{2, 3, 7}, {0.5, 0}}, 0, 1}}};

LEAF(input, "An input of the program.")
LEAF(constant, "A tensor that the program holds.")
LEAF(full, "One number everywhere.")
LEAF(uniform, "Uniform numbers on [0, 1), keyed by seed, stream, step and sample.")
LEAF(normal, "Standard normal numbers, keyed by seed, stream, step and sample.")

#endif
