/*
** recompute.c - what is cheap to make anew need not be kept from the forward to the backward pass.
** At the point where the plan holds most memory, the values that stay alive across it are chosen
** anew: a minimum cut between what must have been computed before it (products, convolutions) and
** what is read after it, where a cut value costs its bytes and all else is made once more from cut
** values, just before it is read. (Rematerialisation as a minimum cut: Horace He and Shangdi Yu,
** "Transcending runtime-memory tradeoffs in checkpointing by being fusion aware", MLSys 2023.)
*/
#include <stdint.h>
#include <string.h>

#include "plan.h"

#define UNBOUNDED (INT64_MAX / 4)

/* Every value is two points, before (2 v) and after (2 v + 1) an edge as wide as its bytes. */
typedef struct edge {
  int to, next; /* next: of the same point, or -1; the edge back is number k ^ 1 */
  int64_t room;
} edge;

typedef enum fate { SAME, ANEW, COPIED } fate;

typedef struct network {
  const fm_prog *p;
  const int *stage;
  int at; /* the last stage before the cut */
  double few;
  int source, sink, points, nedge, cap;
  edge *edge;
  int *first, *via, *queue; /* per point: its edges; the edge by which it was reached, or -1 */
} network;

static bool free_to_read(const fm_op *op) {
  return (op->flags & FM_LEAF) && !(op->flags & FM_RANDOM);
}

/* Drawing the random numbers of dropout again took a sixth of a step. */
static bool cheap(const fm_prog *p, fm_val v, double few) {
  const fm_op *op = p->node[v].op;
  if (op->flags & (FM_KEEP | FM_RANDOM)) return false;
  return op->flops == NULL || fm_node_flops(p, v) <= few * (double)fm_sig_bytes(&p->node[v].sig);
}

static bool early(const network *g, fm_val v) { return g->stage[v] <= g->at; }

/* Views share bytes with what they are views of, broadcasts need none where they are read. A slice
** may be kept as a copy: some images of a stacked product matter to the first pass alone. */
static int64_t price(const fm_prog *p, fm_val v) {
  const fm_op *op = p->node[v].op;
  if (free_to_read(op)) return 0;
  if (op->flags & (FM_RESHAPE | FM_REPEAT)) return UNBOUNDED;
  return (int64_t)fm_sig_bytes(&p->node[v].sig);
}

static void half_edge(network *g, int from, int to, int64_t room) {
  g->edge[g->nedge] = (edge){to, g->first[from], room};
  g->first[from] = g->nedge++;
}

static void connect(network *g, int from, int to, int64_t room) {
  half_edge(g, from, to, room);
  half_edge(g, to, from, 0);
}

static void build(network *g, const bool *live) {
  const fm_prog *p = g->p;
  for (int k = 0; k < g->points; k++) g->first[k] = -1;
  for (fm_val v = 0; v < p->n; v++) {
    const fm_op *op = p->node[v].op;
    if (!live[v]) continue;
    if (early(g, v)) connect(g, 2 * v, 2 * v + 1, price(p, v));
    if (early(g, v) && !cheap(p, v, g->few) && !free_to_read(op))
      connect(g, g->source, 2 * v, UNBOUNDED);
    for (int k = 0; k < p->node[v].nin; k++) {
      fm_val a = fm_ins(p, v)[k];
      if (early(g, a)) connect(g, 2 * a + 1, early(g, v) ? 2 * v : g->sink, UNBOUNDED);
    }
  }
}

/* From a point along edges with room (or, backwards, against them) to all that can be reached. */
static bool search(network *g, int from, bool backwards, int goal) {
  int n = 0;
  for (int k = 0; k < g->points; k++) g->via[k] = -1;
  g->via[from] = INT32_MAX;
  g->queue[n++] = from;
  for (int i = 0; i < n; i++)
    for (int k = g->first[g->queue[i]]; k >= 0; k = g->edge[k].next) {
      int to = g->edge[k].to;
      if (g->via[to] >= 0 || g->edge[backwards ? k ^ 1 : k].room == 0) continue;
      g->via[to] = k;
      g->queue[n++] = to;
      if (to == goal) return true;
    }
  return false;
}

/* Augmenting paths, shortest first (Edmonds and Karp 1972). */
static void fill(network *g) {
  while (search(g, g->source, false, g->sink)) {
    int64_t most = UNBOUNDED;
    for (int v = g->sink; v != g->source; v = g->edge[g->via[v] ^ 1].to)
      if (g->edge[g->via[v]].room < most) most = g->edge[g->via[v]].room;
    for (int v = g->sink; v != g->source; v = g->edge[g->via[v] ^ 1].to) {
      g->edge[g->via[v]].room -= most;
      g->edge[g->via[v] ^ 1].room += most;
    }
  }
}

/* The cut nearest to the readers repeats least. What is read after it is made once more there or
** kept by the cut, slices as copies. */
static void choose(network *g, const bool *live, fate *fates) {
  search(g, g->sink, true, -1);
  for (fm_val v = 0; v < g->p->n; v++) {
    bool read = live[v] && early(g, v) && g->via[2 * v + 1] >= 0, kept = g->via[2 * v] < 0;
    bool part = g->p->node[v].op->flags & FM_PART;
    fates[v] = read && !kept ? ANEW : read && part ? COPIED : SAME;
  }
}

/* The program in which that is done. */
static fm_prog *rewrite(const network *g, const fate *fates, fm_val *map, fm_val *again) {
  const fm_prog *p = g->p;
  fm_prog *q = fm_prog_like(p, map);
  if (q == NULL) return NULL;
  q->share = false; /* the two are equal, and to stay two */
  for (fm_val v = 0; v < p->n && q->err == FM_OK; v++) {
    again[v] = FM_NONE;
    if (p->node[v].op == &fm_op_input) {
      again[v] = map[v];
      continue;
    }
    map[v] = fm_prog_copy(q, p, v, early(g, v) ? map : again);
    again[v] = map[v];
    if (q->err == FM_OK && fates[v] == COPIED) again[v] = fm_e1(q, &fm_op_copy, map[v]);
    if (q->err != FM_OK || fates[v] != ANEW) continue;
    again[v] = fm_prog_copy(q, p, v, again);
    if (again[v] != FM_NONE) q->node[again[v]].late = true;
  }
  for (int k = 0; k < p->nout; k++) fm_output(q, map[p->out[k].v], p->out[k].merge);
  if (q->err == FM_OK) return q;
  fm_prog_free(q);
  return NULL;
}

static fm_prog *recompute(const fm_prog *p, int at, double few, char *room) {
  size_t n = (size_t)p->n + 1, points = 2 * n + 2, edges = 2 * (2 * n + (size_t)p->nargs);
  network g = {.p = p,
               .at = at,
               .few = few,
               .source = 2 * p->n,
               .sink = 2 * p->n + 1,
               .points = 2 * p->n + 2};
  g.edge = (edge *)room;
  g.first = (int *)(g.edge + edges), g.via = g.first + points, g.queue = g.via + points;
  int *stage = g.queue + points;
  fm_val *map = stage + n, *again = map + n;
  fate *fates = (fate *)(again + n);
  bool *live = (bool *)(fates + n);
  g.stage = stage;
  fm_live(p, live);
  fm_stages(p, stage);
  build(&g, live);
  fill(&g);
  choose(&g, live, fates);
  return rewrite(&g, fates, map, again);
}

fm_prog *fm_recompute(const fm_prog *p, int at, double few) {
  size_t n = (size_t)p->n + 1;
  size_t bytes = 2 * (2 * n + (size_t)p->nargs) * sizeof(edge) +
                 (3 * (2 * n + 2) + 3 * n) * sizeof(int) + n * (sizeof(fate) + sizeof(bool));
  char *room = fm_alloc(p->ctx, bytes);
  fm_prog *q = room ? recompute(p, at, few, room) : NULL;
  fm_free(p->ctx, room, bytes);
  return q;
}
