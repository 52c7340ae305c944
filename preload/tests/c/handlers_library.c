/* A library as many are: a table behind a mutex, and fork handlers that hold the mutex, registered by a constructor. */
#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *entries[256];

static void prepare(void) { pthread_mutex_lock(&mutex); }
static void release(void) { pthread_mutex_unlock(&mutex); }

__attribute__((constructor)) static void begin(void) { pthread_atfork(prepare, release, release); }

/* Puts a block of that many bytes in place of another one, with the mutex held. */
void library_put(unsigned place, size_t bytes) {
    pthread_mutex_lock(&mutex);
    free(entries[place % 256]);
    entries[place % 256] = malloc(bytes);
    pthread_mutex_unlock(&mutex);
}
