/* schedule.c - the stages of nodes, and the steps of a plan in their order. */
#include <limits.h>
#include <stdlib.h>

#include "layout.h"

/* A rematerialised value runs in the stage of its first reader. */
void fm_stage_rematerialised(fm_layout *l, int *first) {
  const fm_prog *p = l->plan->p;
  for (fm_val v = 0; v < p->n; v++) first[v] = INT_MAX;
  for (fm_val v = p->n - 1; v >= 0; v--) {
    if (!l->live[v]) continue;
    if (p->node[v].rematerialised && first[v] != INT_MAX) l->stage[v] = first[v];
    int need = l->stage[v] - fm_opens_stage(p->node[v].op);
    for (int k = 0; k < p->node[v].nin; k++) {
      fm_val a = fm_ins(p, v)[k];
      first[a] = need < first[a] ? need : first[a];
    }
  }
}

/* first[v]: the stage of the first step that reads v; 0 if v is read by a view, a concatenation, a
** virtual node or an output, which are not steps. */
static void find_first_reads(const fm_prog *p, const fm_layout *l, int *first) {
  for (fm_val v = 0; v < p->n; v++) first[v] = INT_MAX;
  for (fm_val u = 0; u < p->n; u++) {
    const fm_op *op = p->node[u].op;
    int stage = l->stage[u] - fm_closes_pass(op);
    if (fm_is_view(p, u) || op->joins || l->virt[u]) stage = 0;
    for (int k = 0; l->live[u] && k < p->node[u].nin; k++) {
      fm_val v = fm_ins(p, u)[k];
      first[v] = stage < first[v] ? stage : first[v];
    }
  }
  for (int k = 0; k < p->nout; k++) first[p->out[k].v] = 0;
}

/* Values computed from inputs and constants alone run just before they are first read: transforms
** of weights, for example, would otherwise all be live from the start. */
void fm_delay(fm_layout *l, int *first) {
  const fm_prog *p = l->plan->p;
  find_first_reads(p, l, first);
  for (fm_val v = 0; v < p->n; v++) {
    bool early = p->node[v].nin > 0 && l->plan->group[v] < 0 && !fm_is_view(p, v);
    for (int k = 0; k < p->node[v].nin; k++) {
      fm_val a = fm_ins(p, v)[k];
      while (fm_is_view(p, a)) a = fm_arg(p, a, 0);
      early = early && (p->node[a].op->flags & FM_BOUND);
    }
    if (early && first[v] != INT_MAX && first[v] > l->stage[v]) l->stage[v] = first[v];
  }
}

/* ------------------------------------------------------------------ steps */

static fm_step *add_step(fm_plan *plan, fm_step_kind kind, fm_val v, int64_t stage) {
  fm_step *s = &plan->step[plan->nstep++];
  *s = (fm_step){.kind = kind, .v = v, .order = {stage, kind == STEP_FUSED, 0}};
  return s;
}

/* Stage by stage: first the expensive steps, then the passes from small to large shapes (a
** broadcast only ever leads from a smaller to a larger one). */
static int compare_steps(const void *a, const void *b) {
  const fm_step *x = a, *y = b;
  for (int k = 0; k < 3; k++)
    if (x->order[k] != y->order[k]) return x->order[k] < y->order[k] ? -1 : 1;
  return x->v < y->v ? -1 : x->v > y->v;
}

/* Operands of a concatenation that have their place elsewhere are copied. */
static void add_copies(fm_layout *l, fm_val v) {
  const fm_prog *p = l->plan->p;
  size_t at = 0;
  for (int k = 0; k < p->node[v].nin; k++) {
    fm_val a = fm_ins(p, v)[k], part = fm_reshaped_from(p, a);
    if (l->parent[part] != v || l->offset[part] != at) {
      fm_step *s = add_step(l->plan, STEP_COPY, a, l->stage[v]);
      s->into = v;
      s->offset = at;
    }
    at += fm_bytes_of(p, a);
  }
}

static void add_op(fm_layout *l, fm_val v) {
  const fm_prog *p = l->plan->p;
  const fm_node *n = &p->node[v];
  bool bound = n->op->flags & FM_BOUND;
  if (!l->live[v] || l->virt[v] || l->plan->group[v] >= 0 || fm_is_view(p, v) || bound) return;
  if (fm_joins(p, v))
    add_copies(l, v);
  else
    add_step(l->plan, STEP_OP, v, l->stage[v]);
}

static void add_pass(fm_layout *l, int k) {
  const fm_fused *f = &l->plan->fused[k];
  fm_val v = f->nvop ? f->vop[0].v : f->reduce[0].v;
  fm_step *s = add_step(l->plan, STEP_FUSED, v, l->stage[v] - (f->nvop == 0));
  s->order[2] = fm_shape_count(&f->domain.shape);
  s->index = k;
}

static void add_output(fm_plan *plan, int k) {
  const struct fm_prog_out *out = &plan->p->out[k];
  const fm_loc *loc = &plan->loc[out->v];
  if (loc->where == AT_OUT && loc->index == k) return;
  fm_step *s = add_step(plan, out->merge == FM_SUM ? STEP_SUM : STEP_STACK, out->v, INT32_MAX);
  s->order[2] = s->index = k;
}

void fm_schedule(fm_layout *l) {
  fm_plan *plan = l->plan;
  const fm_prog *p = plan->p;
  plan->step = fm_take(&plan->pool, p->n + p->nargs + plan->nfused + p->nout, fm_step);
  if (plan->step == NULL) return;
  for (fm_val v = 0; v < p->n; v++) add_op(l, v);
  for (int k = 0; k < plan->nfused; k++) add_pass(l, k);
  for (int k = 0; k < p->nout; k++) add_output(plan, k);
  if (plan->nstep > 0) qsort(plan->step, (size_t)plan->nstep, sizeof *plan->step, compare_steps);
}
