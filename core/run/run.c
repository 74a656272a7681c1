/*
** run.c - replay: the batch is split into fixed micro-batches; any free worker takes the next one
** of the lane (lanes.c) that is furthest behind. An ordered run has one lane, and micro-batch k
** adds to a sum when k - 1 has. So results depend on the split, never on the number of threads or
** their speed.
*/
#include <pthread.h>
#include <time.h>

#include "../blas.h"
#include "../map.h"
#include "exe.h"

/* ------------------------------------------------------------------ checking a job */

static fm_sig whole(const fm_exe *e, const fm_port *port) { /* with the whole batch */
  fm_sig sig = port->sig;
  if (port->split) sig.shape.d[0] = e->row0[e->nmicro] - e->row0[0];
  return sig;
}

fm_sig fm_exe_out(const fm_exe *e, int k, fm_merge *merge) {
  *merge = e->plans->out[k].split ? FM_STACK : FM_SUM;
  return whole(e, &e->plans->out[k]);
}

int fm_exe_ins(const fm_exe *e) { return e->plans->nin; }
int fm_exe_outs(const fm_exe *e) { return e->plans->nout; }

static fm_err check_tensor(fm_exe *e, const char *what, int k, const fm_tensor *t, fm_sig want) {
  char a[96], b[96];
  if (t && t->dtype == want.dtype && fm_shape_eq(&t->shape, &want.shape)) return FM_OK;
  return fm_fail(e->ctx, FM_EUSAGE, "program: %s %d is %s %s, expected %s %s", what, k + 1,
                 t ? fm_dtype_name(t->dtype) : "absent", t ? fm_shape_text(&t->shape, a) : "",
                 fm_dtype_name(want.dtype), fm_shape_text(&want.shape, b));
}

static fm_err check_job(fm_exe *e, const fm_job *job) {
  fm_err err = FM_OK;
  for (int k = 0; k < e->plans->nin && err == FM_OK; k++)
    err = check_tensor(e, "input", k, job->in[k], whole(e, &e->plans->in[k]));
  for (int k = 0; k < e->plans->nout && err == FM_OK; k++)
    err = check_tensor(e, "output", k, job->out[k], whole(e, &e->plans->out[k]));
  return err;
}

/* ------------------------------------------------------------------ running */

typedef struct race { /* what the workers of one run share */
  fm_exe *e;
  const fm_job *job;
  pthread_mutex_t lock;
  pthread_cond_t freed;   /* a lane may be taken again, or a sum be added to */
  int next[FM_MAX_LANES]; /* next micro-batch or part of each lane */
  bool busy[FM_MAX_LANES];
  double *ms;            /* see fm_exe_do */
  const fm_parts *parts; /* prologue or epilogue, if its parts run now; NULL: micro-batches */
  int njob, nlane;       /* of those, which lanes take in turn */
  bool alone;            /* a lane does one at a time */
} race;

static size_t row_bytes(const fm_tensor *t) {
  return t->shape.d[0] ? t->bytes / (size_t)t->shape.d[0] : 0;
}

static double cpu_ms(void) { /* of this thread */
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void run_steps(const fm_plan *plan, const fm_frame *f, double *ms) {
  for (int k = 0; k < plan->nstep; k++) {
    double start = ms ? cpu_ms() : 0;
    fm_step_run(&plan->step[k], f);
    if (ms) ms[plan->first + k] += cpu_ms() - start;
  }
}

/* The sum that a step of a body adds to, or -1. */
static int sum_of(const fm_plan *plan, const fm_step *s) {
  if (s->kind == STEP_SUM) return s->index;
  const fm_loc *loc = &plan->loc[s->v];
  return s->kind == STEP_OP && loc->where == AT_LANE ? loc->index : -1;
}

/* The steps of a micro-batch in an ordered run. */
static void run_in_turn(race *r, int micro, const fm_plan *plan, const fm_frame *f) {
  for (int k = 0; k < plan->nstep; k++) {
    int sum = sum_of(plan, &plan->step[k]);
    int *turn = sum >= 0 ? &r->e->result[sum].turn : NULL;
    if (turn) {
      pthread_mutex_lock(&r->lock);
      while (*turn != micro) pthread_cond_wait(&r->freed, &r->lock);
      pthread_mutex_unlock(&r->lock);
    }
    fm_step_run(&plan->step[k], f);
    if (turn == NULL) continue;
    pthread_mutex_lock(&r->lock);
    ++*turn;
    pthread_cond_broadcast(&r->freed);
    pthread_mutex_unlock(&r->lock);
  }
}

/* A worker's memory: an arena, the blocks of fused passes, pointers to inputs and outputs. */
static fm_frame frame(const race *r, const fm_plan *plan, char *memory) {
  void **in = (void **)(memory + plan->arena + plan->blocks);
  return (fm_frame){.plan = plan,
                    .arena = memory,
                    .blocks = memory + plan->arena,
                    .in = in,
                    .lane = in + plan->p->nin,
                    .rng = {.seed = r->job->seed, .step = r->job->step}};
}

static void run_micro(race *r, int lane, int micro, char *memory) {
  const fm_exe *e = r->e;
  const fm_plans *plans = e->plans;
  const fm_plan *plan = plans->body[e->which[micro]];
  fm_frame f = frame(r, plan, memory);
  size_t first = (size_t)(e->row0[micro] - e->row0[0]);
  for (int k = 0; k < plans->nin; k++) {
    char *data = r->job->in[k]->data;
    f.in[k] = plans->in[k].split ? data + first * row_bytes(r->job->in[k]) : data;
  }
  for (int k = 0; k < plans->nvalue; k++) f.in[plans->nin + k] = e->value[k];
  for (int k = 0; k < plans->nresult; k++) {
    bool added = plan->p->out[k].merge == FM_SUM;
    const fm_tensor *t = added ? NULL : r->job->out[e->result[k].out];
    f.lane[k] = added ? fm_lane_of(e, r->job, lane, k) : (char *)t->data + first * row_bytes(t);
  }
  f.first = fm_lanes_first(e, micro);
  f.row0 = e->row0[micro];
  if (plans->ordered && r->ms == NULL)
    run_in_turn(r, micro, plan, &f);
  else
    run_steps(plan, &f, r->ms);
  fm_lanes_group(e, lane, micro, f.lane);
}

/* Part k of the prologue: shared inputs -> values; of the epilogue: shared inputs, values, sums ->
** outputs of the job. */
static void run_part(race *r, int k, char *memory) {
  const fm_exe *e = r->e;
  const fm_plans *plans = e->plans;
  const bool epilogue = r->parts == &plans->epi;
  const fm_plan *plan = r->parts->plan[k];
  const int *output = r->parts->output[k];
  fm_frame f = frame(r, plan, memory);
  int n = 0;
  for (int i = 0; i < plans->nin; i++) f.in[n++] = r->job->in[i]->data;
  for (int i = 0; epilogue && i < plans->nvalue; i++) f.in[n++] = e->value[i];
  for (int i = 0; epilogue && i < plans->nresult; i++)
    if (e->result[i].out < 0) f.in[n++] = fm_lane_of(e, r->job, 0, i);
  for (int i = 0; i < plan->p->nout; i++)
    f.lane[i] = epilogue ? r->job->out[plans->epilogue_out[output[i]]]->data : e->value[output[i]];
  run_steps(plan, &f, r->ms);
}

/* The free lane that is furthest behind; -1: none now; *left: work remains. */
static int pick_lane(race *r, bool *left) {
  int best = -1;
  *left = false;
  for (int k = 0; k < r->nlane; k++) {
    if (r->next[k] >= r->njob) continue;
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
    int k = r->next[lane];
    r->next[lane] += r->nlane;
    r->busy[lane] = r->alone;
    pthread_mutex_unlock(&r->lock);
    if (r->parts)
      run_part(r, k, r->e->memory[worker]);
    else
      run_micro(r, lane, k, r->e->memory[worker]);
    pthread_mutex_lock(&r->lock);
    r->busy[lane] = false;
    pthread_cond_broadcast(&r->freed);
  }
  pthread_mutex_unlock(&r->lock);
}

/* Most workers that run micro-batches. */
static int runners(const fm_exe *e) {
  int most = e->nmicro < FM_MAX_LANES ? e->nmicro : FM_MAX_LANES;
  return e->plans->ordered ? most : e->nlane;
}

/* Memory for each worker; the number of threads may have changed since the last run. Workers beyond
** those of micro-batches help in prologue and epilogue only. */
static fm_err make_memory(fm_exe *e, int n) {
  const fm_plans *plans = e->plans;
  if (e->nworker == n) return FM_OK;
  fm_pool_free(&e->workers);
  e->nworker = 0;
  e->memory = fm_take(&e->workers, n, char *);
  for (int k = 0; k < n && !e->workers.failed; k++) {
    bool body = k < runners(e) && plans->body_size > plans->part_size;
    e->memory[k] = fm_take_bytes(&e->workers, body ? plans->body_size : plans->part_size);
  }
  if (e->workers.failed) {
    fm_pool_free(&e->workers);
    return FM_ENOMEM;
  }
  e->nworker = n;
  return FM_OK;
}

static void run_parts(race *r, const fm_parts *parts, int workers) {
  r->parts = parts, r->njob = parts->n;
  r->nlane = 1, r->next[0] = 0, r->alone = false;
  fm_parallel(r->e->ctx, workers, work, r);
}

static void run_micros(race *r, int workers) {
  r->parts = NULL, r->njob = r->e->nmicro;
  r->nlane = r->e->nlane, r->alone = !r->e->plans->ordered;
  for (int k = 0; k < r->nlane; k++) r->next[k] = k;
  fm_parallel(r->e->ctx, workers, work, r);
}

fm_err fm_exe_do(fm_exe *e, const fm_job *job, int workers, double *ms) {
  const fm_plans *plans = e->plans;
  fm_err err = check_job(e, job);
  int most = runners(e);
  if (plans->pro.n > most) most = plans->pro.n;
  if (plans->epi.n > most) most = plans->epi.n;
  if (workers > most) workers = most;
  if (err == FM_OK) err = make_memory(e, workers);
  if (err == FM_OK) err = fm_reserve_calls(e->ctx, workers);
  if (err != FM_OK) return err;
  race r = {.e = e, .job = job, .ms = ms};
  pthread_mutex_init(&r.lock, NULL);
  pthread_cond_init(&r.freed, NULL);
  for (int k = 0; k < plans->nresult; k++) e->result[k].turn = 0;
  run_parts(&r, &plans->pro, workers);
  run_micros(&r, workers < runners(e) ? workers : runners(e));
  fm_lanes_add(e, job);
  run_parts(&r, &plans->epi, workers);
  pthread_cond_destroy(&r.freed);
  pthread_mutex_destroy(&r.lock);
  return fm_maps_check(e->ctx); /* images may have been lost on the way */
}

fm_err fm_exe_run(fm_exe *e, const fm_job *job) {
  return fm_exe_do(e, job, fm_threads(e->ctx), NULL);
}
