/*
** arena.c - gives every value an offset in the arena for its live range, from the first step that
** touches it to the last. Values that are live at the same time do not overlap. (Writing a result
** over an operand whose live range ends in the same pass was tried: it saves nothing here, where
** most operands are parts of stacked products.)
*/
#include <stdlib.h>

#include "layout.h"

typedef struct block { /* the memory of an owner */
  size_t size, at;
  fm_val v;
  struct block *next; /* placed and of the same first step */
} block;

static fm_val owner(const fm_layout *l, fm_val v, size_t *offset) {
  *offset = 0;
  for (; l->parent[v] != FM_NONE; v = l->parent[v]) *offset += l->offset[v];
  return v;
}

static void touch(fm_layout *l, fm_val v, int step) {
  size_t offset;
  fm_val o = owner(l, v, &offset);
  if (l->begin[o] < 0) l->begin[o] = step;
  l->end[o] = step;
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

static size_t padded(const fm_layout *l, fm_val v) {
  return (fm_bytes_of(l->plan->p, v) + 63) / 64 * 64;
}

static int by_size(const void *a, const void *b) { /* largest first */
  const block *x = a, *y = b;
  if (x->size != y->size) return x->size > y->size ? -1 : 1;
  return x->v < y->v ? -1 : x->v > y->v;
}

/*
** Placed blocks, for finding those that are live at the same time as another without a look at all:
** a binary tree whose leaves are the steps, each with the blocks that begin there. A node knows the
** last step of any block below it.
*/
typedef struct placed {
  const fm_layout *l;
  int leaves; /* a power of two; node k has the children 2 k and 2 k + 1, step i is leaves + i */
  int *last;  /* -1: no block */
  block **first;
  struct span {
    size_t at, end;
  } * found;
  int nfound;
} placed;

/* Find the blocks below a node, which has the steps from `step` on, that overlap b in time. */
static void find(placed *p, int node, int step, int nstep, const block *b) {
  const int begin = p->l->begin[b->v], end = p->l->end[b->v];
  if (step > end || p->last[node] < begin) return;
  if (nstep > 1) {
    find(p, 2 * node, step, nstep / 2, b);
    find(p, 2 * node + 1, step + nstep / 2, nstep / 2, b);
    return;
  }
  for (block *other = p->first[step]; other; other = other->next)
    if (p->l->end[other->v] >= begin)
      p->found[p->nfound++] = (struct span){other->at, fm_plus_bytes(other->at, other->size)};
}

static int by_place(const void *a, const void *b) {
  const struct span *x = a, *y = b;
  return x->at < y->at ? -1 : x->at > y->at;
}

/* Puts b at the lowest offset at which it overlaps no placed block that is live when b is. */
static void put(placed *p, block *b) {
  const int begin = p->l->begin[b->v], end = p->l->end[b->v];
  p->nfound = 0;
  find(p, 1, 0, p->leaves, b);
  if (p->nfound > 1) qsort(p->found, (size_t)p->nfound, sizeof *p->found, by_place);
  for (int k = 0; k < p->nfound && p->found[k].at < fm_plus_bytes(b->at, b->size); k++)
    if (p->found[k].end > b->at) b->at = p->found[k].end;
  b->next = p->first[begin], p->first[begin] = b;
  for (int k = p->leaves + begin; k > 0 && p->last[k] < end; k /= 2) p->last[k] = end;
}

/* The stage of the step at which most bytes are live. */
static int find_peak(const fm_layout *l, const block *list, int n) {
  const fm_plan *plan = l->plan;
  size_t *more = fm_take(l->pool, plan->nstep + 1, size_t), total = 0, most = 0;
  int at = 0;
  if (more == NULL) return 0;
  for (int k = 0; k < n; k++) { /* exact, modulo 2^64, for every arena that is not refused */
    more[l->begin[list[k].v]] += list[k].size;
    more[l->end[list[k].v] + 1] -= list[k].size;
  }
  for (int k = 0; k < plan->nstep; k++) {
    total += more[k];
    if (total > most) most = total, at = k;
  }
  return plan->nstep ? (int)plan->step[at].order[0] : 0;
}

void fm_place(fm_layout *l) {
  fm_plan *plan = l->plan;
  const fm_prog *p = plan->p;
  int n = 0;
  placed q = {.l = l, .leaves = 1};
  while (q.leaves < plan->nstep) q.leaves *= 2;
  block *list = fm_take(l->pool, p->n, block);
  l->begin = fm_take_none(l->pool, p->n), l->end = fm_take_none(l->pool, p->n);
  q.last = fm_take_none(l->pool, 2 * q.leaves), q.first = fm_take(l->pool, q.leaves, block *);
  q.found = fm_take(l->pool, p->n, struct span);
  if (l->pool->failed) return;
  for (int k = 0; k < plan->nstep; k++) touch_step(l, &plan->step[k], k);
  for (fm_val v = 0; v < p->n; v++)
    if (plan->loc[v].where == AT_ARENA && l->parent[v] == FM_NONE && l->begin[v] >= 0)
      list[n++] = (block){.size = padded(l, v), .v = v};
  if (n > 0) qsort(list, (size_t)n, sizeof *list, by_size);
  plan->peak = find_peak(l, list, n);
  for (int k = 0; k < n; k++) {
    block *b = &list[k];
    put(&q, b);
    plan->loc[b->v].offset = b->at;
    size_t end = fm_plus_bytes(b->at, b->size);
    if (end > plan->arena) plan->arena = end;
  }
  for (fm_val v = 0; v < p->n; v++) { /* parts and views follow their owners */
    if (l->parent[v] == FM_NONE || !l->live[v]) continue;
    size_t offset;
    plan->loc[v] = plan->loc[owner(l, v, &offset)];
    plan->loc[v].offset += offset;
  }
}
