/*
 * What C and glibc promise of malloc and its kin, by name: `semantics NAME`. Status 0 where it holds; the cases
 * zero_read and zero_write end by SIGSEGV. Without a name: the names.
 */
#define _GNU_SOURCE
#include "lived_in.h"
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void free_sized(void *, size_t) __attribute__((weak));
void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));
extern char **environ;

#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); _exit(1); } } while (0)

static long cpu_microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static const size_t sizes[] = { 1, 16, 24, 64, 100, 1000, 3000, 20000, 32768, 32769, 100000, 5000000, 50000000 };
#define EACH_SIZE(size) for (unsigned _i = 0; _i < sizeof sizes / sizeof *sizes; _i++) for (size_t size = sizes[_i], _o = 1; _o; _o = 0)

static void zero_unique(void) {
    static char *all[100000];
    for (int i = 0; i < 100000; i++) {
        all[i] = malloc(0);
        CHECK(all[i] && (uintptr_t)all[i] % 16 == 0 && malloc_usable_size(all[i]) == 0);
        CHECK(i == 0 || all[i] != all[i - 1]);
    }
    for (int i = 0; i < 100000; i++) free(all[i]);
    for (int i = 0; i < 1000; i++) { char *p = malloc(0); CHECK(p != all[99999]); free(p); }
}
static void zero_read(void) { volatile char *p = malloc(0); (void)*p; }
static void zero_write(void) { volatile char *p = malloc(0); *p = 1; }
/* More than there are places for: they are still blocks of their own, and none takes long to find. */
static void zero_many(void) {
    enum { MANY = (1 << 22) + 1000, PAIRS = 2000, ALIGNED = 20000 };
    void **all = malloc(MANY * sizeof *all), *p = 0;
    for (int i = 0; i < MANY; i++) CHECK(all[i] = malloc(0));
    CHECK(malloc_usable_size(all[0]) == 0 && malloc_usable_size(all[MANY - 1]) == 16);
    long before = cpu_microseconds();
    for (int i = 0; i < PAIRS; i++) { free(all[i * 997]); CHECK(all[i * 997] = malloc(0)); }
    CHECK(cpu_microseconds() - before < 100 * PAIRS);
    for (int i = 0; i < MANY; i++) free(all[i]);
    p = malloc(0);
    CHECK(malloc_usable_size(p) == 0);
    before = cpu_microseconds();
    for (int i = 0; i < ALIGNED; i++) { CHECK(all[i] = memalign(4096, 0)); CHECK((uintptr_t)all[i] % 4096 == 0); }
    CHECK(cpu_microseconds() - before < 100 * ALIGNED);
    for (int i = 0; i < ALIGNED; i++) free(all[i]);
}
/* Three threads that take and give back at once: no place has two owners. */
static void *zero_pairs(void *seed) {
    unsigned state = (unsigned)(uintptr_t)seed;
    static const size_t aligns[] = { 16, 16, 32, 512, 1024, 2048, 4096 };
    void *mine[500] = { 0 };
    for (int i = 0; i < 300000; i++) {
        state = state * 1664525 + 1013904223;
        void **place = &mine[(state >> 8) % 500];
        size_t align = aligns[(state >> 20) % 7];
        /* Two owners of one place would free it twice, which ends the program. */
        free(*place);
        CHECK((*place = memalign(align, 0)) && (uintptr_t)*place % align == 0 && malloc_usable_size(*place) == 0);
    }
    for (int i = 0; i < 500; i++) free(mine[i]);
    return 0;
}
static void zero_threads(void) {
    pthread_t threads[3];
    for (uintptr_t i = 0; i < 3; i++) CHECK(pthread_create(&threads[i], 0, zero_pairs, (void *)(i + 1)) == 0);
    for (int i = 0; i < 3; i++) CHECK(pthread_join(threads[i], 0) == 0);
}
static void zero_others(void) {
    void *p = 0, *q = calloc(0, 5);
    CHECK(q && malloc_usable_size(q) == 0);
    CHECK((q = realloc(q, 100)) && malloc_usable_size(q) >= 100);
    CHECK(realloc(q, 0) == 0);
    CHECK(q = realloc(0, 0));
    CHECK(realloc(q, 0) == 0);
    for (size_t align = 16; align <= 1 << 20; align *= 2) {
        CHECK(posix_memalign(&p, align, 0) == 0 && p && (uintptr_t)p % align == 0);
        free(p);
        CHECK((p = aligned_alloc(align, 0)) && (uintptr_t)p % align == 0);
        if (free_aligned_sized) free_aligned_sized(p, align, 0); else free(p);
    }
    CHECK((p = malloc(0)));
    if (free_sized) free_sized(p, 0);
}

#define REFUSED(call) do { errno = 0; CHECK((call) == 0 && errno == ENOMEM); } while (0)
static void too_large(void) {
    size_t too_large[] = { SIZE_MAX, SIZE_MAX - 6, SIZE_MAX - 15, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX };
    for (int i = 0; i < 6; i++) {
        size_t n = too_large[i];
        void *p = malloc(10), *q = p;
        REFUSED(malloc(n));
        REFUSED(calloc(1, n));
        REFUSED(calloc(n, 1));
        REFUSED(realloc(0, n));
        REFUSED(realloc(p, n));
        REFUSED(reallocarray(p, 1, n));
        REFUSED(aligned_alloc(64, n));
        REFUSED(memalign(4096, n));
        REFUSED(valloc(n));
        REFUSED(pvalloc(n));
        errno = 7;
        CHECK(posix_memalign(&q, 64, n) == ENOMEM && q == p && errno == 7);
        free(p);
        REFUSED(realloc((p = malloc(100000)), n));
        free(p);
    }
    REFUSED(calloc(SIZE_MAX / 2, 3));
    REFUSED(calloc((size_t)1 << 33, (size_t)1 << 33));
    REFUSED(reallocarray(0, SIZE_MAX / 2, 3));
    REFUSED(malloc((size_t)1 << 50));
}
static void wrong_alignment(void) {
    void *p = (void *)5;
    errno = 0;
    CHECK(aligned_alloc(3, 10) == 0 && errno == EINVAL);
    errno = 0;
    CHECK(aligned_alloc(0, 10) == 0 && errno == EINVAL);
    errno = 0;
    CHECK(memalign(SIZE_MAX, 10) == 0 && errno == EINVAL);
    CHECK(posix_memalign(&p, 4, 10) == EINVAL && posix_memalign(&p, 24, 10) == EINVAL && posix_memalign(&p, 0, 10) == EINVAL);
    CHECK(p == (void *)5);
    CHECK((p = memalign(3, 10)));
    free(p);
    CHECK((p = memalign(0, 10)));
}
static void alignment(void) {
    for (size_t n = 1; n < 70000; n += n < 4000 ? 1 : 333) {
        void *p = malloc(n), *q = calloc(1, n), *r = realloc(malloc(n / 2), n);
        CHECK((uintptr_t)p % 16 == 0 && (uintptr_t)q % 16 == 0 && (uintptr_t)r % 16 == 0);
        CHECK(malloc_usable_size(p) >= n);
        free(p); free(q); free(r);
    }
    for (size_t align = 8; align <= 4 << 20; align *= 2) EACH_SIZE(n) {
        void *p = aligned_alloc(align, n), *q = memalign(align, n), *r = 0;
        CHECK(posix_memalign(&r, align, n) == 0);
        CHECK(p && q && (uintptr_t)p % align == 0 && (uintptr_t)q % align == 0 && (uintptr_t)r % align == 0);
        if (free_aligned_sized) free_aligned_sized(p, align, n); else free(p);
        CHECK((q = realloc(q, n * 2)) != 0);
        free(q);
        free(r);
    }
    CHECK((uintptr_t)valloc(10) % 4096 == 0 && (uintptr_t)pvalloc(10) % 4096 == 0 && malloc_usable_size(pvalloc(5000)) >= 8192);
}
static void zeroed(void) {
    for (int round = 0; round < 3; round++) EACH_SIZE(n) {
        char *p = malloc(n);
        memset(p, 0xa5, n);
        free(p);
        p = calloc(1, n);
        for (size_t i = 0; i < n; i++) CHECK(p[i] == 0);
        memset(p, 0xa5, n);
        free(p);
    }
}
static void contents_kept(void) {
    EACH_SIZE(from) for (unsigned j = 0; j < sizeof sizes / sizeof *sizes; j++) {
        size_t to = sizes[j], kept = from < to ? from : to;
        unsigned char *p = malloc(from);
        for (size_t i = 0; i < from; i++) p[i] = (unsigned char)(i * 31 + 7);
        CHECK((p = realloc(p, to)) && malloc_usable_size(p) >= to);
        for (size_t i = 0; i < kept; i += i < 5000 ? 1 : 997) CHECK(p[i] == (unsigned char)(i * 31 + 7));
        memset(p, 1, to);
        if (free_sized) free_sized(p, to); else free(p);
    }
}
static void errno_kept(void) {
    EACH_SIZE(n) {
        void *p = malloc(n);
        errno = 1234;
        free(p);
        CHECK(errno == 1234);
    }
    errno = 1234;
    free(0);
    free(malloc(0));
    CHECK(errno == 1234);
}

struct mapping { uintptr_t start, end; char rights[5], name[128]; };
static int mappings(struct mapping *out, int most) {
    char line[512];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (count < most && fgets(line, sizeof line, maps)) {
        struct mapping *m = &out[count++];
        m->name[0] = 0;
        sscanf(line, "%lx-%lx %4s %*s %*s %*s %127s", &m->start, &m->end, m->rights, m->name);
    }
    fclose(maps);
    return count;
}
/* No block can be executed, and nothing that can be written lies within 1 GiB of one, but other blocks. */
static void places(void) {
    static struct mapping all[4000];
    live_in();
    EACH_SIZE(n) {
        char *p = malloc(n);
        memset(p, 1, n);
        int count = mappings(all, 4000);
        uintptr_t low = 0, high = 0;
        for (int i = 0; i < count; i++) {
            CHECK(!(strchr(all[i].rights, 'w') && strchr(all[i].rights, 'x')));
            if (all[i].start <= (uintptr_t)p && (uintptr_t)p < all[i].end) {
                CHECK(!strcmp(all[i].rights, "rw-p"));
                low = all[i].start;
                high = all[i].end;
            }
        }
        CHECK(low != 0);
        for (int i = 0; i < count; i++) {
            if (all[i].start == low || !strchr(all[i].rights, 'w')) continue;
            if (all[i].end <= low) CHECK((uintptr_t)p - all[i].end >= 1ul << 30);
            else CHECK(all[i].start - (uintptr_t)p - n >= 1ul << 30);
        }
    }
}
static void inquiries(void) {
    void *p = malloc(1000000);
    struct mallinfo2 sums = mallinfo2();
    struct mallinfo small = mallinfo();
    CHECK(sums.uordblks >= 1000000 && sums.arena >= sums.uordblks && small.uordblks >= 1000000);
    free(p);
    malloc_trim(0);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1 && malloc_usable_size(0) == 0);
    char *text = 0;
    size_t len = 0;
    FILE *stream = open_memstream(&text, &len);
    CHECK(malloc_info(0, stream) == 0 && malloc_info(1, stream) == EINVAL);
    fclose(stream);
    CHECK(strstr(text, "<malloc version=") && strstr(text, "</malloc>") && strstr(text, "allocated bytes="));
    free(text);
    malloc_stats();
}

/* Before main, after it, in every destructor. */
static void *from_constructor;
static int ends;
__attribute__((constructor)) static void before_main(void) { from_constructor = malloc(5000); }
static void at_exit(void) { free(from_constructor); free(malloc(100000)); }
__attribute__((destructor)) static void after_main(void) {
    if (ends) { void *p = malloc(77); memset(p, 1, 77); free(p); free(realloc(malloc(10), 100000)); }
}
static void start_and_end(void) { ends = 1; CHECK(from_constructor); atexit(at_exit); }

static pthread_key_t key;
static int destroyed;
static void destroy(void *p) {
    free(p);
    void *q = malloc(3000);
    memset(q, 1, 3000);
    free(q);
    if (destroyed++ < 3) pthread_setspecific(key, malloc(64));
}
static void *with_key(void *p) { free(p); pthread_setspecific(key, malloc(64)); return malloc(100); }
static void thread_end(void) {
    pthread_key_create(&key, destroy);
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        void *result;
        destroyed = 0;
        pthread_create(&thread, 0, with_key, malloc(100));
        pthread_join(thread, &result);
        CHECK(destroyed >= 3);
        free(result);
    }
}
static void children(void) {
    for (int i = 0; i < 20; i++) {
        int status;
        pid_t child = vfork();
        if (child == 0) { execlp("true", "true", (char *)0); _exit(9); }
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        char *arguments[] = { "true", 0 };
        CHECK(posix_spawnp(&child, "true", 0, 0, arguments, environ) == 0);
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    CHECK(system("exit 3") == 3 << 8);
    FILE *pipe = popen("echo text", "r");
    char line[10];
    CHECK(fgets(line, 10, pipe) && !strcmp(line, "text\n") && pclose(pipe) == 0);
}
static volatile int handled;
static void on_signal(int number) { free(malloc(64)); free(realloc(malloc(100), 100000)); handled++; }
static void signals(void) {
    signal(SIGUSR1, on_signal);
    for (int i = 0; i < 1000; i++) raise(SIGUSR1);
    CHECK(handled == 1000);
}
/* The library opened by name, in a program that has another malloc or this one already; MEMS_LIBRARY says where. */
static void *(*late_malloc)(size_t);
static void (*late_free)(void *);
static void *use_late(void *p) { late_free(p); late_free(late_malloc(10)); return late_malloc(20); }
static void loaded_late(void) {
    for (int i = 0; i < 10; i++) {
        void *library = dlopen(getenv("MEMS_LIBRARY"), RTLD_NOW | RTLD_LOCAL), *result;
        if (!library) fprintf(stderr, "%s\n", dlerror());
        CHECK(library);
        late_malloc = dlsym(library, "malloc");
        late_free = dlsym(library, "free");
        void *(*late_reallocarray)(void *, size_t, size_t) = dlsym(library, "reallocarray");
        void (*late_delete)(void *) = dlsym(library, "_ZdlPv");
        pthread_t thread;
        pthread_create(&thread, 0, use_late, late_malloc(100));
        pthread_join(thread, &result);
        late_free(result);
        late_free(late_reallocarray(0, 10, 10));
        late_delete(late_malloc(10));
        late_free(late_malloc(0));
        CHECK(dlclose(library) == 0);
    }
}
/* With 512 MiB of addresses more than a half of them hold blocks, then there is no memory, and all stays usable. */
static void limited(void) {
    struct rlimit limit = { 512ul << 20, 512ul << 20 };
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    char *arguments[] = { "semantics", "fill", 0 };
    execv("/proc/self/exe", arguments);
    _exit(9);
}
static void fill(void) {
    static char *all[1000];
    int count = 0;
    while (count < 1000 && (all[count] = malloc(1 << 20))) { memset(all[count], count, 1 << 20); count++; }
    CHECK(count > 256 && count < 512 && errno == ENOMEM);
    for (int i = 0; i < count; i++) CHECK(all[i][12345] == (char)i);
    for (int i = 0; i < count; i += 2) free(all[i]);
    void *p = malloc(10), *q = calloc(1, 300000);
    CHECK(p && q);
}

#define NAME(name) { #name, name }
static const struct { const char *name; void (*check)(void); } cases[] = {
    NAME(zero_unique), NAME(zero_read), NAME(zero_write), NAME(zero_many), NAME(zero_threads), NAME(zero_others), NAME(too_large),
    NAME(wrong_alignment), NAME(alignment), NAME(zeroed), NAME(contents_kept), NAME(errno_kept), NAME(places),
    NAME(inquiries), NAME(start_and_end), NAME(thread_end), NAME(children), NAME(signals), NAME(loaded_late),
    NAME(limited),
};

int main(int argc, char **argv) {
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (argc < 2) puts(cases[i].name);
        else if (!strcmp(argv[1], "fill")) { fill(); return 0; }
        else if (!strcmp(argv[1], cases[i].name)) { cases[i].check(); return 0; }
    }
    return argc < 2 ? 0 : 2;
}
