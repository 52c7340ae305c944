/* Forks beside threads that allocate under somebody's lock, which a fork takes, too: `handlers NAME [FORKS]`. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); _exit(1); } } while (0)

void library_put(unsigned place, size_t bytes);

static atomic_int stop;
static int forks = 300;

static void *open_and_close(void *nothing) {
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file);
    fclose(file);
    return nothing;
}

/* What a child does: whatever the parent's threads were at, it can do the same. (Not flush: its streams share their
 * places in files with its parent's.) */
static void child(void) {
    pthread_t thread;
    alarm(20);
    for (unsigned i = 0; i < 300; i++) library_put(i, 1 + i * 97 % 60000);
    open_and_close(0);
    CHECK(pthread_create(&thread, 0, open_and_close, 0) == 0);
    pthread_join(thread, 0);
    _exit(7);
}

static void fork_many(void) {
    for (int round = 0; round < forks; round++) {
        pid_t pid = fork();
        if (pid == 0) child();
        CHECK(pid > 0);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
        usleep(1000);
    }
}

static void *put(void *seed) {
    unsigned state = (unsigned)(size_t)seed;
    while (!atomic_load(&stop)) {
        state = state * 1664525u + 1013904223u;
        library_put(state >> 8, 1 + (state >> 16) % 50000);
    }
    return 0;
}

/* Allocates without anybody's lock: who waits in a handler for what the interrupted thread needs waits for ever. */
static void *churn(void *seed) {
    unsigned state = (unsigned)(size_t)seed;
    void *blocks[64] = {0};
    while (!atomic_load(&stop)) {
        state = state * 1664525u + 1013904223u;
        unsigned place = state >> 26;
        free(blocks[place]);
        blocks[place] = malloc(1 + (state >> 8) % 50000);
    }
    for (int i = 0; i < 64; i++) free(blocks[i]);
    return 0;
}

/* Reads a long line again and again: the stream is locked while room for the line is allocated. */
static void *read_lines(void *nothing) {
    FILE *file = tmpfile();
    CHECK(file);
    for (int i = 0; i < 6000000; i++) putc('x', file);
    while (!atomic_load(&stop)) {
        char *line = 0;
        size_t room = 0;
        rewind(file);
        CHECK(getline(&line, &room, file) == 6000000);
        free(line);
    }
    fclose(file);
    return nothing;
}

static void *flush(void *nothing) {
    while (!atomic_load(&stop)) {
        fflush(NULL);
        usleep(200);
    }
    return nothing;
}

static void beside(void *(*first)(void *), void *(*second)(void *)) {
    pthread_t threads[2];
    pthread_create(&threads[0], 0, first, (void *)1);
    pthread_create(&threads[1], 0, second, (void *)2);
    fork_many();
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
}

static volatile sig_atomic_t forked, wrong;
static int ends_at_once;
static pthread_t main_thread;

/* A handler that forks. The child ends at once, or goes on where the parent was interrupted. */
static void handler(int signal) {
    if (!pthread_equal(pthread_self(), main_thread)) return;
    pid_t pid = fork();
    if (pid == 0) {
        if (ends_at_once) _exit(7);
        struct itimerval none = {{0, 0}, {0, 0}};
        setitimer(ITIMER_PROF, &none, 0);
        forked = -1;
        return;
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 7) wrong++;
    forked++;
}

/* Allocates all the while, in its own slabs, beside them, and in ways that give pages back. */
static void allocate_once(unsigned *state) {
    static void *blocks[512];
    *state = *state * 1664525u + 1013904223u;
    unsigned place = *state >> 23;
    size_t bytes = 1 + (*state >> 8) % (place % 16 == 0 ? 6000000 : 3000);
    free(blocks[place]);
    blocks[place] = malloc(bytes);
    CHECK(blocks[place]);
    memset(blocks[place], 1, bytes < 5000 ? bytes : 5000);
}

static void signals(int is_threaded) {
    pthread_t threads[2];
    unsigned state = 1;
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, 300}, {0, 300}};
    main_thread = pthread_self();
    ends_at_once = is_threaded;
    for (int i = 0; is_threaded && i < 2; i++) pthread_create(&threads[i], 0, churn, (void *)(size_t)(i + 1));
    sigaction(SIGPROF, &action, 0);
    setitimer(ITIMER_PROF, &every, 0);
    while (forked >= 0 && forked < forks) allocate_once(&state);
    if (forked < 0) {
        for (int i = 0; i < 2000; i++) allocate_once(&state);
        _exit(7);
    }
    every.it_value.tv_usec = every.it_interval.tv_usec = 0;
    setitimer(ITIMER_PROF, &every, 0);
    CHECK(!wrong);
    atomic_store(&stop, 1);
    for (int i = 0; is_threaded && i < 2; i++) pthread_join(threads[i], 0);
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (argc > 2) forks = atoi(argv[2]);
    if (!strcmp(name, "library")) beside(put, put);
    else if (!strcmp(name, "streams")) beside(read_lines, flush);
    else if (!strcmp(name, "signals")) signals(0);
    else if (!strcmp(name, "signals_threads")) signals(1);
    else return 2;
    return 0;
}
