/* Functions of vectors of f32: rounding, exp, log and what follows from them, each within 4 ULP
 * over all of f32, subnormals and special values included. Those that need more bits stand in
 * vmath_wide.h. Coefficients are minimax fits of the remainder that the comment names.
 *
 * -ffp-contract=fast may join products and sums here; nothing below relies on either form.
 */
#ifndef PTIR_VMATH_H
#define PTIR_VMATH_H

#include "vector.h"

#include <math.h>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* --- signs, rounding, choosing --- */

INLINE vf vf_abs(vf x) { return (vf)((vi)x & INT32_MAX); }

INLINE vf vf_with_sign(vf size, vf sign) {
    return (vf)(((vi)size & INT32_MAX) | ((vi)sign & INT32_MIN));
}

INLINE int vi_any(vi mask) {
#if VL == 16
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif VL == 8
    return _mm256_movemask_ps((__m256)mask) != 0;
#else
    return (mask[0] | mask[1] | mask[2] | mask[3]) != 0;
#endif
}

INLINE vf vf_sqrt(vf x) {
#if VL == 16
    return (vf)_mm512_sqrt_ps((__m512)x);
#elif VL == 8
    return (vf)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__)
    return (vf)_mm_sqrt_ps((__m128)x);
#elif defined(__aarch64__)
    return (vf)vsqrtq_f32((float32x4_t)x);
#else
    for (int i = 0; i < VL; i++) x[i] = sqrtf(x[i]);
    return x;
#endif
}

INLINE vf vf_rsqrt(vf x) { return 1.0f / vf_sqrt(x); }

/* To the nearest whole number, halves to the even one: from 2^23 on every f32 is whole. */
INLINE vf vf_round(vf x) {
    vf size = vf_abs(x);
    vf whole = (size + 0x1p23f) - 0x1p23f;
    return vf_select(size < 0x1p23f, vf_with_sign(whole, x), x);
}

INLINE vf vf_floor(vf x) {
    vf near = vf_round(x);
    return vf_with_sign(near - (vf)((near > x) & (vi)vf_set(1)), x);
}

INLINE vf vf_ceil(vf x) {
    vf near = vf_round(x);
    return vf_with_sign(near + (vf)((near < x) & (vi)vf_set(1)), x);
}

/* NaN where either is; -0 is below +0. Equal numbers have equal bits, but for the zeros. */
INLINE vf vf_max(vf x, vf y) {
    vf larger = vf_select((x > y) | (x != x), x, y);
    return vf_select(x == y, (vf)((vi)x & (vi)y), larger);
}

INLINE vf vf_min(vf x, vf y) {
    vf smaller = vf_select((x < y) | (x != x), x, y);
    return vf_select(x == y, (vf)((vi)x | (vi)y), smaller);
}

/* --- exp and what follows from it --- */

/* x = n ln 2 + r: n whole, |r| a little over ln 2 / 2 at most; `rest` is (e^r - 1 - r) / r^2. */
typedef struct {
    vf r, rest;
    vi n;
} vf_exp_parts;

INLINE vf_exp_parts vf_exp_split(vf x) {
    const vf magic = vf_set(0x1.8p23f); /* leaves the whole part in the low bits */
    vf_exp_parts p;
    vf shifted = x * 0x1.715476p+0f + magic;
    vf n = shifted - magic;
    p.n = (vi)((vu)shifted - (vu)magic); /* of NaN anything: unsigned, so that it may wrap */
    p.r = x - n * 0x1.62e4p-1f; /* 15 bits of ln 2: the product is exact */
    p.r = p.r - n * 0x1.7f7d1cp-20f;
    p.rest = p.r * 0x1.6a4154p-10f + 0x1.1239c6p-7f;
    p.rest = p.rest * p.r + 0x1.5558bcp-5f;
    p.rest = p.rest * p.r + 0x1.555492p-3f;
    p.rest = p.rest * p.r + 0x1.fffffcp-2f;
    return p;
}

/* y 2^n, rounded once also where it is subnormal: each half of 2^n is a normal number. */
INLINE vf vf_scale(vf y, vi n) {
    vu half = (vu)(n >> 1);
    return y * (vf)((half + 127) << 23) * (vf)(((vu)n - half + 127) << 23);
}

/* x held within bounds, behind which the function does not change any more; NaN stays. */
INLINE vf vf_held(vf x, float low, float high) {
    x = vf_select(x < low, vf_set(low), x);
    return vf_select(x > high, vf_set(high), x);
}

INLINE vf vf_exp(vf x) {
    vf_exp_parts p = vf_exp_split(vf_held(x, -104.0f, 89.0f));
    vf y = (p.rest * p.r + 1.0f) * p.r + 1.0f;
    return vf_scale(y, p.n);
}

/* e^x - 1 for -20 <= x <= 89, where the sign of zero may be lost. */
INLINE vf vf_expm1_core(vf x) {
    vf_exp_parts p = vf_exp_split(x);
    vf grown = p.rest * (p.r * p.r) + p.r;
    vi exponent = (vi)(127 - (vu)p.n);
    vf inverse = (vf)((exponent & (exponent > 0)) << 23); /* 2^-n; 0 where it is out of sight */
    return vf_scale(grown + (1.0f - inverse), p.n);
}

INLINE vf vf_expm1(vf x) { return vf_with_sign(vf_expm1_core(vf_held(x, -20.0f, 89.0f)), x); }

INLINE vf vf_tanh(vf x) {
    vf e = vf_expm1_core(vf_held(-2.0f * vf_abs(x), -20.0f, 0.0f));
    return vf_with_sign(e / (e + 2.0f), x);
}

INLINE vf vf_logistic(vf x) {
    vf small = vf_exp((vf)((vi)x | INT32_MIN));
    return vf_select(x < 0, small, vf_set(1)) / (1.0f + small);
}

/* Below 0.9277 a + a p(a^2), above 1 - exp(q(|a|)); from 4 on it is 1. */
INLINE vf vf_erf(vf x) {
    vf t = vf_held(vf_abs(x), 0.0f, 4.0f), s = x * x;
    vf p = s * -0x1.38e000p-11f + 0x1.471a58p-8f;
    p = p * s - 0x1.b691b2p-6f;
    p = p * s + 0x1.ce1c44p-4f;
    p = p * s - 0x1.812700p-2f;
    p = p * s + 0x1.06eba8p-3f;
    p = p * x + x;
    vf q = t * -0x1.220000p-16f + 0x1.91cfb2p-12f;
    q = q * t - 0x1.fd1438p-9f;
    q = q * t + 0x1.8d6342p-6f;
    q = q * t - 0x1.b55cb8p-4f;
    q = q * t - 0x1.450aa0p-1f;
    q = q * t - 0x1.079d0cp-3f;
    q = q * t - t;
    vf far = vf_with_sign(1.0f - vf_exp(q), x);
    return vf_select(t > 0.927734375f, far, p);
}

/* --- log --- */

/* x = m 2^e with m in [sqrt 1/2, sqrt 2), for 0 < x < inf. */
typedef struct {
    vf m, e;
} vf_log_parts;

INLINE vf_log_parts vf_log_split(vf x) {
    vi small = x < 0x1p-126f;
    vu bits = (vu)vf_select(small, x * 0x1p23f, x);
    vi e = (vi)(bits - 0x3f3504f3) >> 23;
    vf_log_parts p;
    p.m = (vf)(bits - ((vu)e << 23));
    p.e = __builtin_convertvector(e - (small & 23), vf);
    return p;
}

INLINE vf vf_log(vf x) {
    vf_log_parts p = vf_log_split(x);
    vf f = p.m - 1.0f, z = f * f; /* rest: (log(1 + f) - f + f^2 / 2) / f^3 */
    vf rest = f * -0x1.38cf20p-4f + 0x1.05602ep-3f;
    rest = rest * f - 0x1.0d81f2p-3f;
    rest = rest * f + 0x1.22d8f8p-3f;
    rest = rest * f - 0x1.54728cp-3f;
    rest = rest * f + 0x1.99a01ep-3f;
    rest = rest * f - 0x1.000226p-2f;
    rest = rest * f + 0x1.555554p-2f;
    vf y = rest * (f * z) + p.e * 0x1.7f7d1cp-20f;
    y = (f + (y - 0.5f * z)) + p.e * 0x1.62e4p-1f;
    vf beyond = vf_select(x < 0, vf_set(NAN), x); /* also +inf and NaN themselves */
    beyond = vf_select(x == 0, vf_set(-INFINITY), beyond);
    return vf_select((x > 0) & (x < INFINITY), y, beyond);
}

/* log of the rounded sum, and what the rounding lost. */
INLINE vf vf_log1p(vf x) {
    vf sum = 1.0f + x;
    vf lost = vf_select(x < 1, x - (sum - 1.0f), 1.0f - (sum - x)) / sum;
    vi finite = (sum > 0) & (sum < INFINITY);
    return vf_with_sign(vf_log(sum) + (vf)((vi)lost & finite), x);
}

#endif
