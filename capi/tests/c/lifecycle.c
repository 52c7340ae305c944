/* Before init, init over a running heap, finish twice, the page size across finish, nothing left mapped. */
#include "mems.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static long mapped_pages(void) {
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY);
    long got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    return got > 0 ? strtol(text, NULL, 10) : 0;
}

static void work(void) {
    int i;
    for (i = 0; i < 3000; i++) *(char *)mems_get(mems_malloc(700)) = 1;
}

int main(void) {
    void (*init)(void) = mems_init;
    long before;
    mems_finish();
    mems_print_stats();
    printf("before init: %lu\n", (unsigned long)mems_malloc(10));
    mems_print_stats();
    mems_finish();
    mems_finish();
    mems_print_stats();

    init();
    printf("first: %lu\n", (unsigned long)mems_malloc(10));
    mems_print_stats();
    before = (mems_finish(), mapped_pages());
    work();
    printf("more while in use: %d\n", mapped_pages() > before + 500);
    mems_finish();
    printf("nothing left after finish: %d\n", mapped_pages() == before);
    work();
    (&mems_init)();
    printf("nothing left after init: %d\n", mapped_pages() == before);
    mems_print_stats();

    mems_finish();
    printf("the page size stays: %lu\n", (unsigned long)mems_malloc(1));
    mems_print_stats();
    mems_init_with_page_size(4096);
    printf("another page size: %lu\n", (unsigned long)mems_malloc(1));
    mems_print_stats();
    mems_finish();
    return 0;
}
