/*
** lanes.c - partial sums. Lane k adds up every nlane-th micro-batch from k on, in order; the lanes
** are added in a fixed tree. Of more than FM_GROUP micro-batches a lane starts again after each
** FM_GROUP, and the sums of these groups are added up in double: so the error of a sum does not
** grow with the number of micro-batches. Few of them need no further memory, and ordered runs,
** which are there to save memory, do without.
*/
#include "exe.h"

static fm_result result_of(const fm_exe *e, int k) {
  const fm_prog *p = e->plans->body[0]->p;
  const fm_sig *sig = &p->node[p->out[k].v].sig;
  bool added = p->out[k].merge == FM_SUM;
  return (fm_result){.dtype = sig->dtype,
                     .count = added ? fm_shape_count(&sig->shape) : 0,
                     .bytes = added ? fm_sig_bytes(sig) : 0,
                     .out = e->plans->result_out[k],
                     .borrowed = -1};
}

/* ------------------------------------------------------------------ memory */

/* Part k of the epilogue computes output j of the job, and all its outputs in the arena. */
static bool makes(const fm_exe *e, int k, int j) {
  const fm_plan *plan = e->plans->epi.plan[k];
  bool found = false;
  for (int i = 0; i < plan->p->nout; i++) {
    if (plan->loc[plan->p->out[i].v].where != AT_ARENA) return false;
    found = found || e->plans->epilogue_out[e->plans->epi.output[k][i]] == j;
  }
  return found;
}

/* May output j of the job hold sum number s until the epilogue has read it? In an ordered run only
** the part that makes j may read s. */
static bool may_hold(const fm_exe *e, int j, int s) {
  const fm_plans *plans = e->plans;
  bool fine = true;
  for (int k = 0; plans->ordered && k < plans->epi.n; k++) {
    const fm_prog *p = plans->epi.plan[k]->p;
    fine = fine && (!fm_is_read(p, p->in[plans->nin + plans->nvalue + s].v) || makes(e, k, j));
  }
  return fine;
}

/* The job's outputs of the epilogue are free until it runs: the last lane of a sum may be there. */
static void borrow_outputs(fm_exe *e) {
  const fm_plans *plans = e->plans;
  int sum = 0;
  for (int k = 0; k < plans->nresult; k++) {
    fm_result *r = &e->result[k];
    if (r->out >= 0) continue;
    for (int i = 0; i < plans->epi.nout && r->borrowed < 0; i++) {
      int j = plans->epilogue_out[i];
      bool fits = fm_sig_bytes(&plans->out[j].sig) == r->bytes && may_hold(e, j, sum);
      for (int l = 0; l < k; l++) fits = fits && e->result[l].borrowed != j;
      if (fits) r->borrowed = j;
    }
    sum++;
  }
}

/* The output of the job in which a lane's sum k is, or -1: it has memory of its own. */
static int job_output(const fm_exe *e, int lane, int k) {
  const fm_result *r = &e->result[k];
  if (lane == 0 && r->out >= 0) return r->out;
  return lane == (e->plans->ordered ? 0 : 1) ? r->borrowed : -1;
}

void *fm_lane_of(const fm_exe *e, const fm_job *job, int lane, int k) {
  int out = job_output(e, lane, k);
  return out >= 0 ? job->out[out]->data : e->lane[lane * e->plans->nresult + k];
}

/* As many lanes as micro-batches, up to FM_MAX_LANES. Large sums have one lane: there the
** micro-batches take turns, and none can run far ahead of the one before it. */
fm_err fm_lanes_make(fm_exe *e) {
  bool ordered = e->plans->ordered;
  e->nlane = ordered ? 1 : e->nmicro < FM_MAX_LANES ? e->nmicro : FM_MAX_LANES;
  int nout = e->plans->nresult, n = e->nlane * nout;
  bool grouped = !ordered && e->nmicro > FM_GROUP * e->nlane;
  e->result = fm_take(&e->pool, nout, fm_result);
  e->lane = fm_take(&e->pool, n, void *);
  e->group = grouped ? fm_take(&e->pool, n, double *) : NULL;
  if (e->pool.failed) return FM_ENOMEM;
  for (int k = 0; k < nout; k++) e->result[k] = result_of(e, k);
  borrow_outputs(e);
  for (int k = 0; k < n; k++) {
    const fm_result *r = &e->result[k % nout];
    if (grouped) e->group[k] = fm_take(&e->pool, r->count, double);
    if (r->count > 0 && job_output(e, k / nout, k % nout) < 0)
      e->lane[k] = fm_take_bytes(&e->pool, r->bytes);
  }
  return e->pool.failed ? FM_ENOMEM : FM_OK;
}

size_t fm_lanes_bytes(const fm_exe *e) {
  size_t total = 0;
  for (int k = 0; k < e->nlane * e->plans->nresult; k++) {
    const fm_result *r = &e->result[k % e->plans->nresult];
    total += (e->lane[k] ? r->bytes : 0) + (e->group ? (size_t)r->count * sizeof(double) : 0);
  }
  return total;
}

/* ------------------------------------------------------------------ adding */

bool fm_lanes_first(const fm_exe *e, int micro) {
  int turn = micro / e->nlane; /* of the lane */
  return e->group ? turn % FM_GROUP == 0 : turn == 0;
}

void fm_lanes_group(const fm_exe *e, int lane, int micro, void *const *sum) {
  bool last = micro + e->nlane >= e->nmicro;
  if (e->group == NULL || !(last || fm_lanes_first(e, micro + e->nlane))) return;
  for (int k = 0; k < e->plans->nresult; k++) {
    const fm_result *r = &e->result[k];
    const fm_rows *kernel = fm_rows_of(r->dtype);
    double *total = e->group[lane * e->plans->nresult + k];
    if (r->count == 0) continue;
    kernel->sum_columns(1, r->count, sum[k], total);
    if (last) kernel->settle(r->count, total, sum[k]);
  }
}

typedef struct addition {
  const fm_exe *e;
  const fm_job *job;
} addition;

/* Chunk `task` of the flat range of all sums: lane 0 <- (0 + 1) + (2 + 3). */
static void add_chunk(void *arg, int task) {
  const addition *a = arg;
  const fm_exe *e = a->e;
  int64_t from = (int64_t)task * LANE_CHUNK, at = 0;
  for (int k = 0; k < e->plans->nresult; k++) {
    const fm_result *r = &e->result[k];
    int64_t lo = from - at, hi = from + LANE_CHUNK - at;
    at += r->count;
    if (hi <= 0 || lo >= r->count) continue;
    lo = lo < 0 ? 0 : lo;
    hi = hi > r->count ? r->count : hi;
    fm_map add = fm_kernel_of(&fm_op_add, r->dtype)->map;
    char *part[FM_MAX_LANES];
    for (int l = 0; l < e->nlane; l++)
      part[l] = (char *)fm_lane_of(e, a->job, l, k) + (size_t)lo * fm_dtype_size(r->dtype);
    for (int gap = 1; gap < e->nlane; gap *= 2)
      for (int l = 0; l + gap < e->nlane; l += 2 * gap)
        add(hi - lo, part[l], part[l], part[l + gap], NULL, NULL);
  }
}

void fm_lanes_add(const fm_exe *e, const fm_job *job) {
  addition a = {e, job};
  int64_t total = 0;
  for (int k = 0; k < e->plans->nresult; k++) total += e->result[k].count;
  if (e->nlane > 1)
    fm_parallel(e->ctx, (int)((total + LANE_CHUNK - 1) / LANE_CHUNK), add_chunk, &a);
}
