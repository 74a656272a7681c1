/*
** sizes.h - arithmetic on sizes that does not overflow: what is out of range stays at its end, and
** no check lets that pass. Shapes are checked once, where they are made: fm_sig_fits.
*/
#ifndef FM_SIZES_H
#define FM_SIZES_H

#include <stddef.h>
#include <stdint.h>

/* Bytes beyond which nothing is planned or allocated; sums of a few sizes below it are exact. */
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
