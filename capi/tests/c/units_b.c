/* The second unit; the template declares its functions the old way, which must not disturb the header. */
#include "mems.h"
void mems_init();
void mems_finish();

void other_unit(void *address);

void other_unit(void *address) {
    printf("read here: %c\n", *(char *)mems_get((char *)address + 5));
    mems_free(address);
    printf("next: %lu\n", (unsigned long)mems_malloc(50));
}
