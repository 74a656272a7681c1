/* rewrite.c - copying a program into another, node by node. */
#include "rewrite.h"
#include "../op_names.h"

fm_prog *fm_prog_like(const fm_prog *p) {
  fm_prog *q = fm_prog_new(p->ctx);
  if (q == NULL) return NULL;
  q->share = p->share;
  for (int k = 0; k < p->nin; k++) fm_input(q, p->in[k].role, &p->node[p->in[k].v].sig);
  if (q->err == FM_OK) return q;
  fm_prog_free(q);
  return NULL;
}

fm_rewrite fm_rewrite_into(fm_pool *s, const fm_prog *p, fm_prog *q) {
  fm_rewrite r = {p, q, fm_take_none(s, p->n), fm_take(s, p->nargs, fm_val)};
  if (q && s->failed) q->err = FM_ENOMEM;
  for (int k = 0; q && q->err == FM_OK && k < p->nin; k++) r.map[p->in[k].v] = q->in[k].v;
  return r;
}

fm_val fm_copy_node(const fm_rewrite *r, fm_val v) {
  const fm_node *n = &r->p->node[v];
  if (n->op == &fm_op_constant) return fm_const(r->q, r->p->constant[n->attr.i[FM_INDEX]]);
  for (int k = 0; k < n->nin; k++) r->in[k] = r->map[fm_ins(r->p, v)[k]];
  fm_val w = fm_emit(r->q, n->op, n->nin, r->in, &n->attr);
  if (w != FM_NONE) r->q->node[w].rematerialised |= n->rematerialised;
  return w;
}

fm_prog *fm_rewrite_end(fm_rewrite *r) {
  const fm_prog *p = r->p;
  fm_prog *q = r->q;
  for (int k = 0; q && q->err == FM_OK && k < p->nout; k++)
    fm_output(q, r->map[p->out[k].v], p->out[k].merge);
  if (q == NULL || q->err == FM_OK) return q;
  fm_prog_free(q);
  return NULL;
}

fm_prog *fm_rewritten(fm_pool *s, const fm_prog *p, bool share, const bool *only, fm_rule rule,
                      const void *data) {
  fm_rewrite r = fm_rewrite_into(s, p, fm_prog_like(p));
  if (r.q) r.q->share = share;
  for (fm_val v = 0; r.q && v < p->n && r.q->err == FM_OK; v++) {
    if ((only && !only[v]) || p->node[v].op == &fm_op_input) continue;
    fm_val w = rule(&r, v, data);
    r.map[v] = w != FM_NONE ? w : fm_copy_node(&r, v);
  }
  return fm_rewrite_end(&r);
}
