/*
** hoist.c - splits programs into what a run does once before its micro-batches (normalised weights
** and their transforms: all that depends on shared inputs and constants alone), what it does for
** each, and what it does once after them (linear functions of sums: see linear.c). Programs of
** several micro-batch shapes share one prologue and, if they agree on it, one epilogue.
*/
#include "hoist.h"

static fm_err split_all(fm_hoister *t, int passes) {
  fm_hoisted *h = t->h;
  fm_err err = FM_OK;
  for (int k = 0; k < t->n && err == FM_OK; k++) err = fm_open_source(t->pool, &t->from[k], passes);
  if (err == FM_OK) err = fm_make_prologue(t);
  if (err == FM_OK) err = fm_make_epilogue(t);
  for (int k = 0; k < t->n && err == FM_OK; k++) err = fm_make_body(t, k);
  if (err == FM_OK && h->nvalue > 0) err = fm_split(&h->pool, t->pro, &h->pro);
  if (err == FM_OK && t->epi) err = fm_split(&h->pool, t->epi, &h->epi);
  return err;
}

static fm_err hoist(fm_hoisted *h, int n, fm_prog **p, int passes, int most) {
  fm_pool pool = {.ctx = h->pool.ctx};
  fm_hoister t = {.h = h, .pool = &pool, .n = n, .from = fm_take(&pool, n, fm_source)};
  t.index = fm_take_none(&pool, most);
  for (int k = 0; k < n && !pool.failed; k++) t.from[k].p = p[k];
  fm_err err = pool.failed ? FM_ENOMEM : split_all(&t, passes);
  fm_prog_free(t.pro);
  fm_prog_free(t.epi);
  fm_pool_free(&pool);
  return err;
}

/* Nothing is hoisted: a program is its body. */
static void keep_whole(fm_hoisted *h, fm_prog **p) {
  for (int k = 0; k < h->nprog; k++) {
    fm_prog_free(h->body[k]);
    h->body[k] = p[k], p[k] = NULL;
  }
  h->nout = h->body[0]->nout;
  for (int j = 0; j < h->nout; j++) h->body_out[j] = j;
}

fm_err fm_hoist(fm_ctx *ctx, fm_hoisted *h, int n, fm_prog **p, int passes) {
  int most = 0; /* values and outputs of all programs together */
  for (int k = 0; k < n; k++) most += p[k]->n + p[k]->nout;
  *h = (fm_hoisted){
      .pool = {.ctx = ctx}, .nprog = n, .pro.name = "prologue", .epi.name = "epilogue"};
  h->body = fm_take(&h->pool, n, fm_prog *);
  h->value = fm_take(&h->pool, most, fm_sig);
  h->body_out = fm_take(&h->pool, most, int), h->epilogue_out = fm_take(&h->pool, most, int);
  fm_err err = h->pool.failed ? FM_ENOMEM : FM_OK;
  if (err == FM_OK && (passes & FM_PASS_HOIST)) err = hoist(h, n, p, passes, most);
  if (err == FM_OK && h->nvalue == 0 && h->nsum == 0) keep_whole(h, p);
  return err;
}

void fm_hoisted_free(fm_hoisted *h) {
  for (int k = 0; h->body && k < h->nprog; k++) fm_prog_free(h->body[k]);
  for (int k = 0; k < FM_PARTS; k++) {
    fm_prog_free(h->pro.part[k]);
    fm_prog_free(h->epi.part[k]);
  }
  if (h->pool.ctx) fm_pool_free(&h->pool);
  *h = (fm_hoisted){0};
}
