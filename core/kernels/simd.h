/*
** simd.h - one vector type for every instruction set.
**
** A kernel source is compiled once per pair (-DFM_ISA=scalar|avx2|avx512|neon, -DFM_T=f32|f64) and
** sees:
**   T, V, M, U   a value, a vector of VN values, a mask of VN lanes, the bits of a V
**   FM_FN(name)  fm_name_f32_avx2 and so on: the name of this compilation's function
**   + - * /      on V directly (on `scalar` V is T, so the same text is plain C)
** and the inlines below. Only vfma fuses a multiply-add, where the instruction set has FMA; it is
** a*b + c in `scalar`.
*/
#ifndef FM_SIMD_H
#define FM_SIMD_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define FM_GLUE_(a, b) a##b
#define FM_GLUE(a, b) FM_GLUE_(a, b)
#define FM_NAME_(name, t, isa) fm_##name##_##t##_##isa
#define FM_NAME(name, t, isa) FM_NAME_(name, t, isa)
#define FM_FN(name) FM_NAME(name, FM_T, FM_ISA)

/* The tokens as numbers, for #if. */
#define FM_WIDTH_scalar 0
#define FM_WIDTH_neon 128
#define FM_WIDTH_avx2 256
#define FM_WIDTH_avx512 512
#define FM_WIDTH FM_GLUE(FM_WIDTH_, FM_ISA)
#define FM_BITS_f32 32
#define FM_BITS_f64 64
#define FM_BITS FM_GLUE(FM_BITS_, FM_T)

#if FM_BITS == 32
typedef float T;
typedef uint32_t TU;
#define FM_LIBM(fn) fn##f
#define FM_LARGEST FLT_MAX
#else
typedef double T;
typedef uint64_t TU;
#define FM_LIBM(fn) fn
#define FM_LARGEST DBL_MAX
#endif
#define FM_SIGN ((TU)1 << (FM_BITS - 1))

/* ------------------------------------------------------------------ scalar */
#if FM_WIDTH == 0

#define VN 1
typedef T V;
typedef TU U;
typedef int M;

static inline V vset(T x) { return x; }
static inline V vload(const T *p) { return *p; }
static inline void vstore(T *p, V v) { *p = v; }
/* The first n < VN lanes; the others are read as 0 and not written. */
static inline V vloadn(const T *p, int64_t n) { return n > 0 ? *p : 0; }
static inline void vstoren(T *p, V v, int64_t n) {
  if (n > 0) *p = v;
}
static inline V vfma(V a, V b, V c) { return a * b + c; }
static inline V vmin0(V a, V b) { return a < b ? a : b; } /* b if either is NaN, as x86 does */
static inline V vmax0(V a, V b) { return a > b ? a : b; }
static inline V vsqrt(V a) { return FM_LIBM(sqrt)(a); }
static inline V vfloor(V a) { return FM_LIBM(floor)(a); }
static inline V vround(V a) { return FM_LIBM(rint)(a); } /* to nearest even */
static inline M vlt(V a, V b) { return a < b; }
static inline M vle(V a, V b) { return a <= b; }
static inline M veq(V a, V b) { return a == b; }
static inline int vall(M m) { return m; }
static inline V vsel(M m, V a, V b) { return m ? a : b; } /* lane of a where m holds, else of b */
static inline U vbits(V a) {
  U u;
  memcpy(&u, &a, sizeof u);
  return u;
}
static inline V vfrom(U u) {
  V a;
  memcpy(&a, &u, sizeof a);
  return a;
}

#elif FM_WIDTH == 128
#include "simd_neon.h"

/* ------------------------------------------------------------------ AVX2 + FMA, AVX-512 */
#else
#include <immintrin.h>

#define VN (FM_WIDTH / FM_BITS)
#define FM_MM_256_32(op) _mm256_##op##_ps
#define FM_MM_256_64(op) _mm256_##op##_pd
#define FM_MM_512_32(op) _mm512_##op##_ps
#define FM_MM_512_64(op) _mm512_##op##_pd
#define FM_MM FM_GLUE(FM_GLUE(FM_MM_, FM_WIDTH), FM_GLUE(_, FM_BITS))

typedef T V __attribute__((vector_size(FM_WIDTH / 8), may_alias));
typedef TU U __attribute__((vector_size(FM_WIDTH / 8), may_alias));

static inline V vset(T x) { return FM_MM(set1)(x); }
static inline V vload(const T *p) { return FM_MM(loadu)(p); }
static inline void vstore(T *p, V v) { FM_MM(storeu)(p, v); }
static inline V vfma(V a, V b, V c) { return FM_MM(fmadd)(a, b, c); }
static inline V vmin0(V a, V b) { return FM_MM(min)(a, b); } /* b if either is NaN */
static inline V vmax0(V a, V b) { return FM_MM(max)(a, b); }
static inline V vsqrt(V a) { return FM_MM(sqrt)(a); }
static inline V vfloor(V a) { return FM_MM(floor)(a); }
static inline U vbits(V a) { return (U)a; }
static inline V vfrom(U u) { return (V)u; }

#if FM_WIDTH == 256
typedef V M; /* all bits of a lane, or none */

/* The first n < VN lanes; the others are read as 0 and not written. */
static inline __m256i vtail(int64_t n) {
  static const TU ones[2 * VN] = {
    (TU)-1,
    (TU)-1,
    (TU)-1,
    (TU)-1,
#if VN == 8
    (TU)-1,
    (TU)-1,
    (TU)-1,
    (TU)-1,
#endif
  };
  return _mm256_loadu_si256((const __m256i *)(const void *)(ones + VN - n));
}
static inline V vloadn(const T *p, int64_t n) { return FM_MM(maskload)(p, vtail(n)); }
static inline void vstoren(T *p, V v, int64_t n) { FM_MM(maskstore)(p, vtail(n), v); }
static inline V vround(V a) { return FM_MM(round)(a, 8); } /* to nearest even, no exception */
static inline M vlt(V a, V b) { return FM_MM(cmp)(a, b, _CMP_LT_OQ); }
static inline M vle(V a, V b) { return FM_MM(cmp)(a, b, _CMP_LE_OQ); }
static inline M veq(V a, V b) { return FM_MM(cmp)(a, b, _CMP_EQ_OQ); }
static inline int vall(M m) { return FM_MM(movemask)(m) == (1 << VN) - 1; }
static inline V vsel(M m, V a, V b) { return FM_MM(blendv)(b, a, m); }

#else
#if VN == 16
typedef __mmask16 M;
#else
typedef __mmask8 M;
#endif

/* The first n < VN lanes; the others are read as 0 and not written. */
static inline M vtail(int64_t n) { return (M)((1u << n) - 1); }
static inline V vloadn(const T *p, int64_t n) { return FM_MM(maskz_loadu)(vtail(n), p); }
static inline void vstoren(T *p, V v, int64_t n) { FM_MM(mask_storeu)(p, vtail(n), v); }
static inline V vround(V a) { return FM_MM(roundscale)(a, 8); } /* to nearest even, no exception */
static inline M vlt(V a, V b) { return FM_GLUE(FM_MM(cmp), _mask)(a, b, _CMP_LT_OQ); }
static inline M vle(V a, V b) { return FM_GLUE(FM_MM(cmp), _mask)(a, b, _CMP_LE_OQ); }
static inline M veq(V a, V b) { return FM_GLUE(FM_MM(cmp), _mask)(a, b, _CMP_EQ_OQ); }
static inline int vall(M m) { return m == (M)((1u << VN) - 1); }
static inline V vsel(M m, V a, V b) { return FM_MM(mask_blend)(m, b, a); }
#endif
#endif

/* ------------------------------------------------------------------ every set */

#if FM_WIDTH != 128
/* sum + x b for a single x. */
static inline V vfma1(T x, V b, V sum) { return vfma(vset(x), b, sum); }
#endif
/* Load and store VN values, or only `left` < VN, for loops over rows of any length. */
static inline V vtake(const T *p, int64_t left) { return left >= VN ? vload(p) : vloadn(p, left); }
static inline void vgive(T *p, V v, int64_t left) {
  if (left >= VN)
    vstore(p, v);
  else
    vstoren(p, v, left);
}
static inline V vneg(V a) { return -a; }
static inline V vabs(V a) { return vfrom(vbits(a) & (FM_SIGN - 1)); }
static inline V vcopysign(V a, V b) {
  return vfrom((vbits(a) & (FM_SIGN - 1)) | (vbits(b) & FM_SIGN));
}
/* NaN if either operand is NaN. */
static inline V vmin(V a, V b) { return vsel(veq(a, a), vmin0(a, b), a); }
static inline V vmax(V a, V b) { return vsel(veq(a, a), vmax0(a, b), a); }

/* Sum and maximum over the lanes, in a fixed tree; the maximum is NaN if any lane is NaN. */
static inline T vsum(V v) {
  T x[VN];
  vstore(x, v);
  for (int h = VN / 2; h > 0; h /= 2)
    for (int i = 0; i < h; i++) x[i] += x[i + h];
  return x[0];
}
static inline T vmaxall(V v) {
  T x[VN];
  vstore(x, v);
  for (int i = 1; i < VN; i++)
    if (x[i] > x[0] || x[i] != x[i]) x[0] = x[i];
  return x[0];
}

/* Transpose VN vectors of VN values in place, in log2 VN rounds that zip the first half with the
   second. */
#if VN == 2
#define FM_ZIP(a, b, h) __builtin_shufflevector(a, b, h, 2 + h)
#elif VN == 4
#define FM_ZIP(a, b, h) __builtin_shufflevector(a, b, 2 * h, 4 + 2 * h, 2 * h + 1, 5 + 2 * h)
#elif VN == 8
#define FM_ZIP(a, b, h)                                                                            \
  __builtin_shufflevector(a, b, 4 * h, 8 + 4 * h, 4 * h + 1, 9 + 4 * h, 4 * h + 2, 10 + 4 * h,     \
                          4 * h + 3, 11 + 4 * h)
#elif VN == 16
#define FM_ZIP(a, b, h)                                                                            \
  __builtin_shufflevector(a, b, 8 * h, 16 + 8 * h, 8 * h + 1, 17 + 8 * h, 8 * h + 2, 18 + 8 * h,   \
                          8 * h + 3, 19 + 8 * h, 8 * h + 4, 20 + 8 * h, 8 * h + 5, 21 + 8 * h,     \
                          8 * h + 6, 22 + 8 * h, 8 * h + 7, 23 + 8 * h)
#endif
static inline void vtranspose(V x[VN]) {
#if VN > 1
  V y[VN];
  for (int round = 1; round < VN; round *= 2) {
    for (int i = 0; i < VN / 2; i++) {
      y[2 * i] = FM_ZIP(x[i], x[i + VN / 2], 0);
      y[2 * i + 1] = FM_ZIP(x[i], x[i + VN / 2], 1);
    }
    for (int i = 0; i < VN; i++) x[i] = y[i];
  }
#else
  (void)x;
#endif
}

/* The lanes of a V as doubles, in VDS vectors of the same width, and back. */
#if FM_WIDTH == 0
typedef double VD;
#define VDS 1
static inline VD vdset(double x) { return x; }
static inline void vwiden(V v, VD w[VDS]) { w[0] = (double)v; }
static inline V vnarrow(const VD w[VDS]) { return (V)w[0]; }
#elif FM_WIDTH > 128 /* simd_neon.h has its own */
typedef double VD __attribute__((vector_size(FM_WIDTH / 8), may_alias));
#if FM_WIDTH == 256
static inline VD vdset(double x) { return _mm256_set1_pd(x); }
#else
static inline VD vdset(double x) { return _mm512_set1_pd(x); }
#endif
#if FM_BITS == 64
#define VDS 1
static inline void vwiden(V v, VD w[VDS]) { w[0] = v; }
static inline V vnarrow(const VD w[VDS]) { return w[0]; }
#else
#define VDS 2
#if FM_WIDTH == 256
static inline void vwiden(V v, VD w[VDS]) {
  w[0] = _mm256_cvtps_pd(_mm256_castps256_ps128(v));
  w[1] = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
}
static inline V vnarrow(const VD w[VDS]) {
  return _mm256_set_m128(_mm256_cvtpd_ps(w[1]), _mm256_cvtpd_ps(w[0]));
}
#else
static inline void vwiden(V v, VD w[VDS]) {
  w[0] = _mm512_cvtps_pd(_mm512_castps512_ps256(v));
  w[1] = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
}
static inline V vnarrow(const VD w[VDS]) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(w[0])), _mm512_cvtpd_ps(w[1]),
                            1);
}
#endif
#endif
#endif

/* Sums of many vectors: chains of FM_CHAIN additions, accumulated in double. */
#define FM_CHAIN 64
static inline void vdeepen(VD total[VDS], V *sum) {
  VD w[VDS];
  vwiden(*sum, w);
  for (int k = 0; k < VDS; k++) total[k] += w[k];
  *sum = vset(0);
}

#include "simd_math.h"

/*
** FM_MAPk(name, expr): an elementwise function of k operands. Defines
**   void fm_name_T_ISA(int64_t n, void *y, const void *a, const void *b, const void *c,
**                      const double *f)
** y[i] = expr in the vectors A, B, C (operands) and F0, F1 (f[0], f[1]; f is NULL or two values).
** y may be one of the operands. The type is fm_map's, so that tables need no cast.
*/
#define FM_MAP_(name, pb, pc, expr)                                                                \
  static inline V FM_FN(name##_at)(V A, V B, V C, V F0, V F1) {                                    \
    (void)A, (void)B, (void)C, (void)F0, (void)F1;                                                 \
    return expr;                                                                                   \
  }                                                                                                \
  void FM_FN(name)(int64_t n, void *y, const void *a, const void *b, const void *c,                \
                   const double *f);                                                               \
  void FM_FN(name)(int64_t n, void *y, const void *a, const void *b, const void *c,                \
                   const double *f) {                                                              \
    const T *A = a, *B = pb, *C = pc;                                                              \
    const V F0 = vset(f ? (T)f[0] : 0), F1 = vset(f ? (T)f[1] : 0);                                \
    T *Y = y;                                                                                      \
    int64_t i = 0;                                                                                 \
    (void)b, (void)c;                                                                              \
    for (; i + VN <= n; i += VN)                                                                   \
      vstore(Y + i, FM_FN(name##_at)(vload(A + i), vload(B + i), vload(C + i), F0, F1));           \
    if (i < n)                                                                                     \
      vstoren(Y + i,                                                                               \
              FM_FN(name##_at)(vloadn(A + i, n - i), vloadn(B + i, n - i), vloadn(C + i, n - i),   \
                               F0, F1),                                                            \
              n - i);                                                                              \
  }
#define FM_MAP1(name, expr) FM_MAP_(name, a, a, expr)
#define FM_MAP2(name, expr) FM_MAP_(name, b, a, expr)
#define FM_MAP3(name, expr) FM_MAP_(name, b, c, expr)

#endif
