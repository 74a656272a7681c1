/*
** arena.c - gives every value an offset in the arena for its live range, from the first step that
** touches it to the last. Values that are live at the same time do not overlap. (Writing a result
** over an operand whose live range ends in the same pass was tried: it saves nothing here, where
** most operands are parts of stacked products.)
*/
#include <stdlib.h>
#include <string.h>

#include "layout.h"

typedef struct block { /* the memory of an owner */
  size_t size, at;
  fm_val v;
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

/* Puts b at the lowest offset at which it overlaps no placed block that is live at the same time.
** Placed blocks are kept in the order of their offsets. */
static void put(const fm_layout *l, block *b, block *placed, int n) {
  size_t at = 0;
  int k = 0;
  for (; k < n && placed[k].at < fm_plus_bytes(at, b->size); k++) {
    fm_val u = placed[k].v;
    size_t end = fm_plus_bytes(placed[k].at, placed[k].size);
    if (end > at && l->begin[u] <= l->end[b->v] && l->begin[b->v] <= l->end[u]) at = end;
  }
  b->at = at;
  while (k > 0 && placed[k - 1].at > at) k--;
  memmove(placed + k + 1, placed + k, (size_t)(n - k) * sizeof *placed);
  placed[k] = *b;
}

/* The stage of the step at which most bytes are live. */
static int find_peak(const fm_layout *l, const block *list, int n) {
  const fm_plan *plan = l->plan;
  size_t most = 0;
  int at = 0;
  for (int k = 0; k < plan->nstep; k++) {
    size_t total = 0;
    for (int i = 0; i < n; i++)
      if (l->begin[list[i].v] <= k && l->end[list[i].v] >= k)
        total = fm_plus_bytes(total, list[i].size);
    if (total > most) most = total, at = k;
  }
  return plan->nstep ? (int)plan->step[at].order[0] : 0;
}

void fm_place(fm_layout *l) {
  fm_plan *plan = l->plan;
  const fm_prog *p = plan->p;
  int n = 0;
  block *list = fm_take(l->pool, p->n, block), *placed = fm_take(l->pool, p->n, block);
  l->begin = fm_take_none(l->pool, p->n), l->end = fm_take_none(l->pool, p->n);
  if (l->pool->failed) return;
  for (int k = 0; k < plan->nstep; k++) touch_step(l, &plan->step[k], k);
  for (fm_val v = 0; v < p->n; v++)
    if (plan->loc[v].where == AT_ARENA && l->parent[v] == FM_NONE && l->begin[v] >= 0)
      list[n++] = (block){padded(l, v), 0, v};
  if (n > 0) qsort(list, (size_t)n, sizeof *list, by_size);
  plan->peak = find_peak(l, list, n);
  for (int k = 0; k < n; k++) {
    block *b = &list[k];
    put(l, b, placed, k);
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
