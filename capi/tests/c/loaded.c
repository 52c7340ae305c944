/* The shared library, loaded by name at run time; its path is the first argument. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static void (*function(void *library, const char *name))(void) {
    void (*found)(void);
    void *symbol = dlsym(library, name);
    memcpy(&found, &symbol, sizeof found);
    return found;
}

int main(int argc, char **argv) {
    static const char *names[] = {"mems_init", "mems_print_stats", "mems_finish", NULL};
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    int i;
    if (library == NULL) return printf("not loaded\n"), 1;
    for (i = 0; names[i] != NULL; i++) {
        void (*call)(void) = function(library, names[i]);
        printf("%s: %s\n", names[i], call != NULL ? "found" : "missing");
        if (call != NULL) call();
    }
    return 0;
}
