/*
** test_compile.c - the table of passes and the watch: every pass is reported for every program, in
** the order of the table, and the programs reported compute what they should.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "numeric.h"
#include "op_names.h"
#include "program/program.h"

static int find_pass(const char *name) {
  for (int k = 0; k < fm_pass_count(); k++)
    if (strcmp(fm_pass_at(k)->name, name) == 0) return k;
  fail_msg("no pass is called %s", name);
  return -1;
}

/* Every switch belongs to a pass; names are told apart; every pass is described. */
static void test_table(void **state) {
  (void)state;
  int switches = 0;
  for (int k = 0; k < fm_pass_count(); k++) {
    const fm_pass *pass = fm_pass_at(k);
    switches |= pass->switches;
    assert_int_equal(find_pass(pass->name), k);
    assert_true(strlen(pass->doc) > 20 && pass->doc[strlen(pass->doc) - 1] == '.');
    assert_non_null(strstr(pass->maps, "->"));
  }
  assert_int_equal(switches, FM_PASS_ALL);
}

typedef struct log_of { /* what a watch has seen */
  int calls[32], last;
  char part[32];
  bool products, winograd; /* after lowering, of program 1 */
} log_of;

static void see(void *data, const char *pass, const char *part, const fm_prog *p,
                const int *fused) {
  log_of *l = data;
  int k = find_pass(pass);
  assert_true((fused != NULL) == (k >= find_pass("fuse")));
  assert_true(fm_prog_count(p) > 0 && fm_prog_error(p) == FM_OK);
  if (strcmp(part, l->part) == 0) assert_true(k > l->last);
  snprintf(l->part, sizeof l->part, "%s", part);
  l->last = k;
  l->calls[k]++;
  for (fm_val v = 0; v < p->n; v++) {
    if (strcmp(pass, "optimise") == 0) l->products |= p->node[v].op == &fm_op_conv;
    if (strcmp(pass, "lower") == 0) l->winograd |= p->node[v].op == &fm_op_winograd;
  }
}

static void watch_convolution(int passes, log_of *l) {
  *l = (log_of){.last = -1};
  fm_prog *p = fm_prog_new(ctx);
  fm_val in[2] = {fm_input(p, FM_ROWS, SIG(4, 2, 8, 8, 4)),
                  fm_input(p, FM_SHARED, SIG(4, 4, 3, 3, 4))};
  fm_val y = fm_emit(p, &fm_op_conv, 2, in, &(fm_attr){{1, 1, 1}, {0}});
  assert_int_equal(fm_output(p, fm_sum_to(p, y, SHAPE(4, 1, 1, 1, 1)), FM_SUM), FM_OK);
  fm_plans *plans = fm_compile(ctx, 1, &p, &(fm_options){passes, see, l});
  if (plans == NULL) fail_msg("%s", fm_error(ctx));
  fm_plans_free(plans);
  fm_prog_free(p);
}

static void test_watch(void **state) {
  (void)state;
  log_of l;
  for (int round = 0; round < 2; round++) {
    watch_convolution(round ? FM_PASS_ALL : 0, &l);
    for (int k = 0; k < fm_pass_count(); k++) assert_true(l.calls[k] >= 1);
    assert_int_equal(l.calls[find_pass("optimise")], 1);
    assert_int_equal(l.calls[find_pass("hoist")], round ? 2 : 1); /* the prologue, the body */
    assert_true(l.products && l.winograd == (round == 1));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_table), TEST(test_watch)};
  return cmocka_run_group_tests_name("compile", tests, NULL, NULL);
}
