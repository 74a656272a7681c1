/*
** run.c - replay: the batch is split into fixed micro-batches; any free worker takes the next one.
** Their sums are added in a fixed tree (sums.c), so results depend on the split, never on the
** number of threads or their speed, or on the ranks that share them (share.c).
*/
#include <string.h>
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
  return fm_fail(e->ctx, FM_EUSAGE, "program: %s %d is %s%s%s, expected %s %s", what, k + 1,
                 t ? fm_dtype_name(t->dtype) : "absent", t ? " " : "",
                 t ? fm_shape_text(&t->shape, a) : "", fm_dtype_name(want.dtype),
                 fm_shape_text(&want.shape, b));
}

/* Whether the tensor shares memory with a constant of one of these plans. */
static bool is_constant(int n, fm_plan *const *plan, const fm_tensor *t) {
  for (int i = 0; i < n; i++)
    for (int k = 0; k < plan[i]->p->nconst; k++)
      if (fm_tensor_overlap(plan[i]->p->constant[k], t)) return true;
  return false;
}

/* An output is written while inputs are still read, and by several workers at once. */
static fm_err check_apart(fm_exe *e, const fm_job *job, int k) {
  const fm_plans *s = e->plans;
  if (is_constant(s->nbody, s->body, job->out[k]) ||
      is_constant(s->pro.n, s->pro.plan, job->out[k]) ||
      is_constant(s->epi.n, s->epi.plan, job->out[k]))
    return fm_fail(e->ctx, FM_EUSAGE,
                   "program: output %d shares memory with a tensor that the program holds as a "
                   "constant, expected another",
                   k + 1);
  for (int i = 0; i < s->nin; i++)
    if (fm_tensor_overlap(job->in[i], job->out[k]))
      return fm_fail(e->ctx, FM_EUSAGE,
                     "program: input %d and output %d share memory, expected distinct tensors",
                     i + 1, k + 1);
  for (int i = 0; i < k; i++)
    if (fm_tensor_overlap(job->out[i], job->out[k]))
      return fm_fail(e->ctx, FM_EUSAGE,
                     "program: outputs %d and %d share memory, expected distinct tensors", i + 1,
                     k + 1);
  return FM_OK;
}

/* Values computed from a constant while the program was traced are stale once it is overwritten,
   and would be used beside its new ones. */
static fm_err check_held(fm_exe *e) {
  char a[96];
  for (int k = 0; k < e->nheld; k++) {
    const fm_tensor *t = e->held[k].t;
    if (fm_tensor_writes(t) != e->held[k].writes)
      return fm_fail(e->ctx, FM_EUSAGE,
                     "program: a %s tensor %s that the program holds as a constant has been "
                     "overwritten since it was traced; expected it among the shared inputs",
                     fm_dtype_name(t->dtype), fm_shape_text(&t->shape, a));
  }
  return FM_OK;
}

static fm_err check_job(fm_exe *e, const fm_job *job) {
  fm_err err = check_held(e);
  for (int k = 0; k < e->plans->nin && err == FM_OK; k++)
    err = check_tensor(e, "input", k, job->in[k], whole(e, &e->plans->in[k]));
  for (int k = 0; k < e->plans->nout && err == FM_OK; k++)
    err = check_tensor(e, "output", k, job->out[k], whole(e, &e->plans->out[k]));
  for (int k = 0; k < e->plans->nout && err == FM_OK; k++) err = check_apart(e, job, k);
  return err;
}

/* ------------------------------------------------------------------ running */

typedef struct replay { /* the state that the workers of one run share */
  fm_exe *e;
  const fm_job *job;
  pthread_mutex_t lock;
  pthread_cond_t ended;  /* signalled when a micro-batch has ended */
  double *ms;            /* see fm_exe_do */
  const fm_parts *parts; /* the prologue or epilogue while its parts run; NULL: micro-batches */
  int first, stride;     /* parts are first, first + stride, ... */
  int workers, njob;     /* njob: the number behind the last part or micro-batch */
  int next, oldest;      /* the next to begin; the first that has not ended */
  bool *done;            /* per micro-batch */
} replay;

static size_t row_bytes(const fm_tensor *t) {
  return t->shape.d[0] ? t->bytes / (size_t)t->shape.d[0] : 0;
}

static double cpu_ms(void) { /* of this thread */
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* micro: the micro-batch; -1: a part of the prologue or epilogue. */
static void run_steps(replay *r, int micro, fm_frame *f) {
  const fm_plan *plan = f->plan;
  for (int k = 0; k < plan->nstep; k++) {
    double start = r->ms ? cpu_ms() : 0;
    int sum = micro >= 0 ? fm_step_sum(plan, &plan->step[k]) : -1;
    if (sum >= 0) f->out[sum] = fm_sums_open(r->e, sum, micro, &f->first);
    fm_step_run(&plan->step[k], f);
    if (sum >= 0 && fm_sums_close(r->e, sum, micro)) fm_share_ready(r->e, sum);
    if (micro >= 0) fm_share_look(r->e);
    if (r->ms) r->ms[plan->first + k] += cpu_ms() - start;
  }
}

/* A worker's memory: an arena, the blocks of fused passes, pointers to inputs and outputs. */
static fm_frame frame(const replay *r, const fm_plan *plan, char *memory) {
  void **in = (void **)(memory + plan->arena + plan->blocks);
  return (fm_frame){.plan = plan,
                    .arena = memory,
                    .blocks = memory + plan->arena,
                    .in = in,
                    .out = in + plan->p->nin,
                    .rng = {.seed = r->job->seed, .step = r->job->step}};
}

static void run_micro(replay *r, int micro, char *memory) {
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
    if (plan->p->out[k].merge == FM_SUM) continue; /* see run_steps */
    const fm_tensor *t = r->job->out[e->result[k].out];
    f.out[k] = (char *)t->data + first * row_bytes(t);
  }
  f.row0 = e->row0[micro];
  run_steps(r, micro, &f);
}

/* Part k of the prologue: shared inputs -> values; of the epilogue: shared inputs, values, sums ->
** outputs of the job. */
static void run_part(replay *r, int k, char *memory) {
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
    if (e->result[i].out < 0) f.in[n++] = e->result[i].root;
  for (int i = 0; i < plan->p->nout; i++)
    f.out[i] = epilogue ? r->job->out[plans->epilogue_out[output[i]]]->data : e->value[output[i]];
  run_steps(r, -1, &f);
}

/* Waits until the next part or micro-batch may begin, and takes it; -1: none is left. */
static int take_next(replay *r) {
  while (r->parts == NULL && r->next < r->njob &&
         !fm_sums_may_begin(r->e, r->next, r->oldest, r->workers))
    pthread_cond_wait(&r->ended, &r->lock);
  return r->next < r->njob ? r->next++ : -1;
}

static void end_micro(replay *r, int micro) {
  r->done[micro] = true;
  while (r->oldest < r->njob && r->done[r->oldest]) r->oldest++;
  pthread_cond_broadcast(&r->ended);
}

static void work(void *arg, int worker) {
  replay *r = arg;
  pthread_mutex_lock(&r->lock);
  for (int k; (k = take_next(r)) >= 0;) {
    pthread_mutex_unlock(&r->lock);
    if (r->parts)
      run_part(r, r->first + k * r->stride, r->e->memory[worker]);
    else
      run_micro(r, k, r->e->memory[worker]);
    pthread_mutex_lock(&r->lock);
    if (r->parts == NULL) end_micro(r, k);
  }
  pthread_mutex_unlock(&r->lock);
}

/* Memory for each worker and for the sums; the number of threads may have changed since the last
** run. Workers beyond the number of micro-batches only run parts of prologue and epilogue. */
static fm_err make_memory(fm_exe *e, int n) {
  const fm_plans *plans = e->plans;
  if (e->nworker == n) return FM_OK;
  fm_share_close(e);
  fm_pool_free(&e->workers);
  e->nworker = 0;
  e->memory = fm_take(&e->workers, n, char *);
  for (int k = 0; k < n && !e->workers.failed; k++) {
    bool body = k < e->nmicro && plans->body_size > plans->part_size;
    e->memory[k] = fm_take_bytes(&e->workers, body ? plans->body_size : plans->part_size);
  }
  fm_err err = fm_share_open(e, n < e->nmicro ? n : e->nmicro);
  if (err == FM_OK && e->workers.failed) err = FM_ENOMEM;
  if (err == FM_OK)
    e->nworker = n;
  else
    fm_pool_free(&e->workers);
  return err;
}

static void run_all(replay *r, const fm_parts *parts, int from, int to, int workers) {
  r->parts = parts, r->njob = to;
  r->next = r->oldest = from;
  r->workers = workers < to - from ? workers : to - from;
  fm_parallel(r->e->ctx, r->workers, work, r);
}

static void run_micros(replay *r, int workers) {
  const fm_exe *e = r->e;
  int to = e->to * e->leaf < e->nmicro ? e->to * e->leaf : e->nmicro;
  run_all(r, NULL, e->from * e->leaf, to, workers);
}

/* Runs this rank's parts of the prologue; afterwards the values of all ranks exist. */
static void run_prologue(replay *r, int workers) {
  int n = r->e->plans->pro.n;
  r->first = fm_share_parts(r->e, &r->stride);
  run_all(r, &r->e->plans->pro, 0, n > r->first ? (n - r->first - 1) / r->stride + 1 : 0, workers);
  r->first = 0, r->stride = 1;
  fm_share_await_values(r->e);
}

/* The largest number of workers that can be busy. */
static int most_workers(const fm_exe *e) {
  int most = e->nmicro;
  if (e->plans->pro.n > most) most = e->plans->pro.n;
  if (e->plans->epi.n > most) most = e->plans->epi.n;
  return most;
}

fm_err fm_exe_do(fm_exe *e, const fm_job *job, int workers, double *ms) {
  const fm_plans *plans = e->plans;
  fm_err err = check_job(e, job);
  if (workers > most_workers(e)) workers = most_workers(e);
  if (err == FM_OK) err = make_memory(e, workers);
  if (err == FM_OK) err = fm_reserve_calls(e->ctx, workers);
  if (err != FM_OK) return err;
  replay r = {.e = e, .job = job, .ms = ms, .done = e->done};
  memset(e->done, 0, (size_t)e->nmicro * sizeof *e->done);
  pthread_mutex_init(&r.lock, NULL);
  pthread_cond_init(&r.ended, NULL);
  fm_sums_begin(e, job);
  fm_share_begin(e);
  run_prologue(&r, workers);
  run_micros(&r, workers);
  err = fm_share_finish(e, job);
  if (err == FM_OK) run_all(&r, &plans->epi, 0, plans->epi.n, workers);
  fm_share_end(e);
  pthread_cond_destroy(&r.ended);
  pthread_mutex_destroy(&r.lock);
  for (int k = 0; k < plans->nout; k++) fm_tensor_written(job->out[k]);
  return err == FM_OK ? fm_maps_check(e->ctx) : err; /* images may have been lost on the way */
}

fm_err fm_exe_run(fm_exe *e, const fm_job *job) {
  return fm_exe_do(e, job, fm_threads(e->ctx), NULL);
}
