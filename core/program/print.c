/* print.c - prints programs in the text form that text.h describes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis.h"
#include "text.h"
#include "../op_names.h"

#define LINE 80    /* columns: longer lines are continued on the next, */
#define MARGIN 4   /* indented by these */
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

bool fm_attr_implied(const fm_op *op, int k) {
  return (named(op, 0, "shape") && k <= FM_MAX_DIMS) || named(op, k, "dtype");
}

int fm_attr_axes(const fm_op *op, int k, const fm_shape *in) {
  return named(op, k, "axes") ? in->nd : 0;
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

/* Whether attributes are printed: those of a leaf always, those of others if one is not 0. */
static bool any_attr(const fm_node *n) {
  for (int k = 0; k < FM_ATTRS; k++) {
    if (fm_attr_implied(n->op, k)) continue;
    if (!is_zero(&n->attr, k) || ((n->op->flags & FM_LEAF) && n->op->attrs[k])) return true;
  }
  return false;
}

static void print_attrs(FILE *out, const fm_prog *p, fm_val v) {
  const fm_node *n = &p->node[v];
  const fm_attr *a = &n->attr;
  const fm_sig in = fm_prog_sig(p, n->nin > 0 ? fm_arg(p, v, 0) : FM_NONE);
  char number[NUMBER];
  const char *before = "";
  if (!any_attr(n)) return;
  fprintf(out, " {");
  for (int k = 0; k < FM_ATTRS; k++) {
    int axes = fm_attr_axes(n->op, k, &in.shape);
    if (fm_attr_implied(n->op, k) || !n->op->attrs[k]) continue;
    fprintf(out, "%s%s=", before, n->op->attrs[k]);
    before = ", ";
    for (int j = 0; j < axes; j++) fprintf(out, "%s%lld", j ? "," : "[", (long long)a->i[k + j]);
    if (axes > 0)
      fprintf(out, "]"), k += axes - 1;
    else if (k < FM_F)
      fprintf(out, "%lld", (long long)a->i[k]);
    else
      fprintf(out, "%s", number_text(a->f[k - FM_F], false, number));
  }
  fprintf(out, "}");
}

static void print_constant(FILE *out, const fm_tensor *x, int index) {
  char number[NUMBER];
  int64_t n = fm_shape_count(&x->shape);
  fprintf(out, " #%d ", index);
  if (n > FM_FEW)
    fprintf(out, "hash %016llx", (unsigned long long)fm_hash(FM_HASH, x->data, x->bytes));
  if (n > FM_FEW) return;
  for (int64_t i = 0; i < n; i++)
    fprintf(out, "%s%s", i ? ", " : "[",
            number_text(fm_tensor_get(x, i), x->dtype == FM_F32, number));
  fprintf(out, n > 0 ? "]" : "[]");
}

/* In columns for numbers and types. */
static void print_node(FILE *out, const fm_prog *p, fm_val v, int numbers, int types) {
  const fm_node *n = &p->node[v];
  char type[TYPE], number[NUMBER];
  snprintf(number, sizeof number, "%%%d:", v);
  fprintf(out, "%-*s %-*s = %s", numbers, number, types, type_text(&n->sig, type), n->op->name);
  for (int k = 0; k < n->nin; k++) fprintf(out, "%s%%%d", k ? ", " : " ", fm_arg(p, v, k));
  if (n->op == &fm_op_input)
    fprintf(out, " %s", fm_role_words[p->in[n->attr.i[FM_INDEX]].role]);
  else if (n->op == &fm_op_constant)
    print_constant(out, p->constant[n->attr.i[FM_INDEX]], (int)n->attr.i[FM_INDEX]);
  else
    print_attrs(out, p, v);
  if (n->rematerialised) fprintf(out, " %s", fm_remat_word);
}

/* A line, broken at blanks where it is longer than `most`, as the parser allows. */
static void print_wrapped(FILE *out, const char *line, size_t most) {
  size_t indent = 0;
  while (indent + strlen(line) > most) {
    size_t at = most - indent;
    while (indent + at > MARGIN && line[at] != ' ') at--;
    if (indent + at == MARGIN) break;
    fprintf(out, "%*s%.*s\n", (int)indent, "", (int)at, line);
    line += at + 1, indent = MARGIN;
  }
  fprintf(out, "%*s%s", (int)indent, "", line);
}

/* ------------------------------------------------------------------ all */

static void say_amount(FILE *out, double x, double step, const char *const units[4]) {
  int k = 0;
  for (; k < 3 && x >= step; k++) x /= step;
  fprintf(out, ", %.3g %s", x, units[k]);
}

static void print_title(FILE *out, const fm_prog *p, const char *title, const bool *live) {
  int ops = 0, dead = 0;
  double flops = 0, bytes = 0;
  for (fm_val v = 0; v < p->n; v++) {
    dead += !live[v];
    if (!live[v] || (p->node[v].op->flags & FM_LEAF)) continue;
    ops++;
    flops += fm_node_flops(p, v);
    bytes += (double)fm_bytes_of(p, v);
  }
  fprintf(out, "; %s: %d operation%s", title, ops, ops == 1 ? "" : "s");
  say_amount(out, flops, 1000, (const char *const[]){"FLOP", "kFLOP", "MFLOP", "GFLOP"});
  say_amount(out, bytes, 1024, (const char *const[]){"bytes", "KiB", "MiB", "GiB"});
  if (dead) fprintf(out, "; dead: %d", dead);
  fprintf(out, "\n");
}

/* Closes open_memstream's `out`. glibc closes a stream without an error, but also without a text,
   if its last allocation fails. */
static bool closed(FILE *out, char *const *text) {
  const bool whole = !ferror(out);
  return fclose(out) == 0 && whole && *text != NULL;
}

bool fm_print_program(FILE *out, const fm_prog *p, const bool *live, const int *fused) {
  int types = 0, numbers = snprintf(NULL, 0, "%%%d:", p->n - 1);
  bool ok = true;
  char type[TYPE];
  for (fm_val v = 0; v < p->n; v++) {
    int n = (int)strlen(type_text(&p->node[v].sig, type));
    if (n > types && n <= ALIGNED) types = n;
  }
  for (fm_val v = 0; v < p->n && ok; v++) {
    char *text = NULL;
    size_t n = 0;
    if (live && !live[v]) continue;
    FILE *line = open_memstream(&text, &n);
    if (line) print_node(line, p, v, numbers, types);
    if ((ok = line && closed(line, &text)))
      print_wrapped(out, text, fused ? LINE - sizeof " ; pass 123" : LINE);
    if (fused && fused[v] >= 0) fprintf(out, " ; pass %d", fused[v] + 1);
    fprintf(out, "\n");
    free(text);
  }
  for (int k = 0; k < p->nout; k++)
    fprintf(out, "output %%%d %s\n", p->out[k].v, fm_merge_words[p->out[k].merge]);
  return ok;
}

char *fm_text_end(fm_ctx *ctx, FILE *out, char **text, bool ok) {
  if (out && closed(out, text) && ok) return *text;
  free(*text);
  fm_fail(ctx, FM_ENOMEM, "memory: the text could not be written");
  return NULL;
}

/* ------------------------------------------------------------------ what a pass leaves */

static const char legend[] =
    "; %value: type[shape] = operation operands {attributes}; axes count from 0.\n"
    "; Titles count operations, their FLOPs (a multiply-add is two) and the bytes of\n"
    "; their results; dead values, which no output needs, are left out. \"pass\" names\n"
    "; the fused pass that computes a value, block by block with the others in it.\n";

typedef struct shown {
  const char *pass;
  FILE *out;
  bool failed;
} shown;

static void show(void *data, const char *pass, const char *part, const fm_prog *p,
                 const int *fused) {
  shown *s = data;
  char title[64];
  if (p->nout == 0 || strcmp(pass, s->pass) != 0) return;
  fm_pool pool = {.ctx = p->ctx};
  const bool *live = fm_live(&pool, p);
  snprintf(title, sizeof title, "%s after %s", part, pass);
  fprintf(s->out, "\n");
  if (live) print_title(s->out, p, title, live);
  if (live == NULL || !fm_print_program(s->out, p, live, fused)) s->failed = true;
  fm_pool_free(&pool);
}

char *fm_compile_text(fm_ctx *ctx, int nprogs, fm_prog *const *progs, int passes,
                      const char *pass) {
  char *text = NULL;
  size_t n = 0;
  int k = 0;
  while (k < fm_pass_count() && strcmp(fm_pass_at(k)->name, pass) != 0) k++;
  if (k == fm_pass_count()) {
    fm_fail(ctx, FM_EUSAGE, "program: there is no pass '%s'", pass);
    return NULL;
  }
  shown s = {.pass = pass, .out = open_memstream(&text, &n)};
  const fm_options options = {passes, show, &s};
  if (s.out) fprintf(s.out, "%s", legend);
  fm_plans *plans = s.out ? fm_compile(ctx, nprogs, progs, &options) : NULL;
  fm_plans_free(plans);
  return fm_text_end(ctx, s.out, &text, plans && !s.failed);
}
