/*
** pool.h - a bump allocator: memory taken piece by piece and freed as a whole. A pass takes its
** arrays from a pool of its own; a plan keeps its tables in one.
*/
#ifndef FM_POOL_H
#define FM_POOL_H

#include "fm.h"

typedef struct fm_pool { /* {.ctx = ctx}: an empty one */
  fm_ctx *ctx;
  struct fm_chunk *chunk; /* pieces come from the newest; it links to the one before it */
  bool failed;            /* memory ran out: from then on every piece is NULL */
} fm_pool;

void *fm_take_bytes(fm_pool *s, size_t bytes); /* 64-byte aligned; NULL on failure */
void *fm_take_zeros(fm_pool *s, size_t n, size_t size);
#define fm_take(pool, n, type) ((type *)fm_take_zeros(pool, (size_t)(n), sizeof(type)))
/* n values or indices, none of them there yet: all -1. */
int *fm_take_none(fm_pool *s, int n);
void fm_pool_free(fm_pool *s);

#endif
