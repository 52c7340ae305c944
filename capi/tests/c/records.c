/* The heap as data: the same as the text shows, in pieces, and for arguments that name nothing. */
#include "mems.h"

static void show_segments(const struct mems_span *span) {
    struct mems_segment segment[2];
    size_t first, i, all = mems_segments(span->start_virtual_address, NULL, 0, 0);
    for (first = 0; first < all; first += 2) {
        all = mems_segments(span->start_virtual_address, segment, first, 2);
        for (i = 0; i < 2 && first + i < all; i++) {
            const struct mems_segment *s = &segment[i];
            int together = (char *)s->physical_address - (char *)span->physical_address
                == (char *)s->virtual_address - (char *)span->start_virtual_address;
            printf("  %s %lu bytes at %lu, in place: %d\n", s->type == MEMS_PROCESS ? "PROCESS" : "HOLE",
                   (unsigned long)s->size, (unsigned long)s->virtual_address, together);
            if (s->type == MEMS_PROCESS && mems_get(s->virtual_address) != s->physical_address)
                printf("  mems_get disagrees\n");
        }
    }
}

static void show(void) {
    struct mems_span span;
    struct mems_stats sums;
    size_t i, all = mems_spans(NULL, 0, 0);
    printf("spans: %lu\n", (unsigned long)all);
    for (i = 0; i < all && mems_spans(&span, i, 1) == all; i++) {
        printf("span at %lu: pages %lu, total %lu, used %lu, wasted %lu, segments %lu\n",
               (unsigned long)span.start_virtual_address, (unsigned long)span.pages, (unsigned long)span.total,
               (unsigned long)span.used, (unsigned long)span.wasted, (unsigned long)span.segment_count);
        show_segments(&span);
    }
    mems_read_stats(&sums);
    printf("page size %lu, pages %lu, total %lu, used %lu, unused %lu, spans %lu, segments %lu, blocks %lu, holes %lu, "
           "largest %lu, metadata %s\n",
           (unsigned long)sums.page_size, (unsigned long)sums.pages_used, (unsigned long)sums.total,
           (unsigned long)sums.used, (unsigned long)sums.space_unused, (unsigned long)sums.span_count,
           (unsigned long)sums.segment_count, (unsigned long)sums.block_count, (unsigned long)sums.hole_count,
           (unsigned long)sums.largest_hole, sums.metadata ? "some" : "none");
}

int main(void) {
    struct mems_span spans[8];
    struct mems_segment segments[8] = {{7, 7, NULL, NULL}};
    mems_init();
    show();
    mems_malloc(1000);
    mems_malloc(1000);
    mems_malloc(1000);
    mems_malloc(9000);
    mems_malloc(4096);
    mems_free((void *)2000);
    show();
    printf("all at once: %lu, past the end: %lu, no array: %lu\n", (unsigned long)mems_spans(spans, 0, 8),
           (unsigned long)mems_spans(spans, 3, 8), (unsigned long)mems_spans(NULL, 0, 8));
    printf("second span of the array at %lu\n", (unsigned long)spans[1].start_virtual_address);
    printf("not the start of a span: %lu, no span: %lu\n", (unsigned long)mems_segments((void *)1001, segments, 0, 8),
           (unsigned long)mems_segments(NULL, segments, 0, 8));
    printf("untouched: %d\n", segments[0].size == 7 && segments[0].type == 7);
    printf("from far behind: %lu\n", (unsigned long)mems_segments((void *)1000, segments, ~(size_t)0, 8));
    mems_read_stats(NULL);
    printf("check: %d\n", mems_check());
    mems_finish();
    show();
    return 0;
}
