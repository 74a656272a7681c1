/*
** plan.h - a program turned into steps on planned memory: made here, run by core/run.
*/
#ifndef FM_PLAN_H
#define FM_PLAN_H

#include "analysis.h"
#include "limits.h"

/* Where a value lives. */
typedef enum fm_where { AT_NOWHERE, AT_ARENA, AT_INPUT, AT_CONST, AT_OUT } fm_where;

typedef struct fm_loc {
  fm_where where;
  int index;     /* input, constant or output */
  size_t offset; /* bytes from its start */
} fm_loc;

/* ------------------------------------------------------------------ fused elementwise passes */

typedef enum fm_slot_kind {
  SLOT_TEMP,  /* a block, live inside the pass */
  SLOT_FULL,  /* a value of the pass's shape in memory, read or written */
  SLOT_BCAST, /* a smaller value in memory, repeated into a block */
  SLOT_CONST  /* one number everywhere */
} fm_slot_kind;

typedef struct fm_slot {
  fm_slot_kind kind;
  fm_val v;      /* FULL, BCAST: the value in memory */
  int block;     /* TEMP, BCAST, CONST: its number */
  double number; /* CONST */
  /* BCAST: the axes of the pass, innermost first, joined where the operand's values follow each
     other or are the same; its values per step along each: 0 or 1 for the first, which is a row. */
  int naxes;
  int64_t size[FM_MAX_DIMS], stride[FM_MAX_DIMS];
} fm_slot;

typedef struct fm_vop { /* one vector operation on blocks */
  const fm_op *op;
  fm_val v;
  int dst, a, b, c;     /* slots */
  int order[FM_ORDERS]; /* of a family: the slot of each order, -1 if not wanted */
  bool family;
  double f[2];
} fm_vop;

/*
** A sum at the end of a pass. Its values are added up in double, `period` of them at a time: those
** that `span` values of the pass in a row, and no others, contribute to. Periods whose spans are
** shorter than a block are joined.
*/
typedef struct fm_reduce {
  fm_val v;
  int src;              /* slot that is summed */
  fm_slot target;       /* as a BCAST slot: where each value goes */
  int64_t span, period; /* see above */
  size_t sums;          /* its first double among those of the pass */
} fm_reduce;

typedef struct fm_fused {
  fm_sig domain;
  int nslot, nvop, nreduce, nblock;
  size_t nsum; /* doubles that the sums need */
  fm_slot *slot;
  fm_vop *vop;
  fm_reduce *reduce;
} fm_fused;

/* ------------------------------------------------------------------ steps */

typedef enum fm_step_kind { STEP_OP, STEP_FUSED, STEP_COPY, STEP_SUM, STEP_STACK } fm_step_kind;

typedef struct fm_step {
  fm_step_kind kind;
  fm_val v;         /* OP: its result; COPY: the operand; SUM, STACK: the output's value */
  int index;        /* FUSED: which pass; SUM, STACK: which output */
  fm_val into;      /* COPY: the concatenation */
  size_t offset;    /* COPY: bytes from its start */
  int64_t order[3]; /* stage, kind, size: the schedule */
} fm_step;

typedef struct fm_plan {
  fm_ctx *ctx;
  fm_pool pool; /* of its tables */
  fm_prog *p;   /* the optimised program, owned */
  int nstep, nfused;
  int first; /* number of its first step among those of all plans of a run */
  fm_step *step;
  fm_fused *fused;
  int *group;           /* per value of p: the fused pass that computes it, or -1 */
  fm_loc *loc;          /* per value of p */
  size_t arena, blocks; /* bytes of memory that a run needs: of values, of passes */
  int peak;             /* the stage at which most bytes of the arena are in use */
  bool in_place; /* outputs are computed where the caller wants them: none may be an input, too */
  bool bf16;     /* see FM_BF16 */
} fm_plan;

/* The plan of an optimised program, which it takes over, whatever happens; NULL on failure. */
fm_plan *fm_plan_new(fm_prog *p, int passes, bool in_place);
void fm_plan_free(fm_plan *plan);

#endif
