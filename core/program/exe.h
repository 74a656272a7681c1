/* exe.h - the inside of an executable, for compile.c, run.c and explain.c. */
#ifndef FM_EXE_H
#define FM_EXE_H

#include "hoist.h"
#include "plan.h"

typedef struct fm_port { /* an input or output of the first program */
  fm_sig sig;
  bool cut; /* along its first axis: a rows input, a stacked output */
} fm_port;

typedef struct fm_phase { /* the prologue or the epilogue: independent plans */
  int n;
  fm_plan *plan[FM_PARTS];
} fm_phase;

struct fm_exe {
  fm_ctx *ctx;
  int nprog, nplan, nmicro, nlane, nin, nout, nworker;
  bool ordered; /* the micro-batches share one lane and add to each of its sums in their order */
  fm_hoisted h;
  fm_port *in, *out; /* of the programs: what a job has */
  fm_plan **plan;    /* of the bodies; room for nprog, nplan made */
  fm_phase pro, epi;
  void **value; /* of the prologue */
  int *which;
  int64_t *row0;
  int traced;
  double ms_optimise, ms_plan; /* time spent compiling */
  size_t arena, blocks;        /* of a body: the largest */
  size_t body_size, part_size; /* arena, blocks, pointers to inputs and outputs: the largest */
  char **memory;               /* per worker, nworker of them; for one phase after the other */
  void **lane;                 /* nlane x outputs of a body; see lane_of */
  double **group;              /* the same: sums of groups of micro-batches; NULL: there are few */
  int *borrow; /* per output of a body: the job's output that serves as its last lane, or -1 */
  int *turn;   /* of an ordered run, per output of a body: the micro-batch that adds next */
};

/* Processor times per step, added up over a run on one thread. */
typedef struct fm_times {
  double *body; /* of program 0 */
  double *pro[FM_PARTS], *epi[FM_PARTS];
} fm_times;

static inline int fm_exe_runners(const fm_exe *e) { /* most workers that run micro-batches */
  int most = e->nmicro < FM_MAX_LANES ? e->nmicro : FM_MAX_LANES;
  return e->ordered ? most : e->nlane;
}
void fm_exe_free_memory(fm_exe *e); /* of the workers */

/* An executable without plans, of traces that fit the micro-batches; NULL on failure. */
fm_exe *fm_exe_open(fm_ctx *ctx, int nprogs, fm_prog *const *progs, const fm_cut *cut);
void fm_exe_count_lanes(fm_exe *e, int passes); /* when the bodies are planned */
fm_err fm_exe_make_memory(fm_exe *e);           /* when all is planned */

/* ------------------------------------------------------------------ groups.c */

#define FM_GROUP 64 /* micro-batches that a lane adds up before their sum goes elsewhere */
fm_err fm_groups_make(fm_exe *e);
void fm_groups_free(fm_exe *e);
size_t fm_groups_bytes(const fm_exe *e, int k); /* of group[k] */
/* Does the micro-batch open a group, so that its sums overwrite what is in its lane? */
bool fm_groups_first(const fm_exe *e, int micro);
/* After the micro-batch, whose sums are in its lane: sum[k] per output of a body. */
void fm_groups_add(const fm_exe *e, int lane, int micro, void *const *sum);

fm_err fm_exe_do(fm_exe *e, const fm_job *job, int workers, const fm_times *times);

#endif
