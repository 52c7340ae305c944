// A library with an operator new and an operator delete of its own, which put 16 bytes in front of each block.
#include <cstdlib>
#include <new>

void *operator new(size_t size) {
    char *p = (char *)malloc(size + 16);
    *(size_t *)p = 0x600df00d;
    return p + 16;
}

void operator delete(void *p) noexcept {
    if (!p) return;
    char *start = (char *)p - 16;
    if (*(size_t *)start != 0x600df00d) abort();
    free(start);
}

void *make() { return operator new(40); }
void destroy(void *p) { operator delete(p); }
