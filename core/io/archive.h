/*
** archive.h - where images come from: a folder, or an archive (zip, tar and their compressions)
** that libarchive reads, as a list of files that is walked front to back. Nothing is ever unpacked
** to the disk. Private to core/io_*.c and bind/data.c.
*/
#ifndef FM_IO_ARCHIVE_H
#define FM_IO_ARCHIVE_H

#include "pack.h"

enum {
  FM_SOURCE_FILES = 2000000, /* files in a source at most, */
  FM_SOURCE_DEPTH = 16,      /* and folders above one another */
  FM_SOURCE_NAME = 1024      /* longest name */
};

typedef struct fm_source fm_source; /* owns the list and the open archive */

/* Opens and lists: regular files only, in the order in which they will come. */
fm_source *fm_source_open(fm_ctx *ctx, const char *path); /* NULL on failure */
void fm_source_close(fm_source *s);
int64_t fm_source_count(const fm_source *s);
const char *fm_source_name(const fm_source *s, int64_t k); /* inside the source, '/' between */

/*
** The next file of the walk that `wanted` (a byte per file) does not leave out: FM_OK with its
** number, or -1 at the end. The first call starts the walk.
*/
fm_err fm_source_next(fm_source *s, const uint8_t *wanted, int64_t *k);
/* Up to n bytes of that file; *got = 0 at its end. */
fm_err fm_source_read(fm_source *s, void *to, size_t n, size_t *got);

/* ------------------------------------------------------------------ from a source into a pack */

typedef struct fm_intake {
  const int64_t *place;  /* of each file's (first) image in the pack; -1: not wanted */
  const uint8_t *label;  /* of each file */
  int64_t records;       /* 0: files are pictures; else CIFAR-10 batches of so many records */
  int64_t height, width; /* pictures must be that large; 0: any size */
  int64_t crop;          /* side of the centred square taken, 0: the largest one */
} fm_intake;

/* Take the next batch of files; *files is how many, 0 at the end. */
fm_err fm_pack_take(fm_pack *p, fm_source *s, const fm_intake *plan, int64_t *files);

#endif
