/* What the programs share: a clock, and what becomes of a program whose allocator is wrong. */
#ifndef MEMS_BENCH_COMMON_H
#define MEMS_BENCH_COMMON_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Ends the program as the workers in Rust do. */
static inline void broken(const char *what) {
    fprintf(stderr, "broken: %s\n", what);
    exit(86);
}

/* Allocates a block and writes its first byte. */
static inline unsigned char *marked(size_t size, unsigned char mark) {
    unsigned char *block = malloc(size);
    if (block == NULL)
        broken("malloc returned null");
    *(volatile unsigned char *)block = mark;
    return block;
}

/* Checks the first byte of a block and frees it. */
static inline void check_and_free(unsigned char *block, unsigned char mark) {
    if (*(volatile unsigned char *)block != mark)
        broken("a block has changed");
    free(block);
}

#endif
