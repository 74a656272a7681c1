/*
** sparse.h - fewer cases where the machine is slow. FM_TEST_SPARSE=13 (make check-arm, where an
** interpreter executes the instructions) leaves one case in 13 of the longest loops; an odd number
** that no inner loop divides reaches all their combinations. Unset: all cases.
*/
#ifndef FM_SPARSE_H
#define FM_SPARSE_H

#include <stdbool.h>
#include <stdlib.h>

static inline int sparse(void) {
  const char *text = getenv("FM_TEST_SPARSE");
  return text && atoi(text) > 1 ? atoi(text) : 1;
}

/* Is this case left out? */
static inline bool left_out(void) {
  static int count;
  return count++ % sparse() != 0;
}

#endif
