// What a process holds in memory when it ends.
//
//   peak <report> <program> [argument ...]
//
// Runs the program and, where it is about to end and still has its memory, copies /proc/<pid>/status and
// /proc/<pid>/smaps into the report. ru_maxrss would not do: it counts what the parent held when it started the program,
// because a child shares or copies the memory of its parent until it executes. Ends as the program does.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(125);
}

static void copy(pid_t pid, const char *name, int report) {
    char path[64], buffer[1 << 16];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int source = open(path, O_RDONLY | O_CLOEXEC);
    if (source < 0) fail(path);
    ssize_t length;
    while ((length = read(source, buffer, sizeof buffer)) > 0)
        if (write(report, buffer, length) != length) fail("write");
    if (length < 0) fail(path);
    close(source);
}

int main(int count, char **words) {
    if (count < 3) {
        fputs("usage: peak <report> <program> [argument ...]\n", stderr);
        return 125;
    }
    int report = open(words[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (report < 0) fail(words[1]);
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) fail("ptrace");
        execv(words[2], words + 2);
        fail(words[2]);
    }
    int status, seen = 0;
    if (waitpid(pid, &status, 0) != pid) fail("waitpid");
    if (WIFSTOPPED(status) && ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL) != 0)
        fail("ptrace");
    while (WIFSTOPPED(status)) {
        int number = WSTOPSIG(status);
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8)) {
            copy(pid, "status", report);
            copy(pid, "smaps", report);
            seen = 1;
        }
        // The stop at the exec and that at the end are no signals of the program's own.
        if (ptrace(PTRACE_CONT, pid, 0, number == SIGTRAP ? 0 : number) != 0) fail("ptrace");
        if (waitpid(pid, &status, 0) != pid) fail("waitpid");
    }
    if (!seen) {
        fputs("peak: the program ended unseen\n", stderr);
        return 125;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}
