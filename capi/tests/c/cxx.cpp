// From C++: the header, the records, a pointer to the inline mems_init.
#include "mems.h"
#include "mems.h"

template <typename T> static T &at(T *address) { return *static_cast<T *>(mems_get(address)); }

int main() {
    void (*init)() = &mems_init;
    init();
    long *numbers = static_cast<long *>(mems_malloc(100 * sizeof(long)));
    for (int i = 0; i < 100; i++) at(&numbers[i]) = i;
    long sum = 0;
    for (int i = 0; i < 100; i++) sum += at(&numbers[i]);
    printf("sum %ld\n", sum);
    struct mems_stats sums;
    mems_read_stats(&sums);
    printf("used %zu of %zu, page size %zu\n", sums.used, sums.total, sums.page_size);
    mems_span span;
    const size_t spans = mems_spans(&span, 0, 1);
    printf("spans %zu, first begins at %zu\n", spans, reinterpret_cast<size_t>(span.start_virtual_address));
    mems_print_stats();
    mems_finish();
}
