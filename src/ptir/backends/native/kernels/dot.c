/* Matrix products: flags, x [batch..., M, K], w [batch..., K, N], out [batch..., M, N], then what
 * is added where its flag is set: bias [N], residual [batch..., M, N].
 *
 * With packed w a chain of elementwise instructions may follow, behind its flag: see dot_chain.h.
 *
 * Packed w (without a batch) is [N / DOT_PANEL, K, DOT_PANEL] of f32 or f16, or of bf16 for even K
 * [N / DOT_PANEL, K / 2, DOT_PANEL, 2]; zeros stand behind column N. */
#include "dot.h"

#include "dot_pairs.h"

#include "dot_tile.h"

#include "dot_chain.h"

#include "dot_gemm.h"

#include "dot_packed.h"

#include "dot_skinny.h"

#include "dot_whole.h"

typedef struct {
    ptir_tensor x, w, out, added[DOT_ADDED];
    int adds, packed;
    const int64_t *rest; /* words behind the tensors */
    const dot_chain *chain;
    int64_t batch;
} dot_job;

static void dot_read(const int64_t *words, char *const *base, dot_job *job) {
    int64_t flags = *words++;
    words = ptir_read(words, base, &job->x);
    words = ptir_read(words, base, &job->w);
    words = ptir_read(words, base, &job->out);
    job->adds = 0;
    job->packed = (flags & DOT_PACKED) != 0;
    job->chain = NULL;
    if (flags & DOT_BIAS) words = ptir_read(words, base, &job->added[job->adds++]);
    if (flags & DOT_RESIDUAL) words = ptir_read(words, base, &job->added[job->adds++]);
    job->rest = flags & DOT_CHAIN ? words : NULL;
    job->batch = 1;
    for (int i = 0; i < job->out.rank - 2; i++) job->batch *= job->out.size[i];
}

/* The last two axes at one place of the axes before; a vector is the same row everywhere. */
static dot_matrix dot_matrix_at(const ptir_tensor *t, int64_t index) {
    dot_matrix a = {t->data, 0, t->stride[t->rank - 1], t->dtype};
    if (t->rank < 2) return a;
    a.row = t->stride[t->rank - 2];
    int64_t at = 0;
    for (int i = t->rank - 3; i >= 0; i--) {
        at += index % t->size[i] * t->stride[i];
        index /= t->size[i];
    }
    a.data += at * ptir_bytes(t->dtype);
    return a;
}

static dot_matrix dot_transposed(dot_matrix a) {
    return (dot_matrix){a.data, a.column, a.row, a.dtype};
}

/* Product number `index`. Of a tall and narrow one the transpose is computed. */
static dot_item dot_item_at(const dot_job *job, int64_t index) {
    int rank = job->out.rank;
    dot_item d = {
        .m = job->out.size[rank - 2], .n = job->out.size[rank - 1], .k = job->x.size[rank - 1],
        .x = dot_matrix_at(&job->x, index), .w = dot_matrix_at(&job->w, index),
        .out = dot_matrix_at(&job->out, index), .adds = job->adds,
        .pairs = DOT_PAIRS && job->x.dtype == PTIR_bf16 && job->w.dtype == PTIR_bf16,
        .packed = job->packed, .chain = job->chain,
    };
    for (int a = 0; a < d.adds; a++) d.added[a] = dot_matrix_at(&job->added[a], index);
    if (d.packed || d.m <= SKINNY_ROWS || d.n > SKINNY_ROWS) return d;
    dot_matrix x = d.x;
    int64_t m = d.m;
    d.x = dot_transposed(d.w), d.w = dot_transposed(x), d.out = dot_transposed(d.out);
    d.m = d.n, d.n = m;
    for (int a = 0; a < d.adds; a++) d.added[a] = dot_transposed(d.added[a]);
    return d;
}

/* Products with few rows: columns of all items, in grains. */
static int dot_skinny(const dot_job *job, const ptir_team *team) {
    dot_item only = dot_item_at(job, 0);
    if (job->batch == 1 && skinny_is_deep(&only)) return skinny_deep(&only, team);
    int64_t n = only.n, grains = dot_blocks(n, SKINNY_GRAIN), lo, hi;
    ptir_share(team, job->batch * grains, 1, &lo, &hi);
    while (lo < hi) {
        int64_t index = lo / grains, first = lo % grains;
        int64_t last = dot_least(grains, first + hi - lo);
        dot_item d = dot_item_at(job, index);
        skinny_memory memory = skinny_prepare(&d, team);
        skinny_part(&d, first * SKINNY_GRAIN, dot_least(n, last * SKINNY_GRAIN), &memory);
        lo += last - first;
    }
    return PTIR_OK;
}

/* Products with more rows, or packed w: a grid of rows and columns. */
static void dot_grid(const dot_job *job, const ptir_team *team) {
    dot_item d = dot_item_at(job, 0);
    gemm_grid g = gemm_cut(&d, job->batch, team->size);
    int64_t id = team->id, column = id % g.columns, row = id / g.columns % g.rows;
    int64_t item = id / (g.columns * g.rows);
    int64_t panels = dot_blocks(d.n, DOT_PANEL), tiles = tile_count(&d, d.m), high = tile_height(&d);
    int64_t i = tiles * row / g.rows * high, j = panels * column / g.columns * DOT_PANEL;
    int64_t i_end = dot_least(d.m, tiles * (row + 1) / g.rows * high);
    int64_t j_end = dot_least(d.n, panels * (column + 1) / g.columns * DOT_PANEL);
    int64_t end = job->batch * (item + 1) / g.items;
    if (tile_is_amx(&d)) amx_begin(d.m);
    for (int64_t at = job->batch * item / g.items; at < end; at++) {
        d = dot_item_at(job, at);
        if (packed_fits(&d)) packed_part(&d, i, i_end, j, j_end, (float *)team->scratch);
        else gemm_part(&d, i, i_end, j, j_end, (float *)team->scratch);
    }
    if (tile_is_amx(&d)) amx_end();
}

static void dot_whole(const dot_job *job, whole_product product, const ptir_team *team) {
    int64_t m = job->out.size[job->out.rank - 2], n = job->out.size[job->out.rank - 1];
    int64_t blocks = dot_blocks(n, WHOLE_COLUMNS), lo, hi;
    ptir_share(team, job->batch * m * blocks, 1, &lo, &hi);
    for (; lo < hi; lo++) {
        int64_t row = lo / blocks, j = lo % blocks * WHOLE_COLUMNS;
        int rank = job->out.rank;
        dot_item d = {
            .k = job->x.size[rank - 1], .x = dot_matrix_at(&job->x, row / m),
            .w = dot_matrix_at(&job->w, row / m), .out = dot_matrix_at(&job->out, row / m),
        };
        product(&d, row % m, j, dot_least(WHOLE_COLUMNS, n - j));
    }
}

/* Without k there is no product: what is added, or zeros. */
static void dot_nothing(const dot_job *job, const ptir_team *team) {
    static const float zeros[WHOLE_COLUMNS];
    int64_t lo, hi;
    ptir_share(team, job->batch, 1, &lo, &hi);
    for (; lo < hi; lo++) {
        dot_item d = dot_item_at(job, lo);
        for (int64_t i = 0; i < d.m; i++)
            for (int64_t j = 0; j < d.n; j += WHOLE_COLUMNS)
                dot_finish(&d, i, j, dot_least(WHOLE_COLUMNS, d.n - j), zeros);
    }
}

static int dot_is_float(int dtype) {
    return dtype == PTIR_f32 || dtype == PTIR_bf16 || dtype == PTIR_f16;
}

int PTIR_NAME(dot)(const int64_t *words, char *const *base, const ptir_team *team) {
    dot_job job;
    dot_read(words, base, &job);
    int floats = dot_is_float(job.x.dtype) && dot_is_float(job.w.dtype);
    for (int a = 0; a < job.adds; a++) floats &= dot_is_float(job.added[a].dtype);
    if (!floats || !dot_is_float(job.out.dtype)) {
        whole_product product = whole_for(job.x.dtype, job.w.dtype, job.out.dtype);
        if (!product || job.adds) return PTIR_REFUSED;
        dot_whole(&job, product, team);
        return PTIR_OK;
    }
    if (!ptir_count(&job.out)) return PTIR_OK;
    dot_chain chain;
    if (job.rest) {
        if (!job.packed || !chain_read(job.rest, base, job.out.dtype, team->scratch, &chain))
            return PTIR_REFUSED;
        job.chain = &chain;
    }
    dot_item d = dot_item_at(&job, 0);
    if (!d.k) dot_nothing(&job, team);
    else if (!d.packed && skinny_fits(&d)) return dot_skinny(&job, team);
    else dot_grid(&job, team);
    return PTIR_OK;
}
