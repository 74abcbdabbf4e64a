/*
 * The far side. The first byte of a connection says what it does:
 *
 *   'E'                     echo until end of file, then end
 *   'D' u32 phase, u64 n    n bytes of the pattern from phase, then end
 *   'U' u32 phase, u64 n    take n bytes of the pattern, answer 'K', wait for the end
 *   'S' u32 phase, u64 n    the same, but nothing is read for a while first
 *   'C' u32 phase, u64 n    take the pattern until end of file: n bytes; answer 'K', end
 *   'R'                     a reset
 *   otherwise               HTTP/1.1, kept alive: GET /PHASE/N, POST /PHASE/N
 *
 * Numbers are big-endian. What comes and is not the pattern is a failure.
 */
#include "tests/soak/soak.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STALL_MS = 600, HEADER = 13 };

enum far_state { ASKED, ECHO, GIVING, TAKING, COUNTING, STALLING, DRAINING, LEAVING };

struct far {
	struct source src;
	struct node node;
	struct load *load;
	enum far_state state;
	bool http, eof;
	uint8_t in[2048]; /* the request, or what is to be echoed */
	unsigned len;
	char out[160]; /* an answer that is still to be sent */
	unsigned out_len, out_sent;
	uint64_t phase, left;
	uint64_t due_ms;
};

struct listener {
	struct source src;
	struct load *load;
};

static void far_free(struct far *f, bool reset)
{
	source_close(f->load, &f->src, reset);
	node_del(&f->node);
	free(f);
}

static uint64_t big_endian(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static void answer(struct far *f, const char *text)
{
	f->out_len = (unsigned)strlen(text);
	f->out_sent = 0;
	memcpy(f->out, text, f->out_len);
}

static void consume(struct far *f, unsigned n)
{
	f->len -= n;
	memmove(f->in, f->in + n, f->len);
}

/* ---- requests ---- */

static bool http_request(struct far *f)
{
	char *head = (char *)f->in, *end, text[128];
	unsigned long long phase, n;

	f->in[f->len] = 0;
	end = strstr(head, "\r\n\r\n");
	if (!end)
		return false;
	if (sscanf(head, "%*s /%llu/%llu HTTP/1.1\r\n", &phase, &n) != 2) {
		load_fail(f->load, "target", "a request that no client sends");
		f->state = LEAVING;
		return true;
	}
	f->http = true;
	f->phase = phase % PERIOD;
	f->left = n;
	f->state = *head == 'P' ? TAKING : GIVING;
	consume(f, (unsigned)(end + 4 - head));
	if (f->state == TAKING)
		return true;
	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %llu\r\n\r\n", n);
	answer(f, text);
	return true;
}

/* False: not whole yet. */
static bool request(struct far *f)
{
	static const struct {
		char letter;
		enum far_state state;
	} kinds[] = { { 'D', GIVING }, { 'U', TAKING }, { 'S', STALLING }, { 'C', COUNTING } };

	if (f->in[0] == 'E' || f->in[0] == 'R') {
		f->state = f->in[0] == 'E' ? ECHO : LEAVING;
		consume(f, 1);
		return true;
	}
	for (unsigned i = 0; i < 4; i++) {
		if (f->in[0] != kinds[i].letter || f->http)
			continue;
		if (f->len < HEADER)
			return false;
		f->state = kinds[i].state;
		f->phase = big_endian(f->in + 1, 4) % PERIOD;
		f->left = big_endian(f->in + 5, 8);
		f->due_ms = f->load->now_ms + STALL_MS;
		consume(f, HEADER);
		return true;
	}
	return http_request(f);
}

/* ---- moving: 1 something moved, 0 it must wait, -1 the connection is gone ---- */

static int waits(struct far *f, unsigned interest)
{
	if (errno == EAGAIN) {
		source_watch(f->load, &f->src, interest);
		return 0;
	}
	/* a reset that its client made; its script tells whether it had to */
	far_free(f, false);
	return -1;
}

static int push(struct far *f, const void *p, size_t n, ssize_t *done)
{
	*done = send(f->src.fd, p, n, MSG_NOSIGNAL);
	return *done < 0 ? waits(f, EPOLLOUT) : 1;
}

static int fill(struct far *f)
{
	ssize_t n = recv(f->src.fd, f->in + f->len, sizeof(f->in) - 1 - f->len, 0);

	if (n < 0)
		return waits(f, EPOLLIN);
	f->len += (unsigned)n;
	f->eof = n == 0;
	return 1;
}

static int give(struct far *f)
{
	ssize_t n;
	int r = push(f, f->load->pattern + f->phase, f->left < IO_SIZE ? f->left : IO_SIZE, &n);

	if (r <= 0)
		return r;
	f->left -= (uint64_t)n;
	f->phase = (f->phase + (uint64_t)n) % PERIOD;
	return 1;
}

/* One piece of the pattern, from `in` first. */
static int take(struct far *f)
{
	size_t most = f->left < IO_SIZE ? f->left : IO_SIZE;
	uint8_t *p = f->load->io;
	ssize_t n = f->len < most ? (ssize_t)f->len : (ssize_t)most;

	if (f->len) {
		memcpy(p, f->in, (size_t)n);
		consume(f, (unsigned)n);
	} else {
		n = recv(f->src.fd, p, IO_SIZE < most + 1 ? IO_SIZE : most + (f->state == COUNTING),
			 0);
		if (n < 0)
			return waits(f, EPOLLIN);
		f->eof = n == 0;
	}
	if ((uint64_t)n > f->left || memcmp(p, f->load->pattern + f->phase, (size_t)n) != 0) {
		load_fail(f->load, "target", "bytes that are not those that were sent");
		far_free(f, true);
		return -1;
	}
	f->left -= (uint64_t)n;
	f->phase = (f->phase + (uint64_t)n) % PERIOD;
	f->load->bytes += (uint64_t)n;
	return 1;
}

static int taking(struct far *f)
{
	if (f->left) {
		int r = take(f);

		if (r > 0 && f->eof) { /* cut short; the client's script knows if that was meant */
			far_free(f, false);
			return -1;
		}
		return r;
	}
	answer(f, f->http ? "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nK" : "K");
	f->state = f->http ? ASKED : DRAINING;
	return 1;
}

static int counting(struct far *f)
{
	if (!f->eof)
		return take(f);
	if (f->left)
		load_fail(f->load, "target", "an end of file before the last byte");
	answer(f, "K");
	f->state = LEAVING;
	return 1;
}

static int echoing(struct far *f)
{
	ssize_t n;
	int r;

	if (!f->len) {
		if (f->eof) {
			far_free(f, false);
			return -1;
		}
		return fill(f);
	}
	r = push(f, f->in, f->len, &n);
	if (r > 0) {
		f->load->bytes += (uint64_t)n;
		consume(f, (unsigned)n);
	}
	return r;
}

static int asked(struct far *f)
{
	int r;

	if (f->len && request(f))
		return 1;
	if (f->eof || f->len == sizeof(f->in) - 1) {
		far_free(f, false);
		return -1;
	}
	r = fill(f);
	return r;
}

static int draining(struct far *f)
{
	f->len = 0;
	if (!f->eof)
		return fill(f);
	far_free(f, false);
	return -1;
}

static int given(struct far *f)
{
	if (f->left)
		return give(f);
	if (f->http) {
		f->state = ASKED;
	} else {
		shutdown(f->src.fd, SHUT_WR);
		f->state = DRAINING;
	}
	return 1;
}

static int far_turn(struct far *f)
{
	ssize_t n;
	int r;

	if (f->out_sent < f->out_len) {
		r = push(f, f->out + f->out_sent, f->out_len - f->out_sent, &n);
		if (r > 0)
			f->out_sent += (unsigned)n;
		return r;
	}
	switch (f->state) {
	case ASKED: return asked(f);
	case ECHO: return echoing(f);
	case GIVING: return given(f);
	case TAKING: return taking(f);
	case COUNTING: return counting(f);
	case DRAINING: return draining(f);
	case STALLING: source_watch(f->load, &f->src, 0); return 0;
	default: far_free(f, f->out_len == 0); return -1; /* LEAVING */
	}
}

static void far_ready(struct source *s)
{
	struct far *f = (struct far *)s;
	/* a turn has an end, so that a big transfer does not keep the others waiting */
	int r = 1;

	for (int i = 0; i < 32 && r > 0; i++)
		r = far_turn(f);
	if (r > 0)
		source_watch(f->load, &f->src, EPOLLIN | EPOLLOUT);
}

void target_tick(struct load *l)
{
	for (struct node *n = l->fars.next, *next; n != &l->fars; n = next) {
		struct far *f = (struct far *)((char *)n - offsetof(struct far, node));

		next = n->next;
		if (f->state == STALLING && l->now_ms >= f->due_ms) {
			f->state = TAKING;
			source_watch(l, &f->src, EPOLLIN);
		}
	}
}

/* ---- listening ---- */

static void accepting(struct source *s)
{
	struct listener *ln = (struct listener *)s;

	for (int i = 0; i < 64; i++) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct far *f;

		if (fd < 0)
			return;
		f = calloc(1, sizeof(*f));
		if (!f)
			load_fatal("calloc");
		*f = (struct far){ .src = { far_ready, fd, 0 }, .load = ln->load };
		node_add(&ln->load->fars, &f->node);
		source_watch(ln->load, &f->src, EPOLLIN);
	}
}

/* What comes by UDP goes back. */
static void datagrams(struct source *s)
{
	struct listener *ln = (struct listener *)s;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(s->fd, ln->load->io, IO_SIZE, 0, (struct sockaddr *)&from, &len)) >= 0)
		(void)sendto(s->fd, ln->load->io, (size_t)n, 0, (struct sockaddr *)&from, len);
}

static bool udp_at(struct load *l, const struct sockaddr *sa, socklen_t len)
{
	struct listener *ln = calloc(1, sizeof(*ln));
	int fd = socket(sa->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (!ln || fd < 0)
		load_fatal("socket");
	*ln = (struct listener){ .src = { datagrams, fd, 0 }, .load = l };
	if (bind(fd, sa, len) == 0) {
		source_watch(l, &ln->src, EPOLLIN);
		return true;
	}
	close(fd);
	free(ln);
	return false;
}

/* port 0: any, and it is noted. False: that port is taken. */
static bool listen_at(struct load *l, const struct sockaddr *sa, socklen_t len)
{
	struct listener *ln = calloc(1, sizeof(*ln));
	struct sockaddr_in got;
	int on = 1, fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (!ln || fd < 0)
		load_fatal("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, sa, len) || listen(fd, 4096)) {
		close(fd);
		free(ln);
		return false;
	}
	if (sa->sa_family == AF_INET && !l->port) {
		getsockname(fd, (struct sockaddr *)&got, &(socklen_t){ sizeof(got) });
		l->port = ntohs(got.sin_port);
	}
	*ln = (struct listener){ .src = { accepting, fd, 0 }, .load = l };
	source_watch(l, &ln->src, EPOLLIN);
	return true;
}

static bool listen_everywhere(struct load *l)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	l->port = 0;
	for (unsigned i = 0; i <= TARGETS; i++) {
		a.sin_addr.s_addr = htonl(i < TARGETS ? 0x7f000101u + i : INADDR_LOOPBACK);
		a.sin_port = htons(l->port);
		if (!listen_at(l, (struct sockaddr *)&a, sizeof(a)))
			return false;
	}
	a.sin_addr.s_addr = htonl(0x7f000101u);
	a.sin_port = htons(l->port);
	six.sin6_port = htons(l->port);
	if (!udp_at(l, (struct sockaddr *)&a, sizeof(a)))
		return false;
	return listen_at(l, (struct sockaddr *)&six, sizeof(six));
}

void target_open(struct load *l)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f0001feu) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), tries = 0;

	/* a port that is ours, and where nobody listens */
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) ||
	    getsockname(fd, (struct sockaddr *)&a, &(socklen_t){ sizeof(a) }))
		load_fatal("bind");
	l->closed_port = ntohs(a.sin_port);
	while (!listen_everywhere(l)) /* what was opened on the port before stays, unused */
		if (++tries == 50)
			load_fatal("no port that is free at every address");
}
