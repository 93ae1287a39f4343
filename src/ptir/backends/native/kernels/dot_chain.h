/* A chain of elementwise instructions on the elements of a product with packed w, tile by tile, while
 * they lie in L1. It computes what the elementwise kernel would, bit for bit.
 *
 * Register 0 is the product (with what is added) as elements of `dtype`, other inputs are constants.
 */
enum { CHAIN_REGISTERS = 24, CHAIN_BYTES = CHAIN_REGISTERS * EW_SLOT };

struct dot_chain {
    ew_code code;
    int dtype;
    char *slots;
};

/* The words are `dtype, inputs, instructions, registers, constants of rank 0 ..., code`. Returns
 * whether such a chain can be run. */
static int chain_read(
    const int64_t *words, char *const *base, int out, char *scratch, dot_chain *chain
) {
    chain->dtype = (int)*words++;
    chain->slots = scratch + PTIR_SCRATCH - CHAIN_BYTES;
    if (!ew_read_counts(&chain->code, &words) || chain->code.registers > CHAIN_REGISTERS) return 0;
    for (int64_t i = 1; i < chain->code.inputs; i++) {
        ptir_tensor constant;
        ew_view view;
        words = ptir_read(words, base, &constant);
        ew_read_view(&view, &constant);
        ew_splat(&view, constant.data, chain->slots + i * EW_SLOT, DOT_TILE);
    }
    chain->code.words = words;
    return ew_code_is_good(&chain->code, out);
}

/* Rows of a panel of the result: sums is [rows][DOT_PANEL]. */
static void chain_finish(const dot_item *d, int64_t i, int64_t rows, int64_t j, float *sums) {
    const dot_chain *chain = d->chain;
    int64_t n = rows * DOT_PANEL;
    dot_item part = *d;
    if (d->adds) {
        part.out = (dot_matrix){(char *)(sums - i * DOT_PANEL - j), DOT_PANEL, 1, PTIR_f32};
        dot_finish_tile(&part, i, rows, j, sums);
        part.adds = 0, part.out = d->out;
    }
    if (ew_is_narrow(chain->dtype)) ew_round_to(sums, n, chain->dtype);
    char *at[CHAIN_REGISTERS] = {(char *)sums};
    for (int64_t r = 1; r < chain->code.inputs; r++) at[r] = chain->slots + r * EW_SLOT;
    ew_run(&chain->code, at, chain->slots, n, NULL, d->out.dtype);
    dot_finish_tile(&part, i, rows, j, (const float *)at[ew_last(&chain->code)]);
}

static void panel_finish(const dot_item *d, int64_t i, int64_t rows, int64_t j, float *sums) {
    if (!d->chain) dot_finish_tile(d, i, rows, j, sums);
    else
        for (int64_t r = 0; r < rows; r += DOT_ROWS)
            chain_finish(d, i + r, dot_least(DOT_ROWS, rows - r), j, sums + r * DOT_PANEL);
}
