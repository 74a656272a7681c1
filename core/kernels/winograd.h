/*
** winograd.h - the transforms of Winograd's convolution F(4x4, 3x3): a 4x4 tile of the result of a
** 3x3 convolution from 36 products instead of 144 (Winograd 1980; Lavin and Gray 2016):
**   Y = A' [ (G w G') * (B' d B) ] A   w: 3x3 kernel, d: 6x6 tile of the images, *: by value
** and, transposed, the kernel's gradient from D = A dY A' (6x6 from a 4x4 tile):
**   dW = G' [ sum over tiles of D * (B' d B) ] G
** It is a polynomial product evaluated at 0, P, -P, Q, -Q and infinity. Of a dozen pairs tried, P =
** 5/8, Q = 8/5 lose the fewest digits: a half to a third of the errors of the usual 1, 2. P Q = 1.
**
** The six points are in the order P, -P, Q, -Q, 0, infinity, so that values that share work are
** neighbours: pairs 0, 1, 2. Computed one pair at a time, a 6x6 tile needs few registers. Every
** transform works on vectors over channels, first down the columns, then along the rows.
*/
#ifndef FM_WINOGRAD_H
#define FM_WINOGRAD_H

#include "simd.h"

#define WINO_P ((T)0.625)
#define WINO_Q ((T)1.6)
#define WINO_PP ((T)0.390625)
#define WINO_QQ ((T)2.56)
#define WINO_P3 ((T)0.244140625)
#define WINO_Q3 ((T)4.096)
/* Evaluation at P, Q is divided by the product of the distances to the other finite points. */
#define WINO_FP ((T)(2 * 0.390625 * (0.390625 - 2.56)))
#define WINO_FQ ((T)(2 * 2.56 * (2.56 - 0.390625)))

/* Multiply-adds with a constant factor. */
static inline V wino_mad(T x, V a, V b) { return vfma(vset(x), a, b); }

/* B' d: one pair, from a column of 6 at d[0], d[step], ... */
static inline void wino_in(const int pair, const V *d, const int step, V out[2]) {
  if (pair == 2) {
    out[0] = wino_mad(-(WINO_PP + WINO_QQ), d[2 * step], d[0] + d[4 * step]);
    out[1] = wino_mad(-(WINO_PP + WINO_QQ), d[3 * step], d[step] + d[5 * step]);
    return;
  }
  const T point = pair ? WINO_Q : WINO_P, other = pair ? WINO_PP : WINO_QQ;
  V even = wino_mad(-other, d[2 * step], d[4 * step]);
  V odd = wino_mad(-other, d[step], d[3 * step]);
  out[0] = wino_mad(point, odd, even);
  out[1] = wino_mad(-point, odd, even);
}

/* A y: one pair, from a column of 4. */
static inline void wino_spread(const int pair, const V *y, const int step, V out[2]) {
  if (pair == 2) {
    out[0] = y[0];
    out[1] = y[3 * step];
    return;
  }
  const T point = pair ? WINO_Q : WINO_P, square = pair ? WINO_QQ : WINO_PP;
  V even = wino_mad(square, y[2 * step], y[0]);
  V odd = wino_mad(square, y[3 * step], y[step]);
  out[0] = wino_mad(point, odd, even);
  out[1] = wino_mad(-point, odd, even);
}

/* A' m: 4 from a column of 6. */
static inline void wino_out(const V *m, const int step, V out[4]) {
  V s = m[0] + m[step], d = m[0] - m[step];
  V u = m[2 * step] + m[3 * step], e = m[2 * step] - m[3 * step];
  out[0] = m[4 * step] + (s + u);
  out[1] = wino_mad(WINO_P, d, vset(WINO_Q) * e);
  out[2] = wino_mad(WINO_PP, s, vset(WINO_QQ) * u);
  out[3] = m[5 * step] + wino_mad(WINO_P3, d, vset(WINO_Q3) * e);
}

/* G w: 6 from a column of 3. */
static inline void wino_kernel(const V *w, const int step, V out[6]) {
  const V p = vset(1 / WINO_FP), q = vset(1 / WINO_FQ);
  V even = wino_mad(WINO_PP, w[2 * step], w[0]) * p, odd = w[step] * (vset(WINO_P) * p);
  out[0] = even + odd;
  out[1] = even - odd;
  even = wino_mad(WINO_QQ, w[2 * step], w[0]) * q, odd = w[step] * (vset(WINO_Q) * q);
  out[2] = even + odd;
  out[3] = even - odd;
  out[4] = w[0];
  out[5] = w[2 * step];
}

/* G' u: 3 from a column of 6. */
static inline void wino_gather(const V *u, const int step, V out[3]) {
  const V p = vset(1 / WINO_FP), q = vset(1 / WINO_FQ);
  V s = (u[0] + u[step]) * p, d = (u[0] - u[step]) * p;
  V t = (u[2 * step] + u[3 * step]) * q, e = (u[2 * step] - u[3 * step]) * q;
  out[0] = u[4 * step] + (s + t);
  out[1] = wino_mad(WINO_P, d, vset(WINO_Q) * e);
  out[2] = u[5 * step] + wino_mad(WINO_PP, s, vset(WINO_QQ) * t);
}

#endif
