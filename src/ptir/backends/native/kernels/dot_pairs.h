/* Products of bf16 where an instruction takes two elements of k at once: a word is such a pair, the
 * earlier element in its low half; an odd k ends in a pair with a zero. Words stand where others have
 * floats, and only their bits count. (It reads subnormal elements as zeros.)
 */
#if defined(__AVX512BF16__)
enum { DOT_PAIRS = 1 };

/* sum + both products of each word. */
INLINE vf pairs_add(vf sum, vf a, vf b) {
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

#define PAIRS_ORDER                                                                                \
    0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,                                        \
    8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
INLINE vf pairs_join(vh first, vh second) {
    return (vf)__builtin_shufflevector(first, second, PAIRS_ORDER);
}
#else
enum { DOT_PAIRS = 0 }; /* none of this is called */

INLINE vf pairs_add(vf sum, vf a, vf b) {
    vu low_a = (vu)a << 16, low_b = (vu)b << 16, high = {0};
    high += 0xffff0000;
    sum += (vf)low_a * (vf)low_b;
    return sum + (vf)((vu)a & high) * (vf)((vu)b & high);
}

INLINE vf pairs_join(vh first, vh second) {
    return (vf)(__builtin_convertvector(first, vu) | __builtin_convertvector(second, vu) << 16);
}
#endif

/* How elements of w are multiplied: as their type says, or in pairs. */
enum { PTIR_pairs = -1 };
static int dot_way(const dot_item *d) { return d->pairs ? PTIR_pairs : d->w.dtype; }

/* One word in all lanes. */
INLINE vf pairs_set(const float *word) {
    uint32_t bits;
    memcpy(&bits, word, sizeof bits);
    return (vf)((vu){0} + bits);
}

/* n elements that are `step` apart, as words side by side. */
static void pairs_copy(float *to, const char *from, int64_t step, int64_t n) {
    char *at = (char *)to;
    if (step == 1) memcpy(at, from, (size_t)n * 2);
    else
        for (int64_t i = 0; i < n; i++) memcpy(at + i * 2, from + i * step * 2, 2);
    if (n % 2) memset(at + n * 2, 0, 2);
}

/* Two rows of elements as words; without a second one they end k. */
INLINE vf pairs_load(const char *first, const char *second, int64_t i) {
    vh low = vh_load((const uint16_t *)first + i), high = {0};
    if (second) high = vh_load((const uint16_t *)second + i);
    return pairs_join(low, high);
}

/* Fewer elements than fill a vector of words, then zeros. */
static vf pairs_part(const char *from, int64_t n) {
    float words[VL] = {0};
    pairs_copy(words, from, 1, n);
    return vf_load(words);
}
