/* peak.c - the processor's multiply-add rate on registers, the 100 % of the benchmarks. */
#include "peak.h"

#ifndef FM_RULES

#include "simd.h"

/* Enough independent chains to hide the latency, few enough for the registers. */
#if FM_WIDTH == 128
#define CHAINS 24 /* 32 registers; up to four multiply-adds a cycle */
#else
#define CHAINS 10
#endif

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

#define DECLARE(isa) double fm_peak_f32_##isa(int64_t rounds);
#define ENTRY(isa) fm_peak_f32_##isa,

FM_EACH_ISA(DECLARE)
static double (*const peak[FM_NISA])(int64_t) = {FM_EACH_ISA(ENTRY)};

double fm_peak_flops(int64_t rounds) { return peak[fm_isa()](rounds); }

#endif
