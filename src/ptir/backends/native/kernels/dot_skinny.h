/* Products with few rows: w is read once, where it lies, as fast as memory gives it.
 *
 * Rows of w with adjacent elements: a few rows at a time over a block of columns, whose sums lie in
 * scratch memory. Columns with adjacent elements: each element of the result is the product of two
 * such runs. Either way the order of a sum depends on k alone.
 */
enum {
    SKINNY_ROWS = 8,       /* of x, at most */
    SKINNY_TILE = 4,       /* of those, in registers */
    SKINNY_K = 32768,      /* at most: x lies in scratch memory as f32 */
    SKINNY_DEEP = 8,       /* rows of w side by side */
    SKINNY_COLUMNS = 2048, /* of a block, at most */
    SKINNY_MANY = 1024,    /* of a block for more rows than two, whose sums fill L1 sooner */
    SKINNY_WIDE = 4096,    /* at most, where threads share k: a thread's part would be short runs */
    SKINNY_STEP = SKINNY_WIDE + 48, /* between rows of sums: not a page, they share L1 */
    SKINNY_SHARED = 256,   /* of those, that more rows than a tile's go over at once */
    SKINNY_GRAIN = 64,     /* columns that stay with one thread */
    SKINNY_PARTS = 16,     /* of k, at most */
    SKINNY_PART = 64,      /* rows of w in one, at least */
};

typedef struct {
    const float *x;
    int64_t row;  /* between rows of x, in floats */
    float *sums;  /* [m][SKINNY_STEP] */
} skinny_memory;

_Static_assert(
    SKINNY_ROWS * (SKINNY_STEP + SKINNY_K) * 4 <= PTIR_SCRATCH, "x and the sums fit"
);
_Static_assert(
    SKINNY_PARTS * SKINNY_ROWS * SKINNY_STEP * 4 <= PTIR_SCRATCH, "the sums of all parts fit"
);

static skinny_memory skinny_prepare(const dot_item *d, const ptir_team *team) {
    skinny_memory s = {(const float *)d->x.data, d->x.row, (float *)team->scratch};
    int readable = d->x.dtype == PTIR_f32 && d->x.column == 1 && (uintptr_t)s.x % 4 == 0;
    if (readable) return s;
    float *x = s.sums + SKINNY_ROWS * SKINNY_STEP;
    for (int64_t i = 0; i < d->m; i++)
        dot_widen(x + i * d->k, dot_at(&d->x, i, 0), d->x.column, d->k, d->x.dtype);
    s.x = x, s.row = d->k;
    return s;
}

/* --- rows of w with adjacent elements --- */

/* `deep` rows of w on some columns of the sums of m rows: c vectors. */
INLINE void skinny_tile(
    int m, int c, int64_t deep, const float *x, int64_t x_row, const char *w, int64_t row,
    float *sums, int dtype
) {
    vf sum[SKINNY_TILE][4];
    for (int i = 0; i < m; i++)
        for (int v = 0; v < c; v++) sum[i][v] = vf_load(sums + i * SKINNY_STEP + v * VL);
    for (int64_t r = 0; r < deep; r++, w += row * ptir_bytes(dtype)) {
        vf b[4];
        for (int v = 0; v < c; v++) b[v] = vf_load_as(w, v * VL, dtype);
        for (int i = 0; i < m; i++) {
            vf a = vf_set(x[i * x_row + r]);
            for (int v = 0; v < c; v++) sum[i][v] += a * b[v];
        }
    }
    for (int i = 0; i < m; i++)
        for (int v = 0; v < c; v++) vf_store(sums + i * SKINNY_STEP + v * VL, sum[i][v]);
}

/* A few rows of w on n columns, whole vectors of them. `next` is what will be read after them: with
 * runs this short the prefetcher of the machine starts too late. */
INLINE void skinny_strip_of(
    int m, int64_t n, int64_t deep, const float *x, int64_t x_row, const char *w, int64_t row,
    float *sums, const char *next, int dtype
) {
    const int c = m <= 2 ? 4 : 2, bytes = ptir_bytes(dtype);
    int64_t j = 0;
    for (; j + c * VL <= n; j += c * VL) {
        if (next)
            for (int64_t r = 0; r < deep; r++)
                for (int at = 0; at < c * VL * bytes; at += 64)
                    __builtin_prefetch(next + (r * row + j) * bytes + at);
        skinny_tile(m, c, deep, x, x_row, w + j * bytes, row, sums + j, dtype);
    }
    for (; j < n; j += VL)
        skinny_tile(m, 1, deep, x, x_row, w + j * bytes, row, sums + j, dtype);
}

#define SKINNY_STRIP(m, dtype)                                                                     \
    skinny_strip_of(m, n, deep, x, x_row, w, row, sums, next, PTIR_##dtype)

#define X(dtype)                                                                                   \
    static void PTIR_JOIN(skinny_strip, dtype)(                                                    \
        int64_t m, int64_t n, int64_t deep, const float *x, int64_t x_row, const char *w,          \
        int64_t row, float *sums, const char *next                                                 \
    ) {                                                                                            \
        switch (m) {                                                                               \
        case 1: SKINNY_STRIP(1, dtype); break;                                                     \
        case 2: SKINNY_STRIP(2, dtype); break;                                                     \
        case 3: SKINNY_STRIP(3, dtype); break;                                                     \
        default: SKINNY_STRIP(4, dtype); break;                                                    \
        }                                                                                          \
    }
X(f32) X(bf16) X(f16)
#undef X

static void skinny_strip(
    int64_t m, int64_t n, int64_t deep, const float *x, int64_t x_row, const dot_matrix *w,
    float *sums, const char *next
) {
    switch (w->dtype) {
    case PTIR_f32: skinny_strip_f32(m, n, deep, x, x_row, w->data, w->row, sums, next); break;
    case PTIR_bf16: skinny_strip_bf16(m, n, deep, x, x_row, w->data, w->row, sums, next); break;
    default: skinny_strip_f16(m, n, deep, x, x_row, w->data, w->row, sums, next); break;
    }
}

/* All rows of x on `deep` rows of w, few enough columns at a time that those stay in L1 for the
 * second half of x. */
static void skinny_strips(
    const dot_item *d, int64_t n, int64_t deep, const float *x, int64_t x_row, dot_matrix w,
    float *sums, const char *next
) {
    int64_t whole = n / VL * VL, step = d->m > SKINNY_TILE ? SKINNY_SHARED : whole;
    int64_t top = dot_least(d->m, SKINNY_TILE);
    const float *low = x + top * x_row;
    for (int64_t j = 0; j < whole; j += step) {
        int64_t wide = dot_least(step, whole - j), skip = j * ptir_bytes(w.dtype);
        dot_matrix at = {w.data + skip, w.row, 1, w.dtype};
        skinny_strip(top, wide, deep, x, x_row, &at, sums + j, next ? next + skip : NULL);
        if (d->m > top)
            skinny_strip(d->m - top, wide, deep, low, x_row, &at,
                         sums + top * SKINNY_STEP + j, NULL);
    }
    if (whole == n) return;
    float copy[SKINNY_DEEP][VL] = {{0}}; /* fewer columns than a vector, with room behind them */
    for (int64_t r = 0; r < deep; r++)
        dot_widen(copy[r], dot_at(&w, r, whole), 1, n - whole, w.dtype);
    dot_matrix at = {(char *)copy, VL, 1, PTIR_f32};
    sums += whole;
    skinny_strip(top, VL, deep, x, x_row, &at, sums, NULL);
    if (d->m > top)
        skinny_strip(d->m - top, VL, deep, low, x_row, &at, sums + top * SKINNY_STEP, NULL);
}

/* A block of columns, k from `k` to `end`. */
static void skinny_rows(
    const dot_item *d, int64_t j, int64_t n, int64_t k, int64_t end, const skinny_memory *s
) {
    size_t wide = (size_t)(dot_blocks(n, VL) * VL) * sizeof *s->sums;
    for (int64_t i = 0; i < d->m; i++) memset(s->sums + i * SKINNY_STEP, 0, wide);
    for (; k < end; k += SKINNY_DEEP) {
        dot_matrix w = {dot_at(&d->w, k, j), d->w.row, 1, d->w.dtype};
        int64_t deep = dot_least(SKINNY_DEEP, end - k);
        const char *next = k + 2 * SKINNY_DEEP <= end ? dot_at(&w, SKINNY_DEEP, 0) : NULL;
        skinny_strips(d, n, deep, s->x + k, s->row, w, s->sums, next);
    }
}

/* --- columns of w with adjacent elements --- */

/* What is behind the last whole vector of k; then the lanes are added up in one order. */
static void skinny_tail(
    int64_t m, int64_t n, int64_t k, const float *x, int64_t x_row, const dot_matrix *w,
    vf parts[][VL]
) {
    for (int64_t v = 0; v < n; v++) {
        vf b = dot_part(dot_at(w, 0, v), k, w->dtype);
        for (int64_t i = 0; i < m; i++)
            parts[i][v] += dot_part((const char *)(x + i * x_row), k, PTIR_f32) * b;
    }
}

/* Lane v: the sum of the lanes of parts[v]. */
static vf skinny_reduce(vf *parts) {
    vf_transpose(parts);
    for (int half = VL / 2; half; half /= 2)
        for (int i = 0; i < half; i++) parts[i] += parts[i + half];
    return parts[0];
}

/* parts[i][j] = the sum, lane by lane, of row i of x times column j of w, for n <= VL columns and
 * whole vectors of k. Where n ends inside a tile, its last column is read again. */
INLINE void skinny_pairs_of(
    int m, int64_t n, int64_t k, const float *x, int64_t x_row, const char *w, int64_t column,
    vf parts[][VL], int dtype
) {
    enum { C = 4 };
    const int c = m <= 2 ? C : 2;
    for (int64_t j = 0; j < n; j += c) {
        vf sum[SKINNY_TILE][C];
        const char *from[C];
        for (int v = 0; v < c; v++)
            from[v] = w + dot_least(j + v, n - 1) * column * ptir_bytes(dtype);
        for (int i = 0; i < m; i++)
            for (int v = 0; v < c; v++) sum[i][v] = (vf){0};
        for (int64_t at = 0; at + VL <= k; at += VL) {
            vf b[C];
            for (int v = 0; v < c; v++) b[v] = vf_load_as(from[v], at, dtype);
            for (int i = 0; i < m; i++) {
                vf a = vf_load(x + i * x_row + at);
                for (int v = 0; v < c; v++) sum[i][v] += a * b[v];
            }
        }
        for (int i = 0; i < m; i++)
            for (int v = 0; v < c; v++) parts[i][j + v] = sum[i][v];
    }
}

#define SKINNY_PAIRS(m, dtype)                                                                     \
    skinny_pairs_of(m, n, k, x, x_row, w->data, w->column, parts, PTIR_##dtype)

#define X(dtype)                                                                                   \
    static void PTIR_JOIN(skinny_pairs, dtype)(                                                    \
        int64_t m, int64_t n, int64_t k, const float *x, int64_t x_row, const dot_matrix *w,       \
        vf parts[][VL]                                                                             \
    ) {                                                                                            \
        switch (m) {                                                                               \
        case 1: SKINNY_PAIRS(1, dtype); break;                                                     \
        case 2: SKINNY_PAIRS(2, dtype); break;                                                     \
        case 3: SKINNY_PAIRS(3, dtype); break;                                                     \
        default: SKINNY_PAIRS(4, dtype); break;                                                    \
        }                                                                                          \
    }
X(f32) X(bf16) X(f16)
#undef X

/* m rows on n <= VL columns. */
static void skinny_vector(
    int64_t m, int64_t n, int64_t k, const float *x, int64_t x_row, const dot_matrix *w,
    float *sums
) {
    vf parts[SKINNY_TILE][VL] = {{{0}}};
    switch (w->dtype) {
    case PTIR_f32: skinny_pairs_f32(m, n, k, x, x_row, w, parts); break;
    case PTIR_bf16: skinny_pairs_bf16(m, n, k, x, x_row, w, parts); break;
    default: skinny_pairs_f16(m, n, k, x, x_row, w, parts); break;
    }
    int64_t whole = k / VL * VL;
    if (whole < k) {
        dot_matrix rest = {dot_at(w, whole, 0), 1, w->column, w->dtype};
        skinny_tail(m, n, k - whole, x + whole, x_row, &rest, parts);
    }
    for (int64_t i = 0; i < m; i++)
        vf_store(sums + i * SKINNY_STEP, skinny_reduce(parts[i]));
}

static void skinny_columns(const dot_item *d, int64_t j, int64_t n, const skinny_memory *s) {
    int64_t top = dot_least(d->m, SKINNY_TILE);
    for (int64_t at = 0; at < n; at += VL) {
        dot_matrix w = {dot_at(&d->w, 0, j + at), 1, d->w.column, d->w.dtype};
        int64_t wide = dot_least(VL, n - at);
        skinny_vector(top, wide, d->k, s->x, s->row, &w, s->sums + at);
        if (d->m > top)
            skinny_vector(d->m - top, wide, d->k, s->x + top * s->row, s->row, &w,
                          s->sums + top * SKINNY_STEP + at);
    }
}

/* --- which way, and for how many columns --- */

static int skinny_by_columns(const dot_item *d) {
    return d->w.row == 1 && (d->w.column != 1 || d->n == 1);
}

/* Whether w is read where it lies; else its elements are far apart, and packing gathers them. */
static int skinny_fits(const dot_item *d) {
    int adjacent = skinny_by_columns(d) || d->w.column == 1 || d->n == 1;
    return d->m <= SKINNY_ROWS && d->k <= SKINNY_K && adjacent;
}

static int64_t skinny_width(const dot_item *d) { return d->m <= 2 ? SKINNY_COLUMNS : SKINNY_MANY; }

/* Columns [j, end) in even blocks. */
static void skinny_part(const dot_item *d, int64_t j, int64_t end, const skinny_memory *s) {
    int64_t grains = dot_blocks(end - j, SKINNY_GRAIN);
    int64_t blocks = dot_blocks(grains, skinny_width(d) / SKINNY_GRAIN);
    for (int64_t b = 0; b < blocks; b++) {
        int64_t from = j + grains * b / blocks * SKINNY_GRAIN;
        int64_t n = dot_least(end, j + grains * (b + 1) / blocks * SKINNY_GRAIN) - from;
        if (skinny_by_columns(d)) skinny_columns(d, from, n, s);
        else skinny_rows(d, from, n, 0, d->k, s);
        for (int64_t i = 0; i < d->m; i++)
            dot_finish(d, i, from, n, s->sums + i * SKINNY_STEP);
    }
}

/* --- few columns: parts of k ---
 *
 * Whether k is cut, and where, depends on the weight alone: a row gives the same in any company. */

static int skinny_is_deep(const dot_item *d) {
    return !skinny_by_columns(d) && d->n <= SKINNY_WIDE && d->k >= 4 * SKINNY_PART;
}

/* Columns that a thread has, from the sums of all parts in their order. */
static void skinny_join(
    const dot_item *d, int64_t parts, const float *sums, const skinny_memory *s, int64_t lo,
    int64_t hi
) {
    for (int64_t i = 0; i < d->m; i++) {
        memset(s->sums, 0, (size_t)(hi - lo) * sizeof *s->sums);
        for (int64_t p = 0; p < parts; p++) {
            const float *from = sums + (p * d->m + i) * SKINNY_STEP + lo;
            for (int64_t j = 0; j < hi - lo; j++) s->sums[j] += from[j];
        }
        dot_finish(d, i, lo, hi - lo, s->sums);
    }
}

/* Parts of k first, whole rows of w that lie one behind the other; then columns. */
static int skinny_deep(const dot_item *d, const ptir_team *team) {
    skinny_memory memory = skinny_prepare(d, team);
    float *sums = (float *)team->shared;
    int64_t blocks = dot_blocks(d->k, SKINNY_DEEP), lo, hi;
    int64_t parts = dot_least(SKINNY_PARTS, d->k / SKINNY_PART);
    if (team->phase) {
        ptir_share(team, d->n, SKINNY_GRAIN, &lo, &hi);
        if (lo < hi) skinny_join(d, parts, sums, &memory, lo, hi);
        return PTIR_OK;
    }
    ptir_share(team, parts, 1, &lo, &hi);
    for (int64_t p = lo; p < hi; p++) {
        int64_t k = blocks * p / parts * SKINNY_DEEP;
        int64_t end = dot_least(d->k, blocks * (p + 1) / parts * SKINNY_DEEP);
        for (int64_t j = 0, n; j < d->n; j += n) {
            n = dot_least(d->n - j, skinny_width(d));
            memory.sums = sums + p * d->m * SKINNY_STEP + j;
            skinny_rows(d, j, n, k, end, &memory);
        }
    }
    return PTIR_AGAIN;
}
