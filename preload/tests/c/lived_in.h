/* A heap that has been lived in: blocks of many sizes came and went on two threads, some are still there. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void *lived_in_thread(void *seed) {
    static __thread void *blocks[512];
    unsigned state = (unsigned)(size_t)seed;
    for (int round = 0; round < 20000; round++) {
        state = state * 1664525u + 1013904223u;
        unsigned slot = (state >> 10) % 512, shape = (state >> 20) % 64;
        size_t size = shape == 0 ? 300000 : shape < 4 ? 20000 : 1 + (state >> 7) % 1500;
        free(blocks[slot]);
        blocks[slot] = malloc(size);
        memset(blocks[slot], 0x5a, size < 64 ? size : 64);
    }
    for (int slot = 0; slot < 512; slot += 2) free(blocks[slot]);
    return 0;
}

static void live_in(void) {
    pthread_t other;
    pthread_create(&other, 0, lived_in_thread, (void *)7);
    lived_in_thread((void *)11);
    pthread_join(other, 0);
}
