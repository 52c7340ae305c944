/* Two translation units with the header, one heap. */
#include "mems.h"
#include "mems.h"

void other_unit(void *address);

int main(void) {
    char *block;
    mems_init();
    block = (char *)mems_malloc(100);
    *(char *)mems_get(block + 5) = '!';
    other_unit(block);
    mems_print_stats();
    mems_finish();
    return 0;
}
