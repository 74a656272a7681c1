/*
** fuse_pass.c - a group of elementwise nodes as a pass: a list of vector operations on slots.
** Broadcasts and constants are read where they are used; sums close the pass.
*/
#include "plan.h"

typedef struct builder {
  fm_plan *plan;
  const fm_grouping *g;
  fm_fused *f;
  int id, n; /* the group and its size */
  const fm_val *member;
  int *slot_of;  /* per value: its slot in this pass, -1 none */
  int *last;     /* per value: the last node of the pass (or p->n for a sum) that reads it */
  int freed[64]; /* blocks free for another value */
  int nfreed;
  int at; /* number of the node being built */
} builder;

static fm_slot *new_slot(builder *b, fm_slot_kind kind, fm_val v) {
  fm_slot *s = &b->f->slot[b->f->nslot++];
  *s = (fm_slot){.kind = kind, .v = v, .block = -1};
  return s;
}

static int new_block(builder *b) { return b->nfreed > 0 ? b->freed[--b->nfreed] : b->f->nblock++; }

/* How a smaller value is walked along the pass's shape. */
static void set_axes(fm_slot *s, const fm_shape *domain, const fm_shape *small) {
  int64_t step = 1;
  int n = 0;
  for (int k = domain->nd - 1; k >= 0; k--) {
    int64_t stride = small->d[k] == 1 ? 0 : step;
    step *= small->d[k];
    if (domain->d[k] == 1) continue;
    if (n > 0 && stride == s->stride[n - 1] * s->size[n - 1]) {
      s->size[n - 1] *= domain->d[k];
    } else {
      s->size[n] = domain->d[k];
      s->stride[n++] = stride;
    }
  }
  if (n == 0) s->size[n] = 1, s->stride[n++] = 0;
  s->naxes = n;
}

/* The slot from which a micro-operation reads value v. */
static int source(builder *b, fm_val v) {
  const fm_prog *p = b->plan->p;
  double number;
  if (b->slot_of[v] >= 0) return b->slot_of[v];
  fm_slot *s;
  if (b->g->group[v] == b->id || !b->g->virt[v]) {
    s = new_slot(b, SLOT_FULL, v);
  } else if (fm_known(p, v, &number)) {
    s = new_slot(b, SLOT_CONST, v);
    s->number = number;
    s->block = b->f->nblock++; /* filled once per run: not shared */
  } else {
    s = new_slot(b, SLOT_BCAST, fm_arg(p, v, 0));
    s->block = b->f->nblock++;
    set_axes(s, &b->f->domain.shape, &p->node[s->v].sig.shape);
  }
  return b->slot_of[v] = (int)(s - b->f->slot);
}

static void release(builder *b, fm_val v, int at) {
  int k = b->slot_of[v];
  if (k < 0 || b->last[v] != at || b->f->slot[k].kind != SLOT_TEMP) return;
  if (b->nfreed < 64) b->freed[b->nfreed++] = b->f->slot[k].block;
  b->last[v] = -1; /* an operand used twice is released once */
}

/* The slot that takes value v. */
static int target(builder *b, fm_val v) {
  fm_slot *s = new_slot(b, b->g->stored[v] ? SLOT_FULL : SLOT_TEMP, v);
  if (s->kind == SLOT_TEMP) s->block = new_block(b);
  return b->slot_of[v] = (int)(s - b->f->slot);
}

/* Further orders of the same function of the same operand ride along with the first one. */
static void add_orders(builder *b, fm_micro *m, fm_val v) {
  const fm_prog *p = b->plan->p;
  m->family = true;
  for (int k = 0; k < FM_ORDERS; k++) m->order[k] = -1;
  m->order[(int)m->f[FM_ORDER]] = m->dst;
  for (int k = b->at; k < b->n; k++) {
    fm_val u = b->member[k];
    bool same = u > v && p->node[u].op == m->op && fm_arg(p, u, 0) == fm_arg(p, v, 0);
    if (!same || b->slot_of[u] >= 0) continue;
    int *order = &m->order[(int)p->node[u].attr.f[FM_ORDER]];
    if (*order < 0) *order = target(b, u); /* else an equal value, made once more: later */
  }
}

static void add_micro(builder *b, fm_val v) {
  const fm_prog *p = b->plan->p;
  const fm_node *n = &p->node[v];
  int at = b->at++, in[3] = {0, 0, 0};
  bool repeat = n->op->flags & FM_REPEAT; /* a broadcast that must exist in memory */
  bool done = b->slot_of[v] >= 0;         /* made with an earlier order */
  for (int k = 0; k < n->nin && !repeat; k++) in[k] = source(b, fm_ins(p, v)[k]);
  if (repeat) {
    fm_slot *s = new_slot(b, SLOT_BCAST, fm_arg(p, v, 0));
    s->block = b->f->nblock++;
    set_axes(s, &b->f->domain.shape, &p->node[s->v].sig.shape);
    in[0] = (int)(s - b->f->slot);
  }
  bool family = fm_kernel_of(n->op, n->sig.dtype)->family != NULL;
  if (!done && !family) /* orders are written one after the other: not over their operand */
    for (int k = 0; k < n->nin && !repeat; k++) release(b, fm_ins(p, v)[k], at);
  if (!done) {
    fm_micro *m = &b->f->micro[b->f->nmicro++];
    *m = (fm_micro){repeat ? &fm_op_copy : n->op,
                    v,
                    target(b, v),
                    in[0],
                    n->nin > 1 ? in[1] : in[0],
                    n->nin > 2 ? in[2] : in[0],
                    {0},
                    false,
                    {n->attr.f[0], n->attr.f[1]}};
    if (family) add_orders(b, m, v);
  }
  if (done || family) release(b, fm_arg(p, v, 0), at);
}

/* A sum is finished when the walk leaves the outermost axis that it adds up over. */
static void set_span(fm_reduce *r) {
  const fm_slot *t = &r->target;
  int outer = t->naxes - 1;
  while (outer > 0 && t->stride[outer] != 0) outer--;
  r->span = r->period = 1;
  for (int k = 0; k <= outer; k++) {
    r->span *= t->size[k];
    if (t->stride[k] != 0) r->period *= t->size[k];
  }
  if (r->span > 0 && r->span < FM_BLOCK) {
    r->period *= FM_BLOCK / r->span;
    r->span *= FM_BLOCK / r->span;
  }
}

static void add_reduce(builder *b, fm_val v) {
  const fm_prog *p = b->plan->p;
  fm_reduce *r = &b->f->reduce[b->f->nreduce++];
  r->v = v;
  r->src = source(b, fm_arg(p, v, 0));
  r->target = (fm_slot){.kind = SLOT_BCAST, .v = v, .block = -1};
  set_axes(&r->target, &b->f->domain.shape, &p->node[v].sig.shape);
  set_span(r);
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

/* The tables of values are clean again for the next pass. */
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
  b->f->micro = fm_take(&b->plan->pool, b->n - sums, fm_micro);
  b->f->reduce = fm_take(&b->plan->pool, sums, fm_reduce);
  if (b->plan->pool.failed) return;
  find_last(b);
  for (int m = 0; m < b->n; m++)
    if (!is_sum(b, b->member[m])) add_micro(b, b->member[m]);
  for (int m = 0; m < b->n; m++)
    if (is_sum(b, b->member[m])) add_reduce(b, b->member[m]);
  forget(b);
}

void fm_build_passes(fm_pool *s, fm_plan *plan, const fm_grouping *g) {
  plan->nfused = g->ngroup;
  plan->fused = fm_take(&plan->pool, g->ngroup, fm_fused);
  int *slot_of = fm_take_none(s, plan->p->n), *last = fm_take_none(s, plan->p->n);
  for (int id = 0; id < g->ngroup && !plan->pool.failed && !s->failed; id++) {
    builder b = {.plan = plan, .g = g, .f = &plan->fused[id], .id = id};
    b.n = g->from[id + 1] - g->from[id], b.member = g->member + g->from[id];
    b.slot_of = slot_of, b.last = last;
    build(&b);
    size_t values = fm_plus_bytes((size_t)b.f->nblock * FM_BLOCK, b.f->nsum);
    size_t bytes = values > FM_MOST_BYTES / sizeof(double) ? SIZE_MAX : values * sizeof(double);
    if (bytes > plan->blocks) plan->blocks = bytes;
  }
}
