/* What the ways to compute attention share: the job, who sees which keys, scores that are not plain
 * products, and rows of f32.
 *
 *   q [B, Hq, T, D]   k [B, Hkv, S, D]   v [B, Hkv, S, Dv]   out [B, Hq, T, Dv]
 *
 * Query head h reads key head h / per_group. The rows of a key head are its queries, all heads of
 * the group side by side: row r is query r / per_group of head r % per_group.
 */
#include "vmath.h"

enum {
    ATTENTION_CAUSAL = 1,
    ATTENTION_PAST = 2,
    ATTENTION_LENGTHS = 4,
    ATTENTION_MASK = 8,
    ATTENTION_CAP = 16,
    ATTENTION_WINDOW = 32,
    ATTENTION_WORKSPACE = 64,
};

typedef struct {
    int64_t flags, window;
    float scale, cap;
    ptir_tensor q, k, v, out, past, lengths, mask, workspace;
    int64_t batch, groups, per_group, queries, keys, depth, depth_v;
} attention_job;

typedef struct {
    int64_t lo, hi;
} attention_range;

INLINE int64_t attention_least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t attention_most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t attention_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* Element i of a vector of integers. */
static int64_t attention_integer(const ptir_tensor *t, int64_t i) {
    const char *at = t->data + i * t->stride[0] * ptir_bytes(t->dtype);
    int bytes = ptir_bytes(t->dtype);
    uint64_t raw = 0;
    memcpy(&raw, at, (size_t)bytes); /* little end first, as everywhere in a plan */
    int is_signed = t->dtype == PTIR_si4 || t->dtype == PTIR_si8 || t->dtype == PTIR_si16 ||
                    t->dtype == PTIR_si32;
    int unused = 64 - 8 * bytes;
    return is_signed ? (int64_t)(raw << unused) >> unused : (int64_t)raw;
}

/* The keys that some of the queries first .. last see; both ends grow with the query. Positions are
 * si32, as in the definition. */
static attention_range attention_sees_any(
    const attention_job *a, int64_t b, int64_t first, int64_t last
) {
    attention_range seen = {0, a->keys};
    int64_t past = a->flags & ATTENTION_PAST ? (int32_t)attention_integer(&a->past, b) : 0;
    if (a->flags & ATTENTION_CAUSAL) seen.hi = attention_least(seen.hi, past + last + 1);
    if (a->flags & ATTENTION_WINDOW) seen.lo = attention_most(0, past + first - a->window + 1);
    if (a->flags & ATTENTION_LENGTHS)
        seen.hi = attention_least(seen.hi, (int32_t)attention_integer(&a->lengths, b));
    if (seen.hi <= seen.lo) seen.lo = seen.hi = 0;
    return seen;
}

/* The keys that a query sees: lo <= key < hi. */
static attention_range attention_sees(const attention_job *a, int64_t b, int64_t query) {
    return attention_sees_any(a, b, query, query);
}

static const char *attention_at(
    const ptir_tensor *t, int64_t i, int64_t j, int64_t k, int64_t l
) {
    int64_t at = i * t->stride[0] + j * t->stride[1] + k * t->stride[2] + l * t->stride[3];
    return t->data + at * ptir_bytes(t->dtype);
}

/* n elements `step` apart, as f32 times `scale`, filled up with zeros to `wide`. */
static void attention_widen(
    float *to, int64_t wide, const char *from, int64_t step, int64_t n, int dtype, float scale
) {
    int64_t i = 0;
    if (step == 1)
        for (; i + VL <= n; i += VL) vf_store(to + i, vf_load_as(from, i, dtype) * scale);
    for (; i < n; i++) to[i] = load_as(from, i * step, dtype) * scale;
    for (; i < wide; i++) to[i] = 0;
}

/* --- scores --- */

/* exp of what is never above 0, or NaN: a score less its row's maximum. Below −87.3 the result is 0
 * and not subnormal, which beside the maximum's weight of 1 cannot be told apart: cheaper than
 * all of vf_exp. */
INLINE vf attention_exp(vf x) {
    vf_exp_parts p = vf_exp_split(x);
    vf y = (p.rest * p.r + 1.0f) * p.r + 1.0f;
    vf power = (vf)((p.n + 127) << 23); /* a product, so that NaN stays NaN */
    return vf_select(x < -0x1.5d589ep6f, (vf){0}, y * power);
}

INLINE float attention_exp_1(float x) { return attention_exp(vf_set(x))[0]; }

/* soft_cap · tanh(score / soft_cap) */
INLINE vf attention_capped(vf score, float cap) { return vf_tanh(score / cap) * cap; }

/* What is taken off scores before exp: their maximum, or nothing where no key is seen. */
INLINE vf attention_finite(vf top) {
    return vf_select(top == vf_set(-INFINITY), (vf){0}, top);
}
