/* print.c - prints programs in the text form that text.h describes. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis.h"
#include "text.h"

#define LINE 80    /* columns: longer lines are continued on the next */
#define ALIGNED 28 /* columns of the widest type to which the others are aligned */
#define TYPE 160   /* bytes of the longest type, */
#define NUMBER 32  /* and of the longest number */

const char *const fm_dtype_words[] = {[FM_F32] = "f32", [FM_F64] = "f64", [FM_U8] = "u8", NULL};
const char *const fm_role_words[] = {[FM_SHARED] = "shared", [FM_ROWS] = "rows", NULL};
const char *const fm_merge_words[] = {[FM_SUM] = "sum", [FM_STACK] = "rows", NULL};
const char fm_remat_word[] = "rematerialised";

/* ------------------------------------------------------------------ attributes */

static bool named(const fm_op *op, int k, const char *name) {
  return op->attrs[k] && strcmp(op->attrs[k], name) == 0;
}

const char *fm_attr_word(const fm_op *op, int k, char buf[FM_WORD]) {
  if (op->attrs[k]) return op->attrs[k];
  snprintf(buf, FM_WORD, "%c%u", k < FM_F ? 'i' : 'f',
           (unsigned)(k < FM_F ? k : k - FM_F) % FM_ATTRS);
  return buf;
}

bool fm_attr_implied(const fm_op *op, int k) {
  return (named(op, 0, "shape") && k <= FM_MAX_DIMS) || named(op, k, "dtype");
}

int fm_attr_axes(const fm_op *op, int k, const fm_shape *in) {
  return named(op, k, "axes") ? in->nd : 0;
}

uint64_t fm_tensor_hash(const fm_tensor *t) { return fm_hash(FM_HASH, t->data, t->bytes); }

/* ------------------------------------------------------------------ text that grows */

static void grow(fm_text *t, size_t n) {
  size_t cap = 2 * t->cap + n + 256;
  char *at = fm_resize(t->ctx, t->at, t->cap, cap);
  t->failed = at == NULL;
  if (at) t->at = at, t->cap = cap;
}

void fm_say(fm_text *t, const char *format, ...) {
  for (int tries = 0; tries < 2 && !t->failed; tries++) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->at ? t->at + t->n : NULL, t->cap - t->n, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < t->cap - t->n) {
      t->n += (size_t)n;
      return;
    }
    grow(t, n > 0 ? (size_t)n : 0);
  }
}

char *fm_text_take(fm_text *t, size_t *bytes) {
  fm_say(t, "%s", ""); /* so that an empty text has its zero */
  if (t->failed) fm_free(t->ctx, t->at, t->cap);
  *bytes = t->failed ? 0 : t->cap;
  return t->failed ? NULL : t->at;
}

/* ------------------------------------------------------------------ a node */

/* The shortest decimal number that reads back equal, as a float32 if that is what is stored. */
static const char *number_text(double x, bool single, char text[NUMBER]) {
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, NUMBER, "%.*g", digits, x);
    double y = strtod(text, NULL);
    if (single ? (float)y == (float)x : y == x) break;
  }
  return text;
}

static const char *type_text(const fm_sig *sig, char text[TYPE]) {
  int n = snprintf(text, TYPE, "%s[", fm_dtype_words[sig->dtype]);
  for (int k = 0; k < sig->shape.nd; k++)
    n += snprintf(text + n, (size_t)(TYPE - n), "%s%lld", k ? "," : "", (long long)sig->shape.d[k]);
  snprintf(text + n, (size_t)(TYPE - n), "]");
  return text;
}

static bool is_zero(const fm_attr *a, int k) { /* -0 is not */
  static const double zero = 0;
  return k < FM_F ? a->i[k] == 0 : fm_same_bytes(&a->f[k - FM_F], &zero, sizeof zero);
}

/* Are attributes stated? Those of a leaf always, of other operations if one is not 0. */
static bool any_attr(const fm_node *n) {
  for (int k = 0; k < FM_ATTRS; k++) {
    if (fm_attr_implied(n->op, k)) continue;
    if (!is_zero(&n->attr, k) || ((n->op->flags & FM_LEAF) && n->op->attrs[k])) return true;
  }
  return false;
}

static void print_attrs(fm_text *t, const fm_prog *p, fm_val v) {
  const fm_node *n = &p->node[v];
  const fm_attr *a = &n->attr;
  const fm_sig in = fm_prog_sig(p, n->nin > 0 ? fm_arg(p, v, 0) : FM_NONE);
  char buf[FM_WORD], number[NUMBER];
  const char *before = "";
  if (!any_attr(n)) return;
  fm_say(t, " {");
  for (int k = 0; k < FM_ATTRS; k++) {
    int axes = fm_attr_axes(n->op, k, &in.shape);
    if (fm_attr_implied(n->op, k) || (!n->op->attrs[k] && is_zero(a, k))) continue;
    fm_say(t, "%s%s=", before, fm_attr_word(n->op, k, buf));
    before = ", ";
    for (int j = 0; j < axes; j++) fm_say(t, "%s%lld", j ? "," : "[", (long long)a->i[k + j]);
    if (axes > 0)
      fm_say(t, "]"), k += axes - 1;
    else if (k < FM_F)
      fm_say(t, "%lld", (long long)a->i[k]);
    else
      fm_say(t, "%s", number_text(a->f[k - FM_F], false, number));
  }
  fm_say(t, "}");
}

static void print_constant(fm_text *t, const fm_tensor *x, int index) {
  char number[NUMBER];
  int64_t n = fm_shape_count(&x->shape);
  fm_say(t, " #%d ", index);
  if (n > FM_FEW) fm_say(t, "hash %016llx", (unsigned long long)fm_tensor_hash(x));
  if (n > FM_FEW) return;
  for (int64_t i = 0; i < n; i++)
    fm_say(t, "%s%s", i ? ", " : "[", number_text(fm_tensor_get(x, i), x->dtype == FM_F32, number));
  fm_say(t, n > 0 ? "]" : "[]");
}

/* Breaks the last line at blanks, as the parser allows. */
static void wrap(fm_text *t, size_t line, size_t most) {
  static const char margin[] = "\n    ";
  const size_t width = sizeof margin - 2;
  while (!t->failed && t->n - line > most) {
    size_t at = line + most;
    while (at > line + width && t->at[at] != ' ') at--;
    if (at == line + width) return;
    fm_say(t, "%*s", (int)width, "");
    if (t->failed) return;
    memmove(t->at + at + width, t->at + at, t->n - at - width);
    memcpy(t->at + at, margin, sizeof margin - 1);
    line = at + 1;
  }
}

/* In columns for numbers and types. */
static void print_node(fm_text *t, const fm_prog *p, fm_val v, int numbers, int types) {
  const fm_node *n = &p->node[v];
  char type[TYPE], number[NUMBER];
  snprintf(number, sizeof number, "%%%d:", v);
  fm_say(t, "%-*s %-*s = %s", numbers, number, types, type_text(&n->sig, type), n->op->name);
  for (int k = 0; k < n->nin; k++) fm_say(t, "%s%%%d", k ? ", " : " ", fm_arg(p, v, k));
  if (n->op == &fm_op_input)
    fm_say(t, " %s", fm_role_words[p->in[n->attr.i[FM_INDEX]].role]);
  else if (n->op == &fm_op_constant)
    print_constant(t, p->constant[n->attr.i[FM_INDEX]], (int)n->attr.i[FM_INDEX]);
  else
    print_attrs(t, p, v);
  if (n->rematerialised) fm_say(t, " %s", fm_remat_word);
}

/* ------------------------------------------------------------------ all */

static void say_amount(fm_text *t, double x, double step, const char *const units[4]) {
  int k = 0;
  for (; k < 3 && x >= step; k++) x /= step;
  fm_say(t, ", %.3g %s", x, units[k]);
}

static void print_title(fm_text *t, const fm_prog *p, const char *title, const bool *live) {
  int ops = 0, dead = 0;
  double flops = 0, bytes = 0;
  for (fm_val v = 0; v < p->n; v++) {
    dead += !live[v];
    if (!live[v] || (p->node[v].op->flags & FM_LEAF)) continue;
    ops++;
    flops += fm_node_flops(p, v);
    bytes += (double)fm_bytes_of(p, v);
  }
  fm_say(t, "; %s: %d operation%s", title, ops, ops == 1 ? "" : "s");
  say_amount(t, flops, 1000, (const char *const[]){"FLOP", "kFLOP", "MFLOP", "GFLOP"});
  say_amount(t, bytes, 1024, (const char *const[]){"bytes", "KiB", "MiB", "GiB"});
  if (dead) fm_say(t, "; dead: %d", dead);
  fm_say(t, "\n");
}

void fm_say_program(fm_text *t, const fm_prog *p, const bool *live, const int *fused) {
  int types = 0, numbers = snprintf(NULL, 0, "%%%d:", p->n - 1);
  char type[TYPE];
  for (fm_val v = 0; v < p->n; v++) {
    int n = (int)strlen(type_text(&p->node[v].sig, type));
    if (n > types && n <= ALIGNED) types = n;
  }
  for (fm_val v = 0; v < p->n; v++) {
    size_t line = t->n;
    if (live && !live[v]) continue;
    print_node(t, p, v, numbers, types);
    wrap(t, line, fused ? LINE - sizeof " ; pass 123" : LINE);
    if (fused && fused[v] >= 0) fm_say(t, " ; pass %d", fused[v] + 1);
    fm_say(t, "\n");
  }
  for (int k = 0; k < p->nout; k++)
    fm_say(t, "output %%%d %s\n", p->out[k].v, fm_merge_words[p->out[k].merge]);
}

char *fm_prog_print(const fm_prog *p, size_t *bytes) {
  fm_text t = {.ctx = p->ctx};
  fm_say_program(&t, p, NULL, NULL);
  return fm_text_take(&t, bytes);
}

/* ------------------------------------------------------------------ what a pass leaves */

static const char legend[] =
    "; %value: type[shape] = operation operands {attributes}; axes count from 0.\n"
    "; Titles count operations, their FLOPs (a multiply-add is two) and the bytes of\n"
    "; their results; dead values, which no output needs, are left out. \"pass\" names\n"
    "; the fused pass that computes a value, block by block with the others in it.\n";

typedef struct shown {
  const char *pass;
  fm_text prologue, rest; /* in the order of a run, which is not that of compiling */
} shown;

static void show(void *data, const char *pass, const char *part, const fm_prog *p,
                 const int *fused) {
  shown *s = data;
  fm_text *t = strncmp(part, "prologue", 8) == 0 ? &s->prologue : &s->rest;
  char title[64];
  if (p->nout == 0 || strcmp(pass, s->pass) != 0) return;
  fm_pool pool = {.ctx = p->ctx};
  const bool *live = fm_live(&pool, p);
  t->failed = t->failed || live == NULL;
  snprintf(title, sizeof title, "%s after %s", part, pass);
  if (live) {
    fm_say(t, "\n");
    print_title(t, p, title, live);
    fm_say_program(t, p, live, fused);
  }
  fm_pool_free(&pool);
}

char *fm_compile_text(fm_ctx *ctx, int nprogs, fm_prog *const *progs, const fm_micro_batches *micro,
                      int passes, const char *pass, size_t *bytes) {
  shown s = {pass, {.ctx = ctx}, {.ctx = ctx}};
  size_t n;
  int k = 0;
  while (k < fm_pass_count() && strcmp(fm_pass_at(k)->name, pass) != 0) k++;
  if (k == fm_pass_count()) {
    fm_fail(ctx, FM_EUSAGE, "program: there is no pass '%s'", pass);
    return NULL;
  }
  fm_say(&s.prologue, "%s", legend);
  fm_exe *e = fm_compile(ctx, nprogs, progs, micro, &(fm_options){passes, show, &s});
  fm_exe_free(e);
  char *rest = fm_text_take(&s.rest, &n);
  if (rest) fm_say(&s.prologue, "%s", rest);
  fm_free(ctx, rest, n);
  char *text = fm_text_take(&s.prologue, bytes);
  if (e && rest) return text;
  fm_free(ctx, text, *bytes);
  return NULL;
}
