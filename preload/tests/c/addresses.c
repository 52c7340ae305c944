/* Where things lie: `addresses guards`, `addresses distances`. Nothing here uses stdio before it has seen what is mapped
 * before the first malloc. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); _exit(1); } } while (0)

/* Mappings that can be written to. */
struct maps {
    size_t count;
    struct { uintptr_t start, end; } at[4096];
};

static struct maps before, heap, after;
static char text[1 << 20];

static uintptr_t number(const char **at) {
    uintptr_t value = 0;
    for (;; ++*at) {
        char c = **at;
        if (c >= '0' && c <= '9') value = value * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f') value = value * 16 + (c - 'a' + 10);
        else return value;
    }
}

static void look(struct maps *maps) {
    int file = open("/proc/self/maps", O_RDONLY);
    ssize_t length = 0, got;
    CHECK(file >= 0);
    while ((got = read(file, text + length, sizeof text - 1 - length)) > 0) length += got;
    CHECK(got == 0);
    close(file);
    text[length] = 0;
    maps->count = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *at = line;
        uintptr_t start = number(&at);
        at++;
        uintptr_t end = number(&at);
        if (at[2] != 'w') continue;
        CHECK(maps->count < 4096);
        maps->at[maps->count].start = start;
        maps->at[maps->count++].end = end;
    }
}

/* Or a part of it: the stack grows. */
static int was_there(uintptr_t start, uintptr_t end) {
    for (size_t i = 0; i < before.count; i++)
        if (before.at[i].start < end && start < before.at[i].end) return 1;
    return 0;
}

/* What the first mallocs have mapped. */
static void *small, *large, *huge;
static void allocate(void) {
    look(&before);
    small = malloc(50);
    large = malloc(1 << 20);
    huge = malloc(200 << 20);
    CHECK(small && large && huge);
    struct maps *now = &after;
    look(now);
    for (size_t i = 0; i < now->count; i++)
        if (!was_there(now->at[i].start, now->at[i].end)) heap.at[heap.count++] = now->at[i];
    /* Nodes, the slab map, blocks, huge blocks. */
    if (heap.count != 4) { fprintf(stderr, "%zu mappings, not 4\n", heap.count); _exit(1); }
}

/* No mapping of the program's lies flush against one of the heap's. */
static void guards(void) {
    allocate();
    static char *mine[4000];
    static size_t sizes[4000];
    for (int i = 0; i < 4000; i++) {
        sizes[i] = i % 40 == 0 ? 64 << 20 : i % 3 == 0 ? 2 << 20 : 64 << 10;
        mine[i] = mmap(0, sizes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        CHECK(mine[i] != MAP_FAILED);
    }
    look(&after);
    for (size_t h = 0; h < heap.count; h++) {
        int found = 0;
        for (size_t i = 0; i < after.count; i++) {
            if (after.at[i].end < heap.at[h].start || after.at[i].start > heap.at[h].end) continue;
            if (after.at[i].start != heap.at[h].start || after.at[i].end != heap.at[h].end) {
                fprintf(stderr, "%lx-%lx of the heap is now in %lx-%lx\n", heap.at[h].start, heap.at[h].end,
                    after.at[i].start, after.at[i].end);
                _exit(1);
            }
            found++;
        }
        CHECK(found == 1);
    }
    printf("%zu mappings of the heap, none beside one of 4000\n", heap.count);
}

/* From the first block to the others, and to what the heap has mapped. */
static void distances(void) {
    allocate();
    printf("%ld", (long)((uintptr_t)huge - (uintptr_t)small) >> 12);
    printf(" %ld", (long)((uintptr_t)&printf - (uintptr_t)small) >> 12);
    for (size_t i = 0; i < heap.count; i++)
        if ((uintptr_t)small < heap.at[i].start || (uintptr_t)small >= heap.at[i].end)
            printf(" %ld", (long)(heap.at[i].start - (uintptr_t)small) >> 12);
    puts("");
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    if (!strcmp(arguments[1], "guards")) guards();
    else if (!strcmp(arguments[1], "distances")) distances();
    else return 2;
    return 0;
}
