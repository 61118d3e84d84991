// Which code of a program runs.
//
//   steps <program> [argument ...]
//
// Runs the program instruction by instruction and prints, in hexadecimal, from where on its code was executed: offsets into the
// program as its symbols have them, in units of 16 bytes, sorted. What the program prints is dropped. Ends as it does.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNITS (1 << 22)

static unsigned char executed[UNITS];

static void fail(const char *what) {
    perror(what);
    exit(125);
}

int main(int count, char **words) {
    if (count < 2) {
        fputs("usage: steps <program> [argument ...]\n", stderr);
        return 125;
    }
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        if (null < 0 || dup2(null, 1) < 0) fail("/dev/null");
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) fail("ptrace");
        execv(words[1], words + 1);
        fail(words[1]);
    }
    int status;
    if (waitpid(pid, &status, 0) != pid) fail("waitpid");
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    // The first mapping of a program that has just been executed is its own.
    if (!maps || !fgets(line, sizeof line, maps)) fail(path);
    unsigned long base = strtoul(line, NULL, 16);
    fclose(maps);
    while (WIFSTOPPED(status)) {
        struct user_regs_struct registers;
        if (ptrace(PTRACE_GETREGS, pid, 0, &registers) != 0) fail("ptrace");
        unsigned long unit = (registers.rip - base) >> 4;
        if (unit < UNITS) executed[unit] = 1;
        int number = WSTOPSIG(status);
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, number == SIGTRAP ? 0 : number) != 0) fail("ptrace");
        if (waitpid(pid, &status, 0) != pid) fail("waitpid");
    }
    for (unsigned long unit = 0; unit < UNITS; unit++)
        if (executed[unit]) printf("%lx\n", unit << 4);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}
