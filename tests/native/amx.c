/* The instructions of AMX that kernels use, computed where the processor refuses them: loaded before
 * everything else, it answers SIGILL. After Intel's Architecture Instruction Set Extensions Programming
 * Reference; it ends the process for whatever the kernels have no business with.
 */
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { TILES = 8, ROWS = 16, BYTES = 64 };

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} shapes;

static __thread struct {
    shapes shape;
    uint8_t tile[TILES][ROWS][BYTES];
} state;

static void refuse(const char *why) {
    fprintf(stderr, "amx.c: %s\n", why);
    abort();
}

/* --- instructions --- */

static void configure(const shapes *given) {
    if (given->palette != 1 || given->start) refuse("palette is not 1, or start_row not 0");
    for (int i = 0; i < 14; i++)
        if (given->reserved[i]) refuse("a reserved byte is set");
    for (int i = 0; i < 16; i++) {
        int is_there = i < TILES && given->bytes[i] && given->rows[i];
        if (!is_there && (given->bytes[i] || given->rows[i])) refuse("half a shape");
        if (given->bytes[i] > BYTES || given->rows[i] > ROWS) refuse("a shape is too large");
    }
    memset(&state, 0, sizeof state);
    state.shape = *given;
}

static void need(int tile) {
    if (tile >= TILES || !state.shape.rows[tile]) refuse("a tile without a shape");
}

static void zero(int tile) {
    need(tile);
    memset(state.tile[tile], 0, sizeof *state.tile);
}

static void load(int tile, const char *from, int64_t stride) {
    zero(tile);
    for (int i = 0; i < state.shape.rows[tile]; i++)
        memcpy(state.tile[tile][i], from + i * stride, state.shape.bytes[tile]);
}

static void store(int tile, char *to, int64_t stride) {
    need(tile);
    for (int i = 0; i < state.shape.rows[tile]; i++)
        memcpy(to + i * stride, state.tile[tile][i], state.shape.bytes[tile]);
}

/* Subnormal numbers are zeros, as arguments and as results. */
static float flushed(float x) { return fpclassify(x) == FP_SUBNORMAL ? copysignf(0, x) : x; }

static float element(const uint8_t *row, int i) {
    uint32_t bits = (uint32_t)(row[2 * i] | row[2 * i + 1] << 8) << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return flushed(x);
}

/* c[m][n] += Σ_k even elements of a[m] · b + Σ_k odd elements: each sum by itself first. */
static void add_products(int c, int a, int b) {
    need(c), need(a), need(b);
    const shapes *s = &state.shape;
    if (s->rows[c] != s->rows[a] || s->bytes[c] != s->bytes[b] || s->bytes[a] != 4 * s->rows[b])
        refuse("shapes that do not multiply");
    for (int m = 0; m < s->rows[c]; m++)
        for (int n = 0; n < s->bytes[c] / 4; n++) {
            float sum[2] = {0}, was;
            for (int k = 0; k < s->bytes[a] / 4; k++)
                for (int half = 0; half < 2; half++) {
                    float x = element(state.tile[a][m], 2 * k + half);
                    sum[half] = flushed(fmaf(x, element(state.tile[b][k], 2 * n + half), sum[half]));
                }
            memcpy(&was, state.tile[c][m] + 4 * n, 4);
            was = flushed(flushed(was) + flushed(sum[0] + sum[1]));
            memcpy(state.tile[c][m] + 4 * n, &was, 4);
        }
}

/* --- how they are encoded: C4, RXB and map, W vvvv L pp, opcode, ModRM, perhaps SIB and an offset --- */

static int64_t *reg(ucontext_t *context, int number) {
    static const int place[] = {
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
        REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    };
    return (int64_t *)&context->uc_mcontext.gregs[place[number]];
}

typedef struct {
    char *address;
    int64_t stride;
    int length; /* of ModRM and what follows */
} operand;

static operand memory(ucontext_t *context, const uint8_t *at, int rxb) {
    int mode = at[0] >> 6, low = at[0] & 7, base = low;
    operand o = {.length = 1};
    int64_t address = 0;
    int32_t offset = 0;
    if (low == 4) {
        int index = at[1] >> 3 & 7, scale = at[1] >> 6;
        base = at[1] & 7, index |= rxb & 2 ? 8 : 0;
        if (index != 4) o.stride = *reg(context, index) << scale;
        o.length++;
    }
    if (mode == 0 && base == 5) refuse("an address without a base");
    address = *reg(context, base | (rxb & 1 ? 8 : 0));
    if (mode == 1) offset = (int8_t)at[o.length];
    if (mode == 2) memcpy(&offset, at + o.length, 4);
    o.length += mode == 1 ? 1 : mode == 2 ? 4 : 0;
    o.address = (char *)address + offset;
    return o;
}

enum { NONE, P66, PF3, PF2 };

static void answer(int signal, siginfo_t *info, void *given) {
    (void)signal, (void)info;
    ucontext_t *context = given;
    const uint8_t *at = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
    if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || at[2] & 0x84) refuse("no instruction of AMX");
    int rxb = ~at[1] >> 5 & 7, third = ~at[2] >> 3 & 15, prefix = at[2] & 3, opcode = at[3];
    int tile = at[4] >> 3 & 7, is_register = at[4] >= 0xc0, length = 1;
    if (opcode == 0x5c && prefix == PF3 && is_register) {
        add_products(tile, at[4] & 7, third);
    } else if (opcode == 0x49 && prefix == PF2 && is_register) {
        zero(tile);
    } else if (opcode == 0x49 && prefix == NONE && at[4] == 0xc0) {
        memset(&state, 0, sizeof state);
    } else {
        if (is_register) refuse("an instruction that no kernel uses");
        operand o = memory(context, at + 4, rxb);
        length = o.length;
        if (opcode == 0x49 && prefix == NONE) configure((const shapes *)(o.address + o.stride));
        else if (opcode == 0x4b && prefix == PF2) load(tile, o.address, o.stride);
        else if (opcode == 0x4b && prefix == PF3) store(tile, o.address, o.stride);
        else refuse("an instruction that no kernel uses");
    }
    context->uc_mcontext.gregs[REG_RIP] += 4 + length;
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGILL, &action, NULL);
}
