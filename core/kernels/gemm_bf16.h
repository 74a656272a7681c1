/*
** gemm_bf16.h - the matrix product of float32 values in bfloat16: as gemm.h, but every value of
** op(a) and op(b) is first rounded to its 8 leading bits, to nearest even. Sums are float32. Every
** value of y is a chain of multiply-adds in the order of k, except that the second of each two
** neighbours comes first, split at multiples of 512. This is the order of the instruction vdpbf16ps
** (documented by Intel for AVX512_BF16; measured on Zen 4). Products of two bfloat16 numbers are
** exact in float32, so that all instruction sets give the same bits, except below 2^-126, where
** vdpbf16ps flushes sums to 0, and except for the instruction bfmmla of Arm (FEAT_BF16): the sum of
** two neighbouring products is added to the chain, and both additions round to odd (Arm
** Architecture Reference Manual, BFMMLA; FPCR.EBF = 0, its value unless a program changes it). All
** processors with that instruction give the same bits.
*/
#ifndef FM_GEMM_BF16_H
#define FM_GEMM_BF16_H

#include <stdbool.h>

#include "simd.h"

#if FM_BITS == 32
/* native: use the instruction where FM_ISA has it; else FM_FN(gemm) multiplies rounded copies. */
void FM_FN(gemm_bf16)(bool native, bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T *a,
                      int64_t lda, const T *b, int64_t ldb, bool accumulate, T *y, int64_t ldy);
#endif

#endif
