/* Chains of elementwise ops, tile by tile: each instruction is one loop over a tile that lies in
 * the cache.
 *
 *   elementwise: inputs n, instructions m, registers r; tensors out, n inputs of its shape;
 *                m times `opcode, dtype, to, a, b, c`
 *
 * Registers 0 .. n-1 are the inputs; an instruction writes one of n .. r-1, and the last one makes
 * the result. `dtype` is that of the operands (of select: of the chosen ones; `a` is the condition;
 * clamp: x, low, high); cast has the new dtype in `c`. Every instruction rounds to its dtype, so a
 * chain is what its ops are one by one. An input may be the output itself, in the same layout.
 *
 * Refused: what the reference refuses (integer division by zero, negative shifts and powers), types
 * that an instruction does not take, more than EW_MOST_REGISTERS registers.
 */
#include "vmath.h"
#include "vmath_wide.h"

#include <stdlib.h>

#include "elementwise_float.h"
#include "elementwise_whole.h"
#include "elementwise_cast.h"
#include "elementwise_tile.h"

enum ew_opcode {
#define OP(name, arity, kind, rounding) EW_##name,
#include "elementwise.def"
#undef OP
    EW_OPCODES
};

static const unsigned char ew_arity[] = {
#define OP(name, arity, kind, rounding) arity,
#include "elementwise.def"
#undef OP
};

enum { EW_EXACT, EW_ROUNDED };

static const unsigned char ew_rounds[] = {
#define OP(name, arity, kind, rounding) EW_##rounding,
#include "elementwise.def"
#undef OP
};

#define EW_FLOAT(name)                                                                             \
    [PTIR_f32] = ew_##name##_f32, [PTIR_bf16] = ew_##name##_f32, [PTIR_f16] = ew_##name##_f32,     \
    [PTIR_f64] = ew_##name##_f64,
#define EW_INTEGER(name)                                                                           \
    [PTIR_si8] = ew_##name##_si8, [PTIR_ui8] = ew_##name##_ui8, [PTIR_si16] = ew_##name##_si16,    \
    [PTIR_ui16] = ew_##name##_ui16, [PTIR_si32] = ew_##name##_si32,                                \
    [PTIR_ui32] = ew_##name##_ui32, [PTIR_si64] = ew_##name##_si64,                                \
    [PTIR_ui64] = ew_##name##_ui64,
#define EW_NUMBER(name) EW_FLOAT(name) EW_INTEGER(name)
#define EW_BITS(name) EW_INTEGER(name)[PTIR_i1] = ew_##name##_i1,
#define EW_ANY(name) EW_NUMBER(name)[PTIR_i1] = ew_##name##_ui8,
#define EW_CHOICE(name)                                                                            \
    [PTIR_i1] = ew_##name##_1, [PTIR_si8] = ew_##name##_1, [PTIR_ui8] = ew_##name##_1,             \
    [PTIR_si16] = ew_##name##_2, [PTIR_ui16] = ew_##name##_2, [PTIR_si32] = ew_##name##_4,         \
    [PTIR_ui32] = ew_##name##_4, [PTIR_si64] = ew_##name##_8, [PTIR_ui64] = ew_##name##_8,         \
    [PTIR_bf16] = ew_##name##_4, [PTIR_f16] = ew_##name##_4, [PTIR_f32] = ew_##name##_4,           \
    [PTIR_f64] = ew_##name##_8,
#define EW_CAST(name) [PTIR_i1] = NULL, /* has a table of its own */

/* Truth values are bytes that are 0 or 1. */
#define ew_and_i1 ew_and_ui8
#define ew_or_i1 ew_or_ui8
#define ew_xor_i1 ew_xor_ui8

static const ew_op ew_ops[EW_OPCODES][PTIR_DTYPE_COUNT] = {
#define OP(name, arity, kind, rounding) [EW_##name] = {EW_##kind(name)},
#include "elementwise.def"
#undef OP
};

static ew_op ew_find(int64_t opcode, int64_t dtype, int64_t to) {
    if (opcode < 0 || opcode >= EW_OPCODES || dtype < 0 || dtype >= PTIR_DTYPE_COUNT) return NULL;
    if (opcode != EW_cast) return ew_ops[opcode][dtype];
    return to < 0 || to >= PTIR_DTYPE_COUNT ? NULL : ew_casts[dtype][to];
}

/* Whether there is an instruction for operands of this type; the same on every level. */
int PTIR_NAME(elementwise_supports)(int opcode, int dtype) {
    return ew_find(opcode, dtype, dtype) != NULL;
}

INLINE int ew_is_narrow(int64_t dtype) { return dtype == PTIR_bf16 || dtype == PTIR_f16; }

static int64_t ew_made_dtype(const int64_t *w) {
    if (w[0] == EW_cast) return w[5];
    if (w[0] >= EW_compare_lt && w[0] <= EW_compare_ne) return PTIR_i1;
    return w[0] == EW_is_finite ? PTIR_i1 : w[1];
}

static int ew_form(int64_t dtype) { return ew_is_narrow(dtype) ? PTIR_f32 : (int)dtype; }

/* --- reading a call --- */

static void ew_read_view(ew_view *view, const ptir_tensor *t) {
    view->data = t->data;
    view->dtype = t->dtype;
    view->bytes = ptir_bytes(t->dtype);
    view->narrow = ew_is_narrow(t->dtype);
    memcpy(view->stride, t->stride, sizeof view->stride);
}

/* Whether the code is one that can be run and makes elements of `dtype`. */
static int ew_code_is_good(const ew_code *code, int dtype) {
    const int64_t *w = code->words;
    for (int64_t k = 0; k < code->instructions; k++, w += 6) {
        if (!ew_find(w[0], w[1], w[5])) return 0;
        if (w[2] < code->inputs || w[2] >= code->registers) return 0;
        for (int i = 0; i < ew_arity[w[0]]; i++)
            if (w[3 + i] < 0 || w[3 + i] >= code->registers) return 0;
    }
    return ew_form(ew_made_dtype(w - 6)) == ew_form(dtype);
}

/* Whether there are as many registers as there can be; the words behind the counts are `*words`. */
static int ew_read_counts(ew_code *code, const int64_t **words) {
    code->inputs = (*words)[0];
    code->instructions = (*words)[1];
    code->registers = (*words)[2];
    *words += 3;
    if (code->inputs < 1 || code->instructions < 1) return 0;
    return code->registers > code->inputs && code->registers <= EW_MOST_REGISTERS;
}

/* Whether the call is one that can be run; then `chain` has it. */
static int ew_read(ew_chain *chain, const int64_t *words, char *const *base) {
    if (!ew_read_counts(&chain->code, &words)) return 0;
    ptir_tensor t;
    for (int64_t v = 0; v <= chain->code.inputs; v++) {
        memset(t.stride, 0, sizeof t.stride);
        words = ptir_read(words, base, &t);
        ew_read_view(&chain->view[v], &t);
        if (v) continue;
        chain->rank = t.rank ? t.rank : 1;
        chain->total = ptir_count(&t);
        if (t.rank == 0) t.size[0] = 1;
        memcpy(chain->size, t.size, sizeof chain->size);
    }
    chain->code.words = words;
    return ew_code_is_good(&chain->code, chain->view[0].dtype);
}

/* --- running it --- */

/* The registers of a thread: where each stands now, and what the slots of inputs hold. */
typedef struct {
    char *at[EW_MOST_REGISTERS];
    const char *seen[EW_MOST_REGISTERS];
    int64_t seen_n[EW_MOST_REGISTERS];
    char *slots;
} ew_registers;

/* The register with the result. */
INLINE int64_t ew_last(const ew_code *code) { return code->words[6 * code->instructions - 4]; }

/* Inputs stay where they are if they can, or in their slot if the last tile left them there. */
static void ew_load_input(
    const ew_chain *chain, const ew_tile *tile, ew_registers *registers, int64_t number
) {
    const ew_view *view = &chain->view[number + 1];
    char *address = ew_address(chain, view, tile), *slot = registers->slots + number * EW_SLOT;
    if (ew_direct(chain, view, tile, address)) {
        registers->at[number] = address;
        return;
    }
    registers->at[number] = slot;
    if (registers->seen[number] == address && registers->seen_n[number] >= tile->n) return;
    int splat = view->splat || (chain->by_row && view->stride[chain->rank - 1] == 0);
    if (splat) ew_splat(view, address, slot, ew_padded(tile->n));
    else ew_load(chain, view, tile, address, slot);
    registers->seen[number] = splat || chain->by_row ? address : NULL;
    registers->seen_n[number] = tile->n;
}

/* The instructions on n elements; the last one writes to `result`, if there is such a place. What is
 * stored as `dtype` is not rounded to it before. */
static int ew_run(
    const ew_code *code, char **at, char *slots, int64_t n, char *result, int dtype
) {
    const int64_t *w = code->words, *last = w + 6 * (code->instructions - 1);
    for (; w <= last; w += 6) {
        char *to = w == last && result ? result : slots + w[2] * EW_SLOT;
        const char *x = at[w[3]];
        const char *y = ew_arity[w[0]] > 1 ? at[w[4]] : x, *z = ew_arity[w[0]] > 2 ? at[w[5]] : x;
        int refused = ew_find(w[0], w[1], w[5])(to, x, y, z, n);
        if (refused) return refused;
        int made = (int)ew_made_dtype(w), rounds = ew_rounds[w[0]] && ew_is_narrow(made);
        if (rounds && !(w == last && made == dtype)) ew_round_to((float *)to, n, made);
        at[w[2]] = to;
    }
    return PTIR_OK;
}

static int ew_run_tile(const ew_chain *chain, const ew_tile *tile, ew_registers *registers) {
    const ew_view *out = &chain->view[0];
    const ew_code *code = &chain->code;
    char *result = ew_address(chain, out, tile);
    int direct = ew_direct(chain, out, tile, result);
    for (int64_t i = 0; i < code->inputs; i++) ew_load_input(chain, tile, registers, i);
    int refused = ew_run(
        code, registers->at, registers->slots, tile->n, direct ? result : NULL, out->dtype
    );
    if (refused) return refused;
    if (!direct) ew_store(chain, tile, registers->at[ew_last(code)]);
    return PTIR_OK;
}

int PTIR_NAME(elementwise)(const int64_t *words, char *const *base, const ptir_team *team) {
    enum { SMALL = 8192 }; /* elements times instructions that one thread is done with sooner */
    ew_chain chain;
    if (!ew_read(&chain, words, base)) return PTIR_REFUSED;
    if (chain.total == 0) return PTIR_OK;
    int alone = chain.total * chain.code.instructions < SMALL;
    if (alone && team->id) return PTIR_OK;
    ew_order_axes(&chain);
    ew_collapse(&chain);
    for (int64_t v = 0; v <= chain.code.inputs; v++) ew_describe(&chain, &chain.view[v]);
    ew_cut(&chain);
    ew_registers registers = {.slots = team->scratch};
    int64_t lo = 0, hi = chain.tiles;
    if (!alone) ptir_share(team, chain.tiles, 1, &lo, &hi);
    for (int64_t i = lo; i < hi; i++) {
        ew_tile tile = ew_tile_of(&chain, i);
        int code = ew_run_tile(&chain, &tile, &registers);
        if (code) return code;
    }
    return PTIR_OK;
}
