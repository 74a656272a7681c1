/*
** machine.h - memory that the ranks of one machine share (POSIX shared memory). Which ranks those
** are is MPI's to say; FLOWMAP_RANKS_APART=1 makes each of them a machine of its own, so that
** messages can be tested on one.
*/
#ifndef FM_MACHINE_H
#define FM_MACHINE_H

#include "pool.h"

typedef struct fm_machine {
  bool shared; /* else each rank is treated as a machine of its own, and there is no memory */
  int n, me;   /* ranks of this machine, and this one's place among them */
  int *rank;   /* their numbers, ascending; the first one leads */
  char **base; /* the memory of each of them, if it is shared */
  size_t *bytes;
} fm_machine;

/* Whether any two ranks are on the same machine. */
bool fm_machine_any(void);
/*
** All ranks, together: each offers so many bytes, zeros, to those of its machine. `shared` is the
** same on all ranks: false if one of them found no memory to share. Lists come from `pool`.
*/
fm_err fm_machine_open(fm_pool *pool, size_t bytes, fm_machine *machine);
void fm_machine_close(fm_machine *machine);
/* The ranks of the machine of rank r: how many; their numbers, ascending, if `list` is not NULL. */
int fm_machine_of(const fm_machine *machine, int r, int *list);

#endif
