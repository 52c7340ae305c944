/*
 * A walk through MeMS: ten blocks, a value written through an address inside a block, the heap as text and as data,
 * a free, and the same request again.
 */
#include "mems.h"

int main(void) {
    int *block[10];
    int *place;
    struct mems_stats sums;
    size_t i;

    mems_init();

    printf("Ten blocks of 250 ints:\n");
    for (i = 0; i < 10; i++) {
        block[i] = (int *)mems_malloc(250 * sizeof(int));
        printf("  block %lu has the virtual addresses from %lu on\n", (unsigned long)i, (unsigned long)block[i]);
    }

    printf("\nA virtual address is a number. Its place in memory is asked for, also inside a block:\n");
    place = (int *)mems_get(&block[0][1]);
    *place = 200;
    printf("  the second int of block 0 at %lu holds %d\n", (unsigned long)&block[0][1],
           ((int *)mems_get(block[0]))[1]);

    printf("\nThe heap, P handed out and H free:\n");
    mems_print_stats();

    printf("\nBlock 3 is freed and becomes one hole with the end of its span:\n");
    mems_free(block[3]);
    mems_print_stats();

    printf("\nFreeing it again is noticed: ");
    mems_free(block[3]);
    printf("and it has no place any more: %s\n", mems_get(block[3]) == NULL ? "NULL" : "a place");

    block[3] = (int *)mems_malloc(250 * sizeof(int));
    printf("\nThe first hole that is large enough is used again: %lu\n", (unsigned long)block[3]);

    mems_read_stats(&sums);
    printf("\nIn numbers: %lu of %lu bytes in use, %lu pages, the largest hole has %lu bytes.\n",
           (unsigned long)sums.used, (unsigned long)sums.total, (unsigned long)sums.pages_used,
           (unsigned long)sums.largest_hole);

    mems_finish();
    return 0;
}
