/* mincut.c - by a maximum flow: augmenting paths, shortest first (Edmonds and Karp 1972). */
#include "mincut.h"

fm_graph fm_graph_new(fm_pool *s, int points, int edges) {
  fm_graph g = {.points = points, .edge = fm_take(s, 2 * edges, fm_edge)};
  g.first = fm_take_none(s, points);
  g.via = fm_take(s, points, int), g.queue = fm_take(s, points, int);
  return g;
}

static void add_edge(fm_graph *g, int from, int to, int64_t capacity) {
  g->edge[g->nedge] = (fm_edge){to, g->first[from], capacity};
  g->first[from] = g->nedge++;
}

void fm_graph_connect(fm_graph *g, int from, int to, int64_t capacity) {
  add_edge(g, from, to, capacity);
  add_edge(g, to, from, 0);
}

/* From a point along edges with capacity left (or, backwards, against them) to all that it reaches;
** true as soon as that is the goal. */
static bool search(fm_graph *g, int from, bool backwards, int goal) {
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

void fm_graph_cut(fm_graph *g, int source, int sink) {
  while (search(g, source, false, sink)) {
    int64_t most = FM_UNBOUNDED;
    for (int v = sink; v != source; v = g->edge[g->via[v] ^ 1].to)
      if (g->edge[g->via[v]].left < most) most = g->edge[g->via[v]].left;
    for (int v = sink; v != source; v = g->edge[g->via[v] ^ 1].to) {
      g->edge[g->via[v]].left -= most;
      g->edge[g->via[v] ^ 1].left += most;
    }
  }
  search(g, sink, true, -1);
}
