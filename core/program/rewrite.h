/*
** rewrite.h - copying a program into another, node by node, with a map of its values; and the
** passes that do so, one file each, which compile.c runs.
*/
#ifndef FM_REWRITE_H
#define FM_REWRITE_H

#include "../pool.h"
#include "program.h"

typedef struct fm_rewrite {
  const fm_prog *p;
  fm_prog *q;  /* NULL: memory ran out */
  fm_val *map; /* values of p in q; FM_NONE: not emitted (yet) */
  fm_val *in;  /* operands of the node being copied */
} fm_rewrite;

/* The value of q that stands for node v of p; FM_NONE: its copy does. */
typedef fm_val (*fm_rule)(const fm_rewrite *r, fm_val v, const void *data);

/* An empty program with the inputs of p, sharing equal nodes as p does; NULL on failure. */
fm_prog *fm_prog_like(const fm_prog *p);
/* From p into q, whose first inputs are those of p; NULL: it could not be made. */
fm_rewrite fm_rewrite_into(fm_pool *s, const fm_prog *p, fm_prog *q);
/* Emits node v with its operands mapped; its own entry of the map is left to the caller. */
fm_val fm_copy_node(const fm_rewrite *r, fm_val v);
/* Emits the outputs of p; q, or NULL on failure. */
fm_prog *fm_rewrite_end(fm_rewrite *r);

/* All of that: the nodes that `only` marks (NULL: all) by a rule, and the outputs. */
fm_prog *fm_rewritten(fm_pool *s, const fm_prog *p, bool share, const bool *only, fm_rule rule,
                      const void *data);

/* ------------------------------------------------------------------ the passes */

/* A new program with the same inputs and outputs, or NULL on failure; `passes`: FM_PASS_ flags. */
fm_prog *fm_optimise(const fm_prog *p, int passes);
fm_prog *fm_stack(const fm_prog *p);
fm_prog *fm_lower(const fm_prog *p);

/*
** Rematerialises values that are read after stage `at`: those that cost at most `few` operations
** per byte of their result to compute, besides elementwise ones.
*/
fm_prog *fm_recompute(const fm_prog *p, int at, double few);

#endif
