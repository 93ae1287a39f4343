/* Vectors of the level's width, in the compiler's own vector form: one source for every ISA. */
#ifndef PTIR_VECTOR_H
#define PTIR_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define VL 16
#elif defined(__AVX2__)
#define VL 8
#else
#define VL 4
#endif

#if VL > 4
#include <immintrin.h>
#endif

typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));
typedef uint32_t vu __attribute__((vector_size(VL * 4)));
typedef uint16_t vh __attribute__((vector_size(VL * 2)));

#define INLINE static inline __attribute__((always_inline))

INLINE vf vf_load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
INLINE void vf_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vf vf_set(float x) { return x - (vf){0}; }
INLINE vh vh_load(const uint16_t *p) { vh v; memcpy(&v, p, sizeof v); return v; }
INLINE void vh_store(uint16_t *p, vh v) { memcpy(p, &v, sizeof v); }

/* mask is all ones where a lane is taken from a */
INLINE vf vf_select(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }

/* The higher one, b where either is NaN. */
INLINE vf vf_higher(vf a, vf b) {
#if VL == 16
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif VL == 8
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vf_select(a > b, a, b);
#endif
}

INLINE float vf_sum(vf v) {
    float part[VL];
    memcpy(part, &v, sizeof v);
    for (int half = VL / 2; half; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

#if VL == 4
#define VF_LOW 0, 4, 1, 5
#define VF_HIGH 2, 6, 3, 7
#elif VL == 8
#define VF_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define VF_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define VF_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define VF_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif

/* VL x VL elements: interleaving row i with row i + VL/2, log2(VL) times, is a transpose. */
INLINE void vf_transpose(vf *x) {
    for (int half = VL / 2; half; half /= 2) {
        vf y[VL];
        for (int i = 0; i < VL / 2; i++) {
            y[2 * i] = __builtin_shufflevector(x[i], x[i + VL / 2], VF_LOW);
            y[2 * i + 1] = __builtin_shufflevector(x[i], x[i + VL / 2], VF_HIGH);
        }
        for (int i = 0; i < VL; i++) x[i] = y[i];
    }
}

/* --- narrow floats --- */

/* One instruction widens where there is one: gcc 12 makes five of the plain form. */
INLINE vf vf_from_bf16(vh v) {
#if VL == 8
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)v), 16);
#elif VL == 16
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32((__m256i)v), 16);
#else
    return (vf)(__builtin_convertvector(v, vu) << 16);
#endif
}

/* Round to nearest even; a NaN stays one. */
INLINE vh vf_to_bf16(vf v) {
    vu bits = (vu)v;
    vu rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    vu nan = (bits >> 16) | 0x40;
    vi is_nan = v != v;
    return __builtin_convertvector((rounded & ~(vu)is_nan) | (nan & (vu)is_nan), vh);
}

INLINE float from_bf16(uint16_t h) {
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

INLINE uint16_t to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (f != f) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

#if defined(__F16C__)
INLINE float from_f16(uint16_t h) { return _cvtsh_ss(h); }
INLINE uint16_t to_f16(float f) { return (uint16_t)_cvtss_sh(f, 0); }
#else
INLINE float from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff, bits;
    float f;
    if (rest >= 0x7c00) bits = sign | 0x7f800000 | (rest & 0x3ff) << 13 | (rest > 0x7c00) << 22;
    else if (rest >= 0x400) bits = sign | ((rest << 13) + 0x38000000);
    else {
        f = (float)rest * 0x1p-24f;
        memcpy(&bits, &f, sizeof f);
        bits |= sign;
    }
    memcpy(&f, &bits, sizeof f);
    return f;
}

INLINE uint16_t to_f16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff;
    if (rest > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (rest >> 13 & 0x3ff));
    if (rest >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (rest < 0x38800000) { /* subnormal: let the float unit round it */
        float small;
        memcpy(&small, &rest, sizeof small);
        small += 0.5f;
        memcpy(&rest, &small, sizeof small);
        return (uint16_t)(sign | (rest - 0x3f000000));
    }
    return (uint16_t)(sign | ((rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13));
}
#endif

#if defined(__F16C__) && VL == 8
INLINE vf vf_from_f16(vh v) { return (vf)_mm256_cvtph_ps((__m128i)v); }
INLINE vh vf_to_f16(vf v) { return (vh)_mm256_cvtps_ph((__m256)v, 0); }
#elif VL == 16
INLINE vf vf_from_f16(vh v) { return (vf)_mm512_cvtph_ps((__m256i)v); }
INLINE vh vf_to_f16(vf v) { return (vh)_mm512_cvtps_ph((__m512)v, 0); }
#else
INLINE vf vf_from_f16(vh v) {
    vf wide;
    for (int i = 0; i < VL; i++) wide[i] = from_f16(v[i]);
    return wide;
}
INLINE vh vf_to_f16(vf v) {
    vh narrow;
    for (int i = 0; i < VL; i++) narrow[i] = to_f16(v[i]);
    return narrow;
}
#endif

/* VL elements of a float type that is stored narrow or not, as f32. */
INLINE vf vf_load_as(const void *p, int64_t i, int dtype) {
    if (dtype == PTIR_f32) return vf_load((const float *)p + i);
    vh half = vh_load((const uint16_t *)p + i);
    return dtype == PTIR_bf16 ? vf_from_bf16(half) : vf_from_f16(half);
}

INLINE void vf_store_as(void *p, int64_t i, int dtype, vf v) {
    if (dtype == PTIR_f32) vf_store((float *)p + i, v);
    else vh_store((uint16_t *)p + i, dtype == PTIR_bf16 ? vf_to_bf16(v) : vf_to_f16(v));
}

/* One element, which may be unaligned. */
INLINE float load_as(const void *p, int64_t i, int dtype) {
    float whole;
    uint16_t half;
    if (dtype == PTIR_f32) {
        memcpy(&whole, (const float *)p + i, sizeof whole);
        return whole;
    }
    memcpy(&half, (const uint16_t *)p + i, sizeof half);
    return dtype == PTIR_bf16 ? from_bf16(half) : from_f16(half);
}

INLINE void store_as(void *p, int64_t i, int dtype, float f) {
    if (dtype == PTIR_f32) {
        memcpy((float *)p + i, &f, sizeof f);
        return;
    }
    uint16_t half = dtype == PTIR_bf16 ? to_bf16(f) : to_f16(f);
    memcpy((uint16_t *)p + i, &half, sizeof half);
}

#endif
