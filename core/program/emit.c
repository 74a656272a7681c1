/*
** emit.c - emission: every node is checked, simplified and, if the program has an equal one,
** shared. Then the vocabulary of the rules: small emitters; op.h says for which of them an absent
** value is zero.
*/
#include "../pool.h"
#include "program.h"
#include "../op_names.h"

/*
** Simplify at emission: operations that change nothing, operations that move one known number
** (cotangent seeds, missing tangents, factors), and whatever the operation's own fold rule finds.
*/
static fm_val fold(fm_prog *p, const fm_node *n, const fm_val *in) {
  const fm_op *op = n->op;
  double value;
  if (n->nin == 1 && (op->flags & FM_SAME) && n->sig.dtype == p->node[in[0]].sig.dtype &&
      fm_shape_eq(&n->sig.shape, &p->node[in[0]].sig.shape))
    return in[0];
  if (n->nin == 1 && (op->flags & FM_SELECTS) && fm_known(p, in[0], &value))
    return fm_full(p, n->sig, value);
  return op->fold ? op->fold(p, &n->sig, &n->attr, in) : FM_NONE;
}

static fm_err infer(fm_prog *p, fm_node *node, const fm_val *in) {
  fm_pool s = {.ctx = p->ctx};
  fm_sig few[4], *sig = node->nin <= 4 ? few : fm_take(&s, node->nin, fm_sig);
  fm_err err = s.failed ? FM_ENOMEM : FM_OK;
  for (int k = 0; k < node->nin && err == FM_OK; k++) {
    if (in[k] == FM_NONE)
      err = fm_fail(p->ctx, FM_EUSAGE, "%s: operand %d is absent", node->op->name, k + 1);
    sig[k] = fm_prog_sig(p, in[k]);
  }
  if (err == FM_OK) err = fm_infer(p->ctx, node->op, node->nin, sig, &node->attr, &node->sig);
  fm_pool_free(&s);
  return err;
}

fm_val fm_emit(fm_prog *p, const fm_op *op, int nin, const fm_val *in, const fm_attr *attr) {
  fm_node node = {.op = op, .nin = nin};
  if (p->err != FM_OK) fm_failed_before(p);
  if (p->err != FM_OK) return FM_NONE;
  if (attr) node.attr = *attr;
  if ((p->err = infer(p, &node, in)) != FM_OK) return FM_NONE;
  fm_val v = nin == 0 || p->verbatim ? FM_NONE : fold(p, &node, in);
  return v != FM_NONE ? v : fm_append(p, &node, in);
}

static fm_attr attr_of_sig(const fm_sig *sig, int64_t index) {
  fm_attr a = fm_attr_shape(&sig->shape);
  a.i[FM_INDEX] = index;
  a.f[FM_DTYPE] = (double)sig->dtype;
  return a;
}

fm_val fm_const(fm_prog *p, fm_tensor *t) {
  if (p->err != FM_OK) fm_failed_before(p);
  int index = p->err == FM_OK ? fm_constant(p, t) : -1;
  if (index < 0) return FM_NONE;
  fm_sig sig = {t->dtype, t->shape};
  fm_attr a = attr_of_sig(&sig, index);
  return fm_emit(p, &fm_op_constant, 0, NULL, &a);
}

fm_val fm_input(fm_prog *p, fm_role role, const fm_sig *sig) {
  if (p->err != FM_OK) fm_failed_before(p);
  if (p->err != FM_OK || !FM_GROW(p, in, incap, p->nin)) return FM_NONE;
  fm_attr a = attr_of_sig(sig, p->nin);
  fm_val v = fm_emit(p, &fm_op_input, 0, NULL, &a);
  p->in[p->nin].v = v;
  p->in[p->nin++].role = role;
  return v;
}

fm_err fm_output(fm_prog *p, fm_val v, fm_merge merge) {
  if (p->err != FM_OK) return fm_failed_before(p);
  if (v == FM_NONE)
    return p->err = fm_fail(p->ctx, FM_EUSAGE, "program: output %d is absent", p->nout + 1);
  if (p->node[v].sig.dtype == FM_U8)
    return p->err = fm_fail(p->ctx, FM_EUSAGE,
                            "program: output %d is uint8, expected float32 or "
                            "float64",
                            p->nout + 1);
  if (!FM_GROW(p, out, outcap, p->nout)) return p->err;
  p->out[p->nout].v = v;
  p->out[p->nout++].merge = merge;
  return FM_OK;
}

/* ------------------------------------------------------------------ the vocabulary of the rules */

fm_val fm_e1(fm_prog *p, const fm_op *op, fm_val a) { return fm_emit(p, op, 1, &a, NULL); }

fm_val fm_e2(fm_prog *p, const fm_op *op, fm_val a, fm_val b) {
  fm_val in[2] = {a, b};
  return fm_emit(p, op, 2, in, NULL);
}

fm_val fm_add(fm_prog *p, fm_val a, fm_val b) {
  if (a == FM_NONE) return b;
  return b == FM_NONE ? a : fm_e2(p, &fm_op_add, a, b);
}

fm_val fm_sub(fm_prog *p, fm_val a, fm_val b) {
  if (b == FM_NONE) return a;
  return a == FM_NONE ? fm_scale(p, b, -1) : fm_e2(p, &fm_op_sub, a, b);
}

fm_val fm_mul(fm_prog *p, fm_val a, fm_val b) {
  return a == FM_NONE || b == FM_NONE ? FM_NONE : fm_e2(p, &fm_op_mul, a, b);
}

/* An affine function of an affine function is one. */
fm_val fm_affine(fm_prog *p, fm_val a, double scale, double shift) {
  if (a == FM_NONE) return FM_NONE;
  fm_attr attr = {{0}, {scale, shift}};
  if (p->err == FM_OK && p->node[a].op == &fm_op_affine) {
    const double *f = p->node[a].attr.f;
    attr.f[FM_SHIFT] = scale * f[FM_SHIFT] + shift;
    attr.f[FM_SCALE] = scale * f[FM_SCALE];
    a = fm_arg(p, a, 0);
  }
  return fm_emit(p, &fm_op_affine, 1, &a, &attr);
}

fm_val fm_scale(fm_prog *p, fm_val a, double scale) { return fm_affine(p, a, scale, 0); }

fm_attr fm_attr_shape(const fm_shape *s) {
  fm_attr a = {{s->nd}, {0}};
  for (int k = 0; k < s->nd; k++) a.i[k + 1] = s->d[k];
  return a;
}

fm_shape fm_shape_of_attr(const fm_attr *a) {
  fm_shape s = {a->i[0] >= 0 && a->i[0] <= FM_MAX_DIMS ? (int)a->i[0] : -1, {0}};
  for (int k = 0; k < s.nd; k++) s.d[k] = a->i[k + 1];
  return s;
}

fm_val fm_full(fm_prog *p, fm_sig sig, double value) {
  fm_attr a = fm_attr_shape(&sig.shape);
  a.f[FM_VALUE] = value;
  a.f[FM_DTYPE] = (double)sig.dtype;
  return fm_emit(p, &fm_op_full, 0, NULL, &a);
}

static fm_val shaped(fm_prog *p, const fm_op *op, fm_val a, const fm_shape *to) {
  fm_attr attr = fm_attr_shape(to);
  return a == FM_NONE ? FM_NONE : fm_emit(p, op, 1, &a, &attr);
}

fm_val fm_broadcast(fm_prog *p, fm_val a, const fm_shape *to) {
  return shaped(p, &fm_op_broadcast, a, to);
}

fm_val fm_sum_to(fm_prog *p, fm_val a, const fm_shape *to) {
  return shaped(p, &fm_op_sum_to, a, to);
}

fm_val fm_reshape(fm_prog *p, fm_val a, const fm_shape *to) {
  return shaped(p, &fm_op_reshape, a, to);
}

fm_val fm_slice(fm_prog *p, fm_val a, int axis, int64_t start, int64_t length) {
  fm_attr attr = {{axis, start, length}, {0}};
  return a == FM_NONE ? FM_NONE : fm_emit(p, &fm_op_slice, 1, &a, &attr);
}

fm_val fm_concat(fm_prog *p, int n, const fm_val *in, int axis) {
  fm_attr attr = {{axis}, {0}};
  return fm_emit(p, &fm_op_concat, n, in, &attr);
}

fm_val fm_matmul(fm_prog *p, fm_val a, fm_val b, bool ta, bool tb) {
  fm_val in[2] = {a, b};
  fm_attr attr = {{ta, tb}, {0}};
  return fm_emit(p, &fm_op_matmul, 2, in, &attr);
}

fm_val fm_jvp_linear(fm_prog *p, fm_val y, const fm_val *dx) {
  int n = fm_nargs(p, y), present = 0;
  fm_attr attr = fm_attr_of(p, y);
  const fm_op *op = fm_op_of(p, y);
  for (int k = 0; k < n; k++) present += dx[k] != FM_NONE;
  if (present == 0) return FM_NONE;
  if (n == 1) return fm_emit(p, op, 1, dx, &attr);
  fm_pool s = {.ctx = p->ctx};
  fm_val *in = fm_take(&s, n, fm_val), dy = FM_NONE;
  if (in == NULL) p->err = FM_ENOMEM;
  for (int k = 0; in && k < n; k++)
    in[k] = dx[k] != FM_NONE ? dx[k] : fm_full(p, fm_prog_sig(p, fm_arg(p, y, k)), 0);
  if (in) dy = fm_emit(p, op, n, in, &attr);
  fm_pool_free(&s);
  return dy;
}
