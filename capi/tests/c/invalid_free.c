/* Every address that is not the start of a live block: one line, nothing else changes. */
#include "mems.h"
#include <errno.h>

static void attempt(const char *what, void *address) {
    printf("%s: ", what);
    errno = 77;
    mems_free(address);
    if (errno != 77) printf("errno has changed\n");
}

int main(void) {
    char *a, *b, *c;
    int local = 0;
    attempt("before anything", (void *)1000);
    mems_init();
    attempt("NULL, empty", NULL);
    a = (char *)mems_malloc(100);
    b = (char *)mems_malloc(100);
    c = (char *)mems_malloc(100);
    mems_free(b);
    attempt("NULL", NULL);
    attempt("below the first", (void *)999);
    attempt("inside a block", a + 1);
    attempt("last byte of a block", c + 99);
    attempt("freed before", b);
    attempt("inside a hole", b + 50);
    attempt("start of the last hole", c + 100);
    attempt("last address", (void *)5095);
    attempt("past the last span", (void *)5096);
    attempt("a place in memory", mems_get(a));
    attempt("a variable", &local);
    attempt("the largest address", (void *)~(size_t)0);
    mems_print_stats();
    b = (char *)mems_malloc(100);
    mems_free(b);
    mems_free(a);
    attempt("freed and merged away", b);
    mems_finish();
    attempt("after finish", c);
    mems_print_stats();
    return 0;
}
