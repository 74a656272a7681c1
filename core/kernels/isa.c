/* isa.c - the choice of the kernels' instruction set, by cpuid and FM_ISA. */
#include <stdlib.h>
#include <string.h>

#include "isa.h"

#ifdef FM_RULES /* compiled once, not per instruction set and element type */

static const char *const names[FM_NISA] = {"scalar", "avx2", "avx512"};
static int chosen = -1;

static int best(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return FM_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return FM_AVX2;
#endif
  return FM_SCALAR;
}

int fm_set_isa(int isa) {
  int top = best();
  chosen = isa < FM_SCALAR ? FM_SCALAR : isa > top ? top : isa;
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

bool fm_bf16_native(void) {
#if defined(__x86_64__)
  return fm_isa() == FM_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

const char *fm_isa_name(int isa) { return isa >= 0 && isa < FM_NISA ? names[isa] : "unknown"; }

#endif
