/* Panels of w, and the tile of a product that registers hold: sums of a few rows of x over a stretch
 * of k. Products with many rows are made of it, and those whose w was packed beforehand.
 *
 * A panel is DOT_PANEL columns of w, side by side for each unit of k. Units are elements of f32 or
 * f16, or words of two bf16. Where no instruction multiplies a word, its halves are two units of x.
 * An element's sum goes on from what it was, unit by unit, in tile registers 16 words at a time:
 * how k is cut at multiples of so many changes nothing.
 */
#if VL == 16
#define DOT_ROWS 12 /* rows: as many as the registers hold */
#elif defined(__aarch64__)
#define DOT_ROWS 8
#else
#define DOT_ROWS 6
#endif

enum {
    DOT_TILE = DOT_ROWS * DOT_PANEL, /* elements */
    PANEL_VECTORS = DOT_PANEL / VL,
    DOT_AMX_ROWS = 32, /* of a tile in tile registers */
    DOT_WORDS = 16,    /* k is cut at multiples of so many units, as those need it */
    DOT_VECTORS = 2, /* columns of a tile, but for */
    DOT_WIDE = 8,    /* sums of at most so many vectors, which take the whole panel */
    DOT_BUSY = 3,    /* rows that keep the machine too busy to fetch by itself what comes */
    PANEL_AHEAD = 8192, /* bytes of what is fetched then */
    PANEL_NEXT = 1024,  /* with fewer rows: past L2, which has other things to hold */
};

typedef struct {
    const float *x;
    int64_t x_row; /* in units */
    const char *w;
    float *sums;   /* [m][DOT_PANEL] */
    int64_t deep;  /* units of x */
    int64_t ahead; /* bytes of w from what is multiplied to what memory is asked for, or 0 */
    int first;     /* whether sums begin here */
} dot_tile;

#include "dot_amx.h"

/* Whether w is multiplied in tile registers. */
static int tile_is_amx(const dot_item *d) { return DOT_AMX && d->packed && d->pairs; }

/* Bytes of a unit, or of a word with two. */
INLINE int64_t panel_row(int way) { return DOT_PANEL * (way == PTIR_f16 ? 2 : 4); }

INLINE vf panel_load(const char *w, int v, int half, int way) {
    if (way == PTIR_f16) return vf_load_as(w, v * VL, PTIR_f16);
    vf words = vf_load_as(w, v * VL, PTIR_f32);
    if (way != PTIR_bf16) return words;
    return (vf)(half ? (vu)words & 0xffff0000 : (vu)words << 16);
}

/* m rows and c vectors of columns from vector `from` on. */
INLINE void tile_of(int m, int c, int from, const dot_tile *t, int way) {
    const int halves = way == PTIR_bf16 ? 2 : 1, pairs = way == PTIR_pairs;
    const int64_t x_row = t->x_row, row = panel_row(way);
    const char *w = t->w, *ahead = w + (from ? 0 : t->ahead);
    float *sums = t->sums + from * VL;
    vf sum[DOT_ROWS][DOT_WIDE];
    for (int i = 0; i < m; i++)
        for (int v = 0; v < c; v++)
            sum[i][v] = t->first ? (vf){0} : vf_load(sums + i * DOT_PANEL + v * VL);
    for (int64_t k = 0; k < t->deep; k += halves, w += row, ahead += row) {
        for (int at = 0; at < row; at += 64)
            if (m >= DOT_BUSY) __builtin_prefetch(ahead + at);
            else __builtin_prefetch(w + PANEL_NEXT + at, 0, 0);
        for (int half = 0; half < halves; half++) {
            vf b[DOT_WIDE];
            for (int v = 0; v < c; v++) b[v] = panel_load(w, from + v, half, way);
            for (int i = 0; i < m; i++) {
                const float *unit = t->x + i * x_row + k + half;
                vf a = pairs ? pairs_set(unit) : vf_set(*unit);
                for (int v = 0; v < c; v++)
                    sum[i][v] = pairs ? pairs_add(sum[i][v], a, b[v]) : sum[i][v] + a * b[v];
            }
        }
    }
    for (int i = 0; i < m; i++)
        for (int v = 0; v < c; v++) vf_store(sums + i * DOT_PANEL + v * VL, sum[i][v]);
}

INLINE void tile_rows(int m, const dot_tile *t, int way) {
    if (m <= DOT_WIDE / PANEL_VECTORS) tile_of(m, PANEL_VECTORS, 0, t, way);
    else
        for (int v = 0; v < PANEL_VECTORS; v += DOT_VECTORS) tile_of(m, DOT_VECTORS, v, t, way);
}

#define TILE_CASE(m, way)                                                                          \
    case m: tile_rows(m, t, PTIR_##way); break;
#if DOT_ROWS == 12
#define TILE_MORE(way) TILE_CASE(12, way) TILE_CASE(11, way) TILE_CASE(10, way) TILE_CASE(9, way)
#else
#define TILE_MORE(way)
#endif
#if DOT_ROWS >= 8
#define TILE_MANY(way) TILE_CASE(8, way) TILE_CASE(7, way)
#else
#define TILE_MANY(way)
#endif

/* m rows on a panel. */
#define X(way)                                                                                     \
    static void PTIR_JOIN(tile, way)(int64_t m, const dot_tile *t) {                               \
        switch (m) {                                                                               \
            TILE_MORE(way) TILE_MANY(way) TILE_CASE(6, way) TILE_CASE(5, way) TILE_CASE(4, way)    \
            TILE_CASE(3, way) TILE_CASE(2, way) TILE_CASE(1, way)                                  \
        }                                                                                          \
    }
X(f32) X(bf16) X(f16) X(pairs)
#undef X

static void tile_multiply(const dot_item *d, int way, int64_t m, const dot_tile *t) {
    if (tile_is_amx(d)) {
        amx_tile(m, t);
        return;
    }
    switch (way) {
    case PTIR_pairs: tile_pairs(m, t); break;
    case PTIR_f32: tile_f32(m, t); break;
    case PTIR_bf16: tile_bf16(m, t); break;
    default: tile_f16(m, t); break;
    }
}

static int64_t tile_height(const dot_item *d) { return tile_is_amx(d) ? DOT_AMX_ROWS : DOT_ROWS; }
static int64_t tile_count(const dot_item *d, int64_t rows) {
    return dot_blocks(rows, tile_height(d));
}

/* The first row of tile i: tiles are even; with tile registers they are full, but for the last. */
static int64_t tile_first(const dot_item *d, int64_t rows, int64_t i) {
    if (tile_is_amx(d)) return dot_least(rows, i * DOT_AMX_ROWS);
    return rows * i / tile_count(d, rows);
}

/* The rows that there must be room for. */
static int64_t tile_room(const dot_item *d, int64_t rows) {
    return tile_is_amx(d) ? dot_blocks(rows, DOT_AMX_ROWS / 2) * (DOT_AMX_ROWS / 2) : rows;
}

/* Whether one tile takes so many rows of a whole panel. */
static int tile_goes_once(const dot_item *d, int64_t rows) {
    if (tile_is_amx(d)) return rows <= DOT_AMX_ROWS;
    return rows <= (PANEL_VECTORS == DOT_VECTORS ? DOT_ROWS : DOT_WIDE / PANEL_VECTORS);
}

/* --- results --- */

/* Rows of a whole panel where everything has adjacent columns and one type. */
INLINE void dot_finish_as(
    const dot_item *d, int64_t i, int64_t rows, int64_t j, const float *sums, int dtype
) {
    for (int64_t r = i; r < i + rows; r++, sums += DOT_PANEL)
        for (int v = 0; v < DOT_PANEL; v += VL) {
            vf sum = vf_load(sums + v);
            for (int a = 0; a < d->adds; a++)
                sum += vf_load_as(dot_at(&d->added[a], r, j), v, dtype);
            vf_store_as(dot_at(&d->out, r, j), v, dtype, sum);
        }
}

/* Rows of a panel of the result: sums is [rows][DOT_PANEL]. */
static void dot_finish_tile(
    const dot_item *d, int64_t i, int64_t rows, int64_t j, const float *sums
) {
    int64_t wide = dot_least(DOT_PANEL, d->n - j);
    int dtype = d->out.dtype, is_plain = wide == DOT_PANEL && dot_adjacent(d);
    for (int a = 0; a < d->adds; a++) is_plain &= d->added[a].dtype == dtype;
    if (is_plain && dtype == PTIR_f32) dot_finish_as(d, i, rows, j, sums, PTIR_f32);
    else if (is_plain && dtype == PTIR_bf16) dot_finish_as(d, i, rows, j, sums, PTIR_bf16);
    else
        for (int64_t r = 0; r < rows; r++)
            dot_finish(d, i + r, j, wide, sums + r * DOT_PANEL);
}

/* --- units --- */

static int64_t dot_units(const dot_item *d) { return d->pairs ? (d->k + 1) / 2 : d->k; }

/* Whether a unit of w is multiplied as it lies. */
static int unit_is_plain(const dot_item *d) {
    return dot_way(d) == PTIR_f32 || dot_way(d) == PTIR_pairs;
}

/* Elements of k in `deep` words from word k on. */
static int64_t unit_elements(const dot_item *d, int64_t k, int64_t deep) {
    return dot_least(2 * deep, d->k - 2 * k);
}

/* Where part `cut` of k begins. */
INLINE int64_t unit_cut(int64_t units, int64_t cut, int64_t cuts) {
    return dot_least(units, dot_blocks(units, DOT_WORDS) * cut / cuts * DOT_WORDS);
}

/* Rows of x as units from unit k on. */
static void dot_pack_x(
    const dot_item *d, int64_t i, int64_t rows, int64_t k, int64_t deep, float *to, int64_t to_row
) {
    const dot_matrix *x = &d->x;
    if (d->pairs) {
        int64_t n = unit_elements(d, k, deep);
        for (int64_t r = 0; r < rows; r++)
            pairs_copy(to + r * to_row, dot_at(x, i + r, 2 * k), x->column, n);
        return;
    }
    if (x->column != 1 && x->row == 1) {
        dot_turn(to, to_row, dot_at(x, i, k), x->column, deep, rows, x->dtype);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        dot_widen(to + r * to_row, dot_at(x, i + r, k), x->column, deep, x->dtype);
}

/* Packed w from column j (the first of a panel) and unit k on. */
static const char *panel_at(const dot_item *d, int64_t j, int64_t k) {
    int64_t element = d->pairs ? 2 * k : k;
    return d->w.data + (j * d->k + element * DOT_PANEL) * ptir_bytes(d->w.dtype);
}
