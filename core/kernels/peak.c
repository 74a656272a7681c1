/* peak.c - the processor's multiply-add rate on registers, the 100 % of the benchmarks. */
#include "peak.h"

#ifndef FM_RULES

#include "simd.h"

#define CHAINS 10 /* enough independent chains to hide the latency, few enough for the registers */

double FM_FN(peak)(int64_t rounds);
double FM_FN(peak)(int64_t rounds) {
  V x[CHAINS], a = vset((T)0.999999), b = vset((T)1e-6);
  for (int k = 0; k < CHAINS; k++) x[k] = vset((T)k);
  for (int64_t i = 0; i < rounds; i++)
    for (int k = 0; k < CHAINS; k++) x[k] = vfma(x[k], a, b);
  T sum = 0;
  for (int k = 0; k < CHAINS; k++) sum += vsum(x[k]);
  return sum == (T)-1 ? 0 : 2.0 * CHAINS * VN * (double)rounds; /* FLOPs; keeps the sum alive */
}

#else

#include "isa.h"

double fm_peak_f32_scalar(int64_t rounds);
#if defined(__x86_64__)
double fm_peak_f32_avx2(int64_t rounds);
double fm_peak_f32_avx512(int64_t rounds);
#endif

double fm_peak_flops(int64_t rounds) {
#if defined(__x86_64__)
  if (fm_isa() == FM_AVX512) return fm_peak_f32_avx512(rounds);
  if (fm_isa() == FM_AVX2) return fm_peak_f32_avx2(rounds);
#endif
  return fm_peak_f32_scalar(rounds);
}

#endif
