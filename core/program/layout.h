/* layout.h - a plan being made, for the files that make it: plan.c calls the others in turn. */
#ifndef FM_LAYOUT_H
#define FM_LAYOUT_H

#include "plan.h"

typedef struct fm_layout {
  fm_plan *plan;
  fm_pool *pool; /* of the arrays */
  bool *live;
  int *stage, *uses;
  /* Which nodes run together. */
  bool fuse;
  bool *stored;
  bool *virt; /* never in memory: passes read what it repeats */
  int ngroup;
  fm_val *member; /* of pass k: member[from[k]] .. member[from[k + 1] - 1], in order */
  int *from;
  /* Where values are. */
  fm_val *parent;   /* a view's or part's owner, else FM_NONE */
  size_t *offset;   /* bytes from the owner's start */
  int *begin, *end; /* first and last step that touches an owner */
} fm_layout;

void fm_fuse(fm_layout *l);         /* fuse.c: plan->group, and which nodes run together */
void fm_build_passes(fm_layout *l); /* fuse_pass.c: plan->fused */
/* schedule.c: changes of stages, before and after fusion (first: scratch), then the steps. */
void fm_stage_rematerialised(fm_layout *l, int *first);
void fm_delay(fm_layout *l, int *first);
void fm_schedule(fm_layout *l);
void fm_place(fm_layout *l); /* arena.c: offsets of all values in the arena */

/* fuse_walk.c: the axes of a value that is repeated along a pass, or of a sum's target; when a sum
** is finished. */
void fm_walk_axes(fm_slot *s, const fm_shape *domain, const fm_shape *small);
void fm_walk_span(fm_reduce *r);

#endif
