/* hoist_epilogue.c - one epilogue for all programs, or none if they disagree on it. */
#include "hoist.h"
#include "../op_names.h"

/* Numbers the sums of a program; returns how many there are. */
static int number_sums(fm_hoisted *s) {
  int n = 0;
  for (fm_val v = 0; v < s->p->n; v++)
    if (s->region[v] == SUMMED) s->sum[v] = n++;
  return n;
}

/* Emits what program s does after its sums; the epilogue has these as inputs. */
static void emit(fm_hoister *t, fm_hoisted *s) {
  const fm_prog *p = s->p;
  int first = p->nin + t->plans->nvalue;
  s->epi = fm_rewrite_into(t->pool, p, t->epi);
  for (fm_val v = 0; v < p->n && t->epi->err == FM_OK; v++) {
    fm_val *to = &s->epi.map[v];
    if (s->region[v] == SUMMED)
      *to = t->epi->in[first + s->sum[v]].v;
    else if (s->disposition[v] == LOADED)
      *to = fm_value_in(t, t->epi, s, v);
    else if (p->node[v].op != &fm_op_input &&
             (s->region[v] == AFTER_SUM || (s->shared[v] && s->disposition[v] == COMPUTED)))
      *to = fm_copy_node(&s->epi, v);
  }
}

/* Whether program b has the sums of the first program and computes the same from them. */
static bool agrees(fm_hoister *t, fm_hoisted *b) {
  const fm_hoisted *a = &t->from[0];
  if (b != a && number_sums(b) != t->plans->nsum) return false;
  const struct fm_prog_in *sum = t->epi->in + b->p->nin + t->plans->nvalue;
  for (fm_val v = 0; v < b->p->n; v++)
    if (b->sum[v] >= 0 && !fm_same_sig(&b->p->node[v].sig, &t->epi->node[sum[b->sum[v]].v].sig))
      return false;
  emit(t, b);
  for (int j = 0; t->epi->err == FM_OK && j < a->p->nout; j++)
    if (fm_after(a, j) != fm_after(b, j) ||
        (fm_after(a, j) && a->epi.map[a->p->out[j].v] != b->epi.map[b->p->out[j].v]))
      return false;
  return t->epi->err == FM_OK;
}

static void drop_epilogue(fm_hoister *t) {
  for (int k = 0; k < t->n; k++)
    for (fm_val v = 0; v < t->from[k].p->n; v++) t->from[k].region[v] = IN_BODY;
  fm_prog_free(t->epi);
  t->epi = NULL;
  t->plans->nsum = 0;
}

/* Where programs disagree, every body sums its own outputs. */
fm_err fm_make_epilogue(fm_hoister *t) {
  fm_hoisted *s = &t->from[0];
  const fm_prog *p = s->p;
  bool agreed = true;
  if ((t->plans->nsum = number_sums(s)) == 0) {
    drop_epilogue(t); /* the other programs may have sums */
    return FM_OK;
  }
  if ((t->epi = fm_with_values(t, p)) == NULL) return FM_ENOMEM;
  t->epi->share = true; /* programs agree where they map to the same values */
  for (fm_val v = 0; v < p->n; v++)
    if (s->sum[v] >= 0) fm_input(t->epi, FM_SHARED, &p->node[v].sig);
  for (int k = 0; k < t->n && agreed && t->epi->err == FM_OK; k++) agreed = agrees(t, &t->from[k]);
  if (t->epi->err != FM_OK) return t->epi->err;
  if (!agreed) drop_epilogue(t);
  for (int j = 0; agreed && j < p->nout; j++) {
    if (!fm_after(s, j)) continue;
    t->plans->epilogue_out[t->epi->nout] = j;
    fm_output(t->epi, s->epi.map[p->out[j].v], FM_STACK);
  }
  return agreed ? t->epi->err : FM_OK;
}
