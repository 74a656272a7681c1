/*
** check.h - the checks that every operation must pass on its samples: values of every instruction
** set against the scalar one, jvp against central differences, the adjoint identity
** <u, J v> = <J'u, v>, and the same for the jvp's own derivatives (reverse over forward).
** Derivatives are checked in float64.
*/
#ifndef FM_CHECK_H
#define FM_CHECK_H

#include "../fm.h"

typedef struct fm_check {
  const char *op, *check; /* the names of the operation and of the check */
  int sample;             /* number of the sample, from 1; 0: none */
  const char *dtype;      /* in which it was computed; "": in none */
  double error, bound;    /* relative error found, and the largest accepted */
  bool ok;
} fm_check;

typedef void (*fm_check_fn)(void *arg, const fm_check *c);

/*
** Calls `each` once per check and sample. An operation without samples fails the check "has
** samples". An error is returned only if a check cannot be run.
*/
fm_err fm_check_op(fm_ctx *ctx, const fm_op *op, fm_check_fn each, void *arg);

typedef void (*fm_probe_fn)(void *arg, const fm_tensor *result);

/*
** Calls `each` with the results of an operation on its samples, in float32 and float64, with the
** instruction set in use: the value, its jvp and its vjp. Their bits identify the numerics of this
** build and processor.
*/
fm_err fm_probe_op(fm_ctx *ctx, const fm_op *op, fm_probe_fn each, void *arg);

#endif
