/*
** isa.h - the instruction set that the kernels use: the best of the processor, or FM_ISA.
** Kernel sources are compiled once per instruction set and dtype; tables are indexed [isa][dtype].
*/
#ifndef FM_ISA_H
#define FM_ISA_H

#include <stdbool.h>

enum { FM_SCALAR, FM_AVX2, FM_AVX512, FM_NISA };

/* The instruction set in use; FM_ISA=scalar|avx2|avx512 can only lower it. */
int fm_isa(void);
/* Use another one (tests, gradcheck). Returns the one in use, never above the processor's best. */
int fm_set_isa(int isa);
const char *fm_isa_name(int isa);
/* Does the instruction set in use include bfloat16 products (AVX512_BF16)? */
bool fm_bf16_native(void);

#endif
