/*
** stack.c - fewer, larger calls of expensive operations. Independent calls y(x, w) with the same w
** become one on the stacked rows of x (primal and tangent, diagonal and off-diagonal samples, both
** backward products); sums of calls that each add over their rows, a'd + b'e, become one call on
** stacked operands. The plan then makes the stacked operands in place and the parts views. An
** operation says by its flags (op.h) whether it can do either.
*/
#include "stack.h"
#include "../op_names.h"

static int members(const fm_stacking *t, fm_val first, fm_val *list) {
  int n = 0;
  for (fm_val m = first; m >= 0; m = t->next[m]) {
    int k = n++;
    while (k > 0 && t->key[list[k - 1]] > t->key[m]) list[k] = list[k - 1], k--;
    list[k] = m;
  }
  return n;
}

static void emit_group(fm_stacking *t, fm_val first) {
  const fm_prog *p = t->p;
  fm_prog *q = t->r.q;
  fm_val *list = t->list, *rows = list + p->n, *map = t->r.map;
  int n = members(t, first, list);
  for (int k = 0; k < n; k++) rows[k] = map[fm_arg(p, list[k], 0)];
  fm_val in[2] = {fm_concat(q, n, rows, 0), map[fm_arg(p, first, 1)]};
  fm_val y = fm_emit(q, p->node[first].op, 2, in, &p->node[first].attr);
  int64_t at = 0;
  for (int k = 0; k < n; k++) {
    int64_t m = p->node[list[k]].sig.shape.d[0];
    map[list[k]] = fm_slice(q, y, 0, at, m);
    at += m;
  }
}

/* An operand of v, or of a member of its group, that has not been emitted. */
static fm_val missing_operand(const fm_stacking *t, fm_val first) {
  const fm_prog *p = t->p;
  for (fm_val m = first; m >= 0; m = t->group[first] >= 0 ? t->next[m] : -1)
    for (int k = 0; k < p->node[m].nin; k++)
      if (t->r.map[fm_arg(p, m, k)] == FM_NONE) return fm_arg(p, m, k);
  return FM_NONE;
}

/* Operands first, groups as a whole: depth first with an explicit stack. */
static void emit_from(fm_stacking *t, fm_val *todo, fm_val root) {
  const fm_prog *p = t->p;
  fm_val *map = t->r.map;
  int top = 0;
  todo[top++] = root;
  while (top > 0 && t->r.q->err == FM_OK) {
    fm_val v = todo[top - 1], missing;
    fm_val first = t->group[v] >= 0 ? t->group[v] : v;
    if (map[v] != FM_NONE)
      top--;
    else if ((missing = missing_operand(t, first)) != FM_NONE)
      todo[top++] = missing;
    else if (t->group[v] >= 0)
      emit_group(t, first);
    else
      map[v] = p->node[v].op == &fm_op_add ? fm_stack_sum(t, v) : fm_copy_node(&t->r, v);
  }
}

fm_prog *fm_stack(const fm_prog *p) {
  fm_pool s = {.ctx = p->ctx};
  fm_stacking t = {.p = p, .list = fm_take(&s, 3 * (p->n + 1), fm_val)};
  fm_val *todo = fm_take(&s, p->n + 1, fm_val);
  fm_stack_groups(&s, &t);
  t.r = fm_rewrite_into(&s, p, fm_prog_like(p));
  if (t.r.q) t.r.q->share = true; /* a stack of the same operands is made once */
  for (int k = 0; t.r.q && t.r.q->err == FM_OK && k < p->nout; k++)
    emit_from(&t, todo, p->out[k].v);
  fm_prog *q = fm_rewrite_end(&t.r);
  fm_pool_free(&s);
  return q;
}
