/* Affine quantisation, x ~ (q - zero) * scale.
 *
 *   dequantize  q, scale, zero, out
 *   quantize    x, scale, zero, out
 *
 * All of the same sizes: a scale (and zero) for an axis or a group of neighbours has stride 0 where
 * it does not change. Without a zero point `zero` is `scale` itself. Floats are f32, bf16 or f16,
 * computed in f32; integers any of at most 32 bits, `zero` of the type of q.
 */

typedef struct {
    ptir_tensor x, scale, zero, out;
    int shifts; /* has a zero point */
} quantise_call;

/* --- one chunk --- */

static void quantise_integers(float *to, const char *from, int64_t step, int dtype, int64_t n) {
    if (dtype == PTIR_si8 && step == 1)
        for (int64_t i = 0; i < n; i++) to[i] = ((const int8_t *)from)[i];
    else if (dtype == PTIR_ui8 && step == 1)
        for (int64_t i = 0; i < n; i++) to[i] = ((const uint8_t *)from)[i];
    else if (dtype == PTIR_ui4 && step == 1)
        for (int64_t i = 0; i < n; i++) to[i] = (float)(((const uint8_t *)from)[i] & 15);
    else if (dtype == PTIR_si4 && step == 1)
        for (int64_t i = 0; i < n; i++)
            to[i] = (float)(((((const uint8_t *)from)[i] & 15) ^ 8) - 8);
    else
        for (int64_t i = 0; i < n; i++) to[i] = (float)index_read(from + i * step, dtype);
}

/* A scale or zero point that stays the same over a chunk is read once. */
static void quantise_spread(
    float *to, const ptir_tensor *t, const char *from, int64_t step, int64_t n
) {
    int is_float = combine_wide(t->dtype) == PTIR_f32;
    int64_t some = step ? n : 1;
    if (is_float) combine_load(to, from, step, t->dtype, some);
    else quantise_integers(to, from, step, t->dtype, some);
    for (int64_t i = some; i < n; i++) to[i] = to[0];
}

static void quantise_down(const quantise_call *c, char *to, int64_t step, const float *x,
                          const float *scale, const float *zero, int64_t n) {
    int dtype = c->out.dtype, is_signed = combine_wide(dtype) == PTIR_si64;
    double low = (double)combine_nearest(is_signed ? INT64_MIN : 0, dtype);
    double high = (double)combine_nearest(is_signed ? INT64_MAX : -1, dtype);
    int64_t q[COMBINE_CHUNK];
    for (int64_t i = 0; i < n; i++) {
        float steps = nearbyintf(x[i] / scale[i]);
        double y = c->shifts ? steps + zero[i] : steps;
        y = y > high ? high : y;
        y = y < low ? low : y;
        q[i] = y == y ? (int64_t)y : 0;
    }
    combine_store(to, step, dtype, q, n, 0);
}

static void quantise_up(const quantise_call *c, char *to, int64_t step, float *x,
                        const float *scale, const float *zero, int64_t n) {
    if (c->shifts)
        for (int64_t i = 0; i < n; i++) x[i] = (x[i] - zero[i]) * scale[i];
    else
        for (int64_t i = 0; i < n; i++) x[i] *= scale[i];
    combine_store(to, step, c->out.dtype, x, n, 0);
}

/* --- rows --- */

static void quantise_row(const quantise_call *c, int64_t row, int down) {
    const ptir_tensor *all[] = {&c->x, &c->scale, &c->zero, &c->out};
    int last = c->out.rank - 1;
    int64_t length = last < 0 ? 1 : c->out.size[last], step[4];
    char *at[4];
    float x[COMBINE_CHUNK], scale[COMBINE_CHUNK], zero[COMBINE_CHUNK];
    for (int i = 0; i < 4; i++) {
        at[i] = all[i]->data + index_row(all[i], last, c->out.size, row);
        step[i] = index_step(all[i], last);
    }
    for (int64_t i = 0; i < length; i += COMBINE_CHUNK) {
        int64_t n = copy_least(length - i, COMBINE_CHUNK);
        if (down) combine_load(x, at[0] + i * step[0], step[0], c->x.dtype, n);
        else quantise_integers(x, at[0] + i * step[0], step[0], c->x.dtype, n);
        if (!i || step[1]) quantise_spread(scale, &c->scale, at[1] + i * step[1], step[1], n);
        if (c->shifts && (!i || step[2]))
            quantise_spread(zero, &c->zero, at[2] + i * step[2], step[2], n);
        if (down) quantise_down(c, at[3] + i * step[3], step[3], x, scale, zero, n);
        else quantise_up(c, at[3] + i * step[3], step[3], x, scale, zero, n);
    }
}

static int quantise_fits(const ptir_tensor *q, const ptir_tensor *x, const ptir_tensor *scale) {
    int wide = combine_wide(q->dtype);
    return (wide == PTIR_si64 || wide == PTIR_ui64) && ptir_bytes(q->dtype) <= 4 &&
           combine_wide(x->dtype) == PTIR_f32 && combine_wide(scale->dtype) == PTIR_f32;
}

static int quantise(
    const int64_t *words, char *const *base, const ptir_team *team, int down
) {
    quantise_call c;
    words = ptir_read(words, base, &c.x);
    words = ptir_read(words, base, &c.scale);
    words = ptir_read(words, base, &c.zero);
    ptir_read(words, base, &c.out);
    c.shifts = c.zero.data != c.scale.data;
    if (!quantise_fits(down ? &c.out : &c.x, down ? &c.x : &c.out, &c.scale)) return PTIR_REFUSED;
    int64_t lo = 0, hi, count = ptir_count(&c.out);
    if (!count) return PTIR_OK;
    hi = c.out.rank ? count / c.out.size[c.out.rank - 1] : 1;
    if (count >= INDEX_ALONE) ptir_share(team, hi, 1, &lo, &hi);
    else if (team->id) return PTIR_OK;
    for (int64_t row = lo; row < hi; row++) quantise_row(&c, row, down);
    return PTIR_OK;
}

int PTIR_NAME(dequantize)(const int64_t *words, char *const *base, const ptir_team *team) {
    return quantise(words, base, team, 0);
}

int PTIR_NAME(quantize)(const int64_t *words, char *const *base, const ptir_team *team) {
    return quantise(words, base, team, 1);
}
