/*
** recompute.c - what is cheap to compute again need not be kept from the forward to the backward
** pass. At the point where the plan needs most memory, the values that stay live across it are
** chosen by a minimum cut between what must have been computed before it (products, convolutions)
** and what is read after it: a value in the cut costs its bytes, all else is rematerialised from
** the values in the cut, just before it is read. (Horace He and Shangdi Yu, "Transcending
** runtime-memory tradeoffs in checkpointing by being fusion aware", MLSys 2023.)
*/
#include "analysis.h"
#include "mincut.h"
#include "passes.h"
#include "rewrite.h"

typedef struct remat {
  const fm_prog *p;
  const int *stage;
  const bool *live;
  int at; /* the last stage before the cut */
  double few;
  fm_graph g; /* every value is two points: 2 v, an edge as wide as its bytes, 2 v + 1 */
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
  if (op->flags & (FM_RESHAPE | FM_REPEAT)) return FM_UNBOUNDED;
  return (int64_t)fm_bytes_of(p, v);
}

static void cut(remat *m) {
  const fm_prog *p = m->p;
  int source = 2 * p->n, sink = 2 * p->n + 1;
  for (fm_val v = 0; v < p->n; v++) {
    if (!m->live[v]) continue;
    if (before(m, v)) fm_graph_connect(&m->g, 2 * v, 2 * v + 1, price(p, v));
    if (before(m, v) && !cheap(m, v) && !free_to_read(p->node[v].op))
      fm_graph_connect(&m->g, source, 2 * v, FM_UNBOUNDED);
    for (int k = 0; k < p->node[v].nin; k++) {
      fm_val a = fm_arg(p, v, k);
      if (before(m, a))
        fm_graph_connect(&m->g, 2 * a + 1, before(m, v) ? 2 * v : sink, FM_UNBOUNDED);
    }
  }
  fm_graph_cut(&m->g, source, sink);
}

/* For the readers after the cut. A cut nearest to them repeats least. */
static fm_val again(const remat *m, const fm_rewrite *late, fm_val v, fm_val early) {
  bool read = m->live[v] && before(m, v) && m->g.via[2 * v + 1] >= 0, kept = m->g.via[2 * v] < 0;
  if (!read) return early;
  if (kept) return (m->p->node[v].op->flags & FM_PART) ? fm_e1(late->q, &fm_op_copy, early) : early;
  fm_val copy = fm_copy_node(late, v);
  if (copy != FM_NONE) late->q->node[copy].rematerialised = true;
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
  m.g = fm_graph_new(&s, 2 * p->n + 2, 2 * p->n + p->nargs);
  if (!s.failed) cut(&m);
  fm_prog *q = rewrite(&s, &m);
  fm_pool_free(&s);
  return q;
}
