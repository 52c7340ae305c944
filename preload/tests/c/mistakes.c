/*
 * Mistakes that are no wrong frees, by name: `mistakes NAME fresh|lived-in`; alone it prints the names. What is not
 * stopped ends with status 0, what malloc refused with status 4.
 */
#define _GNU_SOURCE
#include "lived_in.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SMALL 64
#define LARGE 100000
#define MIB (1 << 20)

static volatile char sink;

/* Frees more than a quarantine of 1 MiB holds, so that what waits in it is verified. */
static void go_on(void) {
    for (int i = 0; i < 64; i++) free(malloc(SMALL));
    for (int i = 0; i < 400; i++) free(malloc(10000));
}
static void overflow(size_t size, size_t by) {
    char *p = malloc(size);
    for (size_t i = 0; i < by; i++) ((volatile char *)p)[size + i] = 'x';
    free(p);
    go_on();
}
static void underflow(size_t size, size_t by) {
    char *p = malloc(size);
    for (size_t i = 1; i <= by; i++) *(volatile char *)(p - i) = 'x';
    free(p);
    go_on();
}
static void over_read(size_t size, size_t by) {
    char *p = malloc(size);
    for (size_t i = 0; i < by; i++) sink = ((volatile char *)p)[size + i];
    free(p);
}
static void write_after_free(size_t size) {
    volatile char *p = malloc(size);
    free((void *)p);
    p[8] = 'x';
    go_on();
}
/* Whether the old contents are still there is told by the status: 5 if they are not. */
static void read_after_free(size_t size) {
    volatile char *p = malloc(size);
    memset((void *)p, 'o', size);
    free((void *)p);
    if (p[size / 2] != 'o') _exit(5);
}
static void refused(void *p) { _exit(p ? 0 : 4); }
static void execute(size_t size) {
    unsigned char *p = malloc(size);
    p[0] = 0xc3; /* ret, on x86 */
    ((void (*)(void))p)();
}
static volatile size_t big = SIZE_MAX;

#define CASE(name, ...) static void name(void) { __VA_ARGS__; }
#define CASES(X) \
    X(overflow_1_small, overflow(SMALL, 1)) X(overflow_1_large, overflow(LARGE, 1)) \
    X(overflow_32_small, overflow(SMALL, 32)) X(overflow_32_large, overflow(LARGE, 32)) \
    X(overflow_1M_small, overflow(SMALL, MIB)) X(overflow_1M_large, overflow(LARGE, MIB)) \
    X(read_beyond_32_small, over_read(SMALL, 32)) X(read_beyond_32_large, over_read(LARGE, 32)) \
    X(underflow_1_small, underflow(SMALL, 1)) X(underflow_1_large, underflow(LARGE, 1)) \
    X(underflow_32_small, underflow(SMALL, 32)) X(underflow_32_large, underflow(LARGE, 32)) \
    X(underflow_1M_small, underflow(SMALL, MIB)) X(underflow_1M_large, underflow(LARGE, MIB)) \
    X(write_after_free_small, write_after_free(SMALL)) X(write_after_free_large, write_after_free(LARGE)) \
    X(read_after_free_small, read_after_free(SMALL)) X(read_after_free_large, read_after_free(LARGE)) \
    X(malloc_0_read, sink = *(volatile char *)malloc(0)) X(malloc_0_write, *(volatile char *)malloc(0) = 1) \
    X(malloc_SIZE_MAX, refused(malloc(big))) X(malloc_PTRDIFF_MAX_plus_1, refused(malloc(big / 2 + 1))) \
    X(calloc_overflow, refused(calloc(big / 2, 4))) X(execute_small, execute(SMALL)) X(execute_large, execute(LARGE))
CASES(CASE)
#define ENTRY(name, ...) {#name, name},
static const struct { const char *name; void (*make)(void); } cases[] = {CASES(ENTRY)};

int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (argc < 2) puts(cases[i].name);
        else if (!strcmp(argv[1], cases[i].name)) {
            if (argc > 2 && !strcmp(argv[2], "lived-in")) live_in();
            cases[i].make();
            return 0;
        }
    }
    return argc < 2 ? 0 : 2;
}
