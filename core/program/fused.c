/* fused.c - running a fused pass: blocks of values flow through the micro-operations. */
#include <string.h>

#include "plan.h"

#define MAX_SLOTS 256

/* Offset, in values, of the operand's element at flat index `at` of the domain. */
static int64_t operand_at(const fm_slot *s, const fm_shape *domain, int64_t at) {
  int64_t offset = 0;
  for (int k = domain->nd - 1; k >= 0; k--) {
    offset += at % domain->d[k] * s->stride[k];
    at /= domain->d[k];
  }
  return offset;
}

static void fill(char *to, const char *from, int64_t n, size_t size) {
  if (size == sizeof(float))
    for (int64_t i = 0; i < n; i++) ((float *)to)[i] = *(const float *)from;
  else
    for (int64_t i = 0; i < n; i++) ((double *)to)[i] = *(const double *)from;
}

/* The operand's values for the block [at, at + n): in place where they are contiguous, else copied. */
static void *repeated(const fm_slot *s, const fm_sig *domain, char *base, char *block, int64_t at,
                      int64_t n) {
  size_t size = fm_dtype_size(domain->dtype);
  for (int64_t i = 0; i < n;) {
    int64_t in_run = (at + i) % s->run, len = s->run - in_run;
    if (len > n - i) len = n - i;
    char *from = base + (size_t)operand_at(s, &domain->shape, at + i) * size;
    if (s->varies && len == n) return from;
    if (s->varies)
      memcpy(block + (size_t)i * size, from, (size_t)len * size);
    else
      fill(block + (size_t)i * size, from, len, size);
    i += len;
  }
  return block;
}

static double sum_f32(const float *x, int64_t n) {
  float acc[16] = {0};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int k = 0; k < 16; k++) acc[k] += x[i + k];
  double total = 0;
  for (int k = 0; k < 16; k++) total += (double)acc[k];
  for (; i < n; i++) total += (double)x[i];
  return total;
}

static double sum_f64(const double *x, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i++) total += x[i];
  return total;
}

/* Add a block into the (smaller) target of a sum. */
static void reduce(const fm_reduce *r, const fm_sig *domain, char *base, const char *x, int64_t at,
                   int64_t n, fm_map add) {
  const fm_slot *s = &r->target;
  size_t size = fm_dtype_size(domain->dtype);
  for (int64_t i = 0; i < n;) {
    int64_t in_run = (at + i) % s->run, len = s->run - in_run;
    if (len > n - i) len = n - i;
    char *to = base + (size_t)operand_at(s, &domain->shape, at + i) * size;
    const char *from = x + (size_t)i * size;
    if (s->varies)
      add(len, to, to, from, NULL, NULL);
    else if (size == sizeof(float))
      *(float *)to += (float)sum_f32((const float *)from, len);
    else
      *(double *)to += sum_f64((const double *)from, len);
    i += len;
  }
}

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
  char *base[MAX_SLOTS];  /* FULL, BCAST: first byte in memory */
  char *block[MAX_SLOTS]; /* scratch block */
  void *now[MAX_SLOTS];   /* where the current block of the slot is */
  fm_map map[MAX_SLOTS];  /* per micro-operation */
} pass;

static void open_pass(pass *s, const fm_fused *g, const fm_frame *f) {
  size_t size = fm_dtype_size(g->domain.dtype);
  s->g = g;
  for (int k = 0; k < g->nslot; k++) {
    const fm_slot *slot = &g->slot[k];
    if (slot->kind == SLOT_FULL || slot->kind == SLOT_BCAST) s->base[k] = fm_address(f, slot->v);
    if (slot->scratch >= 0) s->block[k] = f->scratch + (size_t)slot->scratch * FM_BLOCK * size;
    s->now[k] = s->block[k];
    if (slot->kind == SLOT_CONST) {
      float narrow = (float)slot->number;
      const void *one = size == sizeof(float) ? (const void *)&narrow : &slot->number;
      fill(s->block[k], one, FM_BLOCK, size);
    }
  }
  for (int k = 0; k < g->nmicro; k++)
    s->map[k] = fm_kernel_of(g->micro[k].op, g->domain.dtype)->map;
  for (int k = 0; k < g->nreduce; k++)
    memset(fm_address(f, g->reduce[k].v), 0, fm_sig_bytes(&f->plan->p->node[g->reduce[k].v].sig));
}

static void run_family(const pass *s, const fm_micro *m, int64_t n) {
  void *y[FM_ORDERS];
  for (int k = 0; k < FM_ORDERS; k++) y[k] = m->order[k] < 0 ? NULL : s->now[m->order[k]];
  fm_kernel_of(m->op, s->g->domain.dtype)->family(n, y, s->now[m->a]);
}

void fm_fused_run(const fm_fused *g, const fm_frame *f) {
  pass s;
  size_t size = fm_dtype_size(g->domain.dtype);
  int64_t total = fm_shape_count(&g->domain.shape), block = block_size(&g->domain.shape);
  open_pass(&s, g, f);
  fm_map add = fm_kernel_of(&fm_op_add, g->domain.dtype)->map;
  for (int64_t at = 0; at < total; at += block) {
    int64_t n = total - at < block ? total - at : block;
    for (int k = 0; k < g->nslot; k++) {
      const fm_slot *slot = &g->slot[k];
      if (slot->kind == SLOT_FULL) s.now[k] = s.base[k] + (size_t)at * size;
      if (slot->kind == SLOT_BCAST)
        s.now[k] = repeated(slot, &g->domain, s.base[k], s.block[k], at, n);
    }
    for (int k = 0; k < g->nmicro; k++) {
      const fm_micro *m = &g->micro[k];
      if (m->family) {
        run_family(&s, m, n);
        continue;
      }
      s.map[k](n, s.now[m->dst], s.now[m->a], s.now[m->b], s.now[m->c], m->f);
    }
    for (int k = 0; k < g->nreduce; k++)
      reduce(&g->reduce[k], &g->domain, fm_address(f, g->reduce[k].v), s.now[g->reduce[k].src], at,
             n, add);
  }
}
