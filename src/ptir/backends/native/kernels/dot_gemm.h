/* Products with more than a few rows (Goto and van de Geijn 2008): w and x go to the scratch memory
 * in blocks, as f32 or as pairs of bf16; a tile of the result stays in registers over one block of k,
 * which is counted in such words.
 *
 * An element's sum runs over k in order within a block, and block by block; the blocks depend on k
 * alone. So it is the same wherever its row and column fall, for any number of threads.
 *
 * A level with tile instructions for bf16 gets its own way beside this one, chosen where dot.c
 * chooses.
 */
#if VL == 16
#define GEMM_M 12 /* rows of a tile: as many as the registers hold */
#elif defined(__aarch64__)
#define GEMM_M 8
#else
#define GEMM_M 6
#endif

enum {
    GEMM_N = 2 * VL,
    GEMM_K = 256,          /* of w's strips, GEMM_N wide: one stays in L1 */
    GEMM_STEP = GEMM_K + 16, /* between rows of x: not a multiple of a page, they share L1 */
    GEMM_ROWS = 96,        /* of x: a block stays in L2 */
    GEMM_COLUMNS = 1024,   /* of w: a block stays in L3 */
    GEMM_TALL = 576,       /* rows whose sums are kept while k goes on */
    GEMM_TILE = GEMM_M * GEMM_N,
    GEMM_PACK = 8,         /* rows of w read side by side: few enough for the prefetcher */
};

typedef struct {
    float *x, *w, *sums;
} gemm_scratch;

static gemm_scratch gemm_memory(const ptir_team *team) {
    float *memory = (float *)team->scratch;
    float *w = memory + GEMM_ROWS * GEMM_STEP;
    return (gemm_scratch){memory, w, w + GEMM_K * GEMM_COLUMNS};
}

/* Each block of rows may end in a tile that is not full. */
_Static_assert(
    GEMM_ROWS * GEMM_STEP + GEMM_K * GEMM_COLUMNS +
            (GEMM_TALL / GEMM_M + GEMM_TALL / GEMM_ROWS + 1) * GEMM_M * GEMM_COLUMNS <=
        PTIR_SCRATCH / 4,
    "the blocks fit"
);

static int64_t gemm_words(const dot_item *d) { return d->pairs ? (d->k + 1) / 2 : d->k; }

/* --- packing --- */

/* Elements of k in `deep` words from `k` on. */
static int64_t gemm_elements(const dot_item *d, int64_t k, int64_t deep) {
    return dot_least(2 * deep, d->k - 2 * k);
}

static void gemm_pack_x(
    const dot_item *d, int64_t i, int64_t rows, int64_t k, int64_t deep, float *to
) {
    const dot_matrix *x = &d->x;
    if (d->pairs) {
        int64_t n = gemm_elements(d, k, deep);
        for (int64_t r = 0; r < rows; r++)
            pairs_copy(to + r * GEMM_STEP, dot_at(x, i + r, 2 * k), x->column, n);
        return;
    }
    if (x->column != 1 && x->row == 1) {
        dot_turn(to, GEMM_STEP, dot_at(x, i, k), x->column, deep, rows, x->dtype);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        dot_widen(to + r * GEMM_STEP, dot_at(x, i + r, k), x->column, deep, x->dtype);
}

/* Into L2: a strip's part of the row that is so many elements behind. (Behind the end of w it is asked
 * for in vain.) */
INLINE void gemm_fetch(const char *row, int64_t behind, int dtype) {
    row += behind * ptir_bytes(dtype);
    for (int at = 0; at < GEMM_N * ptir_bytes(dtype); at += 64) __builtin_prefetch(row + at, 0, 2);
}

/* Rows of w with adjacent elements into full strips. */
INLINE void gemm_pack_rows(
    const char *from, int64_t row, int64_t deep, int64_t strips, float *to, int dtype
) {
    for (int64_t k = 0; k < deep; k += GEMM_PACK)
        for (int64_t s = 0; s < strips; s++) {
            float *strip = to + s * deep * GEMM_N;
            for (int64_t r = k; r < deep && r < k + GEMM_PACK; r++) {
                const char *at = from + (r * row + s * GEMM_N) * ptir_bytes(dtype);
                gemm_fetch(at, GEMM_PACK * row, dtype);
                for (int v = 0; v < GEMM_N; v += VL)
                    vf_store(strip + r * GEMM_N + v, vf_load_as(at, v, dtype));
            }
        }
}

static void gemm_pack_strips(
    const dot_matrix *w, int64_t k, int64_t deep, int64_t j, int64_t strips, float *to
) {
    const char *from = dot_at(w, k, j);
    switch (w->dtype) {
    case PTIR_f32: gemm_pack_rows(from, w->row, deep, strips, to, PTIR_f32); break;
    case PTIR_bf16: gemm_pack_rows(from, w->row, deep, strips, to, PTIR_bf16); break;
    default: gemm_pack_rows(from, w->row, deep, strips, to, PTIR_f16); break;
    }
}

/* One strip of `wide` columns, however they lie; lanes behind them are zeros. */
static void gemm_pack_strip(
    const dot_matrix *w, int64_t k, int64_t deep, int64_t j, int64_t wide, float *to
) {
    if (wide < GEMM_N) memset(to, 0, (size_t)(deep * GEMM_N) * sizeof *to);
    if (w->column != 1 && w->row == 1) {
        dot_turn(to, GEMM_N, dot_at(w, k, j), w->column, wide, deep, w->dtype);
        return;
    }
    for (int64_t r = 0; r < deep; r++)
        dot_widen(to + r * GEMM_N, dot_at(w, k + r, j), w->column, wide, w->dtype);
}

/* The same two as pairs. */
static void gemm_pair_strips(
    const dot_item *d, int64_t k, int64_t deep, int64_t j, int64_t strips, float *to
) {
    for (int64_t part = 0; part < deep; part += GEMM_PACK)
        for (int64_t s = 0; s < strips; s++)
            for (int64_t r = part; r < deep && r < part + GEMM_PACK; r++) {
                int64_t at = 2 * (k + r);
                const char *row = dot_at(&d->w, at, j + s * GEMM_N);
                const char *next = at + 1 < d->k ? row + 2 * d->w.row : NULL;
                float *strip = to + (s * deep + r) * GEMM_N;
                for (int half = 0; half < 2; half++)
                    gemm_fetch(row, (2 * GEMM_PACK + half) * d->w.row, PTIR_bf16);
                for (int v = 0; v < GEMM_N; v += VL)
                    vf_store(strip + v, pairs_load(row, next, v));
            }
}

static void gemm_pair_strip(
    const dot_item *d, int64_t k, int64_t deep, int64_t j, int64_t wide, float *to
) {
    const dot_matrix *w = &d->w;
    int64_t n = gemm_elements(d, k, deep);
    if (wide < GEMM_N || n < 2 * deep) memset(to, 0, (size_t)(deep * GEMM_N) * sizeof *to);
    if (w->row == 1 && w->column % 2 == 0 && n == 2 * deep) {
        dot_turn(to, GEMM_N, dot_at(w, 2 * k, j), w->column / 2, wide, deep, PTIR_f32);
        return;
    }
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < wide; c++) {
            char *half = (char *)(to + r / 2 * GEMM_N + c) + r % 2 * 2;
            memcpy(half, dot_at(w, 2 * k + r, j + c), 2);
        }
}

static void gemm_pack_w(
    const dot_item *d, int64_t k, int64_t deep, int64_t j, int64_t columns, float *to
) {
    int64_t at = 0;
    if (d->w.column == 1) {
        int64_t strips = columns / GEMM_N;
        if (d->pairs) gemm_pair_strips(d, k, deep, j, strips, to);
        else gemm_pack_strips(&d->w, k, deep, j, strips, to);
        at = strips * GEMM_N;
    }
    for (; at < columns; at += GEMM_N) {
        int64_t wide = dot_least(GEMM_N, columns - at);
        if (d->pairs) gemm_pair_strip(d, k, deep, j + at, wide, to + at * deep);
        else gemm_pack_strip(&d->w, k, deep, j + at, wide, to + at * deep);
    }
}

/* --- tiles --- */

/* sums [m][GEMM_N] = x · w, added to what they were unless these are the first k. */
INLINE void gemm_tile_of(
    int m, int64_t deep, const float *restrict x, const float *restrict w, float *sums, int first,
    int pairs
) {
    vf sum[GEMM_M][2];
    for (int i = 0; i < m; i++) sum[i][0] = sum[i][1] = (vf){0};
    for (int64_t k = 0; k < deep; k++) {
        vf w0 = vf_load(w + k * GEMM_N), w1 = vf_load(w + k * GEMM_N + VL);
        for (int i = 0; i < m; i++) {
            const float *word = x + i * GEMM_STEP + k;
            vf a = pairs ? pairs_set(word) : vf_set(*word);
            sum[i][0] = pairs ? pairs_add(sum[i][0], a, w0) : sum[i][0] + a * w0;
            sum[i][1] = pairs ? pairs_add(sum[i][1], a, w1) : sum[i][1] + a * w1;
        }
    }
    for (int i = 0; i < m; i++)
        for (int v = 0; v < 2; v++) {
            float *to = sums + i * GEMM_N + v * VL;
            vf_store(to, first ? sum[i][v] : sum[i][v] + vf_load(to));
        }
}

#define GEMM_CASE(m)                                                                               \
    case m: gemm_tile_of(m, deep, x, w, sums, first, pairs); break;

INLINE void gemm_tile_rows(
    int64_t m, int64_t deep, const float *x, const float *w, float *sums, int first, int pairs
) {
    switch (m) {
#if GEMM_M > 8
        GEMM_CASE(12) GEMM_CASE(11) GEMM_CASE(10) GEMM_CASE(9)
#endif
#if GEMM_M >= 8
        GEMM_CASE(8) GEMM_CASE(7)
#endif
        GEMM_CASE(6) GEMM_CASE(5) GEMM_CASE(4) GEMM_CASE(3) GEMM_CASE(2)
    default: gemm_tile_of(1, deep, x, w, sums, first, pairs); break;
    }
}

static void gemm_tile(
    int64_t m, int64_t deep, const float *x, const float *w, float *sums, int first, int pairs
) {
    if (DOT_PAIRS && pairs) gemm_tile_rows(m, deep, x, w, sums, first, 1);
    else gemm_tile_rows(m, deep, x, w, sums, first, 0);
}

/* --- blocks --- */

typedef struct {
    int64_t i, rows, j, columns; /* of the result */
    int64_t k, deep; /* in words */
} gemm_block;

static int64_t gemm_tiles(int64_t rows) { return dot_blocks(rows, GEMM_M); }

/* One packed block of x with one of w; rows are dealt out evenly to the tiles. */
static void gemm_multiply(
    const dot_item *d, const gemm_block *b, const gemm_scratch *memory, float *sums
) {
    int64_t tiles = gemm_tiles(b->rows);
    int last = b->k + b->deep == gemm_words(d);
    for (int64_t at = 0; at < b->columns; at += GEMM_N)
        for (int64_t t = 0; t < tiles; t++, sums += GEMM_TILE) {
            int64_t row = b->rows * t / tiles, m = b->rows * (t + 1) / tiles - row;
            const float *x = memory->x + row * GEMM_STEP, *w = memory->w + at * b->deep;
            gemm_tile(m, b->deep, x, w, sums, !b->k, d->pairs);
            if (!last) continue;
            int64_t wide = dot_least(GEMM_N, b->columns - at);
            for (int64_t r = 0; r < m; r++)
                dot_finish(d, b->i + row + r, b->j + at, wide, sums + r * GEMM_N);
        }
}

/* All of k for one block of columns and few enough rows. */
static void gemm_over_k(
    const dot_item *d, int64_t i, int64_t rows, int64_t j, int64_t columns,
    const gemm_scratch *memory
) {
    int64_t words = gemm_words(d), cuts = dot_blocks(words, GEMM_K);
    int64_t strips = dot_blocks(columns, GEMM_N);
    for (int64_t cut = 0; cut < cuts; cut++) {
        gemm_block b = {.j = j, .columns = columns, .k = words * cut / cuts};
        b.deep = words * (cut + 1) / cuts - b.k;
        gemm_pack_w(d, b.k, b.deep, j, columns, memory->w);
        float *sums = memory->sums;
        for (b.i = i; b.i < i + rows; b.i += GEMM_ROWS) {
            b.rows = dot_least(GEMM_ROWS, i + rows - b.i);
            gemm_pack_x(d, b.i, b.rows, b.k, b.deep, memory->x);
            gemm_multiply(d, &b, memory, sums);
            sums += gemm_tiles(b.rows) * strips * GEMM_TILE;
        }
    }
}

/* Rows [i, i_end) and columns [j, j_end), cut into even blocks. */
static void gemm_part(
    const dot_item *d, int64_t i, int64_t i_end, int64_t j, int64_t j_end,
    const gemm_scratch *memory
) {
    int64_t strips = dot_blocks(j_end - j, GEMM_N), rows = i_end - i;
    int64_t across = dot_blocks(strips, GEMM_COLUMNS / GEMM_N), down = dot_blocks(rows, GEMM_TALL);
    for (int64_t a = 0; a < across; a++) {
        int64_t from = j + strips * a / across * GEMM_N;
        int64_t to = dot_least(j_end, j + strips * (a + 1) / across * GEMM_N);
        for (int64_t b = 0; b < down; b++) {
            int64_t top = i + rows * b / down, end = i + rows * (b + 1) / down;
            gemm_over_k(d, top, end - top, from, to - from, memory);
        }
    }
}

/* --- threads --- */

/* How many ways the items of the batch, the rows and the columns are cut. */
typedef struct {
    int64_t items, rows, columns;
} gemm_grid;

/* The work of the busiest thread, about: multiplying, and packing what it needs. */
static int64_t gemm_cost(const dot_item *d, int64_t batch, const gemm_grid *g) {
    int64_t rows = dot_blocks(gemm_tiles(d->m), g->rows) * GEMM_M;
    int64_t columns = dot_blocks(dot_blocks(d->n, GEMM_N), g->columns) * GEMM_N;
    return dot_blocks(batch, g->items) * (rows * columns + 16 * columns + 8 * rows);
}

static gemm_grid gemm_cut(const dot_item *d, int64_t batch, int64_t threads) {
    gemm_grid best = {threads, 1, 1};
    for (int64_t items = 1; items <= threads; items++)
        for (int64_t rows = 1; rows <= threads; rows++) {
            if (threads % (items * rows)) continue;
            gemm_grid g = {items, rows, threads / (items * rows)};
            if (gemm_cost(d, batch, &g) < gemm_cost(d, batch, &best)) best = g;
        }
    return best;
}
