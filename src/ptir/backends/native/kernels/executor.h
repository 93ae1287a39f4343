/* What the host calls. All of it may be called from several threads at once. */
#ifndef PTIR_EXECUTOR_H
#define PTIR_EXECUTOR_H

#include "ptir.h"

#define PTIR_ABI 1
#define PTIR_API __attribute__((visibility("default")))

enum { PTIR_NO_MEMORY = -1 };

/* Runs `words[start .. count)` on up to `threads` threads. Comes back early, between two kernels,
 * once `slice_s` seconds are over (0: never), or when a kernel gives a code. Returns where to go
 * on, or the instruction that gave `*code`. `times`, if given, has room for each instruction. */
PTIR_API int64_t ptir_run(
    int level, const int64_t *words, int64_t count, int64_t start, char *const *base, int threads,
    double slice_s, int64_t *times, int *code
);

/* Ends the threads; the next run makes them anew. */
PTIR_API void ptir_stop(void);

/* ISA levels, best last: their number, names, and whether this machine has one. */
PTIR_API int ptir_levels(void);
PTIR_API const char *ptir_level_name(int level);
PTIR_API int ptir_level_runs(int level);

/* Kernels and element types by number; NULL behind the last. */
PTIR_API const char *ptir_kernel_name(int kernel);
PTIR_API const char *ptir_dtype_name(int dtype);
PTIR_API int ptir_abi(void);

/* Instructions of the elementwise kernel by number; whether one takes operands of a type. */
PTIR_API const char *ptir_elementwise_name(int opcode);
PTIR_API int ptir_elementwise_supports(int opcode, int dtype);

ptir_kernel const *ptir_kernels(int level);

#endif
