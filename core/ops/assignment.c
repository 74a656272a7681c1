/* assignment.c - the linear assignment problem: which column each row of a square matrix of costs
** takes, so that the sum of the costs is least. */
#include <string.h>

#include "ops.h"

enum { LARGEST = 16384 }; /* rows: the state of a search fits in the workspace */

#ifndef FM_RULES

#include "../kernels/workspace.h"

/*
** Shortest augmenting paths with potentials u of rows and v of columns (Jonker, Volgenant 1987;
** Crouse 2016): the reduced costs c - u - v are never negative, and are 0 at the pairs found.
*/
typedef struct search {
  int64_t n;
  const T *cost;
  double *u, *v, *far;           /* far: length of the shortest path to each column */
  int32_t *row_of, *col_of, *by; /* -1: free; by: the row from which a path reaches a column */
  char *done;
} search;

_Static_assert(LARGEST * (3 * sizeof(double) + 3 * sizeof(int32_t) + 1) <= FM_CONV_WORKSPACE,
               "the state of a search");

static search search_of(const T *cost, int64_t n) {
  search s = {.n = n, .cost = cost};
  s.u = (double *)(void *)fm_conv_workspace;
  s.v = s.u + n;
  s.far = s.v + n;
  s.row_of = (int32_t *)(void *)(s.far + n);
  s.col_of = s.row_of + n;
  s.by = s.col_of + n;
  s.done = (char *)(s.by + n);
  memset(s.row_of, -1, 2 * (size_t)n * sizeof *s.row_of);
  return s;
}

/* The potentials at the start: 0, and the least cost of each column. */
static void reduce(search *s) {
  for (int64_t j = 0; j < s->n; j++) s->u[j] = 0, s->v[j] = (double)s->cost[j];
  for (int64_t i = 1; i < s->n; i++)
    for (int64_t j = 0; j < s->n; j++) {
      const double c = (double)s->cost[i * s->n + j];
      if (c < s->v[j]) s->v[j] = c;
    }
}

/* Lengthen the paths by row i, to which the shortest one has the length `at`; the nearest column
   that is not done, the first of several, or -1 if no length is finite. */
static int64_t nearest(search *s, int64_t i, double at) {
  const T *c = s->cost + i * s->n;
  const double less = s->u[i] - at;
  int64_t best = -1;
  double least = INFINITY;
  for (int64_t j = 0; j < s->n; j++) {
    if (s->done[j]) continue;
    const double length = (double)c[j] - less - s->v[j];
    if (length < s->far[j]) s->far[j] = length, s->by[j] = (int32_t)i;
    if (s->far[j] < least) least = s->far[j], best = j;
  }
  return best;
}

/* Find a column for row i, and other columns for the rows on the path to it. */
static bool augment(search *s, int64_t i) {
  int64_t j, row = i;
  double at = 0;
  memset(s->done, 0, (size_t)s->n);
  for (int64_t k = 0; k < s->n; k++) s->far[k] = INFINITY;
  do {
    j = nearest(s, row, at);
    if (j < 0) return false;
    s->done[j] = 1;
    at = s->far[j];
    row = s->row_of[j];
  } while (row >= 0);
  s->u[i] += at;
  for (int64_t k = 0; k < s->n; k++) {
    if (!s->done[k]) continue;
    s->v[k] -= at - s->far[k];
    if (s->row_of[k] >= 0) s->u[s->row_of[k]] += at - s->far[k];
  }
  while (true) { /* backwards along the path */
    const int32_t from = s->by[j], next = s->col_of[from];
    s->row_of[j] = from, s->col_of[from] = (int32_t)j;
    if (from == i) return true;
    j = next;
  }
}

FM_EXEC(assignment) {
  const int64_t n = e->in[0].shape.d[0];
  search s = search_of(e->x[0], n);
  bool known = true;
  for (int64_t k = 0; k < n * n; k++) known = known && isfinite(s.cost[k]);
  if (known && n > 0) reduce(&s);
  for (int64_t i = 0; i < n && known; i++) known = augment(&s, i);
  for (int64_t i = 0; i < n; i++) ((T *)e->y)[i] = (T)(known ? s.col_of[i] : i);
}

#endif

#ifdef FM_RULES

static fm_err infer_assignment(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                               const fm_attr *attr, fm_sig *out) {
  const fm_shape *s = &in[0].shape;
  char text[96];
  (void)nin, (void)attr;
  if (s->nd != 2 || s->d[0] != s->d[1] || s->d[0] > LARGEST)
    return fm_fail(ctx, FM_EUSAGE, "%s: costs %s found, expected a square matrix of up to %d rows",
                   op->name, fm_shape_text(s, text), LARGEST);
  out->dtype = in[0].dtype;
  out->shape = (fm_shape){1, {s->d[0]}};
  return FM_OK;
}

/* Each of n searches visits up to n columns from each of up to n rows. */
static double flops_assignment(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr) {
  const double n = (double)in[0].shape.d[0];
  (void)nin, (void)out, (void)attr;
  return n * n * n;
}

/* Piecewise constant: no tangent. */
const fm_op fm_op_assignment = {.name = "assignment",
  .doc = "The columns, counted from 0, that the rows of a square matrix of costs take, each one "
         "once, with the least sum. Row k takes k if a cost is not finite.",
  .args = "t", .nin = 1, .infer = infer_assignment, .flops = flops_assignment,
  .samples = {{1, {FM_SHAPE2(7, 7)}, {{0}, {0}}, -1, 1},
              {1, {FM_SHAPE2(1, 1)}, {{0}, {0}}, -1, 1},
              {1, {FM_SHAPE2(19, 19)}, {{0}, {0}}, 0, 9}}};

#endif
