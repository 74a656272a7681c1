/*
** ranks.h - processes that run the same program together, started by mpirun or srun. Each of them
** executes the same calls in the same order; runs of programs are shared (core/run/share.c), all
** else is repeated. Without a launcher there is one rank, and none of these functions does
** anything. One thread at a time may call them.
*/
#ifndef FM_RANKS_H
#define FM_RANKS_H

#include "fm.h"

int fm_rank(void);   /* from 0 */
int fm_nranks(void); /* 1: alone */

/* From now on, until it is called with false: this rank counts as the only one. What is made
** meanwhile (executables, optimisers) must not be used afterwards. */
void fm_ranks_alone(bool alone);

/*
** Join the other ranks if a launcher started this process; `folder` holds the shims (core/mpi).
** NULL, or a sentence that says why not.
*/
const char *fm_ranks_open(const char *folder);

/* The first rank on the machine of rank r. */
int fm_ranks_machine(int r);

typedef struct fm_mail { /* messages that are under way; {0}: none */
  int *request;
  int n, most;
} fm_mail;

enum { FM_TAGS = 32000 }; /* a message is received by one with the same tag, 0 .. FM_TAGS - 1 */

/* Messages to and from another rank, in order for each tag; the memory stays untouched until all of
** the mail has arrived. */
fm_err fm_ranks_send(fm_ctx *ctx, fm_mail *m, const void *data, size_t bytes, int to, int tag);
fm_err fm_ranks_receive(fm_ctx *ctx, fm_mail *m, void *data, size_t bytes, int from, int tag);
fm_err fm_ranks_look(fm_ctx *ctx, fm_mail *m); /* m->n is 0 when all of it has arrived */
fm_err fm_ranks_wait(fm_ctx *ctx, fm_mail *m);
void fm_mail_free(fm_mail *m);
/* Between two looks: longer and longer, up to a fifth of a millisecond since others need the
** processor. */
void fm_ranks_pause(int turn);

/* All ranks: *x becomes the largest of their values. */
fm_err fm_ranks_most(fm_ctx *ctx, int64_t *x);
/* All ranks: the bytes become those of rank `from`. */
fm_err fm_ranks_copy(fm_ctx *ctx, void *data, size_t bytes, int from);

/*
** An optimiser: from now on each rank keeps the moments of its part of the parameters only, updates
** that part and sends it to the others; no bit changes. fm_optim_gather, which all ranks call: the
** first one has all moments, until fm_optim_shard frees those of the others again.
*/
void fm_optim_shard(fm_optim *o);
fm_err fm_optim_gather(fm_optim *o);

/*
** Before the process exits. Ranks that all arrive here within a few seconds end in peace; if some
** do not, because this one failed alone, it calls `alone` and ends them all with its status.
*/
void fm_ranks_close(int status, void (*alone)(void));

#endif
