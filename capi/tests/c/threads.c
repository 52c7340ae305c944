/* Eight threads share the heap; each keeps a set of blocks whose every byte it knows. */
#include "mems.h"
#include <pthread.h>

enum { THREADS = 8, BLOCKS = 40, ROUNDS = 4000 };

static unsigned long wrong[THREADS];

static void *work(void *argument) {
    int self = *(int *)argument, round;
    unsigned int random = 12345u + (unsigned int)self;
    char *block[BLOCKS] = {NULL};
    size_t size[BLOCKS] = {0}, i;
    for (round = 0; round < ROUNDS + BLOCKS; round++) {
        unsigned int k;
        random = random * 1664525u + 1013904223u;
        k = round < ROUNDS ? (random >> 16) % BLOCKS : (unsigned int)(round - ROUNDS);
        if (block[k] != NULL) {
            char *base = (char *)mems_get(block[k]);
            for (i = 0; i < size[k]; i++)
                if (base[i] != (char)(self * 31 + (int)k)) wrong[self]++;
            if (mems_get(block[k] + size[k] - 1) != base + size[k] - 1) wrong[self]++;
            mems_free(block[k]);
            block[k] = NULL;
        }
        if (round < ROUNDS) {
            char *base;
            size[k] = 1 + random % 3000;
            block[k] = (char *)mems_malloc(size[k]);
            base = (char *)mems_get(block[k]);
            for (i = 0; i < size[k]; i++) base[i] = (char)(self * 31 + (int)k);
        }
    }
    return NULL;
}

int main(void) {
    pthread_t thread[THREADS];
    int number[THREADS], i;
    unsigned long all = 0;
    struct mems_stats sums;
    for (i = 0; i < THREADS; i++) {
        number[i] = i;
        if (pthread_create(&thread[i], NULL, work, &number[i]) != 0) return 1;
    }
    for (i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (i = 0; i < THREADS; i++) all += wrong[i];
    mems_read_stats(&sums);
    printf("wrong: %lu\n", all);
    printf("in use: %lu, blocks: %lu, check: %d\n", (unsigned long)sums.used, (unsigned long)sums.block_count,
           mems_check());
    printf("every span is one hole: %d\n", sums.segment_count == sums.span_count);
    mems_finish();
    return 0;
}
