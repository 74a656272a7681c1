/*
** program.h - the inside of a program, for the files of program/ only.
*/
#ifndef FM_PROGRAM_H
#define FM_PROGRAM_H

#include "../op.h"

typedef struct fm_node {
  const fm_op *op;
  fm_sig sig;
  fm_attr attr;
  bool late; /* made just before it is read: see recompute.c */
  int nin;
  int first; /* operands are args[first .. first + nin - 1]; all come before the node */
} fm_node;

struct fm_prog {
  fm_ctx *ctx;
  fm_err err; /* sticky */
  bool share; /* hash-consing: equal nodes are one */
  int n, cap;
  fm_node *node;
  int nargs, argcap;
  fm_val *args;
  int hashcap; /* a power of two, open addressing */
  fm_val *hash;
  int nconst, constcap;
  fm_tensor **constant;
  int nin, incap;
  struct fm_in {
    fm_val v;
    fm_role role;
  } * in;
  int nout, outcap;
  struct fm_out {
    fm_val v;
    fm_merge merge;
  } * out;
};

static inline const fm_val *fm_ins(const fm_prog *p, fm_val v) {
  return p->args + p->node[v].first;
}

/* Room for one more in a growing array of `size`-byte entries; false when memory is out. */
bool fm_grow(fm_prog *p, void **array, int *cap, int n, size_t size);

/* An empty program with the inputs of p in the same order; map[] (p->n entries) maps values. */
fm_prog *fm_prog_like(const fm_prog *p, fm_val *map);
/* Copy node v of p into q with operands mapped; constants and outputs keep their tensors. */
fm_val fm_prog_copy(fm_prog *q, const fm_prog *p, fm_val v, const fm_val *map);

/* A simpler value equal to the node about to be emitted, FM_NONE if there is none: fold.c. */
fm_val fm_fold(fm_prog *p, const fm_node *n, const fm_val *in);

/* Passes: a new program with the same inputs and outputs; NULL on failure. See compile.c. */
fm_prog *fm_optimise(const fm_prog *p, int passes);
fm_prog *fm_stack(const fm_prog *p, int passes);
fm_prog *fm_lower(const fm_prog *p, int passes);
fm_prog *fm_lower_few(const fm_prog *p, int passes);
/* live[v]: node v is needed for an output. */
void fm_live(const fm_prog *p, bool *live);
bool fm_opens_stage(const fm_op *op);
/* Bytes, not values: attributes that differ in the sign of a zero are different. */
bool fm_same_bytes(const void *a, const void *b, size_t n);
/* Number of expensive operations on the longest way to each node: see fuse.c. */
void fm_stages(const fm_prog *p, int *stage);

static inline bool fm_elementwise(const fm_op *op) { return op->flags & FM_ELEMENTWISE; }

#endif
