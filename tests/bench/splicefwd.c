/*
 * splicefwd.c - a yardstick, not a product: about the least CPU a user-space
 * SOCKS5 relay can use on Linux.  One thread, one epoll, no names, no rules, no
 * timeouts, no authentication, IPv4 CONNECT only, loopback targets only.
 *
 * Build:  cc -O2 -Wall -Wextra -o splicefwd splicefwd.c
 *
 *   splicefwd [-m copy|splice|auto] [-b KIB] [-s PIPE_KIB] [-r READS] ADDR:PORT | /path
 *
 *   copy    recv into one shared buffer of KIB, send at once; bytes the other
 *           side does not take are kept in a buffer allocated only then
 *   splice  socket -> pipe -> socket; pipes come from a pool and are held only
 *           while they contain data
 *   auto    copy until a read fills the buffer twice running, then splice; back
 *           to copy after a short read
 *
 * One tunnel gets at most READS reads (32) in each direction before the others
 * have their turn: fewer is kinder to short requests beside bulk transfers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum mode { COPY, SPLICE, AUTO };
static enum mode mode = AUTO;
static size_t bufsz = 64 * 1024, pipesz = 1024 * 1024;
static unsigned char *buf;
static int ep, reads = 32;

struct side {
	struct tun *t;
	int fd;
	bool eof_in, shut_out, readable, writable, hup;
};

struct flow { /* bytes on their way from one side to the other */
	int pipe[2];
	size_t inpipe;
	unsigned char *kept; /* copy mode: what the other side would not take */
	size_t kept_off, kept_len;
	int full; /* full reads running (auto mode) */
};

struct tun {
	struct side s[2]; /* 0 the client, 1 the target */
	struct flow f[2]; /* f[i] carries what was read from s[i] */
	unsigned char hs[300];
	int have;
	enum { GREET, REQUEST, CONNECTING, RELAY } st;
	struct tun *next_dead;
};

static struct tun *dead;

/* Pool of empty pipes. */
static struct {
	int p[2];
} pool[256];
static int npool;

static bool pipe_get(struct flow *f)
{
	if (f->pipe[0] >= 0)
		return true;
	if (npool) {
		npool--;
		f->pipe[0] = pool[npool].p[0];
		f->pipe[1] = pool[npool].p[1];
		return true;
	}
	if (pipe2(f->pipe, O_NONBLOCK | O_CLOEXEC)) {
		f->pipe[0] = f->pipe[1] = -1;
		return false;
	}
	fcntl(f->pipe[1], F_SETPIPE_SZ, (int)pipesz);
	return true;
}

static void pipe_put(struct flow *f)
{
	if (f->pipe[0] < 0)
		return;
	if (!f->inpipe && npool < 256) {
		pool[npool].p[0] = f->pipe[0];
		pool[npool].p[1] = f->pipe[1];
		npool++;
	} else {
		close(f->pipe[0]);
		close(f->pipe[1]);
	}
	f->pipe[0] = f->pipe[1] = -1;
	f->inpipe = 0;
}

static void tun_close(struct tun *t)
{
	if (t->s[0].fd < 0)
		return;
	for (int i = 0; i < 2; i++) {
		pipe_put(&t->f[i]);
		free(t->f[i].kept);
		if (t->s[i].fd >= 0)
			close(t->s[i].fd);
		t->s[i].fd = -1;
	}
	t->next_dead = dead; /* freed after this batch of events */
	dead = t;
}

/* Moves bytes from side i to the other until one of them blocks.
 * Returns false if the tunnel must be closed at once. */
static bool pump(struct tun *t, int i)
{
	struct side *in = &t->s[i], *out = &t->s[!i];
	struct flow *f = &t->f[i];
	for (int round = 0; round < reads; round++) {
		if (f->kept_len) {
			if (!out->writable)
				return true;
			ssize_t n = send(out->fd, f->kept + f->kept_off, f->kept_len, MSG_NOSIGNAL);
			if (n < 0) {
				if (errno != EAGAIN)
					return false;
				out->writable = false;
				return true;
			}
			f->kept_off += (size_t)n;
			f->kept_len -= (size_t)n;
			if (f->kept_len) {
				out->writable = false;
				return true;
			}
			free(f->kept);
			f->kept = NULL;
		}
		if (f->inpipe) {
			if (!out->writable)
				return true;
			ssize_t n = splice(f->pipe[0], NULL, out->fd, NULL, f->inpipe,
					   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
			if (n < 0) {
				if (errno != EAGAIN)
					return false;
				out->writable = false;
				return true;
			}
			f->inpipe -= (size_t)n;
			if (f->inpipe) {
				out->writable = false;
				return true;
			}
			pipe_put(f);
		}
		if (in->eof_in) {
			if (!out->shut_out) {
				shutdown(out->fd, SHUT_WR);
				out->shut_out = true;
			}
			return !(t->s[0].eof_in && t->s[1].eof_in);
		}
		if (!in->readable)
			return true;
		if (mode == COPY || (mode == AUTO && f->full < 2)) {
			ssize_t n = recv(in->fd, buf, bufsz, 0);
			if (n < 0) {
				if (errno != EAGAIN)
					return false;
				in->readable = false;
				return true;
			}
			if (n == 0) {
				in->eof_in = true;
				continue;
			}
			f->full = (size_t)n == bufsz ? f->full + 1 : 0;
			/* A short read emptied the socket; more data makes a new edge.  The
			 * end of file does not if its edge was already reported. */
			if ((size_t)n < bufsz)
				in->readable = in->hup;
			ssize_t m = out->writable ? send(out->fd, buf, (size_t)n, MSG_NOSIGNAL) : 0;
			if (m < 0) {
				if (errno != EAGAIN)
					return false;
				m = 0;
			}
			if (m < n) {
				out->writable = false;
				f->kept_len = (size_t)(n - m);
				f->kept_off = 0;
				if (!(f->kept = malloc(f->kept_len)))
					return false;
				memcpy(f->kept, buf + m, f->kept_len);
				return true;
			}
		} else {
			if (!pipe_get(f))
				return false;
			ssize_t n = splice(in->fd, NULL, f->pipe[1], NULL, pipesz,
					   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
			if (n <= 0) {
				pipe_put(f);
				if (n == 0) {
					in->eof_in = true;
					continue;
				}
				if (errno != EAGAIN)
					return false;
				in->readable = false;
				f->full = 0;
				return true;
			}
			f->inpipe = (size_t)n;
		}
	}
	/* Enough for one turn: ask epoll to come back (re-arming re-reports readiness). */
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				 .data.ptr = in };
	epoll_ctl(ep, EPOLL_CTL_MOD, in->fd, &e);
	return true;
}

static int relay(struct tun *t)
{
	return pump(t, 0) && pump(t, 1) ? 0 : -1;
}

static void reply(struct tun *t, unsigned char code)
{
	unsigned char r[10] = { 5, code, 0, 1 };
	send(t->s[0].fd, r, sizeof r, MSG_NOSIGNAL);
}

static bool add(struct side *s)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				 .data.ptr = s };
	return epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &e) == 0;
}

/* 0 keep the tunnel, -1 close it. */
static int step(struct tun *t)
{
	int one = 1;
	if (t->st == GREET || t->st == REQUEST) {
		while (t->s[0].readable) {
			ssize_t n = recv(t->s[0].fd, t->hs + t->have,
					 sizeof t->hs - (size_t)t->have, 0);
			if (n == 0)
				return -1;
			if (n < 0) {
				if (errno != EAGAIN)
					return -1;
				t->s[0].readable = false;
				break;
			}
			t->have += (int)n;
			if (t->have < (int)sizeof t->hs)
				t->s[0].readable = t->s[0].hup;
			break;
		}
		if (t->st == GREET) {
			if (t->have < 2 || t->have < 2 + t->hs[1])
				return t->have && t->hs[0] != 5 ? -1 : 0;
			int used = 2 + t->hs[1];
			memmove(t->hs, t->hs + used, (size_t)(t->have -= used));
			send(t->s[0].fd, "\5\0", 2, MSG_NOSIGNAL);
			t->st = REQUEST;
		}
		if (t->have < 10)
			return 0;
		struct sockaddr_in a = { .sin_family = AF_INET };
		memcpy(&a.sin_addr, t->hs + 4, 4);
		memcpy(&a.sin_port, t->hs + 8, 2);
		if (t->hs[1] != 1 || t->hs[3] != 1 || t->hs[4] != 127) {
			reply(t, 2);
			return -1;
		}
		t->have -= 10;
		memmove(t->hs, t->hs + 10, (size_t)t->have);
		t->s[1].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (t->s[1].fd < 0) {
			reply(t, 1);
			return -1;
		}
		setsockopt(t->s[1].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (connect(t->s[1].fd, (struct sockaddr *)&a, sizeof a) && errno != EINPROGRESS) {
			reply(t, 5);
			return -1;
		}
		if (!add(&t->s[1]))
			return -1;
		t->st = CONNECTING;
		return 0;
	}
	if (t->st == CONNECTING) {
		int e = 0;
		socklen_t l = sizeof e;
		if (!t->s[1].writable)
			return 0;
		if (getsockopt(t->s[1].fd, SOL_SOCKET, SO_ERROR, &e, &l) || e) {
			reply(t, 5);
			return -1;
		}
		reply(t, 0);
		if (t->have && send(t->s[1].fd, t->hs, (size_t)t->have, MSG_NOSIGNAL) != t->have)
			return -1;
		t->st = RELAY;
	}
	return relay(t);
}

int main(int argc, char **argv)
{
	struct epoll_event evs[256];
	struct rlimit rl;
	int opt, one = 1, lfd;
	while ((opt = getopt(argc, argv, "m:b:s:r:")) != -1)
		switch (opt) {
		case 'm':
			mode = !strcmp(optarg, "copy")     ? COPY
			       : !strcmp(optarg, "splice") ? SPLICE
							   : AUTO;
			break;
		case 'b': bufsz = (size_t)strtoul(optarg, NULL, 10) * 1024; break;
		case 's': pipesz = (size_t)strtoul(optarg, NULL, 10) * 1024; break;
		case 'r': reads = (int)strtoul(optarg, NULL, 10); break;
		default: return 2;
		}
	if (optind + 1 != argc || !bufsz || !pipesz || reads < 1 || !(buf = malloc(bufsz)))
		return 2;
	signal(SIGPIPE, SIG_IGN);
	if (!getrlimit(RLIMIT_NOFILE, &rl)) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	ep = epoll_create1(EPOLL_CLOEXEC);
	const char *where = argv[optind];
	if (*where == '/') {
		struct sockaddr_un u = { .sun_family = AF_UNIX };
		snprintf(u.sun_path, sizeof u.sun_path, "%s", where);
		unlink(where);
		lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (bind(lfd, (struct sockaddr *)&u, sizeof u) || listen(lfd, 4096)) {
			perror(where);
			return 1;
		}
	} else {
		struct sockaddr_in a = { .sin_family = AF_INET };
		char host[64] = "";
		const char *c = strrchr(where, ':');
		if (!c || c - where > 60)
			return 2;
		memcpy(host, where, (size_t)(c - where));
		a.sin_port = htons((uint16_t)strtoul(c + 1, NULL, 10));
		if (inet_pton(AF_INET, host, &a.sin_addr) != 1 ||
		    ntohl(a.sin_addr.s_addr) >> 24 != 127)
			return 2;
		lfd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		setsockopt(lfd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		if (bind(lfd, (struct sockaddr *)&a, sizeof a) || listen(lfd, 4096)) {
			perror(where);
			return 1;
		}
	}
	struct epoll_event le = { .events = EPOLLIN, .data.ptr = NULL };
	epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &le);
	for (;;) {
		int n = epoll_wait(ep, evs, 256, -1);
		for (int i = 0; i < n; i++) {
			struct side *s = evs[i].data.ptr;
			if (s) {
				struct tun *t = s->t;
				if (s->fd < 0)
					continue;
				if (evs[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
					s->readable = true;
				if (evs[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
					s->hup = true;
				if (evs[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
					s->writable = true;
				if (step(t))
					tun_close(t);
				continue;
			}
			for (int fd, k = 0;
			     k < 64 &&
			     (fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;
			     k++) {
				struct tun *t = calloc(1, sizeof *t);
				if (!t) {
					close(fd);
					break;
				}
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				t->s[0] = (struct side){ .t = t, .fd = fd, .writable = true };
				t->s[1] = (struct side){ .t = t, .fd = -1 };
				for (int j = 0; j < 2; j++)
					t->f[j].pipe[0] = t->f[j].pipe[1] = -1;
				if (!add(&t->s[0])) {
					close(fd);
					free(t);
				}
			}
		}
		while (dead) {
			struct tun *t = dead;
			dead = t->next_dead;
			free(t);
		}
	}
}
