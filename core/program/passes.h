/* passes.h - the passes that map a program to a program, one file each; compile.c runs them. */
#ifndef FM_PASSES_H
#define FM_PASSES_H

#include "program.h"

/* A new program with the same inputs and outputs, or NULL on failure; `passes`: FM_PASS_ flags. */
fm_prog *fm_optimise(const fm_prog *p, int passes);
fm_prog *fm_stack(const fm_prog *p, int passes);
fm_prog *fm_lower(const fm_prog *p, int passes);

/*
** Rematerialises values that are read after stage `at`: those that cost at most `few` operations
** per byte of their result to compute, besides elementwise ones.
*/
fm_prog *fm_recompute(const fm_prog *p, int at, double few);

#endif
