/*
** compile.c - the compiler: all passes in order, from traced programs to the plans of a run. Each
** pass stands in the file named for it. Those that map a program to a program can be left out, and
** the program that each leaves can be looked at (fm_pass_watch).
*/
#include <stdio.h>
#include <time.h>

#include "hoist.h"

enum { DERIVE, OPTIMISE, STACK, LOWER, HOIST, LOWER_FEW, RECOMPUTE, FUSE, PLAN, NPASS };

#define REWRITES "program -> program"

static const fm_pass fm_passes[NPASS] = {
    [DERIVE] = {"derive", "jvp and vjp emit the derivatives of a step into its trace.", REWRITES,
                0},
    [OPTIMISE] = {"optimise",
                  "Removes dead nodes, identities and equal nodes; reassociates products so that "
                  "fewer values stay live.",
                  REWRITES, FM_PASS_CSE | FM_PASS_REASSOCIATE},
    [STACK] = {"stack", "Merges independent calls that share an operand into one larger call.",
               REWRITES, FM_PASS_STACK},
    [LOWER] = {"lower", "Chooses the method of every convolution by its shape.", REWRITES,
               FM_PASS_LOWER},
    [HOIST] = {"hoist",
               "Moves what all micro-batches share into a prologue, and linear functions of their "
               "sums into an epilogue.",
               "programs -> prologue, bodies, epilogue", FM_PASS_HOIST},
    [LOWER_FEW] = {"lower_few",
                   "Chooses again for bodies with few images, whose transformed weights would be "
                   "larger than the images.",
                   REWRITES, FM_PASS_LOWER},
    [RECOMPUTE] = {"recompute",
                   "Rematerialises cheap values of a body whose plan would need much memory.",
                   REWRITES, FM_PASS_RECOMPUTE},
    [FUSE] = {"fuse", "Groups elementwise operations into passes that run block by block.",
              "program -> fused passes", FM_PASS_FUSE},
    [PLAN] = {"plan", "Schedules the steps and gives every value a place in one arena.",
              "program -> plan", 0}};

int fm_pass_count(void) { return NPASS; }
const fm_pass *fm_pass_at(int k) { return &fm_passes[k]; }

typedef struct compiler {
  fm_plans *plans;
  const fm_options *options;
  char part[32]; /* which program is being compiled, for the watch */
} compiler;

static void set_part(compiler *c, const char *name, int k) {
  snprintf(c->part, sizeof c->part, "%s %d", name, k + 1);
}

static void watch(const compiler *c, int pass, const fm_prog *p, const int *fused) {
  const fm_options *o = c->options;
  if (o->watch && p) o->watch(o->data, fm_passes[pass].name, c->part, p, fused);
}

/* One of the passes that map a program to a program; takes p over; NULL on failure. */
static fm_prog *run_pass(const compiler *c, int pass, fm_prog *p) {
  if (p && (c->options->passes & fm_passes[pass].switches)) {
    fm_prog *q = pass == STACK ? fm_stack(p) : fm_lower(p);
    fm_prog_free(p);
    p = q;
  }
  watch(c, pass, p, NULL);
  return p;
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* Choose between a body's plan, which rematerialises nothing, and two that do: returns the one with
** the smallest arena and frees the others. NULL on failure. */
static fm_plan *recompute(const compiler *c, fm_plan *plan) {
  int passes = c->options->passes, best = passes & FM_SCARCE ? 1 : 0;
  fm_plan *tried[3] = {plan};
  bool ok = true;
  if (!(passes & FM_PASS_RECOMPUTE) || !(best || plan->arena > LARGE_ARENA)) return plan;
  for (int k = 1; k < 3 && ok; k++) {
    fm_prog *p = fm_recompute(plan->p, plan->peak, k == 1 ? 0 : SCORES_FLOPS);
    tried[k] = p ? fm_plan_new(p, passes, false) : NULL;
    ok = tried[k] != NULL;
    if (ok && tried[k]->arena < tried[best]->arena) best = k;
  }
  for (int k = 0; k < 3; k++)
    if (!ok || k != best) fm_plan_free(tried[k]);
  return ok ? tried[best] : NULL;
}

/* Shows a finished plan and numbers its steps; *most: bytes that a worker needs to run it. */
static void finish(const compiler *c, fm_plan *plan, size_t *most) {
  size_t pointers = (size_t)(plan->p->nin + plan->p->nout) * sizeof(void *);
  size_t size = plan->arena + plan->blocks + pointers;
  for (int pass = FUSE; pass <= PLAN; pass++) watch(c, pass, plan->p, plan->group);
  if (size > *most) *most = size;
  plan->first = c->plans->nstep;
  c->plans->nstep += plan->nstep;
}

static fm_err compile_body(compiler *c, int k) {
  fm_plans *plans = c->plans;
  fm_prog *p = plans->prog[k];
  plans->prog[k] = NULL;
  set_part(c, "body", k);
  p->share = false; /* values rematerialised per reader are equal, and stay apart */
  p = run_pass(c, LOWER_FEW, p);
  fm_plan *plan = p ? fm_plan_new(p, c->options->passes, false) : NULL;
  if (plan == NULL || (plan = recompute(c, plan)) == NULL) return FM_ENOMEM;
  plans->body[k] = plan;
  watch(c, RECOMPUTE, plan->p, NULL);
  finish(c, plan, &plans->body_size);
  return FM_OK;
}

static fm_err compile_bodies(compiler *c) {
  fm_plans *plans = c->plans;
  fm_err err = FM_OK;
  plans->body = fm_take(&plans->pool, plans->nbody, fm_plan *);
  if (plans->body == NULL) return FM_ENOMEM;
  for (int k = 0; k < plans->nbody && err == FM_OK; k++) err = compile_body(c, k);
  return err;
}

/* Plan the parts of the prologue or of the epilogue. */
static fm_err compile_parts(compiler *c, fm_parts *parts, bool in_place) {
  for (int k = 0; k < parts->n; k++) {
    fm_prog *p = parts->part[k];
    parts->part[k] = NULL;
    if ((parts->plan[k] = fm_plan_new(p, c->options->passes, in_place)) == NULL) return FM_ENOMEM;
    set_part(c, parts->name, k);
    finish(c, parts->plan[k], &c->plans->part_size);
  }
  return FM_OK;
}

static void watch_hoisted(compiler *c, const char *name, int n, fm_prog *const *part) {
  for (int k = 0; k < n; k++) set_part(c, name, k), watch(c, HOIST, part[k], NULL);
}

/* Compile each program by itself, then hoist from all of them together. */
static fm_err compile_programs(compiler *c, int n, fm_prog *const *progs) {
  fm_plans *plans = c->plans;
  fm_prog **p = fm_take(&plans->pool, n, fm_prog *);
  fm_err err = p ? FM_OK : FM_ENOMEM;
  for (int k = 0; k < n && err == FM_OK; k++) {
    set_part(c, "program", k);
    watch(c, DERIVE, progs[k], NULL);
    p[k] = fm_optimise(progs[k], c->options->passes);
    watch(c, OPTIMISE, p[k], NULL);
    p[k] = run_pass(c, STACK, p[k]);
    p[k] = run_pass(c, LOWER, p[k]);
    if (p[k] == NULL) err = FM_ENOMEM;
  }
  if (err == FM_OK) err = fm_hoist(plans, n, p, c->options->passes);
  for (int k = 0; p && k < n; k++) fm_prog_free(p[k]); /* those that hoisting did not take over */
  if (err != FM_OK) return err;
  watch_hoisted(c, plans->pro.name, plans->pro.n, plans->pro.part);
  watch_hoisted(c, "body", plans->nbody, plans->prog);
  watch_hoisted(c, plans->epi.name, plans->epi.n, plans->epi.part);
  return FM_OK;
}

/* Whether the sums of a body are so large that two micro-batches share their memory. */
static bool large_sums(const fm_prog *body, int passes) {
  size_t sums = 0;
  for (int k = 0; k < body->nout; k++)
    if (body->out[k].merge == FM_SUM) sums = fm_plus_bytes(sums, fm_bytes_of(body, body->out[k].v));
  return sums > SUM_BYTES || (passes & FM_SCARCE);
}

fm_plans *fm_compile(fm_ctx *ctx, int nprogs, fm_prog *const *progs, const fm_options *options) {
  fm_plans *plans = fm_plans_new(ctx, nprogs, progs);
  compiler c = {.plans = plans, .options = options};
  if (plans == NULL) return NULL;
  double start = now_ms();
  fm_err err = compile_programs(&c, nprogs, progs);
  plans->ms_optimise = now_ms() - start;
  if (err == FM_OK) err = compile_parts(&c, &plans->pro, true);
  if (err == FM_OK) err = compile_bodies(&c);
  if (err == FM_OK) plans->ordered = large_sums(plans->body[0]->p, options->passes);
  /* The epilogue of an ordered run finds sums where its results go: these are stored last. */
  if (err == FM_OK) err = compile_parts(&c, &plans->epi, !plans->ordered);
  plans->ms_plan = now_ms() - start - plans->ms_optimise;
  if (err == FM_OK) return plans;
  fm_plans_free(plans);
  return NULL;
}
