/* Declared by hand, as another language does it: the exported mems_init takes 4096. */
#include <stddef.h>

void mems_init();
void mems_finish();
void *mems_malloc(size_t size);
void *mems_get(void *v_ptr);
void mems_free(void *v_ptr);
void mems_print_stats();

int main(void) {
    mems_init();
    *(char *)mems_get(mems_malloc(10)) = 1;
    mems_print_stats();
    mems_free((void *)1000);
    mems_free((void *)1000);
    mems_print_stats();
    mems_finish();
    return 0;
}
