/* simd_neon.h - the vector type of simd.h for NEON on AArch64; included by simd.h alone. */
#ifndef FM_SIMD_NEON_H
#define FM_SIMD_NEON_H

#include <arm_neon.h>

#define VN (FM_WIDTH / FM_BITS)
#define FM_NEON_32(op) op##_f32
#define FM_NEON_64(op) op##_f64
#define FM_NEON_OP FM_GLUE(FM_NEON_, FM_BITS)
#if FM_BITS == 32
#define FM_LANE "s"
#define FM_LANES "4s"
#else
#define FM_LANE "d"
#define FM_LANES "2d"
#endif

typedef T V __attribute__((vector_size(16), may_alias));
typedef TU U __attribute__((vector_size(16), may_alias));
typedef T VU __attribute__((vector_size(16), may_alias, aligned(sizeof(T)))); /* in memory */
typedef U M; /* all bits of a lane, or none */

static inline V vset(T x) { return FM_NEON_OP(vdupq_n)(x); }
static inline V vload(const T *p) { return *(const VU *)(const void *)p; }
static inline void vstore(T *p, V v) { *(VU *)(void *)p = v; }
/*
** Multiply-adds are written out, because gcc takes its own intrinsics for readers of the rounding
** mode in memory: sums that a loop adds to would be stored in every round.
*/
static inline V vfma(V a, V b, V c) {
  __asm__("fmla %0." FM_LANES ", %1." FM_LANES ", %2." FM_LANES : "+w"(c) : "w"(a), "w"(b));
  return c;
}
/* sum + x b for a single x: the instruction multiplies by one lane of a register. To fill all lanes
   with x while loading it would take the time of a multiply-add on most processors. */
static inline V vfma1(T x, V b, V sum) {
  __asm__("fmla %0." FM_LANES ", %1." FM_LANES ", %2." FM_LANE "[0]" : "+w"(sum) : "w"(b), "w"(x));
  return sum;
}
static inline V vsqrt(V a) { return FM_NEON_OP(vsqrtq)(a); }
static inline V vfloor(V a) { return FM_NEON_OP(vrndmq)(a); }
static inline V vround(V a) { return FM_NEON_OP(vrndnq)(a); } /* to nearest even, no exception */
static inline M vlt(V a, V b) { return (M)(a < b); }
static inline M vle(V a, V b) { return (M)(a <= b); }
static inline M veq(V a, V b) { return (M)(a == b); }
static inline V vsel(M m, V a, V b) { return FM_NEON_OP(vbslq)(m, a, b); }
/* b if either is NaN, as x86 does; NEON's own minimum would be NaN. */
static inline V vmin0(V a, V b) { return vsel(vlt(a, b), a, b); }
static inline V vmax0(V a, V b) { return vsel(vlt(b, a), a, b); }
static inline U vbits(V a) { return (U)a; }
static inline V vfrom(U u) { return (V)u; }

/* The first n < VN lanes; the others are read as 0 and not written. */
#if FM_BITS == 32
static inline V vloadn(const T *p, int64_t n) {
  const float32x4_t zero = vdupq_n_f32(0);
  if (n == 1) return vld1q_lane_f32(p, zero, 0);
  if (n < 1) return zero;
  const float32x4_t two = vcombine_f32(vld1_f32(p), vget_low_f32(zero));
  return n == 2 ? two : vld1q_lane_f32(p + 2, two, 2);
}
static inline void vstoren(T *p, V v, int64_t n) {
  if (n >= 2) vst1_f32(p, vget_low_f32(v));
  if (n == 1) vst1q_lane_f32(p, v, 0);
  if (n == 3) vst1q_lane_f32(p + 2, v, 2);
}
static inline int vall(M m) { return vminvq_u32(m) != 0; }
#else
static inline V vloadn(const T *p, int64_t n) {
  return n < 1 ? vdupq_n_f64(0) : vld1q_lane_f64(p, vdupq_n_f64(0), 0);
}
static inline void vstoren(T *p, V v, int64_t n) {
  if (n > 0) vst1q_lane_f64(p, v, 0);
}
static inline int vall(M m) { return (m[0] & m[1]) != 0; }
#endif

/* The lanes of a V as doubles, in VDS vectors of the same width, and back. */
typedef double VD __attribute__((vector_size(16), may_alias));
static inline VD vdset(double x) { return vdupq_n_f64(x); }
#if FM_BITS == 64
#define VDS 1
static inline void vwiden(V v, VD w[VDS]) { w[0] = v; }
static inline V vnarrow(const VD w[VDS]) { return w[0]; }
#else
#define VDS 2
static inline void vwiden(V v, VD w[VDS]) {
  w[0] = vcvt_f64_f32(vget_low_f32(v));
  w[1] = vcvt_high_f64_f32(v);
}
static inline V vnarrow(const VD w[VDS]) { return vcvt_high_f32_f64(vcvt_f32_f64(w[0]), w[1]); }
/* Whole numbers below 2^31. */
static inline U vwhole(const VD n[VDS]) {
  return vcombine_u32(vmovn_u64(vcvtq_u64_f64(n[0])), vmovn_u64(vcvtq_u64_f64(n[1])));
}
#endif

#endif
