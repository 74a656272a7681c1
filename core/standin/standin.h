/*
** standin.h - the procedural stand-ins: data sets that the project draws itself, for machines
** where the real ones are not. Private to core and bind/data.c.
*/
#ifndef FM_IO_STANDIN_H
#define FM_IO_STANDIN_H

#include "../io/pack.h"

typedef enum fm_standin { FM_OBJECTS, FM_FACES, FM_ANIMALS } fm_standin;

int fm_standin_side(fm_standin kind);                           /* 32, 64, 64 */
const char *const *fm_standin_classes(fm_standin kind, int *n); /* their names; n = 0: none */
/* Draw the images of places [at, at + n) into a pack; the classes take turns. */
fm_err fm_standin_draw(fm_pack *p, fm_standin kind, uint64_t seed, int64_t at, int64_t n);

#endif
