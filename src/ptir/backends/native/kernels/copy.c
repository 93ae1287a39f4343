/* Copies of tensors from one layout to another, blind to what the elements mean.
 *
 *   copy  from, to     same dtype and sizes, any strides; `to` never overlaps `from` in part
 *   fill  to, value    `value` of rank 0 in every element of `to`
 */

enum { COPY_LINE = 64, COPY_ALONE = 1 << 16 }; /* bytes: a cache line; too few to share */

typedef uint8_t copy_1;
typedef uint16_t copy_2 __attribute__((aligned(1), may_alias));
typedef uint32_t copy_4 __attribute__((aligned(1), may_alias));
typedef uint64_t copy_8 __attribute__((aligned(1), may_alias));
typedef uint64_t copy_16 __attribute__((vector_size(16), aligned(1), may_alias));

/* A copy as nested loops, the last one innermost; strides are in bytes. */
typedef struct {
    int rank;
    int64_t bytes; /* of an element */
    const char *from;
    char *to;
    int64_t size[PTIR_MAX_RANK], in[PTIR_MAX_RANK], out[PTIR_MAX_RANK];
} copy_loop;

/* --- one row --- */

#define COPY_ROW(B)                                                                                \
    static void copy_row_##B(char *to, int64_t out, const char *from, int64_t in, int64_t n) {     \
        if (!in && out == B) {                                                                     \
            const copy_##B one = *(const copy_##B *)from;                                          \
            for (int64_t i = 0; i < n; i++) ((copy_##B *)to)[i] = one;                             \
        } else if (out == B) {                                                                     \
            for (int64_t i = 0; i < n; i++, from += in)                                            \
                ((copy_##B *)to)[i] = *(const copy_##B *)from;                                     \
        } else {                                                                                   \
            for (int64_t i = 0; i < n; i++, from += in, to += out)                                 \
                *(copy_##B *)to = *(const copy_##B *)from;                                         \
        }                                                                                          \
    }
COPY_ROW(1)
COPY_ROW(2)
COPY_ROW(4)
COPY_ROW(8)
COPY_ROW(16)

static void copy_row(
    char *to, int64_t out, const char *from, int64_t in, int64_t n, int64_t bytes
) {
    if (in == bytes && out == bytes && n * bytes >= 16) memcpy(to, from, (size_t)(n * bytes));
    else if (bytes == 1) copy_row_1(to, out, from, in, n);
    else if (bytes == 2) copy_row_2(to, out, from, in, n);
    else if (bytes == 4) copy_row_4(to, out, from, in, n);
    else if (bytes == 8) copy_row_8(to, out, from, in, n);
    else copy_row_16(to, out, from, in, n);
}

/* --- one transposed tile: rows of 16 bytes --- */

typedef uint8_t copy_v1 __attribute__((vector_size(16)));
typedef uint16_t copy_v2 __attribute__((vector_size(16)));
typedef uint32_t copy_v4 __attribute__((vector_size(16)));
typedef uint64_t copy_v8 __attribute__((vector_size(16)));

#define COPY_LOW_1(a, b)                                                                           \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define COPY_HIGH_1(a, b)                                                                          \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define COPY_LOW_2(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define COPY_HIGH_2(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define COPY_LOW_4(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define COPY_HIGH_4(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define COPY_LOW_8(a, b) __builtin_shufflevector(a, b, 0, 2)
#define COPY_HIGH_8(a, b) __builtin_shufflevector(a, b, 1, 3)

/* Interleaving row i with row i + N/2, log2(N) times, is a transpose. */
#define COPY_TILE(B)                                                                               \
    INLINE void copy_mix_##B(copy_v##B *to, const copy_v##B *from) {                               \
        enum { N = 16 / B };                                                                       \
        for (int i = 0; i < N / 2; i++) {                                                          \
            to[2 * i] = COPY_LOW_##B(from[i], from[i + N / 2]);                                    \
            to[2 * i + 1] = COPY_HIGH_##B(from[i], from[i + N / 2]);                               \
        }                                                                                          \
    }                                                                                              \
    INLINE void copy_tile_##B(char *to, int64_t out, const char *from, int64_t in) {               \
        enum { N = 16 / B };                                                                       \
        copy_v##B a[N], b[N];                                                                      \
        for (int i = 0; i < N; i++) memcpy(&a[i], from + i * in, 16);                              \
        copy_mix_##B(b, a);                                                                        \
        if (N > 2) copy_mix_##B(a, b);                                                             \
        if (N > 4) copy_mix_##B(b, a);                                                             \
        if (N > 8) copy_mix_##B(a, b);                                                             \
        const copy_v##B *done = N == 2 || N == 8 ? b : a;                                          \
        for (int i = 0; i < N; i++) memcpy(to + i * out, &done[i], 16);                            \
    }
COPY_TILE(1)
COPY_TILE(2)
COPY_TILE(4)
COPY_TILE(8)

INLINE void copy_tile(char *to, int64_t out, const char *from, int64_t in, int64_t bytes) {
    if (bytes == 1) copy_tile_1(to, out, from, in);
    else if (bytes == 2) copy_tile_2(to, out, from, in);
    else if (bytes == 4) copy_tile_4(to, out, from, in);
    else copy_tile_8(to, out, from, in);
}

/* Transposes rows x columns elements, each side at most a cache line. What is written passes
 * through `block`, so that every line of memory is met once, whatever the strides collide on. */
INLINE void copy_block(
    char *to, int64_t out, const char *from, int64_t in, int64_t rows, int64_t columns,
    int64_t bytes
) {
    char block[COPY_LINE * COPY_LINE];
    int64_t n = 16 / bytes, r = 0;
    for (; r + n <= rows; r += n) {
        int64_t c = 0;
        for (; c + n <= columns; c += n)
            copy_tile(block + c * COPY_LINE + r * bytes, COPY_LINE, from + r * in + c * bytes, in,
                      bytes);
        for (; c < columns; c++)
            copy_row(block + c * COPY_LINE + r * bytes, bytes, from + r * in + c * bytes, in, n,
                     bytes);
    }
    for (; r < rows; r++)
        copy_row(block + r * bytes, COPY_LINE, from + r * in, bytes, columns, bytes);
    if (rows * bytes == COPY_LINE)
        for (int64_t c = 0; c < columns; c++)
            memcpy(to + c * out, block + c * COPY_LINE, COPY_LINE);
    else
        for (int64_t c = 0; c < columns; c++)
            memcpy(to + c * out, block + c * COPY_LINE, (size_t)(rows * bytes));
}

static int64_t copy_least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Squares of some lines: the pages of one stay in the TLB. */
INLINE void copy_square(
    char *to, int64_t out, const char *from, int64_t in, int64_t rows, int64_t columns,
    int64_t bytes
) {
    int64_t side = COPY_LINE / bytes, square = 8 * side;
    for (int64_t r0 = 0; r0 < rows; r0 += square)
        for (int64_t c0 = 0; c0 < columns; c0 += square)
            for (int64_t c = c0; c < copy_least(columns, c0 + square); c += side)
                for (int64_t r = r0; r < copy_least(rows, r0 + square); r += side)
                    copy_block(to + c * out + r * bytes, out, from + r * in + c * bytes, in,
                               copy_least(rows - r, side), copy_least(columns - c, side), bytes);
}

/* to[c, r] = from[r, c] */
static void copy_transpose(
    char *to, int64_t out, const char *from, int64_t in, int64_t rows, int64_t columns,
    int64_t bytes
) {
    if (bytes == 1) copy_square(to, out, from, in, rows, columns, 1);
    else if (bytes == 2) copy_square(to, out, from, in, rows, columns, 2);
    else if (bytes == 4) copy_square(to, out, from, in, rows, columns, 4);
    else copy_square(to, out, from, in, rows, columns, 8);
}

/* --- loops --- */

static int copy_is_run(const copy_loop *l, int axis) {
    return l->in[axis] == l->bytes && l->out[axis] == l->bytes;
}

static void copy_exchange(copy_loop *l, int a, int b) {
    int64_t size = l->size[a], in = l->in[a], out = l->out[a];
    l->size[a] = l->size[b], l->in[a] = l->in[b], l->out[a] = l->out[b];
    l->size[b] = size, l->in[b] = in, l->out[b] = out;
}

/* Adds an axis; those with the longest strides in `to` stay outside. */
static void copy_add_axis(copy_loop *l, int64_t size, int64_t in, int64_t out) {
    if (out < 0) {
        l->from += (size - 1) * in;
        l->to += (size - 1) * out;
        in = -in, out = -out;
    }
    int at = l->rank++;
    l->size[at] = size, l->in[at] = in, l->out[at] = out;
    for (; at && l->out[at - 1] < out; at--) copy_exchange(l, at - 1, at);
}

static void copy_merge(copy_loop *l) {
    int kept = 0;
    for (int i = 1; i < l->rank; i++) {
        int fits = l->in[kept] == l->in[i] * l->size[i] && l->out[kept] == l->out[i] * l->size[i];
        int64_t size = fits ? l->size[kept] * l->size[i] : l->size[i];
        if (!fits) kept++;
        l->size[kept] = size, l->in[kept] = l->in[i], l->out[kept] = l->out[i];
    }
    if (l->rank) l->rank = kept + 1;
}

/* A short run on both sides is an element itself. */
static void copy_widen(copy_loop *l) {
    if (!l->rank || !copy_is_run(l, l->rank - 1)) return;
    int64_t wide = l->size[l->rank - 1] * l->bytes;
    if (wide > 16 || (wide & (wide - 1))) return;
    l->bytes = wide;
    l->rank--;
}

/* Whether the last two axes are a transpose that tiles can do. */
static int copy_is_transpose(const copy_loop *l) {
    int last = l->rank - 1;
    return last > 0 && l->bytes < 16 && l->out[last] == l->bytes && l->in[last - 1] == l->bytes &&
           l->size[last] * l->bytes >= 16 && l->size[last - 1] * l->bytes >= 16;
}

/* Puts the axis that is a run in `from` next to the one that is a run in `to`; where that makes no
 * transpose, the longer of the two goes inside. */
static void copy_arrange(copy_loop *l) {
    int last = l->rank - 1;
    if (last < 1 || copy_is_run(l, last)) return;
    for (int i = 0; i < last; i++) {
        if (l->in[i] != l->bytes) continue;
        for (; i + 1 < last; i++) copy_exchange(l, i, i + 1);
    }
    if (!copy_is_transpose(l) && l->size[last] < 8 && l->size[last - 1] > l->size[last])
        copy_exchange(l, last - 1, last);
}

static void copy_walk(const copy_loop *l, int axis, char *to, const char *from) {
    int left = l->rank - axis;
    if (left <= 1) {
        int64_t n = left ? l->size[axis] : 1;
        copy_row(to, left ? l->out[axis] : l->bytes, from, left ? l->in[axis] : 0, n, l->bytes);
    } else if (left == 2 && copy_is_transpose(l)) {
        copy_transpose(to, l->out[axis], from, l->in[axis + 1], l->size[axis + 1], l->size[axis],
                       l->bytes);
    } else {
        for (int64_t i = 0; i < l->size[axis]; i++)
            copy_walk(l, axis + 1, to + i * l->out[axis], from + i * l->in[axis]);
    }
}

/* Keeps this thread's part: a piece of the outermost axis that is long enough, else the longest.
 * Returns whether there is any. */
static int copy_cut(copy_loop *l, const ptir_team *team) {
    int64_t count = 1;
    int axis = 0;
    for (int i = 0; i < l->rank; i++) count *= l->size[i];
    if (team->size == 1) return 1;
    if (count * l->bytes < COPY_ALONE) return team->id == 0;
    for (int i = 1; i < l->rank && l->size[axis] < 4 * team->size; i++)
        if (l->size[i] > l->size[axis]) axis = i;
    int near = l->in[axis] == l->bytes || l->out[axis] == l->bytes;
    int64_t lo, hi;
    ptir_share(team, l->size[axis], near ? COPY_LINE / l->bytes : 1, &lo, &hi);
    l->from += lo * l->in[axis];
    l->to += lo * l->out[axis];
    l->size[axis] = hi - lo;
    return lo < hi;
}

static void copy_tensor(const ptir_tensor *from, const ptir_tensor *to, const ptir_team *team) {
    int64_t bytes = ptir_bytes(to->dtype);
    copy_loop l = {.bytes = bytes, .from = from->data, .to = to->data};
    for (int i = 0; i < to->rank; i++) {
        if (!to->size[i]) return;
        if (to->size[i] == 1) continue;
        copy_add_axis(&l, to->size[i], from->stride[i] * bytes, to->stride[i] * bytes);
    }
    copy_merge(&l);
    copy_widen(&l);
    copy_arrange(&l);
    if (copy_cut(&l, team)) copy_walk(&l, 0, l.to, l.from);
}

int PTIR_NAME(copy)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor from, to;
    words = ptir_read(words, base, &from);
    ptir_read(words, base, &to);
    int same = from.data == to.data;
    for (int i = 0; i < to.rank; i++) same &= from.stride[i] == to.stride[i];
    if (!same) copy_tensor(&from, &to, team);
    return PTIR_OK;
}

int PTIR_NAME(fill)(const int64_t *words, char *const *base, const ptir_team *team) {
    ptir_tensor to, value;
    words = ptir_read(words, base, &to);
    ptir_read(words, base, &value);
    for (int i = 0; i < to.rank; i++) value.stride[i] = 0;
    copy_tensor(&value, &to, team);
    return PTIR_OK;
}
