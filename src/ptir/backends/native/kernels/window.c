/* Sliding windows.
 *
 *   extract_patches  x [N, S..., C], value (rank 0), out [N, W..., P * C], then for each spatial
 *                    axis: window, stride, dilation, padding before
 *   reduce_window    x, out (equal ranks), kind (add 0, mul 1, max 2, min 3), then for each axis:
 *                    window, stride, padding before, base dilation, window dilation
 *
 * How much padding stands behind follows from the sizes of `out`. reduce_window takes the types
 * that `combine` names.
 */

typedef struct {
    int64_t window, stride, low, base, dilation;
} window_axis;

/* --- extract_patches --- */

typedef struct {
    ptir_tensor x, value, out;
    int axes; /* spatial ones */
    window_axis axis[PTIR_MAX_RANK];
} window_patches;

/* Elements of a patch: `n` channels of a place in x, or padding. Returns where the next go. */
static char *window_put(const window_patches *w, char *to, const char *from, int64_t n) {
    int64_t out = index_step(&w->out, w->out.rank - 1);
    int64_t in = from ? index_step(&w->x, w->x.rank - 1) : 0;
    copy_row(to, out, from ? from : w->value.data, in, n, ptir_bytes(w->out.dtype));
    return to + n * out;
}

/* The last spatial axis: where neighbours touch in memory, they are one run. */
static char *window_line(const window_patches *w, char *to, const char *from, int64_t first) {
    const window_axis *a = &w->axis[w->axes - 1];
    int64_t size = w->x.size[w->axes], C = w->x.size[w->axes + 1];
    int64_t step = index_step(&w->x, w->axes), channel = index_step(&w->x, w->axes + 1);
    if (from && a->dilation == 1 && step == C * channel) {
        int64_t lo = combine_clamp(-first, 0, a->window);
        int64_t hi = combine_clamp(size - first, lo, a->window);
        if (lo) to = window_put(w, to, NULL, lo * C);
        if (hi > lo) to = window_put(w, to, from + (first + lo) * step, (hi - lo) * C);
        return hi < a->window ? window_put(w, to, NULL, (a->window - hi) * C) : to;
    }
    for (int64_t i = 0; i < a->window; i++) {
        int64_t at = first + i * a->dilation;
        to = window_put(w, to, from && at >= 0 && at < size ? from + at * step : NULL, C);
    }
    return to;
}

/* `from` is NULL once an outer axis stands in the padding. */
static char *window_patch(
    const window_patches *w, int axis, char *to, const char *from, const int64_t *first
) {
    if (axis == w->axes) return window_put(w, to, from, w->x.size[axis + 1]);
    if (axis == w->axes - 1) return window_line(w, to, from, first[axis]);
    for (int64_t i = 0; i < w->axis[axis].window; i++) {
        int64_t at = first[axis] + i * w->axis[axis].dilation;
        int inside = from && at >= 0 && at < w->x.size[axis + 1];
        const char *here = inside ? from + at * index_step(&w->x, axis + 1) : NULL;
        to = window_patch(w, axis + 1, to, here, first);
    }
    return to;
}

int PTIR_NAME(extract_patches)(const int64_t *words, char *const *base, const ptir_team *team) {
    window_patches w;
    words = ptir_read(words, base, &w.x);
    words = ptir_read(words, base, &w.value);
    words = ptir_read(words, base, &w.out);
    w.axes = w.x.rank - 2;
    for (int i = 0; i < w.axes; i++, words += 4)
        w.axis[i] = (window_axis){words[0], words[1], words[3], 1, words[2]};
    int64_t lo, hi, count = ptir_count(&w.out), first[PTIR_MAX_RANK];
    if (!count) return PTIR_OK;
    ptir_share(team, count / w.out.size[w.out.rank - 1], 1, &lo, &hi);
    for (int64_t row = lo; row < hi; row++) {
        int64_t rest = row;
        for (int i = w.axes - 1; i >= 0; i--) {
            first[i] = rest % w.out.size[i + 1] * w.axis[i].stride - w.axis[i].low;
            rest /= w.out.size[i + 1];
        }
        char *to = w.out.data + index_row(&w.out, w.out.rank - 1, w.out.size, row);
        window_patch(&w, 0, to, w.x.data + rest * index_step(&w.x, 0), first);
    }
    return PTIR_OK;
}

/* --- reduce_window --- */

typedef struct {
    ptir_tensor x, out;
    enum combine_kind kind;
    int wide;
    window_axis axis[PTIR_MAX_RANK];
    combine_chunk total, value, nothing;
} window_reduce;

/* The index in x that a place in the padded axis holds, or -1: padding or a gap. */
static int64_t window_at(const window_axis *a, int64_t place, int64_t size) {
    int64_t at = place - a->low;
    return at < 0 || at % a->base || at / a->base >= size ? -1 : at / a->base;
}

/* Combines the chunk's outputs `first`.. of the last axis with element `w` of their windows. The
 * padding counts too: -0 and +0 make +0. */
static void window_step(window_reduce *r, const char *from, int64_t w, int64_t first, int64_t n) {
    int last = r->x.rank - 1, dtype = r->x.dtype;
    const window_axis *a = &r->axis[last];
    int64_t place = first * a->stride + w * a->dilation, size = r->x.size[last];
    int64_t in = index_step(&r->x, last), lo = 0, hi = n;
    if (!from) {
        combine_row(r->kind, r->wide, &r->total, &r->nothing, n);
        return;
    }
    if (a->base == 1) { /* those inside are neighbours */
        int64_t at = place - a->low, step = in * a->stride;
        while (lo < n && at + lo * a->stride < 0) lo++;
        while (hi > lo && at + (hi - 1) * a->stride >= size) hi--;
        const char *x = from + (at + lo * a->stride) * in;
        if (hi - lo == n && combine_lies(x, step, dtype, n)) {
            combine_row(r->kind, r->wide, &r->total, x, n);
            return;
        }
        int64_t bytes = ptir_bytes(r->wide);
        if (hi - lo < n) memcpy(&r->value, &r->nothing, (size_t)(n * bytes));
        combine_load((char *)&r->value + lo * bytes, x, step, dtype, hi - lo);
    } else {
        memcpy(&r->value, &r->nothing, sizeof r->value);
        for (int64_t i = 0; i < n; i++) {
            int64_t at = window_at(a, place + i * a->stride, size);
            if (at >= 0)
                combine_load((char *)&r->value + i * ptir_bytes(r->wide), from + at * in, in,
                             dtype, 1);
        }
    }
    combine_row(r->kind, r->wide, &r->total, &r->value, n);
}

static void window_walk(
    window_reduce *r, int axis, const char *from, const int64_t *first, int64_t n
) {
    const window_axis *a = &r->axis[axis];
    int last = r->x.rank - 1;
    for (int64_t w = 0; w < a->window; w++) {
        if (axis == last) {
            window_step(r, from, w, first[axis], n);
            continue;
        }
        int64_t at = window_at(a, first[axis] * a->stride + w * a->dilation, r->x.size[axis]);
        const char *here = from && at >= 0 ? from + at * index_step(&r->x, axis) : NULL;
        window_walk(r, axis + 1, here, first, n);
    }
}

/* The value that changes none: for sums it is -0, as +0 would change -0. */
static void window_start(window_reduce *r, int64_t n) {
    memcpy(&r->total, &r->nothing, sizeof r->total);
    if (r->kind != COMBINE_ADD) return;
    for (int64_t i = 0; i < n; i++) {
        if (r->wide == PTIR_f32) r->total.f32[i] = -0.0f;
        if (r->wide == PTIR_f64) r->total.f64[i] = -0.0;
    }
}

static void window_row(window_reduce *r, int64_t row) {
    int last = r->out.rank - 1;
    int64_t first[PTIR_MAX_RANK], rest = row, step = index_step(&r->out, last);
    char *to = r->out.data + index_row(&r->out, last, r->out.size, row);
    for (int i = last - 1; i >= 0; i--) {
        first[i] = rest % r->out.size[i];
        rest /= r->out.size[i];
    }
    for (int64_t i = 0; i < r->out.size[last]; i += COMBINE_CHUNK) {
        int64_t left = r->out.size[last] - i, n = left < COMBINE_CHUNK ? left : COMBINE_CHUNK;
        first[last] = i;
        window_start(r, n);
        window_walk(r, 0, r->x.data, first, n);
        combine_store(to + i * step, step, r->out.dtype, &r->total, n, 1);
    }
}

int PTIR_NAME(reduce_window)(const int64_t *words, char *const *base, const ptir_team *team) {
    window_reduce *r = (window_reduce *)team->scratch;
    words = ptir_read(words, base, &r->x);
    words = ptir_read(words, base, &r->out);
    r->kind = (enum combine_kind)*words++;
    r->wide = combine_wide(r->x.dtype);
    if (r->wide < 0) return PTIR_REFUSED;
    for (int i = 0; i < r->x.rank; i++, words += 5)
        r->axis[i] = (window_axis){words[0], words[1], words[2], words[3], words[4]};
    int64_t count = ptir_count(&r->out), lo, hi;
    combine_identity(r->kind, r->wide, &r->nothing, COMBINE_CHUNK);
    if (!count) return PTIR_OK;
    if (!r->x.rank) { /* the window is the element */
        copy_row(r->out.data, 0, r->x.data, 0, 1, ptir_bytes(r->out.dtype));
        return PTIR_OK;
    }
    ptir_share(team, count / r->out.size[r->out.rank - 1], 1, &lo, &hi);
    for (int64_t row = lo; row < hi; row++) window_row(r, row);
    return PTIR_OK;
}
