/* Work between two marks, for a trace of the system calls. */
#include "mems.h"
#include <unistd.h>

static void mark(const char *text) {
    if (write(2, text, 6) < 0) _exit(1);
}

int main(void) {
    struct mems_stats sums;
    int i;
    mark("begin\n");
    mems_init();
    for (i = 0; i < 10000; i++) mems_malloc(100);
    for (i = 0; i < 10000; i += 3) mems_free((char *)1000 + (i / 40 * 4096) + i % 40 * 100);
    mems_malloc(1000000);
    mems_malloc(~(size_t)0 >> 2);
    mems_get((void *)1000);
    mems_read_stats(&sums);
    mems_check();
    mems_finish();
    mems_malloc(1);
    mems_init();
    mark("print\n");
    mems_print_stats();
    mems_free(NULL);
    mark("endend\n");
    return 0;
}
