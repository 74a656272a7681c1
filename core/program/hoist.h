/* hoist.h - what a run does once, not once per micro-batch: for hoist.c, linear.c and run.c. */
#ifndef FM_HOIST_H
#define FM_HOIST_H

#include "program.h"

#define FM_PARTS 8 /* of the prologue and of the epilogue; fixed, so that threads change no bits */

/* Independent parts of one program: all with its inputs; output k of part i is output[i][k] of
** it. */
typedef struct fm_parts {
  int n, nout; /* nout: of that program */
  fm_prog *part[FM_PARTS];
  int *output[FM_PARTS];
} fm_parts;

/*
** The programs of an executable, cut into a prologue, bodies and an epilogue. The inputs of a body
** are those of its program, then the values of the prologue; its outputs those of the program that
** it makes itself, then sums for the epilogue. The epilogue's inputs: the program's, the values of
** the prologue, the sums.
*/
typedef struct fm_hoisted {
  fm_ctx *ctx;
  int nprog, nvalue, nsum, nout; /* programs; values; sums; outputs of a body, sums included */
  size_t room;                   /* of the arrays: entries that are allocated */
  fm_prog **body;                /* an owner takes them by putting NULL here */
  fm_sig *value;                 /* of the prologue's outputs */
  int *direct;                   /* per output of a body: the program's output, or -1: a sum */
  int *late;                     /* per output of the epilogue: the program's output */
  fm_parts prologue, epilogue;
} fm_hoisted;

/* Cut programs that are optimised already; takes them over, whatever happens. */
fm_err fm_hoist(fm_ctx *ctx, fm_hoisted *h, int n, fm_prog **p, int passes);
void fm_hoisted_free(fm_hoisted *h);

/* ------------------------------------------------------------------ linear.c */

typedef enum fm_region { IN_BODY, AFTER_SUM, SUMMED } fm_region;

/*
** region[v] of every node: AFTER_SUM where an output that is added up over the micro-batches can be
** computed from sums, because it is linear in them; SUMMED: such a sum. shared[v]: v is the same
** for all micro-batches. Sums take no more memory than the outputs that they stand for.
*/
fm_err fm_linear_regions(const fm_prog *p, const bool *live, const bool *shared, fm_region *region);

/* Cut a program into independent parts of about equal work, in parts.c. */
fm_err fm_cut_parts(const fm_prog *p, fm_parts *parts);
void fm_parts_free(fm_ctx *ctx, fm_parts *parts);

#endif
