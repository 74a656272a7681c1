/*
** derive.c - the two derivatives of a program. Forward mode walks the nodes between x and y once,
** in order, and lets every rule emit the tangent of its result; reverse mode walks them backwards
** and lets every rule emit the cotangents of its operands. Both emit into the same program and
** share its values, so they nest in any order.
*/
#include <string.h>

#include "program.h"

/* reach[v]: v is one of x or computed from one, through operations that differentiation crosses. */
static void mark_from(const fm_prog *p, int nx, const fm_val *x, bool *reach, int n) {
  memset(reach, 0, (size_t)n * sizeof *reach);
  for (int k = 0; k < nx; k++) reach[x[k]] = true;
  for (fm_val v = 0; v < n; v++) {
    if (p->node[v].op->jvp == NULL) continue;
    for (int k = 0; k < p->node[v].nin; k++) reach[v] = reach[v] || reach[fm_ins(p, v)[k]];
  }
}

/* need[v]: v is one of y or used for one. */
static void mark_to(const fm_prog *p, int ny, const fm_val *y, bool *need, int n) {
  memset(need, 0, (size_t)n * sizeof *need);
  for (int k = 0; k < ny; k++) need[y[k]] = true;
  for (fm_val v = n - 1; v >= 0; v--)
    for (int k = 0; need[v] && k < p->node[v].nin; k++) need[fm_ins(p, v)[k]] = true;
}

static fm_val tangent_of(fm_prog *p, fm_val v, const fm_val *tangent) {
  int n = p->node[v].nin, any = 0;
  fm_val few[8], *dx = few;
  if (n > 8 && (dx = fm_alloc(p->ctx, (size_t)n * sizeof *dx)) == NULL) {
    p->err = FM_ENOMEM;
    return FM_NONE;
  }
  for (int k = 0; k < n; k++) any += (dx[k] = tangent[fm_ins(p, v)[k]]) != FM_NONE;
  fm_val dy = any ? p->node[v].op->jvp(p, v, dx) : FM_NONE;
  if (dx != few) fm_free(p->ctx, dx, (size_t)n * sizeof *dx);
  return dy;
}

fm_err fm_jvp(fm_prog *p, int nx, const fm_val *x, const fm_val *dx, int ny, const fm_val *y,
              fm_val *dy) {
  int n = p->n;
  if (p->err != FM_OK) return p->err;
  size_t bytes = (size_t)n * (2 * sizeof(bool) + sizeof(fm_val));
  fm_val *tangent = fm_alloc(p->ctx, bytes);
  if (tangent == NULL) return p->err = FM_ENOMEM;
  bool *reach = (bool *)(tangent + n), *need = reach + n;
  mark_from(p, nx, x, reach, n);
  mark_to(p, ny, y, need, n);
  for (int v = 0; v < n; v++) tangent[v] = FM_NONE;
  for (int k = 0; k < nx; k++) tangent[x[k]] = dx[k];
  for (fm_val v = 0; v < n && p->err == FM_OK; v++) {
    bool given = false;
    for (int k = 0; k < nx; k++) given = given || x[k] == v;
    if (reach[v] && need[v] && !given) tangent[v] = tangent_of(p, v, tangent);
  }
  for (int k = 0; k < ny; k++) dy[k] = tangent[y[k]];
  fm_free(p->ctx, tangent, bytes);
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

static void pull(fm_prog *p, fm_val v, const bool *reach, fm_val *cotangent) {
  int n = p->node[v].nin;
  const fm_op *op = p->node[v].op;
  fm_val few[8], *dx = few;
  if (n > 8 && (dx = fm_alloc(p->ctx, (size_t)n * sizeof *dx)) == NULL) {
    p->err = FM_ENOMEM;
    return;
  }
  for (int k = 0; k < n; k++) dx[k] = FM_NONE;
  if (fm_elementwise(op))
    vjp_elementwise(p, v, cotangent[v], dx);
  else
    op->vjp(p, v, cotangent[v], dx);
  for (int k = 0; k < n; k++) {
    fm_val a = fm_ins(p, v)[k];
    if (reach[a]) cotangent[a] = fm_add(p, cotangent[a], dx[k]);
  }
  if (dx != few) fm_free(p->ctx, dx, (size_t)n * sizeof *dx);
}

fm_err fm_vjp(fm_prog *p, int ny, const fm_val *y, const fm_val *dy, int nx, const fm_val *x,
              fm_val *dx) {
  int n = p->n;
  if (p->err != FM_OK) return p->err;
  size_t bytes = (size_t)n * (sizeof(bool) + sizeof(fm_val));
  fm_val *cotangent = fm_alloc(p->ctx, bytes);
  if (cotangent == NULL) return p->err = FM_ENOMEM;
  bool *reach = (bool *)(cotangent + n);
  mark_from(p, nx, x, reach, n);
  for (int v = 0; v < n; v++) cotangent[v] = FM_NONE;
  for (int k = 0; k < ny; k++) cotangent[y[k]] = fm_add(p, cotangent[y[k]], dy[k]);
  for (int k = 0; k < nx; k++) dx[k] = FM_NONE;
  for (fm_val v = n - 1; v >= 0 && p->err == FM_OK; v--) {
    if (!reach[v] || cotangent[v] == FM_NONE) continue;
    bool leaf = false;
    for (int k = 0; k < nx; k++)
      if (x[k] == v) dx[k] = cotangent[v], leaf = true;
    if (!leaf && p->node[v].op->jvp != NULL) pull(p, v, reach, cotangent);
  }
  fm_free(p->ctx, cotangent, bytes);
  return p->err;
}
