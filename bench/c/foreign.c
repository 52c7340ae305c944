/* Threads that free each other's blocks: each puts its block of 64 bytes into a place of an array that all share, and
 * frees what was there. One operation is one malloc and one free. The time is that on the wall.
 *
 * usage: foreign THREADS
 */
#include "common.h"

#include <pthread.h>
#include <stdatomic.h>

enum { BLOCK_BYTES = 64, PLACES = 4096, OPERATIONS = 8000000, MOST_THREADS = 64, MARK = 0x5A };

static _Atomic(unsigned char *) places[PLACES];
static size_t per_thread;

static void *work(void *argument) {
    uint64_t random = (uintptr_t)argument + 1;
    for (size_t round = 0; round < per_thread; round++) {
        /* Marsaglia's xorshift. */
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        unsigned char *old = atomic_exchange(&places[random % PLACES], marked(BLOCK_BYTES, MARK));
        if (old != NULL)
            check_and_free(old, MARK);
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
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    for (size_t index = 0; index < count; index++)
        pthread_create(&threads[index], NULL, work, (void *)index);
    for (size_t index = 0; index < count; index++)
        pthread_join(threads[index], NULL);
    uint64_t wall = now_ns(CLOCK_MONOTONIC) - start;
    for (size_t index = 0; index < PLACES; index++)
        if (places[index] != NULL)
            check_and_free(places[index], MARK);
    printf("operations=%zu checksum=0 time_ns=%llu\n", per_thread * count, (unsigned long long)wall);
    return 0;
}
