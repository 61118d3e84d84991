// calls OPERATION TIMES [FILE]: microseconds of one operation, on standard output; in a second line microseconds of
// processor time of this process and its children, which is less where others work for it. FILE is what is opened.
// Files it makes are in the working directory.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static double own_us(void) {
    double sum = 0;
    struct rusage used;
    for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
        getrusage(who, &used);
        sum += (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    }
    return sum;
}

static const char *file = "/etc/passwd";

static int one_open(void) {
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    return fd < 0 || close(fd);
}

static int one_stat(void) {
    struct stat about;
    return stat(file, &about);
}

static int one_create(void) {
    int fd = open("calls-file", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 || close(fd) || unlink("calls-file");
}

static int one_exec(void) {
    char *args[] = {"true", NULL}, *environment[] = {NULL};
    pid_t child;
    int status;
    if (posix_spawn(&child, "/bin/true", NULL, NULL, args, environment)) return 1;
    return waitpid(child, &status, 0) != child || status;
}

// The receiver is bound and never reads: what does not fit is dropped, and no error comes back.
static struct sockaddr_in receiver;
static int sender;

static int open_sockets(void) {
    int own = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t length = sizeof receiver;
    receiver.sin_family = AF_INET;
    receiver.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return own < 0 || sender < 0 || bind(own, (struct sockaddr *)&receiver, length) ||
           getsockname(own, (struct sockaddr *)&receiver, &length);
}

static int one_connect(void) { return connect(sender, (struct sockaddr *)&receiver, sizeof receiver); }

static int one_sendto(void) {
    return sendto(sender, "x", 1, 0, (struct sockaddr *)&receiver, sizeof receiver) != 1;
}

static const struct operation {
    const char *name;
    int (*once)(void);
} operations[] = {{"open", one_open}, {"stat", one_stat},       {"create", one_create},
                  {"exec", one_exec}, {"connect", one_connect}, {"sendto", one_sendto}};

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4 || open_sockets()) return 2;
    if (argc == 4) file = argv[3];
    long times = atol(argv[2]);
    for (size_t n = 0; n < sizeof operations / sizeof *operations; n++) {
        if (strcmp(operations[n].name, argv[1])) continue;
        double start = now_us(), own = own_us();
        for (long turn = 0; turn < times; turn++)
            if (operations[n].once()) return perror(argv[1]), 1;
        double end = now_us();
        printf("%.3f\n%.3f\n", (end - start) / times, (own_us() - own) / times);
        return 0;
    }
    return 2;
}
