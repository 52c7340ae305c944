// A program with an operator new and an operator delete of its own, which put 16 bytes in front of each block: every
// form of delete must end in its own, though it has defined only the plain ones.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

static int live;

void *operator new(size_t size) {
    char *p = (char *)malloc(size + 16);
    *(size_t *)p = 0x600df00d;
    live++;
    return p + 16;
}

void operator delete(void *p) noexcept {
    if (!p) return;
    char *start = (char *)p - 16;
    if (*(size_t *)start != 0x600df00d) abort();
    live--;
    free(start);
}

struct Thing { long a[10]; ~Thing() {} };

int main() {
    int before = live;
    for (int i = 0; i < 1000; i++) {
        delete new Thing;
        delete[] new Thing[3];
        delete[] new int[5];
        operator delete(new Thing, sizeof(Thing));
        operator delete[](operator new[](70), (size_t)70);
        operator delete(new (std::nothrow) Thing, std::nothrow);
        std::vector<std::string> v(20, std::string(i % 50, 'x'));
        auto shared = std::make_shared<Thing>();
    }
    printf("%d\n", live - before);
}
