/* Products with w in panels, which are read from front to back: a block of x stays in L2 meanwhile, and
 * a panel's part of it in L1 from its first tile to its last. With few rows a panel is read in one go,
 * as fast as memory gives it.
 */
enum {
    PACKED_ROWS = 96,       /* of x, at most */
    PACKED_X = 96 << 10,    /* units of x, about */
    PACKED_APART = 16,      /* units between rows of x: rows that are pages apart share L1 */
    PACKED_ROOM = PACKED_X + PACKED_ROWS * (PACKED_APART + DOT_WORDS),
    PACKED_COLUMNS = 4096,  /* whose sums are kept while k goes on */
    PACKED_WIDENED = 64,    /* rows, at most, where each tile widens w anew */
};

_Static_assert(
    (PACKED_ROOM + PACKED_ROWS * PACKED_COLUMNS) * 4 <= PTIR_SCRATCH - CHAIN_BYTES,
    "x and the sums fit"
);

typedef struct {
    const dot_item *d;
    int64_t i, rows;  /* of the result */
    int64_t k, units; /* of x */
    const float *x;
    int64_t x_row;
} packed_block;

static int packed_fits(const dot_item *d) {
    return d->packed && (unit_is_plain(d) || d->m <= PACKED_WIDENED);
}

/* A block of x times the panel of column j. */
static void packed_panel(const packed_block *b, int64_t j, float *sums) {
    const dot_item *d = b->d;
    int64_t tiles = tile_count(d, b->rows), step = tile_goes_once(d, b->rows) ? b->units : GEMM_K;
    dot_tile t = {.x_row = b->x_row};
    for (int64_t k = 0; k < b->units; k += step) {
        int is_last = k + step >= b->units && b->k + b->units == dot_units(d);
        t.w = panel_at(d, j, b->k + k), t.deep = dot_least(step, b->units - k);
        t.first = !(b->k + k);
        for (int64_t i = 0; i < tiles; i++) {
            int64_t row = tile_first(d, b->rows, i), m = tile_first(d, b->rows, i + 1) - row;
            t.x = b->x + row * t.x_row + k, t.sums = sums + row * DOT_PANEL;
            t.ahead = i ? 0 : PANEL_AHEAD;
            tile_multiply(d, dot_way(d), m, &t);
            if (is_last) panel_finish(d, b->i + row, m, j, t.sums);
        }
    }
}

/* Rows [i, i + rows) and columns [j, end), few enough of both. */
static void packed_rows(
    const dot_item *d, int64_t i, int64_t rows, int64_t j, int64_t end, float *memory
) {
    int64_t units = dot_units(d), room = tile_room(d, rows);
    int64_t cuts = dot_blocks(room * units, PACKED_X);
    float *sums = memory + PACKED_ROOM;
    for (int64_t cut = 0; cut < cuts; cut++) {
        packed_block b = {d, i, rows, unit_cut(units, cut, cuts), .x = memory};
        b.units = unit_cut(units, cut + 1, cuts) - b.k, b.x_row = b.units + PACKED_APART;
        dot_pack_x(d, i, rows, b.k, b.units, memory, b.x_row);
        if (tile_is_amx(d)) amx_end_rows(rows, b.units, memory, b.x_row);
        for (int64_t at = j; at < end; at += DOT_PANEL)
            packed_panel(&b, at, sums + (cuts > 1 ? (at - j) * room : 0));
    }
}

/* Rows [i, i_end) and columns [j, j_end), cut into even blocks. */
static void packed_part(
    const dot_item *d, int64_t i, int64_t i_end, int64_t j, int64_t j_end, float *memory
) {
    int64_t panels = dot_blocks(j_end - j, DOT_PANEL), rows = i_end - i;
    int64_t across = dot_blocks(panels, PACKED_COLUMNS / DOT_PANEL);
    int64_t down = dot_blocks(rows, PACKED_ROWS);
    for (int64_t a = 0; a < across; a++) {
        int64_t from = j + panels * a / across * DOT_PANEL;
        int64_t to = dot_least(j_end, j + panels * (a + 1) / across * DOT_PANEL);
        for (int64_t b = 0; b < down; b++) {
            int64_t top = rows * b / down, end = rows * (b + 1) / down;
            packed_rows(d, i + top, end - top, from, to, memory);
        }
    }
}
