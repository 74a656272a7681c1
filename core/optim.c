/* optim.c - RAdam and AdamW, with gradient clipping and averages of the weights. */
#define _GNU_SOURCE /* madvise */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fm.h"
#include "kernels/isa.h"
#include "kernels/optim.h"
#include "ranks.h"

#define CHUNK 16384 /* values per task; fixed, so that bits do not depend on the threads */
#define RECTIFY 5.0 /* RAdam: the rho (algorithm 2) from which steps are adaptive */

/* ------------------------------------------------------------------ kernels */

#define DECLARE_ONE(isa, t)                                                                        \
  double fm_optim_square_##t##_##isa(int64_t n, const void *g);                                    \
  void fm_optim_update_##t##_##isa(const fm_optim_step *s, const fm_optim_part *p);                \
  void fm_optim_average_##t##_##isa(const fm_optim_step *s, const fm_optim_part *p);
#define DECLARE(isa) DECLARE_ONE(isa, f32) DECLARE_ONE(isa, f64)
#define SQUARE(isa) {fm_optim_square_f32_##isa, fm_optim_square_f64_##isa},
#define UPDATE(isa) {fm_optim_update_f32_##isa, fm_optim_update_f64_##isa},
#define AVERAGE(isa) {fm_optim_average_f32_##isa, fm_optim_average_f64_##isa},

FM_EACH_ISA(DECLARE)
static const fm_optim_square_fn square[FM_NISA][2] = {FM_EACH_ISA(SQUARE)};
static const fm_optim_update_fn update[FM_NISA][2] = {FM_EACH_ISA(UPDATE)};
static const fm_optim_average_fn average[FM_NISA][2] = {FM_EACH_ISA(AVERAGE)};

/* ------------------------------------------------------------------ creation, destruction */

typedef struct chunk {
  int param;
  int64_t start, n;
} chunk;

struct fm_optim {
  fm_ctx *ctx;
  fm_optim_conf conf;
  int n, nchunks;
  bool sharded;
  int64_t steps;
  fm_tensor **tensors; /* n parameters, n first and n second moments, nema times n averages */
  chunk *chunks;
  double *partial;         /* the sum of squares of each chunk */
  fm_tensor *const *grads; /* of the current update */
  fm_optim_step step;
};

static int ntensors(const fm_optim *o) { return o->n * (3 + o->conf.nema); }

/* Group 0: parameters, 1: first moments, 2: second moments, 3 + k: average k. */
static fm_tensor **group(const fm_optim *o, int which) { return o->tensors + which * o->n; }

static fm_err check_decay(fm_ctx *ctx, int k, double decay) {
  if (decay >= 0 && decay <= 1) return FM_OK;
  return fm_fail(ctx, FM_EUSAGE, "optimiser: average %d has decay %g, expected 0 to 1", k + 1,
                 decay);
}

static fm_err check_conf(fm_ctx *ctx, const fm_optim_conf *c) {
  const struct {
    const char *name;
    double value, top; /* 0 <= value < top */
  } range[] = {{"b1", c->b1, 1},
               {"b2", c->b2, 1},
               {"eps", c->eps, INFINITY},
               {"clip", c->clip, INFINITY},
               {"weight_decay", c->weight_decay, INFINITY}};
  if (c->kind != FM_RADAM && c->kind != FM_ADAMW)
    return fm_fail(ctx, FM_EUSAGE, "optimiser: kind %d found, expected RAdam or AdamW",
                   (int)c->kind);
  for (size_t i = 0; i < sizeof range / sizeof *range; i++)
    if (!(range[i].value >= 0 && range[i].value < range[i].top))
      return fm_fail(ctx, FM_EUSAGE, "optimiser: %s is %g, expected at least 0 and below %g",
                     range[i].name, range[i].value, range[i].top);
  if (c->nema < 0 || c->nema > FM_MAX_EMA)
    return fm_fail(ctx, FM_EUSAGE, "optimiser: %d averages found, expected 0 to %d", c->nema,
                   FM_MAX_EMA);
  for (int k = 0; k < c->nema; k++)
    if (check_decay(ctx, k, c->ema[k]) != FM_OK) return FM_EUSAGE;
  return FM_OK;
}

static fm_err check_params(fm_ctx *ctx, int n, fm_tensor *const *params) {
  if (n < 1)
    return fm_fail(ctx, FM_EUSAGE, "optimiser: %d parameters found, expected at least one", n);
  for (int i = 0; i < n; i++) {
    if (params[i] == NULL)
      return fm_fail(ctx, FM_EUSAGE, "optimiser: parameter %d is missing", i + 1);
    if (params[i]->dtype == FM_U8)
      return fm_fail(ctx, FM_EUSAGE,
                     "optimiser: parameter %d is uint8, expected float32 or float64", i + 1);
    for (int j = 0; j < i; j++)
      if (params[i] == params[j] || fm_tensor_overlap(params[i], params[j]))
        return fm_fail(ctx, FM_EUSAGE,
                       "optimiser: parameters %d and %d share memory, expected distinct tensors",
                       j + 1, i + 1);
  }
  return FM_OK;
}

/* Divide all parameters into chunks. */
static fm_err make_chunks(fm_optim *o) {
  int64_t count = 0;
  for (int i = 0; i < o->n; i++)
    count += (fm_shape_count(&group(o, 0)[i]->shape) + CHUNK - 1) / CHUNK;
  if (count > INT32_MAX)
    return fm_fail(o->ctx, FM_EUSAGE, "optimiser: the parameters have too many values");
  const size_t n = (size_t)count;
  o->nchunks = (int)count;
  if ((o->chunks = fm_alloc(o->ctx, n * sizeof *o->chunks)) == NULL) return FM_ENOMEM;
  if ((o->partial = fm_alloc(o->ctx, n * sizeof *o->partial)) == NULL) return FM_ENOMEM;
  chunk *c = o->chunks;
  for (int i = 0; i < o->n; i++) {
    const int64_t size = fm_shape_count(&group(o, 0)[i]->shape);
    for (int64_t at = 0; at < size; at += CHUNK)
      *c++ = (chunk){i, at, size - at < CHUNK ? size - at : CHUNK};
  }
  return FM_OK;
}

static fm_err fill(fm_optim *o, fm_tensor *const *params) {
  const size_t bytes = (size_t)ntensors(o) * sizeof(fm_tensor *);
  if ((o->tensors = fm_alloc(o->ctx, bytes)) == NULL) return FM_ENOMEM;
  memset(o->tensors, 0, bytes);
  for (int i = 0; i < o->n; i++) group(o, 0)[i] = fm_tensor_keep(params[i]);
  for (int i = o->n; i < ntensors(o); i++) {
    const fm_tensor *p = params[i % o->n];
    fm_tensor *t = o->tensors[i] = fm_tensor_new(o->ctx, p->dtype, &p->shape);
    if (t == NULL) return FM_ENOMEM;
    if (i >= 3 * o->n) memcpy(t->data, p->data, p->bytes); /* averages start at the weights */
  }
  return make_chunks(o);
}

fm_optim *fm_optim_new(fm_ctx *ctx, const fm_optim_conf *conf, int n, fm_tensor *const *params) {
  if (check_conf(ctx, conf) != FM_OK || check_params(ctx, n, params) != FM_OK) return NULL;
  fm_optim *o = fm_alloc(ctx, sizeof *o);
  if (o == NULL) return NULL;
  *o = (fm_optim){.ctx = ctx, .conf = *conf, .n = n};
  if (fill(o, params) == FM_OK) return o;
  fm_optim_free(o);
  return NULL;
}

void fm_optim_free(fm_optim *o) {
  if (o == NULL) return;
  const size_t n = (size_t)o->nchunks;
  for (int i = 0; o->tensors && i < ntensors(o); i++) fm_tensor_drop(o->tensors[i]);
  fm_free(o->ctx, o->tensors, (size_t)ntensors(o) * sizeof *o->tensors);
  fm_free(o->ctx, o->chunks, n * sizeof *o->chunks);
  fm_free(o->ctx, o->partial, n * sizeof *o->partial);
  fm_free(o->ctx, o, sizeof *o);
}

fm_tensor *fm_optim_state(fm_optim *o, int what, int i) {
  if (what < 0 || what >= 2 + o->conf.nema || i < 0 || i >= o->n) return NULL;
  return group(o, 1 + what)[i];
}

int64_t fm_optim_steps(const fm_optim *o) { return o->steps; }

/* At most 2^53, so that a double represents the count exactly. */
void fm_optim_set_steps(fm_optim *o, int64_t steps) {
  const int64_t most = (int64_t)1 << 53;
  o->steps = steps < 0 ? 0 : steps > most ? most : steps;
}

fm_err fm_optim_set_decay(fm_optim *o, int k, double decay) {
  if (k < 0 || k >= o->conf.nema)
    return fm_fail(o->ctx, FM_EUSAGE, "optimiser: there is no average %d; it keeps %d", k + 1,
                   o->conf.nema);
  const fm_err err = check_decay(o->ctx, k, decay);
  if (err == FM_OK) o->conf.ema[k] = decay;
  return err;
}

/* ------------------------------------------------------------------ the gradient's norm */

static void square_task(void *arg, int task) {
  fm_optim *o = arg;
  const chunk *c = &o->chunks[task];
  const fm_tensor *g = o->grads[c->param];
  const char *at = (const char *)g->data + (size_t)c->start * fm_dtype_size(g->dtype);
  o->partial[task] = square[fm_isa()][g->dtype](c->n, at);
}

/* Name the first gradient that is not finite. */
static fm_err name_culprit(const fm_optim *o, double norm) {
  int64_t at;
  for (int i = 0; i < o->n; i++)
    if (!fm_tensor_finite(o->grads[i], &at)) {
      char buf[96];
      return fm_fail(o->ctx, FM_ENUMERIC,
                     "optimiser: the gradient of parameter %d, of shape %s, is %g at position "
                     "%lld, expected finite numbers; nothing was changed",
                     i + 1, fm_shape_text(&o->grads[i]->shape, buf), fm_tensor_get(o->grads[i], at),
                     (long long)at + 1);
    }
  return fm_fail(o->ctx, FM_ENUMERIC,
                 "optimiser: the gradient's norm is %g, expected a finite number; nothing was "
                 "changed",
                 norm);
}

static fm_err measure(fm_optim *o, double scale, double *norm) {
  double *p = o->partial;
  const int n = o->nchunks;
  fm_parallel(o->ctx, n, square_task, o);
  for (int64_t half = 1; half < n; half *= 2) /* a fixed tree of partial sums */
    for (int64_t i = 0; i + half < n; i += 2 * half) p[i] += p[i + half];
  *norm = fabs(scale) * sqrt(n > 0 ? p[0] : 0);
  return isfinite(*norm) ? FM_OK : name_culprit(o, *norm);
}

/* ------------------------------------------------------------------ shards */

/* The first chunk that rank r updates; r may be the number of ranks. If moments are not divided,
** every rank updates all chunks: its own are all, those of ranks before and behind it none. */
static int own_from(const fm_optim *o, int r) {
  if (!o->sharded) return r > fm_rank() ? o->nchunks : 0;
  return (int)((int64_t)o->nchunks * r / fm_nranks());
}

/* The values of a group in chunk *k and those behind it, up to `end`, of the same tensor; *k moves
** behind them. */
static char *stretch(const fm_optim *o, int which, int *k, int end, size_t *bytes) {
  const chunk *c = &o->chunks[*k];
  const fm_tensor *t = group(o, which)[c->param];
  const size_t size = fm_dtype_size(t->dtype);
  *bytes = 0;
  for (; *k < end && o->chunks[*k].param == c->param; ++*k)
    *bytes += (size_t)o->chunks[*k].n * size;
  return (char *)t->data + (size_t)c->start * size;
}

/* To rank `target`, or to all if it is -1, the chunks of the others. */
static fm_err gather(fm_optim *o, int which, int target) {
  const int me = fm_rank();
  fm_mail mail = {0};
  fm_err err = FM_OK;
  for (int r = 0; r < fm_nranks(); r++)
    for (int k = own_from(o, r); k < own_from(o, r + 1) && err == FM_OK;) {
      size_t bytes;
      char *data = stretch(o, which, &k, own_from(o, r + 1), &bytes);
      if (r != me && (target < 0 || target == me))
        err = fm_ranks_receive(o->ctx, &mail, data, bytes, r, 0);
      for (int to = 0; to < fm_nranks() && r == me && err == FM_OK; to++)
        if (to != me && (target < 0 || target == to))
          err = fm_ranks_send(o->ctx, &mail, data, bytes, to, 0);
    }
  if (err == FM_OK) err = fm_ranks_wait(o->ctx, &mail);
  fm_mail_free(&mail);
  return err;
}

/* Give the whole pages of a stretch back to the system; they are zeros when they are read again. */
static void release(char *data, size_t bytes) {
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t from = ((uintptr_t)data + page - 1) / page * page;
  const uintptr_t to = ((uintptr_t)data + bytes) / page * page;
  if (to > from) madvise((void *)from, to - from, MADV_DONTNEED);
}

void fm_optim_shard(fm_optim *o) {
  if (fm_nranks() == 1) return;
  o->sharded = true;
  for (int r = 0; r < fm_nranks(); r++)
    for (int which = 1; which <= 2 && r != fm_rank(); which++)
      for (int k = own_from(o, r); k < own_from(o, r + 1);) {
        size_t bytes;
        char *data = stretch(o, which, &k, own_from(o, r + 1), &bytes);
        release(data, bytes);
      }
}

fm_err fm_optim_gather(fm_optim *o) {
  fm_err err = FM_OK;
  for (int which = 1; which <= 2 && o->sharded && err == FM_OK; which++) err = gather(o, which, 0);
  return err;
}

/* ------------------------------------------------------------------ update */

static fm_optim_part part_of(const fm_optim *o, const chunk *c) {
  const size_t at = (size_t)c->start * fm_dtype_size(o->grads[c->param]->dtype);
  char *data[3 + FM_MAX_EMA] = {0};
  for (int k = 0; k < 3 + o->conf.nema; k++) data[k] = (char *)group(o, k)[c->param]->data + at;
  fm_optim_part p = {c->n,    data[0], data[1],
                     data[2], {0},     (const char *)o->grads[c->param]->data + at};
  for (int k = 0; k < o->conf.nema; k++) p.e[k] = data[3 + k];
  return p;
}

static void update_task(void *arg, int task) {
  fm_optim *o = arg;
  const chunk *c = &o->chunks[own_from(o, fm_rank()) + task];
  fm_optim_part p = part_of(o, c);
  update[fm_isa()][o->grads[c->param]->dtype](&o->step, &p);
}

/* Chunks that another rank has updated: only their averages are left to do. */
static void average_task(void *arg, int task) {
  fm_optim *o = arg;
  const chunk *c = &o->chunks[task];
  if (task >= own_from(o, fm_rank()) && task < own_from(o, fm_rank() + 1)) return;
  fm_optim_part p = part_of(o, c);
  average[fm_isa()][o->grads[c->param]->dtype](&o->step, &p);
}

/* All chunks, or this rank's and then, from the others, the rest. */
static fm_err update_all(fm_optim *o) {
  const int me = fm_rank();
  fm_parallel(o->ctx, own_from(o, me + 1) - own_from(o, me), update_task, o);
  if (!o->sharded) return FM_OK;
  const fm_err err = gather(o, 0, -1);
  if (err == FM_OK && o->conf.nema > 0) fm_parallel(o->ctx, o->nchunks, average_task, o);
  return err;
}

/*
** The coefficients of step t (from 1), including bias corrections. RAdam (Liu et al. 2020,
** algorithm 2, as in optax): steps of bias-corrected momentum until rho reaches the threshold.
*/
static fm_optim_step plan_step(const fm_optim_conf *c, double t, double lr, double scale) {
  const double b2t = pow(c->b2, t);
  fm_optim_step s = {.scale = scale,
                     .b1 = c->b1,
                     .b2 = c->b2,
                     .eps = c->eps,
                     .nema = c->nema,
                     .adaptive = true,
                     .rate = lr / (1 - pow(c->b1, t)),
                     .root = 1 / sqrt(1 - b2t)};
  memcpy(s.ema, c->ema, sizeof s.ema);
  if (c->kind == FM_ADAMW) {
    s.decay = lr * c->weight_decay;
    return s;
  }
  const double top = 2 / (1 - c->b2) - 1, rho = top - 2 * t * b2t / (1 - b2t);
  s.adaptive = rho >= RECTIFY;
  if (s.adaptive) s.rate *= sqrt((rho - 4) * (rho - 2) * top / ((top - 4) * (top - 2) * rho));
  return s;
}

static fm_err check_grads(const fm_optim *o, fm_tensor *const *grads) {
  for (int i = 0; i < o->n; i++) {
    const fm_tensor *w = group(o, 0)[i], *g = grads[i];
    char a[96], b[96];
    if (g == NULL)
      return fm_fail(o->ctx, FM_EUSAGE, "optimiser: the gradient of parameter %d is missing",
                     i + 1);
    if (g->dtype != w->dtype || !fm_shape_eq(&g->shape, &w->shape))
      return fm_fail(o->ctx, FM_EUSAGE,
                     "optimiser: the gradient of parameter %d is %s %s, expected %s %s like the "
                     "parameter",
                     i + 1, fm_dtype_name(g->dtype), fm_shape_text(&g->shape, a),
                     fm_dtype_name(w->dtype), fm_shape_text(&w->shape, b));
  }
  return FM_OK;
}

fm_err fm_optim_update(fm_optim *o, fm_tensor *const *grads, double lr, double scale,
                       double *norm) {
  double length;
  fm_err err = check_grads(o, grads);
  if (err != FM_OK) return err;
  if (!isfinite(lr) || !isfinite(scale))
    return fm_fail(o->ctx, FM_ENUMERIC,
                   "optimiser: learning rate %g and gradient scale %g, expected finite numbers", lr,
                   scale);
  o->grads = grads;
  err = measure(o, scale, &length);
  if (norm) *norm = length;
  if (err == FM_OK) {
    if (o->conf.clip > 0 && length > o->conf.clip) scale *= o->conf.clip / length;
    o->step = plan_step(&o->conf, (double)++o->steps, lr, scale);
    err = update_all(o);
    for (int i = 0; i < ntensors(o); i++) fm_tensor_written(o->tensors[i]);
  }
  o->grads = NULL;
  return err;
}
