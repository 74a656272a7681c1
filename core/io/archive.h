/*
** archive.h - the files of a folder or an archive (zip, or tar with any usual compression), walked
** from first to last, and their import into a pack. Nothing is ever unpacked to disk. Private to
** core/io and bind/data.c.
*/
#ifndef FM_IO_ARCHIVE_H
#define FM_IO_ARCHIVE_H

#include "pack.h"

enum {
  FM_SOURCE_FILES = 2000000, /* the most files of a source, */
  FM_SOURCE_DEPTH = 16,      /* its deepest nesting of folders, */
  FM_SOURCE_NAME = 1024      /* and its longest name, in bytes */
};

typedef struct fm_source fm_source; /* owns the list and the open archive */

/*
** Open a source and list its regular files, in the order in which fm_source_next returns them. NULL
** on failure (FM_EDATA: not readable, damaged, too large, or with a name that is not accepted).
*/
fm_source *fm_source_open(fm_ctx *ctx, const char *path);
void fm_source_close(fm_source *s);
int64_t fm_source_count(const fm_source *s);
const char *fm_source_name(const fm_source *s, int64_t k); /* relative, with '/', k from 0 */

/*
** Check what is about to be taken, by the place of each file (-1: not taken): no two files of one
** name, and no picture in a format that is not read, which would be missing without a word.
*/
fm_err fm_source_check(fm_source *s, const int64_t *place);

/*
** Open the next file for which wanted[] (one byte per file) is not 0. *k is its number, or -1 at
** the end. The first call starts the walk. FM_EDATA: damaged, or changed since it was listed.
*/
fm_err fm_source_next(fm_source *s, const uint8_t *wanted, int64_t *k);
/* Read up to n bytes of that file; *got is 0 at its end. */
fm_err fm_source_read(fm_source *s, void *to, size_t n, size_t *got);

/* ------------------------------------------------------------------ from a source into a pack */

typedef struct fm_intake { /* what to import from a source */
  const int64_t *place;    /* the place of each file's (first) image in the pack; -1: not wanted */
  const uint8_t *label;    /* the label of each file */
  int64_t records;         /* 0: each file is a picture; else a CIFAR-10 batch of so many records */
  int64_t height, width;   /* the size that pictures must have; 0: any */
  int64_t crop; /* the side of the centred square that is used; 0: the largest possible */
} fm_intake;

/*
** Import the next batch of files; *files is their number, 0 at the end. FM_EDATA: a file is damaged
** or has another size; FM_EUSAGE: the plan does not fit the pack.
*/
fm_err fm_pack_take(fm_pack *p, fm_source *s, const fm_intake *plan, int64_t *files);

#endif
