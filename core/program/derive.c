/*
** derive.c - the two derivatives of a program. Forward mode walks the nodes between x and y once,
** in order, and lets every rule emit the tangent of its result; reverse mode walks them backwards
** and lets every rule emit the cotangents of its operands. Both emit into the same program and
** share its values, so they nest in any order.
*/
#include "../pool.h"
#include "program.h"

/* reach[v]: v is one of x or computed from one, through operations that differentiation crosses. */
static bool *mark_from(fm_pool *s, const fm_prog *p, int nx, const fm_val *x) {
  bool *reach = fm_take(s, p->n, bool);
  for (int k = 0; reach && k < nx; k++) reach[x[k]] = true;
  for (fm_val v = 0; reach && v < p->n; v++) {
    if (p->node[v].op->jvp == NULL) continue;
    for (int k = 0; k < p->node[v].nin; k++) reach[v] = reach[v] || reach[fm_ins(p, v)[k]];
  }
  return reach;
}

/* need[v]: v is one of y or used for one. */
static bool *mark_to(fm_pool *s, const fm_prog *p, int ny, const fm_val *y) {
  bool *need = fm_take(s, p->n, bool);
  for (int k = 0; need && k < ny; k++) need[y[k]] = true;
  for (fm_val v = p->n - 1; need && v >= 0; v--)
    for (int k = 0; need[v] && k < p->node[v].nin; k++) need[fm_ins(p, v)[k]] = true;
  return need;
}

/* dx: scratch for the tangents of the operands. */
static fm_val tangent_of(fm_prog *p, fm_val v, const fm_val *tangent, fm_val *dx) {
  int any = 0;
  for (int k = 0; k < p->node[v].nin; k++) any += (dx[k] = tangent[fm_ins(p, v)[k]]) != FM_NONE;
  return any ? p->node[v].op->jvp(p, v, dx) : FM_NONE;
}

fm_err fm_jvp(fm_prog *p, int nx, const fm_val *x, const fm_val *dx, int ny, const fm_val *y,
              fm_val *dy) {
  int n = p->n;
  if (p->err != FM_OK) return fm_failed_before(p);
  fm_pool s = {.ctx = p->ctx};
  const bool *reach = mark_from(&s, p, nx, x), *need = mark_to(&s, p, ny, y);
  fm_val *tangent = fm_take_none(&s, n), *scratch = fm_take(&s, p->nargs, fm_val);
  if (s.failed) p->err = FM_ENOMEM;
  for (int k = 0; k < nx && p->err == FM_OK; k++) tangent[x[k]] = dx[k];
  for (fm_val v = 0; v < n && p->err == FM_OK; v++) {
    bool given = false;
    for (int k = 0; k < nx; k++) given = given || x[k] == v;
    if (reach[v] && need[v] && !given) tangent[v] = tangent_of(p, v, tangent, scratch);
  }
  for (int k = 0; k < ny; k++) dy[k] = s.failed ? FM_NONE : tangent[y[k]];
  fm_pool_free(&s);
  return p->err;
}

/* ------------------------------------------------------------------ reverse mode */

/*
** An elementwise operation has a diagonal Jacobian, which is its own transpose: the cotangent of
** operand k is the tangent of the result when operand k alone moves along dy.
*/
static void vjp_elementwise(fm_prog *p, fm_val v, fm_val dy, fm_val *dx) {
  int n = p->node[v].nin;
  for (int k = 0; k < n; k++) {
    fm_val only[3] = {FM_NONE, FM_NONE, FM_NONE};
    only[k] = dy;
    dx[k] = p->node[v].op->jvp(p, v, only);
  }
}

/* dx: scratch for the cotangents of the operands. */
static void pull(fm_prog *p, fm_val v, const bool *reach, fm_val *cotangent, fm_val *dx) {
  int n = p->node[v].nin;
  const fm_op *op = p->node[v].op;
  for (int k = 0; k < n; k++) dx[k] = FM_NONE;
  if (fm_elementwise(op))
    vjp_elementwise(p, v, cotangent[v], dx);
  else if (op->vjp)
    op->vjp(p, v, cotangent[v], dx);
  else
    p->err = fm_fail(p->ctx, FM_EUSAGE, "%s: a jvp rule without a vjp rule found, expected both",
                     op->name);
  for (int k = 0; k < n; k++) {
    fm_val a = fm_ins(p, v)[k];
    if (reach[a]) cotangent[a] = fm_add(p, cotangent[a], dx[k]);
  }
}

fm_err fm_vjp(fm_prog *p, int ny, const fm_val *y, const fm_val *dy, int nx, const fm_val *x,
              fm_val *dx) {
  int n = p->n;
  if (p->err != FM_OK) return fm_failed_before(p);
  fm_pool s = {.ctx = p->ctx};
  const bool *reach = mark_from(&s, p, nx, x);
  fm_val *cotangent = fm_take_none(&s, n), *scratch = fm_take(&s, p->nargs, fm_val);
  if (s.failed) p->err = FM_ENOMEM;
  for (int k = 0; k < ny && p->err == FM_OK; k++)
    cotangent[y[k]] = fm_add(p, cotangent[y[k]], dy[k]);
  for (int k = 0; k < nx; k++) dx[k] = FM_NONE;
  for (fm_val v = n - 1; v >= 0 && p->err == FM_OK; v--) {
    if (!reach[v] || cotangent[v] == FM_NONE) continue;
    bool leaf = false;
    for (int k = 0; k < nx; k++)
      if (x[k] == v) dx[k] = cotangent[v], leaf = true;
    if (!leaf && p->node[v].op->jvp != NULL) pull(p, v, reach, cotangent, scratch);
  }
  fm_pool_free(&s);
  return p->err;
}
