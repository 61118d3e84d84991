/* spawn N: posix_spawn, vfork and fork, from 16 threads at once, N each; then what a missing program gives. */
#define _GNU_SOURCE
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int each;

static void *work(void *unused)
{
	long bad = 0;
	char *args[] = { "true", 0 };

	(void)unused;
	for (int i = 0; i < each; i++) {
		int status = -1;
		pid_t child;

		if (i % 3 == 0) {
			if (posix_spawn(&child, "/bin/true", 0, 0, args, 0))
				bad++;
		} else {
			child = i % 3 == 1 ? vfork() : fork();
			if (!child) {
				execv("/bin/true", args);
				_exit(1);
			}
		}
		waitpid(child, &status, 0);
		bad += status != 0;
	}
	return (void *)bad;
}

int main(int argc, char **argv)
{
	pthread_t threads[16];
	long bad = 0;
	pid_t child;
	char *args[] = { "x", 0 };

	each = atoi(argv[1]);
	for (int i = 0; i < 16; i++)
		pthread_create(&threads[i], 0, work, 0);
	for (int i = 0; i < 16; i++) {
		void *result;

		pthread_join(threads[i], &result);
		bad += (long)result;
	}
	printf("bad=%ld missing=%d\n", bad, posix_spawn(&child, "/nonexistent", 0, 0, args, 0));
	return 0;
}
