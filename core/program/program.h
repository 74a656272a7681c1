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
  bool rematerialised; /* computed again, just before it is read: recompute.c, hoist_body.c */
  int nin;
  int first; /* operands are args[first .. first + nin - 1]; all come before the node */
} fm_node;

struct fm_prog {
  fm_ctx *ctx;
  fm_err err;    /* sticky */
  bool share;    /* hash-consing: equal nodes are one */
  bool verbatim; /* nodes are appended as they are, neither folded nor shared: for text */
  int n, cap;
  fm_node *node;
  int nargs, argcap;
  fm_val *args;
  int hashcap; /* a power of two, open addressing */
  fm_val *hash;
  int nconst, constcap;
  fm_tensor **constant;
  int placecap; /* as hashcap */
  int *place;   /* of constants, by the tensor */
  int nin, incap;
  struct fm_prog_in {
    fm_val v;
    fm_role role;
  } * in;
  int nout, outcap;
  struct fm_prog_out {
    fm_val v;
    fm_merge merge;
  } * out;
};

/* A program without operations has no list of operands, and NULL + 0 is undefined. */
static inline const fm_val *fm_ins(const fm_prog *p, fm_val v) {
  return p->args ? p->args + p->node[v].first : NULL;
}

/* Makes sure that a growing array of `size`-byte entries holds one more; false: out of memory. */
bool fm_grow(fm_prog *p, void **array, int *cap, int n, size_t size);
#define FM_GROW(p, array, cap, n) fm_grow(p, (void **)&(p)->array, &(p)->cap, n, sizeof *(p)->array)

/* The sticky error again, with a sentence unless the context has one still. */
fm_err fm_failed_before(const fm_prog *p);
/* A checked node, or the equal one that the program has and shares. */
fm_val fm_append(fm_prog *p, const fm_node *node, const fm_val *in);

/* The number of a constant, which is new or was there; -1: out of memory. */
int fm_constant(fm_prog *p, fm_tensor *t);

/* FNV-1a of n bytes, which continues h; FM_HASH begins. */
#define FM_HASH 14695981039346656037u
uint64_t fm_hash(uint64_t h, const void *bytes, size_t n);
/* Bytes, not values: attributes that differ in the sign of a zero are different. */
bool fm_same_bytes(const void *a, const void *b, size_t n);

static inline bool fm_same_sig(const fm_sig *a, const fm_sig *b) {
  return a->dtype == b->dtype && fm_shape_eq(&a->shape, &b->shape);
}
static inline bool fm_elementwise(const fm_op *op) { return op->flags & FM_ELEMENTWISE; }

#endif
