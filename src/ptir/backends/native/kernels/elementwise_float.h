/* What each elementwise instruction does with a tile of floats. Narrow floats come here as f32. */

/* A tile: n elements of registers, which have room and harmless values up to a multiple of EW_PAD.
 * The result may be in the place of an operand. */
enum { EW_PAD = 64 };

#define EW_ARGUMENTS void *to, const void *x_, const void *y_, const void *z_, int64_t n

typedef int (*ew_op)(EW_ARGUMENTS);

#if defined(__clang__)
#define EW_ALONE _Pragma("clang loop vectorize(assume_safety)")
#else
#define EW_ALONE _Pragma("GCC ivdep")
#endif

/* A loop over elements of type T that makes D: no element is read after it is written. */
#define EW_EACH(name, D, T, value) EW_LOOP(EW_ALONE, name, D, T, value)
/* The same where the value is a call, which compilers warn that they cannot make vectors of. */
#define EW_EACH_CALLS(name, D, T, value) EW_LOOP(, name, D, T, value)

#define EW_LOOP(hint, name, D, T, value)                                                           \
    static int ew_##name(EW_ARGUMENTS) {                                                           \
        D *to_ = to;                                                                               \
        const T *xs = x_, *ys = y_, *zs = z_;                                                      \
        n = (n + EW_PAD - 1) & -(int64_t)EW_PAD;                                                   \
        hint                                                                                       \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T x = xs[i], y = ys[i], z = zs[i];                                                     \
            (void)x, (void)y, (void)z;                                                             \
            to_[i] = (D)(value);                                                                   \
        }                                                                                          \
        return PTIR_OK;                                                                            \
    }

#define EW_VECTOR_LOOP(name, load_y, value)                                                        \
    static int ew_##name##_f32(EW_ARGUMENTS) {                                                     \
        float *to_ = to;                                                                           \
        const float *xs = x_, *ys = y_;                                                            \
        (void)z_, (void)ys;                                                                        \
        for (int64_t i = 0; i < n; i += VL) {                                                      \
            vf x = vf_load(xs + i);                                                                \
            load_y;                                                                                \
            vf_store(to_ + i, value);                                                              \
        }                                                                                          \
        return PTIR_OK;                                                                            \
    }

#define EW_F32(name, value) EW_VECTOR_LOOP(name, (void)0, value)
#define EW_F32_2(name, value) EW_VECTOR_LOOP(name, vf y = vf_load(ys + i), value)
#define EW_F64(name, value) EW_EACH(name##_f64, double, double, value)
#define EW_F64_CALLS(name, value) EW_EACH_CALLS(name##_f64, double, double, value)

INLINE vf ew_sign(vf x) {
    vi one = (vi)vf_set(1);
    vf sign = (vf)((x > 0) & one) - (vf)((x < 0) & one);
    return vf_select(x != x, x, sign);
}

EW_F32(neg, -x)
EW_F32(abs, vf_abs(x))
EW_F32(sign, ew_sign(x))
EW_F32(floor, vf_floor(x))
EW_F32(ceil, vf_ceil(x))
EW_F32(round, vf_round(x))
EW_F32(exp, vf_exp(x))
EW_F32(expm1, vf_expm1(x))
EW_F32(log, vf_log(x))
EW_F32(log1p, vf_log1p(x))
EW_F32(sqrt, vf_sqrt(x))
EW_F32(rsqrt, vf_rsqrt(x))
EW_F32(reciprocal, 1.0f / x)
EW_F32(sin, vf_sin(x))
EW_F32(cos, vf_cos(x))
EW_F32(tan, vf_tan(x))
EW_F32(tanh, vf_tanh(x))
EW_F32(erf, vf_erf(x))
EW_F32(logistic, vf_logistic(x))
EW_F32_2(add, x + y)
EW_F32_2(sub, x - y)
EW_F32_2(mul, x * y)
EW_F32_2(div, x / y)
EW_F32_2(pow, vf_pow(x, y))
EW_F32_2(atan2, vf_atan2(x, y))
EW_F32_2(maximum, vf_max(x, y))
EW_F32_2(minimum, vf_min(x, y))
EW_EACH_CALLS(rem_f32, float, float, fmodf(x, y))
EW_EACH(is_finite_f32, uint8_t, float, fabsf(x) < INFINITY)

static int ew_clamp_f32(EW_ARGUMENTS) {
    float *to_ = to;
    const float *xs = x_, *low = y_, *high = z_;
    for (int64_t i = 0; i < n; i += VL)
        vf_store(to_ + i, vf_min(vf_max(vf_load(xs + i), vf_load(low + i)), vf_load(high + i)));
    return PTIR_OK;
}

INLINE double ew_max(double x, double y) {
    double larger = x > y || x != x ? x : y;
    return x == y ? (signbit(x) ? y : x) : larger;
}

INLINE double ew_min(double x, double y) {
    double smaller = x < y || x != x ? x : y;
    return x == y ? (signbit(x) ? x : y) : smaller;
}

INLINE double ew_logistic(double x) {
    double small = exp(-fabs(x));
    return (x < 0 ? small : 1) / (1 + small);
}

EW_F64(neg, -x)
EW_F64(abs, fabs(x))
EW_F64(sign, x != x ? x : (double)((x > 0) - (x < 0)))
EW_F64(floor, floor(x))
EW_F64(ceil, ceil(x))
EW_F64(round, rint(x))
EW_F64_CALLS(exp, exp(x))
EW_F64_CALLS(expm1, expm1(x))
EW_F64_CALLS(log, log(x))
EW_F64_CALLS(log1p, log1p(x))
EW_F64(sqrt, sqrt(x))
EW_F64(rsqrt, 1 / sqrt(x))
EW_F64(reciprocal, 1 / x)
EW_F64_CALLS(sin, sin(x))
EW_F64_CALLS(cos, cos(x))
EW_F64_CALLS(tan, tan(x))
EW_F64_CALLS(tanh, tanh(x))
EW_F64_CALLS(erf, erf(x))
EW_F64_CALLS(logistic, ew_logistic(x))
EW_F64(add, x + y)
EW_F64(sub, x - y)
EW_F64(mul, x * y)
EW_F64(div, x / y)
EW_F64_CALLS(rem, fmod(x, y))
EW_F64_CALLS(pow, pow(x, y))
EW_F64_CALLS(atan2, atan2(x, y))
EW_F64(maximum, ew_max(x, y))
EW_F64(minimum, ew_min(x, y))
EW_F64(clamp, ew_min(ew_max(x, y), z))
EW_EACH(is_finite_f64, uint8_t, double, fabs(x) < INFINITY)

#define EW_COMPARISONS(type, T)                                                                    \
    EW_EACH(compare_lt_##type, uint8_t, T, x < y)                                                  \
    EW_EACH(compare_le_##type, uint8_t, T, x <= y)                                                 \
    EW_EACH(compare_eq_##type, uint8_t, T, x == y)                                                 \
    EW_EACH(compare_ge_##type, uint8_t, T, x >= y)                                                 \
    EW_EACH(compare_gt_##type, uint8_t, T, x > y)                                                  \
    EW_EACH(compare_ne_##type, uint8_t, T, x != y)

EW_COMPARISONS(f32, float)
EW_COMPARISONS(f64, double)
