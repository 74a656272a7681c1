/* fused.c - runs a fused pass: blocks of values flow through its vector operations. */
#include <string.h>

#include "../kernels/isa.h"
#include "step.h"

#define DECLARE(isa) extern const fm_rows fm_rows_f32_##isa, fm_rows_f64_##isa;
#define ROWS(isa) {&fm_rows_f32_##isa, &fm_rows_f64_##isa},
FM_EACH_ISA(DECLARE)
static const fm_rows *const row_kernels[FM_NISA][2] = {FM_EACH_ISA(ROWS)};

const fm_rows *fm_rows_of(fm_dtype dtype) { return row_kernels[fm_isa()][dtype]; }

/* ------------------------------------------------------------------ walking smaller values */

/* The position of a walk along a smaller value. A row is its first axis: consecutive values, or one
** value that is repeated. */
typedef struct cursor {
  int64_t at;                 /* the row's first value */
  int64_t in;                 /* position in the row */
  int64_t index[FM_MAX_DIMS]; /* along the other axes */
  int64_t held, nheld;        /* the slot's block already has nheld values from offset held on */
} cursor;

/* Moves on by whole rows, at most as many as are left along the second axis. */
static void step_rows(cursor *c, const fm_slot *s, int64_t rows) {
  for (int k = 1; k < s->naxes; k++) {
    c->index[k] += rows;
    c->at += rows * s->stride[k];
    if (c->index[k] < s->size[k]) return;
    c->at -= s->size[k] * s->stride[k];
    c->index[k] = 0;
    rows = 1;
  }
}

static int64_t rows_left(const cursor *c, const fm_slot *s) {
  return s->naxes > 1 ? s->size[1] - c->index[1] : 1;
}

/* The next part of at most n values that one call of a row kernel can do: rows x run values. */
static void next_part(const cursor *c, const fm_slot *s, int64_t n, int64_t *rows, int64_t *run) {
  int64_t left = rows_left(c, s);
  *run = s->size[0];
  *rows = 1;
  if (c->in > 0 || n < *run)
    *run = *run - c->in < n ? *run - c->in : n;
  else if (left > 1)
    *rows = n / *run < left ? n / *run : left;
}

static void go_on(cursor *c, const fm_slot *s, int64_t rows, int64_t run) {
  c->in += run;
  if (c->in < s->size[0]) return;
  c->in = 0;
  step_rows(c, s, rows);
}

/* The operand's next n values: in place where they are contiguous, else repeated in the block. */
static void *repeated(const fm_slot *s, cursor *c, const fm_rows *kernel, size_t size, char *base,
                      char *block, int64_t n) {
  bool varies = s->stride[0] != 0;
  int64_t run, rows, first = c->at, i = 0;
  if (varies && c->in + n <= s->size[0]) {
    char *from = base + (size_t)(c->at + c->in) * size;
    go_on(c, s, 1, n);
    return from;
  }
  bool held = c->held == first && c->nheld >= n && (!varies || c->in == 0);
  bool same = !varies || c->in == 0; /* will the block hold one row's value or values? */
  while (i < n) {
    next_part(c, s, n - i, &rows, &run);
    const char *from = base + (size_t)(c->at + (varies ? c->in : 0)) * size;
    if (i > 0 && c->at != first) same = false;
    if (held && same && i + rows * run >= n) { /* nothing to do */
    } else if (varies) {
      kernel->tile(rows, run, from, block + (size_t)i * size);
    } else {
      kernel->spread(rows, run, from, s->stride[1], block + (size_t)i * size);
    }
    i += rows * run;
    go_on(c, s, rows, run);
  }
  c->held = same ? first : -1;
  c->nheld = n;
  return block;
}

/* A sum in progress. */
typedef struct adder {
  cursor walk;    /* along its target */
  double *sum;    /* of the values of one period */
  int64_t filled; /* values of the pass that these hold already */
  int64_t from;   /* the period's first value in the target */
  char *to;       /* the target */
} adder;

/* Writes the finished values, rounded, to the target. */
static void settle(adder *a, const fm_reduce *r, const fm_rows *kernel, size_t size) {
  int64_t done = a->filled / (r->span / r->period) /* values added up per value of the target */;
  kernel->settle(done, a->sum, a->to + (size_t)a->from * size);
  a->from += done;
  a->filled = 0;
}

/* Adds n values of the pass. */
static void reduce(adder *a, const fm_reduce *r, const fm_rows *kernel, size_t size, const char *x,
                   int64_t n) {
  const fm_slot *s = &r->target;
  cursor *c = &a->walk;
  bool varies = s->stride[0] != 0;
  for (int64_t i = 0, rows, run; i < n; i += rows * run) {
    next_part(c, s, n - i < r->span - a->filled ? n - i : r->span - a->filled, &rows, &run);
    double *to = a->sum + (c->at - a->from) + (varies ? c->in : 0);
    if (varies)
      kernel->sum_columns(rows, run, x + (size_t)i * size, to);
    else
      kernel->sum_rows(rows, run, x + (size_t)i * size, to, s->stride[1]);
    go_on(c, s, rows, run);
    if ((a->filled += rows * run) == r->span) settle(a, r, kernel, size);
  }
}

/* ------------------------------------------------------------------ passes */

/* Blocks hold whole rows, or equal parts of one row, so that most operands need no copy. */
static int64_t block_size(const fm_shape *domain) {
  int64_t row = domain->nd ? domain->d[domain->nd - 1] : 1;
  if (row == 0) return FM_BLOCK;
  if (row <= FM_BLOCK) return FM_BLOCK / row * row;
  int64_t parts = (row + FM_BLOCK - 1) / FM_BLOCK;
  while (row % parts != 0 && parts < row) parts++;
  return row / parts >= FM_BLOCK / 4 ? row / parts : FM_BLOCK;
}

typedef struct pass {
  const fm_fused *g;
  const fm_rows *rows;
  size_t size;
  char *base[MAX_SLOTS];  /* FULL, BCAST: first byte in memory */
  char *block[MAX_SLOTS]; /* its block, if it has one */
  void *now[MAX_SLOTS];   /* where the current block of the slot is */
  cursor walk[MAX_SLOTS]; /* BCAST */
  adder add[MAX_SLOTS];   /* per sum */
  fm_map map[MAX_SLOTS];  /* per vector operation; NULL: a family */
} pass;

static void open_pass(pass *s, const fm_fused *g, const fm_frame *f) {
  size_t size = fm_dtype_size(g->domain.dtype);
  s->g = g, s->size = size;
  s->rows = fm_rows_of(g->domain.dtype);
  for (int k = 0; k < g->nslot; k++) {
    const fm_slot *slot = &g->slot[k];
    bool read = slot->kind == SLOT_FULL || slot->kind == SLOT_BCAST;
    s->base[k] = read ? fm_address(f, slot->v) : NULL;
    s->walk[k] = (cursor){.held = -1};
    s->block[k] = slot->block >= 0 ? f->blocks + (size_t)slot->block * FM_BLOCK * size : NULL;
    s->now[k] = s->block[k];
    if (slot->kind == SLOT_CONST) {
      float narrow = (float)slot->number;
      const void *one = size == sizeof(float) ? (const void *)&narrow : &slot->number;
      s->rows->spread(1, FM_BLOCK, one, 0, s->block[k]);
    }
  }
  for (int k = 0; k < g->nvop; k++)
    s->map[k] = g->vop[k].family ? NULL : fm_kernel_of(g->vop[k].op, g->domain.dtype)->map;
  double *sums = (double *)(void *)(f->blocks + (size_t)g->nblock * FM_BLOCK * sizeof(double));
  memset(sums, 0, g->nsum * sizeof *sums);
  for (int k = 0; k < g->nreduce; k++) {
    const fm_reduce *r = &g->reduce[k];
    s->add[k] = (adder){.sum = sums + r->sums, .to = fm_address(f, r->v)};
    if (r->span == 0) /* NOLINTNEXTLINE: the planner gives each reduction's result a place */
      memset(s->add[k].to, 0, fm_sig_bytes(&f->plan->p->node[r->v].sig));
  }
}

static void run_family(const pass *s, const fm_vop *m, int64_t n) {
  void *y[FM_ORDERS];
  for (int k = 0; k < FM_ORDERS; k++) y[k] = m->order[k] < 0 ? NULL : s->now[m->order[k]];
  fm_kernel_of(m->op, s->g->domain.dtype)->family(n, y, s->now[m->a]);
}

static void run_block(pass *s, int64_t at, int64_t n) {
  const fm_fused *g = s->g;
  for (int k = 0; k < g->nslot; k++) {
    const fm_slot *slot = &g->slot[k];
    if (slot->kind == SLOT_FULL) s->now[k] = s->base[k] + (size_t)at * s->size;
    if (slot->kind == SLOT_BCAST)
      s->now[k] = repeated(slot, &s->walk[k], s->rows, s->size, s->base[k], s->block[k], n);
  }
  for (int k = 0; k < g->nvop; k++) {
    const fm_vop *m = &g->vop[k];
    if (s->map[k] == NULL)
      run_family(s, m, n);
    else
      s->map[k](n, s->now[m->dst], s->now[m->a], s->now[m->b], s->now[m->c], m->f);
  }
  for (int k = 0; k < g->nreduce; k++)
    reduce(&s->add[k], &g->reduce[k], s->rows, s->size, s->now[g->reduce[k].src], n);
}

void fm_fused_run(const fm_fused *g, const fm_frame *f) {
  pass s;
  int64_t total = fm_shape_count(&g->domain.shape), block = block_size(&g->domain.shape);
  open_pass(&s, g, f);
  for (int64_t at = 0; at < total; at += block)
    run_block(&s, at, total - at < block ? total - at : block);
  for (int k = 0; k < g->nreduce; k++)
    if (s.add[k].filled > 0) settle(&s.add[k], &g->reduce[k], s.rows, s.size);
}
