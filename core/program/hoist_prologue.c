/* hoist_prologue.c - what is shared, computed once, and how epilogue and bodies read it. */
#include "hoist.h"

fm_prog *fm_with_values(const fm_hoister *t, const fm_prog *p) {
  fm_prog *q = fm_prog_like(p);
  for (int k = 0; q && k < t->h->nvalue; k++) fm_input(q, FM_SHARED, &t->h->value[k]);
  return q;
}

fm_val fm_value_in(const fm_hoister *t, const fm_prog *q, const fm_source *s, fm_val v) {
  return q->in[s->p->nin + t->index[s->pro.map[v]]].v;
}

/* All that is shared, equal nodes of all programs as one; what a body loads becomes an output. */
fm_err fm_make_prologue(fm_hoister *t) {
  fm_hoisted *h = t->h;
  if ((t->pro = fm_prog_like(t->from[0].p)) == NULL) return FM_ENOMEM;
  t->pro->share = true;
  for (int k = 0; k < t->n; k++) {
    fm_source *s = &t->from[k];
    const fm_prog *p = s->p;
    s->pro = fm_rewrite_into(t->pool, p, t->pro);
    for (fm_val v = 0; v < p->n && t->pro->err == FM_OK; v++) {
      if (!s->shared[v] || !s->live[v]) continue;
      fm_val *to = &s->pro.map[v];
      if (p->node[v].op != &fm_op_input) *to = fm_copy_node(&s->pro, v);
      if (s->disposition[v] != LOADED || *to == FM_NONE || t->index[*to] >= 0) continue;
      t->index[*to] = h->nvalue;
      h->value[h->nvalue++] = p->node[v].sig;
      fm_output(t->pro, *to, FM_STACK);
    }
  }
  return t->pro->err;
}
