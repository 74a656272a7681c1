/*
** share_open.c - opens and closes a run that ranks share: the blocks that each rank holds, the
** pieces of the sums, and memory. Ranks of one machine read each other's blocks and leave the sums
** in the memory of the first of them; they also divide the prologue, whose values are stored there
** as well. The layout of a rank's shared memory: flags; its lowest block of each sum, which on the
** first rank becomes the sum; on the first rank, the prologue's values; the table of its blocks;
** its blocks.
*/
#include <string.h>

#include "share.h"

static size_t rounded(size_t bytes) { return (bytes + FM_APART - 1) / FM_APART * FM_APART; }

/* ------------------------------------------------------------------ the order of sums */

/* Append result k if it is a sum that is not in the order yet. */
static void append(fm_share *s, int k) {
  if (k < 0 || s->e->result[k].count == 0 || s->place[k] >= 0) return;
  s->place[k] = s->nsum;
  s->order[s->nsum++] = k;
  s->start[s->nsum] = s->start[s->nsum - 1] + s->e->result[k].count;
}

static void list_sums(fm_share *s, fm_pool *pool) {
  const fm_plans *plans = s->e->plans;
  const fm_plan *body = plans->body[0];
  s->order = fm_take(pool, plans->nresult, int);
  s->start = fm_take(pool, plans->nresult + 1, int64_t);
  s->place = fm_take_none(pool, plans->nresult);
  if (pool->failed) return;
  for (int i = 0; i < body->nstep; i++) append(s, fm_step_sum(body, &body->step[i]));
  for (int k = 0; k < plans->nresult; k++) append(s, k);
}

static void list_pieces(fm_share *s, fm_pool *pool) {
  int64_t total = s->start[s->nsum];
  int first = 0;
  s->npiece = (int)((total + FM_PIECE - 1) / FM_PIECE);
  s->piece = fm_take(pool, s->npiece, fm_piece);
  for (int p = 0; p < s->npiece && !pool->failed; p++) {
    int64_t lo = (int64_t)p * FM_PIECE, hi = lo + FM_PIECE < total ? lo + FM_PIECE : total;
    while (s->start[first + 1] <= lo) first++;
    s->piece[p].lo = lo, s->piece[p].hi = hi, s->piece[p].first = first;
    for (int i = first; i < s->nsum && s->start[i] < hi; i++) s->piece[p].sums++;
  }
}

/* ------------------------------------------------------------------ blocks of all ranks */

/* Divide the leaves [from, to) into the fewest blocks of the tree; the last one may extend beyond
** the last leaf of all. Returns their number; `list` may be NULL. */
static int list_blocks(const fm_share *s, int rank, int from, int to, fm_span *list) {
  int n = s->e->nleaf, count = 0;
  while (from < to) {
    int level = 0;
    while (level < 30 && 1 << level < n && from % (2 << level) == 0 &&
           (from + (2 << level) <= to || to == n))
      level++;
    if (list)
      list[count] =
          (fm_span){.rank = rank, .level = level, .at = from >> level, .index = count, .local = -1};
    count++;
    from += 1 << level;
  }
  return count;
}

static int blocks_of(const fm_share *s, int rank, fm_span *list) {
  int from, to;
  fm_sums_range(s->e, rank, &from, &to);
  return list_blocks(s, rank, from, to, list);
}

static void list_spans(fm_share *s, fm_pool *pool) {
  for (int r = 0; r < fm_nranks(); r++) s->nspan += blocks_of(s, r, NULL);
  s->span = fm_take(pool, s->nspan, fm_span);
  for (int r = 0, k = 0; r < fm_nranks() && !pool->failed; r++) k += blocks_of(s, r, s->span + k);
}

/* Find the spans of this machine's ranks, and the places where those of others are received. */
static void place_spans(fm_share *s, fm_pool *pool) {
  int place = 0;
  for (int k = 0; k < s->nspan; k++) {
    fm_span *b = &s->span[k];
    for (int l = 0; l < s->machine.n; l++)
      if ((s->machine.shared ? s->machine.rank[l] : fm_rank()) == b->rank) b->local = l;
    if (b->local < 0)
      b->place = place++;
    else
      b->data = fm_take(pool, s->e->plans->nresult, char *);
  }
}

/* ------------------------------------------------------------------ other machines */

/* The rank of another machine that receives the sums of rank `from`: by its number, modulo. */
static int receiver(const fm_share *s, int from, int machine_of, int *list) {
  int n = fm_machine_of(&s->machine, machine_of, list);
  return list[from % n];
}

static void list_others(fm_share *s, fm_pool *pool) {
  int n = fm_nranks();
  int *list = fm_take(pool, n, int);
  s->to = fm_take(pool, n, int), s->from = fm_take(pool, n, int);
  s->elsewhere = fm_take(pool, n, bool);
  if (pool->failed) return;
  for (int r = 0; r < n; r++) s->elsewhere[r] = true;
  for (int i = fm_machine_of(&s->machine, fm_rank(), list) - 1; i >= 0; i--)
    s->elsewhere[list[i]] = false;
  for (int r = 0; r < n; r++) {
    if (!s->elsewhere[r]) continue;
    if (receiver(s, r, fm_rank(), list) == fm_rank()) s->from[s->nfrom++] = r;
    int last = s->nto;
    s->to[last] = receiver(s, fm_rank(), r, list);
    if (list[0] == r) s->nto++; /* once per machine */
  }
}

/* Memory for the pieces that are exchanged with other machines. */
static void take_slots(fm_share *s, fm_pool *pool) {
  int here = s->machine.n, mine = blocks_of(s, fm_rank(), NULL), theirs = 0;
  size_t size = 1;
  for (int k = 0; k < s->nspan; k++) theirs += s->span[k].local < 0;
  for (int k = 0; k < s->nsum; k++) {
    size_t one = fm_dtype_size(s->e->result[s->order[k]].dtype);
    if (one > size) size = one;
  }
  s->part = rounded(((size_t)(FM_PIECE / fm_nranks()) + 1) * size);
  size_t parts =
      (size_t)theirs + (size_t)mine * (size_t)(fm_nranks() - here) + (size_t)s->nfrom + 1;
  for (int k = 0; k < FM_WINDOW && k < s->npiece && here < fm_nranks(); k++)
    s->slot[k].memory = fm_take_bytes(pool, parts * s->part);
}

/* ------------------------------------------------------------------ shared memory */

static size_t lowest_bytes(const fm_share *s) {
  size_t bytes = 0;
  for (int k = 0; k < s->nsum; k++) bytes += rounded(s->e->result[s->order[k]].bytes);
  return bytes;
}

static size_t values_bytes(const fm_share *s) {
  size_t bytes = 0;
  for (int k = 0; s->values && k < s->e->plans->nvalue; k++)
    bytes += rounded(fm_sig_bytes(&s->e->plans->value[k]));
  return bytes;
}

static size_t flags_bytes(const fm_share *s) {
  return rounded(sizeof(fm_head) + 2 * (size_t)s->npiece * sizeof(atomic_uint));
}

int64_t *fm_share_table(const fm_share *s, int local) {
  size_t at = flags_bytes(s) + lowest_bytes(s) + (local == 0 ? values_bytes(s) : 0);
  return (int64_t *)(void *)(s->machine.base[local] + at);
}

/* Offer memory to the ranks of this machine. It is used only if every rank could provide some. */
static fm_err open_memory(fm_share *s, fm_pool *pool, int workers) {
  fm_exe *e = s->e;
  size_t table = (size_t)blocks_of(s, fm_rank(), NULL) * (size_t)e->plans->nresult;
  for (int k = 0; k < s->nsum; k++) e->result[s->order[k]].fixed = true;
  s->values = e->plans->pro.n > 1;
  fm_err err =
      fm_machine_open(pool,
                      flags_bytes(s) + lowest_bytes(s) + values_bytes(s) +
                          rounded(table * sizeof(int64_t)) + fm_sums_bytes(e, workers, FM_APART),
                      &s->machine);
  if (s->machine.shared) return err;
  for (int k = 0; k < s->nsum; k++) e->result[s->order[k]].fixed = false;
  s->values = false;
  return err;
}

/* Place sums and values in the memory of this machine's first rank; returns the memory of this
** rank's own blocks. */
static char *place_sums(fm_share *s) {
  fm_exe *e = s->e;
  char *base = s->machine.base[s->machine.me], *first = s->machine.base[0];
  size_t at = flags_bytes(s);
  for (int k = 0; k < s->nsum; k++) {
    fm_result *r = &e->result[s->order[k]];
    r->lowest = base + at, r->root = first + at;
    at += rounded(r->bytes);
  }
  for (int k = 0; s->values && k < e->plans->nvalue; k++) {
    e->value[k] = first + at;
    at += rounded(fm_sig_bytes(&e->plans->value[k]));
  }
  size_t table = (size_t)blocks_of(s, fm_rank(), NULL) * (size_t)e->plans->nresult;
  return (char *)fm_share_table(s, s->machine.me) + rounded(table * sizeof(int64_t));
}

static void take_flags(fm_share *s, fm_pool *pool) {
  s->all_ready = fm_take(pool, s->machine.n, atomic_uint *);
  s->all_done = fm_take(pool, s->machine.n, atomic_uint *);
  for (int l = 0; l < s->machine.n && !pool->failed; l++) {
    s->all_ready[l] =
        s->machine.shared ? fm_share_head(s, l)->flag : fm_take(pool, 2 * s->npiece, atomic_uint);
    s->all_done[l] = s->all_ready[l] + s->npiece;
  }
  if (pool->failed) return;
  s->ready = s->all_ready[s->machine.me];
  s->done = s->all_done[s->machine.me];
}

/* ------------------------------------------------------------------ opening, closing */

static fm_err fill(fm_share *s, fm_pool *pool, int workers) {
  fm_exe *e = s->e;
  fm_err err = FM_OK;
  char *memory = NULL;
  s->machine.n = 1;
  list_sums(s, pool);
  if (!pool->failed) list_pieces(s, pool);
  list_spans(s, pool);
  s->value = fm_take(pool, e->plans->nvalue, void *);
  if (pool->failed) return FM_ENOMEM;
  memcpy(s->value, e->value, (size_t)e->plans->nvalue * sizeof *s->value);
  if (s->nsum > 0 && fm_machine_any()) err = open_memory(s, pool, workers);
  if (err != FM_OK) return err;
  if (s->machine.shared) memory = place_sums(s);
  place_spans(s, pool);
  list_others(s, pool);
  take_slots(s, pool);
  take_flags(s, pool);
  fm_sums_take(e, pool, workers, memory);
  return pool->failed ? FM_ENOMEM : FM_OK;
}

fm_err fm_share_open(fm_exe *e, int workers) {
  fm_pool *pool = &e->workers;
  if (e->nleaf == 1 || fm_nranks() == 1) {
    fm_sums_take(e, pool, workers, NULL);
    return FM_OK;
  }
  fm_share *s = e->share = fm_take(pool, 1, fm_share);
  if (s == NULL) return FM_ENOMEM;
  s->e = e;
  pthread_mutex_init(&s->lock, NULL);
  fm_err err = fill(s, pool, workers);
  if (err != FM_OK) fm_share_close(e);
  return err;
}

void fm_share_close(fm_exe *e) {
  fm_share *s = e->share;
  if (s == NULL) return;
  if (s->values) memcpy(e->value, s->value, (size_t)e->plans->nvalue * sizeof *s->value);
  for (int k = 0; k < FM_WINDOW; k++) fm_mail_free(&s->slot[k].mail);
  for (int k = 0; k < s->nsum; k++) e->result[s->order[k]].fixed = false;
  fm_machine_close(&s->machine);
  pthread_mutex_destroy(&s->lock);
  e->share = NULL;
}
