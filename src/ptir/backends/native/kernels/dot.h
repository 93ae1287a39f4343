/* What the ways to multiply matrices share: one product of a batch, what is added to it and how it
 * is stored, and elements as f32 in other places. */
enum { DOT_BIAS = 1, DOT_RESIDUAL = 2, DOT_PACKED = 4, DOT_CHAIN = 8, DOT_ADDED = 2 };
enum { DOT_PANEL = 32 }; /* columns of packed w side by side: see dot_tile.h */

typedef struct {
    char *data;
    int64_t row, column; /* strides, in elements */
    int dtype;
} dot_matrix;

typedef struct dot_chain dot_chain;

/* out [m, n] = x [m, k] · w [k, n] + added[0] + added[1] */
typedef struct {
    int64_t m, n, k;
    dot_matrix x, w, out, added[DOT_ADDED];
    int adds;
    const dot_chain *chain; /* what becomes of each element, or NULL: see dot_chain.h */
    int packed; /* whether w lies in panels */
    int pairs;  /* whether two elements of k are multiplied at once: see dot_pairs.h */
} dot_item;

INLINE int64_t dot_least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t dot_blocks(int64_t n, int64_t size) { return (n + size - 1) / size; }

static char *dot_at(const dot_matrix *a, int64_t i, int64_t j) {
    return a->data + (i * a->row + j * a->column) * ptir_bytes(a->dtype);
}

/* --- what is added, and the store --- */

INLINE float dot_finish_1(const dot_item *d, int64_t i, int64_t j, float sum) {
    for (int a = 0; a < d->adds; a++)
        sum += load_as(dot_at(&d->added[a], i, j), 0, d->added[a].dtype);
    return sum;
}

static int dot_adjacent(const dot_item *d) {
    int adjacent = d->out.column == 1;
    for (int a = 0; a < d->adds; a++) adjacent &= d->added[a].column == 1;
    return adjacent;
}

/* sums[0 .. n) are row i of the product from column j on. */
static void dot_finish(const dot_item *d, int64_t i, int64_t j, int64_t n, const float *sums) {
    char *out = dot_at(&d->out, i, j);
    int64_t at = 0;
    if (!d->adds && d->out.dtype == PTIR_f32 && d->out.column == 1) {
        memcpy(out, sums, (size_t)n * sizeof *sums);
        return;
    }
    if (dot_adjacent(d))
        for (; at + VL <= n; at += VL) {
            vf v = vf_load(sums + at);
            for (int a = 0; a < d->adds; a++)
                v += vf_load_as(dot_at(&d->added[a], i, j + at), 0, d->added[a].dtype);
            vf_store_as(out, at, d->out.dtype, v);
        }
    for (; at < n; at++)
        store_as(out, at * d->out.column, d->out.dtype, dot_finish_1(d, i, j + at, sums[at]));
}

/* --- elements as f32 --- */

/* n < VL elements, then zeros. */
INLINE vf dot_part(const char *from, int64_t n, int dtype) {
    float part[VL] = {0};
    for (int64_t i = 0; i < n; i++) part[i] = load_as(from, i, dtype);
    return vf_load(part);
}

INLINE void dot_widen_as(float *to, const char *from, int64_t step, int64_t n, int dtype) {
    int64_t i = 0;
    if (step == 1)
        for (; i + VL <= n; i += VL) vf_store(to + i, vf_load_as(from, i, dtype));
    for (; i < n; i++) to[i] = load_as(from, i * step, dtype);
}

/* n elements that are `step` apart, side by side. */
static void dot_widen(float *to, const char *from, int64_t step, int64_t n, int dtype) {
    switch (dtype) {
    case PTIR_f32: dot_widen_as(to, from, step, n, PTIR_f32); break;
    case PTIR_bf16: dot_widen_as(to, from, step, n, PTIR_bf16); break;
    default: dot_widen_as(to, from, step, n, PTIR_f16); break;
    }
}

INLINE void dot_turn_as(
    float *to, int64_t to_row, const char *from, int64_t from_row, int64_t rows, int64_t columns,
    int dtype
) {
    int64_t r = 0;
    for (; r + VL <= rows; r += VL) {
        int64_t c = 0;
        for (; c + VL <= columns; c += VL) {
            vf x[VL];
            for (int i = 0; i < VL; i++) x[i] = vf_load_as(from, (r + i) * from_row + c, dtype);
            vf_transpose(x);
            for (int i = 0; i < VL; i++) vf_store(to + (c + i) * to_row + r, x[i]);
        }
        for (; c < columns; c++)
            for (int i = 0; i < VL; i++)
                to[c * to_row + r + i] = load_as(from, (r + i) * from_row + c, dtype);
    }
    for (; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            to[c * to_row + r] = load_as(from, r * from_row + c, dtype);
}

/* to[c][r] = from[r][c], for rows of adjacent elements. */
static void dot_turn(
    float *to, int64_t to_row, const char *from, int64_t from_row, int64_t rows, int64_t columns,
    int dtype
) {
    switch (dtype) {
    case PTIR_f32: dot_turn_as(to, to_row, from, from_row, rows, columns, PTIR_f32); break;
    case PTIR_bf16: dot_turn_as(to, to_row, from, from_row, rows, columns, PTIR_bf16); break;
    default: dot_turn_as(to, to_row, from, from_row, rows, columns, PTIR_f16); break;
    }
}
