/*
** map.h - read-only file mappings that survive the loss of their file. Another program may truncate
** a mapped file, or the disk may fail to read it; the processor then raises SIGBUS at an arbitrary
** instruction of an arbitrary thread, which by default ends the program. Here, zeros replace the
** lost bytes and the mapping is marked; code that has read a mapping calls fm_maps_check before it
** uses the result. Private to the core.
*/
#ifndef FM_MAP_H
#define FM_MAP_H

#include "fm.h"

enum { FM_MAPPINGS = 128 }; /* the largest number of files mapped at the same time */

/* Compares an open file with the hash of its contents; FM_EDATA if they differ. */
typedef fm_err (*fm_map_compare)(fm_ctx *ctx, const char *path, int fd, const char hash[65]);
/*
** Map the first `bytes` of an open file, read-only. If the file's modification time changes later,
** fm_maps_check calls `compare` with the hash again. NULL on failure (FM_EUSAGE: too many mappings;
** FM_EDATA; FM_ENOMEM).
*/
void *fm_map_file(fm_ctx *ctx, const char *path, int fd, size_t bytes, const char hash[65],
                  fm_map_compare compare);
/* `bytes` zeros, read-only, which use address space but no memory. NULL on failure (FM_ENOMEM). */
void *fm_map_zeros(fm_ctx *ctx, size_t bytes);
void fm_unmap(void *map, size_t bytes); /* undo either of them */

/* FM_EDATA if any mapped file has changed since it was mapped. Cheap: a stat per file. */
fm_err fm_maps_check(fm_ctx *ctx);
/* The same for the mapped file that holds t; FM_OK at once if there is none. */
fm_err fm_map_check(const fm_tensor *t);

#endif
