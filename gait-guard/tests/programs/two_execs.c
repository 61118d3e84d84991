/* two_execs N: N processes in which two threads execute at once while three others open files. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *hammer(void *unused)
{
	for (;;)
		close(open("/etc/passwd", O_RDONLY));
	return unused;
}

static void *execute(void *unused)
{
	char *args[] = { "true", 0 };

	usleep(200);
	execv("/bin/true", args);
	return unused;
}

int main(int argc, char **argv)
{
	int ok = 0, bad = 0;

	for (int i = 0; i < atoi(argv[1]); i++) {
		int status;
		pid_t child = fork();

		if (!child) {
			pthread_t thread;

			for (int j = 0; j < 3; j++)
				pthread_create(&thread, 0, hammer, 0);
			pthread_create(&thread, 0, execute, 0);
			pthread_create(&thread, 0, execute, 0);
			pause();
			_exit(9);
		}
		waitpid(child, &status, 0);
		if (status == 0)
			ok++;
		else
			bad++;
	}
	printf("ok=%d bad=%d\n", ok, bad);
	return 0;
}
