/*
** standin.h - the procedural stand-ins: data sets drawn by the project itself, for machines that do
** not have the real ones. Private to bind/data.c.
*/
#ifndef FM_STANDIN_H
#define FM_STANDIN_H

#include "../io/pack.h"

typedef enum fm_standin { FM_OBJECTS, FM_FACES, FM_ANIMALS } fm_standin;

int fm_standin_side(fm_standin kind); /* height and width of an image: 32, 64, 64 */
/* The names of the n classes; NULL and n = 0 if there are none. */
const char *const *fm_standin_classes(fm_standin kind, int *n);
/*
** Draw images [at, at + n) into their places of a pack; classes alternate. Image k depends only on
** kind, seed and k. FM_EUSAGE: the pack has another shape or no such places.
*/
fm_err fm_standin_draw(fm_pack *p, fm_standin kind, uint64_t seed, int64_t at, int64_t n);

#endif
