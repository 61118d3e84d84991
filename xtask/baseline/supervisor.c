// supervisor DENIED COMMAND...: the cheapest open on behalf that no second thread can race, to measure the guard against.
//
// It knows openat for reading only and records nothing: the path is copied out of the caller, opened once by the supervisor
// without following magic links, judged by what the opened descriptor is (not below DENIED), and injected. All other calls
// run as they are. Not a guard: a yardstick.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sched.h>

#define PATH_BYTES 4096
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1
#endif

static void fail(const char *what) {
    perror(what);
    _exit(99);
}

// The child shares our descriptor table until it execs, so its listener is ours under the same number.
static int install(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) fail("no_new_privs");
    int flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

struct start {
    char **command;
    int ready, go;
};

static int child(void *argument) {
    struct start *start = argument;
    int listener = install();
    if (listener < 0) fail("seccomp");
    if (write(start->ready, &listener, sizeof listener) < 0) fail("write");
    char byte;
    if (read(start->go, &byte, 1) < 0) fail("read");
    syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_UNSHARE);
    execvp(start->command[0], start->command);
    fail(start->command[0]);
    return 0;
}

// The path, up to its NUL, page by page: the next page may not be there.
static int copy_path(pid_t tid, unsigned long address, char *path) {
    size_t have = 0;
    while (have < PATH_BYTES) {
        size_t step = 4096 - (address + have) % 4096;
        if (step > PATH_BYTES - have) step = PATH_BYTES - have;
        struct iovec to = {path + have, step}, from = {(void *)(address + have), step};
        ssize_t got = process_vm_readv(tid, &to, 1, &from, 1, 0);
        if (got <= 0) return -EFAULT;
        if (memchr(path + have, 0, got)) return 0;
        have += got;
    }
    return -ENAMETOOLONG;
}

static int base_of(pid_t tid, int dirfd) {
    char name[64];
    if (dirfd == AT_FDCWD) snprintf(name, sizeof name, "/proc/%d/cwd", tid);
    else snprintf(name, sizeof name, "/proc/%d/fd/%d", tid, dirfd);
    return open(name, O_PATH | O_CLOEXEC);
}

// Opens the caller's path once and judges what was opened; a descriptor, or a negative errno.
static int open_judged(const struct seccomp_notif *call, const char *denied) {
    char path[PATH_BYTES], link[64], name[PATH_BYTES];
    int failed = copy_path(call->pid, call->data.args[1], path);
    if (failed) return failed;
    int base = path[0] == '/' ? AT_FDCWD : base_of(call->pid, (int)call->data.args[0]);
    if (base < 0 && base != AT_FDCWD) return -EBADF;
    struct stat is;
    int result;
    if (fstatat(base, path, &is, 0)) {
        result = -errno;
    } else if (!S_ISREG(is.st_mode) && !S_ISDIR(is.st_mode)) {
        result = 0;
    } else {
        struct open_how how = {.flags = ((unsigned)call->data.args[2] & 0x3fffff) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                               .resolve = RESOLVE_NO_MAGICLINKS};
        result = syscall(SYS_openat2, base, path, &how, sizeof how);
        if (result < 0) result = -errno;
    }
    if (base != AT_FDCWD) close(base);
    if (result <= 0) return result;
    snprintf(link, sizeof link, "/proc/self/fd/%d", result);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0 || (name[length] = 0, strncmp(name, denied, strlen(denied)) == 0)) {
        close(result);
        return -EACCES;
    }
    if (!(call->data.args[2] & O_NONBLOCK)) fcntl(result, F_SETFL, fcntl(result, F_GETFL) & ~O_NONBLOCK);
    return result;
}

static void answer(int listener, const struct seccomp_notif *call, const char *denied) {
    struct seccomp_notif_resp reply = {.id = call->id};
    unsigned flags = (unsigned)call->data.args[2];
    int result = flags & (O_ACCMODE | O_CREAT | O_TRUNC | O_PATH) ? 0 : open_judged(call, denied);
    if (result > 0) {
        struct seccomp_notif_addfd add = {.id = call->id, .srcfd = result, .flags = SECCOMP_ADDFD_FLAG_SEND,
                                          .newfd_flags = flags & O_CLOEXEC};
        ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
        close(result);
        return;
    }
    if (result == 0) reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else reply.error = result;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    int ready[2], go[2];
    if (pipe(ready) || pipe(go)) fail("pipe");
    struct start start = {argv + 2, ready[1], go[0]};
    static char stack[1 << 16];
    pid_t agent = clone(child, stack + sizeof stack, CLONE_FILES | SIGCHLD, &start);
    if (agent < 0) fail("clone");
    int listener, status;
    if (read(ready[0], &listener, sizeof listener) != sizeof listener) fail("listener");
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, (unsigned long)SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
    if (write(go[1], "x", 1) != 1) fail("go");
    struct seccomp_notif call;
    for (;;) {
        memset(&call, 0, sizeof call);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) == 0) {
            answer(listener, &call, argv[1]);
            continue;
        }
        // Nobody is left behind the filter, or a call went away.
        struct pollfd still = {listener, POLLIN, 0};
        if (poll(&still, 1, 0) >= 0 && still.revents & POLLHUP) break;
        if (errno != EINTR && errno != ENOENT) break;
    }
    waitpid(agent, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
