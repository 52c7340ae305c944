/* Threads that free each other's blocks: each puts its block of 64 bytes into a place of an array that all share, and
 * frees what was there. One operation is one malloc and one free. The time is that on the wall.
 *
 * usage: foreign THREADS
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BLOCK_BYTES = 64, PLACES = 4096, OPERATIONS = 8000000, MOST_THREADS = 64 };

static _Atomic(unsigned char *) places[PLACES];
static size_t per_thread;

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Checks a block and frees it. */
static void take(unsigned char *block) {
    if (block == NULL)
        return;
    if (*(volatile unsigned char *)block != 0x5A) {
        fputs("broken: a block has changed\n", stderr);
        exit(86);
    }
    free(block);
}

static void *work(void *argument) {
    uint64_t random = (uintptr_t)argument + 1;
    for (size_t round = 0; round < per_thread; round++) {
        /* Marsaglia's xorshift. */
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        unsigned char *block = malloc(BLOCK_BYTES);
        if (block == NULL) {
            fputs("broken: malloc returned null\n", stderr);
            exit(86);
        }
        *(volatile unsigned char *)block = 0x5A;
        take(atomic_exchange(&places[random % PLACES], block));
    }
    return NULL;
}

int main(int argc, char **argv) {
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (count == 0 || count > MOST_THREADS) {
        fputs("usage: foreign THREADS\n", stderr);
        return 2;
    }
    pthread_t threads[MOST_THREADS];
    per_thread = OPERATIONS / count;
    uint64_t start = now_ns();
    for (size_t index = 0; index < count; index++)
        pthread_create(&threads[index], NULL, work, (void *)index);
    for (size_t index = 0; index < count; index++)
        pthread_join(threads[index], NULL);
    uint64_t wall = now_ns() - start;
    for (size_t index = 0; index < PLACES; index++)
        take(places[index]);
    printf("operations=%zu checksum=0 time_ns=%llu\n", per_thread * count, (unsigned long long)wall);
    return 0;
}
