/*
 * Listening sockets. The watch is a level one, and few connections are taken
 * per turn: one while they come singly (a second accept would only say
 * EAGAIN), more while every turn finds as many as it takes.
 *
 * Out of descriptors, the pending connection stays pending and the socket
 * readable: without a pause that would be a busy loop.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/sock.h"
#include "net/tcp.h"

enum { BACKLOG = 4096, PAUSE_MS = 100, BURST_MAX = 64, STREAK = 4 };

struct listen_socket {
	struct loop *loop;
	struct loop_watch watch;
	struct loop_timer pause;
	accepted_fn *accepted;
	void *arg;
	struct addr addr;
	dev_t dev; /* of the Unix path that we made */
	ino_t ino;
	unsigned burst, streak; /* to take per turn; turns in a row that took as many */
	bool complained;        /* one log line per shortage */
	bool busy, dead;
};

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

static int bound_socket(const struct addr *a, mode_t mode, struct err *e)
{
	int fd = sock_open(a->ss.ss_family);

	if (fd < 0)
		return failed(-1, e, a);
	if (a->ss.ss_family == AF_UNIX) {
		if (bind_unix(fd, a, mode, e) == 0)
			return fd;
		close(fd);
		return -1;
	}
	return bind_tcp(fd, a) == 0 ? fd : failed(fd, e, a);
}

/* ---- accepting ---- */

static void go_on(void *arg)
{
	struct listen_socket *ls = arg;

	watch_set(ls->loop, &ls->watch, WATCH_READ);
}

static void pause_accepting(struct listen_socket *ls, int sys)
{
	char text[ADDR_TEXT];
	struct err e;

	addr_format(&ls->addr, text);
	(void)err_sys(&e, sys, "accept at %s", text);
	if (!ls->complained)
		log_warn("net", "%s; new connections wait until some are closed", e.msg);
	ls->complained = true;
	watch_set(ls->loop, &ls->watch, 0);
	timer_arm(ls->loop, &ls->pause, PAUSE_MS, go_on, ls);
}

static bool is_shortage(int sys)
{
	return sys == EMFILE || sys == ENFILE || sys == ENOBUFS || sys == ENOMEM;
}

/* False: nothing (more) to take now. Other errors belong to one connection. */
static bool take_one(struct listen_socket *ls)
{
	struct addr peer;
	int fd = sock_accept(ls->watch.fd, &peer);

	if (fd < 0) {
		if (is_shortage(errno))
			pause_accepting(ls, errno);
		return !is_shortage(errno) && errno != EAGAIN;
	}
	ls->complained = false;
	ls->accepted(ls->arg, fd, &peer);
	return !ls->dead;
}

static void adapt(struct listen_socket *ls, unsigned taken)
{
	if (taken < ls->burst) {
		ls->burst = taken ? taken : 1;
		ls->streak = 0;
	} else if (++ls->streak >= STREAK && ls->burst < BURST_MAX) {
		ls->burst *= 2;
		ls->streak = 0;
	}
}

static void ready(void *arg, unsigned bits)
{
	struct listen_socket *ls = arg;
	unsigned taken = 0;

	(void)bits;
	ls->busy = true;
	while (taken < ls->burst && take_one(ls))
		taken++;
	ls->busy = false;
	if (ls->dead)
		mem_free(ls);
	else
		adapt(ls, taken);
}

/* ---- public ---- */

static void remember_path(struct listen_socket *ls)
{
	struct stat st;

	if (ls->addr.ss.ss_family != AF_UNIX || lstat(unix_path(&ls->addr), &st) != 0)
		return;
	ls->dev = st.st_dev;
	ls->ino = st.st_ino;
}

struct listen_socket *listen_open(struct loop *l, const struct addr *a, accepted_fn *accepted,
				  void *arg, struct err *e)
{
	return listen_open_mode(l, a, 0600, accepted, arg, e);
}

struct listen_socket *listen_open_mode(struct loop *l, const struct addr *a, mode_t mode,
				       accepted_fn *accepted, void *arg, struct err *e)
{
	struct listen_socket *ls = mem_alloc(sizeof(*ls));
	int fd;

	if (!ls) {
		(void)err_set(e, ERR_NOMEM, "listener");
		return NULL;
	}
	*ls = (struct listen_socket){ .loop = l, .accepted = accepted, .arg = arg, .burst = 1 };
	fd = bound_socket(a, mode, e);
	if (fd < 0) {
		mem_free(ls);
		return NULL;
	}
	ls->addr = *a;
	remember_path(ls);
	if (listen(fd, BACKLOG) != 0 ||
	    (a->ss.ss_family != AF_UNIX && getsockname(fd, (struct sockaddr *)&ls->addr.ss,
						       &(socklen_t){ sizeof(ls->addr.ss) }) != 0))
		(void)failed(-1, e, a);
	else if (watch_add(l, &ls->watch, fd, WATCH_READ, ready, ls, e) == 0)
		return ls;
	ls->watch.fd = fd;
	listen_close(ls);
	return NULL;
}

static void remove_path(const struct listen_socket *ls)
{
	const char *path = unix_path(&ls->addr);
	struct stat st;

	/* someone may have put another socket there meanwhile */
	if (ls->ino && lstat(path, &st) == 0 && st.st_dev == ls->dev && st.st_ino == ls->ino)
		(void)unlink(path);
}

void listen_close(struct listen_socket *ls)
{
	if (!ls)
		return;
	if (ls->addr.ss.ss_family == AF_UNIX)
		remove_path(ls);
	timer_disarm(ls->loop, &ls->pause);
	watch_close(ls->loop, &ls->watch);
	if (ls->busy)
		ls->dead = true;
	else
		mem_free(ls);
}

const struct addr *listen_addr(const struct listen_socket *ls)
{
	return &ls->addr;
}
