/* What scatters, segments and windows share: elements as they are combined, and how.
 *
 * Elements are combined in chunks of a wider type: f32 for f32, bf16 and f16, f64 for f64, si64 for
 * signed and ui64 for unsigned integers and i1. Other types are not combined here.
 */

enum combine_kind { COMBINE_ADD, COMBINE_MUL, COMBINE_MAX, COMBINE_MIN, COMBINE_REPLACE };

enum { COMBINE_CHUNK = 256 };

typedef union {
    float f32[COMBINE_CHUNK];
    double f64[COMBINE_CHUNK];
    int64_t si64[COMBINE_CHUNK];
    uint64_t ui64[COMBINE_CHUNK];
} combine_chunk;

/* The type that elements of a type are combined in, or -1. */
static int combine_wide(int dtype) {
    switch (dtype) {
    case PTIR_f32:
    case PTIR_bf16:
    case PTIR_f16: return PTIR_f32;
    case PTIR_f64: return PTIR_f64;
    case PTIR_si4:
    case PTIR_si8:
    case PTIR_si16:
    case PTIR_si32:
    case PTIR_si64: return PTIR_si64;
    case PTIR_i1:
    case PTIR_ui4:
    case PTIR_ui8:
    case PTIR_ui16:
    case PTIR_ui32:
    case PTIR_ui64: return PTIR_ui64;
    default: return -1;
    }
}

/* --- to and from the wider type --- */

#define COMBINE_LOAD(W, value)                                                                     \
    for (int64_t i = 0; i < n; i++, from += step) ((W *)to)[i] = (value);                          \
    break

static void combine_load(void *to, const char *from, int64_t step, int dtype, int64_t n) {
    if (step == ptir_bytes(dtype) && combine_wide(dtype) == PTIR_f32) {
        int64_t i = 0;
        for (; i + VL <= n; i += VL) vf_store((float *)to + i, vf_load_as(from, i, dtype));
        to = (float *)to + i;
        from += i * step;
        n -= i;
    }
    switch (dtype) {
    case PTIR_bf16: COMBINE_LOAD(float, from_bf16(*(const copy_2 *)from));
    case PTIR_f16: COMBINE_LOAD(float, from_f16(*(const copy_2 *)from));
    case PTIR_f32: COMBINE_LOAD(copy_4, *(const copy_4 *)from);
    case PTIR_f64:
    case PTIR_si64:
    case PTIR_ui64: COMBINE_LOAD(copy_8, *(const copy_8 *)from);
    case PTIR_si8: COMBINE_LOAD(int64_t, *(const int8_t *)from);
    case PTIR_ui8: COMBINE_LOAD(int64_t, *(const uint8_t *)from);
    case PTIR_si32: COMBINE_LOAD(int64_t, (int32_t)*(const copy_4 *)from);
    default: COMBINE_LOAD(int64_t, index_read(from, dtype));
    }
}

static int64_t combine_clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

/* The value of an integer type that is nearest to x, which is unsigned where the type is. */
static int64_t combine_nearest(int64_t x, int dtype) {
    switch (dtype) {
    case PTIR_si4: return combine_clamp(x, -8, 7);
    case PTIR_si8: return combine_clamp(x, INT8_MIN, INT8_MAX);
    case PTIR_si16: return combine_clamp(x, INT16_MIN, INT16_MAX);
    case PTIR_si32: return combine_clamp(x, INT32_MIN, INT32_MAX);
    case PTIR_si64:
    case PTIR_ui64: return x;
    default: break;
    }
    uint64_t high = dtype == PTIR_i1     ? 1
                    : dtype == PTIR_ui4  ? 15
                    : dtype == PTIR_ui8  ? UINT8_MAX
                    : dtype == PTIR_ui16 ? UINT16_MAX
                                         : UINT32_MAX;
    return (uint64_t)x > high ? (int64_t)high : x;
}

#define COMBINE_STORE(T, value)                                                                    \
    for (int64_t i = 0; i < n; i++, to += step) *(T *)to = (T)(value);                             \
    break

/* Floats are rounded; integers saturate, or wrap around. */
static void combine_store(
    char *to, int64_t step, int dtype, const void *from, int64_t n, int saturates
) {
    const float *f = from;
    const int64_t *x = from;
    int64_t inside[COMBINE_CHUNK];
    int wide = combine_wide(dtype);
    if (saturates && (wide == PTIR_si64 || wide == PTIR_ui64)) {
        for (int64_t i = 0; i < n; i++) inside[i] = combine_nearest(x[i], dtype);
        x = inside;
    }
    if (step == ptir_bytes(dtype) && wide == PTIR_f32) {
        int64_t i = 0;
        for (; i + VL <= n; i += VL) vf_store_as(to, i, dtype, vf_load(f + i));
        f += i;
        to += i * step;
        n -= i;
    }
    switch (dtype) {
    case PTIR_bf16: COMBINE_STORE(copy_2, to_bf16(f[i]));
    case PTIR_f16: COMBINE_STORE(copy_2, to_f16(f[i]));
    case PTIR_f32: COMBINE_STORE(copy_4, ((const copy_4 *)f)[i]);
    case PTIR_f64:
    case PTIR_si64:
    case PTIR_ui64: COMBINE_STORE(copy_8, x[i]);
    case PTIR_si32:
    case PTIR_ui32: COMBINE_STORE(copy_4, x[i]);
    case PTIR_si16:
    case PTIR_ui16: COMBINE_STORE(copy_2, x[i]);
    case PTIR_si4:
    case PTIR_ui4: COMBINE_STORE(uint8_t, x[i] & 15);
    default: COMBINE_STORE(uint8_t, x[i]);
    }
}

/* --- combining --- */

/* A NaN wins; of two zeros max takes +0 and min -0, which are the and and the or of their bits. */
#define COMBINE_ORDER(T, BITS, W)                                                                  \
    INLINE T combine_zero_##W(T a, T b, int max) {                                                 \
        BITS x, y;                                                                                 \
        memcpy(&x, &a, sizeof x);                                                                  \
        memcpy(&y, &b, sizeof y);                                                                  \
        x = max ? x & y : x | y;                                                                   \
        memcpy(&a, &x, sizeof x);                                                                  \
        return a;                                                                                  \
    }                                                                                              \
    INLINE T combine_max_##W(T a, T b) {                                                           \
        T most = a > b ? a : b;                                                                    \
        most = a == b ? combine_zero_##W(a, b, 1) : most;                                          \
        return a != a ? a : most;                                                                  \
    }                                                                                              \
    INLINE T combine_min_##W(T a, T b) {                                                           \
        T least = a < b ? a : b;                                                                   \
        least = a == b ? combine_zero_##W(a, b, 0) : least;                                        \
        return a != a ? a : least;                                                                 \
    }
COMBINE_ORDER(float, uint32_t, f32)
COMBINE_ORDER(double, uint64_t, f64)
#define combine_max_si64(a, b) ((a) > (b) ? (a) : (b))
#define combine_min_si64(a, b) ((a) < (b) ? (a) : (b))
#define combine_max_ui64 combine_max_si64
#define combine_min_ui64 combine_min_si64

#define COMBINE_LOOP(value)                                                                        \
    for (int64_t i = 0; i < n; i++) to[i] = (value);                                               \
    break

/* Sums and products of integers wrap around, so they run without sign. */
#define COMBINE_ROW(T, U, W)                                                                       \
    static void combine_row_##W(enum combine_kind kind, T *to, const T *x, int64_t n) {            \
        switch (kind) {                                                                            \
        case COMBINE_ADD: COMBINE_LOOP((T)((U)to[i] + (U)x[i]));                                   \
        case COMBINE_MUL: COMBINE_LOOP((T)((U)to[i] * (U)x[i]));                                   \
        case COMBINE_MAX: COMBINE_LOOP(combine_max_##W(to[i], x[i]));                              \
        case COMBINE_MIN: COMBINE_LOOP(combine_min_##W(to[i], x[i]));                              \
        case COMBINE_REPLACE: COMBINE_LOOP(x[i]);                                                  \
        }                                                                                          \
    }
COMBINE_ROW(float, float, f32)
COMBINE_ROW(double, double, f64)
COMBINE_ROW(int64_t, uint64_t, si64)
COMBINE_ROW(uint64_t, uint64_t, ui64)

/* to[i] = to[i] combined with x[i], n of the wider type `wide`. */
static void combine_row(enum combine_kind kind, int wide, void *to, const void *x, int64_t n) {
    if (wide == PTIR_f32) combine_row_f32(kind, to, x, n);
    else if (wide == PTIR_f64) combine_row_f64(kind, to, x, n);
    else if (wide == PTIR_si64) combine_row_si64(kind, to, x, n);
    else combine_row_ui64(kind, to, x, n);
}

/* What `kind` gives over nothing. */
static void combine_identity(enum combine_kind kind, int wide, void *to, int64_t n) {
    double real = kind == COMBINE_ADD   ? 0
                  : kind == COMBINE_MUL ? 1
                  : kind == COMBINE_MAX ? -INFINITY
                                        : INFINITY;
    int64_t whole = kind == COMBINE_ADD || kind == COMBINE_MUL ? kind == COMBINE_MUL
                    : wide == PTIR_ui64 ? kind == COMBINE_MAX ? 0 : -1
                    : kind == COMBINE_MAX ? INT64_MIN
                                          : INT64_MAX;
    for (int64_t i = 0; i < n; i++) {
        if (wide == PTIR_f32) ((float *)to)[i] = (float)real;
        else if (wide == PTIR_f64) ((double *)to)[i] = real;
        else ((int64_t *)to)[i] = whole;
    }
}

/* Whether elements may be combined where they lie. */
static int combine_lies(const char *p, int64_t step, int dtype, int64_t n) {
    int64_t bytes = ptir_bytes(dtype);
    int aligned = ((uintptr_t)p & (uintptr_t)(bytes - 1)) == 0;
    return combine_wide(dtype) == dtype && (step == bytes || n == 1) && aligned;
}

/* n elements of `to` combined with as many of x; the types may differ in width. */
static void combine_into(
    enum combine_kind kind, char *to, int64_t out, int dtype, const char *x, int64_t in,
    int of_x, int64_t count
) {
    combine_chunk total, value;
    int wide = combine_wide(dtype);
    int here = combine_lies(to, out, dtype, count);
    int there = combine_lies(x, in, of_x, count);
    for (int64_t i = 0; i < count; i += COMBINE_CHUNK) {
        int64_t n = count - i < COMBINE_CHUNK ? count - i : COMBINE_CHUNK;
        if (!here) combine_load(&total, to, out, dtype, n);
        if (!there) combine_load(&value, x, in, of_x, n);
        combine_row(kind, wide, here ? (void *)to : &total, there ? (const void *)x : &value, n);
        if (!here) combine_store(to, out, dtype, &total, n, 0);
        to += COMBINE_CHUNK * out;
        x += COMBINE_CHUNK * in;
    }
}
