// Multiply-adds on independent chains that stay in registers: what a core can do at most.
#if defined __AVX512F__
#define WIDTH 64
#elif defined __AVX__
#define WIDTH 32
#else
#define WIDTH 16
#endif
typedef float vector __attribute__((vector_size(WIDTH))); // bytes

enum { CHAINS = 12 }; // at least latency × units of a core, fewer than it has registers
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define START(c) vector x##c = {c}; // different, or the compiler makes one of them
#define STEP(c) x##c = x##c * factor + factor;
#define ADD(c) total += x##c;

double multiply_adds(long rounds) {
    vector factor = {0}, total = {0};
    factor += 0.999f;
    EACH(START)
    for (long i = 0; i < rounds; i++) { EACH(STEP) }
    EACH(ADD)
    return total[0];
}

long operations(void) { return 2L * CHAINS * (long)(WIDTH / sizeof(float)); } // of one round
