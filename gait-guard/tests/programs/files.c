// What a program sees of the file system: run bare and guarded, the lines must be the same.
//
// The working directory is a fresh scratch folder. Each line is one call with its outcome: the error,
// or what the descriptor turned out to be.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static char scratch[4096];
static char *volatile nothing;

static const char *shortened(char *path)
{
    char *inside = strstr(path, scratch);
    if (inside)
        path = inside + strlen(scratch);
    if (strstr(path, "/proc/"))
        return "a file below /proc";
    if (strchr(path, '#') && strstr(path, "(deleted)"))
        return "a file without a name";
    if (strlen(path) > 60)
        path[60] = 0;
    return path;
}

static void opened(const char *what, int fd)
{
    if (fd < 0) {
        printf("%-50s errno=%d\n", what, errno);
        return;
    }
    struct stat st;
    fstat(fd, &st);
    char link[64], path[5000];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    const char *name = shortened(path);
    long size = S_ISREG(st.st_mode) && !strstr(name, "/proc") ? (long)st.st_size : -1;
    // A reopened handle can't show O_NOFOLLOW; everything else must be as asked for.
    printf("%-50s mode=%o uid=%d gid=%d size=%ld flags=%x cloexec=%d %s\n", what, st.st_mode, st.st_uid, st.st_gid, size,
           fcntl(fd, F_GETFL) & ~O_NOFOLLOW, fcntl(fd, F_GETFD), name);
    close(fd);
}

static void status(const char *path)
{
    struct stat st;
    if (lstat(path, &st))
        printf("    %-20s errno=%d\n", path, errno);
    else
        printf("    %-20s mode=%o uid=%d links=%ld size=%ld mtime=%ld\n", path, st.st_mode, st.st_uid, (long)st.st_nlink,
               S_ISDIR(st.st_mode) ? -1 : (long)st.st_size, st.st_mtime < 5000 ? (long)st.st_mtime : -1);
}

#define O(...) do { errno = 0; int fd_ = (__VA_ARGS__); opened(#__VA_ARGS__, fd_); } while (0)
#define V(...) do { errno = 0; long v_ = (__VA_ARGS__); printf("%-70s %ld errno=%d\n", #__VA_ARGS__, v_, v_ < 0 ? errno : 0); } while (0)

static int open2(int dir, const char *path, unsigned long flags, unsigned long mode, unsigned long resolve)
{
    struct open_how how = { flags, mode, resolve };
    return syscall(SYS_openat2, dir, path, &how, sizeof how);
}

static void make(const char *path, mode_t mode, const char *text)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, mode);
    if (write(fd, text, strlen(text)) < 0)
        exit(9);
    close(fd);
}

// The agent has no capabilities, so the program has none when it runs bare either.
static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2] = { { 0 } };
    if (syscall(SYS_capset, &header, none)) exit(9);
}

static void prepare(void)
{
    umask(027);
    mkdir("d", 0755);
    make("a", 0666, "hello");
    make("d/in", 0600, "");
    symlink("a", "la");
    symlink("nowhere", "dangling");
    symlink("loop", "loop");
    symlink("d", "ld");
    symlink("d/new", "ldangling");
    symlink("ld/../la", "chain1");
    symlink("./chain1", "chain2");
    mkfifo("fifo", 0600);
    make("secret", 0, "");
    make("ro", 0400, "");
}

static void reads(void)
{
    O(open("a", O_RDONLY)); O(open("a", O_RDWR | O_CLOEXEC)); O(open("a", O_WRONLY | O_APPEND)); O(open("nope", O_RDONLY));
    O(open("a/", O_RDONLY)); O(open("a/b", O_RDONLY)); O(open("", O_RDONLY)); O(open((char *)1, O_RDONLY)); O(open(nothing, O_RDONLY));
    O(open("d", O_RDONLY)); O(open("d", O_WRONLY)); O(open("d/", O_RDONLY | O_DIRECTORY)); O(open("a", O_DIRECTORY));
    O(open("d/../a", 0)); O(open("./d/./../d/in", 0)); O(open("..", O_RDONLY | O_PATH)); O(open("a", O_RDONLY | O_NONBLOCK));
    O(open("la", O_RDONLY)); O(open("la", O_RDONLY | O_NOFOLLOW)); O(open("la", O_PATH | O_NOFOLLOW)); O(open("la", O_PATH));
    O(open("ld/in", O_NOFOLLOW)); O(open("ld", O_NOFOLLOW | O_DIRECTORY)); O(open("ld/", O_NOFOLLOW | O_DIRECTORY));
    O(open("loop", O_RDONLY)); O(open("loop/x", O_RDONLY)); O(open("dangling", O_RDONLY)); O(open("chain2", O_RDONLY));
    O(open("a", 3)); O(open("a", O_PATH | O_RDWR | O_TRUNC)); status("a");
    O(open("secret", O_RDONLY)); O(open("secret", O_RDWR)); O(open("ro", O_WRONLY)); O(open("ro", O_RDONLY));
    O(open("/etc/passwd", O_RDONLY)); O(open("/", O_RDONLY)); O(open("/..", O_RDONLY)); O(open("/nonexistent/x", O_RDONLY));
    O(open("a", O_RDONLY | O_NOATIME)); O(open("a", O_RDONLY | 0x40000000)); O(open("a", O_RDONLY | O_SYNC));
}

static void creates(void)
{
    O(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0600)); O(open("dangling", O_CREAT | O_WRONLY, 0666)); status("nowhere");
    O(open("ldangling", O_CREAT | O_WRONLY, 0644)); status("d/new"); O(open("la", O_CREAT | O_EXCL | O_RDWR, 0600));
    O(open("la", O_CREAT | O_RDWR, 0600)); O(open("a", O_CREAT | O_RDWR, 0600)); O(open("d", O_CREAT | O_RDWR, 0600));
    O(open("d", O_CREAT | O_RDONLY, 0600)); O(open("d2/", O_CREAT | O_RDWR, 0600)); O(open("a/", O_CREAT | O_RDWR, 0600));
    O(open("d/", O_CREAT | O_RDWR, 0600)); O(open("ld/", O_CREAT | O_RDWR, 0600)); O(open("x/y", O_CREAT | O_RDWR, 0600));
    O(open("a/y", O_CREAT | O_RDWR, 0600)); O(open(".", O_CREAT | O_RDWR, 0600)); O(open("..", O_CREAT | O_EXCL, 0600));
    O(open("/", O_CREAT | O_WRONLY, 0600)); O(open("loop", O_CREAT | O_WRONLY, 0600)); O(open("", O_CREAT | O_WRONLY, 0600));
    O(open("new1", O_CREAT | O_WRONLY, 0666)); O(open("new2", O_CREAT | O_RDWR | O_EXCL | O_CLOEXEC, 01755));
    O(open("new3", O_CREAT | O_RDONLY, 0000)); O(open("new4", O_CREAT | O_WRONLY, 0444)); O(creat("new5", 0640));
    O(open("new5", O_CREAT | O_EXCL | O_WRONLY, 0640)); O(open("a", O_TRUNC | O_WRONLY)); make("a", 0666, "hello");
    O(open("a", O_TRUNC | O_RDONLY)); make("a", 0666, "hello"); umask(0); O(open("new6", O_CREAT | O_WRONLY, 0666)); umask(077);
    O(open("new7", O_CREAT | O_WRONLY, 0666)); umask(0777); O(open("new8", O_CREAT | O_WRONLY, 0666)); umask(027);
    mkdir("sg", 02775); chmod("sg", 02775); O(open("sg/f", O_CREAT | O_WRONLY, 0666));
    O(open(".", O_TMPFILE | O_RDWR, 0666)); O(open("d", O_TMPFILE | O_RDWR | O_EXCL, 0600)); O(open("a", O_TMPFILE | O_RDWR, 0600));
    O(open(".", O_TMPFILE | O_RDONLY, 0600)); O(open("nope", O_TMPFILE | O_RDWR, 0600)); O(open("a", O_CREAT | O_DIRECTORY | O_RDWR, 0600));
    for (int exclusive = 0; exclusive < 2; exclusive++) {
        char link[64];
        int fd = open("d", O_TMPFILE | O_RDWR | (exclusive ? O_EXCL : 0), 0600);
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        V(linkat(AT_FDCWD, link, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW));
        O(open(link, O_RDONLY));
        status("linked");
        unlink("linked");
        close(fd);
    }
    O(open("/etc/passwd/x", O_CREAT | O_WRONLY, 0600)); O(open("/proc/nope", O_CREAT | O_WRONLY, 0600)); O(open("/proc/self/nope", O_CREAT | O_WRONLY, 0600));
}

static void at(void)
{
    int d = open("d", O_RDONLY | O_DIRECTORY), a = open("a", O_RDONLY), p = open("d", O_PATH);
    O(openat(d, "in", 0)); O(openat(d, "../a", 0)); O(openat(d, "nope", 0)); O(openat(999, "in", 0)); O(openat(-1, "in", 0));
    O(openat(999, "/etc/passwd", 0)); O(openat(d, "", 0)); O(openat(a, "x", 0)); O(openat(a, ".", 0)); O(openat(p, "in", O_RDWR));
    O(openat(p, "made", O_CREAT | O_RDWR, 0600)); O(openat(a, "made", O_CREAT | O_RDWR, 0600)); O(openat(999, "made", O_CREAT | O_RDWR, 0600));
    if (chdir("d")) exit(9);
    O(open("in", 0)); O(open("../d/in", 0));
    if (chdir("..")) exit(9);
    O(open2(AT_FDCWD, "la", 0, 0, RESOLVE_NO_SYMLINKS)); O(open2(AT_FDCWD, "a", 0, 0, RESOLVE_BENEATH)); O(open2(d, "../a", 0, 0, RESOLVE_BENEATH));
    O(open2(d, "/etc/passwd", 0, 0, RESOLVE_BENEATH)); O(open2(d, "/in", 0, 0, RESOLVE_IN_ROOT)); O(open2(d, "../../in", 0, 0, RESOLVE_IN_ROOT));
    O(open2(d, "../a", 0, 0, RESOLVE_IN_ROOT)); O(open2(d, "..", 0, 0, RESOLVE_IN_ROOT)); O(open2(AT_FDCWD, "/proc/self/fd/0", 0, 0, RESOLVE_NO_MAGICLINKS));
    O(open2(AT_FDCWD, "/proc/version", 0, 0, RESOLVE_NO_XDEV)); O(open2(AT_FDCWD, "a", 0, 0, RESOLVE_NO_XDEV)); O(open2(AT_FDCWD, "a", 0, 0777, 0));
    O(open2(AT_FDCWD, "a", 0x100000000ULL, 0, 0)); O(open2(AT_FDCWD, "a", 0, 0, 0x80)); O(open2(AT_FDCWD, "newo2", O_CREAT | O_RDWR, 0666, RESOLVE_BENEATH));
    O(open2(d, "newin", O_CREAT | O_RDWR, 0666, RESOLVE_IN_ROOT)); O(open2(d, "/newin2", O_CREAT | O_RDWR, 0666, RESOLVE_IN_ROOT));
    O(open2(d, "../newup", O_CREAT | O_RDWR, 0666, RESOLVE_IN_ROOT)); O(open2(AT_FDCWD, "a", O_RDONLY | O_CREAT, 010777, 0));
    O(open2(AT_FDCWD, "a", O_PATH | O_RDWR, 0, 0)); O(open2(AT_FDCWD, "la", O_CREAT | O_RDWR, 0600, RESOLVE_NO_SYMLINKS));
    O(open2(AT_FDCWD, "dangling", O_RDONLY, 0, RESOLVE_NO_SYMLINKS)); O(open2(AT_FDCWD, "a", O_CREAT, 0600, RESOLVE_CACHED));
    V(syscall(SYS_openat2, AT_FDCWD, "a", NULL, 24)); V(syscall(SYS_openat2, AT_FDCWD, "a", scratch, 8)); V(syscall(SYS_openat2, AT_FDCWD, "a", scratch, 5000));
    close(d); close(a); close(p);
}

static void proc(void)
{
    O(open("/proc/self/status", 0)); O(open("/proc/thread-self/comm", 0)); O(open("/proc/self/cwd/a", 0)); O(open("/proc/self/root/etc/passwd", 0));
    O(open("/proc/self/exe", O_RDONLY)); O(open("/proc/self/fd", O_DIRECTORY)); O(open("/proc/self/fd/77", 0)); O(open("/proc/self/mem", O_RDWR));
    O(open("/proc/self/task", 0)); O(open("/proc/net/dev", 0)); O(open("/proc/mounts", 0)); O(open("/proc/self/", O_RDONLY)); O(open("/proc", O_RDONLY));
    O(open("/proc/self/stat/x", O_RDONLY)); O(open("/proc/self", O_NOFOLLOW)); O(open("/proc/self/cwd", O_NOFOLLOW)); O(open("/proc/self/cwd/", O_NOFOLLOW));
    O(open("/proc/self/comm", O_WRONLY)); O(open("/proc/sys/kernel/ostype", O_RDONLY)); O(open("/proc/self/ns/mnt", O_RDONLY)); O(open("/proc/self/cwd/made-there", O_CREAT | O_WRONLY, 0600));
    char text[64] = { 0 };
    int c = open("/proc/self/stat", 0);
    printf("own pid %d\n", read(c, text, 63) > 0 && atoi(text) == getpid());
    close(c);
    c = open("/proc/thread-self/stat", 0);
    printf("own tid %d\n", read(c, text, 63) > 0 && atoi(text) == gettid());
    close(c);
    symlink("/proc/self", "ps");
    c = open("ps/stat", 0);
    printf("own pid by a link %d\n", read(c, text, 63) > 0 && atoi(text) == getpid());
    close(c);
    char link[64];
    int a = open("a", O_RDONLY), d = open("d", O_RDONLY);
    snprintf(link, sizeof link, "/dev/fd/%d", a);
    O(open(link, 0)); O(open(link, O_RDWR)); O(open(link, O_NOFOLLOW)); O(open(link, O_PATH | O_NOFOLLOW)); O(open(link, O_CREAT | O_RDWR, 0600));
    snprintf(link, sizeof link, "/proc/self/fd/%d/x", a);
    O(open(link, 0));
    snprintf(link, sizeof link, "/proc/self/fd/%d/in", d);
    O(open(link, 0));
    snprintf(link, sizeof link, "/proc/self/fd/%d/created", d);
    O(open(link, O_CREAT | O_RDWR, 0600));
    snprintf(link, sizeof link, "/proc/%d/fd/%d", getpid(), a);
    O(open(link, 0));
    int ends[2];
    if (pipe(ends)) exit(9);
    snprintf(link, sizeof link, "/dev/fd/%d", ends[0]);
    int reopened = open(link, O_RDONLY);
    printf("a pipe is opened again %d\n", reopened >= 0);
    close(reopened);
    snprintf(link, sizeof link, "/proc/self/fd/%d", ends[1]);
    reopened = open(link, O_WRONLY);
    printf("its other end %d\n", reopened >= 0);
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    snprintf(link, sizeof link, "/dev/fd/%d", pair[0]);
    O(open(link, O_RDWR));
    int memory = memfd_create("mm", 0);
    if (write(memory, "1234", 4) != 4) exit(9);
    snprintf(link, sizeof link, "/dev/fd/%d", memory);
    O(open(link, O_RDONLY));
    int gone = open("gone", O_CREAT | O_RDWR, 0600);
    unlink("gone");
    snprintf(link, sizeof link, "/proc/self/fd/%d", gone);
    O(open(link, O_RDONLY)); O(open("gone", 0));
    mkdir("deleted-dir", 0755);
    int folder = open("deleted-dir", O_RDONLY);
    rmdir("deleted-dir");
    O(openat(folder, "x", O_CREAT | O_RDWR, 0600)); O(openat(folder, ".", O_RDONLY)); V(mkdirat(folder, "x", 0700)); V(unlinkat(folder, "x", 0));
    close(folder); close(gone); close(memory); close(pair[0]); close(pair[1]); close(ends[0]); close(ends[1]); close(a); close(d); close(reopened);
}

static void specials(void)
{
    O(open("/dev/tty", O_RDWR)); O(open("/dev/null", O_RDWR)); O(open("/dev/zero", O_RDONLY)); O(open("/dev/full", O_WRONLY | O_CREAT | O_TRUNC, 0666));
    O(open("/dev/nope", 0)); O(open("/dev/urandom", O_RDONLY)); O(open("fifo", O_RDONLY | O_NONBLOCK)); O(open("fifo", O_WRONLY | O_NONBLOCK)); O(open("fifo", O_RDWR));
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    V(mknod("sock", S_IFSOCK | 0666, 0)); status("sock"); O(open("sock", O_RDWR)); O(open("sock", O_PATH));
    close(s);
}

static volatile int handled;
static void handler(int signal) { (void)signal; handled++; }

static void *writer(void *nothing)
{
    (void)nothing;
    usleep(100000);
    int fd = open("fifo", O_WRONLY);
    if (write(fd, "x", 1) < 0) exit(9);
    close(fd);
    return 0;
}

static long since(struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - start->tv_sec) * 1000 + (now.tv_nsec - start->tv_nsec) / 1000000;
}

static void blocking(void)
{
    pthread_t thread;
    struct timespec start;
    char byte;
    pthread_create(&thread, 0, writer, 0);
    clock_gettime(CLOCK_MONOTONIC, &start);
    int r = open("fifo", O_RDONLY);
    printf("a fifo waits for its writer %d, then gives %ld byte\n", since(&start) > 50, (long)read(r, &byte, 1));
    printf("and its flags are %x\n", fcntl(r, F_GETFL));
    close(r);
    pthread_join(thread, 0);
    struct sigaction action = { .sa_handler = handler };
    sigaction(SIGALRM, &action, 0);
    ualarm(150000, 0);
    errno = 0;
    r = open("fifo", O_RDONLY);
    printf("a signal ends the wait: %d errno=%d handled=%d\n", r, errno, handled);
    handled = 0;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, 0);
    pid_t child = fork();
    if (!child) {
        usleep(400000);
        close(open("fifo", O_WRONLY));
        _exit(0);
    }
    ualarm(150000, 0);
    r = open("fifo", O_RDONLY);
    printf("or not, with SA_RESTART: %d handled=%d\n", r >= 0, handled);
    close(r);
    waitpid(child, 0, 0);
    signal(SIGIO, SIG_IGN);
    int lease = open("a", O_RDONLY), code;
    V(fcntl(lease, F_SETLEASE, F_RDLCK));
    child = fork();
    if (!child) _exit(open("a", O_WRONLY | O_NONBLOCK) < 0 ? errno : 0);
    waitpid(child, &code, 0);
    printf("under a lease, not waiting: %d\n", WEXITSTATUS(code));
    child = fork();
    if (!child) {
        int fd = open("a", O_WRONLY);
        _exit(fd < 0 ? errno : (fcntl(fd, F_GETFL) & O_NONBLOCK ? 99 : 0));
    }
    usleep(150000);
    O(open("d/in", 0));
    V(fcntl(lease, F_SETLEASE, F_UNLCK));
    waitpid(child, &code, 0);
    printf("under a lease, waiting: %d\n", WEXITSTATUS(code));
    close(lease);
}

static void names(void)
{
    char name[300];
    memset(name, 'n', 255); name[255] = 0;
    O(open(name, O_CREAT | O_RDWR, 0600)); V(mkdir(name, 0700)); V(unlink(name));
    memset(name, 'n', 256); name[256] = 0;
    O(open(name, O_CREAT | O_RDWR, 0600)); O(open(name, O_RDONLY)); V(mkdir(name, 0700)); V(unlink(name)); V(rename("a", name));
    O(open("b\xff\xfe\n\x01", O_CREAT | O_RDWR, 0600)); O(open("x (deleted)", O_CREAT | O_RDWR, 0600)); O(open("x (deleted)", O_RDONLY)); O(open("x", O_RDONLY));
    O(open("mnt:[4026531840]", O_CREAT | O_RDWR, 0600)); O(open("pipe:[1]", O_CREAT | O_RDWR, 0600)); O(open("pipe:[1]", O_RDONLY));
    static char path[5000];
    strcpy(path, ".");
    while (strlen(path) < 4092) strcat(path, "/.");
    strcat(path, "/a");
    printf("length %zu\n", strlen(path));
    int fd = open(path, O_RDONLY);
    printf("opened %d\n", fd >= 0);
    close(fd);
    memmove(path + 2, path, strlen(path) + 1);
    memcpy(path, "./", 2);
    printf("length %zu %d", strlen(path), open(path, O_RDONLY));
    printf(" errno=%d\n", errno);
    char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page + 4096, 4096, PROT_NONE);
    strcpy(page + 4094, "a");
    O(open(page + 4094, 0));
    page[4094] = 'a'; page[4095] = 'b';
    O(open(page + 4094, 0)); V(mkdir(page + 4094, 0)); V(rename("a", page + 4094)); V(symlink(page + 4094, "s")); V(utimensat(AT_FDCWD, "a", (void *)(page + 4090), 0));
}

static void limits(void)
{
    struct rlimit old, low;
    getrlimit(RLIMIT_NOFILE, &old);
    low = old;
    low.rlim_cur = 8;
    setrlimit(RLIMIT_NOFILE, &low);
    int count = 0;
    while (open("a", 0) >= 0) count++;
    printf("descriptors used up: %d errno=%d\n", count > 0, errno);
    for (int fd = 3; fd < 8; fd++) close(fd);
    setrlimit(RLIMIT_NOFILE, &old);
    int code;
    pid_t child = fork();
    if (!child) {
        struct rlimit size = { 1000, 1000 };
        setrlimit(RLIMIT_FSIZE, &size);
        signal(SIGXFSZ, handler);
        handled = 0;
        errno = 0;
        int ok = truncate("a", 1000), over = truncate("a", 1001);
        _exit(ok == 0 && over < 0 && errno == EFBIG && handled == 1 ? 0 : 1);
    }
    waitpid(child, &code, 0);
    printf("beyond the limit on file sizes: %d\n", code);
}

static void entries(void)
{
    V(mkdir("m1", 0777)); status("m1"); V(mkdir("m1/", 0777)); V(mkdir("m2/", 01777)); status("m2"); V(mkdir("m1/a/b", 0777)); V(mkdir("/", 0777));
    V(mkdir(".", 0777)); V(mkdir("..", 0777)); V(mkdir("dangling2", 0777)); V(mkdir("", 0777)); V(mkdir("a/x", 0777)); V(mkdir("la", 0777)); V(mkdirat(999, "q", 0777));
    V(rmdir("m2")); V(rmdir("d")); V(rmdir("a")); V(rmdir(".")); V(rmdir("..")); V(rmdir("/")); V(rmdir("d/.")); V(rmdir("d/..")); V(rmdir("ld")); V(rmdir("ld/")); V(rmdir("nope")); V(rmdir("m1/"));
    V(unlink("d")); V(unlink("la/")); V(unlink("ld/")); V(unlink("a/")); V(unlink("nope")); V(unlink("nope/")); V(unlink("new1")); V(unlink(".")); V(unlink("/")); V(unlink("")); V(unlink("dangling"));
    V(unlinkat(AT_FDCWD, "a", 7)); V(unlinkat(AT_FDCWD, "a", AT_REMOVEDIR)); V(unlinkat(-3, "a", 0)); V(unlinkat(-3, "/nope", 0));
    V(symlink("target", "s1")); V(symlink("target", "s1")); V(symlink("", "s2")); V(symlink("t", "s3/")); V(symlink("t", ".")); V(symlink("t", "nope/x")); V(symlink("t", "")); status("s1");
    V(link("a", "hl")); V(link("la", "hl2")); status("hl2"); V(linkat(AT_FDCWD, "la", AT_FDCWD, "hl3", AT_SYMLINK_FOLLOW)); status("hl3"); V(link("d", "hl4")); V(link("nope", "hl5"));
    V(link("a", "hl")); V(link("a", "hl6/")); V(link("a", "nope/hl")); V(linkat(AT_FDCWD, "a", AT_FDCWD, "hl7", 1)); V(link("/proc/self/status", "hl8"));
    V(rename("hl", "a")); V(rename("new2", "ren2")); status("ren2"); V(rename("d", "ren2")); V(rename("m1", "d")); mkdir("m1", 0755); V(rename("m1/", "m3/")); V(rename("new3", "m4/")); V(rename("new3/", "m4"));
    V(rename("ren2", "d")); V(rename("d", "d/sub")); V(rename(".", "zz")); V(rename("zz", "..")); V(rename("a", "/")); V(rename("nope", "z")); V(rename("nope", ".")); V(rename("a", "nope/x")); V(rename("", "z")); V(rename("a", ""));
    V(renameat2(AT_FDCWD, "ren2", AT_FDCWD, "new4", 1)); V(renameat2(AT_FDCWD, "ren2", AT_FDCWD, "new5", 2)); V(renameat2(AT_FDCWD, "ren2", AT_FDCWD, "nope", 2)); V(renameat2(AT_FDCWD, "ren2", AT_FDCWD, "ren3", 1));
    V(renameat2(AT_FDCWD, "ren3", AT_FDCWD, "ren4", 3)); V(renameat2(AT_FDCWD, "ren3", AT_FDCWD, "ren4", 8)); V(renameat2(AT_FDCWD, "ren3", AT_FDCWD, "d", 2)); status("ren3"); V(renameat2(AT_FDCWD, "ren3", AT_FDCWD, "d", 2)); V(renameat2(AT_FDCWD, "a", AT_FDCWD, "..", 1));
    V(rename("la", "la2")); status("la2"); V(rename("la2", "la")); V(rename("a", "/dev/shm/gait-other-device"));
    V(mknod("fi2", S_IFIFO | 0666, 0)); status("fi2"); V(mknod("reg2", S_IFREG | 0666, 0)); status("reg2"); V(mknod("reg3", 0600, 0)); status("reg3"); V(mknod("dir2", S_IFDIR | 0666, 0)); V(mknod("odd", 0170000, 0)); V(mknod("fi2", S_IFIFO, 0)); V(mknod("fi3/", S_IFIFO, 0));
}

static void attributes(void)
{
    int d = open("d", O_RDONLY), a = open("a", O_RDONLY), w = open("a", O_RDWR), p = open("a", O_PATH);
    struct timespec ts[2] = { { 1000, 0 }, { 1000, 5 } }, bad[2] = { { 0, 2000000000 }, { 0, 0 } }, omit[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
    struct timeval tv[2] = { { 2000, 0 }, { 2000, 7 } }, badtv[2] = { { 0, 1000000 }, { 0, 0 } };
    struct utimbuf ub = { 3000, 3000 };
    V(truncate("a", 100)); status("a"); V(truncate("d", 1)); V(truncate("nope", 1)); V(truncate("la", 7)); status("a"); V(truncate("a", -1)); V(truncate("fifo", 1)); V(truncate("/dev/null", 1)); V(truncate("ro", 3)); V(truncate("", 1));
    V(chmod("a", 0604)); status("a"); V(chmod("la", 0600)); status("a"); V(chmod("nope", 0600)); V(chmod("a/", 0600)); V(chmod("d", 02755)); status("d"); V(chmod("d", 0755)); V(chmod("a", 0171644)); status("a"); V(chmod("a", 02600)); status("a");
    V(syscall(SYS_fchmodat, AT_FDCWD, "la", 0640)); V(syscall(SYS_fchmodat2, AT_FDCWD, "a", 0640, 0)); V(syscall(SYS_fchmodat2, AT_FDCWD, "la", 0640, AT_SYMLINK_NOFOLLOW)); V(syscall(SYS_fchmodat2, d, "", 0755, AT_EMPTY_PATH)); V(syscall(SYS_fchmodat2, d, "", 0755, 0)); V(syscall(SYS_fchmodat2, d, "in", 0600, 0x4000));
    V(fchmod(a, 0611)); status("a"); V(fchmod(p, 0600)); V(fchmod(999, 0600)); V(fchmod(-1, 0600)); V(chmod("a", 0644));
    V(chown("a", -1, -1)); V(chown("nope", -1, -1)); V(lchown("la", -1, -1)); V(lchown("nope", -1, -1)); V(fchown(a, -1, -1)); V(fchown(p, -1, -1)); V(fchown(999, -1, -1)); V(fchownat(d, "", -1, -1, AT_EMPTY_PATH)); V(fchownat(d, "in", -1, -1, 4)); V(fchownat(p, "", -1, -1, AT_EMPTY_PATH));
    V(utimensat(AT_FDCWD, "a", ts, 0)); status("a"); V(utimensat(AT_FDCWD, "la", ts, AT_SYMLINK_NOFOLLOW)); status("la"); V(utimensat(AT_FDCWD, "nope", ts, 0)); V(utimensat(AT_FDCWD, "nope", omit, 0)); V(utimensat(AT_FDCWD, "a", bad, 0)); V(utimensat(AT_FDCWD, "a", ts, 4)); V(futimens(d, ts)); status("d");
    V(syscall(SYS_utimensat, a, NULL, NULL, 0)); V(syscall(SYS_utimensat, a, NULL, ts, 0)); V(syscall(SYS_utimensat, p, NULL, ts, 0)); V(syscall(SYS_utimensat, a, NULL, ts, AT_SYMLINK_NOFOLLOW)); V(syscall(SYS_utimensat, AT_FDCWD, NULL, ts, 0)); V(syscall(SYS_utimensat, AT_FDCWD, "a", 1, 0));
    V(syscall(SYS_utimes, "a", tv)); status("a"); V(syscall(SYS_utimes, "a", badtv)); V(syscall(SYS_utime, "a", &ub)); status("a"); V(syscall(SYS_futimesat, d, "in", tv)); status("d/in"); V(syscall(SYS_futimesat, a, NULL, tv)); status("a"); V(syscall(SYS_utime, "a", NULL));
    V(setxattr("a", "user.k", "v", 1, 0)); V(setxattr("a", "user.k", "w", 1, XATTR_CREATE)); V(setxattr("a", "user.q", "w", 1, XATTR_REPLACE)); V(lsetxattr("la", "user.k", "v", 1, 0)); V(setxattr("a", "bogus", "v", 1, 0)); V(setxattr("a", "", "v", 1, 0)); V(setxattr("a", "user.big", scratch, 70000, 0)); V(setxattr("a", "user.k", "v", 1, 8)); V(setxattr("nope", "user.k", "v", 1, 0)); V(setxattr("a", "user.k", (void *)1, 1, 0));
    V(fsetxattr(a, "user.f", "v", 1, 0)); V(fsetxattr(p, "user.f", "v", 1, 0)); V(removexattr("a", "user.k")); V(removexattr("a", "user.k")); V(lremovexattr("la", "user.k")); V(fremovexattr(w, "user.f")); V(fremovexattr(w, "user.f")); V(removexattr("nope", "user.f")); V(removexattr("a", ""));
    close(d); close(a); close(w); close(p);
}

static void watches(void)
{
    int watch = inotify_init1(IN_NONBLOCK);
    char events[4096];
    V(inotify_add_watch(watch, "d", IN_CREATE)); V(inotify_add_watch(watch, "nope", IN_CREATE)); V(inotify_add_watch(watch, "a", IN_ONLYDIR | IN_OPEN)); V(inotify_add_watch(watch, "a", 0)); V(inotify_add_watch(0, "a", IN_OPEN)); V(inotify_add_watch(999, "a", IN_OPEN));
    V(inotify_add_watch(watch, "la", IN_ATTRIB | IN_DONT_FOLLOW)); V(inotify_add_watch(watch, "la", IN_ATTRIB));
    V(mkdir("d/seen", 0700));
    printf("events %d\n", read(watch, events, sizeof events) > 0);
    close(watch);
}

static void executables(void)
{
    char buffer[65536];
    long count;
    int to = open("prog", O_CREAT | O_RDWR, 0700), from = open("/bin/true", O_RDONLY), code, bad = 0;
    while ((count = read(from, buffer, sizeof buffer)) > 0)
        if (write(to, buffer, count) != count) exit(9);
    close(from);
    pid_t child = fork();
    if (!child) { execl("./prog", "prog", NULL); _exit(errno); }
    waitpid(child, &code, 0);
    printf("executed while it is open for writing: %d\n", WEXITSTATUS(code));
    close(to);
    for (int i = 0; i < 50; i++) {
        to = open("prog", O_RDWR);
        close(to);
        child = vfork();
        if (!child) { execl("./prog", "prog", NULL); _exit(errno); }
        waitpid(child, &code, 0);
        bad += WEXITSTATUS(code) != 0;
    }
    printf("executed right after it was closed, failures: %d\n", bad);
}

static void locks(void)
{
    int one = open("a", O_RDWR), two = open("a", O_RDWR);
    V(flock(one, LOCK_EX | LOCK_NB)); V(flock(two, LOCK_EX | LOCK_NB));
    close(one);
    V(flock(two, LOCK_EX | LOCK_NB));
    struct flock lock = { .l_type = F_WRLCK };
    V(fcntl(two, F_SETLK, &lock));
    close(two);
}

int main(void)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    if (!getcwd(scratch, sizeof scratch)) return 9;
    drop_capabilities();
    prepare(); reads(); creates(); at(); proc(); specials(); blocking(); names(); limits(); entries(); attributes(); watches(); locks(); executables();
    return 0;
}
