/* peak.h - the peak rate to which benchmarks compare. */
#ifndef FM_PEAK_H
#define FM_PEAK_H

#include <stdint.h>

/* Run independent float32 multiply-adds for this many rounds on one thread; returns the FLOPs. */
double fm_peak_flops(int64_t rounds);

#endif
