/* Products of f64 and of integers: plain loops over a block of columns. Integers wrap, so their
 * sums are those of unsigned numbers. */
enum { WHOLE_COLUMNS = 512 };

#define WHOLE(name, element, accumulator)                                                          \
    static void PTIR_JOIN(whole, name)(const dot_item *d, int64_t i, int64_t j, int64_t n) {       \
        accumulator sum[WHOLE_COLUMNS] = {0};                                                      \
        for (int64_t k = 0; k < d->k; k++) {                                                       \
            element x, w;                                                                          \
            memcpy(&x, dot_at(&d->x, i, k), sizeof x);                                             \
            const char *from = dot_at(&d->w, k, j);                                                \
            const int64_t step = d->w.column * (int64_t)sizeof w;                                  \
            for (int64_t c = 0; c < n; c++) {                                                      \
                memcpy(&w, from + c * step, sizeof w);                                             \
                sum[c] += (accumulator)x * (accumulator)w;                                         \
            }                                                                                      \
        }                                                                                          \
        for (int64_t c = 0; c < n; c++)                                                            \
            memcpy(dot_at(&d->out, i, j + c), &sum[c], sizeof *sum);                               \
    }

WHOLE(f64, double, double)
WHOLE(si8, int8_t, uint32_t)
WHOLE(ui8, uint8_t, uint32_t)
WHOLE(32, uint32_t, uint32_t)
WHOLE(64, uint64_t, uint64_t)

typedef void (*whole_product)(const dot_item *d, int64_t i, int64_t j, int64_t n);

/* The product for these types, or NULL: results are what is summed in. */
static whole_product whole_for(int x, int w, int out) {
    if (x != w) return NULL;
    switch (x) {
    case PTIR_f64: return out == x ? whole_f64 : NULL;
    case PTIR_si8: return out == PTIR_si32 ? whole_si8 : NULL;
    case PTIR_ui8: return out == PTIR_si32 ? whole_ui8 : NULL;
    case PTIR_si32:
    case PTIR_ui32: return out == x ? whole_32 : NULL;
    case PTIR_si64:
    case PTIR_ui64: return out == x ? whole_64 : NULL;
    default: return NULL;
    }
}
