/* Runs kernels for a test on the other side of a pipe: on a machine that has no Python, or under an
 * emulator. Numbers are 64 bits wide, little end first.
 *
 *   in:  threads, words, regions, bases; the words; for each region its size, its place after a
 *        64-byte boundary, its bytes; for each base its region and offset
 *   out: the kernel's code; the bytes of all regions
 */
#include "executor.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINE = 64 };

typedef struct {
    char *memory, *at;
    int64_t size;
} region;

static void *room(int64_t count, size_t each) {
    void *memory = calloc((size_t)count + 1, each);
    if (!memory) exit(2);
    return memory;
}

static void get(void *to, int64_t bytes) {
    if (fread(to, 1, (size_t)bytes, stdin) != (size_t)bytes) exit(1);
}

static region get_region(void) {
    region r;
    int64_t place;
    get(&r.size, sizeof r.size);
    get(&place, sizeof place);
    r.memory = room(r.size + 2 * LINE, 1);
    r.at = r.memory + (LINE - (uintptr_t)r.memory % LINE) % LINE + place;
    get(r.at, r.size);
    return r;
}

static void serve(const int64_t *head) {
    int64_t *words = room(head[1], sizeof *words);
    region *regions = room(head[2], sizeof *regions);
    char **bases = room(head[3], sizeof *bases);
    get(words, head[1] * (int64_t)sizeof *words);
    for (int64_t i = 0; i < head[2]; i++) regions[i] = get_region();
    for (int64_t i = 0; i < head[3]; i++) {
        int64_t where[2];
        get(where, sizeof where);
        bases[i] = regions[where[0]].at + where[1];
    }
    int code = 0;
    ptir_run(0, words, head[1], 0, bases, (int)head[0], 0, NULL, &code);
    int64_t result = code;
    fwrite(&result, sizeof result, 1, stdout);
    for (int64_t i = 0; i < head[2]; i++) {
        fwrite(regions[i].at, 1, (size_t)regions[i].size, stdout);
        free(regions[i].memory);
    }
    fflush(stdout);
    free(words), free(regions), free(bases);
}

int main(void) {
    int64_t head[4];
    while (fread(head, sizeof head, 1, stdin) == 1) serve(head);
    ptir_stop();
    return 0;
}
