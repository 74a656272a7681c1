/* conv.h - what the convolutions share: room for operands on their way through the caches. */
#ifndef FM_CONV_H
#define FM_CONV_H

#define FM_CONV_SCRATCH (384 * 1024)
extern _Thread_local char fm_conv_scratch[FM_CONV_SCRATCH]; /* aligned to 64 bytes */

#endif
