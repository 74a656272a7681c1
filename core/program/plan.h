/*
** plan.h - a program turned into steps on planned memory, for the files of program/ only.
*/
#ifndef FM_PLAN_H
#define FM_PLAN_H

#include "program.h"

/* Where a value lives. */
typedef enum fm_where { AT_NOWHERE, AT_ARENA, AT_SHARED, AT_ROWS, AT_CONST, AT_LANE } fm_where;

typedef struct fm_loc {
  fm_where where;
  int index;     /* input, constant or output */
  size_t offset; /* bytes from its start */
} fm_loc;

/* ------------------------------------------------------------------ fused elementwise passes */

#define FM_BLOCK 512 /* values per block: a few dozen blocks fit in the first-level cache */

typedef enum fm_slot_kind {
  SLOT_TEMP,  /* a block of scratch, live inside the pass */
  SLOT_FULL,  /* a value of the pass's shape in memory, read or written */
  SLOT_BCAST, /* a smaller value in memory, repeated into a block of scratch */
  SLOT_CONST  /* one number everywhere */
} fm_slot_kind;

typedef struct fm_slot {
  fm_slot_kind kind;
  fm_val v;      /* FULL, BCAST: the value in memory */
  int scratch;   /* TEMP, BCAST, CONST: number of its block */
  double number; /* CONST */
  /* BCAST: the axes of the pass, innermost first, joined where the operand's values follow each
     other or are the same; its values per step along each: 0 or 1 for the first, which is a row. */
  int naxes;
  int64_t size[FM_MAX_DIMS], stride[FM_MAX_DIMS];
} fm_slot;

typedef struct fm_micro { /* one vector operation on blocks */
  const fm_op *op;
  fm_val v;
  int dst, a, b, c;     /* slots */
  int order[FM_ORDERS]; /* of a family: the slot of each order, -1 if not wanted */
  bool family;
  double f[2];
} fm_micro;

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
  int nslot, nmicro, nreduce, nscratch;
  int slotcap, microcap, reducecap;
  size_t nsum; /* doubles that the sums need */
  fm_slot *slot;
  fm_micro *micro;
  fm_reduce *reduce;
} fm_fused;

/* Where the bytes of a value are during one run. */
typedef struct fm_frame {
  const struct fm_plan *plan;
  char *arena, *scratch;
  void *const *in;   /* per input: its first byte for this micro-batch */
  void *const *lane; /* per output: the partial sum */
  bool first;        /* the lane's first micro-batch: = instead of += */
  fm_rng rng;
  int64_t row0;
} fm_frame;

void *fm_address(const fm_frame *f, fm_val v);
void fm_fused_run(const fm_fused *g, const fm_frame *f);
struct fm_rows;
const struct fm_rows *fm_rows_of(
    fm_dtype dtype); /* kernels/rows.h, for the instruction set in use */

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
  fm_prog *p; /* the optimised program, owned */
  int nstep, stepcap;
  fm_step *step;
  int nfused, fusedcap;
  fm_fused *fused;
  fm_loc *loc; /* per value of p */
  size_t arena, scratch;
  int peak;      /* the stage at which most bytes of the arena are in use */
  bool in_place; /* outputs are made where they are wanted: none of them may be an input as well */
  double ms_plan;
  bool bf16; /* see FM_BF16 */
} fm_plan;

/* Of an optimised program, which it takes over, whatever happens; NULL on failure. */
fm_plan *fm_plan_new(fm_prog *p, int passes, bool in_place);
void fm_plan_free(fm_plan *plan);
/* The program in which cheap values read after stage `at` are made anew, products of at most `few`
** operations per byte of their result among them; NULL on failure. */
fm_prog *fm_recompute(const fm_prog *p, int at, double few);
void fm_step_run(const fm_step *s, const fm_frame *f);
double fm_node_flops(const fm_prog *p, fm_val v);
double fm_step_flops(const fm_plan *plan, const fm_step *s);
double fm_step_bytes(const fm_plan *plan, const fm_step *s); /* read and written */

/* Fusion, in fuse.c: group[v] is the pass of node v or -1; virtual nodes have neither. */
typedef struct fm_grouping {
  int *stage, *group, *uses;
  bool *live, *virt, *stored;
  bool fuse;
  int ngroup;
  fm_val *member; /* of group k: member[from[k]] .. member[from[k + 1] - 1], in order */
  int *from;
} fm_grouping;
fm_err fm_fuse(fm_plan *plan, const fm_grouping *g); /* fills plan->fused */

/* Places while they are being decided. */
typedef struct fm_layout {
  fm_plan *plan;
  const fm_grouping *g;
  fm_val *parent; /* a view's or part's owner, else FM_NONE */
  size_t *offset; /* bytes from the owner's start */
  int *from, *to; /* first and last step that touches an owner */
} fm_layout;
typedef struct fm_block { /* the memory of an owner */
  size_t size, at;
  fm_val v;
} fm_block;
/* Offsets of all values in the arena, in arena.c; list: scratch for twice as many as values. */
void fm_place(fm_layout *l, fm_block *list);

size_t fm_sig_bytes(const fm_sig *sig);
double fm_now_ms(void); /* by the clock */
double fm_cpu_ms(void); /* of the processor, for this thread */

#endif
