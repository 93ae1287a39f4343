/* Products with few rows: w is read once, where it lies, as fast as memory gives it.
 *
 * Rows of w with adjacent elements: a few rows at a time over a block of columns, whose sums lie in
 * scratch memory. Columns with adjacent elements: each element of the result is the product of two
 * such runs. Either way the order of a sum depends on k alone. Where bf16 is multiplied in pairs, x
 * is words of them.
 */
#if VL == 16 || defined(__aarch64__)
#define SKINNY_TILE 8 /* rows of x in registers: of 32, else of 16 */
#else
#define SKINNY_TILE 4
#endif

/* What is asked of memory ahead of time: the next rows of w into L1 (NEAR), those behind them into L2
 * (FAR). Machines with long vectors have an L1 that holds longer rows of sums, and prefetch runs of f32
 * as long as these by themselves. */
#if VL == 16
#define SKINNY_COLUMNS 4096 /* of a block, at most */
#define SKINNY_NEAR(m, bytes) ((m) == 1 && (bytes) == 2)
#define SKINNY_FAR(m, bytes) ((m) > 2 || (bytes) == 2)
#else
#define SKINNY_COLUMNS 2048
#define SKINNY_NEAR(m, bytes) 1
#define SKINNY_FAR(m, bytes) 0
#endif

enum {
    SKINNY_ROWS = 8,       /* of x, at most */
    SKINNY_HALF = 4,       /* of those, for columns of w side by side: more rows, fewer columns */
    SKINNY_K = 32768,      /* at most: x lies in scratch memory as f32 */
    SKINNY_DEEP = 8,       /* rows of w side by side */
    SKINNY_MANY = 1024,    /* columns of a block for more rows than two: their sums fill L1 sooner */
    SKINNY_WIDE = 4096,    /* at most, where threads share k: a thread's part would be short runs */
    SKINNY_STEP = SKINNY_WIDE + 48, /* between rows of sums: not a page, they share L1 */
    SKINNY_SHARED = 256,   /* of those, that more rows than a tile's go over at once */
    SKINNY_GRAIN = 64,     /* columns that stay with one thread */
    SKINNY_PARTS = 16,     /* of k, at most */
    SKINNY_PART = 96,      /* rows of w in one, at least */
};

typedef struct {
    const float *x;
    int64_t row;  /* between rows of x, in words */
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
    float *x = s.sums + SKINNY_ROWS * SKINNY_STEP;
    if (d->pairs) {
        s.row = d->x.row / 2;
        if (d->x.column == 1 && d->x.row % 2 == 0 && d->k % 2 == 0) return s;
        int64_t words = (d->k + 1) / 2;
        for (int64_t i = 0; i < d->m; i++)
            pairs_copy(x + i * words, dot_at(&d->x, i, 0), d->x.column, d->k);
        s.x = x, s.row = words;
        return s;
    }
    int readable = d->x.dtype == PTIR_f32 && d->x.column == 1 && (uintptr_t)s.x % 4 == 0;
    if (readable) return s;
    for (int64_t i = 0; i < d->m; i++)
        dot_widen(x + i * d->k, dot_at(&d->x, i, 0), d->x.column, d->k, d->x.dtype);
    s.x = x, s.row = d->k;
    return s;
}

/* Words of x in so many elements of k, which end no pair halfway. */
INLINE int64_t skinny_words(const dot_item *d, int64_t k) { return d->pairs ? k / 2 : k; }

INLINE int64_t skinny_bytes(int way) { return way == PTIR_pairs ? 2 : ptir_bytes(way); }

/* What is compiled for one number of rows, for each. */
#define SKINNY_CASE(m, DO, way)                                                                    \
    case m: DO(m, way); break;
#if SKINNY_TILE == 8
#define SKINNY_MORE(DO, way)                                                                       \
    SKINNY_CASE(8, DO, way) SKINNY_CASE(7, DO, way) SKINNY_CASE(6, DO, way) SKINNY_CASE(5, DO, way)
#else
#define SKINNY_MORE(DO, way)
#endif
#define SKINNY_FEW(DO, way)                                                                        \
    SKINNY_CASE(4, DO, way) SKINNY_CASE(3, DO, way) SKINNY_CASE(2, DO, way) SKINNY_CASE(1, DO, way)

/* --- rows of w with adjacent elements --- */

/* A row of w, or two as pairs, on some columns of the sums of m rows: c vectors. */
INLINE void skinny_row(
    int m, int c, const float *x, int64_t x_row, const char *w, const char *next,
    vf sum[SKINNY_TILE][4], int way
) {
    vf b[4];
    for (int v = 0; v < c; v++)
        b[v] = way == PTIR_pairs ? pairs_load(w, next, v * VL) : vf_load_as(w, v * VL, way);
    for (int i = 0; i < m; i++) {
        const float *word = x + i * x_row;
        vf a = way == PTIR_pairs ? pairs_set(word) : vf_set(*word);
        for (int v = 0; v < c; v++)
            sum[i][v] = way == PTIR_pairs ? pairs_add(sum[i][v], a, b[v]) : sum[i][v] + a * b[v];
    }
}

/* `deep` rows of w on some columns of the sums of m rows: c vectors. */
INLINE void skinny_tile(
    int m, int c, int64_t deep, const float *x, int64_t x_row, const char *w, int64_t row,
    float *sums, int way
) {
    int64_t step = row * skinny_bytes(way), rows = way == PTIR_pairs ? 2 : 1;
    vf sum[SKINNY_TILE][4];
    for (int i = 0; i < m; i++)
        for (int v = 0; v < c; v++) sum[i][v] = vf_load(sums + i * SKINNY_STEP + v * VL);
    for (; deep >= rows; deep -= rows, w += rows * step)
        skinny_row(m, c, x++, x_row, w, w + step, sum, way);
    if (deep > 0) skinny_row(m, c, x, x_row, w, NULL, sum, way);
    for (int i = 0; i < m; i++)
        for (int v = 0; v < c; v++) vf_store(sums + i * SKINNY_STEP + v * VL, sum[i][v]);
}

/* A few rows of w on n columns, whole vectors of them. `next` is what will be read after them: the
 * prefetcher of the machine starts too late for short runs. (What lies behind the end of w is asked
 * for in vain.) */
INLINE void skinny_strip_of(
    int m, int64_t n, int64_t deep, const float *x, int64_t x_row, const char *w, int64_t row,
    float *sums, const char *next, int way
) {
    const int c = m <= SKINNY_TILE / 2 ? 4 : 2, bytes = skinny_bytes(way);
    int64_t j = 0;
    for (; j + c * VL <= n; j += c * VL) {
        for (int64_t r = 0; next && r < deep; r++)
            for (int at = 0; at < c * VL * bytes; at += 64) {
                const char *near = next + (r * row + j) * bytes + at;
                if (SKINNY_NEAR(m, bytes)) __builtin_prefetch(near);
                if (SKINNY_FAR(m, bytes)) __builtin_prefetch(near + deep * row * bytes, 0, 2);
            }
        skinny_tile(m, c, deep, x, x_row, w + j * bytes, row, sums + j, way);
    }
    for (; j < n; j += VL)
        skinny_tile(m, 1, deep, x, x_row, w + j * bytes, row, sums + j, way);
}

#define SKINNY_STRIP(m, way)                                                                       \
    skinny_strip_of(m, n, deep, x, x_row, w, row, sums, next, PTIR_##way)

#define X(way)                                                                                     \
    static void PTIR_JOIN(skinny_strip, way)(                                                      \
        int64_t m, int64_t n, int64_t deep, const float *x, int64_t x_row, const char *w,          \
        int64_t row, float *sums, const char *next                                                 \
    ) {                                                                                            \
        switch (m) { SKINNY_MORE(SKINNY_STRIP, way) SKINNY_FEW(SKINNY_STRIP, way) }                \
    }
X(f32) X(bf16) X(f16) X(pairs)
#undef X

static void skinny_strip(
    int way, int64_t m, int64_t n, int64_t deep, const float *x, int64_t x_row,
    const dot_matrix *w, float *sums, const char *next
) {
    switch (way) {
    case PTIR_pairs: skinny_strip_pairs(m, n, deep, x, x_row, w->data, w->row, sums, next); break;
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
    int64_t top = dot_least(d->m, SKINNY_TILE), way = dot_way(d);
    const float *low = x + top * x_row;
    for (int64_t j = 0; j < whole; j += step) {
        int64_t wide = dot_least(step, whole - j), skip = j * ptir_bytes(w.dtype);
        dot_matrix at = {w.data + skip, w.row, 1, w.dtype};
        skinny_strip(way, top, wide, deep, x, x_row, &at, sums + j, next ? next + skip : NULL);
        if (d->m > top)
            skinny_strip(way, d->m - top, wide, deep, low, x_row, &at,
                         sums + top * SKINNY_STEP + j, NULL);
    }
    if (whole == n) return;
    char copy[SKINNY_DEEP][VL * 4] = {{0}}; /* fewer columns than a vector, with room behind them */
    for (int64_t r = 0; r < deep; r++)
        memcpy(copy[r], dot_at(&w, r, whole), (size_t)((n - whole) * ptir_bytes(w.dtype)));
    dot_matrix at = {(char *)copy, VL * 4 / ptir_bytes(w.dtype), 1, w.dtype};
    sums += whole;
    skinny_strip(way, top, VL, deep, x, x_row, &at, sums, NULL);
    if (d->m > top)
        skinny_strip(way, d->m - top, VL, deep, low, x_row, &at, sums + top * SKINNY_STEP, NULL);
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
        skinny_strips(d, n, deep, s->x + skinny_words(d, k), s->row, w, s->sums, next);
    }
}

/* --- columns of w with adjacent elements --- */

/* What is behind the last whole vector of k; then the lanes are added up in one order. */
static void skinny_tail(
    int way, int64_t m, int64_t n, int64_t k, const float *x, int64_t x_row, const dot_matrix *w,
    vf parts[][VL]
) {
    int pairs = way == PTIR_pairs;
    for (int64_t v = 0; v < n; v++) {
        const char *column = dot_at(w, 0, v);
        vf b = pairs ? pairs_part(column, k) : dot_part(column, k, w->dtype);
        for (int64_t i = 0; i < m; i++) {
            const char *row = (const char *)(x + i * x_row);
            if (pairs) parts[i][v] = pairs_add(parts[i][v], pairs_part(row, k), b);
            else parts[i][v] += dot_part(row, k, PTIR_f32) * b;
        }
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
INLINE void skinny_runs_of(
    int m, int64_t n, int64_t k, const float *x, int64_t x_row, const char *w, int64_t column,
    vf parts[][VL], int way
) {
    enum { C = 4 };
    const int c = m <= SKINNY_TILE / 2 ? C : 2, pairs = way == PTIR_pairs;
    const int64_t step = pairs ? 2 * VL : VL;
    for (int64_t j = 0; j < n; j += c) {
        vf sum[SKINNY_HALF][C];
        const char *from[C];
        for (int v = 0; v < c; v++)
            from[v] = w + dot_least(j + v, n - 1) * column * skinny_bytes(way);
        for (int i = 0; i < m; i++)
            for (int v = 0; v < c; v++) sum[i][v] = (vf){0};
        for (int64_t at = 0, word = 0; at + step <= k; at += step, word += VL) {
            vf b[C];
            for (int v = 0; v < c; v++)
                b[v] = pairs ? vf_load_as(from[v], word, PTIR_f32) : vf_load_as(from[v], at, way);
            for (int i = 0; i < m; i++) {
                vf a = vf_load(x + i * x_row + word);
                for (int v = 0; v < c; v++)
                    sum[i][v] = pairs ? pairs_add(sum[i][v], a, b[v]) : sum[i][v] + a * b[v];
            }
        }
        for (int i = 0; i < m; i++)
            for (int v = 0; v < c; v++) parts[i][j + v] = sum[i][v];
    }
}

#define SKINNY_RUNS(m, way)                                                                        \
    skinny_runs_of(m, n, k, x, x_row, w->data, w->column, parts, PTIR_##way)

#define X(way)                                                                                     \
    static void PTIR_JOIN(skinny_runs, way)(                                                       \
        int64_t m, int64_t n, int64_t k, const float *x, int64_t x_row, const dot_matrix *w,       \
        vf parts[][VL]                                                                             \
    ) {                                                                                            \
        switch (m) { SKINNY_FEW(SKINNY_RUNS, way) }                                                \
    }
X(f32) X(bf16) X(f16) X(pairs)
#undef X

/* m rows on n <= VL columns. */
static void skinny_vector(
    int way, int64_t m, int64_t n, int64_t k, const float *x, int64_t x_row, const dot_matrix *w,
    float *sums
) {
    vf parts[SKINNY_HALF][VL] = {{{0}}};
    switch (way) {
    case PTIR_pairs: skinny_runs_pairs(m, n, k, x, x_row, w, parts); break;
    case PTIR_f32: skinny_runs_f32(m, n, k, x, x_row, w, parts); break;
    case PTIR_bf16: skinny_runs_bf16(m, n, k, x, x_row, w, parts); break;
    default: skinny_runs_f16(m, n, k, x, x_row, w, parts); break;
    }
    int64_t step = way == PTIR_pairs ? 2 * VL : VL, whole = k / step * step;
    if (whole < k) {
        dot_matrix rest = {dot_at(w, whole, 0), 1, w->column, w->dtype};
        const float *behind = x + whole / step * VL;
        skinny_tail(way, m, n, k - whole, behind, x_row, &rest, parts);
    }
    for (int64_t i = 0; i < m; i++)
        vf_store(sums + i * SKINNY_STEP, skinny_reduce(parts[i]));
}

static void skinny_columns(const dot_item *d, int64_t j, int64_t n, const skinny_memory *s) {
    int64_t top = dot_least(d->m, SKINNY_HALF), way = dot_way(d);
    for (int64_t at = 0; at < n; at += VL) {
        dot_matrix w = {dot_at(&d->w, 0, j + at), 1, d->w.column, d->w.dtype};
        int64_t wide = dot_least(VL, n - at);
        skinny_vector(way, top, wide, d->k, s->x, s->row, &w, s->sums + at);
        if (d->m > top)
            skinny_vector(way, d->m - top, wide, d->k, s->x + top * s->row, s->row, &w,
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
