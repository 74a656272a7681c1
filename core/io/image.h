/*
** image.h - decoding JPEG and PNG to 8-bit RGB, cropping and resizing, writing PNG. Private to
** core/io and bind/data.c.
**
** PNG: greyscale, palette and 16-bit pictures are converted, transparent ones are composited on
** white, interlaced ones are read. JPEG: greyscale pictures are converted; CMYK and 12-bit ones are
** refused; those whose Exif block notes another orientation are turned upright. Colour profiles and
** gamma are ignored, as is usual for data sets.
*/
#ifndef FM_IO_IMAGE_H
#define FM_IO_IMAGE_H

#include <pthread.h>

#include "io.h"

enum {
  FM_IMAGE_FILE = 1 << 26,  /* the largest file, in bytes */
  FM_IMAGE_SIDE = 1 << 14,  /* the largest height or width */
  FM_IMAGE_PIXELS = 1 << 25 /* the most pixels */
};

/*
** The memory that threads share for decoding pictures. A thread that would exceed it waits until
** others have finished; a picture larger than the whole budget is decoded alone.
*/
typedef struct fm_budget {
  pthread_mutex_t lock;
  pthread_cond_t freed;
  size_t most, used;
} fm_budget;

void fm_budget_open(fm_budget *b, size_t most);
void fm_budget_close(fm_budget *b);

typedef struct fm_image {
  int64_t h, w;
  uint8_t *rgb; /* (h, w, 3), from fm_alloc; the receiver frees it */
  fm_budget *budget;
  size_t claim; /* bytes of the budget in use until the image is freed */
} fm_image;

/*
** Decode the n bytes of a picture; `name` is its name in error sentences, `budget` may be NULL.
** FM_EDATA: not JPEG or PNG, damaged, or too large.
*/
fm_err fm_image_decode_within(fm_budget *budget, fm_ctx *ctx, const char *name,
                              const uint8_t *bytes, size_t n, fm_image *out);
fm_err fm_image_decode(fm_ctx *ctx, const char *name, const uint8_t *bytes, size_t n,
                       fm_image *out);
void fm_image_free(fm_ctx *ctx, fm_image *image);

/*
** Resize the centred rectangle (ch, cw) of an image to rgb: (side, side, 3) by area averaging: each
** pixel of the result is the mean of the part of the rectangle that it covers, fractions of pixels
** included. ch, cw >= side.
*/
void fm_image_fit(const fm_image *image, int64_t ch, int64_t cw, int side, uint8_t *rgb);

/*
** Write t: (H, W, 3), uint8 or numbers in [-1, 1] (clamped), as a PNG file whose bytes depend on
** nothing else. FM_EUSAGE: another shape; FM_ENUMERIC: a value is not finite; FM_EDATA: not
** writable.
*/
fm_err fm_save_png(fm_ctx *ctx, const char *path, const fm_tensor *t);
/* Read a JPEG or PNG file as a uint8 tensor (H, W, 3). FM_EDATA: as for fm_image_decode. */
fm_err fm_load_image(fm_ctx *ctx, const char *path, fm_tensor **out);

#endif
