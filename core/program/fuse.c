/*
** fuse.c - groups elementwise nodes of one stage and shape into passes that run block by block, so
** that intermediate values never leave the first-level cache; fuse_pass.c makes the passes.
*/
#include "layout.h"

static bool fusible(const fm_op *op) { return fm_elementwise(op) || fm_closes_pass(op); }

/* Broadcasts and fills are read where they are used; only other readers need them in memory. */
static void find_virtual(const fm_prog *p, fm_layout *l) {
  for (fm_val v = 0; v < p->n; v++) l->virt[v] = p->node[v].op->flags & (FM_REPEAT | FM_FILL);
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; l->live[v] && k < p->node[v].nin; k++)
      if (!fusible(p->node[v].op)) l->virt[fm_ins(p, v)[k]] = false;
  for (int k = 0; k < p->nout; k++) l->virt[p->out[k].v] = false;
}

typedef struct group {
  fm_sig domain;
  int size, members;
  int before; /* the group made before it in the same stage, or -1 */
} group;

/* Nodes of one stage and shape share a pass, siblings included, up to a bounded size. newest: per
** stage, its newest group. */
static int group_of(const fm_prog *p, fm_layout *l, group *list, int *newest, fm_val v) {
  const fm_node *n = &p->node[v];
  bool sum = fm_closes_pass(n->op);
  fm_sig domain = sum ? p->node[fm_arg(p, v, 0)].sig : n->sig;
  int stage = l->stage[v] - sum, id = newest[stage];
  while (id >= 0 && !fm_same_sig(&list[id].domain, &domain)) id = list[id].before;
  if (l->fuse && id >= 0 && list[id].size + 1 + n->nin <= MAX_PASS) {
    list[id].size += 1 + n->nin;
    list[id].members++;
    return id;
  }
  list[l->ngroup] = (group){domain, 1 + n->nin, 1, newest[stage]};
  return newest[stage] = l->ngroup++;
}

static void list_members(const fm_prog *p, fm_layout *l, const group *list) {
  for (int id = 0; id < l->ngroup; id++) l->from[id + 1] = l->from[id] + list[id].members;
  for (fm_val v = p->n - 1; v >= 0; v--)
    if (l->plan->group[v] >= 0) l->member[--l->from[l->plan->group[v] + 1]] = v;
  for (int id = 0; id < l->ngroup; id++) l->from[id + 1] = l->from[id] + list[id].members;
}

/* A value is stored when a node outside its pass reads it. */
static void find_stored(const fm_prog *p, fm_layout *l) {
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; l->live[v] && k < p->node[v].nin; k++) {
      fm_val a = fm_ins(p, v)[k];
      if (l->plan->group[v] != l->plan->group[a] || l->plan->group[v] < 0) l->stored[a] = true;
    }
  for (int k = 0; k < p->nout; k++) l->stored[p->out[k].v] = true;
}

void fm_fuse(fm_layout *l) {
  const fm_prog *p = l->plan->p;
  group *list = fm_take(l->pool, p->n, group);
  int *newest = fm_take_none(l->pool, p->n + 1);
  l->member = fm_take(l->pool, p->n, fm_val), l->from = fm_take(l->pool, p->n + 1, int);
  l->virt = fm_take(l->pool, p->n, bool), l->stored = fm_take(l->pool, p->n, bool);
  if (l->pool->failed) return;
  find_virtual(p, l);
  for (fm_val v = 0; v < p->n; v++) {
    bool repeat = (p->node[v].op->flags & FM_REPEAT) && !l->virt[v];
    if (l->live[v] && (fusible(p->node[v].op) || repeat))
      l->plan->group[v] = group_of(p, l, list, newest, v);
  }
  list_members(p, l, list);
  find_stored(p, l);
}
