/* Products with more than a few rows (Goto and van de Geijn 2008): w and x go to the scratch memory
 * in blocks, as f32 or as pairs of bf16, w in panels; tiles go over one block of k after the other.
 */

enum {
    GEMM_K = VL == 16 ? 256 : 128, /* of w's panels: one stays in L1 */
    GEMM_STEP = GEMM_K + 16, /* between rows of x: not a multiple of a page, they share L1 */
    GEMM_ROWS = 96,        /* of x: a block stays in L2 */
    GEMM_COLUMNS = 1024,   /* of w: a block stays in L3 */
    GEMM_TALL = 576,       /* rows whose sums are kept while k goes on */
    GEMM_PACK = 8,         /* rows of w read side by side: few enough for the prefetcher */
};

typedef struct {
    float *x, *w, *sums;
} gemm_scratch;

static gemm_scratch gemm_memory(float *memory) {
    float *w = memory + GEMM_ROWS * GEMM_STEP;
    return (gemm_scratch){memory, w, w + GEMM_K * GEMM_COLUMNS};
}

/* Each block of rows may end in a tile that is not full. */
_Static_assert(
    GEMM_ROWS * GEMM_STEP + GEMM_K * GEMM_COLUMNS +
            (GEMM_TALL / DOT_ROWS + GEMM_TALL / GEMM_ROWS + 1) * DOT_ROWS * GEMM_COLUMNS <=
        (PTIR_SCRATCH - CHAIN_BYTES) / 4,
    "the blocks fit"
);

/* --- packing --- */

/* Into L2: a panel's part of the row that is so many elements behind. (Behind the end of w it is asked
 * for in vain.) */
INLINE void gemm_fetch(const char *row, int64_t behind, int dtype) {
    row += behind * ptir_bytes(dtype);
    for (int at = 0; at < DOT_PANEL * ptir_bytes(dtype); at += 64) __builtin_prefetch(row + at, 0, 2);
}

/* Rows of w with adjacent elements into full panels. */
INLINE void gemm_pack_rows(
    const char *from, int64_t row, int64_t deep, int64_t panels, float *to, int dtype
) {
    for (int64_t k = 0; k < deep; k += GEMM_PACK)
        for (int64_t s = 0; s < panels; s++) {
            float *panel = to + s * deep * DOT_PANEL;
            for (int64_t r = k; r < deep && r < k + GEMM_PACK; r++) {
                const char *at = from + (r * row + s * DOT_PANEL) * ptir_bytes(dtype);
                gemm_fetch(at, GEMM_PACK * row, dtype);
                for (int v = 0; v < DOT_PANEL; v += VL)
                    vf_store(panel + r * DOT_PANEL + v, vf_load_as(at, v, dtype));
            }
        }
}

static void gemm_pack_panels(
    const dot_matrix *w, int64_t k, int64_t deep, int64_t j, int64_t panels, float *to
) {
    const char *from = dot_at(w, k, j);
    switch (w->dtype) {
    case PTIR_f32: gemm_pack_rows(from, w->row, deep, panels, to, PTIR_f32); break;
    case PTIR_bf16: gemm_pack_rows(from, w->row, deep, panels, to, PTIR_bf16); break;
    default: gemm_pack_rows(from, w->row, deep, panels, to, PTIR_f16); break;
    }
}

/* One panel of `wide` columns, however they lie; lanes behind them are zeros. */
static void gemm_pack_panel(
    const dot_matrix *w, int64_t k, int64_t deep, int64_t j, int64_t wide, float *to
) {
    if (wide < DOT_PANEL) memset(to, 0, (size_t)(deep * DOT_PANEL) * sizeof *to);
    if (w->column != 1 && w->row == 1) {
        dot_turn(to, DOT_PANEL, dot_at(w, k, j), w->column, wide, deep, w->dtype);
        return;
    }
    for (int64_t r = 0; r < deep; r++)
        dot_widen(to + r * DOT_PANEL, dot_at(w, k + r, j), w->column, wide, w->dtype);
}

/* The same two as pairs. */
static void gemm_pair_panels(
    const dot_item *d, int64_t k, int64_t deep, int64_t j, int64_t panels, float *to
) {
    for (int64_t part = 0; part < deep; part += GEMM_PACK)
        for (int64_t s = 0; s < panels; s++)
            for (int64_t r = part; r < deep && r < part + GEMM_PACK; r++) {
                int64_t at = 2 * (k + r);
                const char *row = dot_at(&d->w, at, j + s * DOT_PANEL);
                const char *next = at + 1 < d->k ? row + 2 * d->w.row : NULL;
                float *panel = to + (s * deep + r) * DOT_PANEL;
                for (int half = 0; half < 2; half++)
                    gemm_fetch(row, (2 * GEMM_PACK + half) * d->w.row, PTIR_bf16);
                for (int v = 0; v < DOT_PANEL; v += VL)
                    vf_store(panel + v, pairs_load(row, next, v));
            }
}

static void gemm_pair_panel(
    const dot_item *d, int64_t k, int64_t deep, int64_t j, int64_t wide, float *to
) {
    const dot_matrix *w = &d->w;
    int64_t n = unit_elements(d, k, deep);
    if (wide < DOT_PANEL || n < 2 * deep) memset(to, 0, (size_t)(deep * DOT_PANEL) * sizeof *to);
    if (w->row == 1 && w->column % 2 == 0 && n == 2 * deep) {
        dot_turn(to, DOT_PANEL, dot_at(w, 2 * k, j), w->column / 2, wide, deep, PTIR_f32);
        return;
    }
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < wide; c++) {
            char *half = (char *)(to + r / 2 * DOT_PANEL + c) + r % 2 * 2;
            memcpy(half, dot_at(w, 2 * k + r, j + c), 2);
        }
}

/* What lies in panels already, as f32. */
static void gemm_widen_panels(
    const dot_item *d, int64_t k, int64_t deep, int64_t j, int64_t columns, float *to
) {
    const int64_t halves = dot_way(d) == PTIR_bf16 ? 2 : 1;
    for (int64_t at = 0; at < columns; at += DOT_PANEL) {
        const char *from = panel_at(d, j + at, k);
        for (int64_t r = 0; r < deep; r += halves, from += panel_row(dot_way(d)))
            for (int half = 0; half < halves; half++, to += DOT_PANEL)
                for (int v = 0; v < PANEL_VECTORS; v++)
                    vf_store(to + v * VL, panel_load(from, v, half, dot_way(d)));
    }
}

static void gemm_pack_w(
    const dot_item *d, int64_t k, int64_t deep, int64_t j, int64_t columns, float *to
) {
    int64_t at = 0;
    if (d->packed) {
        gemm_widen_panels(d, k, deep, j, columns, to);
        return;
    }
    if (d->w.column == 1) {
        int64_t panels = columns / DOT_PANEL;
        if (d->pairs) gemm_pair_panels(d, k, deep, j, panels, to);
        else gemm_pack_panels(&d->w, k, deep, j, panels, to);
        at = panels * DOT_PANEL;
    }
    for (; at < columns; at += DOT_PANEL) {
        int64_t wide = dot_least(DOT_PANEL, columns - at);
        if (d->pairs) gemm_pair_panel(d, k, deep, j + at, wide, to + at * deep);
        else gemm_pack_panel(&d->w, k, deep, j + at, wide, to + at * deep);
    }
}

/* --- blocks --- */

typedef struct {
    int64_t i, rows, j, columns; /* of the result */
    int64_t k, deep; /* in units */
} gemm_block;

/* One packed block of x with one of w; rows are dealt out evenly to the tiles. */
static void gemm_multiply(
    const dot_item *d, const gemm_block *b, const gemm_scratch *memory, float *sums
) {
    int64_t tiles = tile_count(d, b->rows);
    int last = b->k + b->deep == dot_units(d);
    int way = d->pairs ? PTIR_pairs : PTIR_f32;
    dot_tile t = {.x_row = GEMM_STEP, .deep = b->deep, .first = !b->k};
    for (int64_t at = 0; at < b->columns; at += DOT_PANEL) {
        t.w = (const char *)(memory->w + at * b->deep);
        for (int64_t i = 0; i < tiles; i++, sums += DOT_TILE) {
            int64_t row = tile_first(d, b->rows, i), m = tile_first(d, b->rows, i + 1) - row;
            t.x = memory->x + row * GEMM_STEP, t.sums = sums;
            tile_multiply(d, way, m, &t);
            if (last) panel_finish(d, b->i + row, m, b->j + at, sums);
        }
    }
}

/* All of k for one block of columns and few enough rows. */
static void gemm_over_k(
    const dot_item *d, int64_t i, int64_t rows, int64_t j, int64_t columns,
    const gemm_scratch *memory
) {
    int64_t units = dot_units(d), cuts = dot_blocks(units, GEMM_K);
    int64_t panels = dot_blocks(columns, DOT_PANEL);
    for (int64_t cut = 0; cut < cuts; cut++) {
        gemm_block b = {.j = j, .columns = columns, .k = unit_cut(units, cut, cuts)};
        b.deep = unit_cut(units, cut + 1, cuts) - b.k;
        gemm_pack_w(d, b.k, b.deep, j, columns, memory->w);
        float *sums = memory->sums;
        for (b.i = i; b.i < i + rows; b.i += GEMM_ROWS) {
            b.rows = dot_least(GEMM_ROWS, i + rows - b.i);
            dot_pack_x(d, b.i, b.rows, b.k, b.deep, memory->x, GEMM_STEP);
            gemm_multiply(d, &b, memory, sums);
            sums += tile_count(d, b.rows) * panels * DOT_TILE;
        }
    }
}

/* Rows [i, i_end) and columns [j, j_end), cut into even blocks. */
static void gemm_part(
    const dot_item *d, int64_t i, int64_t i_end, int64_t j, int64_t j_end, float *memory
) {
    gemm_scratch parts = gemm_memory(memory);
    int64_t panels = dot_blocks(j_end - j, DOT_PANEL), rows = i_end - i;
    int64_t across = dot_blocks(panels, GEMM_COLUMNS / DOT_PANEL), down = dot_blocks(rows, GEMM_TALL);
    for (int64_t a = 0; a < across; a++) {
        int64_t from = j + panels * a / across * DOT_PANEL;
        int64_t to = dot_least(j_end, j + panels * (a + 1) / across * DOT_PANEL);
        for (int64_t b = 0; b < down; b++) {
            int64_t top = i + rows * b / down, end = i + rows * (b + 1) / down;
            gemm_over_k(d, top, end - top, from, to - from, &parts);
        }
    }
}

/* --- threads --- */

/* How many ways the items of the batch, the rows and the columns are cut. */
typedef struct {
    int64_t items, rows, columns;
} gemm_grid;

/* The work of the busiest thread, about: multiplying, and packing or fetching what it needs. */
static int64_t gemm_cost(const dot_item *d, int64_t batch, const gemm_grid *g) {
    int64_t rows = dot_blocks(tile_count(d, d->m), g->rows) * tile_height(d);
    int64_t columns = dot_blocks(dot_blocks(d->n, DOT_PANEL), g->columns) * DOT_PANEL;
    return dot_blocks(batch, g->items) * (rows * columns + 16 * columns + 8 * rows);
}

static gemm_grid gemm_cut(const dot_item *d, int64_t batch, int64_t threads) {
    gemm_grid best = {1, 1, threads};
    int64_t most_items = dot_least(batch, threads);
    int64_t most_rows = dot_least(tile_count(d, d->m), threads);
    for (int64_t items = 1; items <= most_items; items++)
        for (int64_t rows = 1; rows <= most_rows; rows++) {
            if (threads % (items * rows)) continue;
            gemm_grid g = {items, rows, threads / (items * rows)};
            if (gemm_cost(d, batch, &g) < gemm_cost(d, batch, &best)) best = g;
        }
    return best;
}
