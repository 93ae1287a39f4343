/* Runs plans: picks the ISA level, keeps the threads, walks the words. Knows no kernel. */
#define _GNU_SOURCE
#include "executor.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ volatile("yield")
#else
#define PAUSE() ((void)0)
#endif

enum { SPINS = 20000, YIELD_AFTER = 4000, MAX_THREADS = 256 };

/* A counter that threads wait on: they spin for a while, then sleep in the kernel. */
typedef _Atomic uint32_t ptir_event;

/* How an instruction ended. Two take turns, so that a thread which is ahead by one kernel does not
 * write where a slower one still reads; a verdict other than zero is the last one. */
typedef struct {
    _Atomic int code, late;
} ptir_verdict;

typedef struct {
    const int64_t *words, *end;
    char *const *base;
    ptir_kernel const *kernels;
    int64_t until;        /* the time to come back to the host, or 0 */
    const int64_t *at;    /* where the host goes on: thread 0 says */
    ptir_verdict verdict[2];
    int64_t *times; /* nanoseconds for each instruction, or NULL */
} ptir_job;

typedef struct ptir_pool {
    int size;      /* threads, the caller's among them */
    int active;    /* of those, how many the job in hand uses */
    pid_t owner;   /* the process that made the threads: a child has none */
    int stop;
    ptir_job *job;
    ptir_event start, arrived, phase;
    _Atomic int sleeping, left;
    pthread_t thread[MAX_THREADS];
    char *scratch[MAX_THREADS];
} ptir_pool;

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static ptir_pool *shared_pool;

static void sleep_on(ptir_event *event, uint32_t seen) {
#if defined(__linux__)
    syscall(SYS_futex, event, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
#else
    (void)event, (void)seen;
    struct timespec nap = {0, 50000};
    nanosleep(&nap, NULL);
#endif
}

static void wake_all(ptir_event *event) {
#if defined(__linux__)
    syscall(SYS_futex, event, FUTEX_WAKE_PRIVATE, MAX_THREADS, NULL, NULL, 0);
#else
    (void)event;
#endif
}

static void wait_change(ptir_pool *pool, ptir_event *event, uint32_t seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(event, memory_order_acquire) != seen) return;
        if (i > YIELD_AFTER && i % 64 == 0) sched_yield();
        PAUSE();
    }
    atomic_fetch_add(&pool->sleeping, 1);
    while (atomic_load(event) == seen) sleep_on(event, seen);
    atomic_fetch_sub(&pool->sleeping, 1);
}

static void change(ptir_pool *pool, ptir_event *event) {
    atomic_fetch_add(event, 1);
    if (atomic_load(&pool->sleeping)) wake_all(event);
}

void ptir_barrier(const ptir_team *team) {
    if (team->size == 1) return;
    ptir_pool *pool = team->pool;
    uint32_t phase = atomic_load(&pool->phase);
    if (atomic_fetch_add(&pool->arrived, 1) + 1 == (uint32_t)team->size) {
        atomic_store(&pool->arrived, 0);
        change(pool, &pool->phase);
    } else {
        wait_change(pool, &pool->phase, phase);
    }
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Every thread walks all instructions; a barrier stands behind each. */
static void walk(ptir_job *job, const ptir_team *team) {
    const int64_t *w = job->words;
    for (int turn = 0; w < job->end; turn = !turn) {
        ptir_verdict *verdict = &job->verdict[turn];
        const int64_t *next = w + 2 + w[1];
        int64_t begun = job->times && !team->id ? now_ns() : 0;
        int code = job->kernels[w[0]](w + 2, job->base, team);
        if (code) atomic_store(&verdict->code, code);
        if (!team->id && job->until && now_ns() > job->until) atomic_store(&verdict->late, 1);
        ptir_barrier(team);
        if (job->times && !team->id) *job->times++ += now_ns() - begun;
        if (atomic_load(&verdict->code)) break;
        w = next;
        if (atomic_load(&verdict->late)) break;
    }
    if (!team->id) job->at = w;
}

typedef struct {
    ptir_pool *pool;
    int id;
} ptir_worker;

/* The first thread's memory is twice as large: its second half is everybody's. */
static ptir_team team_of(ptir_pool *pool, int id) {
    return (ptir_team){id, pool->active, pool->scratch[id], pool->scratch[0] + PTIR_SCRATCH, pool};
}

static void *work(void *given) {
    ptir_worker me = *(ptir_worker *)given;
    free(given);
    ptir_pool *pool = me.pool;
    uint32_t seen = 0;
    for (;;) {
        wait_change(pool, &pool->start, seen);
        seen++;
        if (pool->stop) return NULL;
        if (me.id < pool->active) {
            ptir_team team = team_of(pool, me.id);
            walk(pool->job, &team);
        }
        atomic_fetch_sub(&pool->left, 1);
    }
}

static char *new_scratch(int halves) {
    void *memory = NULL;
    return posix_memalign(&memory, 4096, (size_t)halves * PTIR_SCRATCH) ? NULL : memory;
}

/* The threads, made when they are first needed, and again in a child or for more of them. */
static ptir_pool *pool_of(int threads) {
    ptir_pool *pool = shared_pool;
    if (pool && pool->owner == getpid() && pool->size >= threads) return pool;
    if (pool && pool->owner == getpid()) ptir_stop();
    shared_pool = NULL; /* of a parent: its threads are not here, its memory stays as it is */
    pool = calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool->owner = getpid();
    for (; pool->size < threads; pool->size++) {
        int id = pool->size;
        if (!(pool->scratch[id] = new_scratch(id ? 1 : 2))) break;
        if (!id) continue;
        ptir_worker *me = malloc(sizeof *me);
        if (!me) break;
        *me = (ptir_worker){pool, id};
        if (pthread_create(&pool->thread[id], NULL, work, me)) {
            free(me);
            break;
        }
    }
    if (!pool->size) {
        free(pool);
        return NULL;
    }
    return shared_pool = pool;
}

void ptir_stop(void) {
    ptir_pool *pool = shared_pool;
    if (!pool || pool->owner != getpid()) return;
    pool->stop = 1;
    change(pool, &pool->start);
    for (int id = 1; id < pool->size; id++) pthread_join(pool->thread[id], NULL);
    for (int id = 0; id < pool->size; id++) free(pool->scratch[id]);
    free(pool);
    shared_pool = NULL;
}

static void run_with_pool(ptir_pool *pool, ptir_job *job, int threads) {
    pool->job = job;
    pool->active = threads < pool->size ? threads : pool->size;
    if (pool->active > 1) {
        atomic_store(&pool->left, pool->size - 1);
        change(pool, &pool->start);
    }
    ptir_team team = team_of(pool, 0);
    walk(job, &team);
    while (atomic_load_explicit(&pool->left, memory_order_acquire)) PAUSE();
}

int64_t ptir_run(
    int level, const int64_t *words, int64_t count, int64_t start, char *const *base, int threads,
    double slice_s, int64_t *times, int *code
) {
    ptir_job job = {.words = words + start, .end = words + count, .base = base};
    job.kernels = ptir_kernels(level);
    job.until = slice_s > 0 ? now_ns() + (int64_t)(slice_s * 1e9) : 0;
    job.times = times;
    *code = 0;
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    ptir_pool *pool = NULL;
    int mine = 0;
    if (pthread_mutex_trylock(&pool_lock) == 0) { /* one thread too: the pool has its scratch */
        mine = 1;
        pool = pool_of(threads);
    }
    if (pool) {
        run_with_pool(pool, &job, threads);
    } else { /* another thread has the pool, or there is none to be had: alone */
        char *memory = new_scratch(2);
        ptir_team team = {0, 1, memory, memory ? memory + PTIR_SCRATCH : NULL, NULL};
        if (!memory) *code = PTIR_NO_MEMORY;
        else walk(&job, &team);
        free(memory);
    }
    if (mine) pthread_mutex_unlock(&pool_lock);
    if (*code) return start;
    *code = job.verdict[0].code ? job.verdict[0].code : job.verdict[1].code;
    return job.at - words;
}

/* After a fork the child's copy of the lock may be held by a thread that does not exist there. */
static void in_child(void) { pthread_mutex_init(&pool_lock, NULL); }

__attribute__((constructor)) static void prepare(void) { pthread_atfork(NULL, NULL, in_child); }
