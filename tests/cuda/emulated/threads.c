/* The threads of a GPU on one thread of this processor (x86-64): what a kernel compiled by `host_code` calls.

All blocks of a launch are alive at once, each thread with a stack of its own; one runs until it comes to a barrier of its
block, waits for its cluster, reads a counter that others add to, or ends.  With a seed, blocks and threads take turns in a
random order, and blocks are left out at random. */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { STACK = 64 << 10, POISON = 0xff, MOST_LOOKS = 1 << 15 };
enum { FINE = 0, LAUNCH_FAILED = 719 };
typedef enum { RUNS, WAITS, ENDED } State;
typedef struct { void *stack; int block, thread; State state; int arrived; long awaits; } Thread;
typedef struct { int arrived; long phase; } Cluster;

static int blocks, threads, block_now, thread_now, dynamic_bytes, trapped, alone;
static char *shared;
static size_t shared_bytes;
static Thread *thread_of_gpu, *now;
static int *alive, *waiting, *begun;
static int cluster_size; /* blocks that follow each other */
static Cluster *clusters;
static const char *kernel_name;
static void *scheduler_stack;
static void (*entry)(void **);
static void **parameters;
static uint64_t random_state;

void emulator_seed(uint64_t seed) { random_state = seed ? seed * 2654435761u + 88172645463325252ull : 0; }

static unsigned random_below(unsigned end) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 16) % end;
}

static void shuffle(int *order, int count) {
    for (int i = count - 1; random_state && i > 0; i--) {
        int j = random_below(i + 1), held = order[i];
        order[i] = order[j], order[j] = held;
    }
}

/* Keep the registers that a call must keep on this stack, note where it ends, and go on with another. */
__attribute__((naked)) static void change_stack(void **left, void *taken) {
    __asm__("pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n movq %rsp, (%rdi)\n"
            "movq %rsi, %rsp\n popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret");
}

static void let_others_run(void) { change_stack(&now->stack, scheduler_stack); }

/* The barrier of a cluster opens when all of its threads that have not ended have come. */
static void open_when_all_are_there(Cluster *cluster) {
    int first = (int)(cluster - clusters) * cluster_size, expected = 0;
    for (int i = first; i < first + cluster_size; i++) expected += alive[i];
    if (cluster->arrived && cluster->arrived == expected) cluster->arrived = 0, cluster->phase++;
}

static void thread_begins(void) {
    begun[now->block] = 1;
    entry(parameters);
    now->state = ENDED;
    alive[now->block]--;
    open_when_all_are_there(clusters + now->block / cluster_size);
    let_others_run();
}

/* -- what kernels call */

int emulated_thread(void) { return thread_now; }
int emulated_block(void) { return block_now; }
int emulated_threads(void) { return threads; }
int emulated_blocks(void) { return blocks; }
int emulated_zero(void) { return 0; }
int emulated_one(void) { return 1; }
int emulated_shared_bytes(void) { return dynamic_bytes; }
char *emulated_shared(int64_t at) { return shared + (alone ? 0 : block_now) * shared_bytes + at; }
void emulated_fence(void) {}
float emulated_read_float(int64_t address) { return *(float *)address; }
double emulated_read_double(int64_t address) { return *(double *)address; }
void emulated_add_one(int64_t address) { *(int64_t *)address += 1; }

void emulated_barrier(void) {
    now->state = WAITS;
    waiting[now->block]++;
    let_others_run();
}

int64_t emulated_peek(int64_t address) {
    if (!alone) let_others_run();
    return *(volatile int64_t *)address;
}
int64_t emulated_acquire(int64_t address) { return *(volatile int64_t *)address; }

void emulated_trap(void) {
    trapped = 1;
    if (!alone) {
        now->state = ENDED;
        let_others_run();
    }
}

/* -- clusters: what is not allowed there ends the launch */

static void refuse(const char *what) {
    fprintf(stderr, "emulated kernel %.200s: %s\n", kernel_name, what);
    emulated_trap();
}

void emulated_arrive_at_cluster(void) {
    Cluster *mine = clusters + now->block / cluster_size;
    if (now->arrived) refuse("a thread that comes to its cluster twice, and has not waited");
    now->arrived = 1, now->awaits = mine->phase + 1;
    mine->arrived++;
    open_when_all_are_there(mine);
}

void emulated_wait_for_cluster(void) {
    Cluster *mine = clusters + now->block / cluster_size;
    if (!now->arrived) refuse("a thread that waits for its cluster, and has not come to it");
    for (int looks = 0; mine->phase < now->awaits; looks++) {
        if (looks > MOST_LOOKS) refuse("a cluster, some of whose threads never come");
        let_others_run();
    }
    now->arrived = 0;
}

/* Where a place of this block's shared memory is in another block's, from the first block's on. */
int emulated_place_in_block(int64_t address, int rank) {
    int64_t at = (char *)address - (shared + block_now * shared_bytes);
    if (at < 0 || at >= (int64_t)shared_bytes || rank < 0 || rank >= cluster_size) refuse("a place that is not in its cluster");
    return (block_now / cluster_size * cluster_size + rank) * shared_bytes + at;
}

static char *place_there(int place) {
    int block = place / shared_bytes;
    if (!begun[block] || !alive[block]) refuse("a number for a block that has not begun, or has ended");
    return shared + place;
}
void emulated_store_float_there(int place, float value) { *(float *)place_there(place) = value; }
void emulated_store_double_there(int place, double value) { *(double *)place_there(place) = value; }

/* -- a launch */

static int run_block(int block, const int *order, const char *name) {
    for (int i = 0; i < threads; i++) {
        Thread *next = thread_of_gpu + (size_t)block * threads + order[i];
        if (next->state != RUNS) continue;
        now = next, block_now = block, thread_now = next->thread;
        change_stack(&scheduler_stack, next->stack);
        if (trapped) return LAUNCH_FAILED;
    }
    if (!alive[block] && waiting[block]) return LAUNCH_FAILED;
    if (alive[block] && waiting[block] == alive[block]) {
        if (alive[block] != threads) {
            fprintf(stderr, "emulated kernel %.200s: a barrier that %d threads never reach\n", name, threads - alive[block]);
            return LAUNCH_FAILED;
        }
        waiting[block] = 0;
        for (int i = 0; i < threads; i++) thread_of_gpu[(size_t)block * threads + i].state = RUNS;
    }
    return FINE;
}

static int run_together(const char *name) {
    size_t count = (size_t)blocks * threads;
    char *stacks = mmap(NULL, count * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) return LAUNCH_FAILED;
    thread_of_gpu = malloc(count * sizeof(Thread));
    alive = malloc(blocks * sizeof(int)), waiting = calloc(blocks, sizeof(int)), begun = calloc(blocks, sizeof(int));
    clusters = calloc(blocks / cluster_size, sizeof(Cluster)), kernel_name = name;
    int *order = malloc(threads * sizeof(int)), *turns = malloc(blocks * sizeof(int));
    for (int i = 0; i < threads; i++) order[i] = i;
    for (int i = 0; i < blocks; i++) turns[i] = i, alive[i] = threads;
    for (size_t i = 0; i < count; i++) {
        void **top = (void **)(stacks + (i + 1) * STACK - 64);
        *--top = NULL; /* where `thread_begins` would return to */
        *--top = (void *)thread_begins;
        top -= 6;
        thread_of_gpu[i] = (Thread){top, i / threads, i % threads, RUNS, 0, 0};
    }
    int left = blocks, status = FINE;
    while (left && !status) {
        left = 0;
        shuffle(turns, blocks);
        for (int i = 0; i < blocks && !status; i++) {
            int block = turns[i];
            if (alive[block] && !(random_state && blocks > 1 && random_below(3) == 0)) {
                shuffle(order, threads);
                status = run_block(block, order, name);
            }
            left += alive[block] > 0;
        }
    }
    munmap(stacks, count * STACK);
    free(thread_of_gpu), free(alive), free(waiting), free(begun), free(clusters), free(order), free(turns);
    return status;
}

/* Run a kernel: `function` takes the addresses of its parameters; `barriers` is 0 where its threads never wait. */
int emulator_run(void (*function)(void **), void **given, int blocks_, int threads_, int dynamic, int cluster, int fixed,
                 int barriers, const char *name) {
    entry = function, parameters = given, blocks = blocks_, threads = threads_, dynamic_bytes = dynamic;
    alone = !barriers, trapped = 0, cluster_size = cluster;
    shared_bytes = (fixed + dynamic + 127) & ~127ul;
    size_t bytes = (alone ? 1 : blocks) * shared_bytes;
    shared = bytes ? aligned_alloc(128, bytes) : NULL;
    if (bytes) memset(shared, POISON, bytes);
    int status = FINE;
    if (barriers) status = run_together(name);
    else {
        for (block_now = 0; block_now < blocks && !trapped; block_now++)
            for (thread_now = 0; thread_now < threads && !trapped; thread_now++) entry(parameters);
        if (trapped) status = LAUNCH_FAILED;
    }
    free(shared);
    return status;
}

/* -- libdevice, by the C library: the last bits differ */

#define ONE(name, function) \
    float __nv_##name##f(float x) { return function##f(x); } \
    double __nv_##name(double x) { return function(x); }
#define TWO(name, function) \
    float __nv_##name##f(float x, float y) { return function##f(x, y); } \
    double __nv_##name(double x, double y) { return function(x, y); }
ONE(exp, exp) ONE(expm1, expm1) ONE(log, log) ONE(log1p, log1p) ONE(tanh, tanh) ONE(sqrt, sqrt) ONE(fabs, fabs)
ONE(floor, floor) ONE(ceil, ceil) ONE(erf, erf) ONE(erfc, erfc) ONE(sin, sin) ONE(cos, cos)
TWO(pow, pow) TWO(fmax, fmax) TWO(fmin, fmin) TWO(copysign, copysign)
float __nv_fsqrt_rn(float x) { return sqrtf(x); }
double __nv_dsqrt_rn(double x) { return sqrt(x); }
float __nv_normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678118654752f); }
double __nv_normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
float __nv_fmaf(float x, float y, float z) { return fmaf(x, y, z); }
double __nv_fma(double x, double y, double z) { return fma(x, y, z); }
int __nv_isnanf(float x) { return isnan(x); }
int __nv_isnand(double x) { return isnan(x); }
int __nv_isinff(float x) { return isinf(x); }
int __nv_isinfd(double x) { return isinf(x); }
int __nv_finitef(float x) { return isfinite(x); }
int __nv_isfinited(double x) { return isfinite(x); }
int __nv_abs(int x) { return abs(x); }
int __nv_max(int x, int y) { return x > y ? x : y; }
int __nv_min(int x, int y) { return x < y ? x : y; }
long long __nv_llabs(long long x) { return llabs(x); }
long long __nv_llmax(long long x, long long y) { return x > y ? x : y; }
long long __nv_llmin(long long x, long long y) { return x < y ? x : y; }
