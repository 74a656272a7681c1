/*
** check.h - the proof obligations of an operation, tried on its samples in float64: values of every
** instruction set against the scalar one, jvp against central differences, the adjoint identity
** <u, J v> = <J'u, v>, and the same for the jvp's own derivative (reverse through forward).
*/
#ifndef FM_CHECK_H
#define FM_CHECK_H

#include "fm.h"

typedef struct fm_check {
  const char *op, *check;
  double error, bound;
  bool ok;
} fm_check;

typedef void (*fm_check_fn)(void *arg, const fm_check *c);

/* Calls `each` per check and sample. An operation without samples fails the check "samples". */
fm_err fm_check_op(fm_ctx *ctx, const fm_op *op, fm_check_fn each, void *arg);

typedef void (*fm_probe_fn)(void *arg, const fm_tensor *result);

/*
** Calls `each` with what an operation gives for its samples in float32 and float64, by the
** instruction set in use: the value, its jvp and its vjp. Their bits tell numerics apart.
*/
fm_err fm_probe_op(fm_ctx *ctx, const fm_op *op, fm_probe_fn each, void *arg);

#endif
