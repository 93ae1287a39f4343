/* What each elementwise instruction does with a tile of integers or truth values. */

/* name, type, unsigned type, type that wraps around where C does not promote to a signed one */
#define EW_WHOLE(X)                                                                                \
    X(si8, int8_t, uint8_t, uint32_t)                                                              \
    X(ui8, uint8_t, uint8_t, uint32_t)                                                             \
    X(si16, int16_t, uint16_t, uint32_t)                                                           \
    X(ui16, uint16_t, uint16_t, uint32_t)                                                          \
    X(si32, int32_t, uint32_t, uint32_t)                                                           \
    X(ui32, uint32_t, uint32_t, uint32_t)                                                          \
    X(si64, int64_t, uint64_t, uint64_t)                                                           \
    X(ui64, uint64_t, uint64_t, uint64_t)

#define EW_BELOW_0(x) ((x) <= 0 && (x) != 0) /* of unsigned types without a warning */
#define EW_SIGNED(T) ((T) - 1 < (T)1)

/* A loop that refuses: over the elements that there are, not over what fills up the tile. */
#define EW_CHECKED(name, T, wrong, value)                                                          \
    static int ew_##name(EW_ARGUMENTS) {                                                           \
        T *to_ = to;                                                                               \
        const T *xs = x_, *ys = y_;                                                                \
        (void)z_;                                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T x = xs[i], y = ys[i];                                                                \
            if (wrong) return PTIR_REFUSED;                                                        \
            to_[i] = (T)(value);                                                                   \
        }                                                                                          \
        return PTIR_OK;                                                                            \
    }

/* base^exponent modulo 2^64, and so modulo every narrower width */
static uint64_t ew_power(uint64_t base, uint64_t exponent) {
    uint64_t result = 1;
    for (; exponent; exponent >>= 1, base *= base)
        if (exponent & 1) result *= base;
    return result;
}

/* Arithmetic that wraps around: min / -1 is min again. */
#define EW_ARITHMETIC(type, T, U, W)                                                               \
    EW_EACH(neg_##type, T, T, 0 - (W)x)                                                            \
    EW_EACH(abs_##type, T, T, EW_BELOW_0(x) ? 0 - (W)x : (W)x)                                     \
    EW_EACH(sign_##type, T, T, (x > 0) - EW_BELOW_0(x))                                            \
    EW_EACH(not_##type, T, T, ~x)                                                                  \
    EW_EACH(popcount_##type, T, T, __builtin_popcountll((U)x))                                     \
    EW_EACH(add_##type, T, T, (W)x + (W)y)                                                         \
    EW_EACH(sub_##type, T, T, (W)x - (W)y)                                                         \
    EW_EACH(mul_##type, T, T, (W)x * (W)y)                                                         \
    EW_EACH(maximum_##type, T, T, x > y ? x : y)                                                   \
    EW_EACH(minimum_##type, T, T, x < y ? x : y)                                                   \
    EW_EACH(clamp_##type, T, T, (x > y ? x : y) < z ? (x > y ? x : y) : z)                         \
    EW_EACH(and_##type, T, T, x & y)                                                               \
    EW_EACH(or_##type, T, T, x | y)                                                                \
    EW_EACH(xor_##type, T, T, x ^ y)                                                               \
    EW_CHECKED(div_##type, T, y == 0, EW_SIGNED(T) && y == (T)-1 ? 0 - (W)x : (W)(x / y))          \
    EW_CHECKED(rem_##type, T, y == 0, EW_SIGNED(T) && y == (T)-1 ? 0 : x % y)                      \
    EW_CHECKED(pow_##type, T, EW_BELOW_0(y), ew_power((uint64_t)x, (uint64_t)y))                   \
    EW_CHECKED(                                                                                    \
        shift_left_##type, T, EW_BELOW_0(y), (U)y >= 8 * sizeof(T) ? 0 : (W)x << (U)y              \
    )                                                                                              \
    EW_CHECKED(                                                                                    \
        shift_right_##type, T, EW_BELOW_0(y),                                                      \
        (U)y >= 8 * sizeof(T) ? (EW_BELOW_0(x) ? -1 : 0) : x >> (U)y                               \
    )                                                                                              \
    EW_COMPARISONS(type, T)

EW_WHOLE(EW_ARITHMETIC)

EW_EACH(not_i1, uint8_t, uint8_t, x == 0)

/* By the bits, so that any type of this width will do. */
#define EW_SELECT(bytes, T)                                                                        \
    static int ew_select_##bytes(EW_ARGUMENTS) {                                                   \
        T *to_ = to;                                                                               \
        const uint8_t *chosen = x_;                                                                \
        const T *ys = y_, *zs = z_;                                                                \
        n = (n + EW_PAD - 1) & -(int64_t)EW_PAD;                                                   \
        EW_ALONE                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T y = ys[i], z = zs[i];                                                                \
            to_[i] = chosen[i] ? y : z;                                                            \
        }                                                                                          \
        return PTIR_OK;                                                                            \
    }

EW_SELECT(1, uint8_t)
EW_SELECT(2, uint16_t)
EW_SELECT(4, uint32_t)
EW_SELECT(8, uint64_t)
