/* cast.c - the same values in another number format. */
#include "ops.h"

#ifndef FM_RULES

FM_EXEC(cast) {
  int64_t n = fm_shape_count(&e->out->shape);
  T *y = e->y;
  if (e->in[0].dtype == FM_U8)
    for (int64_t i = 0; i < n; i++) y[i] = (T)((const uint8_t *)e->x[0])[i];
  else if (e->in[0].dtype == FM_F64)
    for (int64_t i = 0; i < n; i++) y[i] = (T)((const double *)e->x[0])[i];
  else
    for (int64_t i = 0; i < n; i++) y[i] = (T)((const float *)e->x[0])[i];
}

#endif

#ifdef FM_RULES

static fm_err infer_cast(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                         const fm_attr *attr, fm_sig *out) {
  const double to = attr->f[FM_DTYPE];
  (void)nin;
  if (to != FM_F32 && to != FM_F64)
    return fm_fail(ctx, FM_EUSAGE, "%s: to %s found, expected float32 or float64", op->name,
                   to == FM_U8 ? "uint8" : "an unknown number format");
  *out = (fm_sig){(fm_dtype)to, in[0].shape};
  return FM_OK;
}

static void vjp_cast(fm_prog *p, fm_val y, fm_val dy, fm_val *dx) {
  fm_dtype from = fm_prog_sig(p, fm_arg(p, y, 0)).dtype;
  fm_attr a = {{0}, {[FM_DTYPE] = (double)from}};
  dx[0] = from == FM_U8 ? FM_NONE : fm_emit(p, &fm_op_cast, 1, &dy, &a);
}

const fm_op fm_op_cast = {.name = "cast", .doc = "The same values as another dtype.", .args = "td",
  .attrs = {[FM_F + FM_DTYPE] = "dtype"}, .nin = 1, .flags = FM_BYTES | FM_SAME,
  .infer = infer_cast, .jvp = fm_jvp_linear, .vjp = vjp_cast, .linear = {FM_ALL},
  .samples = {{1, {FM_SHAPE2(3, 7)}, {{0}, {0, 1}}, -1, 1}}};

#endif
