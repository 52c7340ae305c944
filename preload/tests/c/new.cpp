// What the standard says of operator new, in all its forms, where there is memory and where there is none.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <malloc.h>
#include <new>

#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(1); } } while (0)

static const size_t HUGE = (size_t)1 << 46;
static int handled;

static void handle() {
    if (++handled % 3 == 0) std::set_new_handler(nullptr);
}

template <class Allocate> static void must_throw(Allocate allocate) {
    bool caught = false;
    handled = 0;
    std::set_new_handler(handle);
    try {
        allocate();
    } catch (const std::bad_alloc &) {
        caught = true;
    }
    CHECK(caught && handled == 3 && !std::get_new_handler());
}

template <class Allocate> static void must_be_null(Allocate allocate) {
    handled = 0;
    std::set_new_handler(handle);
    CHECK(!allocate() && handled == 3 && !std::get_new_handler());
}

struct Guard {
    int *count;
    ~Guard() { ++*count; }
};

// Not a multiple of the address's alignment would be a mistake, too.
static void is_block(void *p, size_t size, size_t align) {
    CHECK(p && malloc_usable_size(p) >= size && (uintptr_t)p % align == 0);
    for (size_t i = 0; i < size; i++) ((char *)p)[i] = 1;
}

int main() {
    const std::nothrow_t &nothrow = std::nothrow;
    for (size_t size : {0, 1, 16, 100, 5000, 32768, 32769, 100000, 5000000}) {
        void *p;
        is_block(p = operator new(size), size, 16), operator delete(p, size);
        is_block(p = operator new[](size), size, 16), operator delete[](p);
        is_block(p = operator new(size, nothrow), size, 16), operator delete(p, nothrow);
        is_block(p = operator new[](size, nothrow), size, 16), operator delete[](p, nothrow);
        for (size_t n : {1, 8, 16, 64, 4096, 65536}) {
            std::align_val_t align = (std::align_val_t)n;
            is_block(p = operator new(size, align), size, n), operator delete(p, size, align);
            is_block(p = operator new[](size, align), size, n), operator delete[](p, align);
            is_block(p = operator new(size, align, nothrow), size, n), operator delete(p, align, nothrow);
            is_block(p = operator new[](size, align, nothrow), size, n), operator delete[](p, align, nothrow);
        }
    }
    // A block of each form is malloc's, and the other way round.
    free(operator new(50)), free(operator new[](50, std::align_val_t(64)));
    operator delete(malloc(50)), operator delete[](aligned_alloc(64, 64), std::align_val_t(64));

    std::align_val_t align = (std::align_val_t)64;
    must_throw([] { (void)operator new(HUGE); });
    must_throw([] { (void)operator new[](HUGE); });
    must_throw([=] { (void)operator new(HUGE, align); });
    must_throw([=] { (void)operator new[](HUGE, align); });
    must_be_null([&] { return operator new(HUGE, nothrow); });
    must_be_null([&] { return operator new[](HUGE, nothrow); });
    must_be_null([&] { return operator new(HUGE, align, nothrow); });
    must_be_null([&] { return operator new[](HUGE, align, nothrow); });

    int ended = 0;
    try {
        Guard guard{&ended};
        (void)operator new((size_t)-1);
    } catch (const std::bad_alloc &) {
        ended += 10;
    }
    CHECK(ended == 11);
    puts("ok");
}
