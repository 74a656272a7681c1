/*
** recompute.c - what is cheap to compute again need not be kept from the forward to the backward
** pass. At the point where the plan needs most memory, the values that stay live across it are
** chosen by a minimum cut between what must have been computed before it (products, convolutions)
** and what is read after it: a value in the cut costs its bytes, all else is rematerialised from
** the values in the cut, just before it is read. (Horace He and Shangdi Yu, "Transcending
** runtime-memory tradeoffs in checkpointing by being fusion aware", MLSys 2023.)
*/
#include "analysis.h"
#include "rewrite.h"
#include "../op_names.h"

/* ------------------------------------------------------------------ minimum cuts of graphs */

#define UNBOUNDED (INT64_MAX / 4)

typedef struct edge {
  int to, next; /* next: of the same point, or -1; the edge back is number k ^ 1 */
  int64_t left; /* capacity that is not used */
} edge;

typedef struct graph {
  int points, nedge;
  edge *edge;
  int *first, *via, *queue; /* per point: its edges; the edge by which it was reached, or -1 */
} graph;

/* No edges yet, memory for `edges` of them. */
static graph new_graph(fm_pool *s, int points, int edges) {
  graph g = {.points = points, .edge = fm_take(s, 2 * edges, edge)};
  g.first = fm_take_none(s, points);
  g.via = fm_take(s, points, int), g.queue = fm_take(s, points, int);
  return g;
}

static void add_edge(graph *g, int from, int to, int64_t capacity) {
  g->edge[g->nedge] = (edge){to, g->first[from], capacity};
  g->first[from] = g->nedge++;
}

static void connect(graph *g, int from, int to, int64_t capacity) {
  add_edge(g, from, to, capacity);
  add_edge(g, to, from, 0);
}

/* From a point along edges with capacity left (or, backwards, against them) to all that it reaches;
** true as soon as that is the goal. */
static bool search(graph *g, int from, bool backwards, int goal) {
  int n = 0;
  for (int k = 0; k < g->points; k++) g->via[k] = -1;
  g->via[from] = INT32_MAX;
  g->queue[n++] = from;
  for (int i = 0; i < n; i++)
    for (int k = g->first[g->queue[i]]; k >= 0; k = g->edge[k].next) {
      int to = g->edge[k].to;
      if (g->via[to] >= 0 || g->edge[backwards ? k ^ 1 : k].left == 0) continue;
      g->via[to] = k;
      g->queue[n++] = to;
      if (to == goal) return true;
    }
  return false;
}

/* Marks the points behind the minimum cut nearest to the sink: the others have via[] < 0. By a
** maximum flow: augmenting paths, shortest first (Edmonds and Karp 1972). */
static void cut(graph *g, int source, int sink) {
  while (search(g, source, false, sink)) {
    int64_t most = UNBOUNDED;
    for (int v = sink; v != source; v = g->edge[g->via[v] ^ 1].to)
      if (g->edge[g->via[v]].left < most) most = g->edge[g->via[v]].left;
    for (int v = sink; v != source; v = g->edge[g->via[v] ^ 1].to) {
      g->edge[g->via[v]].left -= most;
      g->edge[g->via[v] ^ 1].left += most;
    }
  }
  search(g, sink, true, -1);
}

/* ------------------------------------------------------------------ what is kept */

typedef struct remat {
  const fm_prog *p;
  const int *stage;
  const bool *live;
  int at; /* the last stage before the cut */
  double few;
  graph g; /* every value is two points: 2 v, an edge as wide as its bytes, 2 v + 1 */
} remat;

static bool free_to_read(const fm_op *op) {
  return (op->flags & FM_LEAF) && !(op->flags & FM_RANDOM);
}

/* Drawing the random numbers of dropout again took a sixth of a step. */
static bool cheap(const remat *m, fm_val v) {
  const fm_op *op = m->p->node[v].op;
  if (op->flags & (FM_KEEP | FM_RANDOM)) return false;
  return op->flops == NULL || fm_node_flops(m->p, v) <= m->few * (double)fm_bytes_of(m->p, v);
}

static bool before(const remat *m, fm_val v) { return m->stage[v] <= m->at; }

/* Views share bytes with what they are views of, broadcasts need none where they are read. A slice
** may be kept as a copy: some images of a stacked product matter to the first pass alone. */
static int64_t price(const fm_prog *p, fm_val v) {
  const fm_op *op = p->node[v].op;
  if (free_to_read(op)) return 0;
  if (op->flags & (FM_RESHAPE | FM_REPEAT)) return UNBOUNDED;
  return (int64_t)fm_bytes_of(p, v);
}

static void choose(remat *m) {
  const fm_prog *p = m->p;
  int source = 2 * p->n, sink = 2 * p->n + 1;
  for (fm_val v = 0; v < p->n; v++) {
    if (!m->live[v]) continue;
    if (before(m, v)) connect(&m->g, 2 * v, 2 * v + 1, price(p, v));
    if (before(m, v) && !cheap(m, v) && !free_to_read(p->node[v].op))
      connect(&m->g, source, 2 * v, UNBOUNDED);
    for (int k = 0; k < p->node[v].nin; k++) {
      fm_val a = fm_arg(p, v, k);
      if (before(m, a)) connect(&m->g, 2 * a + 1, before(m, v) ? 2 * v : sink, UNBOUNDED);
    }
  }
  cut(&m->g, source, sink);
}

/* For the readers after the cut. A cut nearest to them repeats least. */
static fm_val again(const remat *m, const fm_rewrite *after, fm_val v, fm_val first) {
  bool read = m->live[v] && before(m, v) && m->g.via[2 * v + 1] >= 0, kept = m->g.via[2 * v] < 0;
  if (!read) return first;
  if (kept)
    return (m->p->node[v].op->flags & FM_PART) ? fm_e1(after->q, &fm_op_copy, first) : first;
  fm_val copy = fm_copy_node(after, v);
  if (copy != FM_NONE) after->q->node[copy].rematerialised = true;
  return copy;
}

/* Two maps: of the values as they are read before the cut, and after it. */
static fm_prog *rewrite(fm_pool *s, const remat *m) {
  fm_prog *q = fm_prog_like(m->p);
  fm_rewrite first = fm_rewrite_into(s, m->p, q), second = fm_rewrite_into(s, m->p, q);
  if (q) q->share = false; /* the two are equal, and stay two */
  for (fm_val v = 0; q && v < m->p->n && q->err == FM_OK; v++) {
    if (m->p->node[v].op == &fm_op_input) continue;
    first.map[v] = fm_copy_node(before(m, v) ? &first : &second, v);
    second.map[v] = q->err == FM_OK ? again(m, &second, v, first.map[v]) : FM_NONE;
  }
  return fm_rewrite_end(&first);
}

fm_prog *fm_recompute(const fm_prog *p, int at, double few) {
  fm_pool s = {.ctx = p->ctx};
  remat m = {.p = p, .at = at, .few = few, .live = fm_live(&s, p), .stage = fm_stages(&s, p)};
  m.g = new_graph(&s, 2 * p->n + 2, 2 * p->n + p->nargs);
  if (!s.failed) choose(&m);
  fm_prog *q = rewrite(&s, &m);
  fm_pool_free(&s);
  return q;
}
