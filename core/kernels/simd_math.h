/*
** simd_math.h - exp, log, tanh, sin, cos on vectors; included by simd.h alone.
**
** float32: range reduction and polynomials (those of the Cephes library), one source for every
** instruction set. Largest errors over one in eleven of all float32 arguments, scalar and AVX2, in
** units in the last place; tests/c/test_simd.c repeats a sparser sweep:
**   exp 1.02, log 0.81, tanh 1.32, sin and cos 1.59 (for |x| < 2^28; beyond, the C library)
** float64: the C library, lane by lane (float64 serves proofs and need not be fast).
*/
#ifndef FM_SIMD_MATH_H
#define FM_SIMD_MATH_H

/* A function of one value on every lane. */
static inline V vlanes(T (*f)(T), V v) {
  T x[VN];
  vstore(x, v);
  for (int i = 0; i < VN; i++) x[i] = f(x[i]);
  return vload(x);
}

#if FM_BITS == 64

static inline V vexp(V x) { return vlanes(exp, x); }
static inline V vlog(V x) { return vlanes(log, x); }
static inline V vtanh(V x) { return vlanes(tanh, x); }
static inline V vsin(V x) { return vlanes(sin, x); }
static inline V vcos(V x) { return vlanes(cos, x); }

#else

/* Cody-Waite: LN2_HI has 9 bits, so that n * LN2_HI is exact for every exponent n. */
#define LN2_HI 0.693359375f
#define LN2_LO (-2.12194440e-4f)

/* c[0] x^(n-1) + ... + c[n-1] */
static inline V vpoly(V x, int n, const T *c) {
  V y = vset(c[0]);
  for (int i = 1; i < n; i++) y = vfma(y, x, vset(c[i]));
  return y;
}

/* exp(x) = 2^n exp(r), |r| <= log(2) / 2. */
static inline V vexp(V x) {
  static const T c[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                        4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  const V magic = vset(12582912.0f);               /* 1.5 * 2^23: the sum has n in its low bits */
  x = vmin0(vset(89.0f), vmax0(vset(-104.0f), x)); /* beyond, the result is inf or 0; NaN is kept */
  V z = vfma(x, vset(1.44269504f), magic), n = z - magic;
  V r = vfma(n, vset(-LN2_LO), vfma(n, vset(-LN2_HI), x));
  V p = vfma(vpoly(r, 6, c), r * r, r) + vset(1.0f);
  /* 2^n as a product of two normal numbers, since n runs from -150 to 128; all unsigned */
  U j = vbits(z) - 0x4B400000u + 512u, h = j >> 1;
  return p * vfrom((h - 129u) << 23) * vfrom((j - h - 129u) << 23);
}

/* log(x) = e log(2) + log(1 + r), 1 + r in [sqrt(1/2), sqrt(2)). */
static inline V vlog(V x) {
  static const T c[] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                        -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                        2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
  const M tiny = vlt(x, vset(1.17549435e-38f)); /* denormal: scale by 2^23 */
  U u = vbits(vsel(tiny, x * vset(8388608.0f), x)) + (0x3F800000u - 0x3F3504F3u);
  /* exponent to float without a conversion: put it below the leading bit of 2^23 */
  V e = vfrom(((u >> 23) & 0xFFu) | 0x4B000000u) - vset(8388608.0f + 127.0f);
  V r = vfrom((u & 0x007FFFFFu) + 0x3F3504F3u) - vset(1.0f), r2 = r * r;
  e = vsel(tiny, e - vset(23.0f), e);
  V y = vfma(e, vset(LN2_LO), vpoly(r, 9, c) * r * r2);
  y = vfma(e, vset(LN2_HI), r + vfma(vset(-0.5f), r2, y));
  y = vsel(vlt(x, vset(INFINITY)), y, x); /* inf and NaN are kept */
  y = vsel(vlt(x, vset(0.0f)), vset(NAN), y);
  return vsel(veq(x, vset(0.0f)), vset(-INFINITY), y);
}

/* An odd polynomial near 0, where 1 - 2 / (exp(2x) + 1) would cancel. */
static inline V vtanh(V x) {
  static const T c[] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f,
                        1.33314422036e-1f, -3.33332819422e-1f};
  const V a = vabs(x), z = x * x, one = vset(1.0f);
  V near = vfma(vpoly(z, 5, c) * z, x, x);
  V far = one - vset(2.0f) / (vexp(a + a) + one);
  return vcopysign(vsel(vlt(a, vset(0.625f)), near, far), x); /* of every x: -0 stays -0 */
}

/* ---- sin and cos: the reduction runs in double, part by part, so it never cancels */

/* x - n pi/2, n = x / (pi/2) rounded; the first part of pi/2 has 25 bits: exact up to n = 2^28. */
static inline VD vreduce_half(VD x, VD *n) {
  const double magic = 0x1.8p52;
  *n = (x * 6.36619772367581382433e-1 + magic) - magic;
  return (x - *n * 1.57079631090164184570) - *n * 1.58932547735281966916e-8;
}

/* The same for 0 <= x < 2^28; q: n modulo 2^32. */
static inline V vreduce(V x, U *q) {
  VD n[VDS], r[VDS];
  vwiden(x, r);
  for (int k = 0; k < VDS; k++) r[k] = vreduce_half(r[k], &n[k]);
#if FM_WIDTH == 0
  *q = (U)n[0];
#elif FM_WIDTH == 128
  *q = vwhole(n);
#elif FM_WIDTH == 256
  *q = (U)_mm256_set_m128i(_mm256_cvtpd_epi32(n[1]), _mm256_cvtpd_epi32(n[0]));
#else
  *q = (U)_mm512_inserti32x8(_mm512_castsi256_si512(_mm512_cvtpd_epi32(n[0])),
                             _mm512_cvtpd_epi32(n[1]), 1);
#endif
  return vnarrow(r);
}

/* sin(x + shift pi/2). Lanes outside the range of the reduction (and inf, NaN) go to the C library,
   and only these: the result of a lane does not depend on other lanes. */
static inline V vsincos(V x, TU shift, T (*libm)(T)) {
  static const T cs[] = {-1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f};
  static const T cc[] = {2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f};
  const M near = vlt(vabs(x), vset(268435456.0f));
  U q;
  V r = vreduce(vsel(near, vabs(x), vset(0.0f)), &q), z = r * r;
  q = q + shift;
  V s = vfma(vpoly(z, 3, cs) * z, r, r);
  V c = vfma(vpoly(z, 3, cc), z * z, vfma(vset(-0.5f), z, vset(1.0f)));
  const M odd = veq(vfrom((q & 1u) << 30), vset(2.0f)); /* 2 is the float with bit 30 alone */
  U sign = ((q & 2u) << 30) ^ (vbits(x) & (shift ? 0 : FM_SIGN)); /* sin is odd, cos even */
  V y = vfrom(vbits(vsel(odd, c, s)) ^ sign);
  return vall(near) ? y : vsel(near, y, vlanes(libm, x));
}
static inline V vsin(V x) { return vsincos(x, 0, sinf); }
static inline V vcos(V x) { return vsincos(x, 1, cosf); }

#endif
#endif
