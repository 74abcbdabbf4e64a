/* The demo's "private web server": blocking, one page, a process of its own. */
#include "cmd/awsocks/demo_page.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/str.h"

static const char body[] =
	"Hello from inside the VPC: this name exists nowhere but on the instance.\n";

int demo_page_listen(unsigned *port, struct err *e)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 16) == 0 &&
	    getsockname(fd, (struct sockaddr *)&at, &len) == 0) {
		*port = ntohs(at.sin_port);
		return fd;
	}
	(void)err_sys(e, errno, "a loopback socket");
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Reads until the end of the request's head, or 2 s of silence. */
static void answer(int client)
{
	struct timeval limit = { .tv_sec = 2 };
	char head[4096];
	size_t n = 0;

	(void)setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	while (n < sizeof(head) - 1) {
		ssize_t got = recv(client, head + n, sizeof(head) - 1 - n, 0);

		if (got <= 0)
			return;
		n += (size_t)got;
		head[n] = '\0';
		if (strstr(head, "\r\n\r\n"))
			break;
	}
	(void)str_fmt(head, sizeof(head),
		      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
		      "Connection: close\r\n\r\n%s",
		      strlen(body), body);
	(void)!send(client, head, strlen(head), MSG_NOSIGNAL);
	(void)shutdown(client, SHUT_WR);
	(void)!recv(client, head, sizeof(head), 0);
}

_Noreturn void demo_page_serve(int fd)
{
	(void)signal(SIGTERM, SIG_DFL);
	for (;;) {
		int client = accept(fd, NULL, NULL);

		if (client < 0 && errno != EINTR && errno != ECONNABORTED)
			exit(1);
		if (client < 0)
			continue;
		answer(client);
		close(client);
	}
}
