/* network: prints what calls on sockets give, line by line, the same in every run. Bare and guarded must agree. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHOW(...) \
	do { \
		errno = 0; \
		long shown = (__VA_ARGS__); \
		printf("%-70s %ld errno=%d\n", #__VA_ARGS__, shown, shown < 0 ? errno : 0); \
	} while (0)
#define ADDRESS(x) (void *)&x, sizeof x

static volatile int handled;
static const int one = 1;
static struct sockaddr nobody = { .sa_family = AF_UNSPEC };
static char buffer[70000];

static void handler(int signal)
{
	(void)signal;
	handled++;
}

static struct sockaddr_in internet(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

static int now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static struct sockaddr_in listener(int *fd, int backlog)
{
	struct sockaddr_in address = internet(0);
	socklen_t length = sizeof address;

	*fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, 4);
	SHOW(bind(*fd, ADDRESS(address)));
	SHOW(listen(*fd, backlog));
	getsockname(*fd, (void *)&address, &length);
	return address;
}

static void streams(void)
{
	int l, c, s, error;
	socklen_t length = 4;
	struct sockaddr_in a = listener(&l, 64), refused = internet(1), any = a;
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = a.sin_port };

	inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr);
	c = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(connect(c, ADDRESS(a)));
	SHOW(connect(c, ADDRESS(a)));
	s = accept(l, 0, 0);
	SHOW(write(c, "hi", 2));
	SHOW(read(s, buffer, 10));
	SHOW(send(c, "abc", 3, 0));
	SHOW(sendto(c, "abc", 3, 0, ADDRESS(a)));
	SHOW(sendto(c, "abc", 3, 0, (void *)1, 16));
	SHOW(fcntl(c, F_GETFL));
	close(c);
	SHOW(poll(&(struct pollfd){ s, POLLIN | POLLRDHUP, 0 }, 1, 1000));
	SHOW(recv(s, buffer, 4096, 0));
	SHOW(recv(s, buffer, 10, 0));
	SHOW(send(s, "x", 1, 0));
	usleep(1000);
	SHOW(send(s, "x", 1, 0));
	struct msghdr empty = { .msg_iov = &(struct iovec){ "x", 1 }, .msg_iovlen = 1 };
	handled = 0;
	signal(SIGPIPE, handler);
	SHOW(sendmsg(s, &empty, 0));
	printf("SIGPIPE %d\n", handled);
	SHOW(sendmsg(s, &empty, MSG_NOSIGNAL));
	printf("SIGPIPE %d\n", handled);
	signal(SIGPIPE, SIG_IGN);
	close(s);

	c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	SHOW(connect(c, ADDRESS(a)));
	SHOW(poll(&(struct pollfd){ c, POLLOUT, 0 }, 1, 1000));
	SHOW(getsockopt(c, SOL_SOCKET, SO_ERROR, &error, &length));
	printf("so_error %d\n", error);
	close(c);
	c = socket(AF_INET, SOCK_STREAM, 0);
	any.sin_addr.s_addr = 0;
	SHOW(connect(c, ADDRESS(any)));
	length = sizeof any;
	SHOW(getpeername(c, (void *)&any, &length));
	printf("peer %s\n", inet_ntoa(any.sin_addr));
	close(c);

	c = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(connect(c, ADDRESS(refused)));
	SHOW(connect(c, ADDRESS(a)));
	close(c);
	SHOW(connect(999, ADDRESS(a)));
	SHOW(connect(0, ADDRESS(a)));
	c = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(connect(c, (void *)&a, 4));
	SHOW(connect(c, (void *)&a, 0));
	SHOW(connect(c, (void *)1, 16));
	SHOW(connect(c, (void *)&a, -1));
	SHOW(connect(c, (void *)&a, 200));
	SHOW(connect(c, ADDRESS(nobody)));
	SHOW(connect(c, ADDRESS(mapped)));
	SHOW(bind(c, ADDRESS(mapped)));
	close(c);
	c = socket(AF_INET6, SOCK_STREAM, 0);
	SHOW(connect(c, (void *)&mapped, 20));
	SHOW(connect(c, ADDRESS(mapped)));
	close(c);
	c = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(sendto(c, "fast", 4, MSG_FASTOPEN, ADDRESS(a)));
	close(c);
	c = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(listen(c, 1));
	close(c);
	close(l);
}

/* A connect that hangs, because the backlog is full. */
static void waiting(void)
{
	int l, c, fill[6], start;
	struct sockaddr_in a = listener(&l, 0);
	struct sigaction action = { .sa_handler = handler };
	struct timeval limit = { 0, 400000 };

	for (int i = 0; i < 6; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fill[i], ADDRESS(a));
	}
	sigaction(SIGALRM, &action, 0);
	c = socket(AF_INET, SOCK_STREAM, 0);
	handled = 0;
	ualarm(300000, 0);
	start = now();
	SHOW(connect(c, ADDRESS(a)));
	start = now() - start;
	printf("interrupted in time: %d handled: %d\n", start > 250 && start < 1500, handled);
	close(c);

	pid_t child = fork();
	if (!child) {
		c = socket(AF_INET, SOCK_STREAM, 0);
		connect(c, ADDRESS(a));
		_exit(0);
	}
	usleep(100000);
	start = now();
	close(open("/etc/passwd", O_RDONLY));
	printf("others go on: %d\n", now() - start < 500);
	kill(child, SIGKILL);
	start = now();
	waitpid(child, 0, 0);
	printf("killed while it waits: %d\n", now() - start < 1000);

	c = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	start = now();
	SHOW(connect(c, ADDRESS(a)));
	start = now() - start;
	printf("SO_SNDTIMEO %d\n", start > 300 && start < 1500);
	close(c);
	for (int i = 0; i < 6; i++)
		close(fill[i]);
	close(l);
}

static void datagrams(void)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0), c = socket(AF_INET, SOCK_DGRAM, 0), six = socket(AF_INET6, SOCK_DGRAM, 0);
	struct sockaddr_in a = internet(0), unspecified;
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6 };
	socklen_t length = sizeof a;

	SHOW(bind(s, ADDRESS(a)));
	getsockname(s, (void *)&a, &length);
	unspecified = a;
	unspecified.sin_family = AF_UNSPEC;
	mapped.sin6_port = a.sin_port;
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr);
	SHOW(sendto(c, "hello", 5, 0, ADDRESS(a)));
	SHOW(recv(s, buffer, 4096, 0));
	SHOW(sendto(c, "unspec", 6, 0, ADDRESS(unspecified)));
	SHOW(recv(s, buffer, 4096, 0));
	SHOW(sendto(six, "mapped", 6, 0, ADDRESS(mapped)));
	SHOW(recv(s, buffer, 4096, 0));
	SHOW(sendto(six, "four", 4, 0, ADDRESS(a)));
	struct iovec parts[2] = { { "ab", 2 }, { "cde", 3 } };
	struct msghdr message = { .msg_name = &a, .msg_namelen = sizeof a, .msg_iov = parts, .msg_iovlen = 2 };
	SHOW(sendmsg(c, &message, 0));
	SHOW(recv(s, buffer, 4096, 0));
	struct mmsghdr many[3] = { { .msg_hdr = message }, { .msg_hdr = message }, { .msg_hdr = message } };
	many[1].msg_hdr.msg_iovlen = 1;
	SHOW(sendmmsg(c, many, 3, 0));
	printf("lengths %u %u %u\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);
	for (int i = 0; i < 3; i++)
		SHOW(recv(s, buffer, 10, 0));
	many[1].msg_hdr.msg_iov = (void *)1;
	SHOW(sendmmsg(c, many, 3, 0));
	SHOW(recv(s, buffer, 10, 0));
	SHOW(sendmmsg(c, (void *)1, 3, 0));
	message.msg_iovlen = 2000;
	SHOW(sendmsg(c, &message, 0));
	message.msg_iovlen = 2;
	message.msg_namelen = -1;
	SHOW(sendmsg(c, &message, 0));
	SHOW(sendmsg(c, (void *)1, 0));
	SHOW(connect(c, ADDRESS(a)));
	SHOW(send(c, "q", 1, 0));
	SHOW(recv(s, buffer, 10, 0));
	SHOW(connect(c, ADDRESS(nobody)));
	SHOW(send(c, "q", 1, 0));
	SHOW(sendto(c, buffer, 65507, 0, ADDRESS(a)));
	SHOW(recv(s, buffer, 70000, 0));
	SHOW(sendto(c, buffer, 65508, 0, ADDRESS(a)));
	SHOW(sendto(c, buffer, 0, 0, ADDRESS(a)));
	SHOW(recv(s, buffer, 10, 0));
	SHOW(sendto(c, (void *)1, 10, 0, ADDRESS(a)));
	SHOW(sendto(c, "x", 1, 0, (void *)&a, 8));
	SHOW(sendto(c, "x", 1, 0, (void *)&a, 200));
	close(s);
	close(c);
	close(six);
}

/* A datagram socket whose other end reads late: with waiting, messages are sent one after the other. */
static void many(int flags)
{
	struct iovec part = { buffer, 1000 };
	struct mmsghdr all[64] = { 0 };
	int ends[2], noted = 0;

	SHOW(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends));
	for (int i = 0; i < 64; i++)
		all[i].msg_hdr.msg_iov = &part, all[i].msg_hdr.msg_iovlen = 1;
	all[40].msg_hdr.msg_iovlen = 2000;
	pid_t reader = fork();
	if (reader == 0) {
		close(ends[0]);
		usleep(200000);
		while (!flags && recv(ends[1], buffer, 4096, 0) > 0)
			usleep(2000);
		_exit(0);
	}
	close(ends[1]);
	SHOW(sendmmsg(ends[0], all, 64, flags));
	for (int i = 0; i < 64; i++)
		noted += all[i].msg_len == 1000;
	printf("noted %d\n", noted);
	SHOW(sendmmsg(ends[0], all + 40, 24, flags));
	all[40].msg_hdr.msg_iovlen = 1;
	SHOW(sendmmsg(ends[0], all, 64, flags));
	kill(reader, SIGKILL);
	waitpid(reader, 0, 0);
	SHOW(sendmmsg(ends[0], all, 64, flags));
	close(ends[0]);
}

static void files(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "us" }, seen;
	socklen_t length = sizeof seen;
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c, s;

	unlink("us");
	umask(077);
	SHOW(bind(l, ADDRESS(at)));
	struct stat status;
	stat("us", &status);
	printf("mode %o\n", status.st_mode & 0777);
	SHOW(listen(l, 4));
	memset(&seen, 0, sizeof seen);
	getsockname(l, (void *)&seen, &length);
	printf("name %s length %d\n", seen.sun_path, length);
	SHOW(bind(socket(AF_UNIX, SOCK_STREAM, 0), ADDRESS(at)));
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	SHOW(connect(c, ADDRESS(at)));
	s = accept(l, 0, 0);
	struct ucred who;
	length = sizeof who;
	getsockopt(s, SOL_SOCKET, SO_PEERCRED, &who, &length);
	printf("peer has this uid: %d\n", who.uid == getuid());
	length = sizeof seen;
	memset(&seen, 0, sizeof seen);
	getpeername(c, (void *)&seen, &length);
	printf("peer %s\n", seen.sun_path);
	SHOW(sendto(c, "x", 1, 0, ADDRESS(at)));

	int fd = open("/etc/hostname", O_RDONLY);
	struct stat before, after;
	fstat(fd, &before);
	char control[CMSG_SPACE(4)] = { 0 };
	struct msghdr message = { .msg_iov = &(struct iovec){ "z", 1 }, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *piece = CMSG_FIRSTHDR(&message);
	piece->cmsg_level = SOL_SOCKET;
	piece->cmsg_type = SCM_RIGHTS;
	piece->cmsg_len = CMSG_LEN(4);
	memcpy(CMSG_DATA(piece), &fd, 4);
	SHOW(sendmsg(c, &message, 0));
	char received[256];
	struct msghdr in = { .msg_iov = &(struct iovec){ buffer, 10 }, .msg_iovlen = 1, .msg_control = received, .msg_controllen = sizeof received };
	SHOW(recvmsg(s, &in, 0));
	for (piece = CMSG_FIRSTHDR(&in); piece; piece = CMSG_NXTHDR(&in, piece)) {
		int got;

		if (piece->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(&got, CMSG_DATA(piece), 4);
		fstat(got, &after);
		printf("the same file: %d\n", before.st_ino == after.st_ino);
	}
	int bad = 999;
	piece = CMSG_FIRSTHDR(&message);
	memcpy(CMSG_DATA(piece), &bad, 4);
	SHOW(sendmsg(c, &message, 0));
	piece->cmsg_len = 4;
	SHOW(sendmsg(c, &message, 0));

	/* credentials: the own ones may be sent, others may not */
	char more[CMSG_SPACE(sizeof who)] = { 0 };
	message.msg_control = more;
	message.msg_controllen = sizeof more;
	piece = CMSG_FIRSTHDR(&message);
	piece->cmsg_level = SOL_SOCKET;
	piece->cmsg_type = SCM_CREDENTIALS;
	piece->cmsg_len = CMSG_LEN(sizeof who);
	who = (struct ucred){ getpid(), getuid(), getgid() };
	memcpy(CMSG_DATA(piece), &who, sizeof who);
	SHOW(sendmsg(c, &message, 0));

	/* more than fits, to a reader that is slow */
	pid_t child = fork();
	if (!child) {
		usleep(50000);
		for (long total = 0, k; total < 2000000; total += k)
			if ((k = read(s, buffer, sizeof buffer)) <= 0)
				_exit(1);
		_exit(0);
	}
	char *big = calloc(1, 2000000);
	struct msghdr large = { .msg_iov = &(struct iovec){ big, 2000000 }, .msg_iovlen = 1 };
	SHOW(sendmsg(c, &large, 0));
	int exited;
	waitpid(child, &exited, 0);
	fcntl(c, F_SETFL, O_NONBLOCK);
	printf("partly: %d\n", sendmsg(c, &large, 0) < 2000000);
	SHOW(sendmsg(c, &large, 0));
	close(l);
	close(c);
	close(s);
	SHOW(connect(socket(AF_UNIX, SOCK_STREAM, 0), ADDRESS(at)));
	unlink("us");
	SHOW(connect(socket(AF_UNIX, SOCK_STREAM, 0), ADDRESS(at)));
	strcpy(at.sun_path, "/etc/passwd");
	SHOW(connect(socket(AF_UNIX, SOCK_STREAM, 0), ADDRESS(at)));
	strcpy(at.sun_path, "nowhere/x");
	SHOW(bind(socket(AF_UNIX, SOCK_STREAM, 0), ADDRESS(at)));

	char name[200];
	struct sockaddr_un absolute = { .sun_family = AF_UNIX };
	int d = socket(AF_UNIX, SOCK_DGRAM, 0);
	getcwd(name, sizeof name);
	snprintf(absolute.sun_path, sizeof absolute.sun_path, "%s/as", name);
	SHOW(bind(d, ADDRESS(absolute)));
	c = socket(AF_UNIX, SOCK_DGRAM, 0);
	SHOW(sendto(c, "k", 1, 0, ADDRESS(absolute)));
	SHOW(recv(d, buffer, 10, 0));
	close(d);
	SHOW(sendto(c, "k", 1, 0, ADDRESS(absolute)));
	unlink(absolute.sun_path);
	close(c);
}

static void names(void)
{
	struct sockaddr_un abstract = { .sun_family = AF_UNIX }, seen;
	sa_family_t family = AF_UNIX;
	socklen_t length;
	char name[32];
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), d = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(name, sizeof name, "gait-%d", getpid());
	memcpy(abstract.sun_path + 1, name, strlen(name));
	length = 3 + strlen(name);
	SHOW(bind(l, (void *)&abstract, length));
	SHOW(listen(l, 1));
	SHOW(connect(c, (void *)&abstract, length));
	SHOW(connect(c, (void *)&abstract, length - 1));
	SHOW(bind(d, (void *)&family, 2));
	length = sizeof seen;
	getsockname(d, (void *)&seen, &length);
	printf("a name of its own: length %d\n", length);
	int pair[2];
	SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	SHOW(send(pair[0], "p", 1, 0));
	SHOW(recv(pair[1], buffer, 10, 0));
}

int main(void)
{
	struct ifaddrs *interfaces;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *found;

	setvbuf(stdout, 0, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	streams();
	waiting();
	datagrams();
	many(0);
	many(MSG_DONTWAIT);
	files();
	names();
	SHOW(getifaddrs(&interfaces));
	SHOW(getaddrinfo("127.0.0.1", "80", &hints, &found));
	return 0;
}
