/*
** stack_sums.c - sums of calls that each add over their rows, a'd + b'e, as one call on stacked
** operands. Only calls whose a is stacked already take part, so that the stack costs no copy.
*/
#include "limits.h"
#include "stack.h"
#include "../op_names.h"

static int uses(const fm_stacking *t, fm_val v) { return t->users.from[v + 1] - t->users.from[v]; }

/* The group of the forward call that reads `a`; -1 if none does. */
static int forward_group(const fm_stacking *t, fm_val a) {
  for (int k = t->users.from[a]; k < t->users.from[a + 1]; k++) {
    fm_val v = t->users.user[k];
    if (t->group[v] >= 0 && fm_arg(t->p, v, 0) == a) return t->group[v];
  }
  return -1;
}

/* A summand that may be called together with others: nothing else reads it. */
static bool summable(const fm_stacking *t, fm_val v) {
  return uses(t, v) == 1 && fm_stacks(t->p, v, FM_STACKS_SUMS);
}

/* The summands of a tree of additions whose inner nodes are used once; no more than `most`. */
static int summands(const fm_stacking *t, fm_val root, fm_val *list) {
  int n = 1;
  list[0] = root;
  for (int k = 0; k < n;) {
    fm_val v = list[k];
    if (t->p->node[v].op == &fm_op_add && (v == root || uses(t, v) == 1)) {
      list[k] = fm_arg(t->p, v, 0);
      list[n++] = fm_arg(t->p, v, 1);
    } else {
      k++;
    }
  }
  return n;
}

/* One call for all summands y(a, d) of list[] whose a is stacked in the same forward group. */
static fm_val emit_summands(fm_stacking *t, int n, fm_val *list, fm_val first, bool *taken) {
  const fm_prog *p = t->p;
  fm_val *a = list + n, *d = a + n, *map = t->r.map;
  int many = 0, group = forward_group(t, fm_arg(p, first, 0));
  for (int k = 0; k < n; k++) {
    fm_val v = list[k];
    bool mine = v == first || (group >= 0 && summable(t, v) && fm_stack_alike(p, v, first) &&
                               forward_group(t, fm_arg(p, v, 0)) == group);
    if (!mine || taken[k]) continue;
    taken[k] = true;
    int at = many++;
    for (; at > 0 && a[at - 1] > fm_arg(p, v, 0); at--) a[at] = a[at - 1], d[at] = d[at - 1];
    a[at] = fm_arg(p, v, 0);
    d[at] = fm_arg(p, v, 1);
  }
  if (many == 1) return map[first];
  for (int k = 0; k < many; k++) a[k] = map[a[k]], d[k] = map[d[k]];
  fm_val in[2] = {fm_concat(t->r.q, many, a, 0), fm_concat(t->r.q, many, d, 0)};
  return fm_emit(t->r.q, p->node[first].op, 2, in, &p->node[first].attr);
}

fm_val fm_stack_sum(fm_stacking *t, fm_val root) {
  fm_val *list = t->list, sum = FM_NONE;
  bool taken[MOST_SUMMANDS] = {false};
  int n = summands(t, root, list), calls = 0;
  for (int k = 0; k < n; k++) calls += summable(t, list[k]);
  if (calls < 2 || n > MOST_SUMMANDS) return fm_copy_node(&t->r, root);
  for (int k = 0; k < n; k++) {
    if (taken[k]) continue;
    bool one = !summable(t, list[k]);
    sum = fm_add(t->r.q, sum, one ? t->r.map[list[k]] : emit_summands(t, n, list, list[k], taken));
  }
  return sum;
}
