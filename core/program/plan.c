/*
** plan.c - turns a program into steps on planned memory: operands of concatenations are computed in
** place, slices and reshapes are views, and every value gets an offset in one arena for its live
** range.
*/
#include "layout.h"
#include "../op_names.h"

/* Operands of joining nodes are computed in place, unless they have another place already. */
static void find_parents(fm_layout *l) {
  const fm_prog *p = l->plan->p;
  for (fm_val v = 0; v < p->n; v++) {
    const fm_node *n = &p->node[v];
    if (!l->live[v]) continue;
    if (fm_is_view(p, v)) {
      l->parent[v] = fm_arg(p, v, 0);
      l->offset[v] = (size_t)fm_view_from(p, v) * fm_dtype_size(n->sig.dtype);
    }
    if (!fm_joins(p, v)) continue;
    size_t at = 0;
    for (int k = 0; k < n->nin; k++) {
      fm_val part = fm_ins(p, v)[k], a = fm_reshaped_from(p, part);
      const fm_op *op = p->node[a].op;
      bool computed = (!(op->flags & FM_LEAF) || (op->flags & FM_FILL)) && !fm_is_view(p, a);
      if (computed && l->parent[a] == FM_NONE) {
        l->parent[a] = v;
        l->offset[a] = at;
      }
      at += fm_bytes_of(p, part);
    }
  }
}

/* An operation that can accumulate adds to its sum itself if nothing else reads its result; where
** in_place says so, outputs are computed where the caller wants them. */
static void find_locations(fm_layout *l) {
  const fm_prog *p = l->plan->p;
  for (fm_val v = 0; v < p->n; v++) {
    const fm_node *n = &p->node[v];
    fm_loc *loc = &l->plan->loc[v];
    int index = (int)n->attr.i[FM_INDEX];
    if (!l->live[v] || l->virt[v]) continue;
    if (n->op == &fm_op_input)
      *loc = (fm_loc){AT_INPUT, index, 0};
    else if (n->op == &fm_op_constant)
      *loc = (fm_loc){AT_CONST, index, 0};
    else if (l->plan->group[v] < 0 || l->stored[v])
      loc->where = AT_ARENA;
  }
  for (int k = 0; k < p->nout; k++) {
    fm_val v = p->out[k].v;
    bool added = p->out[k].merge == FM_SUM && p->node[v].op->accumulates && l->uses[v] == 1;
    bool placed = l->plan->in_place && l->plan->loc[v].where == AT_ARENA && !fm_is_view(p, v) &&
                  l->parent[v] == FM_NONE;
    if (added || placed) l->plan->loc[v] = (fm_loc){AT_OUT, k, 0};
  }
}

static fm_err make(fm_plan *plan, fm_pool *s, int passes) {
  const fm_prog *p = plan->p;
  fm_layout l = {.plan = plan, .pool = s, .fuse = passes & FM_PASS_FUSE, .live = fm_live(s, p)};
  l.stage = fm_stages(s, p), l.uses = fm_use_counts(s, p, l.live);
  l.offset = fm_take(s, p->n, size_t), l.parent = fm_take_none(s, p->n);
  int *first = fm_take(s, p->n, int);
  plan->group = fm_take_none(&plan->pool, p->n);
  plan->loc = fm_take(&plan->pool, p->n, fm_loc); /* all AT_NOWHERE */
  if (s->failed || plan->pool.failed) return FM_ENOMEM;
  fm_stage_rematerialised(&l, first);
  fm_fuse(&l);
  if (s->failed) return FM_ENOMEM;
  fm_delay(&l, first);
  fm_build_passes(&l);
  if (s->failed || plan->pool.failed) return FM_ENOMEM;
  find_parents(&l);
  find_locations(&l);
  fm_schedule(&l);
  if (!plan->pool.failed) fm_place(&l);
  if (s->failed || plan->pool.failed) return FM_ENOMEM;
  if (fm_plus_bytes(plan->arena, plan->blocks) <= FM_MOST_BYTES) return FM_OK;
  return fm_fail(plan->ctx, FM_ENOMEM,
                 "program: its values need more memory than can be addressed");
}

fm_plan *fm_plan_new(fm_prog *p, int passes, bool in_place) {
  fm_pool s = {.ctx = p->ctx};
  fm_plan *plan = fm_alloc(p->ctx, sizeof *plan);
  if (plan == NULL) {
    fm_prog_free(p);
    return NULL;
  }
  *plan = (fm_plan){.ctx = p->ctx, .p = p, .pool = {.ctx = p->ctx}, .in_place = in_place};
  plan->bf16 = (passes & FM_BF16) != 0;
  fm_err err = make(plan, &s, passes);
  fm_pool_free(&s);
  if (err == FM_OK) return plan;
  fm_plan_free(plan);
  return NULL;
}

void fm_plan_free(fm_plan *plan) {
  if (plan == NULL) return;
  fm_pool_free(&plan->pool);
  fm_prog_free(plan->p);
  fm_free(plan->ctx, plan, sizeof *plan);
}
