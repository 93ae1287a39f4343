/* Norms and softmax: rows of the last axis, in f32.
 *
 *   layer_norm  flags, eps, x, out [..., D]; if flagged gamma, beta [D], residual, sum [..., D]
 *   rms_norm    the same; no beta
 *   softmax     flags (1 log_softmax), x, out [..., D]
 *
 * flags of norms: 1 gamma, 2 beta, 4 residual, 8 sum. What is normalised is x + residual, rounded
 * to the type of x as the op `add` does, and stored in `sum`. Floats are f32, bf16 or f16; out, and
 * sum, may be x or residual themselves, but not each other.
 *
 * A row is walked in chunks of ROWS_CHUNK: sums within one run in f32 lanes, over chunks in f64.
 */
#include "wide.h"

enum { ROWS_GAMMA = 1, ROWS_BETA = 2, ROWS_RESIDUAL = 4, ROWS_SUM = 8, ROWS_LOG = 1 };

enum {
    ROWS_CHUNK = 1024,
    ROWS_KEPT = 1 << 18, /* elements of a row that are kept as f32 between passes */
};

/* One operand as f32: where it lies, or converted to `room`, as a whole if that holds a row. */
typedef struct {
    const char *from;
    int64_t step;
    int dtype, kept;
    float *room;
} rows_operand;

static rows_operand rows_operand_of(const ptir_tensor *t, int64_t length, char **scratch) {
    rows_operand o = {.from = t->data, .step = index_step(t, t->rank - 1), .dtype = t->dtype};
    o.kept = length <= ROWS_KEPT;
    o.room = (float *)(void *)*scratch;
    *scratch += ((o.kept ? length : ROWS_CHUNK) * 4 + 63) & -64;
    return o;
}

static int rows_lies(const char *p, int64_t step, int dtype) {
    return dtype == PTIR_f32 && step == 4 && ((uintptr_t)p & 3) == 0;
}

/* Elements i .. i + n. `first`: nothing of this row was asked for before. */
static const float *rows_part(rows_operand *o, int64_t i, int64_t n, int first) {
    if (rows_lies(o->from, o->step, o->dtype)) return (const float *)(const void *)o->from + i;
    float *to = o->kept ? o->room + i : o->room;
    if (first || !o->kept) combine_load(to, o->from + i * o->step, o->step, o->dtype, n);
    return to;
}

/* The last, incomplete vector. */
INLINE vf rows_tail(const float *p, int64_t n, float fill) {
    float part[VL];
    for (int i = 0; i < VL; i++) part[i] = i < n ? p[i] : fill;
    return vf_load(part);
}

INLINE void rows_put_tail(float *p, int64_t n, vf v) {
    float part[VL];
    vf_store(part, v);
    memcpy(p, part, (size_t)n * sizeof *p);
}

/* --- statistics of one chunk --- */

/* Sums the values of `term`, an expression of the vector x, in four lanes of vectors. */
#define ROWS_TOTAL(name, fill, term)                                                               \
    static float rows_##name(const float *p, int64_t n, float mean) {                              \
        vf a = {0}, b = a, c = a, d = a, x;                                                        \
        int64_t i = 0;                                                                             \
        (void)mean;                                                                                \
        for (; i + 4 * VL <= n; i += 4 * VL) {                                                     \
            x = vf_load(p + i), a += (term);                                                       \
            x = vf_load(p + i + VL), b += (term);                                                  \
            x = vf_load(p + i + 2 * VL), c += (term);                                              \
            x = vf_load(p + i + 3 * VL), d += (term);                                              \
        }                                                                                          \
        for (; i + VL <= n; i += VL) x = vf_load(p + i), a += (term);                              \
        if (i < n) x = rows_tail(p + i, n - i, fill), b += (term);                                 \
        return vf_sum((a + b) + (c + d));                                                          \
    }
ROWS_TOTAL(sum, 0, x)
ROWS_TOTAL(squares, 0, x * x)
ROWS_TOTAL(exps, -INFINITY, vf_exp(x - mean))

/* Sums of the deviations from about the mean, and of their squares. */
static void rows_deviations(const float *p, int64_t n, float mean, double *sum, double *squares) {
    enum { LANES = 4 };
    vf s[LANES] = {{0}}, q[LANES] = {{0}};
    int64_t i = 0;
    for (; i + LANES * VL <= n; i += LANES * VL)
        for (int j = 0; j < LANES; j++) {
            vf x = vf_load(p + i + j * VL) - mean;
            s[j] += x, q[j] += x * x;
        }
    for (; i < n; i += VL) {
        vf x = (i + VL <= n ? vf_load(p + i) : rows_tail(p + i, n - i, mean)) - mean;
        s[0] += x, q[0] += x * x;
    }
    *sum += (double)vf_sum((s[0] + s[1]) + (s[2] + s[3]));
    *squares += (double)vf_sum((q[0] + q[1]) + (q[2] + q[3]));
}

static float rows_most(const float *p, int64_t n) {
    vf a = vf_set(-INFINITY), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        vf w = vf_load(p + i), x = vf_load(p + i + VL);
        vf y = vf_load(p + i + 2 * VL), z = vf_load(p + i + 3 * VL);
        a = vf_higher(w, a);
        b = vf_higher(x, b);
        c = vf_higher(y, c);
        d = vf_higher(z, d);
    }
    for (; i + VL <= n; i += VL) {
        vf w = vf_load(p + i);
        a = vf_higher(w, a);
    }
    a = vf_higher(b, a);
    c = vf_higher(d, c);
    a = vf_higher(c, a);
    float most = -INFINITY;
    for (int j = 0; j < VL; j++) most = a[j] > most ? a[j] : most;
    for (; i < n; i++) most = p[i] > most ? p[i] : most;
    return most;
}

/* --- norms --- */

typedef struct {
    ptir_tensor x, out, gamma, beta, residual, sum;
    int64_t flags, length;
    double eps;
    int centres; /* layer_norm */
} rows_norm;

/* What one thread holds while it walks its rows. */
typedef struct {
    rows_operand x, residual, gamma, beta;
    float *added, *made; /* room for a chunk each */
    int begun;           /* gamma and beta were read */
} rows_state;

/* n elements of what is normalised. The sum is only made once if the row is kept. */
static const float *rows_given(
    const rows_norm *c, rows_state *s, int64_t i, int64_t n, int first
) {
    if (!(c->flags & ROWS_RESIDUAL)) return rows_part(&s->x, i, n, first);
    float *to = s->x.kept ? s->x.room + i : s->x.room;
    if (!first && s->x.kept) return to;
    combine_load(to, s->x.from + i * s->x.step, s->x.step, s->x.dtype, n);
    const float *more = rows_part(&s->residual, i, n, 1);
    for (int64_t j = 0; j < n; j++) to[j] += more[j];
    if (c->x.dtype == PTIR_f32) return to;
    combine_store((char *)s->added, 2, c->x.dtype, to, n, 0);
    combine_load(to, (const char *)s->added, 2, c->x.dtype, n);
    return to;
}

/* The row is normalised as (x - mean - shift) * scale: shift is what mean lacks in f32. */
typedef struct {
    float mean, shift, scale;
} rows_line;

static rows_line rows_measure(const rows_norm *c, rows_state *s) {
    rows_line line = {0};
    double sum = 0, squares = 0, length = (double)c->length;
    for (int64_t i = 0; c->centres && i < c->length; i += ROWS_CHUNK) {
        int64_t n = copy_least(c->length - i, ROWS_CHUNK);
        sum += (double)rows_sum(rows_given(c, s, i, n, 1), n, 0);
    }
    line.mean = (float)(sum / length);
    sum = 0;
    for (int64_t i = 0; i < c->length; i += ROWS_CHUNK) {
        int64_t n = copy_least(c->length - i, ROWS_CHUNK);
        const float *x = rows_given(c, s, i, n, !c->centres);
        if (c->centres) rows_deviations(x, n, line.mean, &sum, &squares);
        else squares += (double)rows_squares(x, n, 0);
    }
    double shift = sum / length, variance = squares / length - shift * shift;
    line.shift = (float)shift;
    line.scale = (float)(1 / sqrt((variance < 0 ? 0 : variance) + c->eps));
    return line;
}

INLINE vf rows_scaled(vf x, rows_line line) { return (x - line.mean - line.shift) * line.scale; }

#define ROWS_APPLY(name, gamma_, beta_)                                                            \
    static void rows_apply_##name(                                                                 \
        float *to, const float *x, const float *g, const float *b, rows_line line, int64_t n       \
    ) {                                                                                            \
        int64_t i = 0;                                                                             \
        (void)g, (void)b;                                                                          \
        for (; i + VL <= n; i += VL)                                                               \
            vf_store(to + i, rows_scaled(vf_load(x + i), line) gamma_(vf_load(g + i))              \
                                 beta_(vf_load(b + i)));                                           \
        if (i < n)                                                                                 \
            rows_put_tail(to + i, n - i,                                                           \
                          rows_scaled(rows_tail(x + i, n - i, 0), line)                            \
                              gamma_(rows_tail(g + i, n - i, 0))                                   \
                              beta_(rows_tail(b + i, n - i, 0)));                                  \
    }
#define ROWS_TIMES(v) * v
#define ROWS_PLUS(v) + v
#define ROWS_NOTHING(v)
ROWS_APPLY(both, ROWS_TIMES, ROWS_PLUS)
ROWS_APPLY(gamma, ROWS_TIMES, ROWS_NOTHING)
ROWS_APPLY(beta, ROWS_NOTHING, ROWS_PLUS)
ROWS_APPLY(neither, ROWS_NOTHING, ROWS_NOTHING)

/* One row: its statistics, then the results chunk by chunk, each after all that it reads. */
static void rows_norm_one(const rows_norm *c, rows_state *s, char *out, char *sum) {
    static void (*const apply[])(
        float *, const float *, const float *, const float *, rows_line, int64_t
    ) = {rows_apply_neither, rows_apply_gamma, rows_apply_beta, rows_apply_both};
    rows_line line = rows_measure(c, s);
    int last = c->x.rank - 1, first = !s->begun;
    int64_t step = index_step(&c->out, last);
    int lies = rows_lies(out, step, c->out.dtype);
    for (int64_t i = 0; i < c->length; i += ROWS_CHUNK) {
        int64_t n = copy_least(c->length - i, ROWS_CHUNK);
        const float *x = rows_given(c, s, i, n, 0), *g = NULL, *b = NULL;
        if (c->flags & ROWS_GAMMA) g = rows_part(&s->gamma, i, n, first);
        if (c->flags & ROWS_BETA) b = rows_part(&s->beta, i, n, first);
        float *to = lies ? (float *)(void *)out + i : s->made;
        int64_t by = index_step(&c->sum, last);
        if (sum) combine_store(sum + i * by, by, c->sum.dtype, x, n, 0);
        apply[c->flags & (ROWS_GAMMA | ROWS_BETA)](to, x, g, b, line, n);
        if (!lies) combine_store(out + i * step, step, c->out.dtype, to, n, 0);
    }
    s->begun = 1;
}

static int rows_float(const ptir_tensor *t) { return combine_wide(t->dtype) == PTIR_f32; }

static int rows_norm_open(rows_norm *c, const int64_t *words, char *const *base) {
    c->flags = words[0];
    c->eps = ptir_double(words[1]);
    words = ptir_read(words + 2, base, &c->x);
    words = ptir_read(words, base, &c->out);
    ptir_tensor *more[] = {&c->gamma, &c->beta, &c->residual, &c->sum};
    int fits = rows_float(&c->x) && rows_float(&c->out);
    for (int i = 0; i < 4; i++)
        if (c->flags >> i & 1) {
            words = ptir_read(words, base, more[i]);
            fits = fits && rows_float(more[i]);
        }
    c->length = c->x.size[c->x.rank - 1];
    return fits ? PTIR_OK : PTIR_REFUSED;
}

static int rows_norms(
    const int64_t *words, char *const *base, const ptir_team *team, int centres
) {
    rows_norm c = {.centres = centres};
    rows_state s = {0};
    if (rows_norm_open(&c, words, base)) return PTIR_REFUSED;
    int64_t count = ptir_count(&c.x), lo, hi;
    if (!count) return PTIR_OK;
    char *scratch = team->scratch;
    int last = c.x.rank - 1;
    s.x = rows_operand_of(&c.x, c.length, &scratch);
    if (c.flags & ROWS_GAMMA) s.gamma = rows_operand_of(&c.gamma, c.length, &scratch);
    if (c.flags & ROWS_BETA) s.beta = rows_operand_of(&c.beta, c.length, &scratch);
    s.made = (float *)(void *)scratch;
    s.added = s.made + ROWS_CHUNK;
    if (c.flags & ROWS_RESIDUAL) s.residual = rows_operand_of(&c.residual, ROWS_CHUNK, &scratch);
    s.residual.kept = 0;
    s.residual.room = s.added + ROWS_CHUNK;
    scan_share(team, count / c.length, c.length, &lo, &hi);
    for (; lo < hi; lo++) {
        s.x.from = c.x.data + index_row(&c.x, last, c.x.size, lo);
        if (c.flags & ROWS_RESIDUAL)
            s.residual.from = c.residual.data + index_row(&c.residual, last, c.x.size, lo);
        char *sum = c.flags & ROWS_SUM ? c.sum.data + index_row(&c.sum, last, c.x.size, lo) : NULL;
        rows_norm_one(&c, &s, c.out.data + index_row(&c.out, last, c.x.size, lo), sum);
    }
    return PTIR_OK;
}

int PTIR_NAME(layer_norm)(const int64_t *words, char *const *base, const ptir_team *team) {
    return rows_norms(words, base, team, 1);
}

int PTIR_NAME(rms_norm)(const int64_t *words, char *const *base, const ptir_team *team) {
    return rows_norms(words, base, team, 0);
}

/* --- softmax --- */

/* to[i] = e^(x[i] - most); returns their sum. */
static float rows_exponents(float *to, const float *x, float most, int64_t n) {
    vf a = {0}, b = a;
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vf y = vf_exp(vf_load(x + i) - most), z = vf_exp(vf_load(x + i + VL) - most);
        vf_store(to + i, y);
        vf_store(to + i + VL, z);
        a += y, b += z;
    }
    for (; i < n; i += VL) {
        int64_t left = copy_least(n - i, VL);
        vf y = vf_exp(rows_tail(x + i, left, -INFINITY) - most);
        rows_put_tail(to + i, left, y);
        a += y;
    }
    return vf_sum(a + b);
}

typedef struct {
    rows_operand x;
    float *made;
    int64_t length, step; /* of out, in bytes */
    int log, dtype;
} rows_softmax;

static float rows_greatest(rows_softmax *c) {
    float most = -INFINITY;
    for (int64_t i = 0; i < c->length; i += ROWS_CHUNK) {
        int64_t n = copy_least(c->length - i, ROWS_CHUNK);
        float here = rows_most(rows_part(&c->x, i, n, 1), n);
        most = here > most ? here : most; /* a NaN shows in the sum */
    }
    return most;
}

/* Exponents stay where there is room for all of a row: in `out`, or over x as f32. If there is none
 * they are computed twice. */
static void rows_softmax_one(rows_softmax *c, char *out) {
    int lies = rows_lies(out, c->step, c->dtype);
    float *held = lies ? (float *)(void *)out : c->x.kept ? c->x.room : NULL;
    float most = rows_greatest(c);
    double total = 0;
    for (int64_t i = 0; i < c->length; i += ROWS_CHUNK) {
        int64_t n = copy_least(c->length - i, ROWS_CHUNK);
        const float *x = rows_part(&c->x, i, n, 0);
        if (held && !c->log) total += (double)rows_exponents(held + i, x, most, n);
        else total += (double)rows_exps(x, n, most);
    }
    float scale = (float)(1 / total), logarithm = (float)log(total);
    for (int64_t i = 0; i < c->length; i += ROWS_CHUNK) {
        int64_t n = copy_least(c->length - i, ROWS_CHUNK);
        float *to = held ? held + i : c->made;
        const float *x = held && !c->log ? to : rows_part(&c->x, i, n, 0);
        if (!held && !c->log) rows_exponents(to, x, most, n);
        if (c->log)
            for (int64_t j = 0; j < n; j++) to[j] = x[j] - most - logarithm;
        else
            for (int64_t j = 0; j < n; j++) to[j] *= scale;
        if (!lies) combine_store(out + i * c->step, c->step, c->dtype, to, n, 0);
    }
}

int PTIR_NAME(softmax)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor x, out;
    rows_softmax c = {.log = words[0] & ROWS_LOG};
    words = ptir_read(words + 1, base, &x);
    ptir_read(words, base, &out);
    if (!rows_float(&x) || !rows_float(&out)) return PTIR_REFUSED;
    int64_t count = ptir_count(&x), lo, hi;
    if (!count) return PTIR_OK;
    char *scratch = team->scratch;
    int last = x.rank - 1;
    c.length = x.size[last];
    c.x = rows_operand_of(&x, c.length, &scratch);
    c.made = (float *)(void *)scratch;
    c.step = index_step(&out, last);
    c.dtype = out.dtype;
    scan_share(team, count / c.length, c.length, &lo, &hi);
    for (; lo < hi; lo++) {
        c.x.from = x.data + index_row(&x, last, x.size, lo);
        rows_softmax_one(&c, out.data + index_row(&out, last, x.size, lo));
    }
    return PTIR_OK;
}
