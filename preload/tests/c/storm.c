/* Threads and forks in numbers: `storm NAME`. Status 0 where nothing is lost, nothing hangs and memory stays bounded. */
#define _GNU_SOURCE
#include "lived_in.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); _exit(1); } } while (0)

static atomic_int stop;
static long rounds = 1l << 62;

static long resident_kib(void) {
    long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    fscanf(statm, "%*d %ld", &pages);
    fclose(statm);
    return pages * 4;
}

/* Blocks that know their size and owner; exchanged between threads through a table. */
static _Atomic(size_t *) table[4096];
static void *exchange(void *seed) {
    unsigned long state = (unsigned long)seed * 2654435761u + 1;
    for (long round = 0; !atomic_load(&stop) && round < rounds; round++) {
        state = state * 6364136223846793005ul + 1442695040888963407ul;
        size_t words = 2 + (state >> 40) % 200;
        if ((state >> 33) % 500 == 0) words *= 1000;
        size_t *mine = malloc(words * sizeof *mine);
        CHECK(mine);
        mine[0] = words;
        mine[words - 1] = words;
        size_t *other = atomic_exchange(&table[(state >> 20) % 4096], mine);
        if (other) {
            CHECK(other[other[0] - 1] == other[0]);
            if (state % 7 == 0) {
                other = realloc(other, (other[0] + 50) * sizeof *other);
                CHECK(other);
            }
            free(other);
        }
    }
    return 0;
}
static void clear_table(void) {
    for (int i = 0; i < 4096; i++) free(atomic_exchange(&table[i], 0));
}

/* A process with busy threads forks: each child allocates, frees what its parent had, makes a thread, and ends. */
static void forks(void) {
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], 0, exchange, (void *)(i + 1));
    for (int round = 0; round < 100; round++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            alarm(20);
            atomic_store(&stop, 0);
            clear_table();
            void *p = malloc(100), *q = calloc(1, 100000);
            free(p);
            free(q);
            pthread_create(&thread, 0, lived_in_thread, (void *)5);
            pthread_join(thread, 0);
            _exit(7);
        }
        CHECK(child > 0);
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    clear_table();
}

static void *short_life(void *p) {
    void *blocks[40];
    free(p);
    for (int i = 0; i < 40; i++) { blocks[i] = malloc(16 << (i % 12)); memset(blocks[i], 1, 16); }
    for (int i = 1; i < 40; i++) free(blocks[i]);
    return blocks[0];
}
/* Ten thousand threads, four at a time; each frees a block of its parent and leaves one to it. */
static void short_threads(void) {
    long early = 0;
    for (int i = 0; i < 2500; i++) {
        pthread_t threads[4];
        for (int j = 0; j < 4; j++) CHECK(!pthread_create(&threads[j], 0, short_life, malloc(200)));
        for (int j = 0; j < 4; j++) { void *left; pthread_join(threads[j], &left); free(left); }
        if (i == 250) early = resident_kib();
    }
    long late = resident_kib();
    printf("resident %ld KiB after 1,000 threads, %ld KiB after 10,000\n", early, late);
    CHECK(late - early < 2048);
}

/* Many more threads than processors. */
static void many_threads(void) {
    pthread_t threads[64];
    struct timespec second = { 3, 0 };
    for (long i = 0; i < 64; i++) CHECK(!pthread_create(&threads[i], 0, exchange, (void *)(i + 1)));
    nanosleep(&second, 0);
    atomic_store(&stop, 1);
    for (int i = 0; i < 64; i++) pthread_join(threads[i], 0);
    clear_table();
    printf("resident %ld KiB\n", resident_kib());
}

/* `soak OPERATIONS`: verified blocks are exchanged over four threads. */
static void soak(long operations) {
    pthread_t threads[4];
    rounds = operations / 8; /* a malloc and a free each */
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], 0, exchange, (void *)(i + 1));
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    clear_table();
    printf("%ld operations, resident %ld KiB\n", rounds * 8, resident_kib());
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "forks")) forks();
    else if (!strcmp(name, "short_threads")) short_threads();
    else if (!strcmp(name, "many_threads")) many_threads();
    else if (!strcmp(name, "soak")) soak(argc > 2 ? atol(argv[2]) : 10000000);
    else return 2;
    return 0;
}
