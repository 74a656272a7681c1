/* stack_groups.c - which independent calls on rows become one, and the order of their rows. */
#include "stack.h"

bool fm_stacks(const fm_prog *p, fm_val v, unsigned form) {
  const fm_node *n = &p->node[v];
  if (!(n->op->flags & form) || n->nin != 2) return false;
  fm_sig in[2] = {p->node[fm_arg(p, v, 0)].sig, p->node[fm_arg(p, v, 1)].sig};
  return n->op->stacks == NULL || (n->op->stacks(in, &n->attr) & form);
}

static bool same_except_rows(const fm_sig *a, const fm_sig *b) {
  fm_shape s = a->shape;
  s.d[0] = b->shape.d[0];
  return a->dtype == b->dtype && fm_shape_eq(&s, &b->shape);
}

bool fm_stack_alike(const fm_prog *p, fm_val u, fm_val v) {
  const fm_node *a = &p->node[u], *b = &p->node[v];
  return a->op == b->op && fm_same_bytes(&a->attr, &b->attr, sizeof a->attr) &&
         same_except_rows(&p->node[fm_arg(p, u, 0)].sig, &p->node[fm_arg(p, v, 0)].sig);
}

/* The kind of v: the first reader of its w that it could be called with, perhaps v itself. */
static void find_kinds(fm_stacking *t) {
  const fm_prog *p = t->p;
  for (fm_val v = 0; v < p->n; v++) {
    if (!fm_stacks(p, v, FM_STACKS_ROWS)) continue;
    fm_val w = fm_arg(p, v, 1);
    for (int k = t->users.from[w]; t->kind[v] < 0; k++) {
      fm_val u = t->users.user[k];
      bool reads = t->kind[u] == u || u == v;
      if (reads && fm_arg(p, u, 1) == w && fm_stack_alike(p, u, v)) t->kind[v] = u;
    }
  }
}

/*
** Simulates execution: each node runs as soon as its operands exist, except that stackable calls
** are held back until all of their kind are ready. If no kind is complete, the one whose first node
** is earliest is called as far as it is ready. So the nodes of a group never depend on each other,
** however deep the program.
*/
typedef struct simulation {
  fm_stacking *t;
  int *missing; /* per node: operands that do not exist yet */
  int *left;    /* per kind: nodes not called yet */
  int *ready;   /* per kind: the last node held back, or -1; linked by next */
  int *kinds;   /* ascending */
  int nkind;
  fm_val *runnable;
  int nrunnable;
} simulation;

/* Node v exists now: nodes that read it may have all their operands. */
static void finish(simulation *s, fm_val v) {
  const fm_users *u = &s->t->users;
  for (int k = u->from[v]; k < u->from[v + 1]; k++)
    if (--s->missing[u->user[k]] == 0) s->runnable[s->nrunnable++] = u->user[k];
}

static void run_or_hold(simulation *s, fm_val v) {
  int kind = s->t->kind[v];
  if (kind < 0) {
    finish(s, v);
    return;
  }
  s->t->next[v] = s->ready[kind];
  s->ready[kind] = v;
}

/* The kind to call: the first complete one, else the first that holds nodes back, else -1. */
static int pick_kind(const simulation *s) {
  int first = -1;
  for (int k = 0; k < s->nkind; k++) {
    int kind = s->kinds[k], many = 0;
    for (fm_val v = s->ready[kind]; v >= 0; v = s->t->next[v]) many++;
    if (many > 0 && many == s->left[kind]) return kind;
    if (many > 0 && first < 0) first = kind;
  }
  return first;
}

/* Calls all nodes of a kind that are held back. */
static void call(simulation *s, int kind) {
  int first = s->ready[kind];
  bool alone = s->t->next[first] < 0;
  for (fm_val v = first; v >= 0; v = s->t->next[v]) {
    s->t->group[v] = alone ? -1 : first;
    s->left[kind]--;
    finish(s, v);
  }
  s->ready[kind] = -1;
}

static void simulate(simulation *s) {
  const fm_prog *p = s->t->p;
  for (fm_val v = p->n - 1; v >= 0; v--) {
    if (s->t->kind[v] >= 0) s->left[s->t->kind[v]]++;
    if ((s->missing[v] = p->node[v].nin) == 0) s->runnable[s->nrunnable++] = v;
  }
  for (fm_val v = 0; v < p->n; v++)
    if (s->left[v] > 0) s->kinds[s->nkind++] = v;
  for (;;) {
    while (s->nrunnable > 0) run_or_hold(s, s->runnable[--s->nrunnable]);
    int kind = pick_kind(s);
    if (kind < 0) return;
    call(s, kind);
  }
}

/*
** The key of a call on rows is the position of its x; of a backward call y(d, w), that of the
** operand that meets d in the weight's gradient, so that both stacks have the same order.
*/
static void find_keys(fm_stacking *t) {
  const fm_prog *p = t->p;
  const fm_users *u = &t->users;
  for (fm_val v = 0; v < p->n; v++) t->key[v] = t->kind[v] >= 0 ? fm_arg(p, v, 0) : v;
  for (fm_val w = 0; w < p->n; w++) {
    if (!fm_stacks(p, w, FM_STACKS_SUMS)) continue;
    fm_val d = fm_arg(p, w, 1);
    for (int k = u->from[d]; k < u->from[d + 1]; k++)
      if (t->kind[u->user[k]] >= 0 && fm_arg(p, u->user[k], 0) == d)
        t->key[u->user[k]] = fm_arg(p, w, 0);
  }
}

void fm_stack_groups(fm_pool *s, fm_stacking *t) {
  int n = t->p->n;
  simulation sim = {.t = t, .missing = fm_take(s, n, int), .left = fm_take(s, n, int)};
  sim.ready = fm_take_none(s, n), sim.runnable = fm_take(s, n, int);
  sim.kinds = fm_take(s, n, int);
  t->group = fm_take_none(s, n), t->next = fm_take_none(s, n);
  t->key = fm_take(s, n, int), t->kind = fm_take_none(s, n);
  t->users = fm_find_users(s, t->p);
  if (s->failed) return;
  find_kinds(t);
  simulate(&sim);
  find_keys(t);
}
