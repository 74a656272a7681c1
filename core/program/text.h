/*
** text.h - programs as text, for print.c and the parser of the tests. One line per value, in SSA
** form:
**
**   %0: f32[64,2]   = input rows
**   %1: f32[512,2]  = input shared
**   %2: f32[64,512] = matmul %0, %1 {ta=0, tb=1}
**   %3: f32[64,512] = silu %2 rematerialised
**   output %3 rows
**
** that is: number, element type and shape, operation, operands, attributes. Attributes that follow
** from the type (a shape, an element type) are omitted, and all of them where all are 0. A constant
** of few values states them, a larger one a hash. A line break is a blank; a comment runs from ; to
** the end of its line.
**
** Text and program determine each other: numbers are printed so that they read back equal (a NaN
** loses its payload), and parsing appends nodes verbatim, neither folded nor shared. The shape rule
** of every operation must arrive at the stated type.
*/
#ifndef FM_TEXT_H
#define FM_TEXT_H

#include <stdio.h>

#include "program.h"

#define FM_FEW 8 /* values of a constant that the text states */

extern const char *const fm_dtype_words[], *const fm_role_words[], *const fm_merge_words[];
extern const char fm_remat_word[];

/* Whether the attribute follows from the type of the result. */
bool fm_attr_implied(const fm_op *op, int k);
/* Axes of the first operand that attribute k lists, a slot each; 0: it is one number. */
int fm_attr_axes(const fm_op *op, int k, const fm_shape *in);

/*
** Prints a program: the values that `live` marks (NULL: all). A comment names the fused pass of
** each value that has one, from 1 on (`fused`: see fm_pass_watch; NULL: none). False: out of
** memory.
*/
bool fm_print_program(FILE *out, const fm_prog *p, const bool *live, const int *fused);
/* Closes open_memstream's `out`; its text, which the caller frees by free(), or NULL on failure. */
char *fm_text_end(fm_ctx *ctx, FILE *out, char **text, bool ok);

#endif
