/* share.h - the inside of a run that ranks share: prepared by prepare.c, done by share.c. */
#ifndef FM_SHARE_H
#define FM_SHARE_H

#include <stdatomic.h>

#include "../machine.h"
#include "../ranks.h"
#include "exe.h"

enum {
  FM_WINDOW = 4,      /* pieces that are exchanged at a time */
  FM_PIECE = 1 << 18, /* values of a piece */
};

typedef struct fm_span { /* a block that a rank has: see sums.c */
  int rank, level, at;
  int index;   /* among those of its rank */
  int local;   /* place of its rank among those of this machine, or -1 */
  int place;   /* among those of other machines, if it is one of them */
  char **data; /* by result: its first value, if it is on this machine */
} fm_span;

typedef enum fm_stage { FM_COMPUTED, FM_EXCHANGED, FM_COLLECTED, FM_COMPLETE } fm_stage;

typedef struct fm_piece { /* values lo to hi - 1 of all sums, one behind the other */
  int64_t lo, hi;
  int first;          /* place in the order of the sum that has the first value */
  int sums;           /* how many it touches */
  atomic_int pending; /* how many of these this rank has not computed yet */
  fm_stage stage;     /* what it waits for */
} fm_piece;

typedef struct fm_transfer { /* of a piece that is exchanged */
  fm_mail mail;
  char *memory; /* parts that are received and sent: blocks, then sums */
  char *rest;   /* that of sums */
} fm_transfer;

typedef struct fm_head { /* of a rank's shared memory: numbers of runs */
  atomic_uint ended, values;
  atomic_uint flag[]; /* per piece: this rank has its blocks; it has its parts of the sum */
} fm_head;

/* The order of sums, and so of pieces, is that in which a micro-batch computes them: those of late
** layers first, whose exchange overlaps with the backward pass of earlier ones. */
typedef struct fm_share {
  fm_exe *e;
  fm_machine machine;
  unsigned run;
  int nsum, *order;   /* results that are sums */
  int64_t *start;     /* the first value of each, one more */
  int *place;         /* of each result in the order */
  int npiece, oldest; /* oldest: the first one that is not complete */
  fm_piece *piece;
  int nspan;
  fm_span *span;
  int nto, *to;     /* ranks of other machines that receive what this one has added up */
  int nfrom, *from; /* those from which it receives */
  bool *elsewhere;  /* per rank: of another machine */
  size_t part;      /* the most bytes of a rank's part of a piece */
  fm_transfer slot[FM_WINDOW];
  atomic_uint *ready, **all_ready; /* per piece, of this rank and of each one of this machine */
  atomic_uint *done, **all_done;
  void **value;         /* of the executable, before they were shared */
  bool values;          /* are they? */
  pthread_mutex_t lock; /* of pieces and messages */
  fm_err err;
} fm_share;

/* ------------------------------------------------------------------ prepare.c */

/* The memory of a rank of this machine, by its place. */
static inline fm_head *fm_share_head(const fm_share *s, int local) {
  return (fm_head *)(void *)s->machine.base[local];
}
/* Where a rank of this machine says that its blocks are. */
int64_t *fm_share_table(const fm_share *s, int local);

#endif
