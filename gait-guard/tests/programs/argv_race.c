/* argv_race N: a second thread flips the argument of N children between "good" and "evil". */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char argument[] = "good";
static volatile int stop;

static void *flip(void *unused)
{
	volatile char *at = argument;

	(void)unused;
	while (!stop) {
		at[0] = 'e', at[1] = 'v', at[2] = 'i', at[3] = 'l';
		for (volatile int i = 0; i < 300; i++)
			;
		at[0] = 'g', at[1] = 'o', at[2] = 'o', at[3] = 'd';
		for (volatile int i = 0; i < 300; i++)
			;
	}
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	long killed = 0, ran = 0;

	pthread_create(&thread, 0, flip, 0);
	for (long i = 0; i < atol(argv[1]); i++) {
		int status;
		pid_t child = vfork();

		if (!child) {
			char *args[] = { "true", argument, 0 };

			execve("/bin/true", args, 0);
			_exit(1);
		}
		waitpid(child, &status, 0);
		if (WIFSIGNALED(status))
			killed++;
		else
			ran++;
	}
	stop = 1;
	printf("ran=%ld killed=%ld\n", ran, killed);
	return 0;
}
