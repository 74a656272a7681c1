/* parse.h - programs from text, for tests. */
#ifndef PARSE_H
#define PARSE_H

#include "program/program.h"

/*
** Parses text in the form of core/program/text.h, up to its terminating zero; the result is printed
** as the same program. Constants of more than a few values are stated by a hash and looked up among
** those given. NULL on failure; FM_EDATA names the line that breaks the form or that a shape rule
** contradicts.
*/
fm_prog *parse_program(fm_ctx *ctx, const char *text, int nconst, fm_tensor *const *constants);

#endif
