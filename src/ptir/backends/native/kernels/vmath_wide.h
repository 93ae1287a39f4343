/* Functions of vectors of f32 that reduce their argument in f64, half a vector at a time: sin, cos,
 * tan, pow; and atan2. sin, cos, tan of more than 2^16 are the C library's, lane by lane. */
#ifndef PTIR_VMATH_WIDE_H
#define PTIR_VMATH_WIDE_H

#include "vmath.h"

enum { VD = VL / 2 };

typedef double vd __attribute__((vector_size(VL * 4)));
typedef int64_t vl __attribute__((vector_size(VL * 4)));
typedef uint64_t vlu __attribute__((vector_size(VL * 4)));
typedef float vf_half __attribute__((vector_size(VL * 2)));

typedef struct {
    vf_half half[2];
} vf_halves;

INLINE vf_halves vf_split(vf x) {
    vf_halves halves;
    memcpy(&halves, &x, sizeof halves);
    return halves;
}

INLINE vf vf_join(vf_halves halves) {
    vf x;
    memcpy(&x, &halves, sizeof x);
    return x;
}

INLINE vd vd_from(vf_half x) { return __builtin_convertvector(x, vd); }
INLINE vf_half vd_to(vd x) { return __builtin_convertvector(x, vf_half); }
INLINE vd vd_select(vl mask, vd a, vd b) { return (vd)((mask & (vl)a) | (~mask & (vl)b)); }

/* --- sin, cos, tan --- */

/* The sine and cosine of x - k pi/2, with |x - k pi/2| a little over pi/4 at most. */
typedef struct {
    vf sin, cos;
    vi k;
} vf_angle;

INLINE vf_angle vf_angle_of(vf x) {
    const vf magic = vf_set(0x1.8p23f);
    vf_angle angle;
    vf shifted = x * 0x1.45f306p-1f + magic;
    angle.k = (vi)shifted;
    vf_halves xs = vf_split(x), ks = vf_split(shifted - magic);
    for (int i = 0; i < 2; i++) {
        vd k = vd_from(ks.half[i]);
        vd r = vd_from(xs.half[i]) - k * 0x1.921fb544p+0; /* 33 bits of pi/2: k of it is exact */
        xs.half[i] = vd_to(r - k * 0x1.0b4611a626331p-34);
    }
    vf r = vf_join(xs), z = r * r;
    vf s = z * 0x1.7c0800p-19f - 0x1.a0590cp-13f; /* (sin r / r - 1) / r^2 */
    s = s * z + 0x1.111174p-7f;
    s = s * z - 0x1.555556p-3f;
    angle.sin = s * (z * r) + r;
    vf c = z * 0x1.99e330p-16f - 0x1.6c0c1ep-10f; /* (cos r - 1 + r^2 / 2) / r^4 */
    c = c * z + 0x1.55554ap-5f;
    vf half = 0.5f * z, near = 1.0f - half;
    angle.cos = near + (c * (z * z) + ((1.0f - near) - half)); /* with what `near` lost */
    return angle;
}

/* `y` with f(x) in the lanes whose x is finite, but too large to be reduced here. */
static __attribute__((noinline)) void vf_by_lane(float *y, const float *x, float (*f)(float)) {
    for (int i = 0; i < VL; i++)
        if (fabsf(x[i]) > 0x1p16f) y[i] = f(x[i]);
}

INLINE vf vf_large(vf y, vf x, float (*f)(float)) {
    if (!vi_any((vf_abs(x) > 0x1p16f) & (vf_abs(x) < INFINITY))) return y;
    float in[VL], out[VL];
    vf_store(in, x);
    vf_store(out, y);
    vf_by_lane(out, in, f);
    return vf_load(out);
}

INLINE vf vf_sin(vf x) {
    vf_angle a = vf_angle_of(x);
    vf y = vf_select((a.k & 1) != 0, a.cos, a.sin);
    y = (vf)((vu)y ^ (((vu)a.k & 2) << 30));
    return vf_large(vf_select(x == 0, x, y), x, sinf);
}

INLINE vf vf_cos(vf x) {
    vf_angle a = vf_angle_of(x);
    vf y = vf_select((a.k & 1) != 0, a.sin, a.cos);
    return vf_large((vf)((vu)y ^ ((((vu)a.k + 1) & 2) << 30)), x, cosf);
}

INLINE vf vf_tan(vf x) {
    vf_angle a = vf_angle_of(x);
    vi odd = (a.k & 1) != 0;
    vf y = vf_select(odd, a.cos, a.sin) / vf_select(odd, a.sin, a.cos);
    y = (vf)((vi)y ^ (odd & INT32_MIN));
    return vf_large(vf_select(x == 0, x, y), x, tanf);
}

/* --- atan2 --- */

INLINE vf vf_atan2(vf y, vf x) {
    vf high = vf_abs(x), wide = vf_abs(y);
    vi steep = wide > high;
    vf most = vf_select(steep, wide, high), least = vf_select(steep, high, wide);
    vf t = vf_select(least == most, vf_set(1), least / most); /* also inf / inf */
    t = vf_select(most == 0, (vf){0}, t);
    vf z = t * t;
    vf a = z * -0x1.d5581ap-10f + 0x1.652948p-7f; /* (atan t / t - 1) / t^2 */
    a = a * z - 0x1.fe581cp-6f;
    a = a * z + 0x1.da8a34p-5f;
    a = a * z - 0x1.5820f8p-4f;
    a = a * z + 0x1.c092dep-4f;
    a = a * z - 0x1.2420fap-3f;
    a = a * z + 0x1.9991eap-3f;
    a = a * z - 0x1.55553ep-2f;
    a = a * (z * t) + t;
    a = vf_select(steep, (-0x1.777a5cp-25f - a) + 0x1.921fb6p+0f, a);
    a = vf_select((vi)x < 0, (-0x1.777a5cp-24f - a) + 0x1.921fb6p+1f, a);
    a = vf_with_sign(a, y);
    return vf_select((x != x) | (y != y), x + y, a);
}

/* --- pow --- */

/* y log2(m 2^e) */
INLINE vd vd_log2_times(vf_half m_, vf_half e_, vf_half y_) {
    vd m = vd_from(m_), s = (m - 1.0) / (m + 1.0), z = s * s;
    vd p = z * 0x1.2151b559d7fbap-2 + 0x1.479d0071a921ap-2; /* (log2 m / s - 2 / ln 2) / s^2 */
    p = p * z + 0x1.a619f57c9f725p-2;
    p = p * z + 0x1.2776c2f07bb33p-1;
    p = p * z + 0x1.ec709dc4c2030p-1;
    return vd_from(y_) * (vd_from(e_) + (s * 0x1.71547652b82fep+1 + s * z * p));
}

/* 2^p; out of the range of f32 it is 0 or infinite there. */
INLINE vf_half vd_exp2(vd p) {
    const vd magic = 0x1.8p52 - (vd){0};
    p = vd_select(p > 200.0, 200.0 - (vd){0}, p);
    p = vd_select(p < -200.0, -200.0 - (vd){0}, p);
    vd shifted = p + magic, t = p - (shifted - magic);
    vd y = t * 0x1.00f131f98c600p-16 + 0x1.445e6a97c4984p-13; /* (2^t - 1) / t */
    y = y * t + 0x1.5d8723ab88020p-10;
    y = y * t + 0x1.3b29f0fdec4bap-7;
    y = y * t + 0x1.c6b08df45a890p-5;
    y = y * t + 0x1.ebfbe07ab8830p-3;
    y = y * t + 0x1.62e42fef7b65ap-1;
    y = y * t + 1.0;
    return vd_to(y * (vd)(((vlu)shifted + 1023) << 52));
}

/* |x|^y, of which 1, 0 and infinite bases are not what the logarithm gives. */
INLINE vf vf_pow_of_size(vf size, vf y) {
    vf_log_parts p = vf_log_split(size);
    vf_halves m = vf_split(p.m), e = vf_split(p.e), by = vf_split(y);
    for (int i = 0; i < 2; i++)
        m.half[i] = vd_exp2(vd_log2_times(m.half[i], e.half[i], by.half[i]));
    vf r = vf_join(m);
    vi falls = ((size == 0) & (y > 0)) | ((size == INFINITY) & (y < 0));
    vi rises = ((size == 0) & (y < 0)) | ((size == INFINITY) & (y > 0));
    r = vf_select(falls, (vf){0}, vf_select(rises, vf_set(INFINITY), r));
    return vf_select(size == 1, vf_set(1), r);
}

/* IEEE 754 pow: x^0 and 1^y are 1, of NaN too; a negative base has whole powers only. */
INLINE vf vf_pow(vf x, vf y) {
    vf size = vf_abs(x), r = vf_pow_of_size(size, y);
    vi whole = vf_round(y) == y;
    vf half = 0.5f * y;
    vi odd = whole & (vf_round(half) != half);
    r = (vf)((vi)r ^ ((vi)x & INT32_MIN & odd));
    r = vf_select((x < 0) & (size < INFINITY) & ~whole, vf_set(NAN), r);
    r = vf_select((x != x) | (y != y), x + y, r);
    return vf_select((y == 0) | (x == 1), vf_set(1), r);
}

#endif
