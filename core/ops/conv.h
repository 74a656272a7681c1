/* conv.h - what the convolutions share: room for operands on their way through the caches. */
#ifndef FM_CONV_H
#define FM_CONV_H

/* Bytes: a piece of conv.c, or a block of winograd.c and its products, or the sums of a chunk of a
   gradient and a block for it. */
#define FM_CONV_SCRATCH (1100 * 1024)
extern _Thread_local char fm_conv_scratch[FM_CONV_SCRATCH]; /* aligned to 64 bytes */

#endif
