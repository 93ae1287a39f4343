// What a core can do at most: multiply-adds on independent chains that stay in registers, and sums of
// memory that is read once, with the next lines asked for past what caches hold.
#if defined __AVX512F__
#define WIDTH 64
#elif defined __AVX__
#define WIDTH 32
#else
#define WIDTH 16
#endif
typedef float vector __attribute__((vector_size(WIDTH))); // bytes
typedef vector loaded __attribute__((aligned(4), may_alias));

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

enum { LINE = 64, NEXT = 1024 }; // bytes

double read_once(const char *from, long bytes) {
    vector sums[4 * LINE / WIDTH] = {0};
    for (const char *at = from; at + 4 * LINE <= from + bytes; at += 4 * LINE)
        for (int i = 0; i < 4 * LINE / WIDTH; i++) {
            __builtin_prefetch(at + NEXT + i * WIDTH, 0, 0);
            sums[i] += *(const loaded *)(at + i * WIDTH);
        }
    for (int i = 1; i < 4 * LINE / WIDTH; i++) sums[0] += sums[i];
    return sums[0][0];
}

long operations(void) { return 2L * CHAINS * (long)(WIDTH / sizeof(float)); } // of one round
