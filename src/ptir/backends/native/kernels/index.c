/* Reading at computed positions. Indices are of any integer type; one outside its axis refuses.
 *
 *   take       table [O, V, I], indices [n], out [O, n, I]
 *   gather     x, indices, out (equal ranks), axis: out[i, j] = x[indices[i, j], j] along axis 0
 *   gather_nd  x [V..., I], indices [n, k], out [n, I]: k leading axes are addressed
 *   dynamic_slice         x, start [rank], out: the part at `start`, which is clamped
 *   dynamic_update_slice  out, update, start [rank]: `out` is changed in place
 */

enum { INDEX_CHUNK = 256, INDEX_ALONE = 1 << 13 }; /* elements: at a time; too few to share */

/* --- indices --- */

static int64_t index_read(const char *p, int dtype) {
    switch (dtype) {
    case PTIR_si4: return (int8_t)(*(const uint8_t *)p << 4) >> 4;
    case PTIR_ui4: return *(const uint8_t *)p & 15;
    case PTIR_si8: return *(const int8_t *)p;
    case PTIR_i1:
    case PTIR_ui8: return *(const uint8_t *)p;
    case PTIR_si16: return (int16_t)*(const copy_2 *)p;
    case PTIR_ui16: return *(const copy_2 *)p;
    case PTIR_si32: return (int32_t)*(const copy_4 *)p;
    case PTIR_ui32: return *(const copy_4 *)p;
    default: return (int64_t)*(const copy_8 *)p; /* ui64 beyond si64 becomes negative: outside */
    }
}

/* n indices as si64; refuses if one is not in [0, size). */
static int index_chunk(
    int64_t *to, const char *from, int64_t step, int dtype, int64_t n, int64_t size
) {
    int64_t outside = 0;
    if (dtype == PTIR_si64)
        for (int64_t i = 0; i < n; i++) to[i] = (int64_t)*(const copy_8 *)(from + i * step);
    else if (dtype == PTIR_si32)
        for (int64_t i = 0; i < n; i++) to[i] = (int32_t)*(const copy_4 *)(from + i * step);
    else
        for (int64_t i = 0; i < n; i++) to[i] = index_read(from + i * step, dtype);
    uint64_t last = (uint64_t)size - 1; /* without sign: nothing overflows */
    for (int64_t i = 0; i < n; i++) outside |= to[i] | (int64_t)(last - (uint64_t)to[i]);
    return outside < 0 ? PTIR_REFUSED : PTIR_OK;
}

/* Where the row `number` of the leading axes starts: bytes from the first element. */
static int64_t index_row(const ptir_tensor *t, int axes, const int64_t *size, int64_t number) {
    int64_t at = 0;
    for (int i = axes - 1; i >= 0; i--) {
        at += number % size[i] * t->stride[i];
        number /= size[i];
    }
    return at * ptir_bytes(t->dtype);
}

static int64_t index_step(const ptir_tensor *t, int axis) {
    return axis >= 0 && axis < t->rank ? t->stride[axis] * ptir_bytes(t->dtype) : 0;
}

/* --- take --- */

/* Rows `first`.. of one outer index. A row of one element is not worth a call. */
static int index_take(
    const ptir_tensor *table, const ptir_tensor *indices, const ptir_tensor *out, int64_t outer,
    int64_t first, int64_t end, int64_t lo, int64_t hi
) {
    int64_t bytes = ptir_bytes(out->dtype), at[INDEX_CHUNK];
    int64_t in = index_step(table, 1), in_inner = index_step(table, 2);
    int64_t to_row = index_step(out, 1), to_inner = index_step(out, 2);
    const char *from = table->data + outer * index_step(table, 0) + lo * in_inner;
    char *to = out->data + outer * index_step(out, 0) + lo * to_inner;
    for (int64_t r = first; r < end; r += INDEX_CHUNK) {
        int64_t n = end - r < INDEX_CHUNK ? end - r : INDEX_CHUNK, step = index_step(indices, 0);
        if (index_chunk(at, indices->data + r * step, step, indices->dtype, n, table->size[1]))
            return PTIR_REFUSED;
        if (hi - lo == 1 && bytes == 4)
            for (int64_t i = 0; i < n; i++)
                *(copy_4 *)(to + (r + i) * to_row) = *(const copy_4 *)(from + at[i] * in);
        else
            for (int64_t i = 0; i < n; i++)
                copy_row(to + (r + i) * to_row, to_inner, from + at[i] * in, in_inner, hi - lo,
                         bytes);
    }
    return PTIR_OK;
}

int PTIR_NAME(take)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor table, indices, out;
    words = ptir_read(words, base, &table);
    words = ptir_read(words, base, &indices);
    ptir_read(words, base, &out);
    int64_t n = out.size[1], rows = out.size[0] * n, inner = out.size[2];
    int64_t lo = 0, hi = rows, left = 0, right = inner;
    if (!n) return PTIR_OK;
    if (!rows || !inner) { /* nothing is read, and yet an index may be wrong */
        for (int64_t i = 0; i < n; i++) {
            int64_t at, step = index_step(&indices, 0);
            if (index_chunk(&at, indices.data + i * step, step, indices.dtype, 1, table.size[1]))
                return PTIR_REFUSED;
        }
        return PTIR_OK;
    }
    if (rows * inner < INDEX_ALONE) hi = team->id ? 0 : rows;
    else if (rows >= team->size) ptir_share(team, rows, 1, &lo, &hi);
    else ptir_share(team, inner, 64, &left, &right);
    if (left == right) return PTIR_OK;
    for (int64_t end; lo < hi; lo = end) {
        int64_t outer = lo / n;
        end = (outer + 1) * n < hi ? (outer + 1) * n : hi;
        if (index_take(&table, &indices, &out, outer, lo - outer * n, end - outer * n, left, right))
            return PTIR_REFUSED;
    }
    return PTIR_OK;
}

/* --- gather --- */

#define INDEX_PICK(B)                                                                              \
    for (int64_t i = 0; i < n; i++)                                                                \
        *(copy_##B *)(to + i * out) = *(const copy_##B *)(from + at[i] * in + i * other)

/* to[i] = from[at[i], i] */
static void index_pick(
    char *to, int64_t out, const char *from, int64_t in, int64_t other, const int64_t *at,
    int64_t n, int64_t bytes
) {
    if (bytes == 1) INDEX_PICK(1);
    else if (bytes == 2) INDEX_PICK(2);
    else if (bytes == 4) INDEX_PICK(4);
    else if (bytes == 8) INDEX_PICK(8);
    else INDEX_PICK(16);
}

/* Refuses indices that reach further than x on the axes that they do not address. */
static int index_along(const ptir_tensor *x, const ptir_tensor *indices, int axis) {
    for (int i = 0; i < x->rank; i++)
        if (i != axis && indices->size[i] > x->size[i]) return PTIR_REFUSED;
    return PTIR_OK;
}

int PTIR_NAME(gather)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor x, indices, out = {0};
    words = ptir_read(words, base, &x);
    words = ptir_read(words, base, &indices);
    words = ptir_read(words, base, &out);
    int axis = (int)words[0], last = out.rank - 1;
    if (index_along(&x, &indices, axis)) return PTIR_REFUSED;
    int64_t count = ptir_count(&out), length = out.size[last], lo = 0, hi, at[INDEX_CHUNK];
    if (!count) return PTIR_OK;
    hi = count / length;
    if (count >= INDEX_ALONE) ptir_share(team, hi, 1, &lo, &hi);
    else if (team->id) return PTIR_OK;
    int64_t in = index_step(&x, axis), to_step = index_step(&out, last);
    int64_t step = index_step(&indices, last);
    x.stride[axis] = 0;
    int64_t other = index_step(&x, last);
    for (int64_t row = lo; row < hi; row++) {
        const char *from = x.data + index_row(&x, last, out.size, row);
        const char *index = indices.data + index_row(&indices, last, out.size, row);
        char *to = out.data + index_row(&out, last, out.size, row);
        for (int64_t i = 0; i < length; i += INDEX_CHUNK) {
            int64_t n = length - i < INDEX_CHUNK ? length - i : INDEX_CHUNK;
            if (index_chunk(at, index + i * step, step, indices.dtype, n, x.size[axis]))
                return PTIR_REFUSED;
            index_pick(to + i * to_step, to_step, from + i * other, in, other, at, n,
                       ptir_bytes(out.dtype));
        }
    }
    return PTIR_OK;
}

/* --- gather_nd --- */

/* Where the coordinates in row `number` of `indices` point: bytes into x; -1 if outside. */
static int index_point(
    const ptir_tensor *x, const ptir_tensor *indices, int64_t number, int64_t *found
) {
    const char *p = indices->data + number * index_step(indices, 0);
    int64_t at, step = index_step(indices, 1), sum = 0;
    for (int i = 0; i < indices->size[1]; i++) {
        if (index_chunk(&at, p + i * step, step, indices->dtype, 1, x->size[i]))
            return PTIR_REFUSED;
        sum += at * index_step(x, i);
    }
    *found = sum;
    return PTIR_OK;
}

int PTIR_NAME(gather_nd)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor x, indices, out = {0};
    words = ptir_read(words, base, &x);
    words = ptir_read(words, base, &indices);
    ptir_read(words, base, &out);
    int64_t lo = 0, hi = out.size[0];
    if (ptir_count(&out) >= INDEX_ALONE) ptir_share(team, hi, 1, &lo, &hi);
    else if (team->id) return PTIR_OK;
    for (int64_t row = lo; row < hi; row++) {
        int64_t from;
        if (index_point(&x, &indices, row, &from)) return PTIR_REFUSED;
        copy_row(out.data + row * index_step(&out, 0), index_step(&out, 1), x.data + from,
                 index_step(&x, x.rank - 1), out.size[1], ptir_bytes(out.dtype));
    }
    return PTIR_OK;
}

/* --- dynamic slices --- */

/* Narrows x to the part of these sizes at `start`, moved inside where it would reach out. */
static int index_part(ptir_tensor *x, const int64_t *size, const ptir_tensor *start) {
    for (int i = 0; i < x->rank; i++) {
        int64_t most = x->size[i] - size[i];
        int64_t at = index_read(start->data + i * index_step(start, 0), start->dtype);
        if (most < 0) return PTIR_REFUSED;
        if (at < 0) at = start->dtype == PTIR_ui64 ? most : 0;
        if (at > most) at = most;
        x->data += at * index_step(x, i);
        x->size[i] = size[i];
    }
    return PTIR_OK;
}

int PTIR_NAME(dynamic_slice)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor x, start, out;
    words = ptir_read(words, base, &x);
    words = ptir_read(words, base, &start);
    ptir_read(words, base, &out);
    if (index_part(&x, out.size, &start)) return PTIR_REFUSED;
    copy_tensor(&x, &out, team);
    return PTIR_OK;
}

int PTIR_NAME(dynamic_update_slice)(
    const int64_t *words, char *const *base, const ptir_team *team
) {
    ptir_tensor out, update, start;
    words = ptir_read(words, base, &out);
    words = ptir_read(words, base, &update);
    ptir_read(words, base, &start);
    if (index_part(&out, update.size, &start)) return PTIR_REFUSED;
    copy_tensor(&update, &out, team);
    return PTIR_OK;
}
