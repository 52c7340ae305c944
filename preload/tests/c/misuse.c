/*
 * Mistakes, by name: `misuse NAME fresh|lived-in`. Each must end the program by SIGABRT with ADDRESS NOT FOUND.
 * `misuse` alone prints the names. A mistake that is let pass ends with status 3.
 */
#define _GNU_SOURCE
#include "lived_in.h"
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

void free_sized(void *, size_t) __attribute__((weak));
void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));
void cfree(void *) __attribute__((weak));

#define SMALL 64
#define MEDIUM 3000
#define SLOT 20000
#define LARGE 100000
#define HUGE 5000000
#define GIANT 50000000

static char in_data[64] __attribute__((aligned(16))) = "static";
static char in_bss[64] __attribute__((aligned(16)));
static __thread char in_tls[64] __attribute__((aligned(16)));
static void *shared;
static pthread_barrier_t barrier;
extern char **environ;

static void in_thread(void *(*work)(void *), void *argument) {
    pthread_t thread;
    pthread_create(&thread, 0, work, argument);
    pthread_join(thread, 0);
}
static void *do_free(void *p) { free(p); return 0; }
static void *do_malloc(void *size) { return shared = malloc((size_t)size); }
static void *free_twice(void *p) { free(p); free(p); return 0; }
static void *free_at_once(void *p) { pthread_barrier_wait(&barrier); free(p); return 0; }

static void interior(size_t size, size_t offset) { free((char *)malloc(size) + offset); }
static void twice(size_t size) { void *p = malloc(size); free(p); free(p); }
static void delayed(size_t size) {
    void *p = malloc(size), *others[100];
    free(p);
    for (int i = 0; i < 100; i++) others[i] = malloc(size * 3 + 1000);
    for (int i = 0; i < 100; i++) free(others[i]);
    free(p);
}
static void interleaved(size_t size) {
    void *a = malloc(size), *b = malloc(size);
    free(a); free(b); free(a);
}
/* The slot has left the thread's cache when it is freed again. */
static void after_many(size_t size) {
    static void *many[5000];
    for (int i = 0; i < 5000; i++) many[i] = malloc(size);
    for (int i = 0; i < 5000; i++) free(many[i]);
    free(many[17]);
}
static void race(size_t size) {
    pthread_t a, b;
    void *p = malloc(size);
    pthread_barrier_init(&barrier, 0, 2);
    pthread_create(&a, 0, free_at_once, p);
    pthread_create(&b, 0, free_at_once, p);
    pthread_join(a, 0);
    pthread_join(b, 0);
}
static void realloc_freed(size_t size, size_t to) { void *p = malloc(size); free(p); realloc(p, to); }
static void realloc_moved(size_t size, size_t to) { void *p = malloc(size); if (realloc(p, to) != p) free(p); else abort(); }

#define CASE(name, ...) static void name(void) { __VA_ARGS__; }
CASE(unaligned_small, interior(SMALL, 1))
CASE(unaligned_large, interior(LARGE, 1))
CASE(unaligned_huge, interior(HUGE, 3))
CASE(interior_small_8, interior(SMALL, 8))
CASE(interior_small_16, interior(SMALL, 16))
CASE(interior_medium, interior(MEDIUM, 1024))
CASE(interior_slot, interior(SLOT, 4096))
CASE(interior_large, interior(LARGE, 4096))
CASE(interior_huge, interior(HUGE, 1 << 20))
CASE(interior_giant, interior(GIANT, 32 << 20))
CASE(before_small, free((char *)malloc(SMALL) - 8))
CASE(before_huge, free((char *)malloc(HUGE) - 8))
CASE(far_gib, interior(SMALL, 4ull << 30))
CASE(far_tib, interior(SMALL, 1ull << 40))
CASE(far_below, free((char *)malloc(SMALL) - (40ull << 30)))
CASE(on_stack, char local[64] __attribute__((aligned(16))); free(local))
CASE(in_static_data, free(in_data))
CASE(in_static_bss, free(in_bss))
CASE(in_thread_local, free(in_tls))
CASE(in_code, free((void *)live_in))
CASE(in_literal, free((void *)"a literal"))
CASE(in_environment, free(environ[0]))
CASE(in_libc, free((void *)stdout))
CASE(number_1, free((void *)1))
CASE(number_16, free((void *)16))
CASE(number_last, free((void *)~15ull))
CASE(not_canonical, free((void *)0x8000000000000000ull))
CASE(never_allocated, malloc(HUGE); free((char *)malloc(HUGE) + (64 << 20)))
CASE(foreign_mmap, free(mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)))
CASE(foreign_no_access, free(mmap(0, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)))
CASE(foreign_unmapped, void *p = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); munmap(p, 4096); free(p))
CASE(foreign_sbrk, free(sbrk(4096)))
CASE(twice_small, twice(SMALL))
CASE(twice_medium, twice(MEDIUM))
CASE(twice_slot, twice(SLOT))
CASE(twice_large, twice(LARGE))
CASE(twice_huge, twice(HUGE))
CASE(twice_giant, twice(GIANT))
CASE(twice_zero, twice(0))
CASE(twice_calloc, void *p = calloc(10, 10); free(p); free(p))
CASE(twice_memalign, void *p = memalign(4096, 100); free(p); free(p))
CASE(twice_cfree, void *p = malloc(SMALL); free(p); cfree(p))
CASE(delayed_small, delayed(SMALL))
CASE(delayed_large, delayed(LARGE))
CASE(interleaved_small, interleaved(SMALL))
CASE(interleaved_large, interleaved(LARGE))
CASE(interleaved_huge, interleaved(HUGE))
CASE(after_many_small, after_many(SMALL))
CASE(after_many_medium, after_many(MEDIUM))
CASE(threads_here_then_there, void *p = malloc(SMALL); free(p); in_thread(do_free, p))
CASE(threads_there_then_here, void *p = malloc(SMALL); in_thread(do_free, p); free(p))
CASE(threads_there_twice, in_thread(free_twice, malloc(SMALL)))
CASE(threads_large, void *p = malloc(LARGE); in_thread(do_free, p); free(p))
CASE(threads_of_ended, in_thread(do_malloc, (void *)SMALL); free(shared); free(shared))
CASE(threads_at_once_small, race(SMALL))
CASE(threads_at_once_large, race(LARGE))
CASE(realloc_freed_small, realloc_freed(SMALL, 2 * SMALL))
CASE(realloc_freed_same, realloc_freed(SMALL, SMALL))
CASE(realloc_freed_large, realloc_freed(LARGE, 2 * LARGE))
CASE(realloc_freed_huge, realloc_freed(HUGE, HUGE / 2))
CASE(realloc_freed_zero, realloc_freed(0, SMALL))
CASE(realloc_to_0_freed, realloc_freed(SMALL, 0))
CASE(realloc_interior, realloc((char *)malloc(SMALL) + 16, 200))
CASE(realloc_stack, char local[64]; realloc(local, 200))
CASE(realloc_moved_small, realloc_moved(SMALL, LARGE))
CASE(realloc_moved_down, realloc_moved(LARGE, SMALL))
CASE(reallocarray_freed, void *p = malloc(SMALL); free(p); reallocarray(p, 10, 10))
CASE(zero_unaligned, interior(0, 4))
CASE(zero_never, interior(0, 1 << 20))
CASE(usable_size_freed, void *p = malloc(SMALL); free(p); malloc_usable_size(p))
CASE(sized_too_small, free_sized(malloc(SMALL), 16))
CASE(sized_too_large, free_sized(malloc(SMALL), 5000))
CASE(sized_large, free_sized(malloc(LARGE), LARGE / 3))
CASE(sized_small_as_large, free_sized(malloc(SMALL), LARGE))
CASE(sized_large_as_small, free_sized(malloc(LARGE), SMALL))
CASE(sized_of_nothing, free_sized(malloc(0), SMALL))
CASE(sized_most, free_sized(malloc(SMALL), SIZE_MAX))
CASE(sized_twice, void *p = malloc(SMALL); free_sized(p, SMALL); free_sized(p, SMALL))
CASE(sized_aligned_other, free_aligned_sized(aligned_alloc(256, 300), 256, 2000))
CASE(sized_aligned_interior, free_aligned_sized((char *)aligned_alloc(64, 256) + 64, 64, 256))

#define NAME(name) { #name, name }
static const struct { const char *name; void (*commit)(void); } cases[] = {
    NAME(unaligned_small), NAME(unaligned_large), NAME(unaligned_huge), NAME(interior_small_8), NAME(interior_small_16),
    NAME(interior_medium), NAME(interior_slot), NAME(interior_large), NAME(interior_huge), NAME(interior_giant),
    NAME(before_small), NAME(before_huge), NAME(far_gib), NAME(far_tib), NAME(far_below), NAME(on_stack),
    NAME(in_static_data), NAME(in_static_bss), NAME(in_thread_local), NAME(in_code), NAME(in_literal),
    NAME(in_environment), NAME(in_libc), NAME(number_1), NAME(number_16), NAME(number_last), NAME(not_canonical),
    NAME(never_allocated), NAME(foreign_mmap), NAME(foreign_no_access), NAME(foreign_unmapped), NAME(foreign_sbrk),
    NAME(twice_small), NAME(twice_medium), NAME(twice_slot), NAME(twice_large), NAME(twice_huge), NAME(twice_giant),
    NAME(twice_zero), NAME(twice_calloc), NAME(twice_memalign), NAME(twice_cfree), NAME(delayed_small),
    NAME(delayed_large), NAME(interleaved_small), NAME(interleaved_large), NAME(interleaved_huge),
    NAME(after_many_small), NAME(after_many_medium), NAME(threads_here_then_there), NAME(threads_there_then_here),
    NAME(threads_there_twice), NAME(threads_large), NAME(threads_of_ended), NAME(threads_at_once_small),
    NAME(threads_at_once_large), NAME(realloc_freed_small), NAME(realloc_freed_same), NAME(realloc_freed_large),
    NAME(realloc_freed_huge), NAME(realloc_freed_zero), NAME(realloc_to_0_freed), NAME(realloc_interior),
    NAME(realloc_stack), NAME(realloc_moved_small), NAME(realloc_moved_down), NAME(reallocarray_freed),
    NAME(zero_unaligned), NAME(zero_never), NAME(usable_size_freed), NAME(sized_too_small), NAME(sized_too_large),
    NAME(sized_large), NAME(sized_small_as_large), NAME(sized_large_as_small), NAME(sized_of_nothing), NAME(sized_most),
    NAME(sized_twice), NAME(sized_aligned_other), NAME(sized_aligned_interior),
};

int main(int argc, char **argv) {
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (argc < 3) puts(cases[i].name);
        else if (!strcmp(argv[1], cases[i].name)) {
            if (!strcmp(argv[2], "lived-in")) live_in();
            cases[i].commit();
            return 3;
        }
    }
    return argc < 3 ? 0 : 2;
}
