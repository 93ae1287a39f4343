/* Attention over keys and values that may lie in a cache.
 *
 *   attention  flags, scale, soft_cap (f64 bits), window, then tensors q, k, v, out and, as
 *              flagged, past, lengths, mask [B, Hq, T, S], workspace
 *
 * flags: 1 causal, 2 past, 4 lengths, 8 mask, 16 soft_cap, 32 window, 64 workspace. Few queries
 * share one long sequence among the threads if the workspace (f32, contiguous) has
 * B · Hq · T · ceil(S / 256) · (Dv + 2) elements; it is of no use for more than 8 queries.
 */
#include "attention.h"

#include "attention_row.h"

#include "attention_tile.h"

enum { ATTENTION_FEW = 8 }; /* queries that are computed row by row */

static attention_job attention_read(const int64_t *words, char *const *base) {
    attention_job a = {.flags = words[0], .window = attention_least(words[3], INT64_C(1) << 40)};
    a.scale = (float)ptir_double(words[1]);
    a.cap = (float)ptir_double(words[2]);
    words = ptir_read(words + 4, base, &a.q);
    words = ptir_read(words, base, &a.k);
    words = ptir_read(words, base, &a.v);
    words = ptir_read(words, base, &a.out);
    if (a.flags & ATTENTION_PAST) words = ptir_read(words, base, &a.past);
    if (a.flags & ATTENTION_LENGTHS) words = ptir_read(words, base, &a.lengths);
    if (a.flags & ATTENTION_MASK) words = ptir_read(words, base, &a.mask);
    if (a.flags & ATTENTION_WORKSPACE) ptir_read(words, base, &a.workspace);
    a.batch = a.q.size[0], a.queries = a.q.size[2], a.depth = a.q.size[3];
    a.groups = a.k.size[1], a.keys = a.k.size[2], a.depth_v = a.v.size[3];
    a.per_group = a.groups ? a.q.size[1] / a.groups : 0;
    return a;
}

/* --- few queries: parts of each sequence --- */

static attention_range split_chunks(const attention_job *a, int64_t b) {
    attention_range keys = attention_sees_any(a, b, 0, a->queries - 1);
    return (attention_range){keys.lo / ROW_CHUNK, (keys.hi + ROW_CHUNK - 1) / ROW_CHUNK};
}

/* Where the part of a chunk for one head and query lies. */
static float *split_at(
    const attention_job *a, int64_t b, int64_t group, int64_t chunk, int64_t query, int64_t head
) {
    int64_t chunks = (a->keys + ROW_CHUNK - 1) / ROW_CHUNK;
    int64_t at = (b * a->groups + group) * chunks + chunk;
    at = (at * a->queries + query) * a->per_group + head;
    return (float *)a->workspace.data + at * (a->depth_v + 2);
}

static void split_chunk(
    const attention_job *a, int64_t b, int64_t group, int64_t chunk, const row_scratch *m
) {
    for (int64_t query = 0; query < a->queries; query++) {
        attention_range keys = row_within(attention_sees(a, b, query), chunk);
        for (int64_t h = 0; h < a->per_group; h += ROW_HEADS)
            row_part(a, b, group * a->per_group + h, attention_least(a->per_group - h, ROW_HEADS),
                     query, keys, m, split_at(a, b, group, chunk, query, h));
    }
}

static void split_merge(
    const attention_job *a, int64_t b, int64_t head, int64_t query, const row_scratch *m
) {
    attention_range chunks = split_chunks(a, b);
    int64_t group = head / a->per_group, within = head % a->per_group;
    row_start(m->state, a->depth_v);
    for (int64_t c = chunks.lo; c < chunks.hi; c++)
        row_merge(m->state, split_at(a, b, group, c, query, within), a->depth_v);
    row_finish(a, b, head, query, m->state);
}

static void split_chunks_of(const attention_job *a, const ptir_team *team, const row_scratch *m) {
    int64_t items = 0, lo, hi;
    for (int64_t b = 0; b < a->batch; b++) {
        attention_range chunks = split_chunks(a, b);
        items += a->groups * (chunks.hi - chunks.lo);
    }
    ptir_share(team, items, 1, &lo, &hi);
    for (int64_t b = 0, item = 0; b < a->batch; b++) {
        attention_range chunks = split_chunks(a, b);
        for (int64_t g = 0; g < a->groups; g++)
            for (int64_t c = chunks.lo; c < chunks.hi; c++, item++)
                if (item >= lo && item < hi) split_chunk(a, b, g, c, m);
    }
}

/* Chunks first, then rows from all of their chunks. */
static int attention_split(const attention_job *a, const ptir_team *team) {
    row_scratch m = row_memory(a, team);
    int64_t lo, hi, heads = a->groups * a->per_group;
    if (!team->phase) {
        split_chunks_of(a, team, &m);
        return PTIR_AGAIN;
    }
    ptir_share(team, a->batch * heads * a->queries, 1, &lo, &hi);
    for (int64_t i = lo; i < hi; i++)
        split_merge(a, i / a->queries / heads, i / a->queries % heads, i % a->queries, &m);
    return PTIR_OK;
}

/* --- rows and tiles: each is one thread's --- */

static void attention_rows(const attention_job *a, const ptir_team *team) {
    row_scratch m = row_memory(a, team);
    int64_t pieces = (a->per_group + ROW_HEADS - 1) / ROW_HEADS, lo, hi;
    ptir_share(team, a->batch * a->groups * pieces * a->queries, 1, &lo, &hi);
    for (int64_t i = lo; i < hi; i++) {
        int64_t query = i % a->queries, piece = i / a->queries % pieces;
        int64_t group = i / a->queries / pieces, h = piece * ROW_HEADS;
        row_attend(a, group / a->groups, group % a->groups * a->per_group + h,
                   attention_least(a->per_group - h, ROW_HEADS), query, &m);
    }
}

/* The work of a block of rows: the keys that it reads, and one for its own setup. */
static int64_t attention_cost(const attention_job *a, int64_t b, int64_t row) {
    int64_t last = attention_least(row + TILE_ROWS, a->queries * a->per_group) - 1;
    attention_range keys =
        attention_sees_any(a, b, row / a->per_group, last / a->per_group);
    return (last - row + 1) * (keys.hi - keys.lo + 1);
}

/* Blocks of rows in order; each thread takes those whose middle falls into its part of the cost. */
static void attention_tiles(
    const attention_job *a, const ptir_team *team, const tile_scratch *m, const row_scratch *rows
) {
    int64_t total = 0, done = 0, all = a->queries * a->per_group;
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t row = 0; row < all; row += TILE_ROWS)
            total += a->groups * attention_cost(a, b, row);
    for (int64_t b = 0; b < a->batch; b++)
        for (int64_t group = 0; group < a->groups; group++)
            for (int64_t row = 0; row < all; row += TILE_ROWS) {
                int64_t cost = attention_cost(a, b, row);
                double middle = (double)done + 0.5 * (double)cost;
                done += cost;
                if ((int)(middle / (double)total * team->size) == team->id)
                    tile_attend(a, b, group, row, m, rows);
            }
}

int PTIR_NAME(attention)(const int64_t *words, char *const *base, const ptir_team *team) {
    attention_job a = attention_read(words, base);
    if (!ptir_count(&a.out)) return PTIR_OK;
    if (!row_fits(&a) || a.keys > INT32_MAX) return PTIR_REFUSED;
    row_scratch rows = row_memory(&a, team);
    if (a.queries <= ATTENTION_FEW) {
        if (a.flags & ATTENTION_WORKSPACE) return attention_split(&a, team);
        attention_rows(&a, team);
    } else if (tile_fits(&a, team, &rows)) {
        tile_scratch m = tile_memory(&a, team, &rows);
        attention_tiles(&a, team, &m, &rows);
    } else {
        attention_rows(&a, team);
    }
    return PTIR_OK;
}
