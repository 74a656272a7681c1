/* apply.c - eager execution: one operation, run at once on tensors. */
#include "map.h"
#include "blas.h"
#include "flush.h"
#include "op.h"

static void execute(const fm_kernel *kernel, const fm_exec *e) {
  if (fm_shape_count(&e->out->shape) == 0) return; /* a kernel might loop over 2^40 empty rows */
  fm_flush was = fm_flush_begin();
  if (kernel->map) {
    const void *const *x = e->x, *b = e->nin > 1 ? x[1] : x[0], *c = e->nin > 2 ? x[2] : x[0];
    kernel->map(fm_shape_count(&e->out->shape), e->y, x[0], b, c, e->attr->f);
  } else {
    kernel->exec(e);
  }
  fm_flush_end(was);
}

fm_tensor *fm_apply(fm_ctx *ctx, const fm_op *op, int nin, fm_tensor *const *in, const fm_attr *a) {
  const void *x[FM_MAX_OPERANDS] = {0};
  fm_sig sig[FM_MAX_OPERANDS], out;
  fm_attr attr = a ? *a : (fm_attr){{0}, {0}};
  if (nin > FM_MAX_OPERANDS) {
    fm_fail(ctx, FM_EUSAGE, "%s: %d operands found, expected at most %d", op->name, nin,
            FM_MAX_OPERANDS);
    return NULL;
  }
  for (int k = 0; k < nin; k++) {
    sig[k] = (fm_sig){in[k]->dtype, in[k]->shape};
    x[k] = in[k]->data;
  }
  if (fm_infer(ctx, op, nin, sig, &attr, &out) != FM_OK) return NULL;
  if ((op->flags & FM_BLAS) && fm_reserve_calls(ctx, 1) != FM_OK) return NULL;
  fm_tensor *y = fm_tensor_new(ctx, out.dtype, &out.shape);
  if (y == NULL) return NULL;
  fm_exec e = {.attr = &attr, .out = &out, .in = sig, .nin = nin, .y = y->data, .x = x};
  execute(fm_kernel_of(op, out.dtype), &e);
  for (int k = 0; k < nin; k++)
    if (fm_map_check(in[k]) != FM_OK) {
      fm_tensor_drop(y);
      return NULL;
    }
  return y;
}
