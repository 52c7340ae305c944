/* Holes merge with both neighbours inside their span, never across spans; a span that is all hole stays. */
#include "mems.h"

static char *block[9];

static void release(int index) {
    printf("free %d\n", index);
    mems_free(block[index]);
    mems_print_stats();
    if (mems_check() != 0) printf("damaged\n");
}

int main(void) {
    int i;
    mems_init();
    for (i = 0; i < 8; i++) block[i] = (char *)mems_malloc(1024);
    block[8] = (char *)mems_malloc(10000);
    release(3); /* the end of the first span */
    release(4); /* the beginning of the second: touches it, another span */
    release(1);
    release(2); /* both sides */
    release(0);
    release(8);
    printf("%lu\n", (unsigned long)mems_malloc(4097)); /* no two spans together */
    printf("%lu\n", (unsigned long)mems_malloc(4096));
    release(7);
    release(5);
    release(6);
    mems_finish();
    return 0;
}
