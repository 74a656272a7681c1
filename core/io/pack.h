/*
** pack.h - packed images: one file with a header, the pixels of all images and their labels,
** made once and then mapped into memory. Private to core/io_*.c and bind/data.c.
**
**   0     "flowmap\n", the CRC-32 of the header behind it, the version of the format
**   16    images, height, width, channels, images of the training part, classes: 6 x int64
**   64    SHA-256 of all that follows the header, in hex
**   128   length of the description: int64; the description, JSON of who made the file, zeros
**   4096  pixels: uint8 (images, height, width, channels), training part first
**         labels: a byte per image, if there are classes
*/
#ifndef FM_IO_PACK_H
#define FM_IO_PACK_H

#include "io.h"

enum { FM_PACK_HEADER = 4096, FM_PACK_TEXT = FM_PACK_HEADER - 136, FM_PACK_CLASSES = 256 };

typedef struct fm_pack_info {
  int64_t count, height, width, channels;
  int64_t train, classes; /* classes 0: no labels */
  char hash[65];          /* SHA-256 of pixels and labels: names exactly this data */
  char text[FM_PACK_TEXT];
} fm_pack_info;

/* ------------------------------------------------------------------ writing */

typedef struct fm_pack { /* owns its temporary file and the labels until closed */
  fm_out out;
  fm_pack_info info;
  uint8_t *labels;
  uint8_t *done; /* a byte per image: each place is written once */
  int64_t left;  /* places not written yet */
} fm_pack;

/* A new file for info's images at `path`, which appears only when finished. */
fm_err fm_pack_create(fm_pack *p, fm_ctx *ctx, const char *path, const fm_pack_info *info);
/* `n` images at place `at`; label: of each, or NULL. Places may be filled in any order. */
fm_err fm_pack_put(fm_pack *p, int64_t at, int64_t n, const uint8_t *pixels, const uint8_t *label);
fm_err fm_pack_finish(fm_pack *p); /* FM_EDATA if a place is empty */
void fm_pack_close(fm_pack *p);    /* an unfinished file vanishes */

/* ------------------------------------------------------------------ reading */

/* Which file it is and when it was last written to: another stamp means other contents, perhaps. */
typedef struct fm_stamp {
  char text[128];
  bool fresh; /* so young that a later change might leave the stamp as it is */
} fm_stamp;

/* Header, checksum of the header and size: cheap. */
fm_err fm_pack_look(fm_ctx *ctx, const char *path, fm_pack_info *info);
/*
** Images [first, first + n) and their labels: table: uint8 (n, H, W, C), mapped; labels: float32
** (n), or NULL. With a stamp, the file must be the one that had it.
*/
fm_err fm_pack_map(fm_ctx *ctx, const char *path, int64_t first, int64_t n, const char *stamp,
                   fm_tensor **table, fm_tensor **labels);
/* Compare the images and labels with their SHA-256. stamp (or NULL): of what was compared. */
fm_err fm_pack_verify(fm_ctx *ctx, const char *path, fm_stamp *stamp);
/* The same for an open file, whose images must have that hash. */
fm_err fm_pack_compare(fm_ctx *ctx, const char *path, int fd, const char hash[65]);
fm_err fm_pack_stamp(fm_ctx *ctx, const char *path, fm_stamp *stamp);
/* Images of the shape (N, H, W, C), all zero, which take no memory; NULL on failure. */
fm_tensor *fm_pack_blank(fm_ctx *ctx, const fm_shape *shape);

#endif
