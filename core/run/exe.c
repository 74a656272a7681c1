/* exe.c - opens an executable, if the traces fit the micro-batches, and frees all that it has. */
#include "exe.h"

#include <string.h>

static fm_err check_samples(fm_ctx *ctx, const fm_micro_batches *micro) {
  for (int k = 0; k < micro->nmicro; k++)
    if (micro->row0[k] < 0 || micro->row0[k + 1] < micro->row0[k] ||
        micro->row0[k + 1] > MOST_SAMPLES)
      return fm_fail(ctx, FM_EUSAGE,
                     "program: micro-batch %d has the samples %lld to %lld, expected ascending "
                     "numbers up to %lld",
                     k + 1, (long long)fm_plus(micro->row0[k], 1), (long long)micro->row0[k + 1],
                     (long long)MOST_SAMPLES);
  return FM_OK;
}

/* Copies of the micro-batches and of the first program's inputs and outputs. */
static fm_err make_tables(fm_exe *e, const fm_prog *p, const fm_micro_batches *micro) {
  e->nmicro = micro->nmicro, e->nin = p->nin, e->nout = p->nout, e->traced = p->n;
  e->which = fm_take(&e->pool, micro->nmicro, int);
  e->row0 = fm_take(&e->pool, micro->nmicro + 1, int64_t);
  e->in = fm_take(&e->pool, p->nin, fm_port), e->out = fm_take(&e->pool, p->nout, fm_port);
  if (e->pool.failed) return FM_ENOMEM;
  memcpy(e->which, micro->which, (size_t)micro->nmicro * sizeof *e->which);
  memcpy(e->row0, micro->row0, (size_t)(micro->nmicro + 1) * sizeof *e->row0);
  for (int k = 0; k < p->nin; k++)
    e->in[k] = (fm_port){p->node[p->in[k].v].sig, p->in[k].role == FM_ROWS};
  for (int k = 0; k < p->nout; k++)
    e->out[k] = (fm_port){p->node[p->out[k].v].sig, p->out[k].merge == FM_STACK};
  return FM_OK;
}

/* Input or output k must be as in the first trace, except for the rows of what is split. */
static fm_err check_value(fm_exe *e, const char *what, int k, int64_t rows, fm_sig sig,
                          const fm_port *port) {
  char a[96], b[96];
  fm_sig want = port->sig;
  if (port->split) want.shape.d[0] = rows;
  if ((!port->split || sig.shape.nd > 0) && fm_same_sig(&sig, &want)) return FM_OK;
  return fm_fail(e->ctx, FM_EUSAGE,
                 "program: %s %d is %s %s in a micro-batch of %lld rows, expected "
                 "%s %s",
                 what, k + 1, fm_dtype_name(sig.dtype), fm_shape_text(&sig.shape, a),
                 (long long)rows, fm_dtype_name(want.dtype), fm_shape_text(&want.shape, b));
}

/* Every trace fits the rows of its micro-batches. */
static fm_err check_rows(fm_exe *e, fm_prog *const *progs) {
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
  return FM_OK;
}

fm_exe *fm_exe_open(fm_ctx *ctx, int nprogs, fm_prog *const *progs, const fm_micro_batches *micro) {
  if (nprogs < 1 || micro->nmicro < 1) {
    fm_fail(ctx, FM_EUSAGE, "program: no micro-batch found, expected one or more");
    return NULL;
  }
  fm_exe *e = fm_alloc(ctx, sizeof *e);
  if (e == NULL) return NULL;
  *e = (fm_exe){.ctx = ctx, .pool = {.ctx = ctx}, .workers = {.ctx = ctx}};
  fm_err err = check_samples(ctx, micro);
  if (err == FM_OK) err = check_programs(e, progs, nprogs);
  if (err == FM_OK) err = make_tables(e, progs[0], micro);
  if (err == FM_OK) err = check_rows(e, progs);
  if (err == FM_OK) return e;
  fm_exe_free(e);
  return NULL;
}

void fm_exe_free(fm_exe *e) {
  if (e == NULL) return;
  fm_pool_free(&e->workers);
  for (int k = 0; k < e->h.pro.n; k++) fm_plan_free(e->h.pro.plan[k]);
  for (int k = 0; k < e->h.epi.n; k++) fm_plan_free(e->h.epi.plan[k]);
  for (int k = 0; k < e->nplan; k++) fm_plan_free(e->plan[k]);
  fm_hoisted_free(&e->h);
  fm_pool_free(&e->pool);
  fm_free(e->ctx, e, sizeof *e);
}
