/*
** fold.c - what emission simplifies on the spot: operations that change nothing, operations that
** move one known number (cotangent seeds, missing tangents, factors), and what the operation's own
** fold rule finds.
*/
#include "program.h"

bool fm_known(const fm_prog *p, fm_val v, double *value) {
  if (!(p->node[v].op->flags & FM_FILL)) return false;
  *value = p->node[v].attr.f[FM_VALUE];
  return true;
}

fm_val fm_fold(fm_prog *p, const fm_node *n, const fm_val *in) {
  const fm_op *op = n->op;
  double value;
  if (n->nin == 1 && (op->flags & FM_SAME) && n->sig.dtype == p->node[in[0]].sig.dtype &&
      fm_shape_eq(&n->sig.shape, &p->node[in[0]].sig.shape))
    return in[0];
  if (n->nin == 1 && (op->flags & FM_SELECTS) && fm_known(p, in[0], &value))
    return fm_full(p, n->sig, value);
  return op->fold ? op->fold(p, &n->sig, &n->attr, in) : FM_NONE;
}
