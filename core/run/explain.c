/* explain.c - the total cost of a run, and a table of its steps with their times. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "costs.h"
#include "exe.h"
#include "../program/text.h"

static void add_plan(fm_stats *s, const fm_plan *plan) {
  for (int k = 0; k < plan->nstep; k++) {
    s->flops += fm_step_flops(plan, &plan->step[k]);
    s->moved += fm_step_bytes(plan, &plan->step[k]);
  }
}

fm_stats fm_exe_stats(const fm_exe *e) {
  const fm_plans *plans = e->plans;
  const fm_parts *parts[2] = {&plans->pro, &plans->epi};
  fm_stats s = {
      .traced = plans->traced, .executed = plans->body[0]->nstep, .arena = plans->body_size};
  for (int m = 0; m < e->nmicro; m++) add_plan(&s, plans->body[e->which[m]]);
  for (int i = 0; i < 2; i++)
    for (int k = 0; k < parts[i]->n; k++) {
      add_plan(&s, parts[i]->plan[k]);
      s.executed += parts[i]->plan[k]->nstep;
    }
  if (plans->part_size > s.arena) s.arena = plans->part_size;
  for (int k = 0; k < plans->nvalue; k++) s.once += fm_sig_bytes(&plans->value[k]);
  s.sums = fm_sums_bytes(e, fm_threads(e->ctx) < e->nmicro ? fm_threads(e->ctx) : e->nmicro, 1);
  s.ms_optimise = plans->ms_optimise, s.ms_plan = plans->ms_plan;
  return s;
}

/* ------------------------------------------------------------------ names */

/* Names of the first operations of a pass, equal neighbours once. */
static void pass_name(const fm_fused *f, char *text, size_t size) {
  const char *last = "";
  size_t n = 0;
  int more = 0;
  for (int k = 0; k < f->nvop + (f->nreduce > 0); k++) {
    const char *name = k < f->nvop ? f->vop[k].op->name : "sum";
    if (strcmp(name, last) == 0) continue;
    last = name;
    if (n + strlen(name) + 6 > size)
      more++;
    else
      n += (size_t)snprintf(text + n, size - n, "%s%s", n ? " " : "", name);
  }
  if (more) snprintf(text + n, size - n, " ..");
}

#define NAME 44

static void step_name(const fm_plan *plan, const fm_step *s, char text[NAME]) {
  static const char *const kind[] = {"", "", "copy", "accumulate", "store"};
  if (s->kind == STEP_OP) {
    snprintf(text, NAME, "%s%s", plan->p->node[s->v].op->name,
             plan->loc[s->v].where == AT_OUT && !plan->in_place ? " +=" : "");
  } else if (s->kind == STEP_FUSED) {
    const fm_fused *f = &plan->fused[s->index];
    int n = snprintf(text, NAME, "%d+%d: ", f->nvop, f->nreduce);
    pass_name(f, text + n, (size_t)(NAME - n));
  } else {
    snprintf(text, NAME, "%s", kind[s->kind]);
  }
}

/* ------------------------------------------------------------------ tables */

typedef struct total {
  const char *kind;
  int steps;
  double ms, flops, bytes;
} total;

typedef struct tally {
  total *of; /* per kind: an operation, or one of the OTHER_KINDS */
  int n;
  double ms;
} tally;

#define OTHER_KINDS 4 /* that fm_step_kind_name gives to steps that run no single operation */

static void count(tally *t, const fm_cost *c) {
  int k = 0;
  while (k < t->n && strcmp(t->of[k].kind, c->kind) != 0) k++;
  if (k == t->n) t->of[t->n++] = (total){c->kind, 0, 0, 0, 0};
  t->of[k].steps++;
  t->of[k].ms += c->times * c->ms;
  t->of[k].flops += c->times * c->flops;
  t->of[k].bytes += c->times * c->bytes;
  t->ms += c->times * c->ms;
}

static void list_step(FILE *out, int number, const fm_cost *c) {
  char name[NAME] = "", shape[96];
  const fm_plan *plan = c->plan;
  const fm_step *s = c->step;
  const fm_shape *sh =
      s->kind == STEP_FUSED ? &plan->fused[s->index].domain.shape : &plan->p->node[s->v].sig.shape;
  const double us = c->ms * 1e3;
  step_name(plan, s, name);
  fprintf(out, "%5d  %-*s %-20s %9.2f %9.1f %9.1f %8.1f %7.1f\n", number, NAME, name,
          fm_shape_text(sh, shape), c->flops * 1e-6, c->bytes / 1024, us,
          us > 0 ? c->flops / us * 1e-3 : 0, us > 0 ? c->bytes / us * 1e-3 : 0);
}

/* The line above the steps of a plan; c: the first of them. */
static void heading(FILE *out, const fm_exe *e, const fm_cost *c) {
  const fm_parts *parts = c->phase == FM_PROLOGUE ? &e->plans->pro : &e->plans->epi;
  int rows = 0;
  for (int m = 0; m < e->nmicro; m++)
    if (e->which[m] == c->part) rows = (int)(e->row0[m + 1] - e->row0[m]);
  if (c->phase == FM_BODY)
    fprintf(out, "micro-batch of %d rows, %d times of %d\n", rows, c->times, e->nmicro);
  else
    fprintf(out, "%s, once a run, part %d of %d\n", parts->name, c->part + 1, parts->n);
}

static int by_time(const void *a, const void *b) {
  const total *x = a, *y = b;
  return x->ms != y->ms ? (x->ms > y->ms ? -1 : 1) : strcmp(x->kind, y->kind);
}

static void list_totals(FILE *out, tally *t) {
  qsort(t->of, (size_t)t->n, sizeof *t->of, by_time);
  fprintf(
      out,
      "\ntotals of the run, processor time on one thread: %.1f ms\n%-20s %6s %10s %6s %9s %9s\n",
      t->ms, "kind", "steps", "ms", "%", "GFLOP/s", "GB/s");
  for (int k = 0; k < t->n; k++) {
    const total *x = &t->of[k];
    fprintf(out, "%-20s %6d %10.2f %6.1f %9.1f %9.1f\n", x->kind, x->steps, x->ms,
            t->ms > 0 ? 100 * x->ms / t->ms : 0, x->ms > 0 ? x->flops / x->ms * 1e-6 : 0,
            x->ms > 0 ? x->bytes / x->ms * 1e-6 : 0);
  }
}

/* list: the costs of all steps. Bodies that no micro-batch runs are left out. */
static void report(FILE *out, const fm_exe *e, const fm_cost *list, tally *t) {
  fprintf(out, "%5s  %-*s %-20s %9s %9s %9s %8s %7s\n", "step", NAME,
          "operation (fused: operations + sums)", "shape", "MFLOP", "KiB", "us", "GFLOP/s", "GB/s");
  for (const fm_cost *c = list; c < list + e->plans->nstep; c++) {
    const int number = (int)(c->step - c->plan->step);
    if (c->times == 0) continue;
    if (number == 0) heading(out, e, c);
    list_step(out, number + 1, c);
    count(t, c);
  }
  list_totals(out, t);
}

char *fm_exe_explain(fm_exe *e, const fm_job *job) {
  fm_pool pool = {.ctx = e->ctx};
  fm_cost *list = fm_take(&pool, e->plans->nstep, fm_cost);
  tally t = {.of = fm_take(&pool, fm_op_count() + OTHER_KINDS, total)};
  char *text = NULL;
  size_t n = 0;
  FILE *out = open_memstream(&text, &n);
  bool ok = out && !pool.failed && fm_exe_costs(e, job, list) == FM_OK;
  if (ok) report(out, e, list, &t);
  fm_pool_free(&pool);
  return fm_text_end(e->ctx, out, &text, ok);
}
