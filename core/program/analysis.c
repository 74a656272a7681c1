/* analysis.c - facts about the values of a program. */
#include "analysis.h"

size_t fm_sig_bytes(const fm_sig *sig) {
  return (size_t)fm_shape_count(&sig->shape) * fm_dtype_size(sig->dtype);
}

double fm_node_flops(const fm_prog *p, fm_val v) {
  const fm_node *n = &p->node[v];
  fm_sig in[FM_MAX_OPERANDS]; /* a concatenation may have more operands, but no rule for its cost */
  for (int k = 0; n->op->flops && k < n->nin; k++) in[k] = p->node[fm_ins(p, v)[k]].sig;
  return fm_flops(n->op, n->nin, in, &n->sig, &n->attr);
}

bool *fm_live(fm_pool *s, const fm_prog *p) {
  bool *live = fm_take(s, p->n, bool);
  if (live == NULL) return NULL;
  for (int k = 0; k < p->nout; k++) live[p->out[k].v] = true;
  for (fm_val v = p->n - 1; v >= 0; v--)
    for (int k = 0; live[v] && k < p->node[v].nin; k++) live[fm_ins(p, v)[k]] = true;
  return live;
}

int *fm_use_counts(fm_pool *s, const fm_prog *p, const bool *live) {
  int *uses = fm_take(s, p->n, int);
  if (uses == NULL) return NULL;
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; live[v] && k < p->node[v].nin; k++) uses[fm_ins(p, v)[k]]++;
  for (int k = 0; k < p->nout; k++) uses[p->out[k].v]++;
  return uses;
}

bool fm_is_read(const fm_prog *p, fm_val v) {
  for (int k = 0; k < p->nargs; k++)
    if (p->args[k] == v) return true;
  for (int k = 0; k < p->nout; k++)
    if (p->out[k].v == v) return true;
  return false;
}

int64_t fm_view_from(const fm_prog *p, fm_val v) {
  const fm_node *n = &p->node[v];
  return n->op->view ? n->op->view(&p->node[fm_arg(p, v, 0)].sig, &n->attr) : -1;
}

bool fm_joins(const fm_prog *p, fm_val v) {
  const fm_node *n = &p->node[v];
  return n->op->joins && n->op->joins(&n->attr);
}

fm_val fm_reshaped_from(const fm_prog *p, fm_val v) {
  while (p->node[v].op->flags & FM_RESHAPE) v = fm_arg(p, v, 0);
  return v;
}

fm_users fm_find_users(fm_pool *s, const fm_prog *p) {
  fm_users u = {fm_take(s, p->n + 2, int), fm_take(s, p->nargs, fm_val)};
  if (s->failed) return u;
  int *end = u.from + 1; /* fills up to become the start of the next node's users */
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; k < p->node[v].nin; k++) end[fm_ins(p, v)[k] + 1]++;
  for (fm_val v = 0; v < p->n; v++) end[v + 1] += end[v];
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; k < p->node[v].nin; k++) u.user[end[fm_ins(p, v)[k]]++] = v;
  return u;
}

bool fm_opens_stage(const fm_op *op) {
  return !(op->flags & (FM_ELEMENTWISE | FM_LEAF | FM_REPEAT));
}

int *fm_stages(fm_pool *s, const fm_prog *p) {
  int *stage = fm_take(s, p->n, int);
  for (fm_val v = 0; stage && v < p->n; v++) {
    for (int k = 0; k < p->node[v].nin; k++) {
      int of = stage[fm_ins(p, v)[k]];
      stage[v] = of > stage[v] ? of : stage[v];
    }
    stage[v] += fm_opens_stage(p->node[v].op);
  }
  return stage;
}
