/* optim.c - one update of the weights in a single pass over memory. */
#include "optim.h"

#ifndef FM_RULES
#include "simd.h"

/* Eight partial sums on every instruction set, so that the norm has the same bits everywhere. */
double FM_FN(optim_square)(int64_t n, const void *g);
double FM_FN(optim_square)(int64_t n, const void *g) {
  const T *x = g;
  double s[8] = {0};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int j = 0; j < 8; j++) s[j] += (double)x[i + j] * (double)x[i + j];
  for (int j = 0; i < n; i++, j++) s[j] += (double)x[i] * (double)x[i];
  return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* The constants of a step as vectors. */
typedef struct consts {
  V scale, b1, c1, b2, c2, rate, root, eps, decay, ema[FM_MAX_EMA];
} consts;

/* Update the moments from the gradient, then the weights. */
static inline V update(const consts *k, bool adaptive, V g, V w, V *m, V *v) {
  g = g * k->scale;
  *m = vfma(k->b1, *m, k->c1 * g);
  *v = vfma(k->b2, *v, k->c2 * g * g);
  V d = k->rate * *m;
  if (adaptive) d = d / vfma(k->root, vsqrt(*v), k->eps);
  return w - vfma(k->decay, w, d);
}

/* Move VN values of an average, or only `left` < VN, towards the weights w. */
static inline void average(V rate, V w, T *e, int64_t left) {
  const V before = vtake(e, left);
  vgive(e, vfma(rate, w - before, before), left);
}

void FM_FN(optim_update)(const fm_optim_step *s, const fm_optim_part *p);
void FM_FN(optim_update)(const fm_optim_step *s, const fm_optim_part *p) {
  consts k = {vset((T)s->scale),    vset((T)s->b1),   vset((T)(1 - s->b1)), vset((T)s->b2),
              vset((T)(1 - s->b2)), vset((T)s->rate), vset((T)s->root),     vset((T)s->eps),
              vset((T)s->decay),    {vset(0)}};
  for (int j = 0; j < s->nema; j++) k.ema[j] = vset((T)(1 - s->ema[j]));
  const bool adaptive = s->adaptive;
  const T *g = p->g;
  T *w = p->w, *m = p->m, *v = p->v;
  for (int64_t i = 0; i < p->n; i += VN) {
    const int64_t left = p->n - i;
    V mi = vtake(m + i, left), vi = vtake(v + i, left);
    V wi = update(&k, adaptive, vtake(g + i, left), vtake(w + i, left), &mi, &vi);
    vgive(m + i, mi, left);
    vgive(v + i, vi, left);
    vgive(w + i, wi, left);
    for (int j = 0; j < s->nema; j++) average(k.ema[j], wi, (T *)p->e[j] + i, left);
  }
}

void FM_FN(optim_average)(const fm_optim_step *s, const fm_optim_part *p);
void FM_FN(optim_average)(const fm_optim_step *s, const fm_optim_part *p) {
  const T *w = p->w;
  for (int j = 0; j < s->nema; j++) {
    const V c = vset((T)(1 - s->ema[j]));
    T *e = p->e[j];
    for (int64_t i = 0; i < p->n; i += VN) average(c, vtake(w + i, p->n - i), e + i, p->n - i);
  }
}

#endif
