/* Batches of small blocks: all are allocated, then all freed, the oldest first. One operation is one of each.
 *
 * usage: batches BLOCKS
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BLOCK_BYTES = 16, OPERATIONS = 8000000 };

static uint64_t now_ns(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Runs that many batches, and adds up what was read from the blocks. */
static uint64_t run(unsigned char **blocks, size_t count, size_t batches) {
    uint64_t sum = 0;
    for (size_t batch = 0; batch < batches; batch++) {
        for (size_t index = 0; index < count; index++) {
            blocks[index] = malloc(BLOCK_BYTES);
            if (blocks[index] == NULL) {
                fputs("broken: malloc returned null\n", stderr);
                exit(86);
            }
            *(volatile unsigned char *)blocks[index] = (unsigned char)index;
        }
        for (size_t index = 0; index < count; index++) {
            unsigned char found = *(volatile unsigned char *)blocks[index];
            if (found != (unsigned char)index) {
                fputs("broken: a block has changed\n", stderr);
                exit(86);
            }
            sum += found;
            free(blocks[index]);
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
