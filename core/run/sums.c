/*
** sums.c - sums over micro-batches, in a binary tree: block `at` of level l is the sum of the
** leaves at 2^l to (at + 1) 2^l - 1, the lower half plus the upper one. A leaf is one micro-batch;
** in an ordered run, which saves memory, it is two, the second of which adds to the memory of the
** first. The bits of a sum therefore depend on the micro-batches alone, its error grows with the
** logarithm of their number, and any range of leaves can be summed elsewhere. A block is added to
** its neighbour as soon as both exist, output by output, so that few are in memory at a time.
*/
#include "../ranks.h"
#include "exe.h"
#include "../op_names.h"

static fm_result result_of(const fm_exe *e, int k) {
  const fm_prog *p = e->plans->body[0]->p;
  const fm_sig *sig = &p->node[p->out[k].v].sig;
  bool added = p->out[k].merge == FM_SUM;
  return (fm_result){.dtype = sig->dtype,
                     .count = added ? fm_shape_count(&sig->shape) : 0,
                     .bytes = added ? fm_sig_bytes(sig) : 0,
                     .out = e->plans->result_out[k],
                     .borrowed = -1};
}

/* ------------------------------------------------------------------ memory */

/* Whether part k of the epilogue computes output j of the job, and all its outputs in the arena. */
static bool makes(const fm_exe *e, int k, int j) {
  const fm_plan *plan = e->plans->epi.plan[k];
  bool found = false;
  for (int i = 0; i < plan->p->nout; i++) {
    if (plan->loc[plan->p->out[i].v].where != AT_ARENA) return false;
    found = found || e->plans->epilogue_out[e->plans->epi.output[k][i]] == j;
  }
  return found;
}

/* Whether output j of the job can hold sum number s until the epilogue has read it. In an ordered
** run only the part that computes j may read s. */
static bool may_hold(const fm_exe *e, int j, int s) {
  const fm_plans *plans = e->plans;
  bool fine = true;
  for (int k = 0; plans->ordered && k < plans->epi.n; k++) {
    const fm_prog *p = plans->epi.plan[k]->p;
    fine = fine && (!fm_is_read(p, p->in[plans->nin + plans->nvalue + s].v) || makes(e, k, j));
  }
  return fine;
}

/* Outputs that the epilogue computes are unused until it runs: each may hold a block of a sum. */
static void borrow_outputs(fm_exe *e) {
  const fm_plans *plans = e->plans;
  int sum = 0;
  for (int k = 0; k < plans->nresult; k++) {
    fm_result *r = &e->result[k];
    if (r->out >= 0) continue;
    for (int i = 0; i < plans->epi.nout && r->borrowed < 0; i++) {
      int j = plans->epilogue_out[i];
      bool fits = fm_sig_bytes(&plans->out[j].sig) == r->bytes && may_hold(e, j, sum);
      for (int l = 0; l < k; l++) fits = fits && e->result[l].borrowed != j;
      if (fits) r->borrowed = j;
    }
    sum++;
  }
}

void fm_sums_range(const fm_exe *e, int rank, int *from, int *to) {
  int n = fm_nranks();
  *from = 0, *to = e->nleaf;
  if (e->nleaf == 1 || n == 1) return;
  *from = (int)((int64_t)rank * e->nleaf / n);
  *to = (int)((int64_t)(rank + 1) * e->nleaf / n);
}

fm_err fm_sums_make(fm_exe *e) {
  int size = e->plans->ordered ? 2 : 1;
  e->leaf = size;
  e->nleaf = (e->nmicro + size - 1) / size;
  e->result = fm_take(&e->pool, e->plans->nresult, fm_result);
  if (e->pool.failed) return FM_ENOMEM;
  for (int k = 0; k < e->plans->nresult; k++) e->result[k] = result_of(e, k);
  fm_sums_range(e, fm_rank(), &e->from, &e->to);
  if (fm_nranks() == 1 || e->nleaf == 1) borrow_outputs(e);
  return FM_OK;
}

/* Leaves begin in order, and leaf k only after leaf k - window has ended. */
static int window(int workers) { return workers + 1; }

bool fm_sums_may_begin(const fm_exe *e, int micro, int oldest, int workers) {
  return micro / e->leaf < oldest / e->leaf + window(workers);
}

/* The largest number of blocks of a sum in memory: before the oldest unfinished leaf one per level,
** or two if the rank's leaves do not begin at the first; from it on one per leaf of the window. */
static int most_blocks(const fm_exe *e, int workers) {
  int levels = 0, leaves = e->to - e->from;
  while (1 << levels < leaves && levels < 30) levels++;
  int most = (e->from > 0 ? 2 : 1) * levels + window(workers);
  return most < leaves ? most : leaves;
}

/* The output of the job that holds the first block, which finally is the sum; -1: the executable
** has memory of its own for it. */
static int root_out(const fm_exe *e, const fm_result *r) {
  return r->fixed ? -1 : r->out >= 0 ? r->out : e->plans->ordered ? r->borrowed : -1;
}

/* The number of blocks beside the root for which the executable needs memory of its own. */
static int own_blocks(const fm_exe *e, const fm_result *r, int workers) {
  int n = most_blocks(e, workers) - 1 - (r->borrowed >= 0 && r->borrowed != root_out(e, r));
  return r->count > 0 && n > 0 ? n : 0;
}

static size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

size_t fm_sums_bytes(const fm_exe *e, int workers, size_t unit) {
  size_t total = 0;
  for (int k = 0; k < e->plans->nresult; k++) {
    const fm_result *r = &e->result[k];
    int n = own_blocks(e, r, workers) + (root_out(e, r) < 0);
    total += (size_t)n * rounded(r->bytes, unit);
  }
  return total;
}

/* Take a block from `memory` or, if that is NULL, from the pool. */
static void *take_block(fm_pool *pool, char **memory, size_t bytes) {
  if (*memory == NULL) return fm_take_bytes(pool, bytes);
  void *block = *memory;
  *memory += rounded(bytes, FM_APART);
  return block;
}

void fm_sums_take(fm_exe *e, fm_pool *pool, int workers, char *memory) {
  int most = most_blocks(e, workers);
  for (int k = 0; k < e->plans->nresult; k++) {
    fm_result *r = &e->result[k];
    if (r->count == 0) continue;
    r->nown = own_blocks(e, r, workers);
    r->own = fm_take(pool, r->nown, void *);
    r->spare = fm_take(pool, most, void *);
    r->block = fm_take(pool, most, fm_block);
    for (int i = 0; i < r->nown && !pool->failed; i++)
      r->own[i] = take_block(pool, &memory, r->bytes);
    if (root_out(e, r) < 0 && !r->fixed) r->root = r->lowest = take_block(pool, &memory, r->bytes);
  }
}

/* ------------------------------------------------------------------ adding */

void fm_sums_begin(fm_exe *e, const fm_job *job) {
  for (int k = 0; k < e->plans->nresult; k++) {
    fm_result *r = &e->result[k];
    int root = root_out(e, r);
    if (r->count == 0) continue;
    r->nblock = r->nspare = r->closed = r->rising = 0;
    if (root >= 0) r->root = r->lowest = job->out[root]->data;
    if (r->borrowed >= 0 && r->borrowed != root && e->nleaf > 1)
      r->spare[r->nspare++] = job->out[r->borrowed]->data;
    for (int i = 0; i < r->nown; i++) r->spare[r->nspare++] = r->own[i];
  }
}

static int find(const fm_result *r, int level, int at) {
  for (int i = 0; i < r->nblock; i++)
    if (r->block[i].level == level && r->block[i].at == at) return i;
  return -1;
}

static fm_block take_out(fm_result *r, int i) {
  fm_block b = r->block[i];
  r->block[i] = r->block[--r->nblock];
  return b;
}

void *fm_sums_open(fm_exe *e, int k, int micro, bool *first) {
  fm_result *r = &e->result[k];
  int leaf = micro / e->leaf, turn = micro % e->leaf, i;
  *first = turn == 0;
  if (e->nmicro == 1 || r->count == 0) return r->root;
  pthread_mutex_lock(&e->lock);
  if (turn == 0)
    r->block[r->nblock++] =
        (fm_block){.at = leaf, .data = leaf == e->from ? r->lowest : r->spare[--r->nspare]};
  while (turn > 0 && ((i = find(r, 0, leaf)) < 0 || r->block[i].added < turn))
    pthread_cond_wait(&e->added, &e->lock);
  void *data = r->block[find(r, 0, leaf)].data;
  pthread_mutex_unlock(&e->lock);
  return data;
}

void *fm_sums_block(const fm_result *r, int level, int at) {
  return r->block[find(r, level, at)].data;
}

/* Add the block to its neighbour, their sum to its neighbour, and so on while neighbours are
** complete. The caller holds the lock, which is released while numbers are added. */
static void rise(fm_exe *e, fm_result *r, fm_block b) {
  for (; 1 << b.level < e->nleaf; b.level++, b.at /= 2) {
    int neighbour = b.at ^ 1, i = find(r, b.level, neighbour);
    if ((int64_t)neighbour << b.level >= e->nleaf) continue; /* beyond the last leaf: empty */
    if (i < 0 || !r->block[i].whole) break;
    fm_block other = take_out(r, i);
    void *low = b.at < other.at ? b.data : other.data;
    void *high = b.at < other.at ? other.data : b.data;
    pthread_mutex_unlock(&e->lock);
    fm_kernel_of(&fm_op_add, r->dtype)->map(r->count, low, low, high, NULL, NULL);
    pthread_mutex_lock(&e->lock);
    r->spare[r->nspare++] = high;
    b.data = low;
  }
  b.whole = true;
  r->block[r->nblock++] = b;
}

bool fm_sums_close(fm_exe *e, int k, int micro) {
  fm_result *r = &e->result[k];
  int leaf = micro / e->leaf;
  bool last = micro % e->leaf == e->leaf - 1 || micro == e->nmicro - 1;
  if (e->nmicro == 1 || r->count == 0) return false;
  pthread_mutex_lock(&e->lock);
  int i = find(r, 0, leaf);
  r->block[i].added++;
  if (last) {
    r->closed++, r->rising++;
    rise(e, r, take_out(r, i));
    r->rising--;
  } else {
    pthread_cond_broadcast(&e->added);
  }
  bool complete = last && r->rising == 0 && r->closed == e->to - e->from;
  pthread_mutex_unlock(&e->lock);
  return complete;
}
