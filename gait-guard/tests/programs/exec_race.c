/* exec_race DIR N: a second thread flips the path between DIR/W/x and DIR/S/x while N children execute
 * it. Prints how many of them were what. DIR/S/x exits with 7, DIR/W/x with 0. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[4096];
static volatile int stop;

static void *flip(void *at)
{
	volatile char *letter = at;

	while (!stop) {
		*letter = 'S';
		for (volatile int i = 0; i < 400; i++)
			;
		*letter = 'W';
		for (volatile int i = 0; i < 400; i++)
			;
	}
	return 0;
}

int main(int argc, char **argv)
{
	long tries = atol(argv[2]), allowed = 0, refused = 0, killed = 0, denied_ran = 0, other = 0;
	pthread_t thread;

	snprintf(path, sizeof path, "%s/W/x", argv[1]);
	pthread_create(&thread, 0, flip, path + strlen(argv[1]) + 1);
	for (long i = 0; i < tries; i++) {
		int status;
		pid_t child = vfork();

		if (!child) {
			char *args[] = { "x", 0 };

			execve(path, args, 0);
			_exit(errno == EACCES ? 13 : 99);
		}
		waitpid(child, &status, 0);
		if (WIFSIGNALED(status))
			killed++;
		else if (WEXITSTATUS(status) == 0)
			allowed++;
		else if (WEXITSTATUS(status) == 13)
			refused++;
		else if (WEXITSTATUS(status) == 7)
			denied_ran++;
		else
			other++;
	}
	stop = 1;
	printf("allowed=%ld refused=%ld killed=%ld denied_ran=%ld other=%ld\n", allowed, refused, killed, denied_ran, other);
	return 0;
}
