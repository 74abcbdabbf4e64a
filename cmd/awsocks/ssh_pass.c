/*
 * `awsocks ssh-pass SOCKET`: what OpenSSH runs as ProxyCommand with ProxyUseFdpass. Connects to the
 * socket of the awsocks that started ssh, hands the connection over to ssh by its standard
 * output (one byte with SCM_RIGHTS, ssh_config(5)), and ends.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "cmd/awsocks/cmd.h"

static int connect_to(const char *path, struct err *e)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd;

	if (!str_fmt(at.sun_path, sizeof(at.sun_path), "%s", path))
		return err_set(e, ERR_USAGE, "ssh-pass: path too long");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0)
		return err_sys(e, errno, "ssh-pass: socket");
	if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	(void)err_sys(e, errno, "ssh-pass: %s", path);
	close(fd);
	return -1;
}

static int hand_over(int fd, struct err *e)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	char byte = 0;
	struct iovec data = { &byte, 1 };
	struct msghdr m = { .msg_iov = &data,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control.bytes) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	do
		n = sendmsg(STDOUT_FILENO, &m, 0);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : err_sys(e, errno, "ssh-pass: standard output");
}

int cmd_ssh_pass(int argc, char **argv)
{
	struct err e;
	int fd;

	if (argc != 2) {
		(void)err_set(&e, ERR_USAGE, "ssh-pass SOCKET: ssh runs this, not you");
		return command_fail(&e);
	}
	fd = connect_to(argv[1], &e);
	if (fd < 0 || hand_over(fd, &e) != 0)
		return command_fail(&e);
	close(fd);
	return 0;
}
