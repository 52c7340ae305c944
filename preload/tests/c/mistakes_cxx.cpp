/* Blocks that go back by another way than they came: as `mistakes.c`. The sizes that delete is told are right. */
#include "lived_in.h"
#include <cstdio>
#include <cstring>
#include <new>

static void new_free() { free(operator new(64)); }
static void new_array_delete() { operator delete(operator new[](64)); }
static void malloc_delete() { operator delete(malloc(64)); }
static void new_array_int_delete() { delete new int[100]; }

static const struct { const char *name; void (*make)(); } cases[] = {
    {"new_free", new_free}, {"new_array_delete", new_array_delete}, {"malloc_delete", malloc_delete},
    {"new_array_int_delete", new_array_int_delete}};

int main(int argc, char **argv) {
    for (auto &one : cases) {
        if (argc < 2) puts(one.name);
        else if (!strcmp(argv[1], one.name)) {
            if (argc > 2 && !strcmp(argv[2], "lived-in")) live_in();
            one.make();
            return 0;
        }
    }
    return argc < 2 ? 0 : 2;
}
