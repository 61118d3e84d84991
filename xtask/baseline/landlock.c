// landlock PROGRAM [ARG...]: runs it in a Landlock domain that handles what the engine `lsm` has it handle, and grants it below
// `/`. What its calls cost is what any guard pays that has Landlock in force beside what else it does.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// LANDLOCK_ACCESS_FS_REFER, which headers before 5.19 don't have.
#define REFER (1ULL << 13)
#define ALL (LANDLOCK_ACCESS_FS_EXECUTE | REFER)

int main(int argc, char **argv) {
    struct landlock_ruleset_attr handled = {.handled_access_fs = ALL};
    struct landlock_path_beneath_attr everything = {.allowed_access = ALL, .parent_fd = open("/", O_PATH | O_CLOEXEC)};
    if (argc < 2) return 2;
    int ruleset = syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    if (ruleset < 0 || syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &everything, 0) ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_landlock_restrict_self, ruleset, 0))
        return perror("landlock"), 1;
    execv(argv[1], argv + 1);
    return perror(argv[1]), 1;
}
