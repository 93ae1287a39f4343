/* Products with w in panels and few enough rows that x stays in L2: each panel is read once, from front
 * to back, as fast as memory gives it.
 */
enum {
    PACKED_ROWS = 96,   /* of x, at most */
    PACKED_WIDENED = 64, /* where each tile widens w anew */
    PACKED_X = 1 << 17, /* units of x, at most */
    PACKED_APART = 16,  /* units between rows of x: rows that are pages apart share L1 */
};

_Static_assert((PACKED_X + PACKED_ROWS * DOT_PANEL) * 4 <= PTIR_SCRATCH, "x and the sums fit");

static int packed_is_few(const dot_item *d) {
    int64_t most = unit_is_plain(d) ? PACKED_ROWS : PACKED_WIDENED;
    return d->m <= most && d->m * (dot_units(d) + PACKED_APART) <= PACKED_X;
}

/* All rows on the panel of column j. It is read in one go, or by so much of k that the part stays in
 * L1 for those who come after the first. */
static void packed_panel(const dot_item *d, int64_t j, dot_tile t) {
    int64_t units = dot_units(d), tiles = tile_count(d->m);
    int64_t step = tile_goes_once(d->m) ? units : GEMM_K;
    const float *x = t.x;
    float *sums = t.sums;
    for (int64_t k = 0; k < units; k += step) {
        t.w = panel_at(d, j, k), t.deep = dot_least(step, units - k), t.first = !k;
        for (int64_t i = 0; i < tiles; i++) {
            int64_t row = d->m * i / tiles, m = d->m * (i + 1) / tiles - row;
            t.x = x + row * t.x_row + k, t.sums = sums + row * DOT_PANEL;
            t.ahead = i ? 0 : PANEL_AHEAD;
            tile_multiply(d->way, m, &t);
        }
    }
    int64_t wide = dot_least(DOT_PANEL, d->n - j);
    for (int64_t i = 0; i < d->m; i++) dot_finish(d, i, j, wide, sums + i * DOT_PANEL);
}

static void packed_few(const dot_item *d, const ptir_team *team) {
    float *x = (float *)team->scratch;
    dot_tile t = {.x = x, .x_row = dot_units(d) + PACKED_APART, .sums = x + PACKED_X};
    dot_pack_x(d, 0, d->m, 0, dot_units(d), x, t.x_row);
    int64_t lo, hi;
    ptir_share(team, d->n, DOT_PANEL, &lo, &hi);
    for (int64_t j = lo; j < hi; j += DOT_PANEL) packed_panel(d, j, t);
}
