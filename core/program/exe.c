/*
** exe.c - an executable around its plans: checks that the traces fit the micro-batches, and gives
** the prologue's values and the partial sums their memory. compile.c fills in the plans.
*/
#include <string.h>

#include "exe.h"

/* ------------------------------------------------------------------ making */

/* A sample's number has 40 bits in the counter of its random numbers. */
#define MOST_SAMPLES ((int64_t)1 << 40)

static fm_err check_rows(fm_ctx *ctx, const fm_cut *cut) {
  for (int k = 0; k < cut->nmicro; k++)
    if (cut->row0[k] < 0 || cut->row0[k + 1] < cut->row0[k] || cut->row0[k + 1] > MOST_SAMPLES)
      return fm_fail(ctx, FM_EUSAGE,
                     "program: micro-batch %d has the samples %lld to %lld, expected ascending "
                     "numbers up to %lld",
                     k + 1, (long long)fm_plus(cut->row0[k], 1), (long long)cut->row0[k + 1],
                     (long long)MOST_SAMPLES);
  return FM_OK;
}

static fm_err copy_cut(fm_exe *e, const fm_cut *cut) {
  fm_err err = check_rows(e->ctx, cut);
  if (err != FM_OK) return err;
  e->nmicro = cut->nmicro;
  e->which = fm_alloc(e->ctx, (size_t)cut->nmicro * sizeof *e->which);
  e->row0 = fm_alloc(e->ctx, (size_t)(cut->nmicro + 1) * sizeof *e->row0);
  if (!e->which || !e->row0) return FM_ENOMEM;
  memcpy(e->which, cut->which, (size_t)cut->nmicro * sizeof *e->which);
  memcpy(e->row0, cut->row0, (size_t)(cut->nmicro + 1) * sizeof *e->row0);
  return FM_OK;
}

static fm_err copy_ports(fm_exe *e, const fm_prog *p) {
  e->nin = p->nin, e->nout = p->nout, e->traced = p->n;
  e->in = fm_alloc(e->ctx, (size_t)p->nin * sizeof *e->in);
  e->out = fm_alloc(e->ctx, (size_t)p->nout * sizeof *e->out);
  if (!e->in || !e->out) return FM_ENOMEM;
  for (int k = 0; k < p->nin; k++)
    e->in[k] = (fm_port){p->node[p->in[k].v].sig, p->in[k].role == FM_ROWS};
  for (int k = 0; k < p->nout; k++)
    e->out[k] = (fm_port){p->node[p->out[k].v].sig, p->out[k].merge == FM_STACK};
  return FM_OK;
}

/* Input or output k: as in the first trace, but for the rows of what is cut. */
static fm_err check_value(fm_exe *e, const char *what, int k, int64_t rows, fm_sig sig,
                          const fm_port *port) {
  char a[96], b[96];
  fm_sig want = port->sig;
  if (port->cut) want.shape.d[0] = rows;
  if ((!port->cut || sig.shape.nd > 0) && sig.dtype == want.dtype &&
      fm_shape_eq(&sig.shape, &want.shape))
    return FM_OK;
  return fm_fail(e->ctx, FM_EUSAGE,
                 "program: %s %d is %s %s in a micro-batch of %lld rows, expected "
                 "%s %s",
                 what, k + 1, fm_dtype_name(sig.dtype), fm_shape_text(&sig.shape, a),
                 (long long)rows, fm_dtype_name(want.dtype), fm_shape_text(&want.shape, b));
}

/* Every trace fits the rows of its micro-batches. */
static fm_err check_cut(fm_exe *e, fm_prog *const *progs) {
  fm_err err = FM_OK;
  for (int m = 0; m < e->nmicro && err == FM_OK; m++) {
    const fm_prog *p = progs[e->which[m]];
    int64_t rows = e->row0[m + 1] - e->row0[m];
    for (int k = 0; k < p->nin && err == FM_OK; k++)
      err = check_value(e, "input", k, rows, p->node[p->in[k].v].sig, &e->in[k]);
    for (int k = 0; k < p->nout && err == FM_OK; k++)
      err = check_value(e, "output", k, rows, p->node[p->out[k].v].sig, &e->out[k]);
  }
  return err;
}

static fm_err check_programs(fm_exe *e, fm_prog *const *progs, int nprogs) {
  for (int k = 0; k < nprogs; k++) {
    if (progs[k]->err != FM_OK) return progs[k]->err;
    if (progs[k]->nout != progs[0]->nout || progs[k]->nin != progs[0]->nin)
      return fm_fail(e->ctx, FM_EUSAGE,
                     "program: traces of different micro-batches have %d and %d "
                     "inputs, %d and %d outputs; expected equal numbers",
                     progs[0]->nin, progs[k]->nin, progs[0]->nout, progs[k]->nout);
  }
  fm_err err = copy_ports(e, progs[0]);
  return err == FM_OK ? check_cut(e, progs) : err;
}

/* Output k of a body. */
static bool added(const fm_exe *e, int k) { return e->plan[0]->p->out[k].merge == FM_SUM; }
static size_t out_bytes(const fm_exe *e, int k) {
  const fm_prog *p = e->plan[0]->p;
  return fm_sig_bytes(&p->node[p->out[k].v].sig);
}

#define LANE_BYTES ((size_t)128 << 20)

/* As many lanes as micro-batches, up to FM_MAX_LANES. Sums of more than LANE_BYTES have one lane:
** there the micro-batches take turns, and none can run far ahead of the one before it. */
void fm_exe_count_lanes(fm_exe *e, int passes) {
  size_t sums = 0;
  for (int k = 0; k < e->h.nout; k++) sums = fm_plus_bytes(sums, added(e, k) ? out_bytes(e, k) : 0);
  e->nlane = e->nmicro < FM_MAX_LANES ? e->nmicro : FM_MAX_LANES;
  e->ordered = e->nlane > 1 && (sums > LANE_BYTES || (passes & FM_SCARCE));
  if (e->ordered) e->nlane = 1;
}

static fm_err make_values(fm_exe *e) {
  size_t n = (size_t)e->h.nvalue;
  if ((e->value = fm_alloc(e->ctx, n * sizeof *e->value)) == NULL) return FM_ENOMEM;
  memset(e->value, 0, n * sizeof *e->value);
  for (size_t k = 0; k < n; k++)
    if ((e->value[k] = fm_alloc(e->ctx, fm_sig_bytes(&e->h.value[k]))) == NULL) return FM_ENOMEM;
  return FM_OK;
}

/* Part k of the epilogue makes output j of the job, and all its results in the arena. */
static bool makes(const fm_exe *e, int k, int j) {
  const fm_plan *plan = e->epi.plan[k];
  bool found = false;
  for (int i = 0; i < plan->p->nout; i++) {
    if (plan->loc[plan->p->out[i].v].where != AT_ARENA) return false;
    found = found || e->h.epilogue_out[e->h.epilogue.output[k][i]] == j;
  }
  return found;
}

/* May output j of the job hold sum number s until the epilogue has read it? In an ordered run only
** the part that makes j may read s. */
static bool may_hold(const fm_exe *e, int j, int s) {
  bool fine = true;
  for (int k = 0; e->ordered && k < e->epi.n; k++) {
    const fm_prog *p = e->epi.plan[k]->p;
    fine = fine && (!fm_is_read(p, p->in[e->nin + e->h.nvalue + s].v) || makes(e, k, j));
  }
  return fine;
}

/* The job's outputs of the epilogue are free until it runs: the last lane of a sum may be there. */
static void borrow_outputs(fm_exe *e) {
  int sum = 0;
  for (int k = 0; k < e->h.nout; k++) {
    e->borrow[k] = -1;
    if (e->h.body_out[k] >= 0) continue;
    for (int i = 0; i < e->h.epilogue.nout && e->borrow[k] < 0; i++) {
      int j = e->h.epilogue_out[i];
      bool fits = fm_sig_bytes(&e->out[j].sig) == out_bytes(e, k) && may_hold(e, j, sum);
      for (int l = 0; l < k; l++) fits = fits && e->borrow[l] != j;
      if (fits) e->borrow[k] = j;
    }
    sum++;
  }
}

static fm_err make_lanes(fm_exe *e) {
  int nout = e->h.nout;
  size_t n = (size_t)e->nlane * (size_t)nout;
  e->lane = fm_alloc(e->ctx, n * sizeof *e->lane);
  e->borrow = fm_alloc(e->ctx, 2 * (size_t)nout * sizeof *e->borrow);
  if (e->lane == NULL) return FM_ENOMEM;
  memset(e->lane, 0, n * sizeof *e->lane);
  if (e->borrow == NULL) return FM_ENOMEM;
  e->turn = e->borrow + nout;
  borrow_outputs(e);
  int last_lane = e->ordered ? 0 : 1;
  for (size_t k = 0; k < n; k++) {
    int out = (int)k % nout, lane = (int)k / nout;
    if (!added(e, out) || (lane == 0 && e->h.body_out[out] >= 0) ||
        (lane == last_lane && e->borrow[out] >= 0))
      continue; /* a tensor of the job's is used */
    e->lane[k] = fm_alloc(e->ctx, out_bytes(e, out));
    if (e->lane[k] == NULL) return FM_ENOMEM;
  }
  return FM_OK;
}

fm_exe *fm_exe_open(fm_ctx *ctx, int nprogs, fm_prog *const *progs, const fm_cut *cut) {
  if (nprogs < 1 || cut->nmicro < 1) {
    fm_fail(ctx, FM_EUSAGE, "program: no micro-batch found, expected one or more");
    return NULL;
  }
  fm_exe *e = fm_alloc(ctx, sizeof *e);
  if (e == NULL) return NULL;
  memset(e, 0, sizeof *e);
  e->ctx = ctx;
  if (copy_cut(e, cut) == FM_OK && check_programs(e, progs, nprogs) == FM_OK) return e;
  fm_exe_free(e);
  return NULL;
}

fm_err fm_exe_make_memory(fm_exe *e) {
  fm_err err = make_values(e);
  if (err == FM_OK) err = make_lanes(e);
  return err == FM_OK ? fm_groups_make(e) : err;
}

static void free_phase(fm_phase *phase) {
  for (int k = 0; k < phase->n; k++) fm_plan_free(phase->plan[k]);
}

static void free_lanes(fm_exe *e) {
  int nout = e->h.nout;
  for (int k = 0; e->lane && k < e->nlane * nout; k++)
    fm_free(e->ctx, e->lane[k], out_bytes(e, k % nout));
  fm_free(e->ctx, e->lane, (size_t)(e->nlane * nout) * sizeof *e->lane);
  fm_free(e->ctx, e->borrow, 2 * (size_t)nout * sizeof *e->borrow);
}

void fm_exe_free(fm_exe *e) {
  if (e == NULL) return;
  fm_exe_free_memory(e);
  fm_groups_free(e);
  free_lanes(e);
  for (int k = 0; e->value && k < e->h.nvalue; k++)
    fm_free(e->ctx, e->value[k], fm_sig_bytes(&e->h.value[k]));
  fm_free(e->ctx, e->value, (size_t)e->h.nvalue * sizeof *e->value);
  free_phase(&e->pro);
  free_phase(&e->epi);
  for (int k = 0; k < e->nplan; k++) fm_plan_free(e->plan[k]);
  fm_free(e->ctx, e->plan, (size_t)e->nprog * sizeof *e->plan);
  fm_hoisted_free(&e->h);
  fm_free(e->ctx, e->in, (size_t)e->nin * sizeof *e->in);
  fm_free(e->ctx, e->out, (size_t)e->nout * sizeof *e->out);
  fm_free(e->ctx, e->which, (size_t)e->nmicro * sizeof *e->which);
  fm_free(e->ctx, e->row0, (size_t)(e->nmicro + 1) * sizeof *e->row0);
  fm_free(e->ctx, e, sizeof *e);
}
