/*
** fuse_pass.c - turns a group of elementwise nodes into a pass: a list of vector operations on
** slots. Broadcasts and constants are read where they are used; sums close the pass.
*/
#include <string.h>

#include "layout.h"
#include "../op_names.h"

typedef struct builder {
  fm_plan *plan;
  const fm_layout *l;
  fm_fused *f;
  int id, n; /* the group and its size */
  const fm_val *member;
  int *slot_of;         /* per value: its slot in this pass, or -1 */
  int *last;            /* per value: the last node of the pass (or p->n for a sum) that reads it */
  int freed[MAX_SLOTS]; /* blocks free for another value; a pass has no more blocks than slots */
  int nfreed;
  int at; /* number of the node being built */
} builder;

static fm_slot *new_slot(builder *b, fm_slot_kind kind, fm_val v) {
  fm_slot *s = &b->f->slot[b->f->nslot++];
  *s = (fm_slot){.kind = kind, .v = v, .block = -1};
  return s;
}

static int new_block(builder *b) { return b->nfreed > 0 ? b->freed[--b->nfreed] : b->f->nblock++; }

/* The slot that repeats the operand of v, a broadcast, along the shape of the pass. */
static int repeated(builder *b, fm_val v) {
  const fm_prog *p = b->plan->p;
  fm_slot *s = new_slot(b, SLOT_BCAST, fm_arg(p, v, 0));
  s->block = b->f->nblock++;
  fm_walk_axes(s, &b->f->domain.shape, &p->node[s->v].sig.shape);
  return (int)(s - b->f->slot);
}

/* The slot from which a vector operation reads value v. */
static int source(builder *b, fm_val v) {
  double number;
  if (b->slot_of[v] >= 0) return b->slot_of[v];
  if (b->plan->group[v] == b->id || !b->l->virt[v]) {
    new_slot(b, SLOT_FULL, v);
  } else if (fm_known(b->plan->p, v, &number)) {
    fm_slot *s = new_slot(b, SLOT_CONST, v);
    s->number = number;
    s->block = b->f->nblock++; /* filled once per run, so not shared */
  } else {
    repeated(b, v);
  }
  return b->slot_of[v] = b->f->nslot - 1;
}

static void release(builder *b, fm_val v, int at) {
  int k = b->slot_of[v];
  if (k < 0 || b->last[v] != at || b->f->slot[k].kind != SLOT_TEMP) return;
  b->freed[b->nfreed++] = b->f->slot[k].block;
  b->last[v] = -1; /* an operand used twice is released once */
}

/* A new slot that value v is written to. */
static int target(builder *b, fm_val v) {
  fm_slot *s = new_slot(b, b->l->stored[v] ? SLOT_FULL : SLOT_TEMP, v);
  if (s->kind == SLOT_TEMP) s->block = new_block(b);
  return b->slot_of[v] = (int)(s - b->f->slot);
}

/* Further orders of the same function of the same operand are computed with the first one. */
static void add_orders(builder *b, fm_vop *m, fm_val v) {
  const fm_prog *p = b->plan->p;
  m->family = true;
  for (int k = 0; k < FM_ORDERS; k++) m->order[k] = -1;
  m->order[(int)m->f[FM_ORDER]] = m->dst;
  for (int k = b->at; k < b->n; k++) {
    fm_val u = b->member[k];
    bool same = u > v && p->node[u].op == m->op && fm_arg(p, u, 0) == fm_arg(p, v, 0);
    if (!same || b->slot_of[u] >= 0) continue;
    int *order = &m->order[(int)p->node[u].attr.f[FM_ORDER]];
    if (*order < 0) *order = target(b, u); /* else an equal node: computed on its own */
  }
}

static void add_micro(builder *b, fm_val v) {
  const fm_node *n = &b->plan->p->node[v];
  const fm_val *in = fm_ins(b->plan->p, v);
  int at = b->at++, src[3] = {0};
  bool repeat = n->op->flags & FM_REPEAT; /* a broadcast that must exist in memory */
  bool family = fm_kernel_of(n->op, n->sig.dtype)->family != NULL;
  if (b->slot_of[v] < 0) { /* not computed with an earlier order */
    for (int k = 0; k < 3; k++)
      src[k] = k >= n->nin ? src[0] : repeat ? repeated(b, v) : source(b, in[k]);
    for (int k = 0; k < n->nin && !repeat && !family; k++) release(b, in[k], at);
    fm_vop *m = &b->f->vop[b->f->nvop++];
    *m = (fm_vop){repeat ? &fm_op_copy : n->op, v, target(b, v), src[0], src[1], src[2]};
    memcpy(m->f, n->attr.f, sizeof m->f);
    if (family) add_orders(b, m, v);
  }
  if (family) release(b, in[0], at); /* orders are written one by one, so not over their operand */
}

static void add_reduce(builder *b, fm_val v) {
  const fm_prog *p = b->plan->p;
  fm_reduce *r = &b->f->reduce[b->f->nreduce++];
  r->v = v;
  r->src = source(b, fm_arg(p, v, 0));
  r->target = (fm_slot){.kind = SLOT_BCAST, .v = v, .block = -1};
  fm_walk_axes(&r->target, &b->f->domain.shape, &p->node[v].sig.shape);
  fm_walk_span(r);
  r->sums = b->f->nsum;
  b->f->nsum = fm_plus_bytes(b->f->nsum, (size_t)r->period);
}

static bool is_sum(const builder *b, fm_val v) { return fm_closes_pass(b->plan->p->node[v].op); }

/* The last reader of each value inside the pass; a value that a sum reads lives to the end. */
static void find_last(builder *b) {
  const fm_prog *p = b->plan->p;
  int at = 0;
  for (int m = 0; m < b->n; m++) {
    fm_val v = b->member[m];
    for (int k = 0; k < p->node[v].nin; k++) {
      int *last = &b->last[fm_ins(p, v)[k]];
      *last = is_sum(b, v) || *last == p->n ? p->n : at;
    }
    at += !is_sum(b, v);
  }
}

/* Cleans the tables of values for the next pass. */
static void forget(builder *b) {
  const fm_prog *p = b->plan->p;
  for (int m = 0; m < b->n; m++) {
    fm_val v = b->member[m];
    b->slot_of[v] = b->last[v] = -1;
    for (int k = 0; k < p->node[v].nin; k++)
      b->slot_of[fm_ins(p, v)[k]] = b->last[fm_ins(p, v)[k]] = -1;
  }
}

static void build(builder *b) {
  const fm_prog *p = b->plan->p;
  int sums = 0, operands = 0;
  fm_val v0 = b->member[0];
  b->f->domain = p->node[is_sum(b, v0) ? fm_arg(p, v0, 0) : v0].sig;
  for (int m = 0; m < b->n; m++) {
    sums += is_sum(b, b->member[m]);
    operands += p->node[b->member[m]].nin;
  }
  b->f->slot = fm_take(&b->plan->pool, b->n - sums + operands, fm_slot);
  b->f->vop = fm_take(&b->plan->pool, b->n - sums, fm_vop);
  b->f->reduce = fm_take(&b->plan->pool, sums, fm_reduce);
  if (b->plan->pool.failed) return;
  find_last(b);
  for (int m = 0; m < b->n; m++)
    if (!is_sum(b, b->member[m])) add_micro(b, b->member[m]);
  for (int m = 0; m < b->n; m++)
    if (is_sum(b, b->member[m])) add_reduce(b, b->member[m]);
  forget(b);
}

void fm_build_passes(fm_layout *l) {
  fm_plan *plan = l->plan;
  plan->nfused = l->ngroup;
  plan->fused = fm_take(&plan->pool, l->ngroup, fm_fused);
  builder b = {.plan = plan, .l = l};
  b.slot_of = fm_take_none(l->pool, plan->p->n), b.last = fm_take_none(l->pool, plan->p->n);
  for (int id = 0; id < l->ngroup && !plan->pool.failed && !l->pool->failed; id++) {
    b.f = &plan->fused[id], b.id = id, b.nfreed = b.at = 0;
    b.n = l->from[id + 1] - l->from[id], b.member = l->member + l->from[id];
    build(&b);
    size_t values = fm_plus_bytes((size_t)b.f->nblock * FM_BLOCK, b.f->nsum);
    size_t bytes = values > FM_MOST_BYTES / sizeof(double) ? SIZE_MAX : values * sizeof(double);
    if (bytes > plan->blocks) plan->blocks = bytes;
  }
}
