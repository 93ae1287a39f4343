/* Combining at computed positions, in place; the order of the updates is kept for each element.
 *
 *   scatter         out, indices, updates, work, axis, kind: out[indices[i, j], j] with
 *                   updates[i, j] along axis 0
 *   scatter_nd      out [V..., M], indices [n, k], updates [n, M], work, kind
 *   segment_reduce  out [S, M], ids [n], data [n, M], work, kind: `out` is only written
 *
 * kind: add 0, mul 1, max 2, min 3, replace 4 (any type; the others: as `combine` says). `work` is
 * where it happens: `out` itself, or as many elements of the wider type, which are rounded once:
 * f32 for add and mul of bf16 and f16; in segment_reduce si64 or ui64 for those of integers. An
 * index outside refuses before anything is written.
 */

/* --- to the working tensor and back --- */

static void scatter_convert(
    const ptir_tensor *to, const ptir_tensor *from, const ptir_team *team
) {
    int last = to->rank - 1;
    int64_t lo, hi, count = ptir_count(to), n = last >= 0 ? to->size[last] : 1;
    combine_chunk chunk;
    if (!count) return;
    ptir_share(team, count / n, 1, &lo, &hi);
    for (int64_t row = lo; row < hi; row++) {
        char *p = to->data + index_row(to, last, to->size, row);
        const char *x = from->data + index_row(from, last, to->size, row);
        for (int64_t i = 0; i < n; i += COMBINE_CHUNK) {
            int64_t some = n - i < COMBINE_CHUNK ? n - i : COMBINE_CHUNK;
            int64_t in = index_step(from, last), out = index_step(to, last);
            combine_load(&chunk, x + i * in, in, from->dtype, some);
            combine_store(p + i * out, out, to->dtype, &chunk, some, 1);
        }
    }
}

/* What a phase does. With a wider tensor to add up in, filling that and rounding it back are phases
 * of their own. */
enum scatter_part { SCATTER_FILL, SCATTER_WRITE, SCATTER_ROUND };

static enum scatter_part scatter_part(const ptir_tensor *out, const ptir_tensor *work, int phase) {
    return work->data == out->data ? SCATTER_WRITE : (enum scatter_part)phase;
}

/* Does a part that does not write the updates; what the kernel returns after the part. */
static int scatter_around(
    enum scatter_part part, const ptir_tensor *out, const ptir_tensor *work, const ptir_team *team
) {
    if (part == SCATTER_FILL) scatter_convert(work, out, team);
    if (part == SCATTER_ROUND) scatter_convert(out, work, team);
    return work->data == out->data || part == SCATTER_ROUND ? PTIR_OK : PTIR_AGAIN;
}

static int scatter_serves(const ptir_tensor *work, const ptir_tensor *updates, int kind) {
    if (kind == COMBINE_REPLACE) return work->dtype == updates->dtype;
    return combine_wide(work->dtype) >= 0 &&
           combine_wide(work->dtype) == combine_wide(updates->dtype);
}

static void scatter_row(
    int kind, char *to, int64_t out, int dtype, const char *x, int64_t in, int of_x, int64_t n
) {
    if (kind == COMBINE_REPLACE) copy_row(to, out, x, in, n, ptir_bytes(dtype));
    else combine_into((enum combine_kind)kind, to, out, dtype, x, in, of_x, n);
}

INLINE void scatter_one(int kind, char *to, int dtype, const char *x, int of_x) {
    if (kind == COMBINE_ADD && dtype == PTIR_f32 && of_x == PTIR_f32) { /* the usual one */
        float sum, new;
        memcpy(&sum, to, sizeof sum);
        memcpy(&new, x, sizeof new);
        sum += new;
        memcpy(to, &sum, sizeof sum);
    } else {
        scatter_row(kind, to, 0, dtype, x, 0, of_x, 1);
    }
}

/* --- scatter --- */

/* Every thread looks at every index: none writes when one of them is wrong. */
static int scatter_check(const ptir_tensor *indices, int64_t size) {
    int last = indices->rank - 1;
    int64_t at[INDEX_CHUNK], count = ptir_count(indices), step = index_step(indices, last);
    int64_t length = count ? indices->size[last] : 1;
    for (int64_t row = 0; row < count / length; row++) {
        const char *index = indices->data + index_row(indices, last, indices->size, row);
        for (int64_t i = 0; i < length; i += INDEX_CHUNK) {
            int64_t n = length - i < INDEX_CHUNK ? length - i : INDEX_CHUNK;
            if (index_chunk(at, index + i * step, step, indices->dtype, n, size))
                return PTIR_REFUSED;
        }
    }
    return PTIR_OK;
}

static void scatter_narrow(ptir_tensor *t, int axis, int64_t lo, int64_t hi) {
    t->data += lo * index_step(t, axis);
    t->size[axis] = hi - lo;
}

/* A thread takes a part of the longest axis that is not `axis`: no two meet in an element. */
static void scatter_cut(
    ptir_tensor *work, ptir_tensor *indices, ptir_tensor *updates, int axis, const ptir_team *team
) {
    int widest = axis == 0 && work->rank > 1;
    int64_t lo, hi;
    for (int i = 0; i < work->rank; i++)
        if (i != axis && indices->size[i] > indices->size[widest]) widest = i;
    if (widest == axis || ptir_count(indices) < INDEX_ALONE) {
        if (team->id) indices->size[0] = 0;
        return;
    }
    ptir_share(team, indices->size[widest], 16, &lo, &hi);
    scatter_narrow(work, widest, lo, hi);
    scatter_narrow(indices, widest, lo, hi);
    scatter_narrow(updates, widest, lo, hi);
}

static void scatter_all(
    ptir_tensor work, const ptir_tensor *indices, const ptir_tensor *updates, int axis, int kind
) {
    int last = work.rank - 1;
    int64_t in = index_step(&work, axis), limit = INT64_MAX, at[INDEX_CHUNK];
    int64_t step = index_step(indices, last), new_step = index_step(updates, last);
    work.stride[axis] = 0;
    int64_t other = index_step(&work, last), count = ptir_count(indices);
    int64_t length = count ? indices->size[last] : 1;
    for (int64_t row = 0; row < count / length; row++) {
        char *to = work.data + index_row(&work, last, indices->size, row);
        const char *index = indices->data + index_row(indices, last, indices->size, row);
        const char *new = updates->data + index_row(updates, last, indices->size, row);
        for (int64_t i = 0; i < length; i++) { /* in order: two may meet */
            int64_t part = i % INDEX_CHUNK, left = length - i;
            if (!part)
                index_chunk(at, index + i * step, step, indices->dtype,
                            left < INDEX_CHUNK ? left : INDEX_CHUNK, limit);
            scatter_one(kind, to + at[part] * in + i * other, work.dtype, new + i * new_step,
                        updates->dtype);
        }
    }
}

int PTIR_NAME(scatter)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor out, indices, updates, work;
    words = ptir_read(words, base, &out);
    words = ptir_read(words, base, &indices);
    words = ptir_read(words, base, &updates);
    words = ptir_read(words, base, &work);
    int axis = (int)words[0], kind = (int)words[1];
    if (!scatter_serves(&work, &updates, kind) || index_along(&out, &indices, axis) ||
        scatter_check(&indices, out.size[axis]))
        return PTIR_REFUSED;
    enum scatter_part part = scatter_part(&out, &work, team->phase);
    if (part == SCATTER_WRITE) {
        ptir_tensor mine = work;
        scatter_cut(&mine, &indices, &updates, axis, team);
        scatter_all(mine, &indices, &updates, axis, kind);
    }
    return scatter_around(part, &out, &work, team);
}

/* --- rows --- */

/* A thread takes some columns of every update. */
static void scatter_rows(
    const ptir_tensor *work, const ptir_tensor *indices, const ptir_tensor *updates, int kind,
    const ptir_team *team
) {
    int64_t lo = 0, hi = updates->size[1], to;
    int last = work->rank - 1;
    if (ptir_count(updates) >= INDEX_ALONE) ptir_share(team, hi, 64, &lo, &hi);
    else if (team->id) return;
    if (lo == hi) return;
    int64_t in = index_step(updates, 1), out = index_step(work, last);
    for (int64_t row = 0; row < updates->size[0]; row++) {
        index_point(work, indices, row, &to);
        scatter_row(kind, work->data + to + lo * out, out, work->dtype,
                    updates->data + row * index_step(updates, 0) + lo * in, in, updates->dtype,
                    hi - lo);
    }
}

static int scatter_points(const ptir_tensor *out, const ptir_tensor *indices) {
    for (int64_t row = 0, at; row < indices->size[0]; row++)
        if (index_point(out, indices, row, &at)) return PTIR_REFUSED;
    return PTIR_OK;
}

int PTIR_NAME(scatter_nd)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor out, indices, updates, work;
    words = ptir_read(words, base, &out);
    words = ptir_read(words, base, &indices);
    words = ptir_read(words, base, &updates);
    words = ptir_read(words, base, &work);
    int kind = (int)words[0];
    if (!scatter_serves(&work, &updates, kind) || scatter_points(&out, &indices))
        return PTIR_REFUSED;
    enum scatter_part part = scatter_part(&out, &work, team->phase);
    if (part == SCATTER_WRITE) scatter_rows(&work, &indices, &updates, kind, team);
    return scatter_around(part, &out, &work, team);
}

int PTIR_NAME(segment_reduce)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor out, ids, data, work;
    words = ptir_read(words, base, &out);
    words = ptir_read(words, base, &ids);
    words = ptir_read(words, base, &data);
    words = ptir_read(words, base, &work);
    int kind = (int)words[0], wide = combine_wide(out.dtype);
    ids.rank = 2, ids.size[1] = 1, ids.stride[1] = 0;
    if (kind == COMBINE_REPLACE || !scatter_serves(&work, &data, kind) ||
        scatter_points(&out, &ids))
        return PTIR_REFUSED;
    if (!team->phase) {
        char value[16];
        combine_chunk identity;
        combine_identity((enum combine_kind)kind, wide, &identity, 1);
        combine_store(value, 0, out.dtype, &identity, 1, 1);
        ptir_tensor nothing = {.data = value, .dtype = out.dtype};
        copy_tensor(&nothing, &out, team);
        return PTIR_AGAIN;
    }
    enum scatter_part part = scatter_part(&out, &work, team->phase - 1);
    if (part == SCATTER_WRITE) scatter_rows(&work, &ids, &data, kind, team);
    return scatter_around(part, &out, &work, team);
}
