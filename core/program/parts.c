/*
** parts.c - a program cut into independent ones, for the workers: nodes that share no value but
** inputs and constants are independent. The cut depends on the program alone.
*/
#include <string.h>

#include "hoist.h"

typedef struct split {
  const fm_prog *p;
  int *root; /* per node: towards the representative of its component */
  int *part; /* per representative */
  double *work, load[FM_PARTS];
} split;

static bool leaf(const fm_prog *p, fm_val v) { return p->node[v].op->flags & FM_LEAF; }

static int find(split *s, int v) {
  while (s->root[v] != v) v = s->root[v] = s->root[s->root[v]];
  return v;
}

static void find_components(split *s) {
  const fm_prog *p = s->p;
  for (fm_val v = 0; v < p->n; v++) s->root[v] = v, s->work[v] = 0, s->part[v] = -1;
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; k < p->node[v].nin; k++) {
      fm_val a = fm_ins(p, v)[k];
      if (!leaf(p, a)) s->root[find(s, a)] = find(s, v);
    }
  for (fm_val v = 0; v < p->n; v++)
    s->work[find(s, v)] += leaf(p, v) ? 0 : 1e3 + (double)fm_shape_count(&p->node[v].sig.shape);
}

/* The heaviest component first, each to the part that has least to do. */
static int assign(split *s) {
  const fm_prog *p = s->p;
  int used = 0;
  for (;;) {
    int best = -1, to = 0;
    for (fm_val v = 0; v < p->n; v++)
      if (s->root[v] == v && !leaf(p, v) && s->part[v] < 0 &&
          (best < 0 || s->work[v] > s->work[best]))
        best = v;
    if (best < 0) return used;
    for (int k = 1; k < FM_PARTS; k++)
      if (s->load[k] < s->load[to]) to = k;
    s->part[best] = to;
    s->load[to] += s->work[best];
    used = to >= used ? to + 1 : used;
  }
}

/* Part k: its nodes, the leaves they read, its outputs. An output that is a leaf goes with part
** 0. */
static fm_err extract(split *s, int k, fm_parts *parts, fm_val *map) {
  const fm_prog *p = s->p;
  fm_prog *q = parts->part[k] = fm_prog_like(p, map);
  parts->output[k] = fm_alloc(p->ctx, ((size_t)p->nout + 1) * sizeof(int));
  if (q == NULL || parts->output[k] == NULL) return FM_ENOMEM;
  for (fm_val v = 0; v < p->n; v++) {
    bool mine = leaf(p, v) ? p->node[v].op != &fm_op_input : s->part[find(s, v)] == k;
    if (mine) map[v] = fm_prog_copy(q, p, v, map);
  }
  for (int j = 0; j < p->nout; j++) {
    fm_val v = p->out[j].v;
    if (leaf(p, v) ? k > 0 : s->part[find(s, v)] != k) continue;
    parts->output[k][q->nout] = j;
    fm_output(q, map[v], FM_STACK);
  }
  return q->err;
}

fm_err fm_cut_parts(const fm_prog *p, fm_parts *parts) {
  size_t n = (size_t)p->n + 1, bytes = n * (sizeof(double) + 3 * sizeof(int));
  double *work = fm_alloc(p->ctx, bytes);
  fm_err err = work ? FM_OK : FM_ENOMEM;
  parts->nout = p->nout;
  if (work != NULL) {
    split s = {.p = p, .work = work, .root = (int *)(work + n)};
    s.part = s.root + n;
    find_components(&s);
    int many = assign(&s);
    for (int k = 0; k < (many > 0 ? many : 1) && err == FM_OK; k++) {
      parts->n = k + 1;
      err = extract(&s, k, parts, s.part + n);
    }
  }
  fm_free(p->ctx, work, bytes);
  return err;
}

void fm_parts_free(fm_ctx *ctx, fm_parts *parts) {
  for (int k = 0; k < parts->n; k++) {
    fm_prog_free(parts->part[k]);
    fm_free(ctx, parts->output[k], ((size_t)parts->nout + 1) * sizeof(int));
  }
  *parts = (fm_parts){0};
}
