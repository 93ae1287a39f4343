/* Tiles of a product on the tile registers of AMX: pairs of bf16, as panels of packed w hold them.
 *
 * A register is 16 rows of 64 bytes: 16 rows of x with 16 words each, 16 words of k for half a panel,
 * or the sums of the two. An instruction adds 16 words of k, the even and the odd elements by
 * themselves first, so k is cut only where it is done with whole registers. (Subnormal elements, and
 * sums, are zeros.) The registers are each thread's own and nobody else's between two kernels.
 */
#if defined(__AMX_BF16__)
enum { DOT_AMX = 1 };

#define AMX_ASM(text, ...) __asm__ volatile(text ::__VA_ARGS__ : "memory")
#define AMX_LOAD(register, at, step)                                                               \
    AMX_ASM("tileloadd (%0,%1,1), %%tmm" #register, "r"(at), "r"((int64_t)(step)))
#define AMX_STORE(register, at, step)                                                              \
    AMX_ASM("tilestored %%tmm" #register ", (%0,%1,1)", "r"(at), "r"((int64_t)(step)))
#define AMX_ZERO(register) AMX_ASM("tilezero %%tmm" #register, )
#define AMX_ADD(sums, x, w) AMX_ASM("tdpbf16ps %%tmm" #w ", %%tmm" #x ", %%tmm" #sums, )

/* Registers for m rows of x: fewer rows take less time, more are taken by and by. */
static void amx_begin(int64_t m) {
    struct {
        uint8_t palette, start, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } shape = {.palette = 1};
    for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = 16;
    for (int i = 0; i < 6; i++) shape.rows[i] = (uint8_t)dot_least(m, 16); /* but for those of w */
    AMX_ASM("ldtilecfg %0", "m"(shape));
}

static void amx_end(void) { AMX_ASM("tilerelease", ); }

/* The sums in registers 0 to 3: rows 0 to 15, then, for two halves of x, rows 16 to 31. */
INLINE void amx_open(int halves, const dot_tile *t) {
    const int64_t row = DOT_PANEL * 4;
    const char *sums = (const char *)t->sums, *below = sums + 16 * row;
    if (t->first) {
        AMX_ZERO(0);
        AMX_ZERO(1);
        AMX_ZERO(2);
        AMX_ZERO(3);
        return;
    }
    AMX_LOAD(0, sums, row);
    AMX_LOAD(1, sums + 64, row);
    if (halves == 1) return;
    AMX_LOAD(2, below, row);
    AMX_LOAD(3, below + 64, row);
}

INLINE void amx_close(int halves, const dot_tile *t) {
    const int64_t row = DOT_PANEL * 4;
    char *sums = (char *)t->sums, *below = sums + 16 * row;
    AMX_STORE(0, sums, row);
    AMX_STORE(1, sums + 64, row);
    if (halves == 1) return;
    AMX_STORE(2, below, row);
    AMX_STORE(3, below + 64, row);
}

/* 16 words of k. */
INLINE void amx_step(int halves, const float *x, int64_t x_row, const char *w) {
    AMX_LOAD(6, w, DOT_PANEL * 4);
    AMX_LOAD(4, x, x_row * 4);
    AMX_ADD(0, 4, 6);
    AMX_LOAD(7, w + 64, DOT_PANEL * 4);
    AMX_ADD(1, 4, 7);
    if (halves == 1) return;
    AMX_LOAD(5, x + 16 * x_row, x_row * 4);
    AMX_ADD(2, 5, 6);
    AMX_ADD(3, 5, 7);
}

INLINE void amx_tile_of(int halves, const dot_tile *t) {
    const int64_t step = DOT_WORDS * DOT_PANEL * 4, x_row = t->x_row, ahead = t->ahead;
    const float *x = t->x;
    const char *w = t->w;
    int64_t left = t->deep;
    amx_open(halves, t);
    for (; left >= DOT_WORDS; left -= DOT_WORDS, x += DOT_WORDS, w += step) {
        for (int at = 0; ahead && at < step; at += 64) __builtin_prefetch(w + ahead + at);
        amx_step(halves, x, x_row, w);
    }
    if (left > 0) { /* zeros stand behind the words of x, not behind those of w */
        char rest[DOT_WORDS * DOT_PANEL * 4] = {0};
        memcpy(rest, w, (size_t)(left * DOT_PANEL * 4));
        amx_step(halves, x, x_row, rest);
    }
    amx_close(halves, t);
}

/* Zeros behind rows of x that end no whole register. */
static void amx_end_rows(int64_t rows, int64_t units, float *x, int64_t x_row) {
    size_t behind = (size_t)(dot_blocks(units, DOT_WORDS) * DOT_WORDS - units) * sizeof *x;
    for (int64_t r = 0; behind && r < rows; r++) memset(x + r * x_row + units, 0, behind);
}

/* m rows on a panel; x and the sums have room for whole registers of rows. */
static void amx_tile(int64_t m, const dot_tile *t) {
    if (m > DOT_AMX_ROWS / 2) amx_tile_of(2, t);
    else amx_tile_of(1, t);
}
#else
enum { DOT_AMX = 0 }; /* none of this is called */

static void amx_begin(int64_t m) { (void)m; }
static void amx_end(void) {}
static void amx_end_rows(int64_t rows, int64_t units, float *x, int64_t x_row) {
    (void)rows, (void)units, (void)x, (void)x_row;
}
static void amx_tile(int64_t m, const dot_tile *t) { (void)m, (void)t; }
#endif
