// Attempts to get at what is denied: `escapes WHAT [ARGUMENTS]`. Each prints what came of it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static volatile int over;

static void tried(const char *what, long result)
{
    printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "OK");
}

#define TRY(...) tried(#__VA_ARGS__, (__VA_ARGS__))

// Where a descriptor leads.
static const char *led(int fd, char *path, size_t size)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = readlink(link, path, size - 1);
    path[length > 0 ? length : 0] = 0;
    return path;
}

static char flipped[64] __attribute__((aligned(64))) = "W/file";

// The first letter of a path in memory changes all the time.
static void *flip_bytes(void *nothing)
{
    volatile char *letter = flipped;
    while (!over) {
        *letter = 'S';
        for (volatile int i = 0; i < 200; i++);
        *letter = 'W';
        for (volatile int i = 0; i < 200; i++);
    }
    return nothing;
}

// A link in an allowed folder leads inside and outside by turns.
static void *flip_link(void *nothing)
{
    while (!over) {
        unlink("W/.next"); symlink("../S/file", "W/.next"); rename("W/.next", "W/link");
        unlink("W/.next"); symlink("file", "W/.next"); rename("W/.next", "W/link");
    }
    return nothing;
}

// A folder on the way is exchanged for a link to the denied one.
static void *flip_folder(void *nothing)
{
    while (!over) {
        syscall(SYS_renameat2, AT_FDCWD, "W/way", AT_FDCWD, "W/other", 2);
    }
    return nothing;
}

static int race(const char *how, long tries, int flags)
{
    long counts[4] = { 0 };
    char where[5000];
    pthread_t thread;
    void *(*flip)(void *) = flip_bytes;
    const char *path = flipped;
    if (!strcmp(how, "link")) { flip = flip_link; path = "W/link"; }
    if (!strcmp(how, "folder")) { flip = flip_folder; path = "W/way/file"; }
    pthread_create(&thread, 0, flip, 0);
    for (long i = 0; i < tries; i++) {
        int fd = open(path, flags, 0600);
        if (fd < 0) {
            counts[errno == EACCES ? 1 : 3]++;
            continue;
        }
        counts[strstr(led(fd, where, sizeof where), "/S/") ? 2 : 0]++;
        close(fd);
    }
    over = 1;
    printf("allowed=%ld denied=%ld escaped=%ld other=%ld\n", counts[0], counts[1], counts[2], counts[3]);
    return 0;
}

// Objects below /proc of a process that is not the agent's.
static int outsider(const char *pid)
{
    static const char *const ways[] = { "/proc/%s/mem", "/proc/%s/environ", "/proc/%s/cmdline", "/proc/%s/maps", "/proc/%s/fd", "/proc/%s/fd/0",
        "/proc/%s/root/etc/passwd", "/proc/%s/cwd", "/proc/%s/exe", "/proc/%s/task/%s/mem", "/proc/%s/task/%s/fd/1", "/proc/self/root/proc/%s/mem",
        "/proc/self/../%s/mem", "/proc/%s/ns/mnt", "/proc/%s/oom_score_adj", "/proc/%s/attr/current", "/proc/./%s//environ", "/proc/%s/cwd/../etc/passwd" };
    char path[256];
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        snprintf(path, sizeof path, ways[i], pid, pid);
        int fd = open(path, O_RDONLY);
        printf("%s %s\n", ways[i], fd < 0 ? strerrorname_np(errno) : "OK");
        fd = open(path, O_RDWR);
        if (fd >= 0) printf("%s OK for writing\n", ways[i]);
    }
    snprintf(path, sizeof path, "/proc/%s", pid);
    int folder = syscall(SYS_openat, AT_FDCWD, path, O_PATH);
    TRY(openat(folder, "mem", O_RDWR));
    if (!chdir(path)) TRY(open("mem", O_RDWR));
    if (!chdir(path)) TRY(open("root/etc/passwd", O_RDONLY));
    symlink(path, "/tmp/gait-outsider");
    TRY(open("/tmp/gait-outsider/mem", O_RDWR));
    unlink("/tmp/gait-outsider");
    snprintf(path, sizeof path, "/proc/%s/oom_score_adj", pid);
    TRY(truncate(path, 0)); TRY(chmod(path, 0666)); TRY(setxattr(path, "user.k", "v", 1, 0));
    return 0;
}

// Own and related processes stay in reach.
static int insider(void)
{
    char path[64];
    pid_t child = fork();
    if (!child) { pause(); _exit(0); }
    snprintf(path, sizeof path, "/proc/%d/status", child);
    TRY(open(path, O_RDONLY));
    snprintf(path, sizeof path, "/proc/%d/cwd/W/file", child);
    TRY(open(path, O_RDONLY));
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", getpid(), gettid());
    TRY(open(path, O_RDONLY));
    TRY(open("/proc/self/fdinfo/0", O_RDONLY));
    kill(child, SIGKILL);
    waitpid(child, 0, 0);
    return 0;
}

// Every way to a denied file that is not its own name.
static int names(void)
{
    int w = open("W", O_RDONLY | O_DIRECTORY), s = open("S", O_PATH), handle;
    char path[64];
    TRY(open("S/file", O_RDONLY)); TRY(open("S/file", O_RDWR)); TRY(open("S/file", O_WRONLY | O_TRUNC)); TRY(creat("S/file", 0600)); TRY(creat("S/made", 0600));
    struct open_how how = { .flags = O_RDWR };
    TRY(syscall(SYS_openat2, w, "../S/file", &how, sizeof how));
    TRY(openat(w, "../S/file", O_RDONLY)); TRY(openat(s, "file", O_RDONLY)); TRY(open("W/../S/./file", O_RDONLY)); TRY(open("//proc/self/cwd/S/file", O_RDONLY)); TRY(open("/proc/thread-self/cwd/S/file", O_RDONLY));
    TRY(symlink("../S/file", "W/one")); TRY(symlink("one", "W/two")); TRY(symlink("../S", "W/three"));
    TRY(open("W/one", O_RDONLY)); TRY(open("W/two", O_RDWR)); TRY(open("W/three/file", O_RDONLY)); TRY(open("W/three/made", O_CREAT | O_WRONLY, 0600)); TRY(open("W/one", O_CREAT | O_WRONLY, 0600));
    TRY(symlink("../S/late", "W/four")); TRY(open("W/four", O_CREAT | O_WRONLY, 0600));
    TRY(link("S/file", "W/hard")); TRY(link("W/two", "W/hard2")); TRY(linkat(AT_FDCWD, "W/one", AT_FDCWD, "W/hard3", AT_SYMLINK_FOLLOW));
    handle = syscall(SYS_openat, AT_FDCWD, "W/one", O_PATH);
    if (handle >= 0) { snprintf(path, sizeof path, "/proc/self/fd/%d", handle); TRY(open(path, O_RDONLY)); TRY(linkat(AT_FDCWD, path, AT_FDCWD, "W/hard4", AT_SYMLINK_FOLLOW)); }
    TRY(rename("S/file", "W/moved")); TRY(rename("S", "W/S")); TRY(rename("W/file", "S/file")); TRY(syscall(SYS_renameat2, AT_FDCWD, "W/file", AT_FDCWD, "S/file", 2)); TRY(syscall(SYS_renameat2, AT_FDCWD, "W", AT_FDCWD, "S", 2));
    TRY(mkdir("S/d", 0700)); TRY(mkdir("W/three/d", 0700)); TRY(mknod("S/n", S_IFIFO | 0600, 0)); TRY(symlink("x", "S/l")); TRY(link("W/file", "S/l2")); TRY(unlink("S/file")); TRY(rmdir("S/sub")); TRY(truncate("S/file", 0)); TRY(truncate("W/one", 0));
    TRY(chmod("S/file", 0666)); TRY(fchmodat(s, "file", 0666, 0)); TRY(chmod("W/one", 0666)); TRY(chown("S/file", -1, -1)); TRY(lchown("W/three/file", -1, -1)); TRY(utimensat(s, "file", NULL, 0)); TRY(setxattr("S/file", "user.k", "v", 1, 0)); TRY(removexattr("S/file", "user.k")); TRY(open("S", O_RDONLY | O_DIRECTORY)); TRY(open("S", O_TMPFILE | O_RDWR, 0600));
    if (!chdir("S")) { TRY(open("file", O_RDONLY)); TRY(creat("made", 0600)); TRY(unlink("file")); TRY(open(".", O_RDONLY)); }
    return 0;
}

// A descriptor that may only read is no way to change the file.
static int descriptors(void)
{
    int fd = open("R/file", O_RDONLY);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    TRY(fd); TRY(fchmod(fd, 0666)); TRY(fchown(fd, -1, -1)); TRY(fsetxattr(fd, "user.k", "v", 1, 0)); TRY(fremovexattr(fd, "user.k")); TRY(futimens(fd, NULL)); TRY(utimensat(fd, "", NULL, AT_EMPTY_PATH)); TRY(open(path, O_RDWR)); TRY(chmod(path, 0666)); TRY(truncate(path, 0));
    TRY(link("R/file", "W/alias")); TRY(linkat(AT_FDCWD, path, AT_FDCWD, "W/alias2", AT_SYMLINK_FOLLOW)); TRY(linkat(fd, "", AT_FDCWD, "W/alias3", AT_EMPTY_PATH));
    return 0;
}

// Modes and attributes that lend rights.
static int privileges(void)
{
    TRY(chmod("W/file", 04755)); TRY(chmod("W/file", 02755)); TRY(open("W/suid", O_CREAT | O_WRONLY, 06755)); TRY(open("W", O_TMPFILE | O_RDWR, 04755)); TRY(mknod("W/node", S_IFCHR | 0666, makedev(1, 3))); TRY(mknod("W/disk", S_IFBLK | 0666, makedev(8, 0))); TRY(mknod("W/program", S_IFREG | 04755, 0));
    TRY(setxattr("W/file", "security.capability", "\1\0\0\2\0\40\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0)); TRY(chmod("W", 02775)); TRY(chmod("W/file", 0755));
    return 0;
}

// The directory is deeper than the longest path.
static int deep(void)
{
    char name[201];
    memset(name, 'q', 200); name[200] = 0;
    if (chdir("W")) return 9;
    int depth = 0;
    while (depth < 25 && !mkdir(name, 0700) && !chdir(name)) depth++;
    printf("depth %d\n", depth);
    TRY(mkdir(name, 0700)); TRY(open("file", O_CREAT | O_RDWR, 0600)); TRY(open(".", O_RDONLY)); TRY(mkdir("more", 0700)); TRY(symlink("a", "b"));
    return 0;
}

// A program whose memory nobody may read.
static int hidden(void)
{
    int fd = open("W/file", O_RDONLY);
    printf("open %s\n", fd < 0 ? strerrorname_np(errno) : "OK");
    return 0;
}

static int fixed[2], flipping;

static void *flip_descriptor(void *nothing)
{
    while (!over) {
        dup2(fixed[0], flipping);
        for (volatile int i = 0; i < 500; i++);
        dup2(fixed[1], flipping);
        for (volatile int i = 0; i < 500; i++);
    }
    return nothing;
}

// A descriptor number stands for an allowed program and a denied file by turns while it is mapped.
static int mapping(long tries)
{
    long counts[3] = { 0 };
    struct statvfs fs;
    pthread_t thread;
    fixed[0] = open("/bin/true", O_RDONLY);
    fixed[1] = open("W/file", O_RDONLY);
    flipping = dup(fixed[0]);
    int made = open("W/made", O_CREAT | O_RDWR, 0755), changed = open("W/way/file", O_RDWR);
    int all[] = { fixed[0], fixed[1], made, changed };
    for (int i = 0; i < 4; i++)
        printf("noexec=%d ", !fstatvfs(all[i], &fs) && (fs.f_flag & ST_NOEXEC) != 0);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fixed[1]);
    printf("linked=%d\n", linkat(AT_FDCWD, link, AT_FDCWD, "W/second", AT_SYMLINK_FOLLOW));
    pthread_create(&thread, 0, flip_descriptor, 0);
    for (long i = 0; i < tries; i++) {
        char *page = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, flipping, 0);
        if (page == MAP_FAILED) { counts[1]++; continue; }
        counts[memcmp(page, "open", 4) ? 0 : 2]++;
        munmap(page, 4096);
    }
    over = 1;
    printf("allowed=%ld denied=%ld escaped=%ld\n", counts[0], counts[1], counts[2]);
    return 0;
}

// /dev/tty is the terminal of the agent's own session.
static int terminal(void)
{
    char text[64] = { 0 };
    TRY(open("/dev/tty", O_RDWR));
    int main_end = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(main_end); unlockpt(main_end);
    char *name = ptsname(main_end);
    pid_t child = fork();
    if (!child) {
        setsid();
        int line = open(name, O_RDWR | O_NOCTTY);
        if (line < 0 || ioctl(line, TIOCSCTTY, 0)) _exit(1);
        close(line);
        int tty = open("/dev/tty", O_RDWR);
        if (tty < 0 || !isatty(tty)) _exit(2);
        _exit(write(tty, "hello\n", 6) == 6 ? 0 : 3);
    }
    int code;
    waitpid(child, &code, 0);
    printf("child %d read %d %.5s\n", code >> 8, read(main_end, text, 63) > 0, text);
    return 0;
}

int main(int count, char **words)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    const char *what = count > 1 ? words[1] : "";
    if (!strcmp(what, "race")) return race(words[2], atol(words[3]), strcmp(words[4], "w") ? O_RDONLY : O_WRONLY | O_CREAT);
    if (!strcmp(what, "outsider")) return outsider(words[2]);
    if (!strcmp(what, "insider")) return insider();
    if (!strcmp(what, "names")) return names();
    if (!strcmp(what, "descriptors")) return descriptors();
    if (!strcmp(what, "privileges")) return privileges();
    if (!strcmp(what, "deep")) return deep();
    if (!strcmp(what, "hidden")) return hidden();
    if (!strcmp(what, "mapping")) return mapping(atol(words[2]));
    if (!strcmp(what, "terminal")) return terminal();
    return 2;
}
