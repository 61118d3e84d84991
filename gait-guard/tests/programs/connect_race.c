/* connect_race ALLOWED DENIED N: a second thread flips the port of the address while datagram sockets connect to it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address;
static unsigned short allowed, denied;
static volatile int stop;

static void *flip(void *unused)
{
	volatile unsigned short *port = &address.sin_port;

	(void)unused;
	while (!stop) {
		*port = denied;
		for (volatile int i = 0; i < 200; i++)
			;
		*port = allowed;
		for (volatile int i = 0; i < 200; i++)
			;
	}
	return 0;
}

int main(int argc, char **argv)
{
	long ok = 0, refused = 0, escaped = 0;
	pthread_t thread;

	allowed = htons(atoi(argv[1]));
	denied = htons(atoi(argv[2]));
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = allowed;
	pthread_create(&thread, 0, flip, 0);
	for (long i = 0; i < atol(argv[3]); i++) {
		struct sockaddr_in peer;
		socklen_t length = sizeof peer;
		int fd = socket(AF_INET, SOCK_DGRAM, 0);

		if (connect(fd, (void *)&address, sizeof address))
			refused++;
		else if (!getpeername(fd, (void *)&peer, &length) && peer.sin_port == denied)
			escaped++;
		else
			ok++;
		close(fd);
	}
	stop = 1;
	printf("ok=%ld refused=%ld escaped=%ld\n", ok, refused, escaped);
	return 0;
}
