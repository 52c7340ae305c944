/* An extension, and what the extension opens. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

void take(void *block) { free(block); }
char *give(const char *text) { return strdup(text); }
void *open_another(const char *name) {
    void *volatile handle = dlopen(name, RTLD_NOW | RTLD_DEEPBIND);
    return handle;
}
