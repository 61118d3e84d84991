/* foreign ia32|x32|unknown: calls through doors that a filter may forget. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long result = 0;

	if (!strcmp(argv[1], "ia32")) {
		int value;

		__asm__ volatile("int $0x80" : "=a"(value) : "a"(20));
		result = value;
	} else if (!strcmp(argv[1], "x32")) {
		result = syscall(0x40000000 | 39);
	} else {
		result = syscall(470);
	}
	printf("result=%ld errno=%d\n", result, errno);
	return 0;
}
