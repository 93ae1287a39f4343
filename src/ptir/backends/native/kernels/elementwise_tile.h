/* Tiles of elementwise chains: how the iteration space is cut, and how elements come from memory
 * into registers and back. */

enum {
    EW_MOST_REGISTERS = 64, /* inputs and temporaries of one call */
    EW_TILE = 1024,
    EW_LONG_ROW = 512, /* from here on a tile is part of one row */
    EW_SLOT = EW_TILE * 8 + 192, /* bytes of a register; not a power of two: sets of the L1 cache */
};

typedef struct {
    char *data;
    int dtype, bytes;
    int narrow;  /* stored as bf16 or f16: f32 in registers */
    int flat;    /* the elements stand one behind the other */
    int splat;   /* all elements are one */
    int64_t stride[PTIR_MAX_RANK];
} ew_view;

/* What is computed: registers 0 .. inputs-1 are there before, each instruction is six words. */
typedef struct {
    int64_t inputs, instructions, registers;
    const int64_t *words;
} ew_code;

/* A call: view 0 is the output. */
typedef struct {
    ew_code code;
    int rank;
    int64_t size[PTIR_MAX_RANK];
    ew_view view[EW_MOST_REGISTERS + 1];
    int by_row;                   /* no tile spans two rows */
    int64_t total, row, body;     /* elements; of a row; of a row's whole multiple of EW_PAD */
    int64_t piece, pieces, tiles; /* elements of a tile; tiles of a row, and in all */
} ew_chain;

/* A tile: its elements and where the first of them stands. */
typedef struct {
    int64_t n, at[PTIR_MAX_RANK];
} ew_tile;

INLINE int64_t ew_padded(int64_t n) { return (n + EW_PAD - 1) & -(int64_t)EW_PAD; }

/* --- the iteration space --- */

static void ew_swap_axes(ew_chain *chain, int i, int j) {
    int64_t kept = chain->size[i];
    chain->size[i] = chain->size[j], chain->size[j] = kept;
    for (int64_t v = 0; v <= chain->code.inputs; v++) {
        int64_t *stride = chain->view[v].stride;
        kept = stride[i], stride[i] = stride[j], stride[j] = kept;
    }
}

/* The axes in the order in which the output stands in memory. */
static void ew_order_axes(ew_chain *chain) {
    const int64_t *stride = chain->view[0].stride;
    for (int i = 1; i < chain->rank; i++)
        for (int j = i; j > 0 && llabs(stride[j - 1]) < llabs(stride[j]); j--)
            ew_swap_axes(chain, j - 1, j);
}

/* Whether the axes i and j behind it are one for every tensor. */
static int ew_axes_merge(const ew_chain *chain, int i, int j) {
    if (chain->size[i] == 1) return 1;
    for (int64_t v = 0; v <= chain->code.inputs; v++) {
        const int64_t *stride = chain->view[v].stride;
        if (stride[i] != stride[j] * chain->size[j]) return 0;
    }
    return 1;
}

static void ew_collapse(ew_chain *chain) {
    int last = 0;
    for (int i = 1; i < chain->rank; i++) {
        int merged = chain->size[i] == 1 || ew_axes_merge(chain, last, i);
        int64_t before = chain->size[last];
        if (!merged) last++;
        if (merged && chain->size[i] == 1) continue;
        chain->size[last] = merged ? before * chain->size[i] : chain->size[i];
        for (int64_t v = 0; v <= chain->code.inputs; v++)
            chain->view[v].stride[last] = chain->view[v].stride[i];
    }
    chain->rank = last + 1;
}

static void ew_describe(const ew_chain *chain, ew_view *view) {
    int64_t step = 1;
    view->flat = view->splat = 1;
    for (int i = chain->rank - 1; i >= 0; i--) {
        view->flat &= view->stride[i] == step || chain->size[i] == 1;
        view->splat &= view->stride[i] == 0 || chain->size[i] == 1;
        step *= chain->size[i];
    }
}

/* The last elements of a row are a tile of their own: the others then need no filling up. */
static void ew_cut(ew_chain *chain) {
    int64_t row = chain->size[chain->rank - 1], most = EW_TILE;
    if (chain->code.registers > 8) most /= 2;
    chain->by_row = chain->rank == 1 || row >= EW_LONG_ROW;
    chain->row = chain->by_row ? row : chain->total;
    chain->body = chain->row & -(int64_t)EW_PAD;
    int64_t wanted = (chain->body + most - 1) / most;
    chain->piece = wanted ? ew_padded((chain->body + wanted - 1) / wanted) : EW_PAD;
    chain->pieces = (chain->body + chain->piece - 1) / chain->piece + (chain->body < chain->row);
    chain->tiles = chain->total / chain->row * chain->pieces;
}

static ew_tile ew_tile_of(const ew_chain *chain, int64_t number) {
    ew_tile tile;
    int64_t at = number % chain->pieces * chain->piece;
    if (at > chain->body) at = chain->body;
    int64_t first = number / chain->pieces * chain->row + at;
    tile.n = (at < chain->body ? chain->body : chain->row) - at;
    if (tile.n > chain->piece) tile.n = chain->piece;
    for (int i = chain->rank - 1; i >= 0; i--) {
        int64_t rows = i ? first / chain->size[i] : 0;
        tile.at[i] = first - rows * chain->size[i];
        first = rows;
    }
    return tile;
}

static char *ew_address(const ew_chain *chain, const ew_view *view, const ew_tile *tile) {
    int64_t at = 0;
    for (int i = 0; i < chain->rank; i++) at += tile->at[i] * view->stride[i];
    return view->data + at * view->bytes;
}

/* --- runs of elements with a step, to and from packed ones --- */

#define EW_STRIDED(bytes)                                                                          \
    for (int64_t i = 0; i < n; i++) memcpy(to + i * to_step, from + i * from_step, bytes)

/* Steps are in bytes here. */
static void ew_move(
    char *to, int64_t to_step, const char *from, int64_t from_step, int64_t n, int bytes
) {
    if (to_step == bytes && from_step == bytes) memcpy(to, from, (size_t)(n * bytes));
    else if (bytes == 1) EW_STRIDED(1);
    else if (bytes == 2) EW_STRIDED(2);
    else if (bytes == 4) EW_STRIDED(4);
    else EW_STRIDED(8);
}

/* Packs the tile of a view, or (`out`) unpacks it: row by row. */
static void ew_pack(
    const ew_chain *chain, const ew_view *view, const ew_tile *tile, char *packed, int out
) {
    int row = chain->rank - 1;
    int64_t at[PTIR_MAX_RANK], step = view->stride[row] * view->bytes;
    char *data = ew_address(chain, view, tile);
    memcpy(at, tile->at, sizeof at);
    for (int64_t done = 0; done < tile->n;) {
        int64_t run = chain->size[row] - at[row], left = tile->n - done;
        if (run > left) run = left;
        if (out) ew_move(data, step, packed, view->bytes, run, view->bytes);
        else ew_move(packed, view->bytes, data, step, run, view->bytes);
        packed += run * view->bytes;
        done += run;
        data += run * step;
        at[row] += run;
        for (int i = row; i > 0 && at[i] == chain->size[i]; i--) {
            data += (view->stride[i - 1] - chain->size[i] * view->stride[i]) * view->bytes;
            at[i] = 0, at[i - 1]++;
        }
    }
}

/* --- narrow floats --- */

static void ew_widen(float *to, const char *from, int64_t n, int dtype) {
    int64_t i = 0;
    if (dtype == PTIR_bf16)
        for (; i + VL <= n; i += VL) vf_store(to + i, vf_load_as(from, i, PTIR_bf16));
    else
        for (; i + VL <= n; i += VL) vf_store(to + i, vf_load_as(from, i, PTIR_f16));
    for (; i < n; i++) to[i] = load_as(from, i, dtype);
}

/* Also in place: no element is read after one that stands before it is written. */
static void ew_narrow(char *to, const float *from, int64_t n, int dtype) {
    int64_t i = 0;
    if (dtype == PTIR_bf16)
        for (; i + VL <= n; i += VL) vf_store_as(to, i, PTIR_bf16, vf_load(from + i));
    else
        for (; i + VL <= n; i += VL) vf_store_as(to, i, PTIR_f16, vf_load(from + i));
    for (; i < n; i++) {
        uint16_t half = dtype == PTIR_bf16 ? to_bf16(from[i]) : to_f16(from[i]);
        memcpy(to + i * 2, &half, 2);
    }
}

/* As vf_from_bf16(vf_to_bf16(x)), without a way through 16 bits. */
INLINE vf ew_round_bf16(vf x) {
    vu bits = (vu)x;
    vu rounded = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
    return vf_select(x == x, (vf)rounded, x);
}

static void ew_round_to(float *x, int64_t n, int dtype) {
    if (dtype == PTIR_bf16)
        for (int64_t i = 0; i < n; i += VL) vf_store(x + i, ew_round_bf16(vf_load(x + i)));
    else
        for (int64_t i = 0; i < n; i += VL)
            vf_store(x + i, vf_from_f16(vf_to_f16(vf_load(x + i))));
}

/* --- tiles to registers and back --- */

INLINE int ew_in_a_row(const ew_chain *chain, const ew_view *view) {
    return view->flat || (chain->by_row && view->stride[chain->rank - 1] == 1);
}

/* Whether the elements of a tile can be used where they stand. */
INLINE int ew_direct(
    const ew_chain *chain, const ew_view *view, const ew_tile *tile, const char *address
) {
    return !view->narrow && tile->n % EW_PAD == 0 && ew_in_a_row(chain, view) &&
           (uintptr_t)address % (unsigned)view->bytes == 0;
}

static void ew_fill(char *slot, int64_t n, int bytes) {
    for (int64_t i = 1; i < n; i++) memcpy(slot + i * bytes, slot, (size_t)bytes);
}

/* One element everywhere, what fills up the tile included. */
static void ew_splat(const ew_view *view, const char *address, char *slot, int64_t n) {
    if (view->narrow) {
        uint16_t half;
        memcpy(&half, address, 2);
        float x = view->dtype == PTIR_bf16 ? from_bf16(half) : from_f16(half);
        for (int64_t i = 0; i < n; i++) ((float *)slot)[i] = x;
    } else {
        memcpy(slot, address, (size_t)view->bytes);
        ew_fill(slot, n, view->bytes);
    }
}

/* The tile of a view in a slot, filled up with zeros. */
static void ew_load(
    const ew_chain *chain, const ew_view *view, const ew_tile *tile, const char *address, char *slot
) {
    int bytes = view->narrow ? 4 : view->bytes;
    int64_t padded = ew_padded(tile->n);
    char *raw = view->narrow ? slot + EW_TILE * 4 : slot;
    if (view->narrow && ew_in_a_row(chain, view) && (uintptr_t)address % 2 == 0)
        ew_widen((float *)slot, address, tile->n, view->dtype);
    else {
        ew_pack(chain, view, tile, raw, 0);
        if (view->narrow) ew_widen((float *)slot, raw, tile->n, view->dtype);
    }
    memset(slot + tile->n * bytes, 0, (size_t)((padded - tile->n) * bytes));
}

/* A register to the tile of the output. */
static void ew_store(const ew_chain *chain, const ew_tile *tile, char *slot) {
    const ew_view *out = &chain->view[0];
    char *address = ew_address(chain, out, tile);
    int in_a_row = ew_in_a_row(chain, out);
    if (out->narrow && in_a_row) ew_narrow(address, (float *)slot, tile->n, out->dtype);
    else {
        if (out->narrow) ew_narrow(slot, (float *)slot, tile->n, out->dtype);
        ew_pack(chain, out, tile, slot, 1);
    }
}
