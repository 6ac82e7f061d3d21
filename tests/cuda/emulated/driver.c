/* A stand-in for libcuda: as much of NVIDIA's driver as numba-cuda, cuda.core and this package ask for, of one H100.

Memory of the device is memory of this process, between two zones that nobody may write to.  A stream does at once what it is
told.  A kernel goes to a function that `emulator_run_with` has been given; without one, launches are checked and counted, no
more.  https://docs.nvidia.com/cuda/cuda-driver-api has what each function is for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Status;
typedef uint64_t Handle;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700,
       LAUNCH_FAILED = 719, COOPERATIVE_TOO_LARGE = 720, INVALID_CLUSTER_SIZE = 912 };
enum { CONTEXT = 0x1000, PROCESSORS = 132, FREE_SHARED = 48 << 10, MOST_SHARED = 227 << 10, ZONE = 256, POISON = 0xff };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Handle next_handle = 0x5000;
static Handle new_handle(void) { return __atomic_add_fetch(&next_handle, 16, __ATOMIC_RELAXED); }

/* -- the device */

Status cuInit(unsigned flags) { return OK; }
Status cuDriverGetVersion(int *version) { *version = 13000; return OK; }
Status cuDeviceGetCount(int *count) { *count = 1; return OK; }
Status cuDeviceGet(int *device, int ordinal) { *device = 0; return ordinal ? INVALID_DEVICE : OK; }
Status cuDeviceGetName(char *name, int length, int device) { snprintf(name, length, "a stand-in for an H100"); return OK; }
Status cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, 7, 16); return OK; }
Status cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 80ull << 30; return OK; }
Status cuDeviceGetPCIBusId(char *id, int length, int device) { snprintf(id, length, "0000:00:00.0"); return OK; }
Status cuMemGetInfo_v2(size_t *unused, size_t *total) { *unused = 70ull << 30; *total = 80ull << 30; return OK; }

Status cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) { /* CUdevice_attribute */
    case 1: case 2: case 3: *value = 1024; break; /* threads of a block; along x; along y */
    case 4: *value = 64; break;                   /* along z */
    case 5: *value = 2147483647; break;           /* blocks along x */
    case 6: case 7: *value = 65535; break;
    case 8: *value = FREE_SHARED; break;
    case 9: *value = 65536; break; /* constant memory */
    case 10: *value = 32; break;   /* warp */
    case 12: case 82: *value = 65536; break; /* registers of a block, of a processor */
    case 16: *value = PROCESSORS; break;
    case 33: case 34: case 50: case 76: *value = 0; break; /* bus, device, domain; minor capability */
    case 39: *value = 2048; break; /* threads of a processor */
    case 75: *value = 9; break;    /* major capability */
    case 81: *value = 228 << 10; break;
    case 97: *value = MOST_SHARED; break;
    default: *value = 1;
    }
    return OK;
}

/* -- contexts: one, current or not in each thread */

static __thread Handle current;
Status cuDevicePrimaryCtxRetain(Handle *context, int device) { *context = CONTEXT; return OK; }
Status cuDevicePrimaryCtxRelease_v2(int device) { return OK; }
Status cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 1; return OK; }
Status cuCtxGetCurrent(Handle *context) { *context = current; return OK; }
Status cuCtxSetCurrent(Handle context) { current = context; return OK; }
Status cuCtxPushCurrent_v2(Handle context) { current = context; return OK; }
Status cuCtxPopCurrent_v2(Handle *context) { *context = current; current = 0; return OK; }
Status cuCtxGetDevice(int *device) { *device = 0; return current ? OK : 201; }
Status cuCtxSynchronize(void) { return OK; }
Status cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return OK; }
Status cuCtxGetId(Handle context, unsigned long long *id) { *id = 1; return OK; }

/* -- memory */

typedef struct Block { char *start; size_t bytes; struct Block *next; } Block;
static Block *blocks;

Status cuMemAlloc_v2(Handle *address, size_t bytes) {
    Block *block = malloc(sizeof(Block));
    char *whole = bytes > (40ull << 30) ? NULL : aligned_alloc(ZONE, (bytes + 3 * ZONE - 1) / ZONE * ZONE);
    if (!whole) { free(block); return OUT_OF_MEMORY; }
    memset(whole, POISON, bytes + 2 * ZONE);
    pthread_mutex_lock(&lock);
    *block = (Block){whole + ZONE, bytes, blocks};
    blocks = block;
    pthread_mutex_unlock(&lock);
    *address = (Handle)block->start;
    return OK;
}

static int zones_are_whole(const Block *block) {
    for (int i = 0; i < ZONE; i++)
        if ((unsigned char)block->start[i - ZONE] != POISON || (unsigned char)block->start[block->bytes + i] != POISON)
            return 0;
    return 1;
}

Status cuMemFree_v2(Handle address) {
    Status status = INVALID_VALUE;
    pthread_mutex_lock(&lock);
    for (Block **at = &blocks; *at; at = &(*at)->next)
        if ((*at)->start == (char *)address) {
            Block *block = *at;
            status = zones_are_whole(block) ? OK : ILLEGAL_ADDRESS;
            *at = block->next;
            free(block->start - ZONE);
            free(block);
            break;
        }
    pthread_mutex_unlock(&lock);
    return status;
}

static Status check_zones(const char *name) {
    Status status = OK;
    pthread_mutex_lock(&lock);
    for (Block *block = blocks; block; block = block->next)
        if (!zones_are_whole(block)) {
            fprintf(stderr, "emulated driver: %.200s wrote beside an array of %zu bytes\n", name, block->bytes);
            status = ILLEGAL_ADDRESS;
        }
    pthread_mutex_unlock(&lock);
    return status;
}

Status cuPointerGetAttribute(void *value, int attribute, Handle address) {
    switch (attribute) { /* CUpointer_attribute */
    case 1: *(Handle *)value = CONTEXT; break;
    case 2: *(unsigned *)value = 2; break; /* memory of a device */
    case 3: case 4: *(Handle *)value = address; break;
    default: *(int *)value = 0;
    }
    return OK;
}

/* -- streams and events */

Status cuStreamCreate(Handle *stream, unsigned flags) { *stream = new_handle(); return OK; }
Status cuStreamCreateWithPriority(Handle *stream, unsigned flags, int priority) { *stream = new_handle(); return OK; }
Status cuStreamSynchronize(Handle stream) { return OK; }
Status cuStreamQuery(Handle stream) { return OK; }
Status cuStreamDestroy_v2(Handle stream) { return OK; }
Status cuStreamGetCtx(Handle stream, Handle *context) { *context = CONTEXT; return OK; }
Status cuStreamGetFlags(Handle stream, unsigned *flags) { *flags = 0; return OK; }
Status cuStreamGetPriority(Handle stream, int *priority) { *priority = 0; return OK; }
Status cuStreamWaitEvent(Handle stream, Handle event, unsigned flags) { return OK; }
static Handle captured_on; /* the stream that notes its launches, if any */
Status cuStreamIsCapturing(Handle stream, int *status) { *status = stream && stream == captured_on; return OK; }
Status cuEventCreate(Handle *event, unsigned flags) { *event = new_handle(); return OK; }
Status cuEventRecord(Handle event, Handle stream) { return OK; }
Status cuEventSynchronize(Handle event) { return OK; }
Status cuEventQuery(Handle event) { return OK; }
Status cuEventDestroy_v2(Handle event) { return OK; }
Status cuEventElapsedTime(float *milliseconds, Handle from, Handle to) { *milliseconds = 1; return OK; }
Status cuEventElapsedTime_v2(float *milliseconds, Handle from, Handle to) { *milliseconds = 1; return OK; }

/* -- kernels: a handle is the address of what is known of one */

typedef struct { char *name; int shared; } Kernel;

Status cuLibraryLoadData(Handle *library, const void *code, void *a, void *b, unsigned c, void *d, void *e, unsigned f) {
    *library = new_handle();
    return OK;
}
Status cuLibraryUnload(Handle library) { return OK; }
Status cuLibraryGetKernel(Handle *kernel, Handle library, const char *name) {
    Kernel *found = malloc(sizeof(Kernel));
    *found = (Kernel){strdup(name), FREE_SHARED};
    *kernel = (Handle)found;
    return OK;
}
Status cuLibraryGetGlobal(Handle *address, size_t *bytes, Handle library, const char *name) { return NOT_FOUND; }
Status cuKernelGetFunction(Handle *function, Handle kernel) { *function = kernel; return OK; }
Status cuKernelGetLibrary(Handle *library, Handle kernel) { *library = 1; return OK; }
Status cuKernelGetName(const char **name, Handle kernel) { *name = ((Kernel *)kernel)->name; return OK; }
Status cuFuncGetName(const char **name, Handle function) { return cuKernelGetName(name, function); }
Status cuKernelGetAttribute(int *value, int attribute, Handle kernel, int device) {
    *value = attribute == 0 ? 1024 : attribute == 8 ? ((Kernel *)kernel)->shared : 0;
    return OK;
}
Status cuKernelSetAttribute(int attribute, int value, Handle kernel, int device) {
    if (attribute == 8) { /* CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
        if (value > MOST_SHARED) return INVALID_VALUE;
        ((Kernel *)kernel)->shared = value;
    }
    return OK;
}
Status cuFuncSetAttribute(Handle function, int attribute, int value) {
    return cuKernelSetAttribute(attribute, value, function, 0);
}

/* -- launches */

typedef Status (*Run)(const char *name, void **parameters, unsigned blocks, unsigned threads, unsigned shared, unsigned cluster);
static Run run;
void emulator_run_with(Run function) { run = function; }

enum { MOST_OF_CLUSTER = 8 };
long emulator_launches, emulator_cooperative, emulator_clustered;
typedef struct Count { const char *name; long launches; struct Count *next; } Count;
static Count *counts;

static void count(const char *name) {
    pthread_mutex_lock(&lock);
    Count *found = counts;
    while (found && strcmp(found->name, name)) found = found->next;
    if (!found) {
        found = malloc(sizeof(Count));
        *found = (Count){name, 0, counts};
        counts = found;
    }
    found->launches++;
    emulator_launches++;
    pthread_mutex_unlock(&lock);
}

/* Number, name and launches so far of the kernels seen; 0 past the last. */
int emulator_count(int index, const char **name, long *launches) {
    Count *found = counts;
    while (found && index--) found = found->next;
    if (found) *name = found->name, *launches = found->launches;
    return found != NULL;
}

static Status launch(Handle function, unsigned blocks_, unsigned threads, unsigned shared, void **parameters, int together,
                     unsigned cluster) {
    const Kernel *kernel = (const Kernel *)function;
    if (!blocks_ || !threads || threads > 1024 || (int)shared > kernel->shared) return INVALID_VALUE;
    if (together && blocks_ > PROCESSORS) return COOPERATIVE_TOO_LARGE; /* large blocks: one for each processor */
    if (!cluster || cluster > MOST_OF_CLUSTER || blocks_ % cluster) return INVALID_CLUSTER_SIZE;
    count(kernel->name);
    emulator_cooperative += together;
    emulator_clustered += cluster > 1;
    if (!run) return OK;
    Status status = run(kernel->name, parameters, blocks_, threads, shared, cluster);
    return status ? status : check_zones(kernel->name);
}

/* -- graphs: launches that are noted, with the addresses of their parameters, which whoever captures them keeps as they are */

typedef struct Node {
    Handle function;
    unsigned blocks, threads, shared, cluster;
    void **parameters;
    int together;
    struct Node *next;
} Node;
typedef struct { Node *first, **end; } Graph;
static Graph *captured;
long emulator_graph_launches, emulator_graphs; /* how often one was launched; graphs, and what was made of them, that there are */

Status cuStreamBeginCapture_v2(Handle stream, int mode) {
    if (!stream || captured_on) return INVALID_VALUE;
    captured_on = stream;
    captured = calloc(1, sizeof(Graph));
    emulator_graphs++;
    captured->end = &captured->first;
    return OK;
}
Status cuStreamEndCapture(Handle stream, Handle *graph) {
    if (stream != captured_on) return INVALID_VALUE;
    *graph = (Handle)captured;
    captured_on = 0;
    return OK;
}
Status cuGraphInstantiateWithFlags(Handle *executable, Handle graph, unsigned long long flags) {
    Graph *copy = malloc(sizeof(Graph));
    *copy = *(Graph *)graph; /* the nodes are the executable's from now on */
    *(Graph *)graph = (Graph){NULL, NULL};
    emulator_graphs++;
    *executable = (Handle)copy;
    return OK;
}
Status cuGraphDestroy(Handle graph) {
    for (Node *node = ((Graph *)graph)->first, *next; node; node = next) next = node->next, free(node);
    free((Graph *)graph);
    emulator_graphs--;
    return OK;
}
Status cuGraphExecDestroy(Handle executable) { return cuGraphDestroy(executable); }
Status cuGraphLaunch(Handle executable, Handle stream) {
    Status status = OK;
    emulator_graph_launches++;
    for (Node *node = ((Graph *)executable)->first; node && !status; node = node->next)
        status = launch(node->function, node->blocks, node->threads, node->shared, node->parameters, node->together,
                        node->cluster);
    return status;
}
static Status put(Handle stream, Handle function, unsigned blocks_, unsigned threads, unsigned shared, void **parameters,
                  int together, unsigned cluster) {
    if (!stream || stream != captured_on) return launch(function, blocks_, threads, shared, parameters, together, cluster);
    Node *node = malloc(sizeof(Node));
    *node = (Node){function, blocks_, threads, shared, cluster, parameters, together, NULL};
    *captured->end = node;
    captured->end = &node->next;
    return OK;
}

Status cuLaunchKernel(Handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, Handle stream, void **parameters, void **extra) {
    return put(stream, function, gx * gy * gz, bx * by * bz, shared, parameters, 0, 1);
}
Status cuLaunchCooperativeKernel(Handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                 unsigned bz, unsigned shared, Handle stream, void **parameters) {
    return put(stream, function, gx * gy * gz, bx * by * bz, shared, parameters, 1, 1);
}
typedef struct { int id; char pad[4]; int value[3]; char rest[52]; } Attribute;
typedef struct {
    unsigned gx, gy, gz, bx, by, bz, shared;
    Handle stream;
    Attribute *attributes;
    unsigned count;
} Configuration;
Status cuLaunchKernelEx(const Configuration *told, Handle function, void **parameters, void **extra) {
    int together = 0, cluster = 1;
    for (unsigned i = 0; i < told->count; i++) {
        const int *value = told->attributes[i].value;
        if (told->attributes[i].id == 2) together = value[0];                        /* CU_LAUNCH_ATTRIBUTE_COOPERATIVE */
        if (told->attributes[i].id == 4) cluster = value[0] * value[1] * value[2]; /* CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION */
    }
    return put(told->stream, function, told->gx * told->gy * told->gz, told->bx * told->by * told->bz, told->shared,
               parameters, together, cluster);
}

/* -- the rest */

Status cuGetErrorName(int status, const char **name) {
    *name = status == LAUNCH_FAILED ? "CUDA_ERROR_LAUNCH_FAILED" : status == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS"
        : status == COOPERATIVE_TOO_LARGE ? "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE"
        : status == INVALID_CLUSTER_SIZE ? "CUDA_ERROR_INVALID_CLUSTER_SIZE" : "CUDA_ERROR";
    return OK;
}
Status cuGetErrorString(int status, const char **text) { return cuGetErrorName(status, text); }

/* The newest version of a function, as the real one gives it; nothing for what is not here. */
Status cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *found) {
    static void *self;
    char versioned[256];
    Dl_info info;
    if (!self && dladdr((void *)cuInit, &info)) self = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    snprintf(versioned, sizeof versioned, "%s_v2", name);
    *function = dlsym(self, versioned);
    if (!*function) *function = dlsym(self, name);
    if (found) *found = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
Status cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}
