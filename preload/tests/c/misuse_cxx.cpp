// As misuse.c, with operator new and operator delete.
#include "lived_in.h"
#include <cstdio>
#include <new>

struct Base { long a; ~Base() {} };
struct Derived : Base { long more[20]; };
struct Counted { long a[3]; ~Counted() { asm volatile("" ::: "memory"); } };
struct alignas(128) Wide { char a[128]; };
struct alignas(128) Wider { char a[1024]; };

static void delete_twice() { auto p = new long[4]; delete[] p; delete[] p; }
static void delete_twice_sized() { auto p = new Derived; delete p; delete p; }
static void delete_after_free() { auto p = new long; free(p); delete p; }
static void delete_interior() { delete (long *)((char *)new Derived + 8); }
static void delete_stack() { long local; delete &local; }
static void delete_nothrow_twice() { auto p = new long; delete p; operator delete(p, std::nothrow); }
static void delete_array_nothrow_twice() { auto p = new long[2]; delete[] p; operator delete[](p, std::nothrow); }
static void delete_base_of_derived() { Base *p = new Derived; delete p; }
static void delete_array_as_one() { auto p = new long[100]; delete p; }
static void delete_counted_array_as_one() { auto p = new Counted[10]; delete p; }
static void delete_array_of_large_as_one() { auto p = new long[100000]; delete p; }
static void sized_other() { operator delete(operator new(48), (size_t)480); }
static void sized_array_other() { operator delete[](operator new[](48), (size_t)480); }
static void sized_large_other() { operator delete(operator new(480000), (size_t)48000); }
static void sized_of_malloc() { operator delete(malloc(48), (size_t)480); }
static void aligned_twice() { auto p = new Wide; delete p; delete p; }
static void aligned_other_size() { auto p = new Wider; delete (Wide *)p; }
static void aligned_not() { auto p = (char *)operator new(256); operator delete(p + 16, std::align_val_t(128)); }
static void aligned_array_not() { auto p = (char *)operator new(256); operator delete[](p + 16, std::align_val_t(128)); }
static void aligned_nothrow_twice() { auto p = new Wide; delete p; operator delete(p, std::align_val_t(128), std::nothrow); }
static void aligned_array_sized_other() { operator delete[](new Wide[8], sizeof(Wide), std::align_val_t(128)); }

static const struct { const char *name; void (*commit)(); } cases[] = {
#define NAME(name) { #name, name }
    NAME(delete_twice), NAME(delete_twice_sized), NAME(delete_after_free), NAME(delete_interior), NAME(delete_stack),
    NAME(delete_nothrow_twice), NAME(delete_array_nothrow_twice), NAME(delete_base_of_derived),
    NAME(delete_array_as_one), NAME(delete_counted_array_as_one), NAME(delete_array_of_large_as_one), NAME(sized_other),
    NAME(sized_array_other), NAME(sized_large_other), NAME(sized_of_malloc), NAME(aligned_twice),
    NAME(aligned_other_size), NAME(aligned_not), NAME(aligned_array_not), NAME(aligned_nothrow_twice),
    NAME(aligned_array_sized_other),
};

int main(int argc, char **argv) {
    for (auto &one : cases) {
        if (argc < 3) puts(one.name);
        else if (!strcmp(argv[1], one.name)) {
            if (!strcmp(argv[2], "lived-in")) live_in();
            one.commit();
            return 3;
        }
    }
    return argc < 3 ? 0 : 2;
}
