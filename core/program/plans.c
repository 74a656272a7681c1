/* plans.c - the plans of a run: opened for programs that agree with each other, and freed. */
#include "plans.h"

static fm_port in_port(const fm_prog *p, int k) {
  return (fm_port){p->node[p->in[k].v].sig, p->in[k].role == FM_ROWS};
}

static fm_port out_port(const fm_prog *p, int k) {
  return (fm_port){p->node[p->out[k].v].sig, p->out[k].merge == FM_STACK};
}

/* The ports of two traces are equal, except for the rows of what is split. */
static fm_err compare(fm_ctx *ctx, const char *what, int k, fm_port a, const fm_port *b) {
  char x[96], y[96];
  fm_shape rows = a.sig.shape;
  if (a.split && rows.nd > 0) rows.d[0] = b->sig.shape.d[0];
  if (a.split == b->split && a.sig.dtype == b->sig.dtype && fm_shape_eq(&rows, &b->sig.shape))
    return FM_OK;
  return fm_fail(ctx, FM_EUSAGE,
                 "program: %s %d is %s %s%s in one trace, %s %s%s in another; expected traces that "
                 "differ in the number of rows alone",
                 what, k + 1, fm_dtype_name(b->sig.dtype), fm_shape_text(&b->sig.shape, y),
                 b->split ? " in rows" : "", fm_dtype_name(a.sig.dtype),
                 fm_shape_text(&a.sig.shape, x), a.split ? " in rows" : "");
}

static fm_err check_program(const fm_plans *plans, const fm_prog *p) {
  fm_err err = p->err == FM_OK ? FM_OK : fm_failed_before(p);
  if (err == FM_OK && (p->nin != plans->nin || p->nout != plans->nout))
    err = fm_fail(plans->ctx, FM_EUSAGE,
                  "program: traces of different micro-batches have %d and %d inputs, %d and %d "
                  "outputs; expected equal numbers",
                  plans->nin, p->nin, plans->nout, p->nout);
  for (int k = 0; k < plans->nin && err == FM_OK; k++)
    err = compare(plans->ctx, "input", k, in_port(p, k), &plans->in[k]);
  for (int k = 0; k < plans->nout && err == FM_OK; k++)
    err = compare(plans->ctx, "output", k, out_port(p, k), &plans->out[k]);
  return err;
}

/* The first program states the ports; the others must agree. */
static fm_err read_ports(fm_plans *plans, int nprogs, fm_prog *const *progs) {
  const fm_prog *p = nprogs > 0 ? progs[0] : NULL;
  if (p == NULL)
    return fm_fail(plans->ctx, FM_EUSAGE, "program: no trace found, expected one or more");
  if (p->err != FM_OK) return fm_failed_before(p);
  plans->nin = p->nin, plans->nout = p->nout, plans->traced = p->n;
  plans->in = fm_take(&plans->pool, p->nin, fm_port);
  plans->out = fm_take(&plans->pool, p->nout, fm_port);
  if (plans->pool.failed) return FM_ENOMEM;
  for (int k = 0; k < p->nin; k++) plans->in[k] = in_port(p, k);
  for (int k = 0; k < p->nout; k++) plans->out[k] = out_port(p, k);
  fm_err err = FM_OK;
  for (int k = 1; k < nprogs && err == FM_OK; k++) err = check_program(plans, progs[k]);
  return err;
}

fm_plans *fm_plans_new(fm_ctx *ctx, int nprogs, fm_prog *const *progs) {
  fm_plans *plans = fm_alloc(ctx, sizeof *plans);
  if (plans == NULL) return NULL;
  *plans = (fm_plans){.ctx = ctx, .pool = {.ctx = ctx}};
  plans->pro.name = "prologue", plans->epi.name = "epilogue";
  if (read_ports(plans, nprogs, progs) == FM_OK) return plans;
  fm_plans_free(plans);
  return NULL;
}

static void free_parts(fm_parts *parts) {
  for (int k = 0; k < FM_PARTS; k++) fm_prog_free(parts->part[k]), fm_plan_free(parts->plan[k]);
}

void fm_plans_free(fm_plans *plans) {
  if (plans == NULL) return;
  free_parts(&plans->pro);
  free_parts(&plans->epi);
  for (int k = 0; plans->prog && k < plans->nbody; k++) fm_prog_free(plans->prog[k]);
  for (int k = 0; plans->body && k < plans->nbody; k++) fm_plan_free(plans->body[k]);
  fm_pool_free(&plans->pool);
  fm_free(plans->ctx, plans, sizeof *plans);
}
