/* A program that opens its extensions as PHP does: `deepbind EXTENSION`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s (%s)\n", __LINE__, #condition, dlerror()); exit(1); } } while (0)

int main(int count, char **arguments) {
    CHECK(count == 2);
    void *extension = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    CHECK(extension);
    void (*take)(void *) = dlsym(extension, "take");
    char *(*give)(const char *) = dlsym(extension, "give");
    void *(*open_another)(const char *) = dlsym(extension, "open_another");
    CHECK(take && give && open_another);
    for (int i = 0; i < 1000; i++) {
        take(malloc(1 + i * 97));
        char *text = give("hello");
        CHECK(!strcmp(text, "hello"));
        free(text);
    }
    /* A name that only the extension's own search path finds, and so only where the call seems to be the extension's. */
    CHECK(!dlopen("deepbind_other_c", RTLD_NOW) && dlerror());
    void *other = open_another("deepbind_other_c");
    CHECK(other && dlsym(other, "take"));
    CHECK(!open_another("no_such_library") && strstr(dlerror(), "no_such_library"));
    CHECK(dlclose(other) == 0 && dlclose(extension) == 0);
    puts("ok");
    return 0;
}
