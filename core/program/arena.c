/*
** arena.c - an offset in the arena for every value, from the step that first touches it to the step
** that last does. Values alive at the same time do not overlap. (Writing a result over an operand
** that dies in the same pass was tried: it saves nothing here, where most operands are parts of
** stacked products.)
*/
#include "plan.h"

static fm_val owner(const fm_layout *l, fm_val v, size_t *offset) {
  *offset = 0;
  for (; l->parent[v] != FM_NONE; v = l->parent[v]) *offset += l->offset[v];
  return v;
}

static void touch(fm_layout *l, fm_val v, int step) {
  size_t offset;
  fm_val o = owner(l, v, &offset);
  if (l->from[o] < 0) l->from[o] = step;
  l->to[o] = step;
}

static void touch_step(fm_layout *l, const fm_step *s, int at) {
  const fm_prog *p = l->plan->p;
  if (s->kind == STEP_FUSED) {
    const fm_fused *f = &l->plan->fused[s->index];
    for (int k = 0; k < f->nslot; k++)
      if (f->slot[k].kind == SLOT_FULL || f->slot[k].kind == SLOT_BCAST) touch(l, f->slot[k].v, at);
    for (int k = 0; k < f->nreduce; k++) touch(l, f->reduce[k].v, at);
    return;
  }
  touch(l, s->v, at);
  if (s->kind == STEP_COPY) touch(l, s->into, at);
  for (int k = 0; s->kind == STEP_OP && k < p->node[s->v].nin; k++)
    touch(l, fm_ins(p, s->v)[k], at);
}

static size_t room(const fm_layout *l, fm_val v) {
  return (fm_sig_bytes(&l->plan->p->node[v].sig) + 63) / 64 * 64;
}

/* The end of a placed value that v at offset `at` would disturb; 0 if there is none. */
static size_t conflict(const fm_layout *l, fm_val v, size_t at, const fm_val *placed, int n) {
  for (int k = 0; k < n; k++) {
    fm_val u = placed[k];
    size_t start = l->plan->loc[u].offset, end = start + room(l, u);
    bool together = l->from[u] <= l->to[v] && l->from[v] <= l->to[u];
    if (together && start < at + room(l, v) && at < end) return end;
  }
  return 0;
}

void fm_place(fm_layout *l, fm_val *list) {
  fm_plan *plan = l->plan;
  const fm_prog *p = plan->p;
  int n = 0;
  for (int k = 0; k < plan->nstep; k++) touch_step(l, &plan->step[k], k);
  for (fm_val v = 0; v < p->n; v++) { /* largest first */
    if (plan->loc[v].where != AT_ARENA || l->parent[v] != FM_NONE || l->from[v] < 0) continue;
    int k = n++;
    for (; k > 0 && room(l, list[k - 1]) < room(l, v); k--) list[k] = list[k - 1];
    list[k] = v;
  }
  for (int k = 0; k < n; k++) {
    size_t at = 0; /* the lowest offset that disturbs nothing */
    for (size_t end; (end = conflict(l, list[k], at, list, k)) != 0;) at = end;
    plan->loc[list[k]].offset = at;
    if (at + room(l, list[k]) > plan->arena) plan->arena = at + room(l, list[k]);
  }
  for (fm_val v = 0; v < p->n; v++) { /* parts and views follow their owners */
    if (l->parent[v] == FM_NONE || !l->g->live[v]) continue;
    size_t offset;
    plan->loc[v] = plan->loc[owner(l, v, &offset)];
    plan->loc[v].offset += offset;
  }
}
