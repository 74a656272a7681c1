/*
** image.h - pictures: JPEG and PNG decoded to 8-bit RGB, cropped and resized; PNG written.
** Private to core/io_*.c and bind/data.c.
**
** PNG: greyscale, palette and 16-bit pictures are converted, interlaced ones read, transparent ones
** laid on white. JPEG: greyscale is converted; CMYK and 12-bit ones are refused. Colour profiles
** and gamma are ignored, as data sets usually do.
*/
#ifndef FM_IO_IMAGE_H
#define FM_IO_IMAGE_H

#include <pthread.h>

#include "io.h"

enum {
  FM_IMAGE_FILE = 1 << 26,  /* bytes of a picture's file that are read at most */
  FM_IMAGE_SIDE = 1 << 14,  /* largest height or width */
  FM_IMAGE_PIXELS = 1 << 25 /* most pixels */
};

/*
** Memory that pictures being decoded by several threads take together: who would exceed it waits
** until others have finished. A picture that needs more than all of it is decoded alone.
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
  size_t claim; /* on the budget, until the image is freed */
} fm_image;

/*
** `name` is the picture's, for sentences; budget: NULL for none. FM_EDATA: no JPEG or PNG, damaged,
** too large.
*/
fm_err fm_image_decode_within(fm_budget *budget, fm_ctx *ctx, const char *name,
                              const uint8_t *bytes, size_t n, fm_image *out);
fm_err fm_image_decode(fm_ctx *ctx, const char *name, const uint8_t *bytes, size_t n,
                       fm_image *out);
void fm_image_free(fm_ctx *ctx, fm_image *image);

/*
** The centred rectangle (ch, cw) of an image, averaged over areas to (side, side): a pixel of the
** result is the mean of the part of the image it covers, with fractional borders. ch, cw >= side.
*/
void fm_image_fit(const fm_image *image, int64_t ch, int64_t cw, int side, uint8_t *rgb);

/* An (H, W, 3) tensor, uint8 or numbers of [-1, 1] (beyond: limited); the same bytes every time. */
fm_err fm_save_png(fm_ctx *ctx, const char *path, const fm_tensor *t);
fm_err fm_load_image(fm_ctx *ctx, const char *path, fm_tensor **out); /* uint8 (H, W, 3) */

#endif
