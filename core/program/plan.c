/*
** plan.c - from a program to steps on planned memory: elementwise nodes are grouped into passes,
** concatenations are made in place, slices and reshapes are views, and each value gets an offset in
** one arena from the time it is written to the time it is last read.
*/
#define _POSIX_C_SOURCE 200809L
#include "plan.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_PASS 240 /* slots of one pass, bounded so that a pass fits its run-time tables */

size_t fm_sig_bytes(const fm_sig *sig) {
  return (size_t)fm_shape_count(&sig->shape) * fm_dtype_size(sig->dtype);
}

double fm_now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

double fm_cpu_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* ------------------------------------------------------------------ grouping */

/* The first value of its operand that v is a view from; -1 if v is none. */
static int64_t view_from(const fm_prog *p, fm_val v) {
  const fm_node *n = &p->node[v];
  return n->op->view ? n->op->view(&p->node[fm_arg(p, v, 0)].sig, &n->attr) : -1;
}

static bool is_view(const fm_prog *p, fm_val v) { return view_from(p, v) >= 0; }

/* The operands of v are its parts in memory. */
static bool is_join(const fm_prog *p, fm_val v) {
  const fm_node *n = &p->node[v];
  return n->op->joins && n->op->joins(&n->attr);
}

static bool in_pass(const fm_op *op) { return op->flags & (FM_ELEMENTWISE | FM_CLOSES_PASS); }
static bool is_sum(const fm_op *op) { return op->flags & FM_CLOSES_PASS; }

/* Broadcasts and fills are read where they are used; only other readers need them in memory. */
static void find_virtual(const fm_prog *p, fm_grouping *g) {
  for (fm_val v = 0; v < p->n; v++) g->virt[v] = p->node[v].op->flags & (FM_REPEAT | FM_FILL);
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; g->live[v] && k < p->node[v].nin; k++)
      if (!in_pass(p->node[v].op)) g->virt[fm_ins(p, v)[k]] = false;
  for (int k = 0; k < p->nout; k++) g->virt[p->out[k].v] = false;
}

typedef struct group_key {
  fm_sig domain;
  int size, members;
  int before; /* the group made before it in the same stage, or -1 */
} group_key;

/* Nodes of one stage and shape share a pass, siblings included, up to a bounded size. */
static int group_of(fm_plan *plan, fm_grouping *g, group_key *key, int *newest, fm_val v) {
  const fm_node *n = &plan->p->node[v];
  bool sum = is_sum(n->op);
  fm_sig domain = sum ? plan->p->node[fm_arg(plan->p, v, 0)].sig : n->sig;
  int stage = g->stage[v] - sum, id = newest[stage];
  while (id >= 0 && (key[id].domain.dtype != domain.dtype ||
                     !fm_shape_eq(&key[id].domain.shape, &domain.shape)))
    id = key[id].before;
  if (g->fuse && id >= 0 && key[id].size + 1 + n->nin <= MAX_PASS) {
    key[id].size += 1 + n->nin;
    key[id].members++;
    return id;
  }
  key[g->ngroup] = (group_key){domain, 1 + n->nin, 1, newest[stage]};
  return newest[stage] = g->ngroup++;
}

static void list_members(const fm_prog *p, fm_grouping *g, const group_key *key) {
  g->from[0] = 0;
  for (int id = 0; id < g->ngroup; id++) g->from[id + 1] = g->from[id] + key[id].members;
  for (fm_val v = p->n - 1; v >= 0; v--)
    if (g->group[v] >= 0) g->member[--g->from[g->group[v] + 1]] = v;
  for (int id = 0; id < g->ngroup; id++) g->from[id + 1] = g->from[id] + key[id].members;
}

static void find_groups(fm_plan *plan, fm_grouping *g, group_key *key) {
  const fm_prog *p = plan->p;
  int *newest = g->from; /* per stage; free until the members are listed */
  find_virtual(p, g);
  for (fm_val v = 0; v <= p->n; v++) newest[v] = -1;
  for (fm_val v = 0; v < p->n; v++) {
    bool repeat = (p->node[v].op->flags & FM_REPEAT) && !g->virt[v];
    g->group[v] = -1;
    if (g->live[v] && (in_pass(p->node[v].op) || repeat))
      g->group[v] = group_of(plan, g, key, newest, v);
  }
  list_members(p, g, key);
  /* A value is stored when anybody outside its pass reads it. */
  for (fm_val v = 0; v < p->n; v++) g->stored[v] = false;
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; g->live[v] && k < p->node[v].nin; k++) {
      fm_val a = fm_ins(p, v)[k];
      if (g->group[v] != g->group[a] || g->group[v] < 0) g->stored[a] = true;
    }
  for (int k = 0; k < p->nout; k++) g->stored[p->out[k].v] = true;
}

/* ------------------------------------------------------------------ places */

/* The value whose bytes a is, in another shape. */
static fm_val made_as(const fm_prog *p, fm_val a) {
  while (p->node[a].op->flags & FM_RESHAPE) a = fm_arg(p, a, 0);
  return a;
}

/* Parts of concatenations along the first axis are written in place, unless they have a place. */
static void find_parents(fm_layout *l) {
  const fm_prog *p = l->plan->p;
  for (fm_val v = 0; v < p->n; v++) l->parent[v] = FM_NONE;
  for (fm_val v = 0; v < p->n; v++) {
    const fm_node *n = &p->node[v];
    if (!l->g->live[v]) continue;
    if (is_view(p, v)) {
      l->parent[v] = fm_arg(p, v, 0);
      l->offset[v] = (size_t)view_from(p, v) * fm_dtype_size(n->sig.dtype);
    }
    if (!is_join(p, v)) continue;
    size_t at = 0;
    for (int k = 0; k < n->nin; k++) {
      fm_val part = fm_ins(p, v)[k], a = made_as(p, part);
      const fm_op *op = p->node[a].op;
      bool made = (!(op->flags & FM_LEAF) || (op->flags & FM_FILL)) && !is_view(p, a);
      if (made && l->parent[a] == FM_NONE) {
        l->parent[a] = v;
        l->offset[a] = at;
      }
      at += fm_sig_bytes(&p->node[part].sig);
    }
  }
}

/* A sum that one product alone makes is added to by the product itself; an output may be made where
** it is wanted. */
static void find_locations(fm_layout *l) {
  const fm_prog *p = l->plan->p;
  for (fm_val v = 0; v < p->n; v++) {
    const fm_node *n = &p->node[v];
    fm_loc *loc = &l->plan->loc[v];
    *loc = (fm_loc){AT_NOWHERE, 0, 0};
    if (!l->g->live[v] || l->g->virt[v]) continue;
    if (n->op == &fm_op_input)
      *loc = (fm_loc){p->in[n->attr.i[FM_INDEX]].role == FM_ROWS ? AT_ROWS : AT_SHARED,
                      (int)n->attr.i[FM_INDEX], 0};
    else if (n->op == &fm_op_constant)
      *loc = (fm_loc){AT_CONST, (int)n->attr.i[FM_INDEX], 0};
    else if (l->g->group[v] < 0 || l->g->stored[v])
      loc->where = AT_ARENA;
  }
  for (int k = 0; k < p->nout; k++) {
    fm_val v = p->out[k].v;
    bool added = p->out[k].merge == FM_SUM && p->node[v].op->accumulates && l->g->uses[v] == 1;
    bool placed = l->plan->in_place && l->plan->loc[v].where == AT_ARENA && !is_view(p, v) &&
                  l->parent[v] == FM_NONE;
    if (added || placed) l->plan->loc[v] = (fm_loc){AT_LANE, k, 0};
  }
}

/* ------------------------------------------------------------------ schedule */

static fm_step *new_step(fm_plan *plan, fm_step_kind kind, fm_val v, int64_t stage, int64_t rank,
                         int64_t size) {
  if (!fm_grow(plan->p, (void **)&plan->step, &plan->stepcap, plan->nstep, sizeof(fm_step)))
    return NULL;
  fm_step *s = &plan->step[plan->nstep++];
  *s = (fm_step){.kind = kind, .v = v, .order = {stage, rank, size}};
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

/* The operands of a concatenation that have their place elsewhere are copied. */
static fm_err schedule_concat(fm_layout *l, fm_val v) {
  const fm_prog *p = l->plan->p;
  size_t at = 0;
  for (int k = 0; k < p->node[v].nin; k++) {
    fm_val a = fm_ins(p, v)[k], part = made_as(p, a);
    if (l->parent[part] != v || l->offset[part] != at) {
      fm_step *s = new_step(l->plan, STEP_COPY, a, l->g->stage[v], 0, 0);
      if (s == NULL) return FM_ENOMEM;
      s->into = v;
      s->offset = at;
    }
    at += fm_sig_bytes(&p->node[a].sig);
  }
  return FM_OK;
}

static fm_err schedule(fm_layout *l) {
  fm_plan *plan = l->plan;
  const fm_prog *p = plan->p;
  bool ok = true;
  for (fm_val v = 0; v < p->n && ok; v++) {
    const fm_node *n = &p->node[v];
    bool bound = n->op->flags & FM_BOUND;
    if (!l->g->live[v] || l->g->virt[v] || l->g->group[v] >= 0 || is_view(p, v) || bound) continue;
    if (is_join(p, v))
      ok = schedule_concat(l, v) == FM_OK;
    else
      ok = new_step(plan, STEP_OP, v, l->g->stage[v], 0, 0) != NULL;
  }
  for (int k = 0; k < plan->nfused && ok; k++) {
    const fm_fused *f = &plan->fused[k];
    fm_val v = f->nmicro ? f->micro[0].v : f->reduce[0].v;
    int64_t stage = l->g->stage[v] - (f->nmicro == 0);
    fm_step *s = new_step(plan, STEP_FUSED, v, stage, 1, fm_shape_count(&f->domain.shape));
    ok = s != NULL;
    if (ok) s->index = k;
  }
  for (int k = 0; k < p->nout && ok; k++) {
    const fm_loc *loc = &plan->loc[p->out[k].v];
    if (loc->where == AT_LANE && loc->index == k) continue;
    fm_step_kind kind = p->out[k].merge == FM_SUM ? STEP_SUM : STEP_STACK;
    fm_step *s = new_step(plan, kind, p->out[k].v, INT32_MAX, 0, k);
    ok = s != NULL;
    if (ok) s->index = k;
  }
  if (!ok) return FM_ENOMEM;
  if (plan->nstep > 0) qsort(plan->step, (size_t)plan->nstep, sizeof *plan->step, compare_steps);
  return FM_OK;
}

/* What is made from inputs and constants alone is made just before it is first read: transforms of
** weights, for example, would otherwise all be alive from the start. */
static void delay(const fm_prog *p, fm_grouping *g, int *first) {
  for (fm_val v = 0; v < p->n; v++) first[v] = INT_MAX;
  for (fm_val u = 0; u < p->n; u++) {
    const fm_op *op = p->node[u].op;
    int stage = g->stage[u] - is_sum(op);
    if (is_view(p, u) || op->joins || g->virt[u]) stage = 0; /* not a reader itself */
    for (int k = 0; g->live[u] && k < p->node[u].nin; k++) {
      fm_val v = fm_ins(p, u)[k];
      first[v] = stage < first[v] ? stage : first[v];
    }
  }
  for (int k = 0; k < p->nout; k++) first[p->out[k].v] = 0;
  for (fm_val v = 0; v < p->n; v++) {
    bool early = p->node[v].nin > 0 && g->group[v] < 0 && !is_view(p, v);
    for (int k = 0; k < p->node[v].nin; k++) {
      fm_val a = fm_ins(p, v)[k];
      while (is_view(p, a)) a = fm_arg(p, a, 0);
      early = early && (p->node[a].op->flags & FM_BOUND);
    }
    if (early && first[v] != INT_MAX && first[v] > g->stage[v]) g->stage[v] = first[v];
  }
}

/* What is made anew for the readers of a late pass belongs to the stage of the first of them. */
static void set_late(const fm_prog *p, fm_grouping *g, int *first) {
  for (fm_val v = 0; v < p->n; v++) first[v] = INT_MAX;
  for (fm_val v = p->n - 1; v >= 0; v--) {
    const fm_op *op = p->node[v].op;
    if (!g->live[v]) continue;
    if (p->node[v].late && first[v] != INT_MAX) g->stage[v] = first[v];
    int need = g->stage[v] - fm_opens_stage(op);
    for (int k = 0; k < p->node[v].nin; k++) {
      fm_val a = fm_ins(p, v)[k];
      first[a] = need < first[a] ? need : first[a];
    }
  }
}

/* ------------------------------------------------------------------ making a plan */

static fm_err arrange(fm_plan *plan, const fm_grouping *g) {
  size_t n = (size_t)plan->p->n + 1,
         bytes = n * (2 * sizeof(fm_block) + sizeof(size_t) + sizeof(fm_val) + 2 * sizeof(int));
  fm_block *list = fm_alloc(plan->ctx, bytes);
  if (list == NULL) return FM_ENOMEM;
  fm_layout l = {.plan = plan, .g = g, .offset = (size_t *)(list + 2 * n)};
  l.parent = (fm_val *)(l.offset + n), l.from = l.parent + n, l.to = l.from + n;
  for (int k = 0; k < plan->p->n; k++) l.from[k] = l.to[k] = -1;
  find_parents(&l);
  find_locations(&l);
  fm_err err = schedule(&l);
  if (err == FM_OK) fm_place(&l, list);
  fm_free(plan->ctx, list, bytes);
  return err;
}

static void count_uses(const fm_prog *p, fm_grouping *g) {
  memset(g->uses, 0, (size_t)p->n * sizeof *g->uses);
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; g->live[v] && k < p->node[v].nin; k++) g->uses[fm_ins(p, v)[k]]++;
  for (int k = 0; k < p->nout; k++) g->uses[p->out[k].v]++;
}

static fm_err make(fm_plan *plan, int passes) {
  size_t n = (size_t)plan->p->n + 1;
  size_t bytes = n * (sizeof(group_key) + 5 * sizeof(int) + 3 * sizeof(bool));
  group_key *key = fm_alloc(plan->ctx, bytes);
  plan->loc = fm_alloc(plan->ctx, n * sizeof *plan->loc);
  fm_err err = key && plan->loc ? FM_OK : FM_ENOMEM;
  if (err == FM_OK) {
    fm_grouping g = {.stage = (int *)(key + n), .fuse = passes & FM_PASS_FUSE};
    g.group = g.stage + n, g.uses = g.group + n, g.member = g.uses + n, g.from = g.member + n;
    g.live = (bool *)(g.from + n), g.virt = g.live + n, g.stored = g.virt + n;
    fm_live(plan->p, g.live);
    fm_stages(plan->p, g.stage);
    set_late(plan->p, &g, g.group);
    count_uses(plan->p, &g);
    find_groups(plan, &g, key);
    delay(plan->p, &g, (int *)key); /* the keys have done their work */
    plan->fusedcap = g.ngroup;
    plan->fused = fm_alloc(plan->ctx, (size_t)g.ngroup * sizeof *plan->fused);
    if (plan->fused == NULL) err = FM_ENOMEM;
    if (plan->fused) memset(plan->fused, 0, (size_t)g.ngroup * sizeof *plan->fused);
    if (err == FM_OK) err = fm_fuse(plan, &g);
    if (err == FM_OK) err = arrange(plan, &g);
    if (err == FM_OK && fm_plus_bytes(plan->arena, plan->scratch) > FM_MOST_BYTES)
      err = fm_fail(plan->ctx, FM_ENOMEM,
                    "program: its values need more memory than can be addressed");
  }
  fm_free(plan->ctx, key, bytes);
  return err;
}

fm_plan *fm_plan_new(fm_prog *p, int passes, bool in_place) {
  double start = fm_now_ms();
  fm_plan *plan = fm_alloc(p->ctx, sizeof *plan);
  if (plan == NULL) {
    fm_prog_free(p);
    return NULL;
  }
  *plan = (fm_plan){.ctx = p->ctx, .p = p, .in_place = in_place};
  plan->bf16 = (passes & FM_BF16) != 0;
  if (make(plan, passes) == FM_OK) {
    plan->ms_plan = fm_now_ms() - start;
    return plan;
  }
  fm_plan_free(plan);
  return NULL;
}

void fm_plan_free(fm_plan *plan) {
  if (plan == NULL) return;
  size_t n = plan->p ? (size_t)plan->p->n + 1 : 0;
  for (int k = 0; k < plan->nfused; k++) {
    fm_fused *f = &plan->fused[k];
    fm_free(plan->ctx, f->slot, (size_t)f->slotcap * sizeof *f->slot);
    fm_free(plan->ctx, f->micro, (size_t)f->microcap * sizeof *f->micro);
    fm_free(plan->ctx, f->reduce, (size_t)f->reducecap * sizeof *f->reduce);
  }
  fm_free(plan->ctx, plan->fused, (size_t)plan->fusedcap * sizeof *plan->fused);
  fm_free(plan->ctx, plan->step, (size_t)plan->stepcap * sizeof *plan->step);
  fm_free(plan->ctx, plan->loc, n * sizeof *plan->loc);
  fm_prog_free(plan->p);
  fm_free(plan->ctx, plan, sizeof *plan);
}
