/*
** groups.c - sums over many micro-batches. A lane adds up its micro-batches in their order; of more
** than FM_GROUP of them it starts again after each FM_GROUP, and the sums of these groups are added
** up in double. So the error of a sum does not grow with the number of micro-batches. Few of them
** need no further memory, and ordered runs, which are there to save memory, do without.
*/
#include <string.h>

#include "../kernels/rows.h"
#include "exe.h"

static bool grouped(const fm_exe *e) { return !e->ordered && e->nmicro > FM_GROUP * e->nlane; }

/* Values of output k of a body, if it is a sum. */
static int64_t values(const fm_exe *e, int k) {
  const fm_prog *p = e->plan[0]->p;
  return p->out[k].merge == FM_SUM ? fm_shape_count(&p->node[p->out[k].v].sig.shape) : 0;
}

size_t fm_groups_bytes(const fm_exe *e, int k) {
  return (size_t)values(e, k % e->h.nout) * sizeof(double);
}

fm_err fm_groups_make(fm_exe *e) {
  size_t n = (size_t)e->nlane * (size_t)e->h.nout;
  if (!grouped(e)) return FM_OK;
  if ((e->group = fm_alloc(e->ctx, n * sizeof *e->group)) == NULL) return FM_ENOMEM;
  memset(e->group, 0, n * sizeof *e->group);
  for (size_t k = 0; k < n; k++) {
    size_t bytes = fm_groups_bytes(e, (int)k);
    if ((e->group[k] = fm_alloc(e->ctx, bytes)) == NULL) return FM_ENOMEM;
    memset(e->group[k], 0, bytes);
  }
  return FM_OK;
}

void fm_groups_free(fm_exe *e) {
  for (int k = 0; e->group && k < e->nlane * e->h.nout; k++)
    fm_free(e->ctx, e->group[k], fm_groups_bytes(e, k));
  fm_free(e->ctx, e->group, (size_t)(e->nlane * e->h.nout) * sizeof *e->group);
}

bool fm_groups_first(const fm_exe *e, int micro) {
  int turn = micro / e->nlane; /* of the lane */
  return e->group ? turn % FM_GROUP == 0 : turn == 0;
}

void fm_groups_add(const fm_exe *e, int lane, int micro, void *const *sum) {
  const fm_prog *p = e->plan[0]->p;
  bool last = micro + e->nlane >= e->nmicro;
  if (e->group == NULL || !(last || fm_groups_first(e, micro + e->nlane))) return;
  for (int k = 0; k < e->h.nout; k++) {
    const fm_rows *kernel = fm_rows_of(p->node[p->out[k].v].sig.dtype);
    double *total = e->group[lane * e->h.nout + k];
    if (values(e, k) == 0) continue;
    kernel->sum_columns(1, values(e, k), sum[k], total);
    if (last) kernel->settle(values(e, k), total, sum[k]);
  }
}
