#include "net/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "net/sock.h"

enum { FIRST_FD = 3 };

/* ---- what systemd passed ---- */

/* Passed by a parent to its child, and by that to its own: only the one that is named counts. */
static bool is_for_us(void)
{
	const char *pid = getenv("LISTEN_PID");
	uint64_t n;

	return pid && str_number(pid, 1, INT32_MAX, &n, NULL) == 0 && (pid_t)n == getpid();
}

/* The i-th of "a:b:c"; "unknown" where there is none, as systemd says itself. */
static void name_of(const char *names, size_t i, char out[static ACTIVATION_NAME])
{
	for (; names && i; i--) {
		names = strchr(names, ':');
		names = names ? names + 1 : NULL;
	}
	if (!names || *names == '\0' || *names == ':' ||
	    !str_fmt(out, ACTIVATION_NAME, "%.*s", (int)strcspn(names, ":"), names))
		(void)str_fmt(out, ACTIVATION_NAME, "unknown");
}

static int take(struct activation *a, const char *fds, const char *names, struct err *e)
{
	uint64_t n;

	if (str_number(fds, 0, ACTIVATION_MAX, &n, NULL) != 0)
		return err_set(e, ERR_CONFIG, "LISTEN_FDS=%.20s: a number up to %d expected", fds,
			       ACTIVATION_MAX);
	for (size_t i = 0; i < n; i++) {
		int fd = FIRST_FD + (int)i;

		if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
			return err_sys(e, errno, "LISTEN_FDS=%.20s: descriptor %d", fds, fd);
		a->item[i].fd = fd;
		name_of(names, i, a->item[i].name);
		a->count++;
	}
	return 0;
}

int activation_take(struct activation *a, struct err *e)
{
	const char *fds = getenv("LISTEN_FDS");
	int result = 0;

	*a = (struct activation){ .count = 0 };
	if (fds && is_for_us())
		result = take(a, fds, getenv("LISTEN_FDNAMES"), e);
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	return result;
}

const char *activation_unused(const struct activation *a)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->item[i].fd >= 0)
			return a->item[i].name;
	return NULL;
}

/* ---- one of them ---- */

bool activation_is(const char *address)
{
	return str_starts(address, "systemd:") || str_starts(address, "fd:") ||
	       str_starts(address, "launchd:");
}

static int no_such(const struct activation *a, const char *address, struct err *e)
{
	char all[200] = "";
	size_t n = 0;

	for (size_t i = 0; i < a->count && n < sizeof(all); i++) {
		(void)str_fmt(all + n, sizeof(all) - n, "%s%s", n ? ", " : "", a->item[i].name);
		n = strlen(all);
	}
	return err_set(e, ERR_CONFIG, "listen at %s: no such socket was passed: %s%s", address,
		       a->count ? "there is " : "there is none (is LISTEN_PID this process?)", all);
}

/* -1: *e. */
static int find(struct activation *a, const char *address, const char *name, struct err *e)
{
	bool number = *name && name[strspn(name, "0123456789")] == '\0';
	char text[21];
	int found = -1;

	for (size_t i = 0; i < a->count; i++) {
		(void)str_decimal((uint64_t)(FIRST_FD + i), text);
		if (strcmp(number ? text : a->item[i].name, name) != 0)
			continue;
		if (found >= 0)
			return err_set(e, ERR_CONFIG,
				       "listen at %s: several sockets of that name: give each its "
				       "own FileDescriptorName=, or name them by number (fd:3)",
				       address);
		found = (int)i;
	}
	if (found < 0)
		return no_such(a, address, e);
	if (a->item[found].fd < 0)
		return err_set(e, ERR_CONFIG, "listen at %s: another listener has it", address);
	return found;
}

static int number_option(int fd, int option)
{
	int value = 0;
	socklen_t n = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &n) == 0 ? value : -1;
}

/* What listen_bind() does with its own. */
static int prepare(int fd, const char *address, struct listen_bound *out, struct err *e)
{
	int one = 1;

	*out = (struct listen_bound){ .fd = fd, .addr.len = sizeof(out->addr.ss), .given = true };
	if (number_option(fd, SO_TYPE) != SOCK_STREAM || number_option(fd, SO_ACCEPTCONN) != 1 ||
	    getsockname(fd, (struct sockaddr *)&out->addr.ss, &out->addr.len) != 0)
		return err_set(e, ERR_CONFIG,
			       "listen at %s: what was passed is no listening stream socket "
			       "(ListenStream=, Accept=no)",
			       address);
	if (sock_nonblock(fd) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return err_sys(e, errno, "listen at %s", address);
	if (out->addr.ss.ss_family == AF_UNIX)
		return 0;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	sock_keep_alive(fd);
	return 0;
}

int activation_listen(struct activation *a, const char *address, struct listen_bound *out,
		      struct err *e)
{
	const char *name = strchr(address, ':') + 1;
	int fd, at = -1;

	*out = (struct listen_bound){ .fd = -1 };
	if (str_starts(address, "launchd:")) {
		fd = activation_launchd(name, e);
	} else {
		at = find(a, address, name, e);
		fd = at >= 0 ? a->item[at].fd : -1;
	}
	if (fd < 0)
		return -1;
	if (prepare(fd, address, out, e) != 0) {
		*out = (struct listen_bound){ .fd = -1 };
		return -1;
	}
	if (at >= 0)
		a->item[at].fd = -1;
	return 0;
}
