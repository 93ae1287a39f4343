/* Chunks of elements in the type that they are reduced, scanned and ordered in: f32 for narrow
 * floats, f64, and 64 bits for integers and i1; and how many of them become one. */
#ifndef PTIR_WIDE_H
#define PTIR_WIDE_H

#include "float8.h"
#include "vmath_wide.h"

enum { WIDE_CHUNK = 512 };

typedef union {
    float f32[WIDE_CHUNK];
    double f64[WIDE_CHUNK];
    int64_t si64[WIDE_CHUNK];
    uint64_t ui64[WIDE_CHUNK];
} wide_chunk;

/* The type that elements are widened to, or -1. */
static int wide_of(int dtype) {
    return dtype == PTIR_f8e4m3 || dtype == PTIR_f8e5m2 ? PTIR_f32 : combine_wide(dtype);
}

static int wide_is_signed(int dtype) { return wide_of(dtype) == PTIR_si64; }
static int wide_is_float(int dtype) {
    return wide_of(dtype) == PTIR_f32 || wide_of(dtype) == PTIR_f64;
}

/* --- reading --- */

#define WIDE_LOAD(W, T)                                                                            \
    for (int64_t i = 0; i < n; i++) ((W *)to)[i] = (W)((const T *)from)[i];                        \
    return

typedef int16_t wide_si16 __attribute__((aligned(1), may_alias));
typedef int32_t wide_si32 __attribute__((aligned(1), may_alias));

/* Integers without gaps: loops that the compiler makes vectors of. */
static void wide_load_whole(void *to, const char *from, int dtype, int64_t n) {
    switch (dtype) {
    case PTIR_si8: WIDE_LOAD(int64_t, int8_t);
    case PTIR_i1:
    case PTIR_ui8: WIDE_LOAD(int64_t, uint8_t);
    case PTIR_si16: WIDE_LOAD(int64_t, wide_si16);
    case PTIR_ui16: WIDE_LOAD(int64_t, copy_2);
    case PTIR_si32: WIDE_LOAD(int64_t, wide_si32);
    case PTIR_ui32: WIDE_LOAD(int64_t, copy_4);
    default: combine_load(to, from, ptir_bytes(dtype), dtype, n);
    }
}

static void wide_load(void *to, const char *from, int64_t step, int dtype, int64_t n) {
    float *f = to;
    if (dtype == PTIR_f8e4m3)
        for (int64_t i = 0; i < n; i++) f[i] = from_f8e4m3(*(const uint8_t *)(from + i * step));
    else if (dtype == PTIR_f8e5m2)
        for (int64_t i = 0; i < n; i++) f[i] = from_f8e5m2(*(const uint8_t *)(from + i * step));
    else if (step == ptir_bytes(dtype) && !wide_is_float(dtype))
        wide_load_whole(to, from, dtype, n);
    else combine_load(to, from, step, dtype, n);
}

/* Up to WIDE_CHUNK elements: where they lie if they are wide already, else in `room`. */
static const void *wide_read(
    wide_chunk *room, const char *from, int64_t step, int dtype, int64_t n
) {
    if (combine_lies(from, step, dtype, n)) return from;
    wide_load(room, from, step, dtype, n);
    return room;
}

/* --- writing --- */

/* An integer, signed or not, as the nearest one of another type. */
static int64_t wide_nearest(int64_t x, int is_signed, int dtype) {
    if (is_signed && !wide_is_signed(dtype) && x < 0) x = 0;
    if (!is_signed && wide_is_signed(dtype) && x < 0) x = INT64_MAX;
    return combine_nearest(x, dtype);
}

static int64_t wide_wrapped(int64_t x, int dtype) {
    switch (dtype) {
    case PTIR_si8: return (int8_t)x;
    case PTIR_ui8: return (uint8_t)x;
    case PTIR_si16: return (int16_t)x;
    case PTIR_ui16: return (uint16_t)x;
    case PTIR_si32: return (int32_t)x;
    case PTIR_ui32: return (uint32_t)x;
    default: return x;
    }
}

/* f32 whose last bit says that something did not fit (round to odd): rounding it on to a narrower
 * float is then as if at once. */
static float wide_odd(double x) {
    float near = (float)x;
    double back = (double)near;
    uint32_t bits;
    if (back == x || x != x) return near;
    memcpy(&bits, &near, sizeof bits);
    if (fabs(back) > fabs(x)) bits--;
    bits |= 1;
    memcpy(&near, &bits, sizeof bits);
    return near;
}

static void wide_store_f32(char *to, int64_t step, int dtype, const float *x, int64_t n) {
    if (dtype == PTIR_f64)
        for (int64_t i = 0; i < n; i++) {
            double wide = (double)x[i];
            memcpy(to + i * step, &wide, sizeof wide);
        }
    else if (dtype == PTIR_f8e4m3)
        for (int64_t i = 0; i < n; i++) *(uint8_t *)(to + i * step) = to_f8e4m3(x[i]);
    else if (dtype == PTIR_f8e5m2)
        for (int64_t i = 0; i < n; i++) *(uint8_t *)(to + i * step) = to_f8e5m2(x[i]);
    else combine_store(to, step, dtype, x, n, 0);
}

/* Sums in f64 that stand for ones in `accum`, f32 or f64. */
static void wide_store_f64(
    char *to, int64_t step, int dtype, int accum, const double *x, int64_t n
) {
    float narrow[WIDE_CHUNK];
    if (accum == PTIR_f64 && dtype == PTIR_f64) {
        combine_store(to, step, dtype, x, n, 0);
        return;
    }
    int at_once = accum == PTIR_f32 || dtype == PTIR_f32;
    for (int64_t i = 0; i < n; i++) narrow[i] = at_once ? (float)x[i] : wide_odd(x[i]);
    wide_store_f32(to, step, dtype, narrow, n);
}

static void wide_store_whole(
    char *to, int64_t step, int dtype, int accum, const int64_t *x, int64_t n
) {
    int64_t near[WIDE_CHUNK];
    int is_signed = wide_is_signed(accum);
    for (int64_t i = 0; i < n; i++)
        near[i] = wide_nearest(wide_wrapped(x[i], accum), is_signed, dtype);
    combine_store(to, step, dtype, near, n, 0);
}

/* --- many become one --- */

typedef uint64_t vul __attribute__((vector_size(VL * 4)));

#define WIDE_VECTOR_LOAD(name, V, T)                                                               \
    INLINE V wide_vector_##name(const T *p) {                                                      \
        V v;                                                                                       \
        memcpy(&v, p, sizeof v);                                                                   \
        return v;                                                                                  \
    }
WIDE_VECTOR_LOAD(f64, vd, double)
WIDE_VECTOR_LOAD(si64, vl, int64_t)
WIDE_VECTOR_LOAD(ui64, vul, uint64_t)

INLINE vd wide_vector_f32(const float *p) {
    vf_half half;
    memcpy(&half, p, sizeof half);
    return vd_from(half);
}

/* NaN where either is; -0 is below +0, as in vf_max and vf_min. */
INLINE vd vd_max(vd x, vd y) {
    vd larger = vd_select((vl)(x > y) | (vl)(x != x), x, y);
    return vd_select((vl)(x == y), (vd)((vl)x & (vl)y), larger);
}

INLINE vd vd_min(vd x, vd y) {
    vd smaller = vd_select((vl)(x < y) | (vl)(x != x), x, y);
    return vd_select((vl)(x == y), (vd)((vl)x | (vl)y), smaller);
}

#define WIDE_ORDER(V, name, compare)                                                               \
    INLINE V name(V x, V y) {                                                                      \
        V first = (V)(x compare y);                                                                \
        return (first & x) | (~first & y);                                                         \
    }
WIDE_ORDER(vl, vl_max, >)
WIDE_ORDER(vl, vl_min, <)
WIDE_ORDER(vul, vul_max, >)
WIDE_ORDER(vul, vul_min, <)

#define WIDE_ADD(a, b) ((a) + (b))
#define WIDE_MUL(a, b) ((a) * (b))
#define WIDE_AND(a, b) ((a) & (b))
#define WIDE_OR(a, b) ((a) | (b))

/* `row` combines n elements of type T with one total of type A, `column` those of some rows with a
 * total for each column. Four vectors of partial totals start at `first`, which changes nothing. */
#define WIDE_FOLD(name, T, A, V, load, join, join_one, first)                                      \
    static void wide_row_##name(void *total, const void *x, int64_t n) {                           \
        enum { L = sizeof(V) / sizeof(A) };                                                        \
        const T *p = x;                                                                            \
        A one[L];                                                                                  \
        V a, b, c, d;                                                                              \
        int64_t i = 0;                                                                             \
        memcpy(one, total, sizeof *one);                                                           \
        if (n >= L) {                                                                              \
            A result = *one;                                                                       \
            for (int j = 0; j < L; j++) one[j] = (first);                                          \
            memcpy(&a, one, sizeof a);                                                             \
            b = c = d = a;                                                                         \
            for (; i + 4 * L <= n; i += 4 * L) {                                                   \
                a = join(a, load(p + i));                                                          \
                b = join(b, load(p + i + L));                                                      \
                c = join(c, load(p + i + 2 * L));                                                  \
                d = join(d, load(p + i + 3 * L));                                                  \
            }                                                                                      \
            for (; i + L <= n; i += L) a = join(a, load(p + i));                                   \
            a = join(join(a, b), join(c, d));                                                      \
            memcpy(one, &a, sizeof a);                                                             \
            for (int j = 1; j < L; j++) *one = join_one(*one, one[j]);                             \
            *one = join_one(result, *one);                                                         \
        }                                                                                          \
        for (; i < n; i++) *one = join_one(*one, (A)p[i]);                                         \
        memcpy(total, one, sizeof *one);                                                           \
    }                                                                                              \
    static void wide_column_##name(                                                                \
        void *totals, const void *x, int64_t n, int64_t step, int64_t rows                         \
    ) {                                                                                            \
        A *to = totals;                                                                            \
        const char *at = x;                                                                        \
        for (; rows > 1; rows -= 2, at += 2 * step) {                                              \
            const T *p = (const T *)(const void *)at, *q = (const T *)(const void *)(at + step);   \
            for (int64_t i = 0; i < n; i++)                                                        \
                to[i] = join_one(join_one(to[i], (A)p[i]), (A)q[i]);                               \
        }                                                                                          \
        const T *p = (const T *)(const void *)at;                                                  \
        for (int64_t i = 0; rows && i < n; i++) to[i] = join_one(to[i], (A)p[i]);                  \
    }

WIDE_FOLD(sum_f32, float, double, vd, wide_vector_f32, WIDE_ADD, WIDE_ADD, 0)
WIDE_FOLD(sum_f64, double, double, vd, wide_vector_f64, WIDE_ADD, WIDE_ADD, 0)
WIDE_FOLD(sum_ui64, uint64_t, uint64_t, vul, wide_vector_ui64, WIDE_ADD, WIDE_ADD, 0)
WIDE_FOLD(prod_f32, float, double, vd, wide_vector_f32, WIDE_MUL, WIDE_MUL, 1)
WIDE_FOLD(prod_f64, double, double, vd, wide_vector_f64, WIDE_MUL, WIDE_MUL, 1)
WIDE_FOLD(prod_ui64, uint64_t, uint64_t, vul, wide_vector_ui64, WIDE_MUL, WIDE_MUL, 1)
WIDE_FOLD(max_f32, float, float, vf, vf_load, vf_max, combine_max_f32, -INFINITY)
WIDE_FOLD(max_f64, double, double, vd, wide_vector_f64, vd_max, combine_max_f64, -INFINITY)
WIDE_FOLD(max_si64, int64_t, int64_t, vl, wide_vector_si64, vl_max, combine_max_si64, INT64_MIN)
WIDE_FOLD(max_ui64, uint64_t, uint64_t, vul, wide_vector_ui64, vul_max, combine_max_ui64, 0)
WIDE_FOLD(min_f32, float, float, vf, vf_load, vf_min, combine_min_f32, INFINITY)
WIDE_FOLD(min_f64, double, double, vd, wide_vector_f64, vd_min, combine_min_f64, INFINITY)
WIDE_FOLD(min_si64, int64_t, int64_t, vl, wide_vector_si64, vl_min, combine_min_si64, INT64_MAX)
WIDE_FOLD(min_ui64, uint64_t, uint64_t, vul, wide_vector_ui64, vul_min, combine_min_ui64, ~0ull)
WIDE_FOLD(and_ui64, uint64_t, uint64_t, vul, wide_vector_ui64, WIDE_AND, WIDE_AND, ~0ull)
WIDE_FOLD(or_ui64, uint64_t, uint64_t, vul, wide_vector_ui64, WIDE_OR, WIDE_OR, 0)

/* --- which one --- */

enum wide_kind { WIDE_SUM, WIDE_PROD, WIDE_MAX, WIDE_MIN, WIDE_ALL, WIDE_ANY, WIDE_KINDS };

typedef struct {
    void (*row)(void *total, const void *x, int64_t n);
    void (*column)(void *totals, const void *x, int64_t n, int64_t step, int64_t rows);
    int total; /* the type of totals */
} wide_fold;

#define WIDE_ENTRY(name, total) {wide_row_##name, wide_column_##name, PTIR_##total}

/* For elements widened to f32, f64, si64, ui64. */
static const wide_fold wide_folds[WIDE_KINDS][4] = {
    {WIDE_ENTRY(sum_f32, f64), WIDE_ENTRY(sum_f64, f64), WIDE_ENTRY(sum_ui64, si64),
     WIDE_ENTRY(sum_ui64, ui64)},
    {WIDE_ENTRY(prod_f32, f64), WIDE_ENTRY(prod_f64, f64), WIDE_ENTRY(prod_ui64, si64),
     WIDE_ENTRY(prod_ui64, ui64)},
    {WIDE_ENTRY(max_f32, f32), WIDE_ENTRY(max_f64, f64), WIDE_ENTRY(max_si64, si64),
     WIDE_ENTRY(max_ui64, ui64)},
    {WIDE_ENTRY(min_f32, f32), WIDE_ENTRY(min_f64, f64), WIDE_ENTRY(min_si64, si64),
     WIDE_ENTRY(min_ui64, ui64)},
    {{0}, {0}, WIDE_ENTRY(and_ui64, si64), WIDE_ENTRY(and_ui64, ui64)},
    {{0}, {0}, WIDE_ENTRY(or_ui64, si64), WIDE_ENTRY(or_ui64, ui64)},
};

/* How `kind` combines elements of a widened type; NULL if it does not. */
static const wide_fold *wide_fold_of(int64_t kind, int wide) {
    static const int column[] = {PTIR_f32, PTIR_f64, PTIR_si64, PTIR_ui64};
    if (kind < 0 || kind >= WIDE_KINDS) return NULL;
    for (int i = 0; i < 4; i++)
        if (column[i] == wide) return wide_folds[kind][i].row ? &wide_folds[kind][i] : NULL;
    return NULL;
}

/* n totals over no elements of a type: what changes no other value. */
static void wide_identity(wide_chunk *to, int64_t kind, int total, int dtype, int64_t n) {
    double most = dtype == PTIR_f8e4m3 ? 448 : INFINITY; /* the one float without infinities */
    double f = kind == WIDE_SUM ? 0 : kind == WIDE_PROD ? 1 : kind == WIDE_MAX ? -most : most;
    int64_t lowest = total == PTIR_si64 ? INT64_MIN : 0;
    int64_t w = kind == WIDE_PROD  ? 1
                : kind == WIDE_MAX ? lowest
                : kind == WIDE_MIN ? ~lowest
                : kind == WIDE_ALL ? -1
                                   : 0;
    if (total == PTIR_f32)
        for (int64_t i = 0; i < n; i++) to->f32[i] = (float)f;
    else if (total == PTIR_f64)
        for (int64_t i = 0; i < n; i++) to->f64[i] = f;
    else
        for (int64_t i = 0; i < n; i++) to->si64[i] = w;
}

/* Totals as elements of `dtype`; sums and products wrapped or rounded to `accum` before. */
static void wide_store(
    char *to, int64_t step, int dtype, int accum, const wide_chunk *x, int total, int64_t n
) {
    if (total == PTIR_f32) wide_store_f32(to, step, dtype, x->f32, n);
    else if (total == PTIR_f64) wide_store_f64(to, step, dtype, accum, x->f64, n);
    else wide_store_whole(to, step, dtype, accum, x->si64, n);
}

#endif
