/* Order along the last axis.
 *
 *   sort   flags (1 descending, 2 workspace), x, values, indices (si64), all [..., D], workspace
 *   top_k  flags (1 largest, 2 workspace), x [..., D], values, indices (si64) [..., k], workspace
 *
 * Stable: of equals the smaller index is first, in both directions. NaN is above anything and equal
 * to itself, -0 is equal to 0. All real types. D beyond ORDER_KEPT needs a workspace of 2 D
 * elements of 8 bytes without gaps, and one thread then does all the work. `values` is not x.
 *
 * Elements become entries: 32 bits of key in the order asked for, above 32 bits of index.
 */
#include "wide.h"

enum {
    ORDER_KEPT = PTIR_SCRATCH / 16, /* elements of a row whose entries fit in scratch, twice */
    ORDER_SHORT = 32,               /* entries that are sorted by insertion */
    ORDER_HELD = 128,               /* largest k that is kept in order while x is read */
    ORDER_DIGITS = 4,               /* bytes of a key */
};

enum { ORDER_DOWN = 1, ORDER_WORKSPACE = 2 };

typedef struct {
    ptir_tensor x, values, indices;
    uint64_t *entries, *spare;
    int last, down;
    int64_t length, kept; /* of x, and of the results */
} order_call;

/* --- keys --- */

static uint32_t order_of_f32(float x) {
    uint32_t bits;
    x = x == 0 ? 0.0f : x;
    memcpy(&bits, &x, sizeof bits);
    bits ^= (uint32_t)((int32_t)bits >> 31) | 0x80000000;
    return x == x ? bits : UINT32_MAX;
}

static uint64_t order_of_f64(double x) {
    uint64_t bits;
    x = x == 0 ? 0.0 : x;
    memcpy(&bits, &x, sizeof bits);
    bits ^= (uint64_t)((int64_t)bits >> 63) | 1ull << 63;
    return x == x ? bits : UINT64_MAX;
}

/* The keys of a chunk: `half` 0 is the low part of 64 bits, 1 the high one. */
static void order_keys(
    const order_call *c, uint32_t *keys, const char *from, int64_t step, int64_t n, int half
) {
    wide_chunk room;
    const void *x = wide_read(&room, from, step, c->x.dtype, n);
    const float *f32 = x;
    const double *f64 = x;
    const uint64_t *whole = x;
    int wide = wide_of(c->x.dtype), is_long = ptir_bytes(c->x.dtype) == 8;
    uint32_t flip = c->down ? UINT32_MAX : 0;
    uint64_t sign = wide != PTIR_si64 ? 0 : is_long ? 1ull << 63 : 1u << 31;
    int shift = is_long && half ? 32 : 0;
    if (wide == PTIR_f32)
        for (int64_t i = 0; i < n; i++) keys[i] = order_of_f32(f32[i]) ^ flip;
    else if (wide == PTIR_f64)
        for (int64_t i = 0; i < n; i++) keys[i] = (uint32_t)(order_of_f64(f64[i]) >> shift) ^ flip;
    else
        for (int64_t i = 0; i < n; i++) keys[i] = (uint32_t)((whole[i] ^ sign) >> shift) ^ flip;
}

static int order_halves(const order_call *c) { return ptir_bytes(c->x.dtype) == 8 ? 2 : 1; }

/* Entries of a row in the order of x, by the part of the keys that is sorted first. */
static void order_fill(const order_call *c, const char *from, int64_t step) {
    uint32_t keys[WIDE_CHUNK];
    for (int64_t i = 0; i < c->length; i += WIDE_CHUNK) {
        int64_t n = copy_least(c->length - i, WIDE_CHUNK);
        order_keys(c, keys, from + i * step, step, n, order_halves(c) == 1);
        for (int64_t j = 0; j < n; j++)
            c->entries[i + j] = (uint64_t)keys[j] << 32 | (uint64_t)(i + j);
    }
}

/* Entries in the order that they have, by the high part of their keys. */
static void order_refill(
    const order_call *c, uint64_t *entries, const char *from, int64_t step
) {
    for (int64_t i = 0; i < c->length; i++) {
        uint64_t index = entries[i] & UINT32_MAX;
        uint32_t key;
        order_keys(c, &key, from + (int64_t)index * step, step, 1, 1);
        entries[i] = (uint64_t)key << 32 | index;
    }
}

/* --- sorting --- */

static void order_insert(uint64_t *entries, int64_t n) {
    for (int64_t i = 1; i < n; i++) {
        uint64_t entry = entries[i];
        int64_t at = i;
        for (; at && entries[at - 1] >> 32 > entry >> 32; at--) entries[at] = entries[at - 1];
        entries[at] = entry;
    }
}

/* Sorts entries by their keys and keeps the order of equals: byte by byte from the lowest, without
 * those that all keys share. Returns which of the two rooms they end in. */
static uint64_t *order_sort(uint64_t *entries, uint64_t *spare, int64_t n) {
    uint32_t counts[ORDER_DIGITS][256] = {{0}};
    if (n <= ORDER_SHORT) {
        order_insert(entries, n);
        return entries;
    }
    for (int64_t i = 0; i < n; i++)
        for (int digit = 0; digit < ORDER_DIGITS; digit++)
            counts[digit][entries[i] >> (32 + 8 * digit) & 255]++;
    for (int digit = 0; digit < ORDER_DIGITS; digit++) {
        uint32_t *count = counts[digit], start = 0;
        int shift = 32 + 8 * digit;
        if (count[*entries >> shift & 255] == (uint32_t)n) continue;
        for (int value = 0; value < 256; value++) {
            uint32_t here = count[value];
            count[value] = start;
            start += here;
        }
        for (int64_t i = 0; i < n; i++) spare[count[entries[i] >> shift & 255]++] = entries[i];
        uint64_t *sorted = spare;
        spare = entries;
        entries = sorted;
    }
    return entries;
}

static const uint64_t *order_row(const order_call *c, const char *from, int64_t step) {
    order_fill(c, from, step);
    uint64_t *sorted = order_sort(c->entries, c->spare, c->length);
    if (order_halves(c) == 1) return sorted;
    order_refill(c, sorted, from, step);
    return order_sort(sorted, sorted == c->entries ? c->spare : c->entries, c->length);
}

/* The first `kept` entries in order, without sorting the others: whole entries are all different,
 * and the index in them decides between equals. */
static const uint64_t *order_best(const order_call *c, const char *from, int64_t step) {
    uint64_t *best = c->entries;
    uint32_t keys[WIDE_CHUNK], bound = UINT32_MAX;
    int64_t held = 0;
    for (int64_t i = 0; i < c->length; i += WIDE_CHUNK) {
        int64_t n = copy_least(c->length - i, WIDE_CHUNK);
        order_keys(c, keys, from + i * step, step, n, 1);
        for (int64_t j = 0; j < n; j++) {
            if (held == c->kept && keys[j] >= bound) continue;
            int64_t at = held < c->kept ? held++ : held - 1;
            for (; at && best[at - 1] >> 32 > keys[j]; at--) best[at] = best[at - 1];
            best[at] = (uint64_t)keys[j] << 32 | (uint64_t)(i + j);
            bound = (uint32_t)(best[held - 1] >> 32);
        }
    }
    return best;
}

/* --- rows --- */

static void order_one(const order_call *c, int64_t row) {
    int64_t step = index_step(&c->x, c->last), bytes = ptir_bytes(c->x.dtype);
    int64_t value_step = index_step(&c->values, c->last);
    int64_t index_by = index_step(&c->indices, c->last);
    const char *from = c->x.data + index_row(&c->x, c->last, c->x.size, row);
    char *value = c->values.data + index_row(&c->values, c->last, c->x.size, row);
    char *index = c->indices.data + index_row(&c->indices, c->last, c->x.size, row);
    int best = c->kept < c->length && c->kept <= ORDER_HELD && order_halves(c) == 1;
    const uint64_t *entries = best ? order_best(c, from, step) : order_row(c, from, step);
    for (int64_t i = 0; i < c->kept; i++) {
        int64_t at = (int64_t)(entries[i] & UINT32_MAX);
        *(copy_8 *)(index + i * index_by) = (uint64_t)at;
        copy_row(value + i * value_step, value_step, from + at * step, step, 1, bytes);
    }
}

static int order_open(order_call *c, const int64_t *words, char *const *base, char *scratch) {
    int64_t flags = words[0];
    ptir_tensor workspace;
    words = ptir_read(words + 1, base, &c->x);
    words = ptir_read(words, base, &c->values);
    words = ptir_read(words, base, &c->indices);
    c->last = c->x.rank - 1;
    c->down = (flags & ORDER_DOWN) != 0;
    c->length = c->x.size[c->last];
    c->kept = c->values.size[c->last];
    if (wide_of(c->x.dtype) < 0 || c->indices.dtype != PTIR_si64) return PTIR_REFUSED;
    if (c->kept > c->length || c->length > UINT32_MAX) return PTIR_REFUSED;
    c->entries = (uint64_t *)(void *)scratch;
    if (c->length > ORDER_KEPT) {
        if (!(flags & ORDER_WORKSPACE)) return PTIR_REFUSED;
        ptir_read(words, base, &workspace);
        if (ptir_count(&workspace) < 2 * c->length) return PTIR_REFUSED;
        c->entries = (uint64_t *)(void *)workspace.data;
    }
    c->spare = c->entries + c->length;
    return PTIR_OK;
}

static int order_rows(const int64_t *words, char *const *base, const ptir_team *team) {
    order_call c;
    if (order_open(&c, words, base, team->scratch)) return PTIR_REFUSED;
    int64_t count = ptir_count(&c.values), lo = 0, hi;
    if (!count) return PTIR_OK;
    hi = count / c.kept;
    if (c.length <= ORDER_KEPT) scan_share(team, hi, c.length, &lo, &hi);
    else if (team->id) hi = 0;
    for (; lo < hi; lo++) order_one(&c, lo);
    return PTIR_OK;
}

int PTIR_NAME(sort)(const int64_t *words, char *const *base, const ptir_team *team) {
    return order_rows(words, base, team);
}

int PTIR_NAME(top_k)(const int64_t *words, char *const *base, const ptir_team *team) {
    return order_rows(words, base, team);
}
