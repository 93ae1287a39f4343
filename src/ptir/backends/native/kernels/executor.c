/* Runs plans: picks the ISA level, keeps the threads, walks the words. Knows no kernel. */
#define _GNU_SOURCE
#include "executor.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
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

enum { SPINS = 20000, YIELD_AFTER = 4000, MAX_THREADS = 256, LINE = 64 };

/* A plan being walked. Each instruction is cut into as many shares as the team has members. What
 * stands here changes only between two instructions, when nobody has a share. */
typedef struct {
    const int64_t *at, *end; /* the instruction in hand, and where the words end */
    char *const *base;
    ptir_kernel const *kernels;
    int64_t until;  /* the time to come back to the host, or 0 */
    int64_t *times; /* nanoseconds for each instruction, or NULL */
    int64_t begun;  /* the time at which the instruction began, if there are times */
    int team;
    int phase; /* how often the instruction has asked to go on */
    uint64_t first; /* the ticket of its first share */
    _Atomic int code, again;
} ptir_job;

/* Shares are numbered through, over all jobs: tickets below `limit` may be taken, `next` is the
 * first that nobody has taken, and `done` counts those that are done. So a thread that the system
 * put to sleep holds nothing up unless it is in the middle of a share, and the numbers never turn
 * back: a share that was taken is one of the job in hand. */
typedef struct ptir_pool {
    _Alignas(LINE) _Atomic uint64_t next, limit;
    _Alignas(LINE) _Atomic uint64_t done;
    _Alignas(LINE) _Atomic uint32_t news; /* changes when there is some and somebody sleeps */
    _Atomic uint32_t roster;              /* changes when `active` does */
    _Atomic int sleeping;
    _Alignas(LINE) _Atomic int finished, stop; /* what those who wait look at beside the tickets */
    _Atomic int active; /* threads that the job in hand uses, the caller's among them */
    int size;           /* threads that there are */
    int wanted;         /* threads that were asked for: more than there are if the system refused */
#if defined(__linux__)
    cpu_set_t allowed;  /* processors of the thread that made it, or none if the system does not say */
    int apart;          /* 1 + the processor that the threads keep off, or 0 */
#endif
    pid_t owner;        /* the process that made the threads: a child has none */
    ptir_job job;
    pthread_t thread[MAX_THREADS];
    char *scratch[MAX_THREADS];
} ptir_pool;

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static ptir_pool *shared_pool;

static void sleep_on(_Atomic uint32_t *event, uint32_t seen) {
#if defined(__linux__)
    syscall(SYS_futex, event, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
#else
    (void)event, (void)seen;
    struct timespec nap = {0, 50000};
    nanosleep(&nap, NULL);
#endif
}

static void wake_all(_Atomic uint32_t *event) {
#if defined(__linux__)
    syscall(SYS_futex, event, FUTEX_WAKE_PRIVATE, MAX_THREADS, NULL, NULL, 0);
#else
    (void)event;
#endif
}

/* Behind a change of `limit`, `finished` or `stop`: whoever is about to sleep has said so first, and
 * looks at them once more. */
static void announce(ptir_pool *pool) {
    if (!atomic_load(&pool->sleeping)) return;
    atomic_fetch_add(&pool->news, 1);
    wake_all(&pool->news);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- instructions --- */

static void run_share(ptir_job *job, int share, char *scratch, char *shared) {
    ptir_team team = {share, job->team, job->phase, scratch, shared};
    int code = job->kernels[job->at[0]](job->at + 2, job->base, &team);
    if (code == PTIR_AGAIN) atomic_store(&job->again, 1);
    else if (code) atomic_store(&job->code, code);
}

/* Goes on to the next instruction, or the next phase of this one; 0 if the job ends here. Called
 * when all shares are done. */
static int go_on(ptir_job *job) {
    if (atomic_load(&job->code)) return 0;
    if (atomic_load(&job->again)) {
        atomic_store(&job->again, 0);
        job->phase++;
        return 1;
    }
    int64_t now = job->times || job->until ? now_ns() : 0;
    if (job->times) {
        *job->times++ += now - job->begun;
        job->begun = now;
    }
    job->phase = 0;
    job->at += 2 + job->at[1];
    return job->at < job->end && !(job->until && now > job->until);
}

static void walk_alone(ptir_job *job, char *scratch) {
    do run_share(job, 0, scratch, scratch + PTIR_SCRATCH);
    while (go_on(job));
}

/* --- shares of a pool --- */

static int take(ptir_pool *pool, uint64_t *ticket) {
    *ticket = atomic_load(&pool->next);
    while (*ticket < atomic_load(&pool->limit))
        if (atomic_compare_exchange_weak(&pool->next, ticket, *ticket + 1)) return 1;
    return 0;
}

static void offer(ptir_pool *pool) {
    pool->job.first = atomic_load(&pool->limit);
    atomic_store(&pool->limit, pool->job.first + (uint64_t)pool->job.team);
    announce(pool);
}

/* The first thread's memory is twice as large: its second half is everybody's. */
static void perform(ptir_pool *pool, int id, uint64_t ticket) {
    ptir_job *job = &pool->job;
    uint64_t behind = job->first + (uint64_t)job->team;
    run_share(job, (int)(ticket - job->first), pool->scratch[id], pool->scratch[0] + PTIR_SCRATCH);
    if (atomic_fetch_add(&pool->done, 1) + 1 < behind) return;
    if (go_on(job)) {
        offer(pool);
    } else {
        atomic_store(&pool->finished, 1);
        announce(pool);
    }
}

/* Spins for a while, then sleeps, until there is a share to take or `flag` is set. */
static void wait_for_share(ptir_pool *pool, _Atomic int *flag) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&pool->next, memory_order_relaxed) <
            atomic_load_explicit(&pool->limit, memory_order_relaxed))
            return;
        if (atomic_load(flag)) return;
        if (i > YIELD_AFTER && i % 64 == 0) sched_yield();
        PAUSE();
    }
    atomic_fetch_add(&pool->sleeping, 1);
    uint32_t seen = atomic_load(&pool->news);
    if (atomic_load(&pool->next) == atomic_load(&pool->limit) && !atomic_load(flag))
        sleep_on(&pool->news, seen);
    atomic_fetch_sub(&pool->sleeping, 1);
}

/* --- threads --- */

typedef struct {
    ptir_pool *pool;
    int id;
} ptir_worker;

static void *work(void *given) {
    ptir_worker me = *(ptir_worker *)given;
    free(given);
    ptir_pool *pool = me.pool;
    uint64_t ticket;
    while (!atomic_load(&pool->stop)) {
        uint32_t roster = atomic_load(&pool->roster);
        if (me.id >= atomic_load(&pool->active)) sleep_on(&pool->roster, roster);
        else if (take(pool, &ticket)) perform(pool, me.id, ticket);
        else wait_for_share(pool, &pool->stop);
    }
    return NULL;
}

static char *new_scratch(int halves) {
    void *memory = NULL;
    return posix_memalign(&memory, 4096, (size_t)halves * PTIR_SCRATCH) ? NULL : memory;
}

static ptir_pool *new_pool(void) {
    void *memory = NULL;
    if (posix_memalign(&memory, LINE, sizeof(ptir_pool))) return NULL;
    ptir_pool *pool = memset(memory, 0, sizeof(ptir_pool));
    pool->owner = getpid();
#if defined(__linux__)
    if (sched_getaffinity(0, sizeof pool->allowed, &pool->allowed)) CPU_ZERO(&pool->allowed);
#endif
    return pool;
}

static int start_thread(ptir_pool *pool, int id) {
    ptir_worker *me = malloc(sizeof *me);
    if (!me) return 0;
    *me = (ptir_worker){pool, id};
    if (!pthread_create(&pool->thread[id], NULL, work, me)) return 1;
    free(me);
    return 0;
}

/* One more thread, of which the first is whoever calls; 0 if the system gives no more. */
static int grow(ptir_pool *pool) {
    int id = pool->size;
    if (!(pool->scratch[id] = new_scratch(id ? 1 : 2))) return 0;
    if (id && !start_thread(pool, id)) {
        free(pool->scratch[id]);
        return 0;
    }
    pool->size++;
    return 1;
}

/* The threads, made when they are first needed, and again in a child or for more of them. */
static ptir_pool *pool_of(int threads) {
    ptir_pool *pool = shared_pool;
    if (pool && pool->owner == getpid() && pool->wanted >= threads) return pool;
    if (pool && pool->owner == getpid()) ptir_stop();
    shared_pool = NULL; /* of a parent: its threads are not here, its memory stays as it is */
    if (!(pool = new_pool())) return NULL;
    pool->wanted = threads;
    while (pool->size < threads && grow(pool)) continue;
    if (!pool->size) {
        free(pool);
        return NULL;
    }
    return shared_pool = pool;
}

/* Says how many threads take shares. */
static void assign(ptir_pool *pool, int active) {
    if (atomic_exchange(&pool->active, active) == active && active) return;
    atomic_fetch_add(&pool->roster, 1);
    wake_all(&pool->roster);
}

/* Keeps the threads off the processor of whoever calls. A system that wakes them may put them there,
 * beside idle ones, and leave them for milliseconds. */
static void keep_apart(ptir_pool *pool) {
#if defined(__linux__)
    int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || pool->apart == here + 1) return;
    cpu_set_t others = pool->allowed;
    CPU_CLR(here, &others);
    if (!CPU_COUNT(&others)) return;
    for (int id = 1; id < pool->size; id++)
        pthread_setaffinity_np(pool->thread[id], sizeof others, &others);
    pool->apart = here + 1;
#else
    (void)pool;
#endif
}

void ptir_stop(void) {
    ptir_pool *pool = shared_pool;
    if (!pool || pool->owner != getpid()) return;
    atomic_store(&pool->stop, 1);
    announce(pool);
    assign(pool, 0);
    for (int id = 1; id < pool->size; id++) pthread_join(pool->thread[id], NULL);
    for (int id = 0; id < pool->size; id++) free(pool->scratch[id]);
    free(pool);
    shared_pool = NULL;
}

static void run_with_pool(ptir_pool *pool, int threads) {
    pool->job.team = threads;
    keep_apart(pool);
    assign(pool, threads);
    atomic_store(&pool->finished, 0);
    offer(pool);
    uint64_t ticket;
    while (!atomic_load(&pool->finished))
        if (take(pool, &ticket)) perform(pool, 0, ticket);
        else wait_for_share(pool, &pool->finished);
}

int64_t ptir_run(
    int level, const int64_t *words, int64_t count, int64_t start, char *const *base, int threads,
    double slice_s, int64_t *times, int *code
) {
    ptir_job job = {.at = words + start, .end = words + count, .base = base, .team = 1};
    job.kernels = ptir_kernels(level);
    job.until = slice_s > 0 ? now_ns() + (int64_t)(slice_s * 1e9) : 0;
    job.times = times;
    job.begun = times ? now_ns() : 0;
    *code = 0;
    if (start >= count) return start;
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    ptir_pool *pool = NULL;
    int mine = pthread_mutex_trylock(&pool_lock) == 0;
    if (mine) pool = pool_of(threads); /* one thread too: the pool has its scratch */
    if (pool && pool->size < threads) threads = pool->size;
    if (pool && threads > 1) {
        pool->job = job;
        run_with_pool(pool, threads);
        job = pool->job;
    } else if (pool) {
        walk_alone(&job, pool->scratch[0]);
    } else { /* another thread has the pool, or there is none to be had */
        char *memory = new_scratch(2);
        if (memory) walk_alone(&job, memory);
        else job.code = PTIR_NO_MEMORY;
        free(memory);
    }
    if (mine) pthread_mutex_unlock(&pool_lock);
    *code = job.code;
    return job.at - words;
}

/* After a fork the child's copy of the lock may be held by a thread that does not exist there. */
static void in_child(void) { pthread_mutex_init(&pool_lock, NULL); }

__attribute__((constructor)) static void prepare(void) { pthread_atfork(NULL, NULL, in_child); }
