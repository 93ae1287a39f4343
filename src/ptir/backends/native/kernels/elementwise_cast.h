/* Casts between the element types that registers have: integers saturate, floats are truncated to
 * integers with NaN as 0, and every value is rounded once. */

/* Limits as numbers: float ones are exact, `above` is the first that does not fit any more. */
#define EW_LIMITS(type, low, high, above)                                                          \
    static const __int128 ew_low_##type = low, ew_high_##type = high;                              \
    static const float ew_above_##type = above;

EW_LIMITS(si8, INT8_MIN, INT8_MAX, 0x1p7f)
EW_LIMITS(ui8, 0, UINT8_MAX, 0x1p8f)
EW_LIMITS(si16, INT16_MIN, INT16_MAX, 0x1p15f)
EW_LIMITS(ui16, 0, UINT16_MAX, 0x1p16f)
EW_LIMITS(si32, INT32_MIN, INT32_MAX, 0x1p31f)
EW_LIMITS(ui32, 0, UINT32_MAX, 0x1p32f)
EW_LIMITS(si64, INT64_MIN, INT64_MAX, 0x1p63f)
EW_LIMITS(ui64, 0, UINT64_MAX, 0x1p64f)

/* f32 whose last bit says that something did not fit (round to odd): rounding it on to a narrow
 * float is then as if at once. */
INLINE float ew_odd(double x) {
    float near = (float)x;
    double back = (double)near;
    uint32_t bits;
    memcpy(&bits, &near, sizeof bits);
    bits -= fabs(back) > fabs(x); /* toward zero */
    bits |= back != x && x == x;
    memcpy(&near, &bits, sizeof bits);
    return near;
}

/* The low bits that f64 has no room for become one that says whether any was set. */
INLINE double ew_sticky(uint64_t size) {
    uint64_t low = size & 0x7ff;
    return (double)(size >> 53 ? (size - low) | (uint64_t)(low != 0) << 11 : size);
}

INLINE double ew_sticky_signed(int64_t x) {
    return x < 0 ? -ew_sticky(0 - (uint64_t)x) : ew_sticky((uint64_t)x);
}

/* --- between integers --- */

#define EW_BOUND(from, F, low, high)                                                               \
    const F least = (F)(low > ew_low_##from ? low : ew_low_##from);                                \
    const F most = (F)(high < ew_high_##from ? high : ew_high_##from);

#define EW_SATURATE(from, F, type, T)                                                              \
    INLINE T ew_saturate_##from##_##type(F x) {                                                    \
        EW_BOUND(from, F, ew_low_##type, ew_high_##type)                                           \
        return (T)(x < least ? least : x > most ? most : x);                                       \
    }                                                                                              \
    EW_EACH(from##_to_##type, T, F, (ew_saturate_##from##_##type(x)))

#define EW_FROM_WHOLE(from, F, U, W)                                                               \
    EW_SATURATE(from, F, si8, int8_t)                                                              \
    EW_SATURATE(from, F, ui8, uint8_t)                                                             \
    EW_SATURATE(from, F, si16, int16_t)                                                            \
    EW_SATURATE(from, F, ui16, uint16_t)                                                           \
    EW_SATURATE(from, F, si32, int32_t)                                                            \
    EW_SATURATE(from, F, ui32, uint32_t)                                                           \
    EW_SATURATE(from, F, si64, int64_t)                                                            \
    EW_SATURATE(from, F, ui64, uint64_t)                                                           \
    EW_EACH(from##_to_i1, uint8_t, F, x != 0)                                                      \
    EW_EACH(from##_to_f32, float, F, x)                                                            \
    EW_EACH(from##_to_f64, double, F, x)

EW_WHOLE(EW_FROM_WHOLE)

/* --- from floats --- */

#define EW_TRUNCATE(from, F, type, T)                                                              \
    EW_EACH(                                                                                       \
        from##_to_##type, T, F,                                                                    \
        x >= (F)ew_above_##type     ? (T)ew_high_##type                                            \
        : x < (F)ew_low_##type      ? (T)ew_low_##type                                             \
        : x == x                    ? (T)x                                                         \
                                    : 0                                                            \
    )

#define EW_FROM_FLOAT(from, F)                                                                     \
    EW_TRUNCATE(from, F, si8, int8_t)                                                              \
    EW_TRUNCATE(from, F, ui8, uint8_t)                                                             \
    EW_TRUNCATE(from, F, si16, int16_t)                                                            \
    EW_TRUNCATE(from, F, ui16, uint16_t)                                                           \
    EW_TRUNCATE(from, F, si32, int32_t)                                                            \
    EW_TRUNCATE(from, F, ui32, uint32_t)                                                           \
    EW_TRUNCATE(from, F, si64, int64_t)                                                            \
    EW_TRUNCATE(from, F, ui64, uint64_t)                                                           \
    EW_EACH(from##_to_i1, uint8_t, F, x != 0)                                                      \
    EW_EACH(from##_to_f32, float, F, x)                                                            \
    EW_EACH(from##_to_f64, double, F, x)

EW_FROM_FLOAT(f32, float)
EW_FROM_FLOAT(f64, double)

/* --- to narrow floats, which are rounded afterwards --- */

EW_EACH(f64_to_odd, float, double, ew_odd(x))
EW_EACH(si32_to_odd, float, int32_t, ew_odd(x))
EW_EACH(ui32_to_odd, float, uint32_t, ew_odd(x))
EW_EACH(si64_to_odd, float, int64_t, ew_odd(ew_sticky_signed(x)))
EW_EACH(ui64_to_odd, float, uint64_t, ew_odd(ew_sticky(x)))

#define EW_CASTS(type, from, narrow)                                                               \
    [PTIR_##type] = {                                                                              \
        [PTIR_i1] = ew_##from##_to_i1,     [PTIR_si8] = ew_##from##_to_si8,                        \
        [PTIR_ui8] = ew_##from##_to_ui8,   [PTIR_si16] = ew_##from##_to_si16,                      \
        [PTIR_ui16] = ew_##from##_to_ui16, [PTIR_si32] = ew_##from##_to_si32,                      \
        [PTIR_ui32] = ew_##from##_to_ui32, [PTIR_si64] = ew_##from##_to_si64,                      \
        [PTIR_ui64] = ew_##from##_to_ui64, [PTIR_bf16] = ew_##from##_to_##narrow,                  \
        [PTIR_f16] = ew_##from##_to_##narrow, [PTIR_f32] = ew_##from##_to_f32,                     \
        [PTIR_f64] = ew_##from##_to_f64,                                                           \
    },

static const ew_op ew_casts[PTIR_DTYPE_COUNT][PTIR_DTYPE_COUNT] = {
    EW_CASTS(i1, ui8, f32)
    EW_CASTS(si8, si8, f32)
    EW_CASTS(ui8, ui8, f32)
    EW_CASTS(si16, si16, f32)
    EW_CASTS(ui16, ui16, f32)
    EW_CASTS(si32, si32, odd)
    EW_CASTS(ui32, ui32, odd)
    EW_CASTS(si64, si64, odd)
    EW_CASTS(ui64, ui64, odd)
    EW_CASTS(bf16, f32, f32)
    EW_CASTS(f16, f32, f32)
    EW_CASTS(f32, f32, f32)
    EW_CASTS(f64, f64, odd)
};
