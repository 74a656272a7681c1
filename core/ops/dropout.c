/*
** dropout.c - masks of dropout (Srivastava et al. 2014): 0 with probability `rate`, else
** 1 / (1 - rate), so that the mean is 1. A value takes 16 random bits, an eighth of a block of
** Philox (see rng.c for the counter); the rate is rounded to a multiple of 2^-16.
**
** Every row (a sample) starts on a fresh block. The mask at position i of a row depends only on i,
** the sample's number, step, stream and seed. Positions come in groups of 8 GROUP, computed from
** GROUP blocks side by side so that everything is vector code: first 2 GROUP values from the first
** words of the blocks, two from each, the low half before the high half; then from the second
** words, and so on.
*/
#include <string.h>

#include "ops.h"

#ifndef FM_RULES

#define GROUP 32
#define VALUES (8 * GROUP) /* of a group */

/* Words of Philox in 64-bit lanes; the upper halves are ignored. */
#if FM_WIDTH == 0
typedef uint64_t W;
#define WN 1
#else
typedef uint64_t W __attribute__((vector_size(FM_WIDTH / 8), may_alias));
#define WN (FM_WIDTH / 64)
#endif

/* The products of the lower halves. */
static inline W product(W a, uint64_t b) {
#if FM_WIDTH == 512
  return (W)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64((long long)b));
#elif FM_WIDTH == 128
  return vmull_u32(vmovn_u64(a), vdup_n_u32((uint32_t)b));
#elif FM_WIDTH == 256
  return (W)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x((long long)b));
#else
  return (a & 0xFFFFFFFFu) * b;
#endif
}

/* Philox4x32-10 on GROUP counters at once; tests compare it with that of rng.c. */
static inline void philox(W c[4][GROUP / WN], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
    for (int i = 0; i < GROUP / WN; i++) {
      const W a = product(c[0][i], 0xD2511F53u), b = product(c[2][i], 0xCD9E8D57u);
      c[0][i] = (b >> 32) ^ c[1][i] ^ (uint64_t)k0;
      c[1][i] = b;
      c[2][i] = (a >> 32) ^ c[3][i] ^ (uint64_t)k1;
      c[3][i] = a;
    }
}

/* Values of group number `at` of sample `row`. */
static void draw(T y[VALUES], const fm_rng *r, int64_t row, int64_t at, uint32_t cut, T kept) {
  const uint32_t high = (uint32_t)((uint64_t)row >> 32) << 24;
  uint64_t first[GROUP];
  uint32_t half[2 * GROUP];
  W c[4][GROUP / WN];
  for (uint32_t i = 0; i < GROUP; i++) first[i] = ((uint32_t)at * GROUP + i) ^ high;
  memcpy(c[0], first, sizeof first);
  for (int i = 0; i < GROUP / WN; i++) {
    const W zero = {0};
    c[1][i] = zero + (uint64_t)(uint32_t)row;
    c[2][i] = zero + (uint64_t)r->step;
    c[3][i] = zero + (uint64_t)r->stream;
  }
  philox(c, (uint32_t)r->seed, (uint32_t)(r->seed >> 32));
  for (int j = 0; j < 4; j++, y += 2 * GROUP) {
    for (int i = 0; i < GROUP / WN; i++) /* a 32-bit lane per half, the low one first */
      c[j][i] = (c[j][i] & 0xFFFFu) | (c[j][i] & 0xFFFF0000u) << 16;
    memcpy(half, c[j], sizeof half);
    for (int i = 0; i < 2 * GROUP; i++) y[i] = half[i] < cut ? 0 : kept;
  }
}

FM_EXEC(dropout) {
  const fm_shape *s = &e->out->shape;
  const int64_t rows = s->nd > 0 ? s->d[0] : 1, n = rows ? fm_shape_count(s) / rows : 0;
  const uint32_t cut = (uint32_t)(e->attr->f[FM_RATE] * 65536 + 0.5);
  const T kept = (T)(65536.0 / (65536 - (double)cut));
  fm_rng rng = e->rng;
  rng.stream = (uint32_t)e->attr->i[FM_STREAM];
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

static fm_err infer_dropout(fm_ctx *ctx, const fm_op *op, int nin, const fm_sig *in,
                            const fm_attr *attr, fm_sig *out) {
  if (!(attr->f[FM_RATE] >= 0 && attr->f[FM_RATE] < 1 - 0x1p-16))
    return fm_fail(ctx, FM_EUSAGE, "%s: rate %.9g found, expected 0 <= rate < 1 - 2^-16", op->name,
                   attr->f[FM_RATE]);
  return fm_op_uniform.infer(ctx, op, nin, in, attr, out); /* shape and dtype */
}

const fm_op fm_op_dropout = {.name = "dropout", .doc = "A mask of dropout: 0 with probability "
  "`rate`, else 1 / (1 - rate), keyed by seed, stream, step and sample.", .args = "",
  .attrs = {"shape", [FM_STREAM] = "stream", [FM_F] = "rate", "dtype"}, .nin = 0,
  .flags = FM_LEAF | FM_RANDOM, .cost = 0, .infer = infer_dropout,
  .samples = {{0, {{0}}, {{2, 3, 7}, {0.25, 0}}, 0, 1},
              {0, {{0}}, {{3, 2, 5, 50}, {0.75, 0}}, 0, 1}}};

#endif
