/*
** run.c - replay: the batch is cut into fixed micro-batches; lanes take every FM_MAX_LANES-th of
** them, each in order, and keep a partial sum; any free worker takes the next micro-batch of the
** lane that is furthest behind. The lanes are added in a fixed order. So results depend on the cut,
** never on the number of threads or their speed.
*/
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

struct fm_exe {
  fm_ctx *ctx;
  int nprog, nplan, nmicro, nlane, nout, nworker;
  fm_plan **plan; /* room for nprog, nplan made */
  int *which;
  int64_t *row0;
  int traced;
  size_t arena, scratch, memory_size; /* per worker; behind both, pointers to inputs and outputs */
  char **memory;                      /* per worker, nworker of them */
  void **lane;                        /* nlane x nout; lane 0 is the caller's tensors */
};

/* ------------------------------------------------------------------ making */

static fm_err copy_cut(fm_exe *e, const fm_cut *cut) {
  e->nmicro = cut->nmicro;
  e->nlane = cut->nmicro < FM_MAX_LANES ? cut->nmicro : FM_MAX_LANES;
  e->which = fm_alloc(e->ctx, (size_t)cut->nmicro * sizeof *e->which);
  e->row0 = fm_alloc(e->ctx, (size_t)(cut->nmicro + 1) * sizeof *e->row0);
  if (!e->which || !e->row0) return FM_ENOMEM;
  memcpy(e->which, cut->which, (size_t)cut->nmicro * sizeof *e->which);
  memcpy(e->row0, cut->row0, (size_t)(cut->nmicro + 1) * sizeof *e->row0);
  return FM_OK;
}

static fm_err make_plans(fm_exe *e, fm_prog *const *progs, int nprogs, int passes) {
  e->plan = fm_alloc(e->ctx, (size_t)nprogs * sizeof *e->plan);
  if (e->plan == NULL) return FM_ENOMEM;
  e->nprog = nprogs;
  for (int k = 0; k < nprogs; k++) {
    if (progs[k]->err != FM_OK) return progs[k]->err;
    if (progs[k]->nout != progs[0]->nout || progs[k]->nin != progs[0]->nin)
      return fm_fail(e->ctx, FM_EUSAGE,
                     "program: traces of different micro-batches have %d and %d "
                     "inputs, %d and %d outputs; expected equal numbers",
                     progs[0]->nin, progs[k]->nin, progs[0]->nout, progs[k]->nout);
    e->plan[k] = fm_plan_new(progs[k], passes);
    if (e->plan[k] == NULL) return fm_error_code(e->ctx);
    e->nplan++;
    if (e->plan[k]->arena > e->arena) e->arena = e->plan[k]->arena;
    if (e->plan[k]->scratch > e->scratch) e->scratch = e->plan[k]->scratch;
  }
  e->nout = progs[0]->nout;
  e->memory_size = e->arena + e->scratch + (size_t)(progs[0]->nin + e->nout) * sizeof(void *);
  e->traced = progs[0]->n;
  return FM_OK;
}

/* Input or output k: as in the first trace, but for the rows of what is cut. */
static fm_err check_value(fm_exe *e, const char *what, int k, bool cut, int64_t rows, fm_sig sig,
                          fm_sig want) {
  char a[96], b[96];
  if (cut) want.shape.d[0] = rows;
  if ((!cut || sig.shape.nd > 0) && sig.dtype == want.dtype && fm_shape_eq(&sig.shape, &want.shape))
    return FM_OK;
  return fm_fail(e->ctx, FM_EUSAGE,
                 "program: %s %d is %s %s in a micro-batch of %lld rows, expected "
                 "%s %s",
                 what, k + 1, fm_dtype_name(sig.dtype), fm_shape_text(&sig.shape, a),
                 (long long)rows, fm_dtype_name(want.dtype), fm_shape_text(&want.shape, b));
}

/* Every trace fits the rows of its micro-batches. */
static fm_err check_cut(fm_exe *e) {
  const fm_prog *first = e->plan[0]->p;
  fm_err err = FM_OK;
  for (int m = 0; m < e->nmicro && err == FM_OK; m++) {
    const fm_prog *p = e->plan[e->which[m]]->p;
    int64_t rows = e->row0[m + 1] - e->row0[m];
    for (int k = 0; k < p->nin && err == FM_OK; k++)
      err = check_value(e, "input", k, first->in[k].role == FM_ROWS, rows, p->node[p->in[k].v].sig,
                        first->node[first->in[k].v].sig);
    for (int k = 0; k < p->nout && err == FM_OK; k++)
      err = check_value(e, "output", k, first->out[k].merge == FM_STACK, rows,
                        p->node[p->out[k].v].sig, first->node[first->out[k].v].sig);
  }
  return err;
}

static fm_err make_lanes(fm_exe *e) {
  size_t n = (size_t)(e->nlane * e->nout);
  const fm_prog *p = e->plan[0]->p;
  e->lane = fm_alloc(e->ctx, n * sizeof *e->lane);
  if (e->lane == NULL) return FM_ENOMEM;
  memset(e->lane, 0, n * sizeof *e->lane);
  for (size_t k = (size_t)e->nout; k < n; k++) {
    const struct fm_out *out = &p->out[k % (size_t)e->nout];
    if (out->merge != FM_SUM) continue;
    e->lane[k] = fm_alloc(e->ctx, fm_sig_bytes(&p->node[out->v].sig));
    if (e->lane[k] == NULL) return FM_ENOMEM;
  }
  return FM_OK;
}

fm_exe *fm_exe_new(fm_ctx *ctx, int nprogs, fm_prog *const *progs, const fm_cut *cut, int passes) {
  if (nprogs < 1 || cut->nmicro < 1) {
    fm_fail(ctx, FM_EUSAGE, "program: no micro-batch found, expected one or more");
    return NULL;
  }
  fm_exe *e = fm_alloc(ctx, sizeof *e);
  if (e == NULL) return NULL;
  memset(e, 0, sizeof *e);
  e->ctx = ctx;
  if (copy_cut(e, cut) == FM_OK && make_plans(e, progs, nprogs, passes) == FM_OK &&
      check_cut(e) == FM_OK && make_lanes(e) == FM_OK)
    return e;
  fm_exe_free(e);
  return NULL;
}

static void free_memory(fm_exe *e) {
  for (int k = 0; k < e->nworker; k++) fm_free(e->ctx, e->memory[k], e->memory_size);
  fm_free(e->ctx, e->memory, (size_t)e->nworker * sizeof *e->memory);
  e->memory = NULL;
  e->nworker = 0;
}

void fm_exe_free(fm_exe *e) {
  if (e == NULL) return;
  free_memory(e);
  for (int k = e->nout; e->lane && k < e->nlane * e->nout; k++) {
    const fm_prog *p = e->plan[0]->p;
    fm_free(e->ctx, e->lane[k], fm_sig_bytes(&p->node[p->out[k % e->nout].v].sig));
  }
  fm_free(e->ctx, e->lane, (size_t)(e->nlane * e->nout) * sizeof *e->lane);
  for (int k = 0; k < e->nplan; k++) fm_plan_free(e->plan[k]);
  fm_free(e->ctx, e->plan, (size_t)e->nprog * sizeof *e->plan);
  fm_free(e->ctx, e->which, (size_t)e->nmicro * sizeof *e->which);
  fm_free(e->ctx, e->row0, (size_t)(e->nmicro + 1) * sizeof *e->row0);
  fm_free(e->ctx, e, sizeof *e);
}

/* An arena for each worker; the number of threads may have changed since the last run. */
static fm_err make_memory(fm_exe *e, int n) {
  if (e->nworker == n) return FM_OK;
  free_memory(e);
  e->memory = fm_alloc(e->ctx, (size_t)n * sizeof *e->memory);
  if (e->memory == NULL) return FM_ENOMEM;
  memset(e->memory, 0, (size_t)n * sizeof *e->memory);
  e->nworker = n;
  for (int k = 0; k < n; k++)
    if ((e->memory[k] = fm_alloc(e->ctx, e->memory_size)) == NULL) {
      free_memory(e); /* a later run starts anew */
      return FM_ENOMEM;
    }
  return FM_OK;
}

/* ------------------------------------------------------------------ checking a job */

fm_sig fm_exe_out(const fm_exe *e, int k, fm_merge *merge) {
  const fm_prog *p = e->plan[0]->p;
  fm_sig sig = p->node[p->out[k].v].sig;
  *merge = p->out[k].merge;
  if (*merge == FM_STACK) sig.shape.d[0] = e->row0[e->nmicro] - e->row0[0];
  return sig;
}

int fm_exe_ins(const fm_exe *e) { return e->plan[0]->p->nin; }
int fm_exe_outs(const fm_exe *e) { return e->nout; }

static fm_err check_tensor(fm_exe *e, const char *what, int k, const fm_tensor *t, fm_sig want) {
  char a[96], b[96];
  if (t && t->dtype == want.dtype && fm_shape_eq(&t->shape, &want.shape)) return FM_OK;
  return fm_fail(e->ctx, FM_EUSAGE, "program: %s %d is %s %s, expected %s %s", what, k + 1,
                 t ? fm_dtype_name(t->dtype) : "absent", t ? fm_shape_text(&t->shape, a) : "",
                 fm_dtype_name(want.dtype), fm_shape_text(&want.shape, b));
}

static fm_err check_job(fm_exe *e, const fm_job *job) {
  const fm_prog *p = e->plan[0]->p;
  for (int k = 0; k < p->nin; k++) {
    fm_sig want = p->node[p->in[k].v].sig;
    if (p->in[k].role == FM_ROWS) want.shape.d[0] = e->row0[e->nmicro] - e->row0[0];
    fm_err err = check_tensor(e, "input", k, job->in[k], want);
    if (err != FM_OK) return err;
  }
  for (int k = 0; k < e->nout; k++) {
    fm_merge merge;
    fm_err err = check_tensor(e, "output", k, job->out[k], fm_exe_out(e, k, &merge));
    if (err != FM_OK) return err;
  }
  return FM_OK;
}

/* ------------------------------------------------------------------ running */

typedef struct race { /* what the workers of one run share */
  fm_exe *e;
  const fm_job *job;
  pthread_mutex_t lock;
  pthread_cond_t freed;   /* a lane may be taken again */
  int next[FM_MAX_LANES]; /* next micro-batch of each lane */
  bool busy[FM_MAX_LANES];
  double *ms; /* explain: time per step, or NULL */
} race;

static size_t row_bytes(const fm_tensor *t) {
  return t->shape.d[0] ? t->bytes / (size_t)t->shape.d[0] : 0;
}

static void run_micro(race *r, int lane, int micro, char *memory) {
  fm_exe *e = r->e;
  const fm_plan *plan = e->plan[e->which[micro]];
  void **in = (void **)(memory + e->arena + e->scratch), **out = in + plan->p->nin;
  size_t first = (size_t)(e->row0[micro] - e->row0[0]);
  for (int k = 0; k < plan->p->nin; k++) {
    char *data = r->job->in[k]->data;
    in[k] = plan->p->in[k].role == FM_ROWS ? data + first * row_bytes(r->job->in[k]) : data;
  }
  for (int k = 0; k < e->nout; k++) {
    fm_tensor *t = r->job->out[k];
    if (plan->p->out[k].merge == FM_STACK)
      out[k] = (char *)t->data + first * row_bytes(t);
    else
      out[k] = lane == 0 ? t->data : e->lane[lane * e->nout + k];
  }
  fm_frame f = {.plan = plan,
                .arena = memory,
                .scratch = memory + e->arena,
                .in = in,
                .lane = out,
                .first = micro < e->nlane,
                .row0 = e->row0[micro],
                .rng = {.seed = r->job->seed, .step = r->job->step}};
  for (int k = 0; k < plan->nstep; k++) {
    bool timed = r->ms && e->which[micro] == 0;
    double start = timed ? fm_now_ms() : 0;
    fm_step_run(&plan->step[k], &f);
    if (timed) r->ms[k] += fm_now_ms() - start;
  }
}

/* The free lane that is furthest behind; -1: none now; *left: work remains. */
static int pick_lane(race *r, bool *left) {
  int best = -1;
  *left = false;
  for (int k = 0; k < r->e->nlane; k++) {
    if (r->next[k] >= r->e->nmicro) continue;
    *left = true;
    if (!r->busy[k] && (best < 0 || r->next[k] < r->next[best])) best = k;
  }
  return best;
}

static void work(void *arg, int worker) {
  race *r = arg;
  bool left;
  pthread_mutex_lock(&r->lock);
  for (;;) {
    int lane = pick_lane(r, &left);
    if (!left) break;
    if (lane < 0) {
      pthread_cond_wait(&r->freed, &r->lock);
      continue;
    }
    int micro = r->next[lane];
    r->busy[lane] = true;
    pthread_mutex_unlock(&r->lock);
    run_micro(r, lane, micro, r->e->memory[worker]);
    pthread_mutex_lock(&r->lock);
    r->busy[lane] = false;
    r->next[lane] += r->e->nlane;
    pthread_cond_broadcast(&r->freed);
  }
  pthread_mutex_unlock(&r->lock);
}

#define CHUNK 65536

/* Chunk `task` of the flat range of all sums: lane 0 <- (0 + 1) + (2 + 3). */
static void add_lanes(void *arg, int task) {
  race *r = arg;
  fm_exe *e = r->e;
  int64_t from = (int64_t)task * CHUNK, at = 0;
  for (int k = 0; k < e->nout; k++) {
    fm_tensor *t = r->job->out[k];
    if (e->plan[0]->p->out[k].merge != FM_SUM) continue;
    int64_t n = fm_shape_count(&t->shape), lo = from - at, hi = from + CHUNK - at;
    at += n;
    if (hi <= 0 || lo >= n) continue;
    lo = lo < 0 ? 0 : lo;
    hi = hi > n ? n : hi;
    fm_map add = fm_kernel_of(&fm_op_add, t->dtype)->map;
    size_t offset = (size_t)lo * fm_dtype_size(t->dtype);
    char *part[FM_MAX_LANES] = {(char *)t->data + offset};
    for (int l = 1; l < e->nlane; l++) part[l] = (char *)e->lane[l * e->nout + k] + offset;
    for (int gap = 1; gap < e->nlane; gap *= 2)
      for (int l = 0; l + gap < e->nlane; l += 2 * gap)
        add(hi - lo, part[l], part[l], part[l + gap], NULL, NULL);
  }
}

static fm_err run(fm_exe *e, const fm_job *job, int workers, double *ms) {
  fm_err err = check_job(e, job);
  if (workers > e->nlane) workers = e->nlane;
  if (err == FM_OK) err = make_memory(e, workers);
  if (err != FM_OK) return err;
  race r = {.e = e, .job = job, .ms = ms};
  pthread_mutex_init(&r.lock, NULL);
  pthread_cond_init(&r.freed, NULL);
  for (int k = 0; k < e->nlane; k++) r.next[k] = k;
  fm_parallel(e->ctx, workers, work, &r);
  int64_t total = 0;
  for (int k = 0; k < e->nout; k++)
    if (e->plan[0]->p->out[k].merge == FM_SUM) total += fm_shape_count(&job->out[k]->shape);
  if (e->nlane > 1) fm_parallel(e->ctx, (int)((total + CHUNK - 1) / CHUNK), add_lanes, &r);
  pthread_cond_destroy(&r.freed);
  pthread_mutex_destroy(&r.lock);
  return FM_OK;
}

fm_err fm_exe_run(fm_exe *e, const fm_job *job) { return run(e, job, fm_threads(e->ctx), NULL); }

/* ------------------------------------------------------------------ explaining */

fm_stats fm_exe_stats(const fm_exe *e) {
  fm_stats s = {.traced = e->traced, .executed = e->plan[0]->nstep, .arena = e->arena + e->scratch};
  for (int m = 0; m < e->nmicro; m++) {
    const fm_plan *plan = e->plan[e->which[m]];
    for (int k = 0; k < plan->nstep; k++) {
      s.flops += fm_step_flops(plan, &plan->step[k]);
      s.moved += fm_step_bytes(plan, &plan->step[k]);
    }
  }
  const fm_prog *p = e->plan[0]->p;
  for (int k = e->nout; k < e->nlane * e->nout; k++)
    if (e->lane[k]) s.lanes += fm_sig_bytes(&p->node[p->out[k % e->nout].v].sig);
  for (int k = 0; k < e->nplan; k++) {
    s.ms_optimise += e->plan[k]->ms_optimise;
    s.ms_plan += e->plan[k]->ms_plan;
  }
  return s;
}

static const char *step_name(const fm_plan *plan, const fm_step *s, char text[64]) {
  static const char *const kind[] = {"", "fused", "copy", "accumulate", "store"};
  if (s->kind == STEP_OP) {
    snprintf(text, 64, "%s%s", plan->p->node[s->v].op->name,
             plan->loc[s->v].where == AT_LANE ? " +=" : "");
  } else if (s->kind == STEP_FUSED) {
    const fm_fused *f = &plan->fused[s->index];
    snprintf(text, 64, "fused: %d ops, %d sums", f->nmicro, f->nreduce);
  } else {
    snprintf(text, 64, "%s", kind[s->kind]);
  }
  return text;
}

char *fm_exe_explain(fm_exe *e, const fm_job *job) {
  const fm_plan *plan = e->plan[e->which[0]];
  size_t cap = 256 * (size_t)(plan->nstep + 4), n = 0,
         bytes = (size_t)(plan->nstep + 1) * sizeof(double);
  char *text = malloc(cap);
  double *ms = fm_alloc(e->ctx, bytes), total = 0;
  int micro = 0;
  for (int k = 0; k < e->nmicro; k++) micro += e->which[k] == 0;
  if (ms) memset(ms, 0, bytes);
  if (text == NULL || ms == NULL || run(e, job, 1, ms) != FM_OK) micro = 0;
  if (text == NULL) return NULL;
  for (int k = 0; ms && k < plan->nstep; k++) total += ms[k];
  n += (size_t)snprintf(text + n, cap - n, "%4s  %-24s %-20s %10s %10s %9s %8s %6s\n", "step",
                        "operation", "shape", "MFLOP", "KiB", "us", "GFLOP/s", "%");
  for (int k = 0; k < plan->nstep; k++) {
    const fm_step *s = &plan->step[k];
    char name[64], shape[96];
    const fm_shape *sh = s->kind == STEP_FUSED ? &plan->fused[s->index].domain.shape
                                               : &plan->p->node[s->v].sig.shape;
    double flops = fm_step_flops(plan, s), us = micro && ms ? ms[k] / micro * 1e3 : 0;
    n += (size_t)snprintf(text + n, cap - n, "%4d  %-24s %-20s %10.3f %10.1f %9.1f %8.1f %6.1f\n",
                          k + 1, step_name(plan, s, name), fm_shape_text(sh, shape), flops * 1e-6,
                          fm_step_bytes(plan, s) / 1024, us, us > 0 ? flops / us * 1e-3 : 0,
                          total > 0 && ms ? 100 * ms[k] / total : 0);
  }
  fm_free(e->ctx, ms, bytes);
  return text;
}
