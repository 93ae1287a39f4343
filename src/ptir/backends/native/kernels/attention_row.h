/* Attention for the rows of one query at a time: every key and value is read once for all heads of
 * its group. Up to 8 heads stand side by side; scores are [key][head], so that the lanes of a
 * vector repeat the heads and no sum runs across a row.
 *
 * What a row has seen so far is (maximum, total, mixed[Dv]); two such parts merge into one.
 */
enum {
    ROW_CHUNK = 256, /* keys of one part: fixed, so that no result depends on the team */
    ROW_HEADS = 8,
    ROW_SUMS = VL == 16 ? 16 : 8, /* that registers hold */
    ROW_LINE = 64, /* bytes that memory gives at once */
    ROW_STEP = 32, /* keys between two visits of the running sums */
    ROW_AHEAD = 16 << 10, /* bytes of keys or values from what is read to what is asked for */
    ROW_LANES = VL < ROW_HEADS ? ROW_HEADS : VL,
};

/* Memory of one thread. Rows are filled up with zeros to whole vectors. */
typedef struct {
    int64_t depth, depth_v; /* of the rows below */
    float *q, *score, *mixed, *tile, *state, *part, *end;
} row_scratch;

static int row_fits(const attention_job *a) {
    int64_t d = attention_up(a->depth, VL), v = attention_up(a->depth_v, VL);
    int64_t floats = ROW_CHUNK * ROW_HEADS + ROW_HEADS * (d + v + 2 * (a->depth_v + 2)) + 64;
    return a->depth < 1 << 20 && a->depth_v < 1 << 20 &&
           (floats + ROW_STEP * attention_most(d, v)) * 4 <= PTIR_SCRATCH;
}

static row_scratch row_memory(const attention_job *a, const ptir_team *team) {
    row_scratch m = {.depth = attention_up(a->depth, VL), .depth_v = attention_up(a->depth_v, VL)};
    m.score = (float *)team->scratch;
    m.q = m.score + ROW_CHUNK * ROW_HEADS + ROW_LANES;
    m.mixed = m.q + ROW_HEADS * m.depth;
    m.tile = m.mixed + ROW_HEADS * m.depth_v;
    m.state = m.tile + ROW_STEP * attention_most(m.depth, m.depth_v);
    m.part = m.state + ROW_HEADS * (a->depth_v + 2);
    m.end = m.part + ROW_HEADS * (a->depth_v + 2);
    return m;
}

/* --- scores --- */

/* The sums of ROW_SUMS vectors, in order. */
#if VL == 4
#define ROW_PAIRS(x, y)                                                                            \
    (__builtin_shufflevector(x, y, 0, 1, 4, 5) + __builtin_shufflevector(x, y, 2, 3, 6, 7))
#define ROW_ALL(x, y)                                                                              \
    (__builtin_shufflevector(x, y, 0, 2, 4, 6) + __builtin_shufflevector(x, y, 1, 3, 5, 7))
INLINE void row_sums(const vf *s, float *to) {
    for (int i = 0; i < 8; i += 4)
        vf_store(to + i, ROW_ALL(ROW_PAIRS(s[i], s[i + 1]), ROW_PAIRS(s[i + 2], s[i + 3])));
}
#elif VL == 8
#define ROW_HALVES(x, y)                                                                           \
    (__builtin_shufflevector(x, y, 0, 1, 2, 3, 8, 9, 10, 11) +                                     \
     __builtin_shufflevector(x, y, 4, 5, 6, 7, 12, 13, 14, 15))
#define ROW_PAIRS(x, y)                                                                            \
    (__builtin_shufflevector(x, y, 0, 1, 8, 9, 4, 5, 12, 13) +                                     \
     __builtin_shufflevector(x, y, 2, 3, 10, 11, 6, 7, 14, 15))
INLINE void row_sums(const vf *s, float *to) {
    vf x = ROW_PAIRS(ROW_HALVES(s[0], s[4]), ROW_HALVES(s[1], s[5]));
    vf y = ROW_PAIRS(ROW_HALVES(s[2], s[6]), ROW_HALVES(s[3], s[7]));
    vf_store(to, __builtin_shufflevector(x, y, 0, 2, 8, 10, 4, 6, 12, 14) +
                     __builtin_shufflevector(x, y, 1, 3, 9, 11, 5, 7, 13, 15));
}
#else
/* Halves of x, then halves of y; quarters of both, and so on. */
INLINE vf row_halves(vf x, vf y) {
    return __builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}
INLINE vf row_quarters(vf x, vf y) {
    return __builtin_shufflevector(x, y, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
           __builtin_shufflevector(x, y, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}
INLINE vf row_eighths(vf x, vf y) {
    return __builtin_shufflevector(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
           __builtin_shufflevector(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}
INLINE vf row_lanes(vf x, vf y) {
    return __builtin_shufflevector(x, y, 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30) +
           __builtin_shufflevector(x, y, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31);
}
INLINE void row_sums(const vf *s, float *to) {
    vf fours[4]; /* sums i, i + 4, i + 8 and i + 12, each in four lanes */
    for (int i = 0; i < 4; i++)
        fours[i] = row_quarters(row_halves(s[i], s[i + 4]), row_halves(s[i + 8], s[i + 12]));
    vf_store(to, row_lanes(row_eighths(fours[0], fours[1]), row_eighths(fours[2], fours[3])));
}
#endif

/* Keys or values in whole vectors, rows `stride` bytes apart. `ahead` is the distance between a row
 * and the one that memory is asked for meanwhile. */
typedef struct {
    const char *data;
    int64_t stride, count, depth, ahead;
} row_view;

/* Arithmetic takes about as long as memory does, and they overlap only so. */
INLINE void row_ask(const row_view *view, const char *at, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += ROW_LINE) __builtin_prefetch(at + view->ahead + i, 0, 3);
}

/* score[key][head] for ROW_SUMS / heads keys at once; keys behind the last repeat it. */
INLINE void row_scores(int heads, int dtype, const row_view *k, const float *q, float *score) {
    const int keys = ROW_SUMS / heads, bytes = dtype == PTIR_f32 ? 4 : 2;
    for (int64_t key = 0; key < k->count; key += keys, score += ROW_SUMS) {
        const char *row[ROW_SUMS];
        vf sum[ROW_SUMS] = {{0}};
        for (int i = 0; i < keys; i++) {
            row[i] = k->data + attention_least(key + i, k->count - 1) * k->stride;
            row_ask(k, row[i], k->depth * bytes);
        }
        for (int64_t d = 0; d < k->depth; d += VL) {
            vf x[ROW_SUMS];
            for (int i = 0; i < keys; i++) x[i] = vf_load_as(row[i], d, dtype);
            for (int h = 0; h < heads; h++) {
                vf y = vf_load(q + h * k->depth + d);
                for (int i = 0; i < keys; i++) sum[i * heads + h] += x[i] * y;
            }
        }
        row_sums(sum, score);
    }
}

/* --- values --- */

/* mixed[head][d ..] += score[key][head] · v[key][d ..] for `wide` vectors of columns. */
INLINE void row_mix_columns(
    int heads, int wide, int dtype, const row_view *v, int64_t d, const float *score, float *mixed
) {
    vf sum[ROW_HEADS][ROW_HEADS];
    for (int h = 0; h < heads; h++)
        for (int w = 0; w < wide; w++) sum[h][w] = vf_load(mixed + h * v->depth + d + w * VL);
    const char *row = v->data;
    const int bytes = dtype == PTIR_f32 ? 4 : 2;
    for (int64_t key = 0; key < v->count; key++, row += v->stride, score += heads) {
        row_ask(v, row + d * bytes, wide * VL * bytes);
        for (int w = 0; w < wide; w++) {
            vf x = vf_load_as(row, d + w * VL, dtype);
            for (int h = 0; h < heads; h++) sum[h][w] += vf_set(score[h]) * x;
        }
    }
    for (int h = 0; h < heads; h++)
        for (int w = 0; w < wide; w++) vf_store(mixed + h * v->depth + d + w * VL, sum[h][w]);
}

/* The widest columns that leave all sums in registers, then narrower ones. */
INLINE void row_mix_step(
    int heads, int dtype, const row_view *v, const float *score, float *mixed
) {
    int64_t d = 0;
    if (heads * 8 <= ROW_SUMS)
        for (; d + 8 * VL <= v->depth; d += 8 * VL)
            row_mix_columns(heads, 8, dtype, v, d, score, mixed);
    if (heads * 4 <= ROW_SUMS)
        for (; d + 4 * VL <= v->depth; d += 4 * VL)
            row_mix_columns(heads, 4, dtype, v, d, score, mixed);
    if (heads * 2 <= ROW_SUMS)
        for (; d + 2 * VL <= v->depth; d += 2 * VL)
            row_mix_columns(heads, 2, dtype, v, d, score, mixed);
    for (; d < v->depth; d += VL) row_mix_columns(heads, 1, dtype, v, d, score, mixed);
}

INLINE void row_mix(int heads, int dtype, const row_view *v, const float *score, float *mixed) {
    row_view step = *v;
    for (int64_t left = v->count; left > 0; left -= ROW_STEP) {
        step.count = attention_least(left, ROW_STEP);
        row_mix_step(heads, dtype, &step, score, mixed);
        step.data += ROW_STEP * v->stride;
        score += ROW_STEP * heads;
    }
}

/* --- one copy of the loops for each number of heads and element type --- */

typedef void (*row_loop)(const row_view *, const float *, float *);

#define ROW_LOOPS(heads, dtype)                                                                    \
    static void row_scores_##heads##dtype(const row_view *k, const float *q, float *score) {       \
        row_scores(heads, PTIR_##dtype, k, q, score);                                              \
    }                                                                                              \
    static void row_mix_##heads##dtype(const row_view *v, const float *score, float *mixed) {      \
        row_mix(heads, PTIR_##dtype, v, score, mixed);                                             \
    }
#define ROW_DTYPES(X, dtype) X(1, dtype) X(2, dtype) X(4, dtype) X(8, dtype)
ROW_DTYPES(ROW_LOOPS, f32)
ROW_DTYPES(ROW_LOOPS, bf16)
ROW_DTYPES(ROW_LOOPS, f16)

#define ROW_SCORES(heads, dtype) row_scores_##heads##dtype,
#define ROW_MIX(heads, dtype) row_mix_##heads##dtype,
static const row_loop row_all_scores[3][4] = {
    {ROW_DTYPES(ROW_SCORES, f32)}, {ROW_DTYPES(ROW_SCORES, bf16)}, {ROW_DTYPES(ROW_SCORES, f16)}
};
static const row_loop row_all_mixes[3][4] = {
    {ROW_DTYPES(ROW_MIX, f32)}, {ROW_DTYPES(ROW_MIX, bf16)}, {ROW_DTYPES(ROW_MIX, f16)}
};

static row_loop row_pick(const row_loop all[3][4], int heads, int dtype) {
    const row_loop *of = all[dtype == PTIR_f32 ? 0 : dtype == PTIR_bf16 ? 1 : 2];
    return of[heads == 8 ? 3 : heads / 2];
}

/* --- rows as they lie, or copied in steps where they are no whole vectors --- */

static row_view row_lies(const ptir_tensor *t, int64_t b, int64_t group, attention_range keys) {
    int64_t stride = t->stride[2] * ptir_bytes(t->dtype);
    int64_t rows = ROW_AHEAD / attention_most(1, t->size[3] * ptir_bytes(t->dtype));
    return (row_view){.data = attention_at(t, b, group, keys.lo, 0), .stride = stride,
                      .count = keys.hi - keys.lo, .depth = t->size[3], .ahead = rows * stride};
}

static row_view row_copied(const ptir_tensor *t, const row_view *all, int64_t from, float *tile) {
    row_view step = {.data = (char *)tile};
    step.count = attention_least(all->count - from, ROW_STEP);
    step.depth = attention_up(all->depth, VL);
    step.stride = step.depth * 4;
    for (int64_t i = 0; i < step.count; i++)
        attention_widen(tile + i * step.depth, step.depth, all->data + (from + i) * all->stride,
                        t->stride[3], all->depth, t->dtype, 1);
    return step;
}

static void row_score_all(
    const ptir_tensor *k, const row_view *all, int heads, const row_scratch *m
) {
    if (k->stride[3] == 1 && k->size[3] % VL == 0) {
        row_pick(row_all_scores, heads, k->dtype)(all, m->q, m->score);
        return;
    }
    for (int64_t i = 0; i < all->count; i += ROW_STEP) {
        row_view step = row_copied(k, all, i, m->tile);
        row_pick(row_all_scores, heads, PTIR_f32)(&step, m->q, m->score + i * heads);
    }
}

static void row_mix_all(
    const ptir_tensor *v, const row_view *all, int heads, const row_scratch *m
) {
    if (v->stride[3] == 1 && v->size[3] % VL == 0) {
        row_pick(row_all_mixes, heads, v->dtype)(all, m->score, m->mixed);
        return;
    }
    for (int64_t i = 0; i < all->count; i += ROW_STEP) {
        row_view step = row_copied(v, all, i, m->tile);
        row_pick(row_all_mixes, heads, PTIR_f32)(&step, m->score + i * heads, m->mixed);
    }
}

/* --- parts --- */

/* Turns scores into weights; their maximum and total for each head. `count` is whole lanes. */
static void row_weigh(int heads, float *score, int64_t count, float *top, float *total) {
    enum { N = ROW_LANES / VL };
    vf high[N], sum[N] = {{0}};
    float lane[ROW_LANES];
    for (int v = 0; v < N; v++) high[v] = vf_set(-INFINITY);
    for (int64_t i = 0; i < count; i += ROW_LANES)
        for (int v = 0; v < N; v++)
            high[v] = vf_higher(vf_load(score + i + v * VL), high[v]);
    for (int v = 0; v < N; v++) vf_store(lane + v * VL, high[v]);
    for (int h = 0; h < heads; h++) top[h] = -INFINITY, total[h] = 0;
    for (int i = 0; i < ROW_LANES; i++)
        if (lane[i] > top[i % heads]) top[i % heads] = lane[i];
    for (int i = 0; i < ROW_LANES; i++) lane[i] = top[i % heads];
    for (int v = 0; v < N; v++) high[v] = attention_finite(vf_load(lane + v * VL));
    for (int64_t i = 0; i < count; i += ROW_LANES)
        for (int v = 0; v < N; v++) {
            vf e = attention_exp(vf_load(score + i + v * VL) - high[v]);
            vf_store(score + i + v * VL, e);
            sum[v] += e;
        }
    for (int v = 0; v < N; v++) vf_store(lane + v * VL, sum[v]);
    for (int i = 0; i < ROW_LANES; i++) total[i % heads] += lane[i];
}

/* What is done to scores beside scaling. */
static void row_adjust(
    const attention_job *a, int64_t b, int64_t head, int64_t query, attention_range keys,
    int heads, float *score
) {
    int64_t count = keys.hi - keys.lo;
    if (a->flags & ATTENTION_CAP)
        for (int64_t i = 0; i < count * heads; i += VL)
            vf_store(score + i, attention_capped(vf_load(score + i), a->cap));
    if (!(a->flags & ATTENTION_MASK)) return;
    int64_t step = a->mask.stride[3], last = (head / a->per_group + 1) * a->per_group - 1;
    for (int h = 0; h < heads; h++) {
        const char *mask =
            attention_at(&a->mask, b, attention_least(head + h, last), query, keys.lo);
        for (int64_t i = 0; i < count; i++)
            score[i * heads + h] += load_as(mask, i * step, a->mask.dtype);
    }
}

static int row_heads(int64_t left) { return left > 4 ? 8 : left > 2 ? 4 : left > 1 ? 2 : 1; }

/* (maximum, total, mixed) of up to 8 heads from `head` on, for the keys given, all of them seen. */
static void row_part(
    const attention_job *a, int64_t b, int64_t head, int64_t count, int64_t query,
    attention_range keys, const row_scratch *m, float *part
) {
    float top[ROW_HEADS], total[ROW_HEADS];
    int heads = row_heads(count);
    int64_t group = head / a->per_group, used = (keys.hi - keys.lo) * heads;
    for (int h = 0; h < heads; h++)
        attention_widen(m->q + h * m->depth, m->depth,
                        attention_at(&a->q, b, head + attention_least(h, count - 1), query, 0),
                        a->q.stride[3], a->depth, a->q.dtype, a->scale);
    memset(m->mixed, 0, (size_t)(heads * m->depth_v) * 4);
    if (used) {
        row_view k = row_lies(&a->k, b, group, keys), v = row_lies(&a->v, b, group, keys);
        row_score_all(&a->k, &k, heads, m);
        row_adjust(a, b, head, query, keys, heads, m->score);
        int64_t whole = attention_up(used, ROW_LANES);
        for (int64_t i = used; i < whole; i++) m->score[i] = -INFINITY;
        row_weigh(heads, m->score, whole, top, total);
        row_mix_all(&a->v, &v, heads, m);
    }
    for (int h = 0; h < count; h++, part += a->depth_v + 2) {
        part[0] = used ? top[h] : -INFINITY;
        part[1] = used ? total[h] : 0;
        memcpy(part + 2, m->mixed + h * m->depth_v, (size_t)a->depth_v * 4);
    }
}

static void row_merge(float *state, const float *part, int64_t depth) {
    float top = state[0] > part[0] ? state[0] : part[0], finite = top == -INFINITY ? 0 : top;
    float was = attention_exp_1(state[0] - finite), now = attention_exp_1(part[0] - finite);
    state[0] = top;
    for (int64_t i = 1; i < depth + 2; i++) state[i] = state[i] * was + part[i] * now;
}

static void row_finish(
    const attention_job *a, int64_t b, int64_t head, int64_t query, const float *state
) {
    char *out = (char *)attention_at(&a->out, b, head, query, 0);
    float total = state[1] == 0 ? 1 : state[1];
    for (int64_t i = 0; i < a->depth_v; i++)
        store_as(out, i * a->out.stride[3], a->out.dtype, state[2 + i] / total);
}

static void row_start(float *state, int64_t depth) {
    memset(state, 0, (size_t)(depth + 2) * 4);
    state[0] = -INFINITY;
}

static attention_range row_within(attention_range seen, int64_t chunk) {
    attention_range part = {attention_most(seen.lo, chunk * ROW_CHUNK),
                            attention_least(seen.hi, (chunk + 1) * ROW_CHUNK)};
    if (part.hi < part.lo) part.hi = part.lo;
    return part;
}

/* Rows of one query: heads head .. head + count - 1, at most 8 and of one group. */
static void row_attend(
    const attention_job *a, int64_t b, int64_t head, int64_t count, int64_t query,
    const row_scratch *m
) {
    attention_range seen = attention_sees(a, b, query);
    int64_t each = a->depth_v + 2;
    for (int64_t h = 0; h < count; h++) row_start(m->state + h * each, a->depth_v);
    for (int64_t c = seen.lo / ROW_CHUNK; c * ROW_CHUNK < seen.hi; c++) {
        row_part(a, b, head, count, query, row_within(seen, c), m, m->part);
        for (int64_t h = 0; h < count; h++)
            row_merge(m->state + h * each, m->part + h * each, a->depth_v);
    }
    for (int64_t h = 0; h < count; h++)
        row_finish(a, b, head + h, query, m->state + h * each);
}
