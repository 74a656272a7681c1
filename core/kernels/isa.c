/* isa.c - the choice of the kernels' instruction set, by what the processor has and FM_ISA. */
#include <stdlib.h>
#include <string.h>

#include "isa.h"

#ifdef FM_RULES /* compiled once, not per instruction set and element type */

#define NAME(isa) #isa,
static const char *const names[FM_NISA] = {FM_EACH_ISA(NAME)};
static int chosen = -1;
static bool bf16; /* does the chosen one include bfloat16 products? */

/* ------------------------------------------------------------------ what the processor has */

#if defined(__x86_64__)

static int best(void) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return FM_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return FM_AVX2;
  return FM_SCALAR;
}

static bool has_bf16(void) { return __builtin_cpu_supports("avx512bf16"); }

#define BF16 "avx512_bf16"

#elif defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>
#define HAS_BF16 (1ul << 14) /* HWCAP2_BF16, which the headers of older kernels lack */
static bool has_bf16(void) { return (getauxval(AT_HWCAP2) & HAS_BF16) != 0; }
#elif defined(__APPLE__)
#include <sys/sysctl.h>
static bool has_bf16(void) {
  int has = 0;
  size_t size = sizeof has;
  return sysctlbyname("hw.optional.arm.FEAT_BF16", &has, &size, NULL, 0) == 0 && has;
}
#else
static bool has_bf16(void) { return false; }
#endif

static int best(void) { return FM_NEON; } /* part of every AArch64 processor with an FPU */

#define BF16 "neon_bf16"

#else

static int best(void) { return FM_SCALAR; }
static bool has_bf16(void) { return false; }
#define BF16 "none"

#endif

/* ------------------------------------------------------------------ what is used */

int fm_set_isa(int isa) {
  int top = best();
  chosen = isa < FM_SCALAR ? FM_SCALAR : isa > top ? top : isa;
  bf16 = chosen == FM_NISA - 1 && has_bf16();
  return chosen;
}

int fm_isa(void) {
  if (chosen < 0) {
    const char *want = getenv("FM_ISA");
    int isa = FM_NISA - 1;
    for (int i = 0; want && i < FM_NISA; i++)
      if (strcmp(want, names[i]) == 0) isa = i;
    fm_set_isa(isa);
  }
  return chosen;
}

bool fm_bf16_native(void) { return fm_isa() >= 0 && bf16; }

const char *fm_bf16_name(void) { return fm_bf16_native() ? BF16 : "emulated"; }

const char *fm_isa_name(int isa) { return isa >= 0 && isa < FM_NISA ? names[isa] : "unknown"; }

#endif
