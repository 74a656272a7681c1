/*
** share.c - a run shared by ranks. Each rank runs a range of the leaves and holds the blocks of the
** sums' trees that lie in it. The sums are divided into pieces; of each piece every rank adds up a
** part, in the order of the tree, and sends it to all others. The traffic is that of recursive
** halving if ranks and leaves are powers of two. A piece is exchanged as soon as its sums are
** computed, while the backward pass continues. Ranks of one machine send each other no sums: they
** read each other's blocks and leave the sum in memory that all of them read. The rows of stacked
** outputs are sent to all ranks, after all micro-batches.
*/
#include "share.h"
#include "../op_names.h"

#include <string.h>

/* ------------------------------------------------------------------ ranges of values */

typedef struct range { /* a cursor over part of a piece: the values that belong to one sum */
  int64_t at, to;
  int i;               /* place of the sum in the order */
  int k;               /* its number */
  int64_t lo, n;       /* its values lo .. lo + n - 1 */
  size_t bytes;        /* of the ranges before this one */
  size_t size, length; /* bytes of one value, of all n */
} range;

/* Rank r's part of a piece. */
static range part_of(const fm_piece *p, int r) {
  int64_t n = p->hi - p->lo;
  return (range){
      .at = p->lo + n * r / fm_nranks(), .to = p->lo + n * (r + 1) / fm_nranks(), .i = p->first};
}

static bool next(const fm_share *s, range *c) {
  if (c->at >= c->to) return false;
  while (s->start[c->i + 1] <= c->at) c->i++;
  int64_t end = s->start[c->i + 1] < c->to ? s->start[c->i + 1] : c->to;
  c->k = s->order[c->i];
  c->lo = c->at - s->start[c->i], c->n = end - c->at;
  c->bytes += c->length;
  c->size = fm_dtype_size(s->e->result[c->k].dtype);
  c->length = (size_t)c->n * c->size;
  c->at = end;
  return true;
}

static size_t bytes_of(const fm_share *s, const fm_piece *p, int r) {
  range c = part_of(p, r);
  while (next(s, &c)) continue;
  return c.bytes + c.length;
}

/* ------------------------------------------------------------------ memory */

static fm_transfer *slot_of(fm_share *s, const fm_piece *p) {
  return &s->slot[(p - s->piece) % FM_WINDOW];
}

static char *address(fm_share *s, const fm_piece *p, const fm_span *b, const range *c) {
  if (b->local >= 0) return b->data[c->k] + (size_t)c->lo * c->size;
  return slot_of(s, p)->memory + (size_t)b->place * s->part + c->bytes;
}

static char *root(const fm_share *s, const range *c) {
  return (char *)s->e->result[c->k].root + (size_t)c->lo * c->size;
}

static bool mine(const fm_share *s, const fm_span *b) { return b->local == s->machine.me; }

/* This rank's blocks are complete: record where they are, also for the machine's other ranks. */
static void publish(fm_share *s, fm_piece *p) {
  int n = s->e->plans->nresult;
  for (int j = 0; j < s->nspan; j++) {
    fm_span *b = &s->span[j];
    for (int i = p->first; i < p->first + p->sums && mine(s, b); i++) {
      int k = s->order[i];
      b->data[k] = fm_sums_block(&s->e->result[k], b->level, b->at);
      if (s->machine.shared)
        fm_share_table(s, s->machine.me)[b->index * n + k] =
            b->data[k] - s->machine.base[s->machine.me];
    }
  }
  atomic_store_explicit(&s->ready[p - s->piece], s->run, memory_order_release);
}

/* Locate the blocks of all ranks of this machine; false if one of them is not complete yet. */
static bool find_blocks(fm_share *s, fm_piece *p) {
  int n = s->e->plans->nresult;
  for (int l = 0; l < s->machine.n; l++)
    if (atomic_load_explicit(&s->all_ready[l][p - s->piece], memory_order_acquire) != s->run)
      return false;
  for (int j = 0; j < s->nspan; j++) {
    fm_span *b = &s->span[j];
    if (b->local < 0 || mine(s, b)) continue;
    for (int i = p->first; i < p->first + p->sums; i++) {
      int k = s->order[i];
      b->data[k] = s->machine.base[b->local] + fm_share_table(s, b->local)[b->index * n + k];
    }
  }
  return true;
}

/* ------------------------------------------------------------------ messages */

/* Blocks and sums have different tags, and so has each piece in transit. */
static int tag_of(const fm_share *s, const fm_piece *p, bool sum) {
  return 1 + (int)((p - s->piece) % (FM_TAGS / 4)) * 2 + sum;
}

/* Send each rank of another machine its part of this rank's blocks; receive this rank's part of
** theirs. */
static fm_err exchange(fm_share *s, fm_piece *p) {
  fm_transfer *slot = slot_of(s, p);
  fm_ctx *ctx = s->e->ctx;
  fm_err err = FM_OK;
  int theirs = 0, me = fm_rank();
  for (int j = 0; j < s->nspan && err == FM_OK; j++) {
    const fm_span *b = &s->span[j];
    if (b->local >= 0) continue;
    theirs++;
    err = fm_ranks_receive(ctx, &slot->mail, slot->memory + (size_t)b->place * s->part,
                           bytes_of(s, p, me), b->rank, tag_of(s, p, false));
  }
  char *out = slot->memory ? slot->memory + (size_t)theirs * s->part : NULL;
  for (int r = 0; r < fm_nranks() && out && err == FM_OK; r++) {
    if (s->elsewhere[r] == false) continue;
    for (int j = 0; j < s->nspan && err == FM_OK; j++) {
      if (!mine(s, &s->span[j])) continue;
      range c = part_of(p, r);
      while (next(s, &c)) memcpy(out + c.bytes, address(s, p, &s->span[j], &c), c.length);
      err = fm_ranks_send(ctx, &slot->mail, out, c.bytes + c.length, r, tag_of(s, p, false));
      out += s->part;
    }
  }
  slot->rest = out;
  return err;
}

/* Send what this rank has added up to one rank of each other machine; receive their sums. */
static fm_err collect(fm_share *s, fm_piece *p) {
  fm_transfer *slot = slot_of(s, p);
  fm_ctx *ctx = s->e->ctx;
  fm_err err = FM_OK;
  char *in = slot->rest;
  for (int k = 0; k < s->nfrom && err == FM_OK; k++, in += s->part)
    err = fm_ranks_receive(ctx, &slot->mail, in, bytes_of(s, p, s->from[k]), s->from[k],
                           tag_of(s, p, true));
  if (s->nto == 0) return err;
  range c = part_of(p, fm_rank());
  while (next(s, &c)) memcpy(in + c.bytes, root(s, &c), c.length);
  for (int k = 0; k < s->nto && err == FM_OK; k++)
    err = fm_ranks_send(ctx, &slot->mail, in, c.bytes + c.length, s->to[k], tag_of(s, p, true));
  return err;
}

/* Copy the collected parts to where this machine's ranks read the sums. */
static void store_parts(fm_share *s, fm_piece *p) {
  const char *in = slot_of(s, p)->rest;
  for (int k = 0; k < s->nfrom; k++, in += s->part) {
    range c = part_of(p, s->from[k]);
    while (next(s, &c)) memcpy(root(s, &c), in + c.bytes, c.length);
  }
}

/* ------------------------------------------------------------------ adding */

/* This rank's part of a piece: a += b. */
static void add(fm_share *s, fm_piece *p, const fm_span *a, const fm_span *b) {
  range c = part_of(p, fm_rank());
  while (next(s, &c)) {
    char *sum = address(s, p, a, &c);
    fm_kernel_of(&fm_op_add, s->e->result[c.k].dtype)
        ->map(c.n, sum, sum, address(s, p, b, &c), NULL, NULL);
  }
}

/* Add up this rank's part of block (level, at), in the memory of its first span, which is returned;
** NULL: the block has no leaves. */
static const fm_span *add_tree(fm_share *s, fm_piece *p, int level, int at) {
  if ((int64_t)at << level >= s->e->nleaf) return NULL;
  for (int k = 0; k < s->nspan; k++)
    if (s->span[k].level == level && s->span[k].at == at) return &s->span[k];
  const fm_span *low = add_tree(s, p, level - 1, 2 * at);
  const fm_span *high = add_tree(s, p, level - 1, 2 * at + 1);
  if (high) add(s, p, low, high);
  return low;
}

static void add_up(fm_share *s, fm_piece *p) {
  int level = 0;
  while (1 << level < s->e->nleaf) level++;
  const fm_span *whole = add_tree(s, p, level, 0);
  range c = part_of(p, fm_rank());
  while (next(s, &c)) {
    char *from = address(s, p, whole, &c), *to = root(s, &c);
    if (from != to) memcpy(to, from, c.length);
  }
}

/* ------------------------------------------------------------------ progress of pieces */

/* Advance a piece if what it waits for has arrived; the caller holds the lock. */
static fm_err advance(fm_share *s, fm_piece *p) {
  fm_transfer *slot = slot_of(s, p);
  fm_err err = FM_OK;
  if (p->wait == FM_AWAITS_SUMS) {
    if (atomic_load_explicit(&p->pending, memory_order_acquire) > 0) return FM_OK;
    publish(s, p);
    p->wait = FM_AWAITS_BLOCKS;
    err = exchange(s, p);
  }
  if (slot->mail.n > 0 && err == FM_OK) err = fm_ranks_look(s->e->ctx, &slot->mail);
  if (p->wait == FM_AWAITS_BLOCKS && slot->mail.n == 0 && err == FM_OK && find_blocks(s, p)) {
    add_up(s, p);
    p->wait = FM_AWAITS_PARTS;
    err = collect(s, p);
    if (err == FM_OK) err = fm_ranks_look(s->e->ctx, &slot->mail);
  }
  if (p->wait == FM_AWAITS_PARTS && slot->mail.n == 0 && err == FM_OK) {
    store_parts(s, p);
    p->wait = FM_COMPLETE;
    atomic_store_explicit(&s->done[p - s->piece], s->run, memory_order_release);
  }
  return err;
}

static void advance_all(fm_share *s) {
  for (int k = s->oldest; k < s->npiece && k < s->oldest + FM_WINDOW && s->err == FM_OK; k++)
    s->err = advance(s, &s->piece[k]);
  while (s->oldest < s->npiece && s->piece[s->oldest].wait == FM_COMPLETE) s->oldest++;
}

void fm_share_look(fm_exe *e) {
  fm_share *s = e->share;
  if (s == NULL || pthread_mutex_trylock(&s->lock) != 0) return;
  advance_all(s);
  pthread_mutex_unlock(&s->lock);
}

void fm_share_ready(fm_exe *e, int k) {
  fm_share *s = e->share;
  if (s == NULL) return;
  int i = s->place[k];
  int64_t last = (s->start[i + 1] - 1) / FM_PIECE;
  for (int64_t p = s->start[i] / FM_PIECE; p <= last; p++)
    atomic_fetch_sub_explicit(&s->piece[p].pending, 1, memory_order_acq_rel);
}

/* ------------------------------------------------------------------ rows */

/* The rows of a stacked output written by a rank's micro-batches. */
static char *rows_of(const fm_exe *e, const fm_tensor *t, int rank, size_t *bytes) {
  int from, to;
  int64_t all = e->row0[e->nmicro] - e->row0[0];
  size_t row = all > 0 ? t->bytes / (size_t)all : 0;
  fm_sums_range(e, rank, &from, &to);
  int first = from * e->leaf, last = to * e->leaf < e->nmicro ? to * e->leaf : e->nmicro;
  *bytes = (size_t)(e->row0[last] - e->row0[first]) * row;
  return (char *)t->data + (size_t)(e->row0[first] - e->row0[0]) * row;
}

static fm_err share_rows(fm_exe *e, const fm_job *job) {
  fm_mail *mail = &e->share->slot[0].mail;
  fm_err err = FM_OK;
  for (int k = 0; k < e->plans->nout; k++) {
    if (!e->plans->out[k].split) continue;
    size_t own, theirs;
    const char *sent = rows_of(e, job->out[k], fm_rank(), &own);
    for (int r = 0; r < fm_nranks() && err == FM_OK; r++) {
      if (r == fm_rank()) continue;
      char *data = rows_of(e, job->out[k], r, &theirs);
      err = fm_ranks_receive(e->ctx, mail, data, theirs, r, 0);
      if (err == FM_OK) err = fm_ranks_send(e->ctx, mail, sent, own, r, 0);
    }
  }
  return err == FM_OK ? fm_ranks_wait(e->ctx, mail) : err;
}

/* ------------------------------------------------------------------ a run */

/* Wait until a rank of this machine has set the flag to the number of this run. */
static void await(const atomic_uint *flag, unsigned run) {
  for (int turn = 0; atomic_load_explicit(flag, memory_order_acquire) != run; turn++)
    fm_ranks_pause(turn);
}

void fm_share_begin(fm_exe *e) {
  fm_share *s = e->share;
  if (s == NULL) return;
  for (int l = 0; s->machine.shared && l < s->machine.n; l++)
    await(&fm_share_head(s, l)->ended, s->run);
  s->run++;
  s->oldest = 0;
  s->err = FM_OK;
  for (int k = 0; k < s->npiece; k++) {
    s->piece[k].wait = FM_AWAITS_SUMS;
    atomic_store(&s->piece[k].pending, e->to > e->from ? s->piece[k].sums : 0);
  }
}

int fm_share_parts(const fm_exe *e, int *stride) {
  const fm_share *s = e->share;
  *stride = s && s->values ? s->machine.n : 1;
  return s && s->values ? s->machine.me : 0;
}

void fm_share_await_values(fm_exe *e) {
  fm_share *s = e->share;
  if (s == NULL || !s->values) return;
  atomic_store_explicit(&fm_share_head(s, s->machine.me)->values, s->run, memory_order_release);
  for (int l = 0; l < s->machine.n; l++) await(&fm_share_head(s, l)->values, s->run);
}

/* Copy sums that are outputs of the job from shared memory. */
static void copy_outputs(const fm_share *s, const fm_job *job) {
  for (int i = 0; i < s->nsum; i++) {
    const fm_result *r = &s->e->result[s->order[i]];
    if (r->out >= 0 && r->fixed) memcpy(job->out[r->out]->data, r->root, r->bytes);
  }
}

fm_err fm_share_finish(fm_exe *e, const fm_job *job) {
  fm_share *s = e->share;
  if (s == NULL) return FM_OK;
  for (int turn = 0; s->oldest < s->npiece && s->err == FM_OK; turn++) {
    int before = s->oldest;
    advance_all(s);
    if (s->oldest > before) turn = 0;
    if (s->oldest < s->npiece) fm_ranks_pause(turn);
  }
  if (s->err != FM_OK) return s->err;
  for (int l = 0; l < s->machine.n; l++)
    for (int k = 0; k < s->npiece; k++) await(&s->all_done[l][k], s->run);
  copy_outputs(s, job);
  return share_rows(e, job);
}

void fm_share_end(fm_exe *e) {
  fm_share *s = e->share;
  if (s && s->machine.shared)
    atomic_store_explicit(&fm_share_head(s, s->machine.me)->ended, s->run, memory_order_release);
}
