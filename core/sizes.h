/*
** sizes.h - saturating arithmetic on sizes: a result out of range becomes the largest (smallest)
** value, which no later check accepts. Shapes are checked once, when created, by fm_sig_fits.
*/
#ifndef FM_SIZES_H
#define FM_SIZES_H

#include <stddef.h>
#include <stdint.h>

/* The most bytes that are planned or allocated at once; sums of a few such sizes are exact. */
#define FM_MOST_BYTES (SIZE_MAX >> 4)

static inline int64_t fm_plus(int64_t a, int64_t b) {
  int64_t sum;
  return !__builtin_add_overflow(a, b, &sum) ? sum : b > 0 ? INT64_MAX : INT64_MIN;
}

static inline size_t fm_plus_bytes(size_t a, size_t b) {
  size_t sum;
  return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

#endif
