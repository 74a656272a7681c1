/*
** flush.h - flush denormal numbers to zero while the core computes.
**
** After long training, cotangents that pass through saturated units shrink below 1e-38. Multiplying
** such denormals costs Intel processors about 100 cycles each: a checkerboard step after 100,000
** steps was measured to take 7.3 ms with denormals and 2.9 ms without. They carry no information,
** so the core reads and writes them as zero on every thread, in eager calls and in programs alike:
** results do not depend on where an operation runs. The caller's own arithmetic is unaffected.
*/
#ifndef FM_FLUSH_H
#define FM_FLUSH_H

#if defined(__x86_64__)
#include <xmmintrin.h>
typedef unsigned fm_flush;
static inline fm_flush fm_flush_begin(void) {
  fm_flush was = _mm_getcsr();
  _mm_setcsr(was | 0x8040u); /* flush results (bit 15) and operands (bit 6) */
  return was;
}
static inline void fm_flush_end(fm_flush was) { _mm_setcsr(was); }
#elif defined(__aarch64__)
typedef unsigned long fm_flush;
static inline fm_flush fm_flush_begin(void) {
  fm_flush was;
  __asm__ volatile("mrs %0, fpcr" : "=r"(was));
  __asm__ volatile("msr fpcr, %0" : : "r"(was | 1ul << 24));
  return was;
}
static inline void fm_flush_end(fm_flush was) { __asm__ volatile("msr fpcr, %0" : : "r"(was)); }
#else
typedef int fm_flush;
static inline fm_flush fm_flush_begin(void) { return 0; }
static inline void fm_flush_end(fm_flush was) { (void)was; }
#endif

#endif
