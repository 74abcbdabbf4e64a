#include "cmd/agent/transport.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "cmd/agent/boot.h"
#include "cmd/bridge/cmd_bridge.h"
#include "net/sock.h"

enum { LIMIT_MS = 10000, PAUSE_MS = 20, HOST_CID = 2 };

/* ---- virtio-serial ---- */

static bool has_name(const char *port, const char *name)
{
	char path[128], text[128];
	size_t n;

	if (!str_fmt(path, sizeof(path), "/sys/class/virtio-ports/%s/name", port) ||
	    boot_read(path, text, sizeof(text), &n, NULL) != 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, name) == 0;
}

static int open_port(const char *port)
{
	char path[128];

	if (!str_fmt(path, sizeof(path), "/dev/%s", port))
		return -1;
	return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

static int find_virtio(const struct agent_conf *c)
{
	DIR *all = opendir("/sys/class/virtio-ports");
	const struct dirent *d;
	int fd = -1, sys = ENODEV;

	while (all && fd < 0 && (d = readdir(all)) != NULL) {
		if (d->d_name[0] == '.' || !has_name(d->d_name, c->port_name))
			continue;
		fd = open_port(d->d_name);
		sys = errno;
	}
	if (all)
		closedir(all);
	errno = sys;
	return fd;
}

/* ---- vsock ---- */

struct vsock_address { /* struct sockaddr_vm, which not every libc has: vsock(7) */
	sa_family_t family;
	uint16_t reserved;
	uint32_t port, cid;
	uint8_t zero[4];
};

/* The answer is waited for: the pause between tries is the caller's. */
static int dial_vsock(const struct agent_conf *c)
{
	struct vsock_address to = { .family = AF_VSOCK, .port = c->port, .cid = HOST_CID };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0), sys;

	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)(const void *)&to, sizeof(to)) == 0 &&
	    sock_nonblock(fd) == 0)
		return fd;
	sys = errno;
	close(fd);
	errno = sys;
	return -1;
}

/* ---- both ---- */

static int keep_trying(const struct agent_conf *c, int (*try_once)(const struct agent_conf *))
{
	uint64_t end = clock_mono_ms(&clock_system) + LIMIT_MS;
	int fd;

	while ((fd = try_once(c)) < 0 && clock_mono_ms(&clock_system) < end)
		(void)poll(NULL, 0, PAUSE_MS);
	return fd;
}

static int take_stdin(struct err *e)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0)
		return err_sys(e, errno, "standard input");
	if (!S_ISSOCK(st.st_mode) || sock_nonblock(fd) != 0) {
		close(fd);
		return err_set(e, ERR_USAGE, "transport=stdin: standard input is no socket");
	}
	close(STDIN_FILENO);
	standard_descriptors_fill();
	return fd;
}

int transport_open(const struct agent_conf *c, struct err *e)
{
	int fd;

	if (c->transport == AGENT_CONF_STDIN)
		return take_stdin(e);
	fd = keep_trying(c, c->transport == AGENT_CONF_VSOCK ? dial_vsock : find_virtio);
	if (fd >= 0)
		return fd;
	if (c->transport == AGENT_CONF_VSOCK)
		return err_sys(e, errno, "vsock port %u of the host", c->port);
	return err_sys(e, errno, "virtio-serial port %s", c->port_name);
}
