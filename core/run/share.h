/* share.h - the internals of a run that ranks share: opened by share_open.c, made by share.c. */
#ifndef FM_SHARE_H
#define FM_SHARE_H

#include <stdatomic.h>

#include "../machine.h"
#include "../ranks.h"
#include "exe.h"

enum {
  FM_WINDOW = 4,      /* pieces exchanged at the same time */
  FM_PIECE = 1 << 18, /* values in a piece */
};

typedef struct fm_span { /* a block held by a rank: see sums.c */
  int rank, level, at;
  int index;   /* its place among the blocks of its rank */
  int local;   /* the place of its rank among those of this machine; -1: on another machine */
  int place;   /* on another machine: its place among all such blocks */
  char **data; /* on this machine, per result: its first value */
} fm_span;

/* What a piece waits for: this rank's sums, the blocks of the other ranks, the parts that these add
** up, or nothing. */
typedef enum fm_wait { FM_AWAITS_SUMS, FM_AWAITS_BLOCKS, FM_AWAITS_PARTS, FM_COMPLETE } fm_wait;

typedef struct fm_piece { /* values lo to hi - 1 of the concatenation of all sums */
  int64_t lo, hi;
  int first;          /* place in the order of the sum that holds the first value */
  int sums;           /* the number of sums that it overlaps */
  atomic_int pending; /* how many of them this rank has not computed yet */
  fm_wait wait;
} fm_piece;

typedef struct fm_transfer { /* the exchange of a piece */
  fm_mail mail;
  char *memory; /* parts received and sent: blocks, then sums */
  char *rest;   /* where those of sums begin */
} fm_transfer;

typedef struct fm_head { /* the flags at the start of a rank's shared memory: numbers of runs */
  atomic_uint ended, values;
  atomic_uint flag[]; /* per piece: its blocks are complete; per piece: its sums are stored */
} fm_head;

/* Sums, and so pieces, are in the order in which a micro-batch computes them: those of the last
** layers come first, and their exchange overlaps with the backward pass through earlier layers. */
typedef struct fm_share {
  fm_exe *e;
  fm_machine machine;
  unsigned run;
  int nsum, *order;   /* results that are sums */
  int64_t *start;     /* the first value of each; one more entry than sums */
  int *place;         /* of each result in the order, or -1 */
  int npiece, oldest; /* oldest: the first piece that is not complete */
  fm_piece *piece;
  int nspan;
  fm_span *span;
  int nto, *to;     /* ranks of other machines that receive what this rank has added up */
  int nfrom, *from; /* ranks from which it receives such sums */
  bool *elsewhere;  /* per rank: on another machine */
  size_t part;      /* the largest size of a rank's part of a piece, in bytes */
  fm_transfer slot[FM_WINDOW];
  atomic_uint *ready, **all_ready; /* flags, per piece, of this rank and of all of this machine */
  atomic_uint *done, **all_done;
  void **value;         /* the executable's own memory for the prologue's values */
  bool values;          /* whether the values are shared instead */
  pthread_mutex_t lock; /* guards pieces and messages */
  fm_err err;
} fm_share;

/* ------------------------------------------------------------------ share_open.c */

/* The memory of a rank of this machine, by its place. */
static inline fm_head *fm_share_head(const fm_share *s, int local) {
  return (fm_head *)(void *)s->machine.base[local];
}
/* The table in which a rank of this machine publishes the offsets of its blocks. */
int64_t *fm_share_table(const fm_share *s, int local);

#endif
