/*
 * Binding: how a listening socket comes to be, and how its Unix path goes.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"
#include "net/listen.h"
#include "net/sock.h"

enum { BACKLOG = 4096 };

static const char *unix_path(const struct addr *a)
{
	return ((const struct sockaddr_un *)(const void *)&a->ss)->sun_path;
}

static int failed(int fd, struct err *e, const struct addr *a)
{
	char text[ADDR_TEXT];
	int sys = errno;

	if (fd >= 0)
		close(fd);
	addr_format(a, text);
	return err_sys(e, sys, "listen at %s", text);
}

/* ---- binding ---- */

static int bind_tcp(int fd, const struct addr *a)
{
	int one = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0)
		return -1;
	if (a->ss.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) != 0)
		return -1;
	/* accepted sockets inherit it: one call here instead of one each */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	sock_keep_alive(fd);
	return bind(fd, (const struct sockaddr *)&a->ss, a->len);
}

/* Does anyone listen at the path? A full backlog (EAGAIN) is someone too. */
static bool path_is_dead(const struct addr *a)
{
	int fd = sock_open(AF_UNIX);
	bool dead;

	if (fd < 0)
		return false;
	dead = connect(fd, (const struct sockaddr *)&a->ss, a->len) != 0 && errno == ECONNREFUSED;
	close(fd);
	return dead;
}

/* Between the look whether a path is dead and listening at it nobody else of ours may do the same:
 * both would find it dead, and the second would take the first one's. -1: *e. A directory that may
 * not be opened is not locked: *lock is -1. */
static int lock_dir(const struct addr *a, int *lock, struct err *e)
{
	char dir[sizeof(a->ss)];
	char *slash;

	(void)str_fmt(dir, sizeof(dir), "%s", unix_path(a));
	slash = strrchr(dir, '/');
	*lock = -1;
	if (!slash)
		return 0;
	slash[slash == dir] = '\0';
	*lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*lock < 0 || flock(*lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return 0;
	close(*lock);
	return err_sys(e, EWOULDBLOCK, "listen at unix:%s: another process opens one there",
		       unix_path(a));
}

static int bind_unix(int fd, const struct addr *a, mode_t mode, struct err *e)
{
	const char *path = unix_path(a);
	struct stat st;

	if (bind(fd, (const struct sockaddr *)&a->ss, a->len) != 0) {
		if (errno != EADDRINUSE)
			return failed(-1, e, a);
		if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
			return err_set(e, ERR_CONFIG,
				       "listen at unix:%s: that is no socket; it is left alone",
				       path);
		if (!path_is_dead(a))
			return err_set(e, ERR_CONFIG,
				       "listen at unix:%s: another process listens there", path);
		if (unlink(path) != 0 || bind(fd, (const struct sockaddr *)&a->ss, a->len) != 0)
			return failed(-1, e, a);
	}
	/* before listen(), so that nobody can have connected by the wider mode */
	if (chmod(path, mode) != 0)
		return failed(-1, e, a);
	return 0;
}

static void remember_path(struct listen_bound *b)
{
	struct stat st;

	if (lstat(unix_path(&b->addr), &st) != 0)
		return;
	b->dev = st.st_dev;
	b->ino = st.st_ino;
}

static int open_unix(struct listen_bound *b, mode_t mode, struct err *e)
{
	const struct addr a = b->addr;
	int lock, result = lock_dir(&a, &lock, e);

	if (result != 0)
		return -1;
	result = bind_unix(b->fd, &a, mode, e);
	if (result == 0) {
		remember_path(b);
		if (listen(b->fd, BACKLOG) != 0)
			result = failed(-1, e, &a);
	}
	if (lock >= 0)
		close(lock);
	return result;
}

static int start_listening(struct listen_bound *b, struct err *e)
{
	b->addr.len = sizeof(b->addr.ss);
	if (listen(b->fd, BACKLOG) == 0 &&
	    getsockname(b->fd, (struct sockaddr *)&b->addr.ss, &b->addr.len) == 0)
		return 0;
	return failed(-1, e, &b->addr);
}

int listen_bind(struct listen_bound *b, const struct addr *a, mode_t mode, struct err *e)
{
	*b = (struct listen_bound){ .fd = sock_open(a->ss.ss_family), .addr = *a };
	if (b->fd < 0)
		return failed(-1, e, a);
	if (a->ss.ss_family != AF_UNIX) {
		if (bind_tcp(b->fd, a) != 0)
			return failed(b->fd, e, a);
		if (start_listening(b, e) == 0)
			return 0;
	} else if (open_unix(b, mode, e) == 0) {
		return 0;
	}
	listen_drop(b);
	return -1;
}

static int not_several(struct err *e)
{
	return err_set(e, ERR_UNSUPPORTED, "several sockets at one address");
}

/* The address is ours already, so "in use" can only come from a system that asks the first one
 * for the option before it is bound. */
static int shares_nothing(struct listen_bound *b, struct err *e)
{
	bool in_use = errno == EADDRINUSE;

	(void)failed(b->fd, e, &b->addr);
	b->fd = -1;
	return in_use ? not_several(e) : -1;
}

int listen_bind_more(const struct listen_bound *first, struct listen_bound *more, struct err *e)
{
	const struct addr *a = &first->addr;

	*more = (struct listen_bound){ .fd = -1, .addr = *a };
	if (a->ss.ss_family == AF_UNIX || first->given || sock_share_port(first->fd) != 0)
		return not_several(e);
	more->fd = sock_open(a->ss.ss_family);
	if (more->fd < 0)
		return failed(-1, e, a);
	if (sock_share_port(more->fd) != 0 || bind_tcp(more->fd, a) != 0)
		return shares_nothing(more, e);
	if (start_listening(more, e) == 0)
		return 0;
	listen_drop(more);
	return -1;
}

bool listen_path_is_gone(const struct listen_bound *b)
{
	struct stat st;

	return b->ino &&
	       (lstat(unix_path(&b->addr), &st) != 0 || st.st_dev != b->dev || st.st_ino != b->ino);
}

static void remove_path(const struct listen_bound *b)
{
	/* someone may have put another socket there meanwhile */
	if (b->ino && !listen_path_is_gone(b))
		(void)unlink(unix_path(&b->addr));
}

void listen_drop(struct listen_bound *b)
{
	if (b->fd < 0)
		return;
	if (b->addr.ss.ss_family == AF_UNIX)
		remove_path(b);
	close(b->fd);
	b->fd = -1;
}
