#include "cmd/awsocks/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

/* A path, or a name in Linux' abstract namespace, which stands as '@' for its NUL. */
static int dial(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	size_t n = strlen(name);
	int fd;

	if ((*name != '/' && *name != '@') || n >= sizeof(at.sun_path))
		return -1;
	memcpy(at.sun_path, name, n);
	if (*name == '@')
		at.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	if (fd < 0)
		return -1;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
	    connect(fd, (const struct sockaddr *)&at,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) == 0)
		return fd;
	close(fd);
	return -1;
}

void notify_open(struct notify *n)
{
	const char *name = getenv("NOTIFY_SOCKET");

	n->fd = name && *name ? dial(name) : -1;
	if (name && *name && n->fd < 0)
		log_warn("start", "NOTIFY_SOCKET=%.100s cannot be told anything: %s", name,
			 strerror(errno));
	(void)unsetenv("NOTIFY_SOCKET");
}

/* It is for whoever waits: nothing here hangs on it. */
static void say(const struct notify *n, const char *text)
{
	if (n->fd >= 0 && send(n->fd, text, strlen(text), 0) < 0)
		log_debug("start", "the service manager was not told: %s", strerror(errno));
}

void notify_ready(const struct notify *n)
{
	say(n, "READY=1\nSTATUS=serving");
}

void notify_reloading(const struct notify *n, const struct clock *clock)
{
	char text[80];

	(void)str_fmt(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
		      clock_mono_ms(clock) * 1000);
	say(n, text);
}

void notify_stopping(const struct notify *n)
{
	say(n, "STOPPING=1\nSTATUS=waiting for connections to end");
}

void notify_close(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}
