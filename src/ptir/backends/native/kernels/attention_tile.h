/* Attention for many queries: blocks of rows against blocks of keys, with a running maximum and
 * total for each row (Milakov and Gimelshein 2018; Dao et al. 2022).
 *
 * Rows lie in the lanes. Both products then have the same form, `c[m][lanes] = Σ a[m] · b[lanes]`:
 * scores[key] = Σ_d k[key][d] · q[d], mixed[d] = Σ_key v[key][d] · weights[key]. No sum and no
 * maximum runs across lanes, and k and v need no transpose.
 */
enum {
    TILE_LANES = 2 * VL,
    TILE_BLOCKS = 192 / TILE_LANES, /* blocks of lanes that share a tile of keys */
    TILE_ROWS = TILE_BLOCKS * TILE_LANES,
    TILE_KEYS = 60, /* a multiple of TILE_M; keys and values of a head of 64 fit in 32 KiB */
    TILE_M = 6,     /* rows of a product in registers */
};

typedef struct {
    float *q, *mixed, *top, *total, *k, *v, *weight;
} tile_scratch;

static int tile_fits(const attention_job *a, const ptir_team *team, const row_scratch *m) {
    int64_t floats = (TILE_ROWS + TILE_KEYS) * (a->depth + a->depth_v) + 2 * TILE_ROWS +
                     TILE_KEYS * TILE_LANES + 64;
    return (char *)(m->end + floats) <= team->scratch + PTIR_SCRATCH;
}

static tile_scratch tile_memory(
    const attention_job *a, const ptir_team *team, const row_scratch *rows
) {
    int64_t used = attention_up((char *)rows->end - team->scratch, 64);
    tile_scratch m;
    m.q = (float *)(team->scratch + used);
    m.mixed = m.q + TILE_ROWS * a->depth;
    m.top = m.mixed + TILE_ROWS * a->depth_v;
    m.total = m.top + TILE_ROWS;
    m.weight = m.total + TILE_ROWS;
    m.k = m.weight + TILE_KEYS * TILE_LANES;
    m.v = m.k + TILE_KEYS * a->depth;
    return m;
}

/* --- products --- */

/* c[i] = keep · c[i] + Σ_n a[i · row + n · step] · b[n] for i < m; keep NULL: without c. */
INLINE void tile_product_block(
    int m, int64_t n, const float *a, int64_t row, int64_t step, const float *b, float *c,
    const vf *keep
) {
    vf sum[TILE_M][2];
    for (int i = 0; i < m; i++)
        for (int v = 0; v < 2; v++)
            sum[i][v] = keep ? keep[v] * vf_load(c + i * TILE_LANES + v * VL) : (vf){0};
    for (; n; n--, a += step, b += TILE_LANES) {
        vf b0 = vf_load(b), b1 = vf_load(b + VL);
        for (int i = 0; i < m; i++) {
            vf x = vf_set(a[i * row]);
            sum[i][0] += x * b0;
            sum[i][1] += x * b1;
        }
    }
    for (int i = 0; i < m; i++)
        for (int v = 0; v < 2; v++) vf_store(c + i * TILE_LANES + v * VL, sum[i][v]);
}

INLINE void tile_product(
    int64_t m, int64_t n, const float *a, int64_t row, int64_t step, const float *b, float *c,
    const vf *keep
) {
    for (; m >= TILE_M; m -= TILE_M, a += TILE_M * row, c += TILE_M * TILE_LANES)
        tile_product_block(TILE_M, n, a, row, step, b, c, keep);
    switch (m) {
    case 5: tile_product_block(5, n, a, row, step, b, c, keep); break;
    case 4: tile_product_block(4, n, a, row, step, b, c, keep); break;
    case 3: tile_product_block(3, n, a, row, step, b, c, keep); break;
    case 2: tile_product_block(2, n, a, row, step, b, c, keep); break;
    case 1: tile_product_block(1, n, a, row, step, b, c, keep); break;
    default: break;
    }
}

static void tile_scores(int64_t keys, int64_t depth, const float *k, const float *q, float *to) {
    tile_product(keys, depth, k, depth, 1, q, to, NULL);
}

static void tile_mix(
    int64_t depth, int64_t keys, const float *v, const float *weight, float *mixed, const vf *keep
) {
    tile_product(depth, keys, v, 1, depth, weight, mixed, keep);
}

/* --- a block of lanes: its rows, and what they see --- */

typedef struct {
    const attention_job *job;
    int64_t b, group, rows;         /* rows of the group */
    int64_t first;                  /* row in lane 0; lanes behind the last row repeat it */
    vi lo[2], hi[2];                /* keys that each lane sees */
    attention_range some, all;      /* keys that some lane and that every lane sees */
    float *q, *mixed, *top, *total; /* of these lanes */
} tile_block;

static int64_t tile_row(const tile_block *t, int lane) {
    return attention_least(t->first + lane, t->rows - 1);
}

static const char *tile_at(const tile_block *t, const ptir_tensor *x, int lane, int64_t key) {
    int64_t row = tile_row(t, lane), per_group = t->job->per_group;
    return attention_at(x, t->b, t->group * per_group + row % per_group, row / per_group, key);
}

static void tile_see(tile_block *t) {
    int32_t lo[TILE_LANES], hi[TILE_LANES];
    t->some = (attention_range){INT32_MAX, 0};
    t->all = (attention_range){0, INT32_MAX};
    for (int i = 0; i < TILE_LANES; i++) {
        attention_range seen = attention_sees(t->job, t->b, tile_row(t, i) / t->job->per_group);
        lo[i] = (int32_t)seen.lo, hi[i] = (int32_t)seen.hi;
        if (seen.lo < seen.hi) t->some.lo = attention_least(t->some.lo, seen.lo);
        t->some.hi = attention_most(t->some.hi, seen.hi);
        t->all.lo = attention_most(t->all.lo, seen.lo);
        t->all.hi = attention_least(t->all.hi, seen.hi);
    }
    memcpy(t->lo, lo, sizeof lo);
    memcpy(t->hi, hi, sizeof hi);
}

/* q[d][lane], scaled. */
static void tile_load_queries(const tile_block *t) {
    const ptir_tensor *q = &t->job->q;
    for (int part = 0; part < TILE_LANES; part += VL) {
        const char *row[VL];
        int64_t d = 0, depth = t->job->depth;
        for (int i = 0; i < VL; i++) row[i] = tile_at(t, q, part + i, 0);
        if (q->stride[3] == 1)
            for (; d + VL <= depth; d += VL) {
                vf x[VL];
                for (int i = 0; i < VL; i++)
                    x[i] = vf_load_as(row[i], d, q->dtype) * t->job->scale;
                vf_transpose(x);
                for (int i = 0; i < VL; i++) vf_store(t->q + (d + i) * TILE_LANES + part, x[i]);
            }
        for (; d < depth; d++)
            for (int i = 0; i < VL; i++)
                t->q[d * TILE_LANES + part + i] =
                    load_as(row[i], d * q->stride[3], q->dtype) * t->job->scale;
    }
}

static void tile_start(tile_block *t) {
    tile_see(t);
    tile_load_queries(t);
    memset(t->mixed, 0, (size_t)(t->job->depth_v * TILE_LANES) * 4);
    memset(t->total, 0, TILE_LANES * 4);
    for (int i = 0; i < TILE_LANES; i++) t->top[i] = -INFINITY;
}

/* Divides by the totals; lanes in which anything is not finite are marked. */
static void tile_divide(const tile_block *t, float *marked) {
    for (int part = 0; part < TILE_LANES; part += VL) {
        vf total = vf_load(t->total + part), zero = {0};
        total = vf_select(total == 0, zero + 1, total);
        for (int64_t d = 0; d < t->job->depth_v; d++) {
            float *at = t->mixed + d * TILE_LANES + part;
            vf x = vf_load(at) / total;
            vf_store(at, x);
            zero += x * 0;
        }
        vf_store(marked + part, zero);
    }
}

static void tile_store(const tile_block *t) {
    const ptir_tensor *out = &t->job->out;
    for (int part = 0; part < TILE_LANES; part += VL) {
        int64_t d = 0, depth = t->job->depth_v;
        int64_t rows = attention_least(t->rows - t->first - part, VL);
        char *row[VL];
        for (int i = 0; i < rows; i++) row[i] = (char *)tile_at(t, out, part + i, 0);
        if (out->stride[3] == 1)
            for (; d + VL <= depth; d += VL) {
                vf x[VL];
                for (int i = 0; i < VL; i++)
                    x[i] = vf_load(t->mixed + (d + i) * TILE_LANES + part);
                vf_transpose(x);
                for (int i = 0; i < rows; i++) vf_store_as(row[i], d, out->dtype, x[i]);
            }
        for (; d < depth; d++)
            for (int i = 0; i < rows; i++)
                store_as(row[i], d * out->stride[3], out->dtype,
                         t->mixed[d * TILE_LANES + part + i]);
    }
}

/* A weight of zero does not silence a NaN or an infinity that a row must not see and another row of
 * its block sees: such rows are computed once more, from their own keys alone. */
static void tile_finish(const tile_block *t, const row_scratch *m) {
    float marked[TILE_LANES];
    int64_t per_group = t->job->per_group;
    tile_divide(t, marked);
    tile_store(t);
    for (int i = 0; i < TILE_LANES && t->first + i < t->rows; i++)
        if (marked[i] != 0)
            row_attend(t->job, t->b, t->group * per_group + (t->first + i) % per_group, 1,
                       (t->first + i) / per_group, m);
}

/* --- one tile of keys --- */

static void tile_add_mask(const tile_block *t, int64_t key, int64_t count, float *score) {
    const ptir_tensor *mask = &t->job->mask;
    for (int lane = 0; lane < TILE_LANES; lane++) {
        const char *row = tile_at(t, mask, lane, key);
        for (int64_t i = 0; i < count; i++)
            score[i * TILE_LANES + lane] += load_as(row, i * mask->stride[3], mask->dtype);
    }
}

static void tile_hide(const tile_block *t, int64_t key, int64_t count, float *score) {
    for (int64_t i = 0; i < count; i++, score += TILE_LANES)
        for (int v = 0; v < 2; v++) {
            vi at = (vi){0} + (int32_t)(key + i);
            vi seen = (at >= t->lo[v]) & (at < t->hi[v]);
            vf_store(score + v * VL, vf_select(seen, vf_load(score + v * VL), vf_set(-INFINITY)));
        }
}

static void tile_adjust(const tile_block *t, int64_t key, int64_t count, float *score) {
    const attention_job *a = t->job;
    if (a->flags & ATTENTION_CAP)
        for (int64_t i = 0; i < count * TILE_LANES; i += VL)
            vf_store(score + i, attention_capped(vf_load(score + i), a->cap));
    if (a->flags & ATTENTION_MASK) tile_add_mask(t, key, count, score);
    if (key < t->all.lo || key + count > t->all.hi) tile_hide(t, key, count, score);
}

/* Turns scores into weights and updates maxima and totals; what is mixed so far shrinks by keep. */
static void tile_weigh(const tile_block *t, int64_t count, float *score, vf *keep) {
    vf top[2], total[2];
    for (int v = 0; v < 2; v++) top[v] = vf_load(t->top + v * VL);
    for (int64_t i = 0; i < count; i++)
        for (int v = 0; v < 2; v++)
            top[v] = vf_higher(vf_load(score + i * TILE_LANES + v * VL), top[v]);
    for (int v = 0; v < 2; v++) {
        vf was = vf_load(t->top + v * VL);
        vf_store(t->top + v * VL, top[v]);
        top[v] = attention_finite(top[v]);
        keep[v] = attention_exp(was - top[v]);
        total[v] = vf_load(t->total + v * VL) * keep[v];
    }
    for (int64_t i = 0; i < count; i++)
        for (int v = 0; v < 2; v++) {
            vf e = attention_exp(vf_load(score + i * TILE_LANES + v * VL) - top[v]);
            vf_store(score + i * TILE_LANES + v * VL, e);
            total[v] += e;
        }
    for (int v = 0; v < 2; v++) vf_store(t->total + v * VL, total[v]);
}

static void tile_step(const tile_block *t, const tile_scratch *m, int64_t key, int64_t count) {
    const attention_job *a = t->job;
    int64_t lo = attention_most(key, t->some.lo), hi = attention_least(key + count, t->some.hi);
    if (lo >= hi) return;
    vf keep[2];
    const float *k = m->k + (lo - key) * a->depth, *v = m->v + (lo - key) * a->depth_v;
    tile_scores(hi - lo, a->depth, k, t->q, m->weight);
    tile_adjust(t, lo, hi - lo, m->weight);
    tile_weigh(t, hi - lo, m->weight, keep);
    tile_mix(a->depth_v, hi - lo, v, m->weight, t->mixed, keep);
}

static void tile_load(
    const tile_block *t, const ptir_tensor *x, int64_t key, int64_t count, float *to
) {
    for (int64_t i = 0; i < count; i++)
        attention_widen(to + i * x->size[3], 0, attention_at(x, t->b, t->group, key + i, 0),
                        x->stride[3], x->size[3], x->dtype, 1);
}

/* Rows first .. of one key head, TILE_ROWS at most. */
static void tile_attend(
    const attention_job *a, int64_t b, int64_t group, int64_t first, const tile_scratch *m,
    const row_scratch *rows
) {
    tile_block block[TILE_BLOCKS];
    int64_t all = a->queries * a->per_group, count = 0;
    attention_range keys = {INT64_MAX, 0};
    for (; count < TILE_BLOCKS && first + count * TILE_LANES < all; count++) {
        int64_t at = count * TILE_LANES;
        tile_block *t = &block[count];
        *t = (tile_block){.job = a, .b = b, .group = group, .rows = all, .first = first + at};
        t->q = m->q + at * a->depth, t->mixed = m->mixed + at * a->depth_v;
        t->top = m->top + at, t->total = m->total + at;
        tile_start(t);
        keys.lo = attention_least(keys.lo, t->some.lo);
        keys.hi = attention_most(keys.hi, t->some.hi);
    }
    for (int64_t key = keys.lo; key < keys.hi; key += TILE_KEYS) {
        int64_t n = attention_least(keys.hi - key, TILE_KEYS);
        tile_load(block, &a->k, key, n, m->k);
        tile_load(block, &a->v, key, n, m->v);
        for (int64_t i = 0; i < count; i++) tile_step(&block[i], m, key, n);
    }
    for (int64_t i = 0; i < count; i++) tile_finish(&block[i], rows);
}
