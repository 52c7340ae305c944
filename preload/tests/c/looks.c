/*
 * A program that hoards memory. With the path of a log it sends itself SIGUSR2, and waits until the log has a line.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void *kept[100];

void hoard_in_c(void) {
    for (int index = 0; index < 100; index++) kept[index] = malloc(50000);
}

int main(int argc, char **argv) {
    alarm(60);
    hoard_in_c();
    if (argc > 1) {
        kill(getpid(), SIGUSR2);
        while (access(argv[1], F_OK) != 0) usleep(5000);
    }
    return 0;
}
