/*
 * Times malloc and free under several libraries in turns: `timings ROUNDS LIBRARY...`; an empty name is libc's own malloc.
 * Prints the medians as a table, in nanoseconds for a malloc and a free.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROWS 6
#define MAX_ROUNDS 99
#define MAX_LIBRARIES 8
static const char *rows[ROWS] = {
    "pairs of 64 bytes", "pairs of 512 bytes", "batches of 64 bytes", "batches of 512 bytes", "mixed, 4096 live", "realloc in place",
};
static double times[MAX_LIBRARIES][ROWS][MAX_ROUNDS];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}
static double pairs(size_t size) {
    const long count = 10000000;
    double start = now();
    for (long i = 0; i < count; i++) {
        char *volatile p = malloc(size);
        *p = 1;
        free(p);
    }
    return (now() - start) / count;
}
static double batches(size_t size) {
    static char *blocks[1000];
    const long count = 10000;
    double start = now();
    for (long i = 0; i < count; i++) {
        for (int j = 0; j < 1000; j++) *(blocks[j] = malloc(size)) = 1;
        for (int j = 0; j < 1000; j++) free(blocks[j]);
    }
    return (now() - start) / count / 1000;
}
static double mixed(void) {
    static char *blocks[4096];
    const long count = 10000000;
    unsigned state = 12345;
    double start = now();
    for (long i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        unsigned slot = state >> 20;
        free(blocks[slot]);
        *(blocks[slot] = malloc(16 + (state >> 8 & 1023))) = 1;
    }
    return (now() - start) / count;
}
static double in_place(void) {
    const long count = 10000000;
    char *p = malloc(100);
    double start = now();
    for (long i = 0; i < count; i++) p = realloc(p, 97 + (i & 7));
    return (now() - start) / count;
}
static void measure(void) {
    pairs(64);
    printf("%f %f %f %f %f %f\n", pairs(64), pairs(512), batches(64), batches(512), mixed(), in_place());
}
static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 0, libraries = argc - 2;
    if (rounds == 0) return measure(), 0;
    if (rounds > MAX_ROUNDS || libraries > MAX_LIBRARIES) return 2;
    for (int round = 0; round < rounds; round++) {
        for (int library = 0; library < libraries; library++) {
            setenv("LD_PRELOAD", argv[library + 2], 1);
            FILE *run = popen(argv[0], "r");
            for (int row = 0; row < ROWS; row++) {
                if (fscanf(run, "%lf", &times[library][row][round]) != 1) return 1;
            }
            pclose(run);
        }
    }
    printf("| ns |");
    for (int library = 0; library < libraries; library++) {
        const char *slash = strrchr(argv[library + 2], '/');
        printf(" %s |", slash ? slash + 1 : *argv[library + 2] ? argv[library + 2] : "glibc");
    }
    printf("\n|---|");
    for (int library = 0; library < libraries; library++) printf("---:|");
    for (int row = 0; row < ROWS; row++) {
        printf("\n| %s |", rows[row]);
        for (int library = 0; library < libraries; library++) {
            qsort(times[library][row], rounds, sizeof(double), ascending);
            printf(" %.1f |", times[library][row][rounds / 2]);
        }
    }
    printf("\n");
    return 0;
}
