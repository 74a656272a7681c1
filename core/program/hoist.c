/*
** hoist.c - cutting programs into what a run does once before its micro-batches (normalised weights
** and their transforms: all that depends on shared inputs and constants alone), what it does for
** each, and what it does once after them (linear functions of sums: see linear.c). Programs of
** several micro-batch shapes share one prologue and one epilogue, as far as these agree.
*/
#include <string.h>

#include "hoist.h"
#include "plan.h"

/* What becomes of a node of a program in its body. */
typedef enum fate { DEAD, KEPT, READ } fate;

typedef struct source { /* one program */
  fm_prog *p;
  bool *live, *shared, *need; /* need: the body makes or reads it */
  fm_region *region;
  fate *fate;
  fm_val *pro; /* its value in the prologue */
  fm_val *map; /* its value in the body or in the epilogue */
  int *number; /* of the sum that it is */
  void *work;
  size_t bytes;
} source;

typedef struct hoister {
  fm_ctx *ctx;
  fm_hoisted *h;
  int n;
  source *from;
  fm_prog *pro, *epi;
  int *index;   /* per value of the prologue: its output there, or -1 */
  fm_val *sums; /* the sums, as values of the first program */
} hoister;

/* Shared by all micro-batches: made from shared inputs and constants, without random numbers. */
static void find_shared(source *s) {
  const fm_prog *p = s->p;
  for (fm_val v = 0; v < p->n; v++) {
    const fm_node *n = &p->node[v];
    s->shared[v] = !(n->op->flags & FM_RANDOM);
    if (n->op == &fm_op_input) s->shared[v] = p->in[n->attr.i[FM_INDEX]].role == FM_SHARED;
    for (int k = 0; k < n->nin; k++) s->shared[v] = s->shared[v] && s->shared[fm_ins(p, v)[k]];
  }
}

/* Cheaper made anew in the body than read there. */
static bool repeated(const fm_op *op) { return op->flags & (FM_LEAF | FM_REPEAT | FM_RESHAPE); }

static size_t bytes_of(const fm_prog *p, fm_val v) { return fm_sig_bytes(&p->node[v].sig); }

/* As large as what it is made of, but for gains: a normalised weight, or Winograd's transform. */
static bool large(const fm_prog *p, fm_val v) {
  size_t operands = 0;
  for (int k = 0; k < p->node[v].nin; k++) {
    fm_val a = fm_ins(p, v)[k];
    operands += bytes_of(p, (p->node[a].op->flags & FM_REPEAT) ? fm_arg(p, a, 0) : a);
  }
  return bytes_of(p, v) >= operands - operands / 16;
}

/*
** What the body and the epilogue read: backwards from what they make. A shared value is READ from
** the prologue, or KEPT if it is only repeated or a view, or if it is large and memory is scarce:
** then it is made anew. Returns the bytes that are READ.
*/
static size_t find_fates(source *s, bool scarce) {
  const fm_prog *p = s->p;
  size_t total = 0;
  for (fm_val v = 0; v < p->n; v++) s->fate[v] = DEAD;
  for (int k = 0; k < p->nout; k++) s->fate[p->out[k].v] = KEPT;
  for (fm_val v = p->n - 1; v >= 0; v--) {
    if (s->fate[v] == DEAD) continue;
    bool read = s->shared[v] && !repeated(p->node[v].op) && !(scarce && large(p, v));
    s->fate[v] = read ? READ : KEPT;
    total += read ? bytes_of(p, v) : 0;
    for (int k = 0; !read && k < p->node[v].nin; k++) s->fate[fm_ins(p, v)[k]] = KEPT;
  }
  return total;
}

/* Values of the prologue beyond which the large ones are made for every micro-batch instead. */
#define VALUE_BYTES ((size_t)512 << 20)

static fm_err open_source(source *s, int passes) {
  size_t n = (size_t)s->p->n + 1;
  s->bytes =
      n * (sizeof(fm_region) + sizeof(fate) + 2 * sizeof(fm_val) + sizeof(int) + 3 * sizeof(bool));
  s->work = fm_alloc(s->p->ctx, s->bytes);
  if (s->work == NULL) return FM_ENOMEM;
  s->region = s->work, s->fate = (fate *)(s->region + n);
  s->pro = (fm_val *)(s->fate + n), s->map = s->pro + n, s->number = s->map + n;
  s->live = (bool *)(s->number + n), s->shared = s->live + n, s->need = s->shared + n;
  for (fm_val v = 0; v < s->p->n; v++) s->number[v] = -1;
  fm_live(s->p, s->live);
  find_shared(s);
  if (find_fates(s, false) > VALUE_BYTES || (passes & FM_SCARCE)) find_fates(s, true);
  return fm_linear_regions(s->p, s->live, s->shared, s->region);
}

/* ------------------------------------------------------------------ prologue */

/* Everything shared, equal nodes of all programs as one; what is READ becomes an output. */
static fm_err make_prologue(hoister *t) {
  t->pro = fm_prog_like(t->from[0].p, t->from[0].pro);
  if (t->pro == NULL || t->pro->err != FM_OK) return FM_ENOMEM;
  for (int k = 0; k < t->n; k++) {
    source *s = &t->from[k];
    const fm_prog *p = s->p;
    for (fm_val v = 0; v < p->n; v++) {
      s->pro[v] = FM_NONE;
      if (!s->shared[v] || !s->live[v]) continue;
      s->pro[v] = p->node[v].op == &fm_op_input ? t->pro->in[p->node[v].attr.i[FM_INDEX]].v
                                                : fm_prog_copy(t->pro, p, v, s->pro);
      if (t->pro->err != FM_OK) return t->pro->err;
      if (s->fate[v] != READ || t->index[s->pro[v]] >= 0) continue;
      t->index[s->pro[v]] = t->h->nvalue;
      t->h->value[t->h->nvalue++] = p->node[v].sig;
      fm_output(t->pro, s->pro[v], FM_STACK);
    }
  }
  return t->pro->err;
}

/* A program with the inputs of p and, behind them, the values of the prologue. */
static fm_prog *with_values(const hoister *t, const fm_prog *p, fm_val *map) {
  fm_prog *q = fm_prog_like(p, map);
  for (int k = 0; q && k < t->h->nvalue; k++) fm_input(q, FM_SHARED, &t->h->value[k]);
  if (q == NULL || q->err == FM_OK) return q;
  fm_prog_free(q);
  return NULL;
}

/* Value v of the prologue where it is an input of q. */
static fm_val value_in(const hoister *t, const fm_prog *q, const source *s, fm_val v) {
  return q->in[s->p->nin + t->index[s->pro[v]]].v;
}

/* ------------------------------------------------------------------ epilogue */

/* Is output k of the program made by the epilogue? */
static bool late(const source *s, int k) {
  return s->p->out[k].merge == FM_SUM && s->region[s->p->out[k].v] != IN_BODY;
}

/* Number the sums of a program; returns how many there are. */
static int number_sums(source *s, fm_val *sums) {
  int n = 0;
  for (fm_val v = 0; v < s->p->n; v++)
    if (s->region[v] == SUMMED) {
      s->number[v] = n;
      if (sums) sums[n] = v;
      n++;
    }
  return n;
}

/* Emit what program s does after its sums; the epilogue has them as inputs. */
static void emit_late(hoister *t, source *s) {
  const fm_prog *p = s->p;
  int first = p->nin + t->h->nvalue;
  for (fm_val v = 0; v < p->n && t->epi->err == FM_OK; v++) {
    s->map[v] = FM_NONE;
    if (s->region[v] == SUMMED)
      s->map[v] = t->epi->in[first + s->number[v]].v;
    else if (s->fate[v] == READ)
      s->map[v] = value_in(t, t->epi, s, v);
    else if (p->node[v].op == &fm_op_input)
      s->map[v] = t->epi->in[p->node[v].attr.i[FM_INDEX]].v;
    else if (s->region[v] == AFTER_SUM || (s->shared[v] && s->fate[v] == KEPT))
      s->map[v] = fm_prog_copy(t->epi, p, v, s->map);
  }
}

/* Do all programs have the same sums and do the same with them? */
static bool agree(hoister *t) {
  const source *a = &t->from[0];
  for (int k = 0; k < t->n; k++) {
    source *b = &t->from[k];
    if (k > 0 && number_sums(b, NULL) != t->h->nsum) return false;
    for (fm_val v = 0; v < b->p->n; v++) {
      if (b->number[v] < 0) continue;
      const fm_sig *x = &b->p->node[v].sig, *y = &a->p->node[t->sums[b->number[v]]].sig;
      if (x->dtype != y->dtype || !fm_shape_eq(&x->shape, &y->shape)) return false;
    }
    emit_late(t, b);
    if (t->epi->err != FM_OK) return false;
    for (int j = 0; j < a->p->nout; j++)
      if (late(a, j) != late(b, j) ||
          (late(a, j) && a->map[a->p->out[j].v] != b->map[b->p->out[j].v]))
        return false;
  }
  return true;
}

/* The epilogue, or none if the programs do not agree on it: then every body sums its own
** outputs. */
static fm_err make_epilogue(hoister *t) {
  source *s = &t->from[0];
  const fm_prog *p = s->p;
  t->h->nsum = number_sums(s, t->sums);
  if (t->h->nsum == 0) return FM_OK;
  if ((t->epi = with_values(t, p, s->map)) == NULL) return FM_ENOMEM;
  for (int k = 0; k < t->h->nsum; k++) fm_input(t->epi, FM_SHARED, &p->node[t->sums[k]].sig);
  if (t->epi->err == FM_OK && agree(t)) {
    for (int j = 0; j < p->nout; j++) {
      if (!late(s, j)) continue;
      t->h->late[t->epi->nout] = j;
      fm_output(t->epi, s->map[p->out[j].v], FM_STACK);
    }
    return t->epi->err;
  }
  if (t->epi->err != FM_OK) return t->epi->err;
  for (int k = 0; k < t->n; k++)
    for (fm_val v = 0; v < t->from[k].p->n; v++) t->from[k].region[v] = IN_BODY;
  fm_prog_free(t->epi);
  t->epi = NULL;
  t->h->nsum = 0;
  return FM_OK;
}

/* ------------------------------------------------------------------ bodies */

/* From what the body puts out, backwards to what it reads. */
static void find_needs(source *s) {
  const fm_prog *p = s->p;
  for (fm_val v = 0; v < p->n; v++) s->need[v] = s->region[v] == SUMMED;
  for (int j = 0; j < p->nout; j++)
    if (!late(s, j)) s->need[p->out[j].v] = true;
  for (fm_val v = p->n - 1; v >= 0; v--)
    for (int k = 0; s->need[v] && s->fate[v] != READ && k < p->node[v].nin; k++)
      s->need[fm_ins(p, v)[k]] = true;
}

/* Value v for one reader: what is made anew is made for each, so as not to stay alive from one to
** the next. */
static fm_val made_anew(fm_prog *q, const source *s, fm_val v) {
  const fm_node *n = &s->p->node[v];
  if (s->fate[v] != KEPT || !s->shared[v] || (n->op->flags & FM_LEAF)) return s->map[v];
  for (int k = 0; k < n->nin; k++) {
    fm_val a = fm_ins(s->p, v)[k];
    s->map[a] = made_anew(q, s, a);
  }
  fm_val copy = fm_prog_copy(q, s->p, v, s->map);
  if (copy != FM_NONE) q->node[copy].late = true;
  return copy;
}

static void copy_anew(fm_prog *q, const source *s, fm_val v) {
  bool share = q->share;
  if (s->shared[v]) return;
  q->share = false;
  for (int k = 0; k < s->p->node[v].nin; k++) {
    fm_val a = fm_ins(s->p, v)[k];
    s->map[a] = made_anew(q, s, a);
  }
  q->share = share;
}

static fm_err make_body(hoister *t, int k) {
  source *s = &t->from[k];
  const fm_prog *p = s->p;
  fm_prog *q = t->h->body[k] = with_values(t, p, s->map);
  int n = 0;
  if (q == NULL) return FM_ENOMEM;
  q->share = p->share;
  find_needs(s);
  for (fm_val v = 0; v < p->n && q->err == FM_OK; v++) {
    if (!s->need[v] || p->node[v].op == &fm_op_input) continue;
    if (s->fate[v] == KEPT) copy_anew(q, s, v);
    s->map[v] = s->fate[v] == READ ? value_in(t, q, s, v) : fm_prog_copy(q, p, v, s->map);
  }
  for (int j = 0; j < p->nout; j++) {
    if (late(s, j)) continue;
    t->h->direct[n++] = j;
    fm_output(q, s->map[p->out[j].v], p->out[j].merge);
  }
  for (fm_val v = 0; v < p->n; v++) {
    if (s->region[v] != SUMMED) continue;
    t->h->direct[n++] = -1;
    fm_output(q, s->map[v], FM_SUM);
  }
  t->h->nout = n;
  return q->err;
}

/* ------------------------------------------------------------------ all */

static fm_err cut_all(hoister *t, int passes) {
  fm_hoisted *h = t->h;
  fm_err err = FM_OK;
  for (int k = 0; k < t->n && err == FM_OK; k++) err = open_source(&t->from[k], passes);
  if (err == FM_OK) err = make_prologue(t);
  if (err == FM_OK) err = make_epilogue(t);
  for (int k = 0; k < t->n && err == FM_OK; k++) err = make_body(t, k);
  if (err == FM_OK && h->nvalue > 0) err = fm_cut_parts(t->pro, &h->prologue);
  if (err == FM_OK && t->epi) err = fm_cut_parts(t->epi, &h->epilogue);
  return err;
}

static fm_err open_hoisted(fm_ctx *ctx, fm_hoisted *h, int n, fm_prog **p) {
  h->ctx = ctx, h->nprog = n, h->room = 1;
  for (int k = 0; k < n; k++) h->room += (size_t)p[k]->n + (size_t)p[k]->nout;
  h->body = fm_alloc(ctx, (size_t)n * sizeof *h->body);
  h->value = fm_alloc(ctx, h->room * sizeof *h->value);
  h->direct = fm_alloc(ctx, 2 * h->room * sizeof *h->direct);
  if (h->body) memset(h->body, 0, (size_t)n * sizeof *h->body);
  if (!h->body || !h->value || !h->direct) return FM_ENOMEM;
  h->late = h->direct + h->room;
  return FM_OK;
}

static fm_err hoist(fm_ctx *ctx, fm_hoisted *h, int n, fm_prog **p, int passes) {
  size_t room = h->room + 1, bytes = (size_t)n * sizeof(source) + 2 * room * sizeof(int);
  source *from = fm_alloc(ctx, bytes);
  if (from == NULL) return FM_ENOMEM;
  memset(from, 0, (size_t)n * sizeof *from);
  hoister t = {.ctx = ctx, .h = h, .n = n, .from = from, .index = (int *)(from + n)};
  t.sums = t.index + room;
  for (size_t k = 0; k < room; k++) t.index[k] = -1;
  for (int k = 0; k < n; k++) from[k].p = p[k];
  fm_err err = cut_all(&t, passes);
  for (int k = 0; k < n; k++) fm_free(ctx, from[k].work, from[k].bytes);
  fm_prog_free(t.pro);
  fm_prog_free(t.epi);
  fm_free(ctx, from, bytes);
  return err;
}

/* Nothing is cut: a program is its body. */
static void keep_whole(fm_hoisted *h, fm_prog **p) {
  for (int k = 0; k < h->nprog; k++) h->body[k] = p[k], p[k] = NULL;
  h->nout = h->body[0]->nout;
  for (int j = 0; j < h->nout; j++) h->direct[j] = j;
}

fm_err fm_hoist(fm_ctx *ctx, fm_hoisted *h, int n, fm_prog **p, int passes) {
  *h = (fm_hoisted){0};
  fm_err err = open_hoisted(ctx, h, n, p);
  if (err == FM_OK && (passes & FM_PASS_HOIST)) err = hoist(ctx, h, n, p, passes);
  if (err == FM_OK && h->nvalue == 0 && h->nsum == 0) {
    for (int k = 0; k < n; k++) fm_prog_free(h->body[k]);
    keep_whole(h, p);
  }
  for (int k = 0; k < n; k++) {
    fm_prog_free(p[k]);
    p[k] = NULL;
  }
  return err;
}

void fm_hoisted_free(fm_hoisted *h) {
  if (h->ctx == NULL) return;
  for (int k = 0; h->body && k < h->nprog; k++) fm_prog_free(h->body[k]);
  fm_free(h->ctx, h->body, (size_t)h->nprog * sizeof *h->body);
  fm_free(h->ctx, h->value, h->room * sizeof *h->value);
  fm_free(h->ctx, h->direct, 2 * h->room * sizeof *h->direct);
  fm_parts_free(h->ctx, &h->prologue);
  fm_parts_free(h->ctx, &h->epilogue);
  *h = (fm_hoisted){0};
}
