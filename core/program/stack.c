/*
** stack.c - fewer, larger matrix products. Independent products with the same right operand become
** one product of the stacked rows (primal and tangent, diagonal and off-diagonal samples, both
** backward products); sums of products that share the shape, a'd + b'e, become one product over the
** stacked inner dimension. The plan then makes the stacked operands in place and the parts views.
*/
#include <string.h>

#include "program.h"

typedef struct stack {
  const fm_prog *p;
  fm_prog *q;
  fm_val *map;
  int *group; /* of each node: the first member's index, or -1 */
  int *next;  /* the following member, or -1 */
  int *key;   /* order inside a group: consistent between forward and backward products */
  int *uses;
  int *mark; /* visit stamps for path searches */
  int stamp;
  fm_val *todo; /* stack of the path searches and of the emission */
} stack;

static bool is_product(const fm_prog *p, fm_val v, bool ta) {
  const fm_node *n = &p->node[v];
  return n->op == &fm_op_matmul && n->sig.shape.nd == 2 && (n->attr.i[0] != 0) == ta &&
         (!ta || n->attr.i[1] == 0);
}

/* Push a node, and with it all members of its group. */
static void visit(stack *s, fm_val v, int *top) {
  if (s->mark[v] == s->stamp) return;
  if (s->group[v] < 0) {
    s->mark[v] = s->stamp;
    s->todo[(*top)++] = v;
    return;
  }
  for (fm_val m = s->group[v]; m >= 0; m = s->next[m]) {
    s->mark[m] = s->stamp;
    s->todo[(*top)++] = m;
  }
}

/* Does a way lead from `to` (or its group) up to `from`, groups counting as single nodes? */
static bool depends(stack *s, fm_val from, fm_val to) {
  int top = 0;
  s->stamp++;
  visit(s, from, &top);
  while (top > 0) {
    fm_val v = s->todo[--top];
    for (int k = 0; k < s->p->node[v].nin; k++) visit(s, fm_ins(s->p, v)[k], &top);
    if (s->mark[to] == s->stamp) return true;
  }
  return false;
}

static void join(stack *s, fm_val first, fm_val v) {
  if (s->group[first] < 0) s->group[first] = first;
  fm_val last = first;
  while (s->next[last] >= 0) last = s->next[last];
  s->next[last] = v;
  s->group[v] = first;
}

/* Greedily put every row product into the first group with its right operand that it can join. */
static void find_groups(stack *s) {
  const fm_prog *p = s->p;
  for (fm_val v = 0; v < p->n; v++) {
    if (!is_product(p, v, false)) continue;
    for (fm_val u = 0; u < v; u++) {
      if (!is_product(p, u, false) || (s->group[u] >= 0 && s->group[u] != u)) continue;
      if (fm_arg(p, u, 1) != fm_arg(p, v, 1) || p->node[u].attr.i[1] != p->node[v].attr.i[1])
        continue;
      if (depends(s, v, u) || depends(s, u, v)) continue;
      join(s, u, v);
      break;
    }
  }
}

/*
** The key of a row product: the position of its left operand; for a backward product d w', of the
** activation that meets d in the weight's gradient, so that both stacks have the same order.
*/
static void find_keys(stack *s) {
  const fm_prog *p = s->p;
  for (fm_val v = 0; v < p->n; v++) s->key[v] = is_product(p, v, false) ? fm_arg(p, v, 0) : v;
  for (fm_val t = 0; t < p->n; t++) {
    if (!is_product(p, t, true)) continue;
    for (fm_val v = 0; v < p->n; v++)
      if (is_product(p, v, false) && fm_arg(p, v, 0) == fm_arg(p, t, 1))
        s->key[v] = fm_arg(p, t, 0);
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
  fm_val all = fm_concat(s->q, n, rows, 0);
  fm_val y = fm_matmul(s->q, all, s->map[fm_arg(p, first, 1)], false, p->node[first].attr.i[1]);
  int64_t at = 0;
  for (int k = 0; k < n; k++) {
    int64_t m = p->node[list[k]].sig.shape.d[0];
    s->map[list[k]] = fm_slice(s->q, y, 0, at, m);
    at += m;
  }
}

/* ------------------------------------------------------------------ sums of inner products */

/* The group of the forward product that reads `a`; -1 if none does. */
static int forward_group(const stack *s, fm_val a) {
  for (fm_val v = 0; v < s->p->n; v++)
    if (is_product(s->p, v, false) && fm_arg(s->p, v, 0) == a && s->group[v] >= 0)
      return s->group[v];
  return -1;
}

/* The summands of a tree of additions whose inner nodes are used once. */
static int summands(const stack *s, fm_val root, fm_val *list) {
  int n = 1;
  list[0] = root;
  for (int k = 0; k < n;) {
    fm_val v = list[k];
    if (s->p->node[v].op == &fm_op_add && (v == root || s->uses[v] == 1)) {
      list[k] = fm_arg(s->p, v, 0);
      list[n++] = fm_arg(s->p, v, 1);
    } else {
      k++;
    }
  }
  return n;
}

/* One product for all summands a'd of list[] whose a is stacked in the same forward group. */
static fm_val inner_product(stack *s, int n, fm_val *list, fm_val first, bool *taken) {
  const fm_prog *p = s->p;
  fm_val *a = list + n, *d = a + n;
  int many = 0, group = forward_group(s, fm_arg(p, first, 0));
  for (int k = 0; k < n; k++) {
    fm_val v = list[k];
    bool mine = v == first || (group >= 0 && is_product(p, v, true) && s->uses[v] == 1 &&
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
  return fm_matmul(s->q, fm_concat(s->q, many, a, 0), fm_concat(s->q, many, d, 0), true, false);
}

static fm_val emit_sum(stack *s, fm_val root) {
  fm_val *list = s->todo + s->p->n, sum = FM_NONE;
  bool taken[64] = {false};
  int n = summands(s, root, list), products = 0;
  for (int k = 0; k < n; k++) products += is_product(s->p, list[k], true) && s->uses[list[k]] == 1;
  if (products < 2 || n > 64) return fm_prog_copy(s->q, s->p, root, s->map);
  for (int k = 0; k < n; k++) {
    if (taken[k]) continue;
    bool product = is_product(s->p, list[k], true) && s->uses[list[k]] == 1;
    sum = fm_add(s->q, sum, product ? inner_product(s, n, list, list[k], taken) : s->map[list[k]]);
  }
  return sum;
}

/* ------------------------------------------------------------------ emission */

/* Operands first, groups as a whole: depth first with an explicit stack. */
static void emit_from(stack *s, fm_val root) {
  const fm_prog *p = s->p;
  int top = 0;
  s->todo[top++] = root;
  while (top > 0 && s->q->err == FM_OK) {
    fm_val v = s->todo[top - 1], missing = FM_NONE;
    fm_val first = s->group[v] >= 0 ? s->group[v] : v;
    for (fm_val m = first; m >= 0 && missing == FM_NONE; m = s->next[m])
      for (int k = 0; k < p->node[m].nin && missing == FM_NONE; k++)
        if (s->map[fm_ins(p, m)[k]] == FM_NONE) missing = fm_ins(p, m)[k];
    if (s->map[v] != FM_NONE) {
      top--;
    } else if (missing != FM_NONE) {
      s->todo[top++] = missing;
    } else if (s->group[v] >= 0) {
      emit_group(s, first);
    } else {
      s->map[v] = p->node[v].op == &fm_op_add ? emit_sum(s, v) : fm_prog_copy(s->q, p, v, s->map);
    }
  }
}

fm_prog *fm_stack(const fm_prog *p) {
  size_t n = (size_t)p->n, bytes = n * (6 * sizeof(int) + 5 * sizeof(fm_val));
  fm_val *map = fm_alloc(p->ctx, bytes);
  if (map == NULL) return NULL;
  stack s = {.p = p, .map = map, .todo = map + n};
  s.group = (int *)(map + 5 * n), s.next = s.group + n, s.key = s.next + n;
  s.uses = s.key + n, s.mark = s.uses + n;
  memset(s.group, -1, 2 * n * sizeof(int));
  memset(s.uses, 0, 2 * n * sizeof(int));
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; k < p->node[v].nin; k++) s.uses[fm_ins(p, v)[k]]++;
  for (int k = 0; k < p->nout; k++) s.uses[p->out[k].v]++;
  s.q = fm_prog_like(p, map);
  if (s.q != NULL) {
    find_groups(&s);
    find_keys(&s);
    for (int k = 0; k < p->nout; k++) {
      emit_from(&s, p->out[k].v);
      fm_output(s.q, s.map[p->out[k].v], p->out[k].merge);
    }
    if (s.q->err != FM_OK) {
      fm_prog_free(s.q);
      s.q = NULL;
    }
  }
  fm_free(p->ctx, map, bytes);
  return s.q;
}
