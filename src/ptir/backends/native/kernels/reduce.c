/* Reductions.
 *
 *   reduce  kind, accum, axes, x [kept..., reduced...], out [kept...], then if flagged workspace
 *
 * kind: 0 sum, 1 product, 2 max, 3 min, 4 and, 5 or, plus REDUCE_PARTS if there is a workspace.
 * accum: the dtype in which sums and products accumulate, before they are cast to that of `out`.
 * axes: how many trailing axes of x are reduced. workspace: 8-byte elements without gaps, [parts,
 * count of out]: the reduced axes are cut in so many parts, for threads to share. All real types.
 *
 * Floats are summed in f64 and rounded to `accum` once.
 */
#include "wide.h"

#include <stdlib.h>

enum { REDUCE_PARTS = 1 << 8, REDUCE_FEW = 16, REDUCE_NARROWEST = 64 };

/* One axis of nested loops; strides in bytes. */
typedef struct {
    int64_t size, x, out;
} reduce_axis;

typedef struct {
    int count;
    reduce_axis axis[PTIR_MAX_RANK + 1];
} reduce_loop;

typedef struct {
    ptir_tensor x, out;
    int64_t kind, outputs, reduced, parts, width; /* width: of a block of columns, or 0 */
    int accum, clamps;
    const wide_fold *fold;
    reduce_loop kept, over;
    char *workspace;
} reduce_call;

/* --- loops --- */

/* Appends an axis before all that take smaller steps through x. */
static void reduce_put(reduce_loop *loop, reduce_axis axis) {
    if (axis.size == 1) return;
    int at = loop->count++;
    for (; at && llabs(loop->axis[at - 1].x) < llabs(axis.x); at--)
        loop->axis[at] = loop->axis[at - 1];
    loop->axis[at] = axis;
}

/* Joins neighbours that one loop can walk; leaves one axis at least. */
static void reduce_join(reduce_loop *loop) {
    int to = 0;
    for (int i = 1; i < loop->count; i++) {
        reduce_axis *outer = &loop->axis[to], inner = loop->axis[i];
        if (outer->x == inner.x * inner.size && outer->out == inner.out * inner.size)
            *outer = (reduce_axis){outer->size * inner.size, inner.x, inner.out};
        else loop->axis[++to] = inner;
    }
    if (!loop->count) loop->axis[0] = (reduce_axis){1, 0, 0};
    loop->count = to + 1;
}

static void reduce_plan(reduce_call *c, int axes) {
    int kept = c->x.rank - axes;
    for (int i = 0; i < c->x.rank; i++) {
        reduce_axis axis = {c->x.size[i], index_step(&c->x, i), 0};
        if (i < kept) axis.out = index_step(&c->out, i);
        reduce_put(i < kept ? &c->kept : &c->over, axis);
    }
    reduce_join(&c->kept);
    reduce_join(&c->over);
}

static reduce_axis *reduce_last(reduce_loop *loop) { return &loop->axis[loop->count - 1]; }

/* Where step `number` of the loops outside the last one is, in x or in out. */
static int64_t reduce_at(const reduce_loop *loop, int64_t number, int of_out) {
    int64_t at = 0;
    for (int i = loop->count - 2; i >= 0 && number; i--) {
        const reduce_axis *axis = &loop->axis[i];
        at += number % axis->size * (of_out ? axis->out : axis->x);
        number /= axis->size;
    }
    return at;
}

/* --- reading --- */

/* n elements of x, at most WIDE_CHUNK. An integer that is no number of `accum` becomes the nearest
 * one: they differ in sign. */
static const void *reduce_read(
    const reduce_call *c, wide_chunk *room, const char *from, int64_t step, int64_t n
) {
    if (!c->clamps) return wide_read(room, from, step, c->x.dtype, n);
    wide_load(room, from, step, c->x.dtype, n);
    for (int64_t i = 0; i < n; i++)
        room->si64[i] = wide_nearest(room->si64[i], wide_is_signed(c->x.dtype), c->accum);
    return room;
}

/* Steps [lo, hi) of the reduced loops into one total. */
static void reduce_row(
    reduce_call *c, const char *x, int64_t lo, int64_t hi, void *total
) {
    const reduce_axis *inner = reduce_last(&c->over);
    wide_chunk room;
    while (lo < hi) {
        int64_t at = lo % inner->size;
        const char *from = x + reduce_at(&c->over, lo / inner->size, 0) + at * inner->x;
        int64_t end = copy_least(hi, lo - at + inner->size);
        for (; lo < end; lo += WIDE_CHUNK, from += WIDE_CHUNK * inner->x) {
            int64_t n = copy_least(end - lo, WIDE_CHUNK);
            c->fold->row(total, reduce_read(c, &room, from, inner->x, n), n);
        }
        lo = end;
    }
}

/* Whether n elements of each of some rows can be combined where they lie. */
static int reduce_lies(
    const reduce_call *c, const char *from, int64_t step, int64_t row_step, int64_t n
) {
    return !c->clamps && combine_lies(from, step, c->x.dtype, n) &&
           row_step % ptir_bytes(c->x.dtype) == 0;
}

/* The same for n neighbours on the last kept axis, each with its total. */
static void reduce_columns(
    reduce_call *c, const char *x, int64_t n, int64_t lo, int64_t hi, void *totals
) {
    const reduce_axis *inner = reduce_last(&c->over);
    int64_t step = reduce_last(&c->kept)->x;
    wide_chunk room;
    while (lo < hi) {
        int64_t at = lo % inner->size;
        const char *from = x + reduce_at(&c->over, lo / inner->size, 0) + at * inner->x;
        int64_t end = copy_least(hi, lo - at + inner->size);
        if (reduce_lies(c, from, step, inner->x, n)) {
            c->fold->column(totals, from, n, inner->x, end - lo);
            lo = end;
        }
        for (; lo < end; lo++, from += inner->x)
            c->fold->column(totals, reduce_read(c, &room, from, step, n), n, 0, 1);
    }
}

/* --- tasks --- */

/* Outputs are made in blocks: one, or neighbours on the last kept axis. */
static int64_t reduce_blocks(reduce_call *c) {
    int64_t inner = reduce_last(&c->kept)->size;
    return c->width ? c->outputs / inner * ((inner + c->width - 1) / c->width) : c->outputs;
}

/* Whether the vector runs along the kept axis: where that lies closer, or few are reduced. */
static int reduce_in_columns(reduce_call *c) {
    const reduce_axis *kept = reduce_last(&c->kept), *over = reduce_last(&c->over);
    if (kept->size < REDUCE_FEW) return 0;
    return c->reduced < REDUCE_FEW || (kept->x && llabs(kept->x) < llabs(over->x));
}

/* How wide a block is changes no total, so it may depend on the team. */
static void reduce_choose(reduce_call *c, const ptir_team *team) {
    if (!reduce_in_columns(c)) return;
    c->width = WIDE_CHUNK;
    while (c->width > REDUCE_NARROWEST && reduce_blocks(c) * c->parts < team->size) c->width /= 2;
}

static void reduce_task(reduce_call *c, int64_t block, int64_t part) {
    const reduce_axis *kept = reduce_last(&c->kept);
    int64_t width = c->width ? c->width : 1, n = 1;
    int64_t across = (kept->size + width - 1) / width;
    int64_t outer = block / across, first = block % across * width;
    int64_t lo = c->reduced / c->parts * part, hi = lo + c->reduced / c->parts;
    if (part == c->parts - 1) hi = c->reduced;
    if (c->width) n = copy_least(width, kept->size - first);
    const char *x = c->x.data + reduce_at(&c->kept, outer, 0) + first * kept->x;
    wide_chunk totals;
    wide_identity(&totals, c->kind, c->fold->total, c->x.dtype, n);
    if (c->width) reduce_columns(c, x, n, lo, hi, &totals);
    else reduce_row(c, x, lo, hi, &totals);
    if (c->workspace) {
        int64_t bytes = ptir_bytes(c->fold->total), at = outer * kept->size + first;
        memcpy(c->workspace + (part * c->outputs + at) * bytes, &totals, (size_t)(n * bytes));
        return;
    }
    char *to = c->out.data + reduce_at(&c->kept, outer, 1) + first * kept->out;
    wide_store(to, kept->out, c->out.dtype, c->accum, &totals, c->fold->total, n);
}

/* Outputs [lo, hi) out of their parts. */
static void reduce_gather(reduce_call *c, int64_t lo, int64_t hi) {
    const reduce_axis *kept = reduce_last(&c->kept);
    const wide_fold *fold = wide_fold_of(c->kind, c->fold->total);
    int64_t bytes = ptir_bytes(fold->total);
    wide_chunk totals;
    while (lo < hi) {
        int64_t at = lo % kept->size;
        int64_t n = copy_least(copy_least(hi - lo, kept->size - at), WIDE_CHUNK);
        wide_identity(&totals, c->kind, fold->total, c->x.dtype, n);
        fold->column(&totals, c->workspace + lo * bytes, n, c->outputs * bytes, c->parts);
        char *to = c->out.data + reduce_at(&c->kept, lo / kept->size, 1) + at * kept->out;
        wide_store(to, kept->out, c->out.dtype, c->accum, &totals, fold->total, n);
        lo += n;
    }
}

/* --- the kernel --- */

static int reduce_open(reduce_call *c, const int64_t *words, char *const *base) {
    ptir_tensor workspace;
    int64_t kind = words[0];
    c->kind = kind & ~(int64_t)REDUCE_PARTS;
    c->accum = (int)words[1];
    int axes = (int)words[2], sums = c->kind == WIDE_SUM || c->kind == WIDE_PROD;
    words = ptir_read(words + 3, base, &c->x);
    words = ptir_read(words, base, &c->out);
    c->fold = wide_fold_of(c->kind, wide_of(c->x.dtype));
    if (!c->fold) return PTIR_REFUSED;
    if (!sums) c->accum = c->fold->total; /* nothing is rounded, nothing wraps around */
    if (wide_is_float(c->x.dtype) != wide_is_float(c->out.dtype) ||
        wide_is_float(c->x.dtype) != wide_is_float(c->accum))
        return PTIR_REFUSED;
    c->clamps = sums && wide_is_signed(c->x.dtype) != wide_is_signed(c->accum);
    c->outputs = ptir_count(&c->out);
    c->reduced = 1;
    for (int i = c->x.rank - axes; i < c->x.rank; i++) c->reduced *= c->x.size[i];
    c->parts = 1;
    if (kind & REDUCE_PARTS && c->outputs) {
        ptir_read(words, base, &workspace);
        c->workspace = workspace.data;
        c->parts = ptir_count(&workspace) / c->outputs;
        if (c->parts < 1) return PTIR_REFUSED;
    }
    if (c->outputs) reduce_plan(c, axes);
    return PTIR_OK;
}

/* The share of `count` things that is this call's; few and small ones are all the first one's. */
static void reduce_share(const ptir_team *team, int alone, int64_t count, int64_t *lo, int64_t *hi) {
    if (!alone) {
        ptir_share(team, count, 1, lo, hi);
        return;
    }
    *lo = 0;
    *hi = team->id ? 0 : count;
}

int PTIR_NAME(reduce)(const int64_t *words, char *const *base, const ptir_team *team) {
    reduce_call c = {0};
    int64_t lo, hi;
    if (reduce_open(&c, words, base)) return PTIR_REFUSED;
    if (!c.outputs) return PTIR_OK;
    int alone = c.outputs * (c.reduced + 1) < INDEX_ALONE;
    reduce_choose(&c, team);
    if (!team->phase) {
        reduce_share(team, alone, reduce_blocks(&c) * c.parts, &lo, &hi);
        for (; lo < hi; lo++) reduce_task(&c, lo / c.parts, lo % c.parts);
        return c.workspace ? PTIR_AGAIN : PTIR_OK;
    }
    reduce_share(team, alone, c.outputs, &lo, &hi);
    reduce_gather(&c, lo, hi);
    return PTIR_OK;
}
