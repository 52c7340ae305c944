/* The same requests for any PAGE_SIZE: blocks of one page less one, one page, one more. */
#include "mems.h"
#include <string.h>

int main(void) {
    size_t sizes[6], i, k, wrong = 0;
    char *block[6];
    sizes[0] = PAGE_SIZE - 1, sizes[1] = PAGE_SIZE, sizes[2] = PAGE_SIZE + 1;
    sizes[3] = 1, sizes[4] = 7 * PAGE_SIZE, sizes[5] = PAGE_SIZE / 2;
    mems_init();
    for (i = 0; i < 6; i++) {
        block[i] = (char *)mems_malloc(sizes[i]);
        memset(mems_get(block[i]), 'a' + (int)i, sizes[i]);
    }
    for (i = 0; i < 6; i++)
        for (k = 0; k < sizes[i]; k++)
            if (*(char *)mems_get(block[i] + k) != 'a' + (int)i) wrong++;
    printf("wrong bytes: %lu\n", (unsigned long)wrong);
    mems_print_stats();
    mems_free(block[2]);
    mems_free(block[4]);
    mems_print_stats();
    mems_finish();
    printf("%lu\n", (unsigned long)mems_malloc(PAGE_SIZE + 1));
    mems_print_stats();
    mems_finish();
    return 0;
}
