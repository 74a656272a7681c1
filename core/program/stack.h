/* stack.h - what the files of the stacking pass share: stack.c, stack_groups.c, stack_sums.c. */
#ifndef FM_STACK_H
#define FM_STACK_H

#include "analysis.h"
#include "rewrite.h"

typedef struct fm_stacking {
  const fm_prog *p;
  fm_rewrite r;
  fm_users users;
  int *group;   /* of each node: the first member of its group, or -1 */
  int *next;    /* the member after it, or -1 */
  int *key;     /* order inside a group: consistent between forward and backward calls */
  int *kind;    /* of a stackable node: the first node that it could be called with, else -1 */
  fm_val *list; /* scratch: three times as many values as there are nodes */
} fm_stacking;

/* Node v has this form, FM_STACKS_ROWS or FM_STACKS_SUMS, with its operands and attributes. */
bool fm_stacks(const fm_prog *p, fm_val v, unsigned form);
/* Whether u and v could be parts of one call, apart from their second operands. */
bool fm_stack_alike(const fm_prog *p, fm_val u, fm_val v);
/* Fills in users, group, next, key and kind, unless memory runs out. */
void fm_stack_groups(fm_pool *s, fm_stacking *t);
/* Emits the sum `root`, whose summands are emitted already. */
fm_val fm_stack_sum(fm_stacking *t, fm_val root);

#endif
