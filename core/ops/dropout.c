/*
** dropout.c - masks of dropout (Srivastava et al. 2014): 0 with probability `rate`, else
** 1 / (1 - rate), so that the mean is 1. A value takes 16 random bits, an eighth of a block of
** Philox (see rng.c for the counter); the rate is rounded to a multiple of 2^-16.
**
** A row (a sample) starts on a fresh block, and the mask at position i of it depends on i, the
** sample's number, step, stream and seed alone. Bits are taken in groups of GROUP blocks, their
** first words first, so that everything is vector code: of word j, values
** 2 j GROUP .. 2 j GROUP + GROUP - 1 of the group are the low halves, the next GROUP the high ones.
*/
#include <string.h>

#include "ops.h"

#ifndef FM_RULES

#include "../philox.h"

#define GROUP 16
#define VALUES (8 * GROUP) /* of a group */

/* Values of group number `at` of sample `row`. */
static void draw(T y[VALUES], const fm_rng *r, int64_t row, int64_t at, uint32_t cut, T kept) {
  const uint32_t high = (uint32_t)((uint64_t)row >> 32) << 24, k0 = (uint32_t)r->seed;
  const uint32_t k1 = (uint32_t)(r->seed >> 32);
  uint32_t word[4][GROUP];
  for (uint32_t i = 0; i < GROUP; i++) {
    uint32_t c[4] = {((uint32_t)at * GROUP + i) ^ high, (uint32_t)row, r->step, r->stream};
    philox(c, k0, k1);
    for (int j = 0; j < 4; j++) word[j][i] = c[j];
  }
  for (int j = 0; j < 4; j++, y += 2 * GROUP)
    for (int i = 0; i < GROUP; i++) {
      y[i] = (word[j][i] & 0xFFFFu) < cut ? 0 : kept;
      y[i + GROUP] = word[j][i] >> 16 < cut ? 0 : kept;
    }
}

FM_EXEC(dropout) {
  const fm_shape *s = &e->out->shape;
  const int64_t rows = s->nd > 0 ? s->d[0] : 1, n = rows ? fm_shape_count(s) / rows : 0;
  const uint32_t cut = (uint32_t)(e->attr->f[0] * 65536 + 0.5);
  const T kept = (T)(65536.0 / (65536 - (double)cut));
  fm_rng rng = e->rng;
  rng.stream = (uint32_t)e->attr->i[7];
  T *y = e->y;
  for (int64_t r = 0; r < rows; r++, y += n) {
    const int64_t whole = n / VALUES;
    for (int64_t g = 0; g < whole; g++) draw(y + g * VALUES, &rng, e->row0 + r, g, cut, kept);
    if (n % VALUES == 0) continue;
    T last[VALUES];
    draw(last, &rng, e->row0 + r, whole, cut, kept);
    memcpy(y + whole * VALUES, last, (size_t)(n % VALUES) * sizeof(T));
  }
}

#endif

#ifdef FM_RULES

/* Shape in i[0..6], stream in i[7], rate in f[0], dtype in f[1]. */
static fm_err infer_dropout(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                            const fm_attr *attr, fm_sig *out) {
  if (!(attr->f[0] >= 0 && attr->f[0] < 1 - 0x1p-16))
    return fm_fail(ctx, FM_EUSAGE, "%s: rate %g found, expected 0 <= rate < 1", op->name,
                   attr->f[0]);
  return fm_op_uniform.infer(ctx, op, nin, in, attr, out); /* shape and dtype */
}

const fm_op fm_op_dropout = {.name = "dropout", .doc = "A mask of dropout: 0 with probability "
  "`rate`, else 1 / (1 - rate), keyed by seed, stream, step and sample.", .args = "", .nin = 0,
  .flags = FM_LEAF, .cost = 0, .infer = infer_dropout,
  .samples = {{0, {{0}}, {{2, 3, 7}, {0.25, 0}}, 0, 1},
              {0, {{0}}, {{3, 2, 5, 50}, {0.75, 0}}, 0, 1}}};

#endif
