/*
 * MeMS: a heap in its own numbering of addresses.
 *
 * mems_malloc gives a virtual address, a number and not a place in memory; mems_get turns the address of any byte of a
 * live block into that byte's place; mems_free takes the block back. Link with libmems_capi.a or libmems_capi.so.
 *
 * All functions may be called from several threads. Only those that hand out blocks change errno. Not for signal
 * handlers.
 */
#ifndef MEMS_H
#define MEMS_H

#include <stdio.h>
#include <stdlib.h>

/* The unit in which memory is obtained, in bytes; need not be the machine's page size. 0 stands for that one. */
#ifndef PAGE_SIZE
#define PAGE_SIZE 4096
#endif

#if defined(__cplusplus) || (defined(__STDC_VERSION__) && __STDC_VERSION__ >= 199901L)
#define MEMS_INLINE static inline
#elif defined(__GNUC__)
#define MEMS_INLINE static __inline__
#else
#define MEMS_INLINE static
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The library's half of mems_init. */
void mems_init_with_page_size(size_t page_size);

/*
 * Makes the heap empty. A heap in use is released first, as by mems_finish. Without it the first call of another
 * function begins with 4096. Here and not in the library because it passes on the PAGE_SIZE of this program; callers
 * that do not see this header find an exported mems_init, which takes 4096.
 */
MEMS_INLINE void mems_init(void) {
    mems_init_with_page_size(PAGE_SIZE);
}

/* Unmaps everything. The heap is as new, with the same page size; old addresses are unknown. */
void mems_finish(void);

/*
 * The virtual address of size fresh bytes: the front of the first hole, in address order, that is large enough, else of
 * a new span of whole pages. NULL for 0 bytes; NULL with errno ENOMEM where there is no more memory. O(log n).
 */
void *mems_malloc(size_t size);

/* Prints the chains and their sums on standard output, in order with printf. O(n). */
void mems_print_stats(void);

/* Where the byte at a virtual address is, for any byte of a live block; else NULL. O(log n). */
void *mems_get(void *v_ptr);

/*
 * Takes back the block that starts at v_ptr; neighbouring holes of its span become one. Any other address, NULL
 * included, changes nothing and prints the line ADDRESS NOT FOUND!! on standard output. O(log n).
 */
void mems_free(void *v_ptr);

/* ---- The heap as data ---------------------------------------------------------------------------------------------
 *
 * Copies, true at the moment of the call. The caller brings the array; nothing is allocated.
 */

#define MEMS_HOLE 0
#define MEMS_PROCESS 1

/* A node of the main chain: a run of pages obtained from the system. */
struct mems_span {
    void *start_virtual_address;
    void *physical_address;
    size_t pages;         /* in units of the heap's page size */
    size_t total;         /* bytes */
    size_t used;          /* bytes of PROCESS segments */
    size_t wasted;        /* bytes of holes; total = used + wasted */
    size_t segment_count; /* length of its sub chain */
};

/* A node of a sub chain: bytes that are handed out (PROCESS) or free (HOLE). */
struct mems_segment {
    size_t size; /* bytes */
    int type;    /* MEMS_HOLE or MEMS_PROCESS */
    void *virtual_address;
    void *physical_address;
};

/* The sums over all spans. */
struct mems_stats {
    size_t page_size;
    size_t pages_used;    /* free ones included, the heap's own records not */
    size_t total;         /* bytes; total = used + space_unused */
    size_t used;          /* bytes of PROCESS segments */
    size_t space_unused;  /* bytes of holes */
    size_t span_count;
    size_t segment_count; /* segment_count = block_count + hole_count */
    size_t block_count;
    size_t hole_count;
    size_t largest_hole;  /* bytes */
    size_t metadata;      /* bytes taken for the heap's own records */
};

/*
 * Copies the spans from the first-th on (counted from 0), in chain order, at most capacity of them. Returns how many
 * there are in all; with out == NULL it only counts. O(first + capacity), so walk with few large arrays.
 */
size_t mems_spans(struct mems_span *out, size_t first, size_t capacity);

/*
 * The same for the segments of the span that starts at span_start, in address order. Returns 0 where no span starts
 * there. O(spans in front of it + first + capacity).
 */
size_t mems_segments(const void *span_start, struct mems_segment *out, size_t first, size_t capacity);

/* Copies the sums. O(1). */
void mems_read_stats(struct mems_stats *out);

/* Checks the heap's records: 0 all is well, 1 they are damaged. O(n). */
int mems_check(void);

/* ---- The process heap ---------------------------------------------------------------------------------------------
 *
 * Another heap, which gives plain pointers, as malloc does: fast, for any number of threads, and exact. It lives as
 * long as the process. A wrong free or realloc ends the process: one line on standard error with the words ADDRESS NOT
 * FOUND that says what and where, then SIGABRT.
 */

/* size bytes (1 for 0) aligned to 16. NULL with errno ENOMEM where there is no more memory. */
void *mems_heap_malloc(size_t size);

/* The same for count elements of size bytes, all zero. */
void *mems_heap_calloc(size_t count, size_t size);

/* The same at a multiple of align. NULL with errno EINVAL where that is no power of two. */
void *mems_heap_aligned_alloc(size_t align, size_t size);

/*
 * Makes a block serve size bytes, where it is or elsewhere; NULL gives a new block, 0 frees the block and returns NULL.
 * NULL with errno ENOMEM where there is no more memory: then the block is as it was.
 */
void *mems_heap_realloc(void *block, size_t size);

/* Takes a block back. NULL is ignored. */
void mems_heap_free(void *block);

/* The bytes that a block has; 0 where no live block starts there. Any address may be asked about. */
size_t mems_heap_usable_size(const void *block);

/* Checks the heap's records: 0 all is well, 1 they are damaged. O(n). */
int mems_heap_check(void);

/* Gives every whole free page back to the system. Returns their bytes. */
size_t mems_heap_trim(void);

/* Prints the sums, and of each span the first few segments, on standard output, in order with printf. */
void mems_heap_print_stats(void);

/* The sums of the process heap. At rest mapped = allocated + cached + free_running + free_sleeping + free_ended + dirty +
   clean + metadata, and resident = mapped - clean. */
struct mems_heap_stats {
    size_t allocated;   /* bytes of live blocks */
    size_t active;      /* bytes of pages that a live block lies on */
    size_t resident;    /* bytes of pages that may hold memory of the machine */
    size_t mapped;      /* bytes that can be read and written */
    size_t reserved;    /* bytes of addresses that cannot be read, reserved for growth */
    size_t metadata;    /* bytes of the heap's own records */
    size_t block_count; /* live blocks */
    size_t hole_count;
    size_t cached;        /* bytes of free slots in caches of threads */
    size_t free_running;  /* bytes free in slabs of threads that run, but for clean pages */
    size_t free_sleeping; /* the same of threads that sleep */
    size_t free_ended;    /* the same of threads that have ended */
    size_t dirty;         /* bytes of holes that wait for the decay */
    size_t clean;         /* bytes mapped without memory: never touched, or given back */
};

/* Copies the sums. O(slots). */
void mems_heap_read_stats(struct mems_heap_stats *out);

#ifdef __cplusplus
}
#endif

#endif
