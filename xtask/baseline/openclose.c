// openclose PATH TIMES: microseconds of one open and close of PATH, on standard output.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    long times = atol(argv[2]);
    double start = now_us();
    for (long n = 0; n < times; n++) {
        int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
        if (fd < 0) return 1;
        close(fd);
    }
    printf("%.3f\n", (now_us() - start) / times);
    return 0;
}
