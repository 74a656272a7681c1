/*
** parse.c - parses the text form of programs, which core/program/text.h describes. The bytes may be
** any: what is no program is refused in one sentence that names its line.
*/
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

#include "op_names.h"
#include "program/text.h"

/* ------------------------------------------------------------------ words */

typedef struct parser {
  fm_prog *p; /* its sticky error ends the parsing */
  const char *at;
  int line;
  int nconst;
  fm_tensor *const *constant; /* candidates for constants stated by hash */
  fm_val *in;                 /* operands of the node that is being read */
  int nin, incap;
} parser;

static bool fine(const parser *r) { return r->p->err == FM_OK; }

static const char *skip(parser *r) { /* to the next word */
  for (;; r->at++) {
    if (*r->at == ';') r->at += strcspn(r->at, "\n");
    if (*r->at == '\n') r->line++;
    if (*r->at == 0 || !strchr(" \t\r\n", *r->at)) return r->at;
  }
}

/* Fails: the next word is not what the form requires. */
static void expected(parser *r, const char *wanted) {
  char found[24] = "the end";
  int n = (int)strcspn(skip(r), " \t\r\n");
  if (!fine(r)) return;
  if (*r->at) snprintf(found, sizeof found, "'%.*s'", n < 20 ? n : 20, r->at);
  for (int k = 0; found[k]; k++)
    if (!isprint((unsigned char)found[k])) found[k] = '?';
  r->p->err = fm_fail(r->p->ctx, FM_EDATA, "program text, line %d: %s found, expected %s", r->line,
                      found, wanted);
}

static bool take(parser *r, char c) {
  if (!fine(r) || *skip(r) != c) return false;
  r->at++;
  return true;
}

static void need(parser *r, char c) {
  const char wanted[4] = {'\'', c, '\'', 0};
  if (!take(r, c)) expected(r, wanted);
}

static size_t word_length(parser *r) {
  size_t n = 0;
  for (skip(r); isalnum((unsigned char)r->at[n]) || r->at[n] == '_';) n++;
  return n;
}

static bool take_word(parser *r, const char *word) {
  size_t n = word_length(r);
  if (!fine(r) || n != strlen(word) || memcmp(r->at, word, n) != 0) return false;
  r->at += n;
  return true;
}

static int choice(parser *r, const char *const words[], const char *wanted) {
  for (int k = 0; words[k]; k++)
    if (take_word(r, words[k])) return k;
  expected(r, wanted);
  return 0;
}

static int64_t integer(parser *r, int64_t low, int64_t high, const char *wanted) {
  char *end;
  errno = 0;
  long long x = strtoll(skip(r), &end, 10);
  if (fine(r) && end > r->at && errno == 0 && x >= low && x <= high) {
    r->at = end;
    return x;
  }
  expected(r, wanted);
  return low;
}

static double number(parser *r) {
  char *end;
  double x = strtod(skip(r), &end);
  if (end == r->at) expected(r, "a number");
  r->at = end;
  return x;
}

/* ------------------------------------------------------------------ parts of a node */

static fm_val operand(parser *r) {
  need(r, '%');
  return (fm_val)integer(r, 0, r->p->n - 1, "the number of an earlier value");
}

static void operands(parser *r) {
  r->nin = 0;
  if (*skip(r) != '%') return;
  do {
    if (!fm_grow(r->p, (void **)&r->in, &r->incap, r->nin, sizeof *r->in)) return;
    r->in[r->nin++] = operand(r);
  } while (take(r, ','));
}

static fm_sig type(parser *r) {
  fm_sig sig = {(fm_dtype)choice(r, fm_dtype_words, "f32, f64 or u8"), {0, {0}}};
  fm_shape *s = &sig.shape;
  need(r, '[');
  if (take(r, ']')) return sig;
  do s->d[s->nd++] = integer(r, 0, INT64_MAX, "a size");
  while (s->nd < FM_MAX_DIMS && take(r, ','));
  if (fine(r) && !fm_sig_fits(&sig)) expected(r, "smaller sizes before this");
  need(r, ']');
  return sig;
}

static void attr(parser *r, const fm_op *op, fm_attr *a) {
  int k = 0;
  while (k < FM_ATTRS && (fm_attr_implied(op, k) || !op->attrs[k] || !take_word(r, op->attrs[k])))
    k++;
  if (k == FM_ATTRS) {
    expected(r, "the name of an attribute");
    return;
  }
  need(r, '=');
  const fm_sig in = fm_prog_sig(r->p, r->nin > 0 ? r->in[0] : FM_NONE);
  const int axes = fm_attr_axes(op, k, &in.shape);
  if (k >= FM_F)
    a->f[k - FM_F] = number(r);
  else if (axes == 0)
    a->i[k] = integer(r, INT64_MIN, INT64_MAX, "a whole number");
  for (int j = 0; j < axes; j++) {
    need(r, j ? ',' : '[');
    a->i[k + j] = integer(r, 0, axes - 1, "an axis, from 0 on");
  }
  if (axes > 0) need(r, ']');
}

/* Attributes stated in the text, and those implied by the type. */
static fm_attr attrs(parser *r, const fm_op *op, const fm_sig *sig) {
  fm_attr a = {{0}, {0}};
  if (fm_attr_implied(op, 0)) a = fm_attr_shape(&sig->shape);
  if (fm_attr_implied(op, FM_F + FM_DTYPE)) a.f[FM_DTYPE] = (double)sig->dtype;
  if (!take(r, '{')) return a;
  do attr(r, op, &a);
  while (take(r, ','));
  need(r, '}');
  return a;
}

/* ------------------------------------------------------------------ constants */

static bool held(const fm_prog *p, const fm_tensor *t) {
  for (int k = 0; k < p->nconst; k++)
    if (p->constant[k] == t) return true;
  return false;
}

/* The candidate with that hash: `same`, or one that the program does not hold yet. */
static fm_tensor *by_hash(parser *r, const fm_sig *sig, const fm_tensor *same) {
  char *end;
  uint64_t hash = strtoull(skip(r), &end, 16);
  for (int k = 0; fine(r) && end > r->at && k < r->nconst; k++) {
    fm_tensor *t = r->constant[k];
    if (t->dtype == sig->dtype && fm_shape_eq(&t->shape, &sig->shape) &&
        fm_hash(FM_HASH, t->data, t->bytes) == hash && (same ? t == same : !held(r->p, t))) {
      r->at = end;
      return fm_tensor_keep(t);
    }
  }
  expected(r, "the hash of one of the constants given");
  return NULL;
}

static fm_tensor *by_values(parser *r, const fm_sig *sig) {
  int64_t n = fine(r) ? fm_shape_count(&sig->shape) : 0;
  if (n > FM_FEW) expected(r, "'hash', as the constant is large");
  need(r, '[');
  fm_tensor *t = fine(r) ? fm_tensor_new(r->p->ctx, sig->dtype, &sig->shape) : NULL;
  if (fine(r) && t == NULL) r->p->err = FM_ENOMEM;
  for (int64_t i = 0; t && i < n; i++) {
    if (i > 0) need(r, ',');
    fm_tensor_set(t, i, number(r));
  }
  need(r, ']');
  return t;
}

/* Constants are numbered in the order of their first node. */
static fm_val constant(parser *r, const fm_sig *sig) {
  need(r, '#');
  int64_t k = integer(r, 0, r->p->nconst, "the number of this or the next constant");
  fm_tensor *same = k < r->p->nconst ? r->p->constant[k] : NULL;
  fm_tensor *t = take_word(r, "hash") ? by_hash(r, sig, same) : by_values(r, sig);
  if (fine(r) && same &&
      (same->bytes != t->bytes || same->dtype != t->dtype ||
       !fm_shape_eq(&same->shape, &t->shape) || !fm_same_bytes(same->data, t->data, t->bytes)))
    expected(r, "the values of this constant as before");
  fm_val v = fine(r) ? fm_const(r->p, same ? same : t) : FM_NONE;
  fm_tensor_drop(t);
  return v;
}

/* ------------------------------------------------------------------ statements */

/* Adds to the sentence of a shape rule the line on which the statement begins. */
static void blame(parser *r, int line) {
  char why[256];
  if (fm_error_code(r->p->ctx) == FM_ENOMEM) return;
  snprintf(why, sizeof why, "%s", fm_error(r->p->ctx));
  fm_error_clear(r->p->ctx);
  r->p->err = fm_fail(r->p->ctx, FM_EDATA, "program text, line %d: %s", line, why);
}

static const fm_op *operation(parser *r) {
  for (int k = 0; k < fm_op_count(); k++)
    if (take_word(r, fm_op_at(k)->name)) return fm_op_at(k);
  expected(r, "the name of an operation");
  return NULL;
}

static void compute(parser *r, const fm_op *op, const fm_sig *sig, int line) {
  fm_prog *p = r->p;
  operands(r);
  fm_attr a = attrs(r, op, sig);
  if (!fine(r)) return;
  fm_val v = fm_emit(p, op, r->nin, r->in, &a);
  if (v != FM_NONE &&
      (p->node[v].sig.dtype != sig->dtype || !fm_shape_eq(&p->node[v].sig.shape, &sig->shape))) {
    char s[96], t[96];
    p->err = fm_fail(p->ctx, FM_EUSAGE, "%s gives %s %s, but %s %s is stated", op->name,
                     fm_dtype_name(p->node[v].sig.dtype), fm_shape_text(&p->node[v].sig.shape, s),
                     fm_dtype_name(sig->dtype), fm_shape_text(&sig->shape, t));
  }
  if (!fine(r)) blame(r, line);
}

static void node(parser *r) {
  char wanted[48];
  int line = r->line, next = r->p->n;
  snprintf(wanted, sizeof wanted, "%d, the number of the next value", next);
  integer(r, next, next, wanted);
  need(r, ':');
  fm_sig sig = type(r);
  need(r, '=');
  const fm_op *op = operation(r);
  if (op == &fm_op_input)
    fm_input(r->p, (fm_role)choice(r, fm_role_words, "shared or rows"), &sig);
  else if (op == &fm_op_constant)
    constant(r, &sig);
  else if (op)
    compute(r, op, &sig, line);
  if (take_word(r, fm_remat_word)) r->p->node[next].rematerialised = true;
}

static void output(parser *r) {
  int line = r->line;
  fm_val v = operand(r);
  fm_merge merge = (fm_merge)choice(r, fm_merge_words, "sum or rows");
  if (fine(r) && fm_output(r->p, v, merge) != FM_OK) blame(r, line);
}

fm_prog *parse_program(fm_ctx *ctx, const char *text, int nconst, fm_tensor *const *constants) {
  parser r = {.p = fm_prog_new(ctx), .at = text, .line = 1};
  if (r.p == NULL) return NULL;
  r.nconst = nconst, r.constant = constants;
  r.p->verbatim = true;
  while (fine(&r) && *skip(&r)) {
    if (take(&r, '%'))
      node(&r);
    else if (take_word(&r, "output"))
      output(&r);
    else
      expected(&r, "a value such as '%0: ...', or 'output'");
  }
  r.p->verbatim = false;
  fm_free(ctx, r.in, (size_t)r.incap * sizeof *r.in);
  if (fine(&r)) return r.p;
  fm_prog_free(r.p);
  return NULL;
}
