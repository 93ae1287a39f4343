/* The 8-bit floats as f32: f8e5m2 is the upper half of f16; f8e4m3 has one NaN and no infinity. */
#ifndef PTIR_FLOAT8_H
#define PTIR_FLOAT8_H

#include "vector.h"

INLINE float from_f8e5m2(uint8_t x) { return from_f16((uint16_t)(x << 8)); }

INLINE float from_f8e4m3(uint8_t x) {
    uint32_t sign = (uint32_t)(x & 0x80) << 24, rest = x & 0x7f, bits;
    float f = (float)rest * 0x1p-9f; /* a subnormal */
    memcpy(&bits, &f, sizeof bits);
    if (rest >= 8) bits = (rest << 20) + (120u << 23);
    if (rest == 0x7f) bits = 0x7fc00000;
    bits |= sign;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Rounds to nearest even; what is beyond `most` becomes it: an infinity, or the NaN. */
INLINE uint8_t to_f8(float f, int digits, int bias, uint8_t most, uint8_t nan) {
    uint32_t bits, magic = (uint32_t)(127 + 24 - bias - digits) << 23;
    memcpy(&bits, &f, sizeof bits);
    uint32_t sign = bits >> 24 & 0x80, rest = bits & 0x7fffffff;
    if (f != f) return (uint8_t)(sign | nan);
    if (rest < (uint32_t)(128 - bias) << 23) { /* subnormal: let the float unit round it */
        float small, step;
        memcpy(&small, &rest, sizeof small);
        memcpy(&step, &magic, sizeof step);
        small += step;
        memcpy(&rest, &small, sizeof rest);
        return (uint8_t)(sign | (rest - magic));
    }
    int shift = 23 - digits;
    rest = rest - ((uint32_t)(127 - bias) << 23) + (1u << (shift - 1)) - 1 + (rest >> shift & 1);
    rest >>= shift;
    return (uint8_t)(sign | (rest > most ? most : rest));
}

INLINE uint8_t to_f8e5m2(float f) { return to_f8(f, 2, 15, 0x7c, 0x7e); }
INLINE uint8_t to_f8e4m3(float f) { return to_f8(f, 3, 7, 0x7f, 0x7f); }

#endif
