/* optim.h - arguments of the optimisers' kernels, compiled per instruction set and dtype. */
#ifndef FM_KERNELS_OPTIM_H
#define FM_KERNELS_OPTIM_H

#include "../fm.h"

/* The constants of one update. */
typedef struct fm_optim_step {
  double scale;  /* of the gradient: the caller's factor times the clipping factor */
  double b1, b2; /* moments: m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2 */
  double rate;   /* w <- w - rate * m / (root * sqrt(v) + eps) - decay * w */
  double root, eps;
  double decay;
  bool adaptive; /* false: w <- w - rate * m - decay * w */
  int nema;
  double ema[FM_MAX_EMA]; /* e <- ema e + (1 - ema) w */
} fm_optim_step;

/* Values to update, aligned alike; e: averages. */
typedef struct fm_optim_part {
  int64_t n;
  void *w, *m, *v, *e[FM_MAX_EMA];
  const void *g;
} fm_optim_part;

typedef void (*fm_optim_update_fn)(const fm_optim_step *s, const fm_optim_part *p);
/* Only the averages, of weights that are updated already; the same bits. */
typedef void (*fm_optim_average_fn)(const fm_optim_step *s, const fm_optim_part *p);
typedef double (*fm_optim_square_fn)(int64_t n, const void *g); /* sum of squares, in double */

#endif
