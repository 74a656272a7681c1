/*
** programs.h - for tests that look into programs: are two the same, node by node, and does one
** survive being printed and parsed? Include it after numeric.h.
*/
#ifndef PROGRAMS_H
#define PROGRAMS_H

#include <stdio.h>
#include <stdlib.h>

#include "parse.h"
#include "program/text.h"

static inline fm_prog *parsed(const char *text) {
  fm_prog *p = parse_program(ctx, text, 0, NULL);
  if (p == NULL) fail_msg("%s in\n%s", fm_error(ctx), text);
  return p;
}

/* The text of a program; free() it. */
static inline char *printed(const fm_prog *p) {
  char *text = NULL;
  size_t n;
  FILE *out = open_memstream(&text, &n);
  assert_true(out && fm_print_program(out, p, NULL, NULL) && fclose(out) == 0);
  return text;
}

static inline bool same_node(const fm_prog *p, const fm_prog *q, fm_val v) {
  const fm_node *a = &p->node[v], *b = &q->node[v];
  return a->op == b->op && fm_same_sig(&a->sig, &b->sig) &&
         memcmp(&a->attr, &b->attr, sizeof a->attr) == 0 &&
         a->rematerialised == b->rematerialised && a->nin == b->nin &&
         fm_same_bytes(fm_ins(p, v), fm_ins(q, v), (size_t)a->nin * sizeof(fm_val));
}

static inline bool same_program(const fm_prog *p, const fm_prog *q) {
  bool same = p->n == q->n && p->nin == q->nin && p->nout == q->nout && p->nconst == q->nconst;
  for (fm_val v = 0; same && v < p->n; v++) same = same_node(p, q, v);
  for (int k = 0; same && k < p->nin; k++)
    same = p->in[k].v == q->in[k].v && p->in[k].role == q->in[k].role;
  for (int k = 0; same && k < p->nout; k++)
    same = p->out[k].v == q->out[k].v && p->out[k].merge == q->out[k].merge;
  for (int k = 0; same && k < p->nconst; k++)
    same = p->constant[k]->bytes == q->constant[k]->bytes &&
           fm_same_bytes(p->constant[k]->data, q->constant[k]->data, p->constant[k]->bytes);
  return same;
}

/* Printed and parsed, p is the same program, and that is printed as the same text. */
static inline void check_text(const fm_prog *p) {
  char *text = printed(p);
  fm_prog *q = parse_program(ctx, text, p->nconst, p->constant);
  if (q == NULL) fail_msg("%s in\n%s", fm_error(ctx), text);
  char *again = printed(q);
  if (!same_program(p, q) || strcmp(text, again) != 0)
    fail_msg("the program\n%s is parsed as\n%s", text, again);
  fm_prog_free(q);
  free(text);
  free(again);
}

static inline void check_text_after(void *data, const char *pass, const char *part,
                                    const fm_prog *p, const int *fused) {
  (void)data, (void)pass, (void)part, (void)fused;
  check_text(p);
}

/* What each pass leaves of p is printed and parsed back. */
static inline void check_texts(fm_prog *p) {
  const fm_options options = {FM_PASS_ALL | FM_SCARCE, check_text_after, NULL};
  fm_plans *plans = fm_compile(ctx, 1, &p, &options);
  if (plans == NULL) fail_msg("%s", fm_error(ctx));
  fm_plans_free(plans);
}

#endif
