/* Along the last axis: the place of the greatest or least element, and running totals.
 *
 *   argmax, argmin  x [..., D], out [...]: an integer type of 32 bits or more; D = 0 refuses
 *   cumulative      kind (0 sum, 1 product, 2 max, 3 min), exclusive, reverse, x, out [..., D]
 *
 * The first of equals wins, and the first NaN before all. Running sums accumulate as `reduce` does,
 * in f64, 64 bits, or the type of x. `out` of cumulative may be x itself.
 */
#include "wide.h"

/* This thread's rows, all of length `length`, or none. */
static void scan_share(
    const ptir_team *team, int64_t rows, int64_t length, int64_t *lo, int64_t *hi
) {
    *lo = 0;
    *hi = rows;
    if (rows * length >= INDEX_ALONE) ptir_share(team, rows, 1, lo, hi);
    else if (team->id) *hi = 0;
}

/* --- argmax, argmin --- */

#define SCAN_FIRST(name, T)                                                                        \
    static int64_t scan_first_##name(const void *x, const wide_chunk *wanted, int64_t n) {         \
        const T *p = x, value = wanted->name[0];                                                   \
        int nan = value != value;                                                                  \
        for (int64_t i = 0; i < n; i++)                                                            \
            if (nan ? p[i] != p[i] : p[i] == value) return i;                                      \
        return 0;                                                                                  \
    }                                                                                              \
    /* Whether `best` does not hold up against a value that is beyond it, or not a number. */      \
    static int scan_yields_##name(const wide_chunk *best, const wide_chunk *to, int max) {         \
        T a = best->name[0], b = to->name[0];                                                      \
        if (a != a) return 0;                                                                      \
        return b != b || (max ? b > a : b < a);                                                    \
    }
SCAN_FIRST(f32, float)
SCAN_FIRST(f64, double)
SCAN_FIRST(si64, int64_t)
SCAN_FIRST(ui64, uint64_t)

static int64_t scan_first(int wide, const void *x, const wide_chunk *wanted, int64_t n) {
    if (wide == PTIR_f32) return scan_first_f32(x, wanted, n);
    if (wide == PTIR_f64) return scan_first_f64(x, wanted, n);
    if (wide == PTIR_si64) return scan_first_si64(x, wanted, n);
    return scan_first_ui64(x, wanted, n);
}

static int scan_yields(int wide, const wide_chunk *best, const wide_chunk *to, int max) {
    if (wide == PTIR_f32) return scan_yields_f32(best, to, max);
    if (wide == PTIR_f64) return scan_yields_f64(best, to, max);
    if (wide == PTIR_si64) return scan_yields_si64(best, to, max);
    return scan_yields_ui64(best, to, max);
}

/* Each chunk is searched only if it holds something better than all before it. */
static int64_t scan_arg(
    const ptir_tensor *x, const char *from, int64_t step, int64_t length, int max
) {
    int wide = wide_of(x->dtype);
    int64_t found = 0, kind = max ? WIDE_MAX : WIDE_MIN;
    const wide_fold *fold = wide_fold_of(kind, wide);
    wide_chunk room, best, here;
    for (int64_t i = 0; i < length; i += WIDE_CHUNK) {
        int64_t n = copy_least(length - i, WIDE_CHUNK);
        const void *chunk = wide_read(&room, from + i * step, step, x->dtype, n);
        wide_identity(&here, kind, fold->total, x->dtype, 1);
        fold->row(&here, chunk, n);
        if (i && !scan_yields(wide, &best, &here, max)) continue;
        memcpy(&best, &here, sizeof here.si64[0]);
        found = i + scan_first(wide, chunk, &here, n);
    }
    return found;
}

static int scan_args(const int64_t *words, char *const *base, const ptir_team *team, int max) {
    ptir_tensor x, out;
    words = ptir_read(words, base, &x);
    ptir_read(words, base, &out);
    int last = x.rank - 1;
    int64_t length = x.size[last], lo, hi, rows = ptir_count(&out);
    int whole = wide_of(out.dtype) == PTIR_si64 || wide_of(out.dtype) == PTIR_ui64;
    if (wide_of(x.dtype) < 0 || !whole || !length) return PTIR_REFUSED;
    scan_share(team, rows, length, &lo, &hi);
    for (; lo < hi; lo++) {
        const char *from = x.data + index_row(&x, last, x.size, lo);
        int64_t found = scan_arg(&x, from, index_step(&x, last), length, max);
        combine_store(out.data + index_row(&out, last, x.size, lo), 0, out.dtype, &found, 1, 1);
    }
    return PTIR_OK;
}

int PTIR_NAME(argmax)(const int64_t *words, char *const *base, const ptir_team *team) {
    return scan_args(words, base, team, 1);
}

int PTIR_NAME(argmin)(const int64_t *words, char *const *base, const ptir_team *team) {
    return scan_args(words, base, team, 0);
}

/* --- cumulative --- */

#define SCAN_LOOP(join)                                                                            \
    for (int64_t i = 0; i < n; i++) {                                                              \
        if (exclusive) to[i] = total;                                                              \
        total = join;                                                                              \
        if (!exclusive) to[i] = total;                                                             \
    }                                                                                              \
    break

/* n elements of T into n totals of A, the first of which starts from `carry`. */
#define SCAN_TOTALS(name, T, A, order)                                                             \
    static void scan_totals_##name(                                                                \
        int64_t kind, int exclusive, A *to, const T *x, A *carry, int64_t n                        \
    ) {                                                                                            \
        A total = *carry;                                                                          \
        switch (kind) {                                                                            \
        case WIDE_SUM: SCAN_LOOP(total + (A)x[i]);                                                 \
        case WIDE_PROD: SCAN_LOOP(total * (A)x[i]);                                                \
        case WIDE_MAX: SCAN_LOOP((A)combine_max_##order((order##_type)total, (order##_type)x[i])); \
        default: SCAN_LOOP((A)combine_min_##order((order##_type)total, (order##_type)x[i]));       \
        }                                                                                          \
        *carry = total;                                                                            \
    }
typedef float f32_type;
typedef double f64_type;
typedef int64_t si64_type;
typedef uint64_t ui64_type;
SCAN_TOTALS(f32, float, float, f32)
SCAN_TOTALS(wider, float, double, f64)
SCAN_TOTALS(f64, double, double, f64)
SCAN_TOTALS(si64, uint64_t, uint64_t, si64)
SCAN_TOTALS(ui64, uint64_t, uint64_t, ui64)

typedef struct {
    int64_t kind, length;
    int exclusive, dtype, accum;
    const wide_fold *fold;
} scan_call;

static void scan_totals(
    const scan_call *c, wide_chunk *to, const void *x, wide_chunk *carry, int64_t n
) {
    int wide = wide_of(c->dtype), ex = c->exclusive;
    if (c->fold->total == PTIR_f32) scan_totals_f32(c->kind, ex, to->f32, x, carry->f32, n);
    else if (wide == PTIR_f32) scan_totals_wider(c->kind, ex, to->f64, x, carry->f64, n);
    else if (wide == PTIR_f64) scan_totals_f64(c->kind, ex, to->f64, x, carry->f64, n);
    else if (wide == PTIR_si64) scan_totals_si64(c->kind, ex, to->ui64, x, carry->ui64, n);
    else scan_totals_ui64(c->kind, ex, to->ui64, x, carry->ui64, n);
}

/* A row from `from` to `to`; backwards where the steps are. */
static void scan_row(
    const scan_call *c, const char *from, int64_t step, char *to, int64_t to_step
) {
    int total = c->fold->total;
    wide_chunk room, totals, carry;
    wide_identity(&carry, c->kind, total, c->dtype, 1);
    /* A sum is its first element before it is anything else: -0 stays. */
    if (c->kind == WIDE_SUM && !c->exclusive && total == PTIR_f64) carry.f64[0] = -0.0;
    for (int64_t i = 0; i < c->length; i += WIDE_CHUNK) {
        int64_t n = copy_least(c->length - i, WIDE_CHUNK);
        const void *x = wide_read(&room, from + i * step, step, c->dtype, n);
        scan_totals(c, &totals, x, &carry, n);
        wide_store(to + i * to_step, to_step, c->dtype, c->accum, &totals, total, n);
    }
}

int PTIR_NAME(cumulative)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor x, out;
    scan_call c = {.kind = words[0], .exclusive = words[1] != 0};
    int reverse = words[2] != 0;
    words = ptir_read(words + 3, base, &x);
    ptir_read(words, base, &out);
    int last = x.rank - 1;
    c.dtype = x.dtype;
    c.length = x.size[last];
    c.fold = wide_fold_of(c.kind, wide_of(x.dtype));
    if (!c.fold || c.kind > WIDE_MIN || out.dtype != x.dtype) return PTIR_REFUSED;
    c.accum = wide_of(x.dtype);
    int64_t count = ptir_count(&x), lo, hi;
    if (!count) return PTIR_OK;
    int64_t step = index_step(&x, last), to_step = index_step(&out, last);
    int64_t first = reverse ? c.length - 1 : 0, sign = reverse ? -1 : 1;
    scan_share(team, count / c.length, c.length, &lo, &hi);
    for (; lo < hi; lo++) {
        const char *from = x.data + index_row(&x, last, x.size, lo) + first * step;
        char *to = out.data + index_row(&out, last, x.size, lo) + first * to_step;
        scan_row(&c, from, sign * step, to, sign * to_step);
    }
    return PTIR_OK;
}
