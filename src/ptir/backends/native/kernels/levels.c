/* The ISA levels in this library, and which of them the machine has. */
#include "executor.h"

#include <stddef.h>

static const char *const kernel_names[] = {
#define KERNEL(name) #name,
#include "kernels.def"
#undef KERNEL
    NULL,
};

static const char *const dtype_names[] = {
#define X(name, bytes) #name,
    PTIR_DTYPES(X)
#undef X
        NULL,
};

static const char *const elementwise_names[] = {
#define OP(name, arity, kind, rounding) #name,
#include "elementwise.def"
#undef OP
    NULL,
};

#if defined(__x86_64__)
#include <cpuid.h>

enum { AVX2, AVX512, AVX512_BF16, AMX };

/* Whether the system lets this process have tile registers: it gives them to who asks. */
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

static int gets_tiles(void) {
    enum { ASK = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM: arch/x86/include/uapi/asm/prctl.h */
    return syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
}
#else
static int gets_tiles(void) { return 0; }
#endif

/* What the processor has and the system saves. Asked here: __builtin_cpu_supports is always false in
 * what the zig compiler links. */
static int has_level(int level) {
#ifdef PTIR_EMULATED_AMX /* as tests/native/amx.c does it */
    if (level == AMX) level = AVX512_BF16;
#endif
    unsigned a, b, c, d, saved, unused;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    if (!(c & bit_FMA) || !(c & bit_F16C)) return 0;
    __asm__("xgetbv" : "=a"(saved), "=d"(unused) : "c"(0));
    /* Registers that the system saves. */
    unsigned wanted = level >= AMX ? 0x600e6 : level >= AVX512 ? 0xe6 : 0x06;
    if ((saved & wanted) != wanted) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2)) return 0;
    unsigned bits = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    if (level >= AVX512 && (b & bits) != bits) return 0;
    unsigned tiles = 1 << 22 | 1 << 24; /* products of bf16 in them, and they themselves */
    if (level >= AMX && ((d & tiles) != tiles || !gets_tiles())) return 0;
    return level < AVX512_BF16 || (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1 << 5));
}

#define PTIR_LEVELS(X)                                                                             \
    X(base, 1) X(avx2, has_level(AVX2)) X(avx512, has_level(AVX512))                               \
    X(avx512_bf16, has_level(AVX512_BF16)) X(amx, has_level(AMX))
#else
#define PTIR_LEVELS(X) X(base, 1)
#endif

#define X(name, runs) extern const ptir_kernel ptir_kernels_##name[];
PTIR_LEVELS(X)
#undef X

static ptir_kernel const *const tables[] = {
#define X(name, runs) ptir_kernels_##name,
    PTIR_LEVELS(X)
#undef X
};

static const char *const level_names[] = {
#define X(name, runs) #name,
    PTIR_LEVELS(X)
#undef X
};

enum { LEVELS = sizeof tables / sizeof *tables };

ptir_kernel const *ptir_kernels(int level) { return tables[level]; }
int ptir_levels(void) { return LEVELS; }
const char *ptir_level_name(int level) { return level_names[level]; }
const char *ptir_kernel_name(int kernel) { return kernel_names[kernel]; }
const char *ptir_dtype_name(int dtype) { return dtype_names[dtype]; }
int ptir_abi(void) { return PTIR_ABI; }

const char *ptir_elementwise_name(int opcode) { return elementwise_names[opcode]; }

int ptir_elementwise_supports_base(int opcode, int dtype);

int ptir_elementwise_supports(int opcode, int dtype) {
    return ptir_elementwise_supports_base(opcode, dtype);
}

int ptir_level_runs(int level) {
    const int runs[] = {
#define X(name, runs) (runs),
        PTIR_LEVELS(X)
#undef X
    };
    return level >= 0 && level < LEVELS && runs[level];
}
