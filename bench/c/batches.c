/* Batches of small blocks: all are allocated, then all freed, the oldest first. One operation is one of each.
 *
 * usage: batches BLOCKS
 */
#include "common.h"

enum { BLOCK_BYTES = 16, OPERATIONS = 8000000 };

/* Runs that many batches, and adds up the marks of the blocks. */
static uint64_t run(unsigned char **blocks, size_t count, size_t batches) {
    uint64_t sum = 0;
    for (size_t batch = 0; batch < batches; batch++) {
        for (size_t index = 0; index < count; index++)
            blocks[index] = marked(BLOCK_BYTES, (unsigned char)index);
        for (size_t index = 0; index < count; index++) {
            sum += (unsigned char)index;
            check_and_free(blocks[index], (unsigned char)index);
        }
    }
    return sum;
}

int main(int argc, char **argv) {
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (count == 0 || count > OPERATIONS) {
        fputs("usage: batches BLOCKS\n", stderr);
        return 2;
    }
    unsigned char **blocks = calloc(count, sizeof *blocks);
    size_t batches = OPERATIONS / count;
    run(blocks, count, 10);
    uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t sum = run(blocks, count, batches);
    cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("operations=%zu checksum=%llu time_ns=%llu\n", batches * count, (unsigned long long)sum,
           (unsigned long long)cpu);
    free(blocks);
    return 0;
}
