/*
** op.h - what an operation is, and what its rules use to emit further operations.
** An operation lives in one file of ops/ and one line of ops.def: shape rule, kernel, jvp rule,
** vjp rule, cost and samples for the tests. Rules only EMIT, so derivatives of any order follow.
*/
#ifndef FM_OP_H
#define FM_OP_H

#include "fm.h"
#include "sizes.h"

/*
** Flags: facts of an operation. Passes ask for facts, never for the name of an operation, so that a
** new operation is treated as it states. The passes that read a flag are in brackets.
** tests/c/test_facts.c compares facts with behaviour. x is operand 0, y the result.
*/
enum {
  /* Kind of kernel. */
  FM_ELEMENTWISE = 1 << 0, /* y[k] depends on x[k] alone; the jvp rule serves as vjp rule, too */
  FM_LEAF = 1 << 1,        /* no operands */
  FM_BOUND = 1 << 2,       /* a leaf whose bytes are given: no kernel runs [plan] */
  FM_FILL = 1 << 3,        /* a leaf: f[FM_VALUE] everywhere; in registers [emission, fuse] */
  FM_RANDOM = 1 << 4,      /* a leaf: differs between samples, costly to draw [hoist, recompute] */
  FM_BYTES = 1 << 5,       /* operands may be uint8; all other operations refuse them */
  FM_BLAS = 1 << 6,        /* may call BLAS, whose buffers are reserved first [fm_apply] */
  FM_PICKS = 1 << 7,       /* reads no more values of x than y has [bytes of a step] */

  /* How y relates to x. */
  FM_IDENTITY = 1 << 8, /* y = x: removed after differentiation [optimise] */
  FM_UNIQUE = 1 << 9,   /* never merged: a copy names a variable of fm_jvp [emission] */
  FM_SAME = 1 << 10,    /* y = x if x is the only operand and of the same signature [emission] */
  FM_SELECTS = 1 << 11, /* every value of y is one of x: a fill stays a fill [emission] */
  FM_RESHAPE = 1 << 12, /* a view of all values, so that keeping y keeps x alive [recompute] */
  FM_PART = 1 << 13,    /* some entries of an axis; copied where y outlives x [recompute] */
  FM_REPEAT = 1 << 14,  /* values of x repeated: fused passes read x instead [plan, fuse, hoist] */

  /* Scheduling. */
  FM_CLOSES_PASS = 1 << 15, /* a sum over x that the pass computing x accumulates [plan, fuse] */
  FM_KEEP = 1 << 16,        /* never rematerialised: y is smaller than x [recompute] */
  FM_STACKS_ROWS = 1 << 17, /* y(x, w): rows of x (axis 0) give rows of y; calls that share w can
                               be one call [stack] */
  FM_STACKS_SUMS = 1 << 18, /* y(a, d): a sum over axis 0 of both; summands can be one call
                               [stack] */
  FM_LOWERED = 1 << 19      /* emitted by lowering, after differentiation: no rules, nothing known
                               of where it is linear */
};

/*
** The attributes of an operation are the slots of an fm_attr: i[0] to i[7], then f[0] and f[1],
** which are number FM_F and FM_F + 1 in the list of names. An unused slot is 0 and has no name.
*/
enum { FM_F = 8, FM_ATTRS = 10 };

/* Slots that more than one file uses; others are named in the file of their operation. A shape has
   its rank in i[0], its sizes from i[1] on. */
enum { FM_AXIS, FM_START, FM_LENGTH };  /* i of slice, pad (length of the result), concat */
enum { FM_TA, FM_TB };                  /* i of matmul: transposed operands */
enum { FM_STRIDE, FM_PAD_Y, FM_PAD_X }; /* i of conv, conv_x, conv_w */
enum { FM_TURNED };                     /* i of winograd_weights */
enum { FM_INDEX = 7 };                  /* i of input and constant: position in their list */
enum { FM_STREAM = 7 };                 /* i of random numbers */
enum { FM_VALUE = 0, FM_DTYPE = 1 };    /* f of fills; of all leaves and of cast */
enum { FM_RATE };                       /* f of dropout */
enum { FM_SCALE, FM_SHIFT };            /* f of affine */
enum { FM_ORDER };                      /* f of families: which derivative */
enum { FM_EPS };                        /* f of normalize and its derivatives */
static inline double fm_eps_of(const fm_attr *a) { return a->f[FM_EPS] == 0 ? 1e-4 : a->f[FM_EPS]; }

/* Elementwise kernel: n values; a, b, c the operands, f the attributes. */
typedef void (*fm_map)(int64_t n, void *y, const void *a, const void *b, const void *c,
                       const double *f);

/* The arguments of a node's kernel. */
typedef struct fm_exec {
  const fm_attr *attr;
  const fm_sig *out;
  const fm_sig *in; /* signatures of the operands */
  int nin;
  void *y;
  const void *const *x;
  bool accumulate; /* y += instead of y =; only for ops that state `accumulates` */
  bool bf16;       /* products may round their operands to bfloat16 */
  fm_rng rng;      /* seed and step of this run; row0 its first sample */
  int64_t row0;
} fm_exec;

typedef void (*fm_exec_fn)(const fm_exec *e);

/* Several orders of a family at once: y[k] takes the k-th derivative, NULL if it is not wanted. */
#define FM_ORDERS 3
typedef void (*fm_family)(int64_t n, void *const y[FM_ORDERS], const void *x);

typedef struct fm_kernel {
  fm_map map;       /* elementwise operations */
  fm_exec_fn exec;  /* all others */
  fm_family family; /* elementwise operations with attribute FM_ORDER */
} fm_kernel;

/* Operands, attributes and range of values with which tests call an operation. */
typedef struct fm_sample {
  int nin;
  fm_shape in[3];
  fm_attr attr;
  double lo, hi;  /* operands are uniform on [lo, hi) */
  unsigned whole; /* bit k: operand k holds whole numbers and is not differentiated */
  unsigned bytes; /* bit k: likewise, and its dtype is uint8 */
  bool unprobed;  /* not in the fingerprint of the numerics: results made before it stay current */
} fm_sample;

#define FM_ALL (~0u) /* as a set of operands: all of them */
#define FM_MAX_SAMPLES 4
#define FM_MAX_OPERANDS 64 /* of executed operations; concatenations of rows are planned away */

struct fm_op {
  const char *name;
  const char *doc;  /* one sentence for users */
  const char *args; /* Lua arguments: t tensor, T list of tensors, n number, i integer, a axis, o
                       offset (from 1), s shape, p permutation, b boolean, d name of a number
                       format; after '|' all are optional. n fills the next slot of f[], i, a, o
                       and b that of i[], in the order of the letters; s, p and d have slots of
                       their own. fm.help() prints their names */
  /* Names of the slots in use, for reading programs: {"reverse"} names i[0], {[FM_F] = "scale"}
     f[0]. "shape" stands for i[0] to i[6], a rank and its sizes; "axes" for as many of i[] as the
     operand has axes. */
  const char *attrs[FM_ATTRS];
  int nin; /* operands; -1: any number */
  unsigned flags;
  fm_err (*infer)(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in, const fm_attr *attr,
                  fm_sig *out); /* NULL: fm_infer_alike */
  /* The tangent of y; some of dx[], one per operand, may be FM_NONE. NULL: it is zero. */
  fm_val (*jvp)(fm_prog *p, fm_val y, const fm_val *dx);
  /* Fills dx[], which are FM_NONE before, and adds nothing; dy is never FM_NONE. */
  void (*vjp)(fm_prog *p, fm_val y, fm_val dy, fm_val *dx);
  double (*flops)(int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr);
  bool (*rounds)(const fm_sig *in, const fm_sig *out); /* float32 operands to bfloat16, if asked */
  double cost;                                         /* FLOPs per value where `flops` is NULL */
  bool accumulates;                                    /* the kernel can add to its result */
  /* Sets of operands (bit k: operand k) in which y is jointly linear while the others are fixed:
     {FM_ALL} for a sum, {1, 2} for a product.
     Linear functions of sums over the micro-batches are computed once, from the sums [linear]. */
  unsigned linear[2];
  bool (*linear_if)(const fm_attr *attr); /* only with these attributes; NULL: with any */
  /* The FM_STACKS_ flags that hold for these operands and attributes; NULL: all that are set. */
  unsigned (*stacks)(const fm_sig *in, const fm_attr *attr);
  /* FM_RESHAPE, FM_PART: y is stored in x without gaps from this value on; -1: y needs a copy
     [plan]. */
  int64_t (*view)(const fm_sig *x, const fm_attr *attr);
  /* y is the concatenation of its operands in memory: programs compute them in place [plan]. */
  bool (*joins)(const fm_attr *attr);
  /* A simpler value equal to y(in), FM_NONE if there is none [emission]. */
  fm_val (*fold)(fm_prog *p, const fm_sig *y, const fm_attr *attr, const fm_val *in);
  /* Node v of p by another method, in q: map gives the values of p in q, uses the use counts of p.
     FM_NONE: it stays as it is [lower]. */
  fm_val (*lower)(fm_prog *q, const fm_prog *p, fm_val v, const fm_val *map, const int *uses);
  fm_sample samples[FM_MAX_SAMPLES];
};

int fm_op_id(const fm_op *op);                                  /* position in ops.def */
const fm_kernel *fm_kernel_of(const fm_op *op, fm_dtype dtype); /* for the instruction set in use */

/* The shape rule with its error sentence. */
fm_err fm_infer(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in, const fm_attr *attr,
                fm_sig *out);
/* fm_infer checks every result; a rule that computes with a shape from attributes checks it
   first. */
fm_err fm_check_sig(fm_ctx *ctx, const fm_op *op, const fm_sig *sig);
/* The signature with the shape that the attributes hold, checked. */
fm_err fm_infer_shape(fm_ctx *ctx, const fm_op *op, fm_dtype dtype, const fm_attr *attr,
                      fm_sig *out);
/* The rule of operations whose operands and result all have one signature. */
fm_err fm_infer_alike(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in, fm_sig *out);
/* Whether y is linear in this set of operands jointly (FM_ALL: all) while the others are fixed. */
bool fm_linear_in(const fm_op *op, const fm_attr *attr, unsigned set);
double fm_flops(const fm_op *op, int nin, const fm_sig *in, const fm_sig *out, const fm_attr *attr);

/* ------------------------------------------------------------------ looking at nodes */

fm_ctx *fm_prog_ctx(const fm_prog *p);
fm_val fm_arg(const fm_prog *p, fm_val y, int k); /* operand k of node y */
int fm_nargs(const fm_prog *p, fm_val y);
fm_attr fm_attr_of(const fm_prog *p, fm_val y);
const fm_op *fm_op_of(const fm_prog *p, fm_val y);
bool fm_known(const fm_prog *p, fm_val v, double *value); /* v is one known number everywhere */

/* ------------------------------------------------------------------ emitting */

/* Every operand must be there, as for fm_emit: an absent one, FM_NONE, is an error. */
fm_val fm_e1(fm_prog *p, const fm_op *op, fm_val a);
fm_val fm_e2(fm_prog *p, const fm_op *op, fm_val a, fm_val b);
fm_val fm_full(fm_prog *p, fm_sig sig, double value);
fm_val fm_concat(fm_prog *p, int n, const fm_val *in, int axis);
fm_val fm_matmul(fm_prog *p, fm_val a, fm_val b, bool ta, bool tb);

/* An absent operand, FM_NONE, is zero, and so is an absent result. */
fm_val fm_add(fm_prog *p, fm_val a, fm_val b);
fm_val fm_sub(fm_prog *p, fm_val a, fm_val b);
fm_val fm_mul(fm_prog *p, fm_val a, fm_val b);
fm_val fm_affine(fm_prog *p, fm_val a, double scale, double shift); /* scale a + shift; absent if a
                                                                       is, whatever the shift */
fm_val fm_scale(fm_prog *p, fm_val a, double scale);
fm_val fm_broadcast(fm_prog *p, fm_val a, const fm_shape *to);
fm_val fm_sum_to(fm_prog *p, fm_val a, const fm_shape *to);
fm_val fm_reshape(fm_prog *p, fm_val a, const fm_shape *to);
fm_val fm_slice(fm_prog *p, fm_val a, int axis, int64_t start, int64_t length);

fm_attr fm_attr_shape(const fm_shape *s);    /* i[0] = rank, i[1..] = sizes */
fm_shape fm_shape_of_attr(const fm_attr *a); /* sizes unchecked; rank -1 if out of range */

/* The jvp rule of operations that are jointly linear in all operands: the operation itself on the
   tangents; absent ones become zeros. */
fm_val fm_jvp_linear(fm_prog *p, fm_val y, const fm_val *dx);

#endif
