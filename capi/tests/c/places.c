/* mems_get: any byte of a live block, also across pages; nothing else. New bytes are zero, freed ones are kept. */
#include "mems.h"
#include <string.h>

static void no_place(const char *what, void *address) {
    printf("%s: %s\n", what, mems_get(address) ? "a place" : "NULL");
}

int main(void) {
    enum { SIZE = 3 * 4096 + 17 };
    char *big, *small, *base;
    size_t i, wrong = 0, set = 0;
    no_place("before anything", (void *)1000);
    mems_init();
    no_place("empty", (void *)1000);
    big = (char *)mems_malloc(SIZE);
    small = (char *)mems_malloc(7);
    base = (char *)mems_get(big);
    for (i = 0; i < SIZE; i++) {
        if ((char *)mems_get(big + i) != base + i) wrong++;
        if (base[i] != 0) set++;
        base[i] = (char)(i % 251);
    }
    printf("wrong places: %lu, bytes set: %lu\n", (unsigned long)wrong, (unsigned long)set);
    printf("pages begin on system pages: %d\n", (int)((size_t)base % 4096 == 0));
    printf("neighbours: %d\n", (char *)mems_get(small) == base + SIZE);
    memset(mems_get(small), 'x', 7);
    no_place("behind the last block", small + 7);
    no_place("past the last span", (char *)1000 + 4 * 4096);
    no_place("NULL", NULL);
    no_place("999", (void *)999);
    no_place("its own place", base);
    no_place("the largest address", (void *)~(size_t)0);
    mems_free(big);
    no_place("freed", big);
    no_place("freed, inside", big + 4096);
    printf("in use still: %d\n", (char *)mems_get(small) == base + SIZE);
    big = (char *)mems_malloc(SIZE);
    wrong = 0;
    for (i = 0; i < SIZE; i++)
        if (((char *)mems_get(big))[i] != (char)(i % 251)) wrong++;
    printf("the same place: %d, bytes lost: %lu\n", mems_get(big) == base, (unsigned long)wrong);
    printf("neighbour: %.7s\n", (char *)mems_get(small));
    mems_finish();
    no_place("after finish", big);
    return 0;
}
