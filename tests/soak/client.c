/*
 * One client: its steps are done one after the other, each as far as the socket allows.
 *
 * What is read beyond a step's need (at most sizeof(ahead) bytes, in answers) waits for
 * the next one. A client that ends before its script does, is told something else than
 * the script says, or is not through by its deadline has failed.
 */
#include "tests/soak/soak.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIMIT_MS = 90000 };
enum result { GONE = -1, WAIT = 0, NEXT = 1, AGAIN = 2 };

static const char *const names[] = { "SEND",  "DRIP",  "EXPECT", "HEAD",  "BODY",
				     "UP",    "DOWN",  "BOTH",   "SHUT",  "END",
				     "PAUSE", "CLOSE", "RESET",  "RELAY", "DATAGRAM" };

static void client_free(struct client *c, bool reset)
{
	source_close(c->load, &c->src, reset);
	if (c->udp >= 0)
		close(c->udp);
	node_del(&c->node);
	c->load->open--;
	free(c);
}

static enum result fail(struct client *c, const char *what)
{
	const struct step *s = &c->steps[c->at];
	char text[256];

	snprintf(text, sizeof(text),
		 "step %u (%s of %" PRIu64 " bytes, %" PRIu64 " sent, %" PRIu64 " got): %s", c->at,
		 names[s->what], s->n, c->sent, c->got, what);
	load_fail(c->load, c->kind, text);
	client_free(c, true);
	return GONE;
}

static enum result waits(struct client *c, unsigned interest)
{
	if (errno != EAGAIN)
		return fail(c, strerror(errno));
	source_watch(c->load, &c->src, interest);
	return WAIT;
}

/* ---- bytes ---- */

static enum result push(struct client *c, const void *p, size_t n, unsigned otherwise)
{
	ssize_t done = send(c->src.fd, p, n, MSG_NOSIGNAL);

	if (done < 0)
		return waits(c, EPOLLOUT | otherwise);
	c->sent += (uint64_t)done;
	return AGAIN;
}

/* More into `ahead`. */
static enum result read_ahead(struct client *c)
{
	ssize_t n;

	memmove(c->ahead, c->ahead + c->from, c->to - c->from);
	c->to -= c->from;
	c->from = 0;
	if (c->to == sizeof(c->ahead))
		return fail(c, "too long an answer");
	n = recv(c->src.fd, c->ahead + c->to, sizeof(c->ahead) - c->to, 0);
	if (n < 0)
		return waits(c, EPOLLIN);
	if (n == 0)
		return fail(c, "an end of file");
	c->to += (unsigned)n;
	return AGAIN;
}

/* A piece of what is to come, at most `most` bytes, at *p. */
static enum result pull(struct client *c, size_t most, const uint8_t **p, size_t *n)
{
	ssize_t done;

	if (c->from < c->to) {
		*n = c->to - c->from < most ? c->to - c->from : most;
		*p = c->ahead + c->from;
		c->from += (unsigned)*n;
		return AGAIN;
	}
	*p = c->load->io;
	done = recv(c->src.fd, c->load->io, most < IO_SIZE ? most : IO_SIZE, 0);
	if (done < 0)
		return waits(c, EPOLLIN);
	if (done == 0)
		return fail(c, "an end of file");
	*n = (size_t)done;
	return AGAIN;
}

/* ---- steps ---- */

static enum result do_send(struct client *c, const struct step *s)
{
	if (c->sent == s->n)
		return NEXT;
	return push(c, c->text + s->off + c->sent, s->n - c->sent, 0);
}

static enum result pause_until(struct client *c, unsigned ms)
{
	c->due_ms = c->load->now_ms + ms;
	source_watch(c->load, &c->src, 0);
	return WAIT;
}

static enum result do_drip(struct client *c, const struct step *s)
{
	enum result r;

	if (c->sent == s->n)
		return NEXT;
	if (c->load->now_ms < c->due_ms)
		return WAIT;
	r = push(c, c->text + s->off + c->sent, 1, 0);
	return r == AGAIN ? pause_until(c, s->arg) : r;
}

static enum result do_pause(struct client *c, const struct step *s)
{
	if (!c->due_ms)
		return pause_until(c, s->arg);
	return c->load->now_ms < c->due_ms ? WAIT : NEXT;
}

static enum result do_expect(struct client *c, const struct step *s)
{
	const uint8_t *p;
	size_t n = 0;
	enum result r;

	if (c->got == s->n)
		return NEXT;
	r = pull(c, s->n - c->got, &p, &n);
	if (r != AGAIN)
		return r;
	if (memcmp(p, c->text + s->off + c->got, n) != 0)
		return fail(c, "another answer");
	c->got += n;
	return AGAIN;
}

static uint64_t content_length(const uint8_t *head, size_t n)
{
	static const char name[] = "\nContent-Length: ";
	const char *field = memmem(head, n, name, sizeof(name) - 1);

	return field ? strtoull(field + sizeof(name) - 1, NULL, 10) : 0;
}

static enum result do_head(struct client *c, const struct step *s)
{
	uint8_t *begin = c->ahead + c->from, *end;
	char status[16];

	end = memmem(begin, c->to - c->from, "\r\n\r\n", 4);
	if (!end)
		return read_ahead(c);
	snprintf(status, sizeof(status), "HTTP/1.1 %u ", s->arg);
	if (memcmp(begin, status, strlen(status)) != 0) {
		snprintf((char *)c->load->io, 80, "%.60s", (char *)begin);
		return fail(c, (char *)c->load->io);
	}
	c->body = content_length(begin, (size_t)(end - begin));
	c->from = (unsigned)(end + 4 - c->ahead);
	return NEXT;
}

static enum result do_body(struct client *c)
{
	const uint8_t *p;
	size_t n = 0;
	enum result r;

	if (c->got == c->body)
		return NEXT;
	r = pull(c, c->body - c->got, &p, &n);
	c->got += n;
	return r;
}

static enum result give(struct client *c, const struct step *s, unsigned otherwise)
{
	uint64_t left = s->n - c->sent;

	return push(c, c->load->pattern + (c->phase + c->sent) % PERIOD,
		    left < IO_SIZE ? left : IO_SIZE, otherwise);
}

static enum result take(struct client *c, const struct step *s)
{
	const uint8_t *p;
	size_t n = 0;
	enum result r = pull(c, s->n - c->got < IO_SIZE ? s->n - c->got : IO_SIZE, &p, &n);

	if (r != AGAIN)
		return r;
	if (memcmp(p, c->load->pattern + (c->phase + c->got) % PERIOD, n) != 0)
		return fail(c, "bytes that are not those that were sent");
	c->got += n;
	c->load->bytes += n;
	return AGAIN;
}

static enum result do_both(struct client *c, const struct step *s)
{
	enum result in, out;

	if (c->got == s->n)
		return NEXT;
	out = c->sent < s->n ? give(c, s, EPOLLIN) : WAIT;
	if (out == GONE || c->got == c->sent)
		return out;
	in = take(c, s);
	if (in == WAIT && out != AGAIN)
		source_watch(c->load, &c->src, EPOLLIN | (c->sent < s->n ? EPOLLOUT : 0u));
	return in == WAIT ? out : in;
}

static enum result do_end(struct client *c, const struct step *s)
{
	ssize_t n;

	if (c->from < c->to)
		return fail(c, "bytes instead of the end");
	n = recv(c->src.fd, c->load->io, IO_SIZE, 0);
	if (n < 0 && errno == ECONNRESET && s->arg)
		return NEXT;
	if (n < 0)
		return waits(c, EPOLLIN);
	return n ? fail(c, "bytes instead of the end") : NEXT;
}

/* ---- UDP ---- */

/* RFC 1928, 6: the reply to UDP ASSOCIATE, an IPv4 address. The datagrams must come from the
 * address that the TCP connection has. */
static enum result do_relay(struct client *c)
{
	struct sockaddr_in here, relay = { .sin_family = AF_INET };
	const uint8_t *p = c->ahead + c->from;

	if (c->to - c->from < 10)
		return read_ahead(c);
	if (memcmp(p, "\5\0\0\1", 4) != 0)
		return fail(c, "no association");
	memcpy(&relay.sin_addr, p + 4, 4);
	memcpy(&relay.sin_port, p + 8, 2);
	c->from += 10;
	getsockname(c->src.fd, (struct sockaddr *)&here, &(socklen_t){ sizeof(here) });
	here.sin_port = 0;
	c->udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->udp < 0 || bind(c->udp, (struct sockaddr *)&here, sizeof(here)) ||
	    connect(c->udp, (struct sockaddr *)&relay, sizeof(relay)))
		return fail(c, strerror(errno));
	return NEXT;
}

/* Every tick: has it come? A datagram may be lost, even here, and is then sent again; what comes
 * twice because of that is told by its first bytes, and passed over. */
static enum result do_datagram(struct client *c, const struct step *s)
{
	const uint8_t *pattern = c->load->pattern + (c->phase + c->at * 997) % PERIOD;
	const uint8_t *head = c->text + s->off;
	size_t head_len = head[3] == 3 ? 7u + head[4] : 10u;
	ssize_t n;

	while ((n = recv(c->udp, c->load->io, IO_SIZE, 0)) >= 0) {
		if (n < 10 || memcmp(c->load->io, "\0\0\0\1", 4) != 0)
			return fail(c, "a datagram of another form");
		if ((size_t)n - 10 == s->n && memcmp(c->load->io + 10, pattern, s->n) == 0) {
			c->load->bytes += s->n;
			return s->arg ? fail(c, "an answer from where none may come") : NEXT;
		}
	}
	if (c->got++ % 25 == 0) { /* half a second */
		memcpy(c->load->io, head, head_len);
		memcpy(c->load->io + head_len, pattern, s->n);
		(void)send(c->udp, c->load->io, head_len + s->n, 0);
	}
	if (s->arg && c->got == 10)
		return NEXT;
	return pause_until(c, 1);
}

static enum result do_last(struct client *c, bool reset)
{
	client_free(c, reset);
	return GONE;
}

static enum result do_step(struct client *c)
{
	const struct step *s = &c->steps[c->at];

	switch (s->what) {
	case SEND: return do_send(c, s);
	case DRIP: return do_drip(c, s);
	case EXPECT: return do_expect(c, s);
	case HEAD: return do_head(c, s);
	case BODY: return do_body(c);
	case UP: return c->sent == s->n ? NEXT : give(c, s, 0);
	case DOWN: return c->got == s->n ? NEXT : take(c, s);
	case BOTH: return do_both(c, s);
	case SHUT: return shutdown(c->src.fd, SHUT_WR) ? fail(c, strerror(errno)) : NEXT;
	case END: return do_end(c, s);
	case PAUSE: return do_pause(c, s);
	case RELAY: return do_relay(c);
	case DATAGRAM: return do_datagram(c, s);
	default: return do_last(c, s->what == RESET);
	}
}

static void client_turn(struct client *c)
{
	for (int i = 0; i < 64; i++) {
		enum result r = do_step(c);

		if (r == NEXT) {
			c->at++;
			c->sent = c->got = c->due_ms = 0;
		} else if (r != AGAIN) {
			return;
		}
	}
	source_watch(c->load, &c->src, EPOLLIN | EPOLLOUT); /* the others have their turn first */
}

static void client_ready(struct source *s)
{
	client_turn((struct client *)s);
}

void client_tick(struct load *l)
{
	for (struct node *n = l->clients.next, *next; n != &l->clients; n = next) {
		struct client *c = (struct client *)((char *)n - offsetof(struct client, node));

		next = n->next;
		if (l->now_ms > c->deadline_ms)
			fail(c, "nothing for too long");
		else if (c->due_ms && l->now_ms >= c->due_ms)
			client_turn(c);
	}
}

/* ---- scripts, and the beginning ---- */

void client_step(struct client *c, enum what what, unsigned off, uint64_t n, unsigned arg)
{
	if (c->count == sizeof(c->steps) / sizeof(*c->steps))
		load_fatal("too long a script");
	c->steps[c->count++] = (struct step){ what, off, arg, n };
}

unsigned client_text(struct client *c, const void *p, size_t n)
{
	unsigned at = c->text_len;

	if (at + n > sizeof(c->text))
		load_fatal("too much text");
	memcpy(c->text + at, p, n);
	c->text_len += (unsigned)n;
	return at;
}

static int dial_unix(const struct load *l)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		load_fatal("socket");
	if (connect(fd, (const struct sockaddr *)&l->proxy_unix, sizeof(l->proxy_unix)))
		load_fatal("connect to the Unix socket");
	return fd;
}

static int dial_tcp(struct load *l)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		load_fatal("socket");
	from.sin_addr.s_addr = htonl(0x7f000201u + l->next_source++ % SOURCES);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)))
		load_fatal("bind");
	if (connect(fd, (struct sockaddr *)&l->proxy, sizeof(l->proxy)) && errno != EINPROGRESS)
		load_fatal("connect");
	return fd;
}

void client_start(struct load *l, struct client *c)
{
	c->src = (struct source){ client_ready, c->local ? dial_unix(l) : dial_tcp(l), 0 };
	c->load = l;
	c->udp = -1;
	c->deadline_ms = l->now_ms + LIMIT_MS;
	node_add(&l->clients, &c->node);
	l->started++;
	if (++l->open > l->peak)
		l->peak = l->open;
	source_watch(l, &c->src, EPOLLOUT); /* once connected */
}
