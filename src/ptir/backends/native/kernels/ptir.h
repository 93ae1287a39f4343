/* What a kernel is: the words that describe a call, tensors in them, and the team that runs it.
 *
 * A plan is an array of 64-bit words: for each instruction `kernel, count` and then `count` words
 * that belong to the kernel. Every thread of the team calls every kernel with the same words; a
 * kernel takes its share by `team->id`. What is computed never depends on the size of the team.
 */
#ifndef PTIR_H
#define PTIR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef PTIR_ISA
#define PTIR_ISA base
#endif
#define PTIR_JOIN_(a, b) a##_##b
#define PTIR_JOIN(a, b) PTIR_JOIN_(a, b)
/* The name of a function in this ISA level's copy of the kernels. */
#define PTIR_NAME(name) PTIR_JOIN(ptir_##name, PTIR_ISA)

/* Element types; the numbers are part of the plan's form (element.py reads them by name). */
#define PTIR_DTYPES(X)                                                                             \
    X(i1, 1) X(si4, 1) X(ui4, 1) X(si8, 1) X(ui8, 1) X(si16, 2) X(ui16, 2) X(si32, 4) X(ui32, 4)   \
    X(si64, 8) X(ui64, 8) X(f8e4m3, 1) X(f8e5m2, 1) X(bf16, 2) X(f16, 2) X(f32, 4) X(f64, 8)       \
    X(c64, 8) X(c128, 16)

enum ptir_dtype {
#define X(name, bytes) PTIR_##name,
    PTIR_DTYPES(X)
#undef X
        PTIR_DTYPE_COUNT
};

#define PTIR_MAX_RANK 8
#define PTIR_SCRATCH (4 << 20) /* bytes of scratch memory of each thread, 64-byte aligned */

/* A tensor somewhere in memory. Strides are in elements, may be zero or negative. In the words:
 * `slot, byte offset, dtype, rank, sizes..., strides...`; `slot` picks a base pointer. */
typedef struct {
    char *data;
    int dtype, rank;
    int64_t size[PTIR_MAX_RANK], stride[PTIR_MAX_RANK];
} ptir_tensor;

/* The share of an instruction that a call of its kernel does: `id` of `size`. Any thread may do any
 * of them, in any order. A kernel that needs all of one part done before the next begins returns
 * PTIR_AGAIN from every share: it is then called again for every share with the next `phase`. */
typedef struct {
    int id, size, phase;
    char *scratch; /* PTIR_SCRATCH bytes of this thread's own; what it held is gone in each call */
    char *shared;  /* as many that all shares have in common, for all phases */
} ptir_team;

/* 0, or a code that ends the plan: the host then asks the reference what is wrong. */
typedef int (*ptir_kernel)(const int64_t *words, char *const *base, const ptir_team *team);

enum { PTIR_OK = 0, PTIR_REFUSED = 1, PTIR_AGAIN = 2 };

static inline int ptir_bytes(int dtype) {
    static const unsigned char bytes[] = {
#define X(name, bytes) bytes,
        PTIR_DTYPES(X)
#undef X
    };
    return bytes[dtype];
}

/* Reads the tensor at `words`; returns the words behind it. */
static inline const int64_t *ptir_read(const int64_t *words, char *const *base, ptir_tensor *t) {
    t->data = base[words[0]] + words[1];
    t->dtype = (int)words[2];
    t->rank = (int)words[3];
    for (int i = 0; i < t->rank; i++) {
        t->size[i] = words[4 + i];
        t->stride[i] = words[4 + t->rank + i];
    }
    return words + 4 + 2 * t->rank;
}

static inline int64_t ptir_count(const ptir_tensor *t) {
    int64_t count = 1;
    for (int i = 0; i < t->rank; i++) count *= t->size[i];
    return count;
}

/* A double that stands in a word. */
static inline double ptir_double(int64_t word) {
    double value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* This thread's part [*lo, *hi) of `count` items, cut at multiples of `grain`. */
static inline void ptir_share(
    const ptir_team *team, int64_t count, int64_t grain, int64_t *lo, int64_t *hi
) {
    int64_t blocks = (count + grain - 1) / grain;
    *lo = blocks * team->id / team->size * grain;
    *hi = blocks * (team->id + 1) / team->size * grain;
    if (*lo > count) *lo = count;
    if (*hi > count) *hi = count;
}

#endif
