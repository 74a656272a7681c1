/*
** workspace.h - where kernels keep packed and transformed operands: one workspace per thread for
** all instruction sets and element types (thread-local memory is part of the thread's stack,
** usually 8 MiB). Aligned to 64 bytes. A convolution calls products, so each has a workspace of its
** own.
*/
#ifndef FM_WORKSPACE_H
#define FM_WORKSPACE_H

/* The packed blocks of a matrix product. */
#define FM_GEMM_WORKSPACE (1100 * 1024)
extern _Thread_local char fm_gemm_workspace[FM_GEMM_WORKSPACE];

/* A piece of ops/conv.c; of ops/winograd*.c, a block of tiles and its products, a sliver of weights
   and its products (the largest), or the sums of a chunk of a gradient and a block for it. */
#define FM_CONV_WORKSPACE (1452 * 1024)
extern _Thread_local char fm_conv_workspace[FM_CONV_WORKSPACE];

#endif
