/*
** parts.c - a program split into independent ones, for the workers: nodes that share no value
** except inputs and constants are independent. The split depends on the program alone.
*/
#include "hoist.h"
#include "rewrite.h"
#include "../op_names.h"

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
  for (fm_val v = 0; v < p->n; v++) s->root[v] = v;
  for (fm_val v = 0; v < p->n; v++)
    for (int k = 0; k < p->node[v].nin; k++) {
      fm_val a = fm_ins(p, v)[k];
      if (!leaf(p, a)) s->root[find(s, a)] = find(s, v);
    }
  for (fm_val v = 0; v < p->n; v++)
    s->work[find(s, v)] +=
        leaf(p, v) ? 0 : CALL_VALUES + (double)fm_shape_count(&p->node[v].sig.shape);
}

/* Assigns components in order of falling work, each to the part with the least work so far. */
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

/* Part k: its nodes, the leaves they read, its outputs. Outputs that are leaves go with part 0. */
static fm_err extract(fm_pool *pool, split *s, int k, fm_parts *parts, int *output) {
  const fm_prog *p = s->p;
  fm_rewrite r = fm_rewrite_into(pool, p, parts->part[k] = fm_prog_like(p));
  parts->output[k] = output;
  if (r.q == NULL || r.q->err != FM_OK || output == NULL) return FM_ENOMEM;
  for (fm_val v = 0; v < p->n; v++) {
    bool mine = leaf(p, v) ? p->node[v].op != &fm_op_input : s->part[find(s, v)] == k;
    if (mine) r.map[v] = fm_copy_node(&r, v);
  }
  for (int j = 0; j < p->nout; j++) {
    fm_val v = p->out[j].v;
    if (leaf(p, v) ? k > 0 : s->part[find(s, v)] != k) continue;
    output[r.q->nout] = j;
    fm_output(r.q, r.map[v], FM_STACK);
  }
  return r.q->err;
}

fm_err fm_split(fm_pool *keep, const fm_prog *p, fm_parts *parts) {
  fm_pool pool = {.ctx = p->ctx};
  split s = {.p = p, .work = fm_take(&pool, p->n, double), .root = fm_take(&pool, p->n, int)};
  s.part = fm_take_none(&pool, p->n);
  fm_err err = pool.failed ? FM_ENOMEM : FM_OK;
  parts->nout = p->nout;
  if (err == FM_OK) find_components(&s);
  int many = err == FM_OK ? assign(&s) : 0;
  for (int k = 0; k < (many > 0 ? many : 1) && err == FM_OK; k++) {
    parts->n = k + 1;
    err = extract(&pool, &s, k, parts, fm_take(keep, p->nout, int));
  }
  fm_pool_free(&pool);
  return err;
}
