/*
** rng.c - counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random
** numbers: as easy as 1, 2, 3; SC 2011).
**
** A sample (a row) owns blocks of four 32-bit words:
**   key     = seed                                              (64 bits)
**   counter = block in the sample     24 bits of word 0, below
**             sample index >> 32       8 bits of word 0, above; low 32 bits are word 1
**             step                    word 2
**             stream                  word 3
** For each key Philox is a bijection of the counter, and the fields do not overlap: no two blocks
** of a seed are equal. Limits: 2^40 samples per step and 2^24 blocks per sample (2^26 values in
** float32, 2^25 in float64); beyond them the fields would overlap. A float32 value takes one word,
** a float64 value two. uniform and normal read the same words, so each use needs its own stream.
**
** Normal deviates are computed in double by the plain C below and then rounded: the same bits on
** every machine. The file is compiled once, without contraction, and does not call the C library's
** log, sin and cos, whose code depends on the processor.
*/
#include <math.h>
#include <string.h>

#include "fm.h"

#define FM_ISA scalar
#define FM_T f64
#include "kernels/simd.h"

#define BATCH 128 /* blocks per iteration: arrays stay in L1, and loops over them vectorise */

typedef uint32_t block_words[4][BATCH];

static inline void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t c1 = c[1], c3 = c[3];
    c[0] = (uint32_t)(b >> 32) ^ c1 ^ k0;
    c[1] = (uint32_t)b;
    c[2] = (uint32_t)(a >> 32) ^ c3 ^ k1;
    c[3] = (uint32_t)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

void fm_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
  philox(c, key[0], key[1]);
  memcpy(out, c, sizeof c);
}

/* n <= BATCH blocks, starting at block `block` of sample `row`; a sample has `per_row` blocks. */
static void draw(const fm_rng *r, uint64_t row, int64_t block, int64_t per_row, int n,
                 block_words w) {
  for (int i = 0; i < n; i++) {
    w[0][i] = (uint32_t)block ^ (uint32_t)(row >> 32) << 24;
    w[1][i] = (uint32_t)row;
    if (++block == per_row) block = 0, row++;
  }
  const uint32_t k0 = (uint32_t)r->seed, k1 = (uint32_t)(r->seed >> 32);
  for (int i = 0; i < n; i++) {
    uint32_t c[4] = {w[0][i], w[1][i], r->step, r->stream};
    philox(c, k0, k1);
    for (int j = 0; j < 4; j++) w[j][i] = c[j];
  }
}

/* ------------------------------------------------------------------ words to values */

/* k < 2^52 as a double, by way of the fraction of 2^52 + k: an integer conversion is slower. */
static inline double exact(uint64_t k) { return vfrom(k | 0x4330000000000000u) - 0x1p52; }

/* A value on [0, 1) from 53 bits of two words. */
static inline double unit53(uint32_t hi, uint32_t lo) {
  return (exact(hi) * 0x1p21 + exact(lo >> 11)) * 0x1p-53;
}

/* The values of n blocks on [0, 1): four per block (float64: two). */
static void uniforms(fm_dtype t, int n, block_words w, double *v) {
  for (int i = 0; i < n; i++)
    if (t == FM_F32)
      for (int j = 0; j < 4; j++) v[4 * i + j] = exact(w[j][i] >> 8) * 0x1p-24;
    else
      for (int j = 0; j < 2; j++) v[2 * i + j] = unit53(w[2 * j][i], w[2 * j + 1][i]);
}

/* log(u), 0 < u <= 1 normal: u = 2^e m, log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172. */
static inline double log_unit(double u) {
  const uint64_t root_half = 0x3FE6A09E667F3BCDu, one = 0x3FF0000000000000u;
  uint64_t b = vbits(u) + (one - root_half);
  double e = exact(b >> 52) - 1023.0;
  double m = vfrom((b & 0x000FFFFFFFFFFFFFu) + root_half), s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 0.0; /* the series of atanh; the first omitted term is below 2^-56 */
  for (int k = 21; k >= 3; k -= 2) p = p * z + 1.0 / k;
  return e * 0.69314718055994530942 + 2.0 * (s + s * z * p);
}

/* cos and sin of 2 pi u, 0 <= u < 1: nearest quarter turn, then Taylor series on |a| <= pi/4. */
static inline void turn(double u, double *c, double *s) {
  double q = u * 4.0 + 0x1.8p52, a = (u - (q - 0x1.8p52) * 0.25) * 6.28318530717958647693;
  double z = a * a, pc = 1.0, ps = 1.0;
  for (int k = 18; k >= 2; k -= 2) pc = 1.0 - pc * (z * (1.0 / (k * (k - 1))));
  for (int k = 17; k >= 3; k -= 2) ps = 1.0 - ps * (z * (1.0 / (k * (k - 1))));
  ps *= a;
  const uint64_t quarter = vbits(q), odd = -(quarter & 1);
  const uint64_t swap = (vbits(pc) ^ vbits(ps)) & odd; /* branch-free, so that it vectorises */
  *c = vfrom(vbits(pc) ^ swap ^ ((quarter + 1) & 2) << 62);
  *s = vfrom(vbits(ps) ^ swap ^ (quarter & 2) << 62);
}

/* Box-Muller: two uniform values, the first never 0, give two normal deviates. */
static void normals(fm_dtype t, int n, block_words w, double *v) {
  const int pairs = t == FM_F32 ? 2 : 1; /* per block */
  for (int j = 0; j < pairs; j++) {
    double u[BATCH], a[BATCH]; /* radius and angle */
    for (int i = 0; i < n; i++)
      if (t == FM_F32) {
        u[i] = (exact(w[2 * j][i]) + 0.5) * 0x1p-32;
        a[i] = exact(w[2 * j + 1][i]) * 0x1p-32;
      } else {
        u[i] = unit53(w[0][i], w[1][i]) + 0x1p-54;
        a[i] = unit53(w[2][i], w[3][i]);
      }
    for (int i = 0; i < n; i++) u[i] = -2.0 * log_unit(u[i]);
    for (int i = 0; i < n; i++) u[i] = sqrt(u[i]); /* separate: may set errno, so not vectorised */
    for (int i = 0; i < n; i++) {
      double c, s;
      turn(a[i], &c, &s);
      v[2 * (i * pairs + j)] = u[i] * c;
      v[2 * (i * pairs + j) + 1] = u[i] * s;
    }
  }
}

/* ------------------------------------------------------------------ rows */

static void put(fm_dtype t, void *y, int64_t at, int64_t n, const double *v) {
  if (t == FM_F32)
    for (int64_t i = 0; i < n; i++) ((float *)y)[at + i] = (float)v[i];
  else
    memcpy((double *)y + at, v, (size_t)n * sizeof *v);
}

/* Each row starts with a new block, so that a value does not depend on how rows are grouped. */
static void fill(const fm_rng *r, fm_dtype t, int64_t row0, int64_t rows, int64_t cols, void *y,
                 void (*values)(fm_dtype t, int n, block_words w, double *v)) {
  const int64_t each = t == FM_F32 ? 4 : 2, per_row = (cols + each - 1) / each;
  block_words w;
  double v[4 * BATCH];
  for (int64_t at = 0, all = rows * per_row; at < all; at += BATCH) {
    const int n = (int)(all - at < BATCH ? all - at : BATCH);
    draw(r, (uint64_t)row0 + (uint64_t)(at / per_row), at % per_row, per_row, n, w);
    values(t, n, w, v);
    if (cols % each == 0) {
      put(t, y, at * each, n * each, v);
      continue;
    }
    for (int i = 0; i < n; i++) { /* the last block of a row is used in part */
      const int64_t row = (at + i) / per_row, col = (at + i) % per_row * each;
      put(t, y, row * cols + col, cols - col < each ? cols - col : each, v + i * each);
    }
  }
}

void fm_rng_uniform(const fm_rng *r, fm_dtype t, int64_t row0, int64_t rows, int64_t cols,
                    void *y) {
  fill(r, t, row0, rows, cols, y, uniforms);
}

void fm_rng_normal(const fm_rng *r, fm_dtype t, int64_t row0, int64_t rows, int64_t cols, void *y) {
  fill(r, t, row0, rows, cols, y, normals);
}
