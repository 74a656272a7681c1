/*
** stack.c - fewer, larger calls of expensive operations. Independent calls y(x, w) with the same w
** become one on the stacked rows of x (primal and tangent, diagonal and off-diagonal samples, both
** backward products); sums of calls that each add over the rows, a'd + b'e, become one call on
** stacked operands. The plan then makes the stacked operands in place and the parts views. Which
** operations can do either is said by their flags (op.h).
*/
#include <string.h>

#include "program.h"

typedef struct stack {
  const fm_prog *p;
  fm_prog *q;
  fm_val *map;
  int *group;  /* of each node: the first member, or -1 */
  int *next;   /* the following member, or -1 */
  int *key;    /* order inside a group: consistent between forward and backward calls */
  int *kind;   /* of a stackable node: the first node that it could be called with, else -1 */
  int *like;   /* per w: the last kind with it; per kind: the kind before it, or -1 */
  int *unmade; /* per node: operands not made yet; per kind: nodes of it not called yet */
  int *ready;  /* per kind: the last node of it that waits for its call, or -1; linked by next */
  int *from;   /* user[from[v] .. from[v + 1] - 1] read v, as often as they do */
  fm_val *user;
  fm_val *todo; /* nodes about to be made, and stack of the emission */
} stack;

static bool stacks(const fm_prog *p, fm_val v, unsigned flag) {
  const fm_node *n = &p->node[v];
  if (!(n->op->flags & flag) || n->nin != 2) return false;
  fm_sig in[2] = {p->node[fm_ins(p, v)[0]].sig, p->node[fm_ins(p, v)[1]].sig};
  return n->op->stacks == NULL || (n->op->stacks(in, &n->attr) & flag);
}

static bool same_but_rows(const fm_sig *a, const fm_sig *b) {
  fm_shape s = a->shape;
  s.d[0] = b->shape.d[0];
  return a->dtype == b->dtype && fm_shape_eq(&s, &b->shape);
}

/* Can u and v be parts of one call, as far as their form goes? */
static bool alike(const fm_prog *p, fm_val u, fm_val v) {
  const fm_node *a = &p->node[u], *b = &p->node[v];
  return a->op == b->op && fm_same_bytes(&a->attr, &b->attr, sizeof a->attr) &&
         same_but_rows(&p->node[fm_arg(p, u, 0)].sig, &p->node[fm_arg(p, v, 0)].sig);
}

/* ------------------------------------------------------------------ calls on stacked rows */

static void find_kinds(stack *s) {
  const fm_prog *p = s->p;
  for (fm_val v = 0; v < p->n; v++) {
    s->kind[v] = -1;
    s->like[v] = -1;
    if (!stacks(p, v, FM_STACKS_ROWS)) continue;
    fm_val w = fm_arg(p, v, 1);
    int k = s->like[w];
    while (k >= 0 && !alike(p, k, v)) k = s->like[k];
    if (k < 0) {
      s->like[v] = s->like[w];
      s->like[w] = k = v;
    }
    s->kind[v] = k;
  }
}

static void find_users(stack *s) {
  const fm_prog *p = s->p;
  memset(s->from, 0, ((size_t)p->n + 2) * sizeof *s->from);
  int *end = s->from + 1; /* fills up to become the start of the next node's users */
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; k < p->node[v].nin; k++) end[fm_ins(p, v)[k] + 1]++;
  for (fm_val v = 0; v < p->n; v++) end[v + 1] += end[v];
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; k < p->node[v].nin; k++) s->user[end[fm_ins(p, v)[k]]++] = v;
}

/* Node v has been made: what reads it may have all its operands now. */
static int made(stack *s, fm_val v, int top) {
  for (int k = s->from[v]; k < s->from[v + 1]; k++)
    if (--s->unmade[s->user[k]] == 0) s->todo[top++] = s->user[k];
  return top;
}

/* Call all waiting nodes of a kind at once; they do not depend on each other. */
static int call(stack *s, int *left, int kind, int top) {
  fm_val first = -1;
  for (fm_val v = s->ready[kind]; v >= 0; v = s->next[v]) first = v;
  bool alone = first == s->ready[kind];
  for (fm_val v = s->ready[kind]; v >= 0; v = s->next[v]) {
    s->group[v] = alone ? -1 : s->ready[kind];
    left[kind]--;
    top = made(s, v, top);
  }
  s->ready[kind] = -1;
  return top;
}

/*
** Groups, by running the program in the mind: everything is made as soon as it can be, except that
** calls of a kind wait for each other. If no kind is complete, the one goes on whose first waiting
** node is earliest. So nodes of a group never depend on each other, however deep the program.
*/
static void find_groups(stack *s) {
  const fm_prog *p = s->p;
  int top = 0, nopen = 0, *left = s->key, *open = s->map; /* both free until emission */
  for (fm_val v = 0; v < p->n; v++) {
    s->ready[v] = -1, left[v] = 0;
    if (s->kind[v] >= 0) left[s->kind[v]]++;
    s->unmade[v] = p->node[v].nin;
  }
  for (fm_val v = p->n - 1; v >= 0; v--)
    if (s->unmade[v] == 0) s->todo[top++] = v;
  for (;;) {
    while (top > 0) {
      fm_val v = s->todo[--top];
      int kind = s->kind[v];
      if (kind < 0) {
        top = made(s, v, top);
        continue;
      }
      if (s->ready[kind] < 0) open[nopen++] = kind;
      s->next[v] = s->ready[kind];
      s->ready[kind] = v;
    }
    int best = -1;
    bool best_full = false;
    for (int k = 0; k < nopen; k++) {
      int many = 0;
      for (fm_val v = s->ready[open[k]]; v >= 0; v = s->next[v]) many++;
      bool full = many == left[open[k]];
      if (best < 0 || full > best_full || (full == best_full && open[k] < open[best]))
        best = k, best_full = full;
    }
    if (best < 0) return;
    int kind = open[best];
    open[best] = open[--nopen];
    top = call(s, left, kind, top);
  }
}

/*
** The key of a call on rows: the position of its x; for a backward call y(d, w), of the operand
** that meets d in the weight's gradient, so that both stacks have the same order.
*/
static void find_keys(stack *s) {
  const fm_prog *p = s->p;
  for (fm_val v = 0; v < p->n; v++) s->key[v] = s->kind[v] >= 0 ? fm_arg(p, v, 0) : v;
  for (fm_val t = 0; t < p->n; t++) {
    if (!stacks(p, t, FM_STACKS_SUMS)) continue;
    fm_val d = fm_arg(p, t, 1);
    for (int k = s->from[d]; k < s->from[d + 1]; k++)
      if (s->kind[s->user[k]] >= 0 && fm_arg(p, s->user[k], 0) == d)
        s->key[s->user[k]] = fm_arg(p, t, 0);
  }
}

static int members(const stack *s, fm_val first, fm_val *list) {
  int n = 0;
  for (fm_val m = first; m >= 0; m = s->next[m]) {
    int k = n++;
    while (k > 0 && s->key[list[k - 1]] > s->key[m]) list[k] = list[k - 1], k--;
    list[k] = m;
  }
  return n;
}

static void emit_group(stack *s, fm_val first) {
  const fm_prog *p = s->p;
  fm_val *list = s->todo + p->n, *rows = list + p->n; /* scratch behind the emission stack */
  int n = members(s, first, list);
  for (int k = 0; k < n; k++) rows[k] = s->map[fm_arg(p, list[k], 0)];
  fm_val in[2] = {fm_concat(s->q, n, rows, 0), s->map[fm_arg(p, first, 1)]};
  fm_val y = fm_emit(s->q, p->node[first].op, 2, in, &p->node[first].attr);
  int64_t at = 0;
  for (int k = 0; k < n; k++) {
    int64_t m = p->node[list[k]].sig.shape.d[0];
    s->map[list[k]] = fm_slice(s->q, y, 0, at, m);
    at += m;
  }
}

/* ------------------------------------------------------------------ sums */

static int uses(const stack *s, fm_val v) { return s->from[v + 1] - s->from[v]; }

/* The group of the forward call that reads `a`; -1 if none does. */
static int forward_group(const stack *s, fm_val a) {
  for (int k = s->from[a]; k < s->from[a + 1]; k++) {
    fm_val v = s->user[k];
    if (s->group[v] >= 0 && fm_arg(s->p, v, 0) == a) return s->group[v];
  }
  return -1;
}

/* A summand that may be called together with others: nobody else reads it. */
static bool summable(const stack *s, fm_val v) {
  return uses(s, v) == 1 && stacks(s->p, v, FM_STACKS_SUMS);
}

/* The summands of a tree of additions whose inner nodes are used once. */
static int summands(const stack *s, fm_val root, fm_val *list) {
  int n = 1;
  list[0] = root;
  for (int k = 0; k < n;) {
    fm_val v = list[k];
    if (s->p->node[v].op == &fm_op_add && (v == root || uses(s, v) == 1)) {
      list[k] = fm_arg(s->p, v, 0);
      list[n++] = fm_arg(s->p, v, 1);
    } else {
      k++;
    }
  }
  return n;
}

/* One call for all summands y(a, d) of list[] whose a is stacked in the same forward group. */
static fm_val emit_summands(stack *s, int n, fm_val *list, fm_val first, bool *taken) {
  const fm_prog *p = s->p;
  fm_val *a = list + n, *d = a + n;
  int many = 0, group = forward_group(s, fm_arg(p, first, 0));
  for (int k = 0; k < n; k++) {
    fm_val v = list[k];
    bool mine = v == first || (group >= 0 && summable(s, v) && alike(p, v, first) &&
                               forward_group(s, fm_arg(p, v, 0)) == group);
    if (!mine || taken[k]) continue;
    taken[k] = true;
    int at = many++;
    for (; at > 0 && a[at - 1] > fm_arg(p, v, 0); at--) a[at] = a[at - 1], d[at] = d[at - 1];
    a[at] = fm_arg(p, v, 0);
    d[at] = fm_arg(p, v, 1);
  }
  if (many == 1) return s->map[first];
  for (int k = 0; k < many; k++) a[k] = s->map[a[k]], d[k] = s->map[d[k]];
  fm_val in[2] = {fm_concat(s->q, many, a, 0), fm_concat(s->q, many, d, 0)};
  return fm_emit(s->q, p->node[first].op, 2, in, &p->node[first].attr);
}

#define MOST_SUMMANDS 64

static fm_val emit_sum(stack *s, fm_val root) {
  fm_val *list = s->todo + s->p->n, sum = FM_NONE;
  bool taken[MOST_SUMMANDS] = {false};
  int n = summands(s, root, list), calls = 0;
  for (int k = 0; k < n; k++) calls += summable(s, list[k]);
  if (calls < 2 || n > MOST_SUMMANDS) return fm_prog_copy(s->q, s->p, root, s->map);
  for (int k = 0; k < n; k++) {
    if (taken[k]) continue;
    bool one = !summable(s, list[k]);
    sum = fm_add(s->q, sum, one ? s->map[list[k]] : emit_summands(s, n, list, list[k], taken));
  }
  return sum;
}

/* ------------------------------------------------------------------ emission */

/* An operand of v, or of a member of its group, that has not been emitted. */
static fm_val missing_operand(const stack *s, fm_val first) {
  const fm_prog *p = s->p;
  for (fm_val m = first; m >= 0; m = s->group[first] >= 0 ? s->next[m] : -1)
    for (int k = 0; k < p->node[m].nin; k++)
      if (s->map[fm_ins(p, m)[k]] == FM_NONE) return fm_ins(p, m)[k];
  return FM_NONE;
}

/* Operands first, groups as a whole: depth first with an explicit stack. */
static void emit_from(stack *s, fm_val root) {
  const fm_prog *p = s->p;
  int top = 0;
  s->todo[top++] = root;
  while (top > 0 && s->q->err == FM_OK) {
    fm_val v = s->todo[top - 1], missing;
    fm_val first = s->group[v] >= 0 ? s->group[v] : v;
    if (s->map[v] != FM_NONE) {
      top--;
    } else if ((missing = missing_operand(s, first)) != FM_NONE) {
      s->todo[top++] = missing;
    } else if (s->group[v] >= 0) {
      emit_group(s, first);
    } else {
      s->map[v] = p->node[v].op == &fm_op_add ? emit_sum(s, v) : fm_prog_copy(s->q, p, v, s->map);
    }
  }
}

static void emit_all(stack *s) {
  const fm_prog *p = s->p;
  find_kinds(s);
  find_users(s);
  find_groups(s);
  find_keys(s);
  s->q = fm_prog_like(p, s->map);
  for (int k = 0; s->q != NULL && k < p->nout; k++) {
    emit_from(s, p->out[k].v);
    fm_output(s->q, s->map[p->out[k].v], p->out[k].merge);
  }
  if (s->q == NULL || s->q->err == FM_OK) return;
  fm_prog_free(s->q);
  s->q = NULL;
}

fm_prog *fm_stack(const fm_prog *p, int passes) {
  (void)passes;
  size_t n = (size_t)p->n + 2, bytes = (12 * n + (size_t)p->nargs) * sizeof(int);
  int *work = fm_alloc(p->ctx, bytes);
  if (work == NULL) return NULL;
  stack s = {.p = p, .map = work, .group = work + n, .next = work + 2 * n};
  s.key = work + 3 * n, s.kind = work + 4 * n, s.like = work + 5 * n, s.unmade = work + 6 * n;
  s.ready = work + 7 * n, s.from = work + 8 * n, s.todo = work + 9 * n, s.user = work + 12 * n;
  memset(s.group, -1, 2 * n * sizeof(int));
  emit_all(&s);
  fm_free(p->ctx, work, bytes);
  return s.q;
}
