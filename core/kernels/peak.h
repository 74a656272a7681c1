/* peak.h - the measuring stick of the benchmarks. */
#ifndef FM_PEAK_H
#define FM_PEAK_H

#include <stdint.h>

/* Do `rounds` rounds of independent float32 multiply-adds on one thread; returns the FLOPs done. */
double fm_peak_flops(int64_t rounds);

#endif
