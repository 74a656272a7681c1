/*
** isa.h - the instruction set that the kernels use: the best of the processor, or FM_ISA.
** Kernel sources are compiled once per instruction set and dtype; tables are indexed [isa][dtype].
*/
#ifndef FM_ISA_H
#define FM_ISA_H

#include <stdbool.h>

/* The instruction sets of this architecture from the least to the best, as an enumeration and as
   arguments of a macro: FM_EACH_ISA(X) is X(scalar) X(avx2) ... */
#if defined(__x86_64__)
enum { FM_SCALAR, FM_AVX2, FM_AVX512, FM_NISA };
#define FM_EACH_ISA(X) X(scalar) X(avx2) X(avx512)
#elif defined(__aarch64__)
enum { FM_SCALAR, FM_NEON, FM_NISA };
#define FM_EACH_ISA(X) X(scalar) X(neon)
#else
enum { FM_SCALAR, FM_NISA };
#define FM_EACH_ISA(X) X(scalar)
#endif

/* The instruction set in use; FM_ISA=scalar|avx2|avx512|neon can only lower it. */
int fm_isa(void);
/* Use another one (tests, gradcheck). Returns the one in use, never above the processor's best. */
int fm_set_isa(int isa);
const char *fm_isa_name(int isa);
/* Whether the instruction set in use includes bfloat16 products (AVX512_BF16, FEAT_BF16 of Arm). */
bool fm_bf16_native(void);
/* Where products in bfloat16 come from: "avx512_bf16", "neon_bf16", or "emulated" in float32. */
const char *fm_bf16_name(void);

#endif
