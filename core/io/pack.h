/*
** pack.h - packed images: one file with a header, the pixels of all images and their labels,
** written once and then mapped into memory. Private to core/io, core/standin and bind/data.c.
**
**   0     "flowmap\n"; CRC-32 of the header from here on, version of the format: 2 x uint32
**   16    images, height, width, channels, images of the training part, classes: 6 x int64
**   64    SHA-256 of everything after the header, in hexadecimal
**   128   length of the description: int64; the description (JSON by the importer), zeros
**   4096  pixels: uint8 (images, height, width, channels), training part first
**         labels: uint8 (images), if there are classes
*/
#ifndef FM_IO_PACK_H
#define FM_IO_PACK_H

#include "io.h"

enum { FM_PACK_HEADER = 4096, FM_PACK_TEXT = FM_PACK_HEADER - 136, FM_PACK_CLASSES = 256 };

typedef struct fm_pack_info {
  int64_t count, height, width, channels;
  int64_t train, classes; /* classes 0: no labels */
  char hash[65];          /* SHA-256 of pixels and labels, which identifies the data */
  char text[FM_PACK_TEXT];
} fm_pack_info;

/* ------------------------------------------------------------------ writing */

typedef struct fm_pack { /* owns its temporary file and the labels until closed */
  fm_out out;
  fm_pack_info info;
  uint8_t *labels;
  uint8_t *done; /* one byte per place: whether it is written */
  int64_t left;  /* places not written yet */
} fm_pack;

/*
** Start a file of info->count images at `path`, where it appears when finished. FM_EUSAGE: a number
** in `info` is out of range. Call fm_pack_close also after a failure.
*/
fm_err fm_pack_create(fm_pack *p, fm_ctx *ctx, const char *path, const fm_pack_info *info);
/*
** Write pixels: (n, H, W, C) to the places [at, at + n), and the n labels if the pack has classes
** (else NULL). Each place is written once, in any order. FM_EUSAGE: no such places; FM_EDATA: a
** place is written already, or a label is not a class.
*/
fm_err fm_pack_put(fm_pack *p, int64_t at, int64_t n, const uint8_t *pixels, const uint8_t *label);
fm_err fm_pack_finish(fm_pack *p); /* hash and publish the file; FM_EDATA: a place is empty */
void fm_pack_close(fm_pack *p);    /* discards an unfinished file; may be repeated */

/* ------------------------------------------------------------------ reading */

/* The identity of a file and the time of its last change; equal stamps mean unchanged contents. */
typedef struct fm_stamp {
  char text[128];
  bool fresh; /* too recent: a later change might not change the stamp */
} fm_stamp;

/* Read the header, and check it and the file's size: cheap. FM_EDATA: damaged, or another file. */
fm_err fm_pack_look(fm_ctx *ctx, const char *path, fm_pack_info *info);
/*
** Map images [first, first + n). table: uint8 (n, H, W, C); labels: float32 (n), or NULL if there
** are no classes. With a stamp (or NULL), the file must still have it. FM_EUSAGE: no such images;
** FM_EDATA: damaged or changed.
*/
fm_err fm_pack_map(fm_ctx *ctx, const char *path, int64_t first, int64_t n, const char *stamp,
                   fm_tensor **table, fm_tensor **labels);
/*
** Compare images and labels with their SHA-256 (FM_EDATA: damaged). stamp (or NULL) receives the
** stamp of the verified file.
*/
fm_err fm_pack_verify(fm_ctx *ctx, const char *path, fm_stamp *stamp);
/* The same for an open file and a given hash. */
fm_err fm_pack_compare(fm_ctx *ctx, const char *path, int fd, const char hash[65]);
fm_err fm_pack_stamp(fm_ctx *ctx, const char *path, fm_stamp *stamp);
/* Zero images of a shape (N, H, W, C) that use no memory; NULL on failure. */
fm_tensor *fm_pack_blank(fm_ctx *ctx, const fm_shape *shape);

#endif
