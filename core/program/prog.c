/* prog.c - what a program holds: nodes, of which equal ones are one (hash-consing); constants. */
#include <string.h>

#include "program.h"

bool fm_grow(fm_prog *p, void **array, int *cap, int n, size_t size) {
  if (n < *cap) return true;
  int to = *cap ? 2 * *cap : 64;
  void *q = fm_resize(p->ctx, *array, (size_t)*cap * size, (size_t)to * size);
  if (q == NULL) {
    p->err = FM_ENOMEM;
    return false;
  }
  *array = q;
  *cap = to;
  return true;
}

fm_prog *fm_prog_new(fm_ctx *ctx) {
  fm_prog *p = fm_alloc(ctx, sizeof *p);
  if (p == NULL) return NULL;
  memset(p, 0, sizeof *p);
  p->ctx = ctx;
  p->share = true;
  return p;
}

void fm_prog_free(fm_prog *p) {
  if (p == NULL) return;
  for (int k = 0; k < p->nconst; k++) fm_tensor_drop(p->constant[k]);
  fm_free(p->ctx, p->node, (size_t)p->cap * sizeof *p->node);
  fm_free(p->ctx, p->args, (size_t)p->argcap * sizeof *p->args);
  fm_free(p->ctx, p->hash, (size_t)p->hashcap * sizeof *p->hash);
  fm_free(p->ctx, p->constant, (size_t)p->constcap * sizeof *p->constant);
  fm_free(p->ctx, p->place, (size_t)p->placecap * sizeof *p->place);
  fm_free(p->ctx, p->in, (size_t)p->incap * sizeof *p->in);
  fm_free(p->ctx, p->out, (size_t)p->outcap * sizeof *p->out);
  fm_free(p->ctx, p, sizeof *p);
}

/* ------------------------------------------------------------------ looking */

fm_ctx *fm_prog_ctx(const fm_prog *p) { return p->ctx; }
fm_err fm_prog_error(const fm_prog *p) { return p->err; }
fm_err fm_failed_before(const fm_prog *p) {
  return fm_fail(p->ctx, p->err, "program: this trace has failed before and cannot be continued");
}
int fm_prog_count(const fm_prog *p) { return p->n; }
fm_val fm_arg(const fm_prog *p, fm_val y, int k) { return fm_ins(p, y)[k]; }
int fm_nargs(const fm_prog *p, fm_val y) { return p->node[y].nin; }
fm_attr fm_attr_of(const fm_prog *p, fm_val y) { return p->node[y].attr; }
const fm_op *fm_op_of(const fm_prog *p, fm_val y) { return p->node[y].op; }

bool fm_known(const fm_prog *p, fm_val v, double *value) {
  if (!(p->node[v].op->flags & FM_FILL)) return false;
  *value = p->node[v].attr.f[FM_VALUE];
  return true;
}

fm_sig fm_prog_sig(const fm_prog *p, fm_val v) {
  return v == FM_NONE ? (fm_sig){FM_F32, {0, {0}}} : p->node[v].sig;
}

/* ------------------------------------------------------------------ hash-consing */

uint64_t fm_hash(uint64_t h, const void *bytes, size_t n) {
  const unsigned char *b = bytes;
  for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 1099511628211u;
  return h;
}

static uint64_t hash_of(const fm_node *n, const fm_val *in) {
  uint64_t h = fm_hash(FM_HASH, &n->op, sizeof n->op);
  h = fm_hash(h, &n->attr, sizeof n->attr);
  return fm_hash(h, in, (size_t)n->nin * sizeof *in);
}

bool fm_same_bytes(const void *a, const void *b, size_t n) {
  return n == 0 || memcmp(a, b, n) == 0;
}

static bool same(const fm_prog *p, fm_val v, const fm_node *n, const fm_val *in) {
  const fm_node *m = &p->node[v];
  return m->op == n->op && m->nin == n->nin && fm_same_bytes(&m->attr, &n->attr, sizeof n->attr) &&
         fm_same_bytes(fm_ins(p, v), in, (size_t)n->nin * sizeof *in);
}

/* The place of an equal node, or the free place where it would go. */
static int place(const fm_prog *p, const fm_node *n, const fm_val *in) {
  int k = (int)(hash_of(n, in) & (uint64_t)(p->hashcap - 1));
  while (p->hash[k] != FM_NONE && !same(p, p->hash[k], n, in)) k = (k + 1) & (p->hashcap - 1);
  return k;
}

static bool rehash(fm_prog *p) {
  if (2 * (p->n + 1) <= p->hashcap) return true;
  int cap = p->hashcap ? 2 * p->hashcap : 256;
  while (cap < 2 * (p->n + 1)) cap *= 2; /* many nodes may have come without sharing */
  fm_val *hash = fm_alloc(p->ctx, (size_t)cap * sizeof *hash);
  if (hash == NULL) {
    p->err = FM_ENOMEM;
    return false;
  }
  fm_free(p->ctx, p->hash, (size_t)p->hashcap * sizeof *p->hash);
  p->hash = hash;
  p->hashcap = cap;
  for (int k = 0; k < cap; k++) hash[k] = FM_NONE;
  for (fm_val v = 0; v < p->n; v++) {
    int k = place(p, &p->node[v], fm_ins(p, v));
    if (hash[k] == FM_NONE) hash[k] = v; /* without sharing, equal nodes may exist */
  }
  return true;
}

static fm_val append(fm_prog *p, const fm_node *node, const fm_val *in) {
  if (!FM_GROW(p, node, cap, p->n)) return FM_NONE;
  for (int k = 0; in && k < node->nin; k++) {
    if (!FM_GROW(p, args, argcap, p->nargs + k)) return FM_NONE;
    p->args[p->nargs + k] = in[k];
  }
  p->node[p->n] = *node;
  p->node[p->n].first = p->nargs;
  p->nargs += node->nin;
  return p->n++;
}

fm_val fm_append(fm_prog *p, const fm_node *node, const fm_val *in) {
  bool own = p->verbatim || !p->share || (node->op->flags & FM_UNIQUE);
  if (own) return append(p, node, in);
  if (!rehash(p)) return FM_NONE;
  int k = place(p, node, in);
  if (p->hash[k] == FM_NONE) {
    fm_val v = append(p, node, in);
    p->hash[k] = v;
  }
  return p->hash[k];
}

/* ------------------------------------------------------------------ constants */

/* The place of a tensor's number, or the free place where it would go. */
static int *place_of(const fm_prog *p, const fm_tensor *t) {
  int k = (int)(fm_hash(FM_HASH, &t, sizeof t) & (uint64_t)(p->placecap - 1));
  while (p->place[k] >= 0 && p->constant[p->place[k]] != t) k = (k + 1) & (p->placecap - 1);
  return &p->place[k];
}

static bool more_places(fm_prog *p) {
  if (2 * (p->nconst + 1) <= p->placecap) return true;
  int cap = p->placecap ? 2 * p->placecap : 64;
  int *place = fm_alloc(p->ctx, (size_t)cap * sizeof *place);
  if (place == NULL) {
    p->err = FM_ENOMEM;
    return false;
  }
  fm_free(p->ctx, p->place, (size_t)p->placecap * sizeof *p->place);
  p->place = place, p->placecap = cap;
  for (int k = 0; k < cap; k++) place[k] = -1;
  for (int k = 0; k < p->nconst; k++) *place_of(p, p->constant[k]) = k;
  return true;
}

int fm_constant(fm_prog *p, fm_tensor *t) {
  if (!more_places(p)) return -1;
  int *place = place_of(p, t);
  if (*place < 0) {
    if (!FM_GROW(p, constant, constcap, p->nconst)) return -1;
    p->constant[p->nconst] = fm_tensor_keep(t);
    *place = p->nconst++;
  }
  return *place;
}
