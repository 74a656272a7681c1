/* hoist_body.c - the part of a program that runs for every micro-batch, and how it and the epilogue
** read the values of the prologue. */
#include "hoist.h"
#include "../op_names.h"

fm_prog *fm_with_values(const fm_hoister *t, const fm_prog *p) {
  fm_prog *q = fm_prog_like(p);
  for (int k = 0; q && k < t->plans->nvalue; k++) fm_input(q, FM_SHARED, &t->plans->value[k]);
  return q;
}

fm_val fm_value_in(const fm_hoister *t, const fm_prog *q, const fm_hoisted *s, fm_val v) {
  return q->in[s->p->nin + t->index[s->pro.map[v]]].v;
}

/* Per node: the body computes or loads it, from the body's outputs backwards. */
static bool *find_needed(fm_pool *pool, const fm_hoisted *s) {
  const fm_prog *p = s->p;
  bool *need = fm_take(pool, p->n, bool);
  if (need == NULL) return NULL;
  for (fm_val v = 0; v < p->n; v++) need[v] = s->region[v] == SUMMED;
  for (int j = 0; j < p->nout; j++)
    if (!fm_after(s, j)) need[p->out[j].v] = true;
  for (fm_val v = p->n - 1; v >= 0; v--)
    for (int k = 0; need[v] && s->disposition[v] != LOADED && k < p->node[v].nin; k++)
      need[fm_arg(p, v, k)] = true;
  return need;
}

/* Shared values that the body computes are rematerialised separately for each reader, so that they
** do not stay live between readers. */
static fm_val for_reader(const fm_rewrite *r, const fm_hoisted *s, fm_val v) {
  const fm_node *n = &s->p->node[v];
  if (s->disposition[v] != COMPUTED || !s->shared[v] || (n->op->flags & FM_LEAF)) return r->map[v];
  for (int k = 0; k < n->nin; k++) {
    fm_val a = fm_arg(s->p, v, k);
    r->map[a] = for_reader(r, s, a);
  }
  fm_val copy = fm_copy_node(r, v);
  if (copy != FM_NONE) r->q->node[copy].rematerialised = true;
  return copy;
}

static void rematerialise_operands(const fm_rewrite *r, const fm_hoisted *s, fm_val v) {
  bool share = r->q->share;
  r->q->share = false;
  for (int k = 0; k < s->p->node[v].nin; k++) {
    fm_val a = fm_arg(s->p, v, k);
    r->map[a] = for_reader(r, s, a);
  }
  r->q->share = share;
}

/* The program's outputs that the body computes, then the sums for the epilogue. */
static void emit_outputs(fm_plans *plans, const fm_rewrite *r, const fm_hoisted *s) {
  const fm_prog *p = s->p;
  int n = 0;
  for (int j = 0; j < p->nout; j++) {
    if (fm_after(s, j)) continue;
    plans->result_out[n++] = j;
    fm_output(r->q, r->map[p->out[j].v], p->out[j].merge);
  }
  for (fm_val v = 0; v < p->n; v++) {
    if (s->region[v] != SUMMED) continue;
    plans->result_out[n++] = -1;
    fm_output(r->q, r->map[v], FM_SUM);
  }
  plans->nresult = n;
}

fm_err fm_make_body(fm_hoister *t, int k) {
  const fm_hoisted *s = &t->from[k];
  const fm_prog *p = s->p;
  fm_prog *q = t->plans->prog[k] = fm_with_values(t, p);
  fm_rewrite r = fm_rewrite_into(t->pool, p, q);
  const bool *need = find_needed(t->pool, s);
  if (q == NULL || need == NULL) return FM_ENOMEM;
  for (fm_val v = 0; v < p->n && q->err == FM_OK; v++) {
    if (!need[v] || p->node[v].op == &fm_op_input) continue;
    if (s->disposition[v] == COMPUTED && !s->shared[v]) rematerialise_operands(&r, s, v);
    r.map[v] = s->disposition[v] == LOADED ? fm_value_in(t, q, s, v) : fm_copy_node(&r, v);
  }
  emit_outputs(t->plans, &r, s);
  return q->err;
}
