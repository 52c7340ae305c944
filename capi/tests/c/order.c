/* Text of the library and of the program in the order of the calls, into a pipe, with nothing flushed by hand. */
#include "mems.h"

int main(void) {
    static char buffer[1 << 16];
    int i;
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    printf("a line without an end, ");
    mems_free(NULL);
    printf("an empty heap follows\n");
    mems_print_stats();
    printf("no line end here:");
    mems_print_stats();
    for (i = 0; i < 400; i++) mems_malloc(40);
    for (i = 0; i < 400; i += 2) mems_free((char *)1000 + i / 102 * 4096 + i % 102 * 40);
    fputs("a text longer than the library's buffer\n", stdout);
    mems_print_stats();
    fputs("one message after another\n", stdout);
    mems_free(NULL);
    mems_free(NULL);
    fputs("the end", stdout);
    mems_finish();
    return 0;
}
