/* fuse_walk.c - how the values of smaller shapes are walked along the shape of a pass. */
#include "layout.h"

void fm_walk_axes(fm_slot *s, const fm_shape *domain, const fm_shape *small) {
  int64_t step = 1;
  int n = 0;
  for (int k = domain->nd - 1; k >= 0; k--) {
    int64_t stride = small->d[k] == 1 ? 0 : step;
    step *= small->d[k];
    if (domain->d[k] == 1) continue;
    if (n > 0 && stride == s->stride[n - 1] * s->size[n - 1]) {
      s->size[n - 1] *= domain->d[k];
    } else {
      s->size[n] = domain->d[k];
      s->stride[n++] = stride;
    }
  }
  if (n == 0) s->size[n] = 1, s->stride[n++] = 0;
  s->naxes = n;
}

/* A sum is finished when the walk leaves the outermost axis that it adds up over. */
void fm_walk_span(fm_reduce *r) {
  const fm_slot *t = &r->target;
  int outer = t->naxes - 1;
  while (outer > 0 && t->stride[outer] != 0) outer--;
  r->span = r->period = 1;
  for (int k = 0; k <= outer; k++) {
    r->span *= t->size[k];
    if (t->stride[k] != 0) r->period *= t->size[k];
  }
  if (r->span > 0 && r->span < FM_BLOCK) {
    r->period *= FM_BLOCK / r->span;
    r->span *= FM_BLOCK / r->span;
  }
}
