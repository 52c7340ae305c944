// A program with a malloc of its own, which lacks what came later: reallocarray and the sized deletes must not give its
// blocks to another heap.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

static char memory[1 << 26] __attribute__((aligned(16)));
static size_t used;
static bool is_mine(void *p) { return (char *)p >= memory && (char *)p < memory + sizeof memory; }

extern "C" {
void *malloc(size_t size) {
    char *p = memory + used;
    used += (size + 31) / 16 * 16;
    *(size_t *)p = size;
    return p + 16;
}
void free(void *p) {
    if (p && !is_mine(p)) abort();
}
void *calloc(size_t count, size_t size) { return memset(malloc(count * size), 0, count * size); }
void *realloc(void *p, size_t size) {
    void *q = malloc(size);
    if (p) memcpy(q, p, ((size_t *)p)[-2] < size ? ((size_t *)p)[-2] : size);
    return q;
}
void *reallocarray(void *, size_t, size_t);
void cfree(void *) __attribute__((weak));
}

struct Thing { long a[10]; ~Thing() {} };

int main() {
    for (int i = 0; i < 1000; i++) {
        void *p = reallocarray(0, 10, 10);
        if (!is_mine(p) || !is_mine(p = reallocarray(p, 20, 20))) return 1;
        if (cfree) cfree(p);
        delete new Thing;
        delete[] new Thing[3];
        delete[] new int[5];
        operator delete(new Thing, sizeof(Thing));
        operator delete(new (std::nothrow) Thing, std::nothrow);
        std::vector<int> v(100, i);
    }
    puts("ok");
}
