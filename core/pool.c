/* pool.c - a bump allocator. */
#include "pool.h"

#include <string.h>

#include "sizes.h"

#define ALIGNMENT 64
/* Bytes of the first chunk, and of those from which on chunks do not grow; chosen. */
#define FIRST_CHUNK ((size_t)16 << 10)
#define LAST_CHUNK ((size_t)1 << 20)

typedef struct fm_chunk {
  struct fm_chunk *before;
  size_t size, used; /* bytes, this header included */
} fm_chunk;

static size_t aligned(size_t bytes) {
  return bytes > FM_MOST_BYTES ? SIZE_MAX : (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Every chunk is twice as large as the one before it, up to a limit, or as large as its piece. */
static bool add_chunk(fm_pool *s, size_t bytes) {
  size_t header = aligned(sizeof(fm_chunk)), size = s->chunk ? 2 * s->chunk->size : FIRST_CHUNK;
  if (size > LAST_CHUNK) size = LAST_CHUNK;
  if (size - header < bytes) size = fm_plus_bytes(header, bytes);
  fm_chunk *c = fm_alloc(s->ctx, size);
  if (c == NULL) return false;
  *c = (fm_chunk){s->chunk, size, header};
  s->chunk = c;
  return true;
}

void *fm_take_bytes(fm_pool *s, size_t bytes) {
  fm_chunk *c = s->chunk;
  bytes = aligned(bytes);
  if (!s->failed && (c == NULL || c->size - c->used < bytes)) s->failed = !add_chunk(s, bytes);
  if (s->failed) return NULL;
  s->chunk->used += bytes;
  return (char *)s->chunk + s->chunk->used - bytes;
}

void *fm_take_zeros(fm_pool *s, size_t n, size_t size) {
  size_t bytes = n > FM_MOST_BYTES / size ? SIZE_MAX : n * size;
  void *piece = fm_take_bytes(s, bytes);
  return piece ? memset(piece, 0, bytes) : NULL;
}

int *fm_take_none(fm_pool *s, int n) {
  int *list = fm_take(s, n, int);
  return list ? memset(list, -1, (size_t)n * sizeof *list) : NULL;
}

void fm_pool_free(fm_pool *s) {
  for (fm_chunk *c = s->chunk, *before; c != NULL; c = before) {
    before = c->before;
    fm_free(s->ctx, c, c->size);
  }
  *s = (fm_pool){.ctx = s->ctx};
}
