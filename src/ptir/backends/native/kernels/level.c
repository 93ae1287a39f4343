/* All kernels for one ISA level: compiled once for each, with PTIR_ISA set to the level's name. */
#include "ptir.h"

#include "vector.h"

#include "copy.c"

#include "elementwise.c"

#include "index.c"

#include "combine.c"

#include "scatter.c"

#include "generate.c"

#include "window.c"

#include "quantise.c"

#include "dot.c"

#include "attention.c"

#include "cache.c"

#include "reduce.c"

#include "scan.c"

#include "order.c"

#include "rows.c"

const ptir_kernel PTIR_NAME(kernels)[] = {
#define KERNEL(name) PTIR_NAME(name),
#include "kernels.def"
#undef KERNEL
};
