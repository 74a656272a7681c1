/*
** fold.c - what emission simplifies on the spot: operations that change nothing, and arithmetic on
** values that are one known number everywhere (cotangent seeds, missing tangents, factors).
*/
#include "program.h"

/* Not `copy`: it makes a variable, whose value happens to be known but which must not be folded. */
static bool moves_only(const fm_op *op) {
  return op == &fm_op_broadcast || op == &fm_op_reshape || op == &fm_op_slice ||
         op == &fm_op_transpose || op == &fm_op_stop || op == &fm_op_max_to;
}

static bool known(const fm_prog *p, fm_val v, double *value) {
  if (p->node[v].op != &fm_op_full) return false;
  *value = p->node[v].attr.f[0];
  return true;
}

/* The same shape again, scale 1 and shift 0, one operand of a concatenation. */
static fm_val no_change(const fm_prog *p, const fm_node *n, const fm_val *in) {
  const fm_op *op = n->op;
  if (op == &fm_op_affine) return n->attr.f[0] == 1 && n->attr.f[1] == 0 ? in[0] : FM_NONE;
  bool reshaping = op == &fm_op_broadcast || op == &fm_op_sum_to || op == &fm_op_reshape ||
                   op == &fm_op_max_to || op == &fm_op_slice || op == &fm_op_pad;
  if (reshaping && fm_shape_eq(&n->sig.shape, &p->node[in[0]].sig.shape)) return in[0];
  if (op == &fm_op_cast && n->sig.dtype == p->node[in[0]].sig.dtype) return in[0];
  return op == &fm_op_concat && n->nin == 1 ? in[0] : FM_NONE;
}

/* One operand is a known number. */
static fm_val fold_one(fm_prog *p, const fm_node *n, const fm_val *in) {
  double c;
  if (!known(p, in[0], &c)) return FM_NONE;
  if (moves_only(n->op)) return fm_full(p, n->sig, c);
  if (n->op == &fm_op_affine) return fm_full(p, n->sig, n->attr.f[0] * c + n->attr.f[1]);
  if (n->op == &fm_op_square) return fm_full(p, n->sig, c * c);
  if (n->op == &fm_op_sum_to) {
    double many = (double)fm_shape_count(&p->node[in[0]].sig.shape);
    double few = (double)fm_shape_count(&n->sig.shape);
    return few > 0 ? fm_full(p, n->sig, c * many / few) : FM_NONE;
  }
  return FM_NONE;
}

/* One of two operands is a known number: multiplication and addition become affine. */
static fm_val fold_two(fm_prog *p, const fm_node *n, const fm_val *in) {
  double a, b;
  bool ka = known(p, in[0], &a), kb = known(p, in[1], &b);
  if (!ka && !kb) return FM_NONE;
  if (n->op == &fm_op_mul) return kb ? fm_scale(p, in[0], b) : fm_scale(p, in[1], a);
  if (n->op == &fm_op_add) return kb ? fm_affine(p, in[0], 1, b) : fm_affine(p, in[1], 1, a);
  if (n->op == &fm_op_sub) return kb ? fm_affine(p, in[0], 1, -b) : fm_affine(p, in[1], -1, a);
  return FM_NONE;
}

/* Append v, or what it is a concatenation of along the axis, to a list of n values; the new n. */
static int append(const fm_prog *p, fm_val v, int64_t axis, fm_val *list, int n) {
  const fm_node *m = &p->node[v];
  bool parts = m->op == &fm_op_concat && m->attr.i[0] == axis;
  for (int k = 0; k < (parts ? m->nin : 1) && n <= FM_MAX_OPERANDS; k++)
    list[n++] = parts ? fm_ins(p, v)[k] : v;
  return n;
}

/*
** Two neighbouring parts of an axis, padded to its whole length and added, are put side by side: so
** the cotangents of the slices of a value make one concatenation, not a sum of mostly zeros.
*/
static fm_val join_pads(fm_prog *p, const fm_val *in) {
  if (p->node[in[0]].op != &fm_op_pad || p->node[in[1]].op != &fm_op_pad) return FM_NONE;
  int early = p->node[in[0]].attr.i[1] > p->node[in[1]].attr.i[1]; /* the one that starts earlier */
  fm_attr a = fm_attr_of(p, in[early]), b = fm_attr_of(p, in[1 - early]);
  fm_val first = fm_arg(p, in[early], 0), second = fm_arg(p, in[1 - early], 0);
  fm_val list[FM_MAX_OPERANDS + 1];
  if (a.i[0] != b.i[0] || a.i[1] + p->node[first].sig.shape.d[a.i[0]] != b.i[1]) return FM_NONE;
  int n = append(p, second, a.i[0], list, append(p, first, a.i[0], list, 0));
  if (n > FM_MAX_OPERANDS) return FM_NONE;
  fm_val both = fm_concat(p, n, list, (int)a.i[0]);
  return both == FM_NONE ? FM_NONE : fm_emit(p, &fm_op_pad, 1, &both, &a);
}

fm_val fm_fold(fm_prog *p, const fm_node *n, const fm_val *in) {
  fm_val v = n->nin > 0 ? no_change(p, n, in) : FM_NONE;
  if (v != FM_NONE) return v;
  if (n->op == &fm_op_broadcast && p->node[in[0]].op == &fm_op_broadcast)
    return fm_broadcast(p, fm_arg(p, in[0], 0), &n->sig.shape);
  if (n->op == &fm_op_reshape && p->node[in[0]].op == &fm_op_reshape)
    return fm_reshape(p, fm_arg(p, in[0], 0), &n->sig.shape);
  if (n->nin == 1) return fold_one(p, n, in);
  if (n->nin != 2) return FM_NONE;
  v = fold_two(p, n, in);
  return v == FM_NONE && n->op == &fm_op_add ? join_pads(p, in) : v;
}
