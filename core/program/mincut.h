/* mincut.h - minimum cuts of directed graphs with capacities. */
#ifndef FM_MINCUT_H
#define FM_MINCUT_H

#include "pool.h"

#define FM_UNBOUNDED (INT64_MAX / 4)

typedef struct fm_edge {
  int to, next; /* next: of the same point, or -1; the edge back is number k ^ 1 */
  int64_t left; /* capacity that is not used */
} fm_edge;

typedef struct fm_graph {
  int points, nedge;
  fm_edge *edge;
  int *first, *via, *queue; /* per point: its edges; the edge by which it was reached, or -1 */
} fm_graph;

/* No edges yet, room for `edges` of them. */
fm_graph fm_graph_new(fm_pool *s, int points, int edges);
void fm_graph_connect(fm_graph *g, int from, int to, int64_t capacity);
/* Marks the points behind the minimum cut nearest to the sink: the others have via[] < 0. */
void fm_graph_cut(fm_graph *g, int source, int sink);

#endif
