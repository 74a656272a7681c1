/*
** table.c - the table of operations, generated from ops.def: rules once, kernels once per
** instruction set and dtype.
*/
#include <string.h>

#include "../kernels/isa.h"
#include "ops.h"

#ifndef FM_RULES

#define FM_MAPPED(name)                                                                     \
  void FM_FN(name)(int64_t n, void *y, const void *a, const void *b, const void *c,         \
                   const double *f);
#define FM_FAMILY(name) \
  FM_MAPPED(name)       \
  void FM_FN(name##_family)(int64_t n, void *const y[FM_ORDERS], const void *x);
#define FM_OPERATION(name) void FM_FN(name)(const fm_exec *e);
#include "../ops.def"
#undef FM_MAPPED
#undef FM_FAMILY
#undef FM_OPERATION

extern const fm_kernel FM_FN(kernels)[];
const fm_kernel FM_FN(kernels)[] = {
#define FM_MAPPED(name) {FM_FN(name), NULL, NULL},
#define FM_FAMILY(name) {FM_FN(name), NULL, FM_FN(name##_family)},
#define FM_OPERATION(name) {NULL, FM_FN(name), NULL},
#include "../ops.def"
};

#else

enum {
#define FM_MAPPED(name) ID_##name,
#define FM_FAMILY(name) ID_##name,
#define FM_OPERATION(name) ID_##name,
#include "../ops.def"
  COUNT
#undef FM_MAPPED
#undef FM_FAMILY
#undef FM_OPERATION
};

static const fm_op *const table[COUNT] = {
#define FM_MAPPED(name) &fm_op_##name,
#define FM_FAMILY(name) &fm_op_##name,
#define FM_OPERATION(name) &fm_op_##name,
#include "../ops.def"
};

#define DECLARE(isa) extern const fm_kernel fm_kernels_f32_##isa[], fm_kernels_f64_##isa[];
#define ROW(isa) {fm_kernels_f32_##isa, fm_kernels_f64_##isa},
FM_EACH_ISA(DECLARE)
static const fm_kernel *const kernels[FM_NISA][2] = {FM_EACH_ISA(ROW)};

int fm_op_count(void) { return COUNT; }

const fm_op *fm_op_at(int k) { return table[k]; }

const fm_op *fm_op_find(const char *name) {
  for (int k = 0; k < COUNT; k++)
    if (strcmp(table[k]->name, name) == 0) return table[k];
  return NULL;
}

/* A modified copy of an entry (tests plant faults in copies) has the kernels of its original. */
int fm_op_id(const fm_op *op) {
  for (int k = 0; k < COUNT; k++)
    if (table[k] == op) return k;
  for (int k = 0; k < COUNT; k++)
    if (strcmp(table[k]->name, op->name) == 0) return k;
  return ID_input; /* not in the table: the kernel that does nothing */
}

const fm_kernel *fm_kernel_of(const fm_op *op, fm_dtype dtype) {
  return &kernels[fm_isa()][dtype == FM_F64][fm_op_id(op)]; /* FM_U8: any */
}

fm_err fm_infer_alike(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in, fm_sig *out) {
  for (int k = 1; k < nin; k++)
    if (!fm_shape_eq(&in[k].shape, &in[0].shape) || in[k].dtype != in[0].dtype) {
      char a[96], b[96];
      return fm_fail(ctx, FM_EUSAGE, "%s: operands of the shapes %s (%s) and %s (%s) found, "
                     "expected equal ones", op->name, fm_shape_text(&in[0].shape, a),
                     fm_dtype_name(in[0].dtype), fm_shape_text(&in[k].shape, b),
                     fm_dtype_name(in[k].dtype));
    }
  *out = in[0];
  return FM_OK;
}

fm_err fm_check_sig(fm_ctx *ctx, const fm_op *op, const fm_sig *sig) {
  char a[96];
  if (fm_sig_fits(sig)) return FM_OK;
  if (sig->shape.nd < 0)
    return fm_fail(ctx, FM_EUSAGE, "%s: a rank out of range found, expected 0 to %d", op->name,
                   FM_MAX_DIMS);
  return fm_fail(ctx, FM_EUSAGE, "%s: the result's shape %s is negative or too large to address",
                 op->name, fm_shape_text(&sig->shape, a));
}

fm_err fm_infer_shape(fm_ctx *ctx, const fm_op *op, fm_dtype dtype, const fm_attr *attr,
                      fm_sig *out) {
  *out = (fm_sig){dtype, fm_shape_of_attr(attr)};
  return fm_check_sig(ctx, op, out);
}

fm_err fm_infer(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in, const fm_attr *attr,
                fm_sig *out) {
  if (op->nin >= 0 && nin != op->nin)
    return fm_fail(ctx, FM_EUSAGE, "%s: %d operands found, expected %d", op->name, nin, op->nin);
  for (int k = 0; k < nin && !(op->flags & FM_BYTES); k++)
    if (in[k].dtype == FM_U8)
      return fm_fail(ctx, FM_EUSAGE, "%s: operand %d is uint8, which only stores images; expected "
                     "float32 or float64: convert it with pixels() or cast()", op->name, k + 1);
  fm_err err = op->infer ? op->infer(ctx, op, nin, in, attr, out)
                         : fm_infer_alike(ctx, op, nin, in, out);
  return err == FM_OK ? fm_check_sig(ctx, op, out) : err;
}

bool fm_linear_in(const fm_op *op, const fm_attr *attr, unsigned set) {
  if (set == 0 || (op->linear_if && !op->linear_if(attr))) return false;
  return set == op->linear[0] || set == op->linear[1];
}

double fm_flops(const fm_op *op, int nin, const fm_sig *in, const fm_sig *out,
                const fm_attr *attr) {
  return op->flops ? op->flops(nin, in, out, attr) : op->cost * (double)fm_shape_count(&out->shape);
}

#endif
