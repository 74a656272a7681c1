/* analysis.h - facts about the values of a program. Arrays come from the caller's pool. */
#ifndef FM_ANALYSIS_H
#define FM_ANALYSIS_H

#include "../pool.h"
#include "program.h"

size_t fm_sig_bytes(const fm_sig *sig);
static inline size_t fm_bytes_of(const fm_prog *p, fm_val v) {
  return fm_sig_bytes(&p->node[v].sig);
}
double fm_node_flops(const fm_prog *p, fm_val v);

/* Per node: whether it is needed for an output. */
bool *fm_live(fm_pool *s, const fm_prog *p);
/* Per node: the number of operands of live nodes, and of outputs, that are this node. */
int *fm_use_counts(fm_pool *s, const fm_prog *p, const bool *live);
bool fm_is_read(const fm_prog *p, fm_val v); /* by a node, live or not, or as an output */

/* The nodes that read v, as often as they do: user[from[v]] .. user[from[v + 1] - 1]. */
typedef struct fm_users {
  int *from;
  fm_val *user;
} fm_users;
fm_users fm_find_users(fm_pool *s, const fm_prog *p);

/* The first value of its operand that v is a view from; -1 if v is none. */
int64_t fm_view_from(const fm_prog *p, fm_val v);
static inline bool fm_is_view(const fm_prog *p, fm_val v) { return fm_view_from(p, v) >= 0; }
/* The operands of v are its parts in memory. */
bool fm_joins(const fm_prog *p, fm_val v);
/* The value that v is a reshape of, v itself if it is none. */
fm_val fm_reshaped_from(const fm_prog *p, fm_val v);
/* A sum that the fused pass which computes its operand adds up. */
static inline bool fm_closes_pass(const fm_op *op) { return op->flags & FM_CLOSES_PASS; }

/*
** Per node: its stage, the number of nodes that open a stage on the longest path to it. Elementwise
** operations and broadcasts belong to the stage of their operands, all others open one: a path
** between two nodes of one stage runs through elementwise operations and broadcasts alone.
*/
int *fm_stages(fm_pool *s, const fm_prog *p);
bool fm_opens_stage(const fm_op *op);

#endif
