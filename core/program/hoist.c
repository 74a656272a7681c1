/*
** hoist.c - splits programs into what a run does once before its micro-batches (normalised weights
** and their transforms: all that depends on shared inputs and constants alone), what it does for
** each, and what it does once after them (linear functions of sums: see linear.c). Programs of
** several micro-batch shapes share one prologue and, if they agree on it, one epilogue.
*/
#include "hoist.h"
#include "../op_names.h"

/* ------------------------------------------------------------------ what is shared */

/* Computed from shared inputs and constants, without random numbers. */
static bool *find_shared(fm_pool *pool, const fm_prog *p) {
  bool *shared = fm_take(pool, p->n, bool);
  for (fm_val v = 0; shared && v < p->n; v++) {
    const fm_node *n = &p->node[v];
    shared[v] = !(n->op->flags & FM_RANDOM);
    if (n->op == &fm_op_input) shared[v] = p->in[n->attr.i[FM_INDEX]].role == FM_SHARED;
    for (int k = 0; k < n->nin; k++) shared[v] = shared[v] && shared[fm_ins(p, v)[k]];
  }
  return shared;
}

/* Cheaper to recompute in the body than to load. */
static bool cheap(const fm_op *op) { return op->flags & (FM_LEAF | FM_REPEAT | FM_RESHAPE); }

/* As large as its operands, gains excepted: a normalised weight, or Winograd's transform of one. */
static bool large(const fm_prog *p, fm_val v) {
  size_t operands = 0;
  for (int k = 0; k < p->node[v].nin; k++) {
    fm_val a = fm_arg(p, v, k);
    operands += fm_bytes_of(p, (p->node[a].op->flags & FM_REPEAT) ? fm_arg(p, a, 0) : a);
  }
  return fm_bytes_of(p, v) >= operands - operands / GAINS_PART;
}

/*
** Decide how the body and the epilogue obtain the values they read, from their outputs backwards. A
** shared value is LOADED unless it is cheap, or large while memory is scarce: then it is COMPUTED
** again in every micro-batch. Returns the bytes of the values that are loaded.
*/
static size_t find_dispositions(const fm_hoisted *s, bool scarce) {
  const fm_prog *p = s->p;
  size_t total = 0;
  for (fm_val v = 0; v < p->n; v++) s->disposition[v] = UNUSED;
  for (int k = 0; k < p->nout; k++) s->disposition[p->out[k].v] = COMPUTED;
  for (fm_val v = p->n - 1; v >= 0; v--) {
    if (s->disposition[v] == UNUSED) continue;
    bool load = s->shared[v] && !cheap(p->node[v].op) && !(scarce && large(p, v));
    s->disposition[v] = load ? LOADED : COMPUTED;
    total += load ? fm_bytes_of(p, v) : 0;
    for (int k = 0; !load && k < p->node[v].nin; k++) s->disposition[fm_arg(p, v, k)] = COMPUTED;
  }
  return total;
}

static fm_err open_program(fm_pool *pool, fm_hoisted *s, int passes) {
  s->live = fm_live(pool, s->p);
  s->shared = find_shared(pool, s->p);
  s->disposition = fm_take(pool, s->p->n, fm_disposition);
  s->sum = fm_take_none(pool, s->p->n);
  s->region = fm_linear_regions(pool, s->p, s->shared);
  if (s->region == NULL) return FM_ENOMEM;
  if (find_dispositions(s, false) > VALUE_BYTES || (passes & FM_SCARCE)) find_dispositions(s, true);
  return FM_OK;
}

/* ------------------------------------------------------------------ the prologue */

/* Collect all shared nodes, equal nodes of different programs once; those that a body loads become
** outputs. */
static fm_err make_prologue(fm_hoister *t) {
  fm_plans *plans = t->plans;
  if ((t->pro = fm_prog_like(t->from[0].p)) == NULL) return FM_ENOMEM;
  t->pro->share = true;
  for (int k = 0; k < t->n; k++) {
    fm_hoisted *s = &t->from[k];
    const fm_prog *p = s->p;
    s->pro = fm_rewrite_into(t->pool, p, t->pro);
    for (fm_val v = 0; v < p->n && t->pro->err == FM_OK; v++) {
      if (!s->shared[v] || !s->live[v]) continue;
      fm_val *to = &s->pro.map[v];
      if (p->node[v].op != &fm_op_input) *to = fm_copy_node(&s->pro, v);
      if (s->disposition[v] != LOADED || *to == FM_NONE || t->index[*to] >= 0) continue;
      t->index[*to] = plans->nvalue;
      plans->value[plans->nvalue++] = p->node[v].sig;
      fm_output(t->pro, *to, FM_STACK);
    }
  }
  return t->pro->err;
}

/* ------------------------------------------------------------------ all */

static fm_err split_all(fm_hoister *t, int passes) {
  fm_plans *plans = t->plans;
  fm_err err = FM_OK;
  for (int k = 0; k < t->n && err == FM_OK; k++) err = open_program(t->pool, &t->from[k], passes);
  if (err == FM_OK) err = make_prologue(t);
  if (err == FM_OK) err = fm_make_epilogue(t);
  for (int k = 0; k < t->n && err == FM_OK; k++) err = fm_make_body(t, k);
  if (err == FM_OK && plans->nvalue > 0) err = fm_split(&plans->pool, t->pro, &plans->pro);
  if (err == FM_OK && t->epi) err = fm_split(&plans->pool, t->epi, &plans->epi);
  return err;
}

static fm_err hoist(fm_plans *plans, int n, fm_prog **p, int passes, int most) {
  fm_pool pool = {.ctx = plans->ctx};
  fm_hoister t = {.plans = plans, .pool = &pool, .n = n, .from = fm_take(&pool, n, fm_hoisted)};
  t.index = fm_take_none(&pool, most);
  for (int k = 0; k < n && !pool.failed; k++) t.from[k].p = p[k];
  fm_err err = pool.failed ? FM_ENOMEM : split_all(&t, passes);
  fm_prog_free(t.pro);
  fm_prog_free(t.epi);
  fm_pool_free(&pool);
  return err;
}

/* Nothing is hoisted: a program is its body. */
static void keep_whole(fm_plans *plans, fm_prog **p) {
  for (int k = 0; k < plans->nbody; k++) {
    fm_prog_free(plans->prog[k]);
    plans->prog[k] = p[k], p[k] = NULL;
  }
  plans->nresult = plans->nout;
  for (int j = 0; j < plans->nout; j++) plans->result_out[j] = j;
}

fm_err fm_hoist(fm_plans *plans, int n, fm_prog **p, int passes) {
  int most = 0; /* values and outputs of all programs together */
  for (int k = 0; k < n; k++) most += p[k]->n + p[k]->nout;
  plans->nbody = n;
  plans->prog = fm_take(&plans->pool, n, fm_prog *);
  plans->value = fm_take(&plans->pool, most, fm_sig);
  plans->result_out = fm_take(&plans->pool, most, int);
  plans->epilogue_out = fm_take(&plans->pool, most, int);
  fm_err err = plans->pool.failed ? FM_ENOMEM : FM_OK;
  if (err == FM_OK && (passes & FM_PASS_HOIST)) err = hoist(plans, n, p, passes, most);
  if (err == FM_OK && plans->nvalue == 0 && plans->nsum == 0) keep_whole(plans, p);
  return err;
}
