/*
** map.h - files mapped into memory, and what may happen to them meanwhile: another program may
** cut the file short, or the disk may fail to read it. The processor then raises SIGBUS at some
** instruction of some thread, which would end the program. Here zeros take the place of what is
** lost and the mapping is marked; whoever computed with it asks fm_maps_check before the result is
** used. Private to core.
*/
#ifndef FM_IO_MAP_H
#define FM_IO_MAP_H

#include "fm.h"

enum { FM_MAPPINGS = 128 }; /* at the same time */

/* Compares an open file with the hash of its contents; FM_EDATA with a sentence if they differ. */
typedef fm_err (*fm_map_compare)(fm_ctx *ctx, const char *path, int fd, const char hash[65]);
/*
** Map `bytes` of an open file, read-only. A file whose time of modification changes is compared
** with
** the hash once more. NULL on failure.
*/
void *fm_map_file(fm_ctx *ctx, const char *path, int fd, size_t bytes, const char hash[65],
                  fm_map_compare compare);
/* As many bytes of zeros, which take no memory. */
void *fm_map_zeros(fm_ctx *ctx, size_t bytes);
void fm_unmap(void *map, size_t bytes); /* either of them */

/* FM_EDATA if a mapped file is no longer what it was when it was mapped; cheap. */
fm_err fm_maps_check(fm_ctx *ctx);
/* The same of the mapped file that t lies in; FM_OK at once if it lies in none. */
fm_err fm_map_check(const fm_tensor *t);

#endif
