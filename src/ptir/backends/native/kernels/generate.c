/* Tensors from numbers alone.
 *
 *   iota         out, axis: each element is its index along the axis (any real type but f8)
 *   random_bits  key ui32[2], out of ui8 to ui64 without gaps: Philox4x32-10 of blocks 0, 1, 2, ...
 */

/* --- iota --- */

/* f32 whose last bit says that something did not fit: rounding on to 16 bits is then exact. */
static float iota_odd(int64_t x) {
    float near = (float)x;
    uint32_t bits;
    if ((int64_t)near == x) return near;
    memcpy(&bits, &near, sizeof bits);
    bits = (bits - ((int64_t)near > x)) | 1; /* x is positive */
    memcpy(&near, &bits, sizeof bits);
    return near;
}

/* first, first + by, ... in the type that `dtype` is stored from. */
static void iota_chunk(combine_chunk *to, int dtype, int64_t first, int64_t by, int64_t n) {
    int wide = combine_wide(dtype);
    for (int64_t i = 0; i < n; i++) {
        int64_t x = first + i * by;
        if (wide == PTIR_f64) to->f64[i] = (double)x;
        else if (wide != PTIR_f32) to->si64[i] = x;
        else to->f32[i] = dtype == PTIR_f32 ? (float)x : iota_odd(x);
    }
}

int PTIR_NAME(iota)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor out = {0};
    words = ptir_read(words, base, &out);
    int axis = (int)words[0], last = out.rank - 1;
    int64_t lo, hi, count = ptir_count(&out), n = out.size[last], step = index_step(&out, last);
    int64_t inner = 1, most = out.size[axis] - 1;
    int saturates = combine_nearest(most, out.dtype) != most;
    combine_chunk chunk;
    if (combine_wide(out.dtype) < 0) return PTIR_REFUSED;
    if (!count) return PTIR_OK;
    for (int i = axis + 1; i < last; i++) inner *= out.size[i];
    ptir_share(team, count / n, 1, &lo, &hi);
    for (int64_t row = lo; row < hi; row++) {
        char *to = out.data + index_row(&out, last, out.size, row);
        int64_t first = axis == last ? 0 : row / inner % out.size[axis];
        for (int64_t i = 0; i < n; i += COMBINE_CHUNK) {
            int64_t some = n - i < COMBINE_CHUNK ? n - i : COMBINE_CHUNK;
            if (axis == last || !i)
                iota_chunk(&chunk, out.dtype, first + (axis == last ? i : 0), axis == last, some);
            combine_store(to + i * step, step, out.dtype, &chunk, some, saturates);
        }
    }
    return PTIR_OK;
}

/* --- random_bits --- */

enum { RANDOM_ROUNDS = 10, RANDOM_BLOCK = 16 /* bytes */ };

/* One block. In scalars: compilers make slower code of lanes, which need the high halves. */
INLINE void random_block(uint32_t *to, uint64_t block, uint32_t key0, uint32_t key1) {
    uint32_t a = (uint32_t)block, b = (uint32_t)(block >> 32), c = 0, d = 0;
    for (int round = 0; round < RANDOM_ROUNDS; round++) {
        uint64_t p = (uint64_t)a * 0xD2511F53, q = (uint64_t)c * 0xCD9E8D57;
        a = (uint32_t)(q >> 32) ^ b ^ key0;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ key1;
        d = (uint32_t)p;
        key0 += 0x9E3779B9; /* the golden ratio */
        key1 += 0xBB67AE85; /* the root of 3, less 1 */
    }
    to[0] = a, to[1] = b, to[2] = c, to[3] = d;
}

int PTIR_NAME(random_bits)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor key, out;
    words = ptir_read(words, base, &key);
    ptir_read(words, base, &out);
    int64_t lo, hi, bytes = ptir_count(&out) * ptir_bytes(out.dtype);
    uint32_t made[4];
    uint32_t key0 = *(const copy_4 *)key.data;
    uint32_t key1 = *(const copy_4 *)(key.data + index_step(&key, 0));
    ptir_share(team, bytes, 4 * RANDOM_BLOCK, &lo, &hi);
    for (; lo + RANDOM_BLOCK <= hi; lo += RANDOM_BLOCK) {
        random_block(made, (uint64_t)lo / RANDOM_BLOCK, key0, key1);
        memcpy(out.data + lo, made, RANDOM_BLOCK);
    }
    if (lo == hi) return PTIR_OK;
    random_block(made, (uint64_t)lo / RANDOM_BLOCK, key0, key1);
    memcpy(out.data + lo, made, (size_t)(hi - lo));
    return PTIR_OK;
}
