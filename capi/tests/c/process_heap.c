/* The process heap: plain pointers, beside the virtual addresses. */
#include "mems.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;
#define CHECK(condition) \
    do { if (!(condition)) { printf("line %d: %s\n", __LINE__, #condition); failures++; } } while (0)

static void *churn(void *block) {
    void *blocks[100];
    for (int i = 0; i < 100; i++) memset(blocks[i] = mems_heap_malloc(8u << i % 14), 1, 8);
    for (int i = 0; i < 100; i++) mems_heap_free(blocks[i]);
    mems_heap_free(block);
    return mems_heap_malloc(50);
}

static void basics(void) {
    for (size_t size = 0; size < 3000000; size = size * 2 + 1) {
        char *block = mems_heap_malloc(size), *zero = mems_heap_calloc(size, 2);
        CHECK(block && zero && (uintptr_t)block % 16 == 0 && (uintptr_t)zero % 16 == 0);
        CHECK(mems_heap_usable_size(block) >= size && mems_heap_usable_size(zero) >= 2 * size);
        for (size_t i = 0; i < 2 * size; i += 7) CHECK(zero[i] == 0);
        memset(block, 'x', size);
        CHECK((block = mems_heap_realloc(block, size * 3 + 1)) != NULL);
        CHECK(size == 0 || (block[0] == 'x' && block[size - 1] == 'x'));
        CHECK((block = mems_heap_realloc(block, size / 2 + 1)) != NULL);
        CHECK(size == 0 || block[size / 2] == 'x' || size == 1);
        mems_heap_free(block);
        CHECK(mems_heap_usable_size(block) == 0 && mems_heap_usable_size(zero + 1) == 0);
        CHECK(mems_heap_realloc(zero, 0) == NULL);
    }
    for (size_t align = 1; align <= 1 << 20; align *= 2) {
        void *block = mems_heap_aligned_alloc(align, 100);
        CHECK(block && (uintptr_t)block % align == 0);
        mems_heap_free(block);
    }
    mems_heap_free(NULL);
    mems_heap_free(mems_heap_realloc(NULL, 10));
}

static void refusals(void) {
    void *block = mems_heap_malloc(10);
    errno = 0;
    CHECK(mems_heap_malloc(SIZE_MAX) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(mems_heap_calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(mems_heap_realloc(block, (size_t)PTRDIFF_MAX + 1) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(mems_heap_aligned_alloc(24, 10) == NULL && errno == EINVAL);
    errno = 5;
    mems_heap_free(block);
    CHECK(errno == 5);
}

/* Each mistake in a process of its own, its complaint in this one's output. */
static void mistake(int which) {
    int status, ends[2];
    char text[200] = "";
    CHECK(pipe(ends) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char local, *block = mems_heap_malloc(100);
        dup2(ends[1], 2);
        if (which == 0) { mems_heap_free(block); mems_heap_free(block); }
        if (which == 1) mems_heap_free(block + 16);
        if (which == 2) mems_heap_free(&local);
        if (which == 3) { mems_heap_free(block); mems_heap_realloc(block, 200); }
        if (which == 4) mems_heap_free(mems_malloc(100));
        if (which >= 5) {
            block = which == 5 ? mems_heap_malloc(100000) : mems_heap_aligned_alloc(4096, 100);
            mems_heap_free(block);
            mems_heap_free(block);
        }
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK(read(ends[0], text, sizeof text - 1) > 0);
    CHECK(!strncmp(text, "mems: ADDRESS NOT FOUND: ", 25));
    printf("%.*s\n", (int)(strstr(text, "0x") - text), text);
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    struct mems_heap_stats before, stats;
    pthread_t threads[8];
    mems_heap_read_stats(&before);
    basics();
    refusals();
    for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, churn, mems_heap_malloc(100));
    for (int i = 0; i < 8; i++) {
        void *left;
        pthread_join(threads[i], &left);
        mems_heap_free(left);
    }
    for (int i = 0; i < 7; i++) mistake(i);
    CHECK(mems_heap_check() == 0);
    mems_heap_trim();
    mems_heap_read_stats(&stats);
    CHECK(stats.block_count == before.block_count && stats.allocated == before.allocated);
    CHECK(stats.mapped > 0 && stats.metadata > 0);
    mems_heap_read_stats(NULL);
    printf("%d failures\n", failures);
    return failures != 0;
}
