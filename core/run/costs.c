/* costs.c - the cost of each step of a run. */
#include "costs.h"
#include "exe.h"

int fm_exe_steps(const fm_exe *e) { return e->plans->nstep; }

int fm_exe_micros(const fm_exe *e, const int **which, int *leaf) {
  *which = e->which;
  *leaf = e->leaf;
  return e->nmicro;
}

static bool rounds(const fm_plan *plan, const fm_step *s) {
  const fm_prog *p = plan->p;
  if (!plan->bf16 || s->kind != STEP_OP || !p->node[s->v].op->rounds) return false;
  const fm_val *x = fm_ins(p, s->v);
  const fm_sig in[2] = {p->node[x[0]].sig, p->node[x[1]].sig};
  return in[0].dtype == FM_F32 && p->node[s->v].op->rounds(in, &p->node[s->v].sig);
}

/* Only bodies add to sums over micro-batches; stacked rows are not sums. */
static int sum_of(const fm_exe *e, const fm_plan *plan, const fm_step *s, fm_phase phase) {
  int k = phase == FM_BODY ? fm_step_sum(plan, s) : -1;
  return k >= 0 && e->result[k].count > 0 ? k : -1;
}

/* How often fm_exe_do runs the steps of this part. */
static int times_of(const fm_exe *e, fm_phase phase, int part) {
  int n = 0;
  if (phase != FM_BODY) return 1;
  for (int m = 0; m < e->nmicro; m++) n += e->which[m] == part;
  return n;
}

static fm_cost *list_plan(const fm_exe *e, const fm_plan *plan, fm_phase phase, int part,
                          const double *ms, fm_cost *list) {
  int times = times_of(e, phase, part);
  for (int k = 0; k < plan->nstep; k++) {
    const fm_step *s = &plan->step[k];
    int sum = sum_of(e, plan, s, phase);
    *list++ = (fm_cost){.phase = phase,
                        .part = part,
                        .times = times,
                        .plan = plan,
                        .step = s,
                        .kind = fm_step_kind_name(plan, s),
                        .bf16 = rounds(plan, s),
                        .flops = fm_step_flops(plan, s),
                        .bytes = fm_step_bytes(plan, s),
                        .ms = ms && times ? ms[plan->first + k] / times : 0,
                        .sum = sum,
                        .values = sum >= 0 ? e->result[sum].count : 0};
  }
  return list;
}

fm_err fm_exe_costs(fm_exe *e, const fm_job *job, fm_cost *list) {
  const fm_plans *plans = e->plans;
  fm_pool pool = {.ctx = e->ctx};
  double *ms = job ? fm_take(&pool, plans->nstep, double) : NULL;
  fm_err err = pool.failed ? FM_ENOMEM : FM_OK;
  /* A first run, so that no step is charged with the first touch of its memory. */
  if (job && err == FM_OK) err = fm_exe_do(e, job, 1, NULL);
  if (job && err == FM_OK) err = fm_exe_do(e, job, 1, ms);
  for (int k = 0; k < plans->pro.n; k++)
    list = list_plan(e, plans->pro.plan[k], FM_PROLOGUE, k, ms, list);
  for (int k = 0; k < plans->nbody; k++) list = list_plan(e, plans->body[k], FM_BODY, k, ms, list);
  for (int k = 0; k < plans->epi.n; k++)
    list = list_plan(e, plans->epi.plan[k], FM_EPILOGUE, k, ms, list);
  fm_pool_free(&pool);
  return err;
}
