/*
** run.c - replay: the batch is cut into fixed micro-batches; lanes take every FM_MAX_LANES-th of
** them, each in order, and keep a partial sum; any free worker takes the next micro-batch of the
** lane that is furthest behind. The lanes are added in a fixed order. An ordered run has one lane,
** and micro-batch k adds to a sum when k - 1 has. So results depend on the cut, never on the number
** of threads or their speed.
*/
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "../blas.h"
#include "exe.h"
#include "../map.h"

/* ------------------------------------------------------------------ memory */

/* Workers beyond those of micro-batches help in prologue and epilogue only. */
static size_t memory_size(const fm_exe *e, int worker) {
  return worker < fm_exe_runners(e) && e->body_size > e->part_size ? e->body_size : e->part_size;
}

void fm_exe_free_memory(fm_exe *e) {
  for (int k = 0; k < e->nworker; k++)
    if (e->memory) fm_free(e->ctx, e->memory[k], memory_size(e, k));
  fm_free(e->ctx, e->memory, (size_t)e->nworker * sizeof *e->memory);
  e->memory = NULL;
  e->nworker = 0;
}

/* Memory for each worker; the number of threads may have changed since the last run. */
static fm_err make_memory(fm_exe *e, int n) {
  if (e->nworker == n) return FM_OK;
  fm_exe_free_memory(e);
  e->memory = fm_alloc(e->ctx, (size_t)n * sizeof *e->memory);
  if (e->memory == NULL) return FM_ENOMEM;
  memset(e->memory, 0, (size_t)n * sizeof *e->memory);
  e->nworker = n;
  for (int k = 0; k < n; k++)
    if ((e->memory[k] = fm_alloc(e->ctx, memory_size(e, k))) == NULL) {
      fm_exe_free_memory(e); /* a later run starts anew */
      return FM_ENOMEM;
    }
  return FM_OK;
}

/* ------------------------------------------------------------------ checking a job */

static fm_sig whole(const fm_exe *e, const fm_port *port) { /* with the whole batch */
  fm_sig sig = port->sig;
  if (port->cut) sig.shape.d[0] = e->row0[e->nmicro] - e->row0[0];
  return sig;
}

fm_sig fm_exe_out(const fm_exe *e, int k, fm_merge *merge) {
  *merge = e->out[k].cut ? FM_STACK : FM_SUM;
  return whole(e, &e->out[k]);
}

int fm_exe_ins(const fm_exe *e) { return e->nin; }
int fm_exe_outs(const fm_exe *e) { return e->nout; }

static fm_err check_tensor(fm_exe *e, const char *what, int k, const fm_tensor *t, fm_sig want) {
  char a[96], b[96];
  if (t && t->dtype == want.dtype && fm_shape_eq(&t->shape, &want.shape)) return FM_OK;
  return fm_fail(e->ctx, FM_EUSAGE, "program: %s %d is %s %s, expected %s %s", what, k + 1,
                 t ? fm_dtype_name(t->dtype) : "absent", t ? fm_shape_text(&t->shape, a) : "",
                 fm_dtype_name(want.dtype), fm_shape_text(&want.shape, b));
}

static fm_err check_job(fm_exe *e, const fm_job *job) {
  fm_err err = FM_OK;
  for (int k = 0; k < e->nin && err == FM_OK; k++)
    err = check_tensor(e, "input", k, job->in[k], whole(e, &e->in[k]));
  for (int k = 0; k < e->nout && err == FM_OK; k++)
    err = check_tensor(e, "output", k, job->out[k], whole(e, &e->out[k]));
  return err;
}

/* ------------------------------------------------------------------ running */

typedef struct race { /* what the workers of one run share */
  fm_exe *e;
  const fm_job *job;
  pthread_mutex_t lock;
  pthread_cond_t freed;   /* a lane may be taken again, or a sum be added to */
  int next[FM_MAX_LANES]; /* next micro-batch of each lane */
  bool busy[FM_MAX_LANES];
  int part; /* next part of the phase */
  const fm_times *times;
} race;

/* Where the partial sum of output k in a lane is. */
static void *lane_of(const fm_exe *e, const fm_job *job, int lane, int k) {
  if (lane == 0 && e->h.body_out[k] >= 0) return job->out[e->h.body_out[k]]->data;
  if ((lane == 1 || e->ordered) && e->borrow[k] >= 0) return job->out[e->borrow[k]]->data;
  return e->lane[lane * e->h.nout + k];
}

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
    if (ms) ms[k] += cpu_ms() - start;
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
  int *turn = r->e->turn;
  for (int k = 0; k < plan->nstep; k++) {
    int sum = sum_of(plan, &plan->step[k]);
    if (sum >= 0) {
      pthread_mutex_lock(&r->lock);
      while (turn[sum] != micro) pthread_cond_wait(&r->freed, &r->lock);
      pthread_mutex_unlock(&r->lock);
    }
    fm_step_run(&plan->step[k], f);
    if (sum < 0) continue;
    pthread_mutex_lock(&r->lock);
    turn[sum]++;
    pthread_cond_broadcast(&r->freed);
    pthread_mutex_unlock(&r->lock);
  }
}

static fm_frame frame(const race *r, const fm_plan *plan, char *memory, size_t arena) {
  return (fm_frame){.plan = plan,
                    .arena = memory,
                    .blocks = memory + arena,
                    .rng = {.seed = r->job->seed, .step = r->job->step}};
}

static void run_micro(race *r, int lane, int micro, char *memory) {
  fm_exe *e = r->e;
  const fm_plan *plan = e->plan[e->which[micro]];
  void **in = (void **)(memory + e->arena + e->blocks), **out = in + plan->p->nin;
  size_t first = (size_t)(e->row0[micro] - e->row0[0]);
  for (int k = 0; k < e->nin; k++) {
    char *data = r->job->in[k]->data;
    in[k] = e->in[k].cut ? data + first * row_bytes(r->job->in[k]) : data;
  }
  for (int k = 0; k < e->h.nvalue; k++) in[e->nin + k] = e->value[k];
  for (int k = 0; k < e->h.nout; k++) {
    out[k] = lane_of(e, r->job, lane, k);
    if (plan->p->out[k].merge == FM_SUM) continue;
    fm_tensor *t = r->job->out[e->h.body_out[k]];
    out[k] = (char *)t->data + first * row_bytes(t);
  }
  fm_frame f = frame(r, plan, memory, e->arena);
  f.in = in, f.lane = out;
  f.first = fm_groups_first(e, micro);
  f.row0 = e->row0[micro];
  if (e->ordered && r->times == NULL)
    run_in_turn(r, micro, plan, &f);
  else
    run_steps(plan, &f, r->times && e->which[micro] == 0 ? r->times->body : NULL);
  fm_groups_add(e, lane, micro, out);
}

typedef void (*part_runner)(race *r, int part, char *memory);

/* Part k of the prologue: shared inputs -> values. */
static void run_prologue(race *r, int k, char *memory) {
  fm_exe *e = r->e;
  const fm_plan *plan = e->pro.plan[k];
  void **in = (void **)(memory + plan->arena + plan->blocks), **out = in + plan->p->nin;
  for (int i = 0; i < e->nin; i++) in[i] = r->job->in[i]->data;
  for (int i = 0; i < plan->p->nout; i++) out[i] = e->value[e->h.prologue.output[k][i]];
  fm_frame f = frame(r, plan, memory, plan->arena);
  f.in = in, f.lane = out;
  run_steps(plan, &f, r->times ? r->times->pro[k] : NULL);
}

/* Part k of the epilogue: shared inputs, values, sums -> outputs of the job. */
static void run_epilogue(race *r, int k, char *memory) {
  fm_exe *e = r->e;
  const fm_plan *plan = e->epi.plan[k];
  void **in = (void **)(memory + plan->arena + plan->blocks), **out = in + plan->p->nin;
  int n = 0;
  for (int i = 0; i < e->nin; i++) in[n++] = r->job->in[i]->data;
  for (int i = 0; i < e->h.nvalue; i++) in[n++] = e->value[i];
  for (int i = 0; i < e->h.nout; i++)
    if (e->h.body_out[i] < 0) in[n++] = lane_of(e, r->job, 0, i);
  for (int i = 0; i < plan->p->nout; i++)
    out[i] = r->job->out[e->h.epilogue_out[e->h.epilogue.output[k][i]]]->data;
  fm_frame f = frame(r, plan, memory, plan->arena);
  f.in = in, f.lane = out;
  run_steps(plan, &f, r->times ? r->times->epi[k] : NULL);
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

static void work_in_turn(void *arg, int worker) {
  race *r = arg;
  for (;;) {
    pthread_mutex_lock(&r->lock);
    int micro = r->next[0]++;
    pthread_mutex_unlock(&r->lock);
    if (micro >= r->e->nmicro) break;
    run_micro(r, 0, micro, r->e->memory[worker]);
  }
}

#define CHUNK 65536

/* Chunk `task` of the flat range of all sums: lane 0 <- (0 + 1) + (2 + 3). */
static void add_lanes(void *arg, int task) {
  race *r = arg;
  fm_exe *e = r->e;
  const fm_prog *p = e->plan[0]->p;
  int64_t from = (int64_t)task * CHUNK, at = 0;
  for (int k = 0; k < e->h.nout; k++) {
    const fm_sig *sig = &p->node[p->out[k].v].sig;
    if (p->out[k].merge != FM_SUM) continue;
    int64_t n = fm_shape_count(&sig->shape), lo = from - at, hi = from + CHUNK - at;
    at += n;
    if (hi <= 0 || lo >= n) continue;
    lo = lo < 0 ? 0 : lo;
    hi = hi > n ? n : hi;
    fm_map add = fm_kernel_of(&fm_op_add, sig->dtype)->map;
    size_t offset = (size_t)lo * fm_dtype_size(sig->dtype);
    char *part[FM_MAX_LANES];
    for (int l = 0; l < e->nlane; l++) part[l] = (char *)lane_of(e, r->job, l, k) + offset;
    for (int gap = 1; gap < e->nlane; gap *= 2)
      for (int l = 0; l + gap < e->nlane; l += 2 * gap)
        add(hi - lo, part[l], part[l], part[l + gap], NULL, NULL);
  }
}

static void add_all_lanes(race *r) {
  const fm_exe *e = r->e;
  const fm_prog *p = e->plan[0]->p;
  int64_t total = 0;
  for (int k = 0; k < e->h.nout; k++)
    if (p->out[k].merge == FM_SUM) total += fm_shape_count(&p->node[p->out[k].v].sig.shape);
  if (e->nlane > 1) fm_parallel(e->ctx, (int)((total + CHUNK - 1) / CHUNK), add_lanes, r);
}

/* Parts of a phase, as long as there are some. */
static void run_parts(race *r, const fm_phase *phase, part_runner run, char *memory) {
  for (;;) {
    pthread_mutex_lock(&r->lock);
    int k = r->part++;
    pthread_mutex_unlock(&r->lock);
    if (k >= phase->n) break;
    run(r, k, memory);
  }
}

static void work_prologue(void *arg, int worker) {
  race *r = arg;
  run_parts(r, &r->e->pro, run_prologue, r->e->memory[worker]);
}

static void work_epilogue(void *arg, int worker) {
  race *r = arg;
  run_parts(r, &r->e->epi, run_epilogue, r->e->memory[worker]);
}

fm_err fm_exe_do(fm_exe *e, const fm_job *job, int workers, const fm_times *times) {
  fm_err err = check_job(e, job);
  int most = fm_exe_runners(e), runners = most;
  if (e->pro.n > most) most = e->pro.n;
  if (e->epi.n > most) most = e->epi.n;
  if (workers > most) workers = most;
  if (err == FM_OK) err = make_memory(e, workers);
  if (err == FM_OK) err = fm_blas_reserve(e->ctx, workers);
  if (err != FM_OK) return err;
  race r = {.e = e, .job = job, .times = times};
  pthread_mutex_init(&r.lock, NULL);
  pthread_cond_init(&r.freed, NULL);
  for (int k = 0; k < e->nlane; k++) r.next[k] = k;
  fm_parallel(e->ctx, workers, work_prologue, &r);
  for (int k = 0; k < e->h.nout; k++) e->turn[k] = 0;
  fm_parallel(e->ctx, workers < runners ? workers : runners, e->ordered ? work_in_turn : work, &r);
  add_all_lanes(&r);
  r.part = 0;
  fm_parallel(e->ctx, workers, work_epilogue, &r);
  pthread_cond_destroy(&r.freed);
  pthread_mutex_destroy(&r.lock);
  return fm_maps_check(e->ctx); /* images may have been lost on the way */
}

fm_err fm_exe_run(fm_exe *e, const fm_job *job) {
  return fm_exe_do(e, job, fm_threads(e->ctx), NULL);
}
