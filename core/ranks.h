/*
** ranks.h - processes that run the same program together, started by mpirun or srun. Each of them
** executes the same calls in the same order: runs of programs are shared (core/run/share.c), and
** everything else is repeated. Without a launcher there is one rank, and these functions do
** nothing. Only one thread at a time may call them.
*/
#ifndef FM_RANKS_H
#define FM_RANKS_H

#include "fm.h"

int fm_rank(void);   /* from 0 */
int fm_nranks(void); /* 1: alone */

/* After a call with true and until one with false, this rank counts as the only one. Executables
** and optimisers that are created in between must not be used afterwards. */
void fm_ranks_alone(bool alone);

/*
** Join the other ranks if a launcher started this process; `folder` holds the shims (core/mpi).
** Returns NULL, or a sentence about the failure.
*/
const char *fm_ranks_open(const char *folder);

/* The first rank on the machine of rank r. */
int fm_ranks_machine(int r);

typedef struct fm_mail { /* messages in transit; {0}: none */
  int *request;
  int n, most;
} fm_mail;

enum { FM_TAGS = 32000 }; /* sender and receiver state the same tag, 0 .. FM_TAGS - 1 */

/* Messages to and from another rank, in order for each tag. Their memory must not be touched until
** all of the mail has arrived. */
fm_err fm_ranks_send(fm_ctx *ctx, fm_mail *m, const void *data, size_t bytes, int to, int tag);
fm_err fm_ranks_receive(fm_ctx *ctx, fm_mail *m, void *data, size_t bytes, int from, int tag);
fm_err fm_ranks_look(fm_ctx *ctx, fm_mail *m); /* m->n is 0 when all of it has arrived */
fm_err fm_ranks_wait(fm_ctx *ctx, fm_mail *m);
void fm_mail_free(fm_mail *m);
/* Call between two looks; turn: the looks since something arrived. Pauses for longer and longer, up
** to a fifth of a millisecond from turn FM_IDLE on, since others need the processor. */
enum { FM_IDLE = 200 };
void fm_ranks_pause(int turn);

/* Called by all ranks: *x becomes the largest of their values. */
fm_err fm_ranks_most(fm_ctx *ctx, int64_t *x);
/* Called by all ranks: the bytes become those of rank `from`. */
fm_err fm_ranks_copy(fm_ctx *ctx, void *data, size_t bytes, int from);

/*
** fm_optim_shard: from now on each rank keeps only the moments of its part of the parameters,
** updates that part and sends it to the others; results keep their bits. fm_optim_gather, called by
** all ranks, collects all moments on the first rank, until fm_optim_shard frees those of the others
** again.
*/
void fm_optim_shard(fm_optim *o);
fm_err fm_optim_gather(fm_optim *o);

/*
** Call before the process exits. If all ranks arrive here within a few seconds, they end normally.
** If some do not, because this one failed alone, it calls `alone` and ends all of them with its
** status.
*/
void fm_ranks_close(int status, void (*alone)(void));

#endif
