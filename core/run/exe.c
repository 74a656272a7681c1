/* exe.c - opens an executable, if the plans fit the micro-batches, and frees it. */
#include "exe.h"

#include <string.h>

static fm_err check_micro(const fm_plans *plans, const fm_micro_batches *micro) {
  fm_ctx *ctx = plans->ctx;
  if (micro->nmicro < 1)
    return fm_fail(ctx, FM_EUSAGE, "program: no micro-batch found, expected one or more");
  for (int k = 0; k < micro->nmicro; k++)
    if (micro->which[k] < 0 || micro->which[k] >= plans->nbody)
      return fm_fail(ctx, FM_EUSAGE, "program: micro-batch %d runs program %d, expected 1 to %d",
                     k + 1, micro->which[k] + 1, plans->nbody);
  for (int k = 0; k < micro->nmicro; k++)
    if (micro->row0[k] < 0 || micro->row0[k + 1] < micro->row0[k] ||
        micro->row0[k + 1] > FM_RNG_SAMPLES)
      return fm_fail(ctx, FM_EUSAGE,
                     "program: micro-batch %d has the samples %lld to %lld, expected ascending "
                     "numbers up to %lld",
                     k + 1, (long long)fm_plus(micro->row0[k], 1), (long long)micro->row0[k + 1],
                     (long long)FM_RNG_SAMPLES);
  return FM_OK;
}

/* A split input or output has one row per sample. */
static fm_err check_port(fm_ctx *ctx, const char *what, int k, int64_t rows, const fm_sig *sig,
                         bool split) {
  char a[96];
  if (!split || (sig->shape.nd > 0 && sig->shape.d[0] == rows)) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE,
                 "program: %s %d is %s %s in a micro-batch of %lld rows, expected as many rows",
                 what, k + 1, fm_dtype_name(sig->dtype), fm_shape_text(&sig->shape, a),
                 (long long)rows);
}

static fm_err check_rows(const fm_plans *plans, const fm_prog *body, int64_t rows) {
  fm_err err = FM_OK;
  for (int k = 0; k < plans->nin && err == FM_OK; k++)
    err = check_port(plans->ctx, "input", k, rows, &body->node[body->in[k].v].sig,
                     plans->in[k].split);
  for (int k = 0; k < plans->nresult && err == FM_OK; k++)
    err = check_port(plans->ctx, "output", plans->result_out[k], rows,
                     &body->node[body->out[k].v].sig, body->out[k].merge == FM_STACK);
  return err;
}

static fm_err make_tables(fm_exe *e, const fm_micro_batches *micro) {
  const fm_plans *plans = e->plans;
  fm_err err = FM_OK;
  e->nmicro = micro->nmicro;
  e->which = fm_take(&e->pool, e->nmicro, int);
  e->row0 = fm_take(&e->pool, e->nmicro + 1, int64_t);
  e->done = fm_take(&e->pool, e->nmicro, bool);
  e->value = fm_take(&e->pool, plans->nvalue, void *);
  for (int k = 0; k < plans->nvalue && !e->pool.failed; k++)
    e->value[k] = fm_take_bytes(&e->pool, fm_sig_bytes(&plans->value[k]));
  if (e->pool.failed) return FM_ENOMEM;
  memcpy(e->which, micro->which, (size_t)e->nmicro * sizeof *e->which);
  memcpy(e->row0, micro->row0, (size_t)(e->nmicro + 1) * sizeof *e->row0);
  for (int m = 0; m < e->nmicro && err == FM_OK; m++)
    err = check_rows(plans, plans->body[e->which[m]]->p, e->row0[m + 1] - e->row0[m]);
  return err;
}

fm_exe *fm_exe_of(fm_plans *plans, const fm_micro_batches *micro) {
  fm_ctx *ctx = plans->ctx;
  fm_exe *e = fm_alloc(ctx, sizeof *e);
  if (e == NULL) {
    fm_plans_free(plans);
    return NULL;
  }
  *e = (fm_exe){.ctx = ctx, .plans = plans, .pool = {.ctx = ctx}, .workers = {.ctx = ctx}};
  pthread_mutex_init(&e->lock, NULL);
  pthread_cond_init(&e->added, NULL);
  fm_err err = check_micro(plans, micro);
  if (err == FM_OK) err = make_tables(e, micro);
  if (err == FM_OK) err = fm_sums_make(e);
  if (err == FM_OK) return e;
  fm_exe_free(e);
  return NULL;
}

/* Remember the constants of the programs, also those of which only a copy is left in the plans. */
static fm_err hold(fm_exe *e, int nprogs, fm_prog *const *progs) {
  int n = 0;
  for (int k = 0; k < nprogs; k++) n += progs[k]->nconst;
  if ((e->held = fm_take(&e->pool, n, fm_held)) == NULL) return FM_ENOMEM;
  for (int k = 0; k < nprogs; k++)
    for (int i = 0; i < progs[k]->nconst; i++) {
      fm_tensor *t = fm_tensor_keep(progs[k]->constant[i]);
      e->held[e->nheld++] = (fm_held){t, fm_tensor_writes(t)};
    }
  return FM_OK;
}

fm_exe *fm_exe_new(fm_ctx *ctx, int nprogs, fm_prog *const *progs, const fm_micro_batches *micro,
                   int passes) {
  fm_plans *plans = fm_compile(ctx, nprogs, progs, &(fm_options){.passes = passes});
  fm_exe *e = plans ? fm_exe_of(plans, micro) : NULL;
  if (e == NULL || hold(e, nprogs, progs) == FM_OK) return e;
  fm_exe_free(e);
  return NULL;
}

void fm_exe_free(fm_exe *e) {
  if (e == NULL) return;
  fm_share_close(e);
  for (int k = 0; k < e->nheld; k++) fm_tensor_drop(e->held[k].t);
  fm_pool_free(&e->workers);
  fm_pool_free(&e->pool);
  fm_plans_free(e->plans);
  pthread_cond_destroy(&e->added);
  pthread_mutex_destroy(&e->lock);
  fm_free(e->ctx, e, sizeof *e);
}
