/* The least that a client of a daemon can do: connect, write 32 bytes, read the reply, exit. Without an argument
   it does nothing at all, which is the price of a process. */
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char bytes[32] = "thirty-two bytes to be echoed...";
	int fd;

	if (argc < 2)
		return 0;
	if (strlen(argv[1]) >= sizeof at.sun_path)
		return 2;
	strcpy(at.sun_path, argv[1]);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) != 0)
		return 3;
	if (write(fd, bytes, sizeof bytes) != sizeof bytes)
		return 4;
	return read(fd, bytes, sizeof bytes) == sizeof bytes ? 0 : 5;
}
