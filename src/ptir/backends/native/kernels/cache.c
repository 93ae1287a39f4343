/* The cache of keys and values: its update, and the rotation of what goes into it.
 *
 *   update_cache  cache [S, H, C, D], new [B, H, T, D], past [B]: new becomes positions past[b] …
 *                 of the first B sequences
 *   rotary        x [B, H, T, D], cos, sin [B, T, r/2], out: may be x itself
 */

/* --- update_cache --- */

static int cache_holds(const ptir_tensor *cache, const ptir_tensor *new, const ptir_tensor *past) {
    if (new->size[0] > cache->size[0]) return 0;
    for (int64_t b = 0; b < new->size[0]; b++) {
        int64_t at = attention_integer(past, b);
        if (at < 0 || at > cache->size[2] - new->size[2]) return 0;
    }
    return 1;
}

static void cache_copy_row(
    char *to, int64_t out, const char *from, int64_t in, int64_t n, int bytes
) {
    if (in == 1 && out == 1) {
        memcpy(to, from, (size_t)(n * bytes));
        return;
    }
    for (int64_t i = 0; i < n; i++)
        memcpy(to + i * out * bytes, from + i * in * bytes, (size_t)bytes);
}

int PTIR_NAME(update_cache)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor cache, new, past;
    words = ptir_read(words, base, &cache);
    words = ptir_read(words, base, &new);
    ptir_read(words, base, &past);
    if (!ptir_count(&new)) return PTIR_OK;
    if (!cache_holds(&cache, &new, &past)) return PTIR_REFUSED;
    int64_t heads = new.size[1], queries = new.size[2], lo, hi;
    ptir_share(team, new.size[0] * heads * queries, 1, &lo, &hi);
    for (int64_t i = lo; i < hi; i++) {
        int64_t b = i / queries / heads, h = i / queries % heads, t = i % queries;
        int64_t at = attention_integer(&past, b) + t;
        cache_copy_row((char *)attention_at(&cache, b, h, at, 0), cache.stride[3],
                       attention_at(&new, b, h, t, 0), new.stride[3], new.size[3],
                       ptir_bytes(cache.dtype));
    }
    return PTIR_OK;
}

/* --- rotary --- */

/* One head at one position: pointers to its channels and angles, strides in elements. */
typedef struct {
    const char *x, *cos, *sin;
    char *out;
    int64_t in, to, cos_step, sin_step;
} rotary_row;

/* Channels i and i + half, of vectors or of single elements. */
#define ROTARY_PAIR(type, load, store)                                                             \
    {                                                                                              \
        type first = load(r->x, i * r->in, dtype), second = load(r->x, (half + i) * r->in, dtype); \
        type c = load(r->cos, i * r->cos_step, angles), s = load(r->sin, i * r->sin_step, angles); \
        store(r->out, i * r->to, dtype, first * c - second * s);                                   \
        store(r->out, (half + i) * r->to, dtype, second * c + first * s);                          \
    }

INLINE void rotary_one(const rotary_row *r, int64_t half, int64_t depth, int dtype, int angles) {
    int64_t i = 0;
    if (r->in == 1 && r->to == 1 && r->cos_step == 1 && r->sin_step == 1)
        for (; i + VL <= half; i += VL) ROTARY_PAIR(vf, vf_load_as, vf_store_as)
    for (; i < half; i++) ROTARY_PAIR(float, load_as, store_as)
    if (r->out == r->x && r->in == r->to) return;
    for (i = 2 * half; i < depth; i++)
        store_as(r->out, i * r->to, dtype, load_as(r->x, i * r->in, dtype));
}

int PTIR_NAME(rotary)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor x, cos, sin, out;
    words = ptir_read(words, base, &x);
    words = ptir_read(words, base, &cos);
    words = ptir_read(words, base, &sin);
    ptir_read(words, base, &out);
    if (!ptir_count(&x)) return PTIR_OK;
    int64_t heads = x.size[1], queries = x.size[2], lo, hi;
    int64_t each = ptir_bytes(cos.dtype);
    ptir_share(team, x.size[0] * heads * queries, 1, &lo, &hi);
    for (int64_t i = lo; i < hi; i++) {
        int64_t b = i / queries / heads, h = i / queries % heads, t = i % queries;
        rotary_row r = {
            .x = attention_at(&x, b, h, t, 0), .out = (char *)attention_at(&out, b, h, t, 0),
            .cos = cos.data + (b * cos.stride[0] + t * cos.stride[1]) * each,
            .sin = sin.data + (b * sin.stride[0] + t * sin.stride[1]) * each,
            .in = x.stride[3], .to = out.stride[3],
            .cos_step = cos.stride[2], .sin_step = sin.stride[2],
        };
        rotary_one(&r, cos.size[2], x.size[3], x.dtype, cos.dtype);
    }
    return PTIR_OK;
}
