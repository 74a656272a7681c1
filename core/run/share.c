/*
** share.c - a run shared by ranks: each runs a range of the leaves and has the blocks of the sums'
** trees that lie in it. In pieces, every rank adds up a part of each piece, in tree order, and
** sends it to all: the traffic of a recursive halving where ranks and leaves are powers of two.
*/
#include <string.h>

#include "../ranks.h"
#include "exe.h"

#define PIECE ((int64_t)1 << 21) /* values that are exchanged at a time */

/* ------------------------------------------------------------------ blocks of all ranks */

typedef struct span { /* a block that a rank has: see sums.c */
  int rank, level, at;
  char *part; /* of the present piece, the part that this rank adds up */
} span;

typedef struct share {
  fm_exe *e;
  fm_pool pool; /* of one piece */
  int nspan;
  span *span;
  int64_t lo, hi; /* values of the piece, among all sums */
} share;

/* The largest blocks in [from, to): aligned, and the last may reach beyond the leaves. */
static void list_blocks(share *s, int rank, int from, int to) {
  int n = s->e->nleaf;
  while (from < to) {
    int level = 0;
    while (level < 30 && 1 << level < n && from % (2 << level) == 0 &&
           (from + (2 << level) <= to || to == n))
      level++;
    if (s->span) s->span[s->nspan] = (span){.rank = rank, .level = level, .at = from >> level};
    s->nspan++;
    from += 1 << level;
  }
}

static void list_all(share *s) {
  s->nspan = 0;
  for (int r = 0; r < fm_nranks(); r++) {
    int from, to;
    fm_sums_range(s->e, r, &from, &to);
    list_blocks(s, r, from, to);
  }
}

/* ------------------------------------------------------------------ ranges of values */

/* The first value that rank r adds up. */
static int64_t part_of(const share *s, int r) { return s->lo + (s->hi - s->lo) * r / fm_nranks(); }

/* Copy values from .. to - 1 of all sums between the blocks (level, at), or the roots if level < 0,
** and a buffer; returns their bytes. */
static size_t copy_values(const share *s, int level, int at, int64_t from, int64_t to, char *buffer,
                          bool out) {
  int64_t base = 0;
  size_t bytes = 0;
  for (int k = 0; k < s->e->plans->nresult; k++) {
    const fm_result *r = &s->e->result[k];
    int64_t lo = from > base ? from - base : 0, hi = to - base < r->count ? to - base : r->count;
    base += r->count;
    if (lo >= hi) continue;
    size_t size = fm_dtype_size(r->dtype), n = (size_t)(hi - lo) * size;
    if (buffer) {
      char *data = (char *)(level < 0 ? r->root : fm_sums_block(r, level, at)) + (size_t)lo * size;
      if (out)
        memcpy(buffer + bytes, data, n);
      else
        memcpy(data, buffer + bytes, n);
    }
    bytes += n;
  }
  return bytes;
}

/* a += b, both values part_of(me) .. part_of(me + 1) of the sums. */
static void add_parts(const share *s, char *a, const char *b) {
  int64_t from = part_of(s, fm_rank()), to = part_of(s, fm_rank() + 1), base = 0;
  for (int k = 0; k < s->e->plans->nresult; k++) {
    const fm_result *r = &s->e->result[k];
    int64_t lo = from > base ? from - base : 0, hi = to - base < r->count ? to - base : r->count;
    base += r->count;
    if (lo >= hi) continue;
    fm_kernel_of(&fm_op_add, r->dtype)->map(hi - lo, a, a, b, NULL, NULL);
    a += (size_t)(hi - lo) * fm_dtype_size(r->dtype);
    b += (size_t)(hi - lo) * fm_dtype_size(r->dtype);
  }
}

/* The part of the sum of block (level, at), in the memory of its first span; NULL: no leaves. */
static char *add_tree(const share *s, int level, int at) {
  if ((int64_t)at << level >= s->e->nleaf) return NULL;
  for (int k = 0; k < s->nspan; k++)
    if (s->span[k].level == level && s->span[k].at == at) return s->span[k].part;
  char *low = add_tree(s, level - 1, 2 * at), *high = add_tree(s, level - 1, 2 * at + 1);
  if (high) add_parts(s, low, high);
  return low;
}

/* ------------------------------------------------------------------ one piece */

/* To every rank its part of this rank's blocks; from every rank this one's part of its blocks. */
static fm_err exchange(share *s) {
  fm_ctx *ctx = s->e->ctx;
  int me = fm_rank();
  fm_err err = FM_OK;
  for (int k = 0; k < s->nspan && err == FM_OK; k++) {
    span *b = &s->span[k];
    size_t bytes = copy_values(s, -1, 0, part_of(s, me), part_of(s, me + 1), NULL, true);
    if ((b->part = fm_take_bytes(&s->pool, bytes)) == NULL) return FM_ENOMEM;
    if (b->rank == me)
      copy_values(s, b->level, b->at, part_of(s, me), part_of(s, me + 1), b->part, true);
    else
      err = fm_ranks_receive(ctx, b->part, bytes, b->rank);
    for (int r = 0; r < fm_nranks() && b->rank == me && err == FM_OK; r++) {
      if (r == me) continue;
      bytes = copy_values(s, -1, 0, part_of(s, r), part_of(s, r + 1), NULL, true);
      char *sent = fm_take_bytes(&s->pool, bytes);
      if (sent == NULL) return FM_ENOMEM;
      copy_values(s, b->level, b->at, part_of(s, r), part_of(s, r + 1), sent, true);
      err = fm_ranks_send(ctx, sent, bytes, r);
    }
  }
  return err == FM_OK ? fm_ranks_wait(ctx) : err;
}

/* The part that this rank has added up to all; theirs to the roots. */
static fm_err collect(share *s, const char *mine) {
  fm_ctx *ctx = s->e->ctx;
  fm_err err = FM_OK;
  char **from = fm_take(&s->pool, fm_nranks(), char *);
  for (int r = 0; r < fm_nranks() && from && err == FM_OK; r++) {
    size_t bytes = copy_values(s, -1, 0, part_of(s, r), part_of(s, r + 1), NULL, true);
    if (r == fm_rank()) {
      from[r] = (char *)mine;
      for (int to = 0; to < fm_nranks() && err == FM_OK; to++)
        if (to != r) err = fm_ranks_send(ctx, mine, bytes, to);
    } else if ((from[r] = fm_take_bytes(&s->pool, bytes)) == NULL) {
      return FM_ENOMEM;
    } else {
      err = fm_ranks_receive(ctx, from[r], bytes, r);
    }
  }
  if (err == FM_OK) err = from ? fm_ranks_wait(ctx) : FM_ENOMEM;
  for (int r = 0; r < fm_nranks() && err == FM_OK; r++)
    copy_values(s, -1, 0, part_of(s, r), part_of(s, r + 1), from[r], false);
  return err;
}

static fm_err share_piece(share *s) {
  int level = 0;
  s->pool = (fm_pool){.ctx = s->e->ctx};
  while (1 << level < s->e->nleaf) level++;
  fm_err err = exchange(s);
  if (err == FM_OK) err = collect(s, add_tree(s, level, 0));
  fm_pool_free(&s->pool);
  return err;
}

static fm_err share_sums(fm_exe *e) {
  share s = {.e = e};
  fm_pool pool = {.ctx = e->ctx};
  int64_t total = 0;
  fm_err err = FM_OK;
  list_all(&s); /* counts them */
  s.span = fm_take(&pool, s.nspan, span);
  if (s.span == NULL) return FM_ENOMEM;
  list_all(&s);
  for (int k = 0; k < e->plans->nresult; k++) total += e->result[k].count;
  for (int64_t at = 0; at < total && err == FM_OK; at += PIECE) {
    s.lo = at, s.hi = at + PIECE < total ? at + PIECE : total;
    err = share_piece(&s);
  }
  fm_pool_free(&pool);
  return err;
}

/* ------------------------------------------------------------------ rows */

/* The rows of a stacked output that a rank's micro-batches wrote. */
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
  fm_err err = FM_OK;
  for (int k = 0; k < e->plans->nout; k++) {
    if (!e->plans->out[k].split) continue;
    size_t mine, theirs;
    const char *sent = rows_of(e, job->out[k], fm_rank(), &mine);
    for (int r = 0; r < fm_nranks() && err == FM_OK; r++) {
      if (r == fm_rank()) continue;
      char *data = rows_of(e, job->out[k], r, &theirs);
      err = fm_ranks_receive(e->ctx, data, theirs, r);
      if (err == FM_OK) err = fm_ranks_send(e->ctx, sent, mine, r);
    }
  }
  return err == FM_OK ? fm_ranks_wait(e->ctx) : err;
}

fm_err fm_share(fm_exe *e, const fm_job *job) {
  if (e->nleaf == 1 || fm_nranks() == 1) return FM_OK;
  fm_err err = share_sums(e);
  return err == FM_OK ? share_rows(e, job) : err;
}
