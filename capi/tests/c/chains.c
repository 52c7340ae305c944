/* First fit, packing, exact fits, remainders of one byte, requests that nothing can meet. */
#include "mems.h"
#include <errno.h>
#include <limits.h>

static void *ask(size_t size) {
    void *block = mems_malloc(size);
    printf("%lu -> %lu\n", (unsigned long)size, (unsigned long)block);
    return block;
}

static void refuse(const char *what, size_t size) {
    void *block;
    errno = 0;
    block = mems_malloc(size);
    printf("%s: %s, errno %s\n", what, block ? "a block" : "NULL", errno == ENOMEM ? "ENOMEM" : errno ? "?" : "0");
}

int main(void) {
    const size_t top = ~(~(size_t)0 >> 1);
    void *block;
    mems_init();
    refuse("nothing, no span yet", 0);
    refuse("the top bit alone, no span yet", top);
    mems_print_stats();

    ask(4095);
    ask(1);
    block = ask(4097);
    ask(4095);
    mems_print_stats();

    refuse("nothing", 0);
    refuse("PTRDIFF_MAX", top - 1);
    refuse("the top bit alone", top);
    refuse("the top bit and a byte", top + 1);
    refuse("the top bit and a page", top + 4096);
    refuse("the largest size", ~(size_t)0);
    refuse("the largest size but a page", ~(size_t)0 - 4095);
    mems_print_stats();

    mems_free(block);
    ask(4096);
    ask(2);
    ask(1);
    ask(8192);
    mems_print_stats();
    printf("check: %d\n", mems_check());
    mems_finish();
    return 0;
}
