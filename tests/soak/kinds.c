/*
 * Kinds of clients, and how often each comes. A client opens its tunnel (or speaks plain
 * HTTP) in one of the protocols, to a destination in one of its notations, then does what
 * its kind does. What the audit log owes each is counted when it is made: all of it is
 * certain beforehand.
 */
#include "tests/soak/soak.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BIG = 4 << 20, SMALL = 4096, WINDOW = 2 << 20, SINGLY = 12 };

struct dest {
	char host[64]; /* as text */
	bool literal4, literal6;
	uint16_t port;
};

static void owe(struct load *l, enum proto p, enum action a, enum outcome o)
{
	l->lines[p][a][o]++;
}

static void step(struct client *c, enum what what, uint64_t n)
{
	client_step(c, what, 0, n, 0);
}

static void pauses(struct client *c, unsigned ms)
{
	client_step(c, PAUSE, 0, 0, ms);
}

static void expect(struct client *c, const void *p, size_t n)
{
	client_step(c, EXPECT, client_text(c, p, n), n, 0);
}

static void says(struct client *c, const void *p, size_t n)
{
	client_step(c, SEND, client_text(c, p, n), n, 0);
}

/* ---- destinations ---- */

static struct dest far_side(struct load *l)
{
	struct dest d = { .literal4 = true, .port = l->port };
	uint64_t dice = load_random(l, 100);

	if (dice < 4)
		d = (struct dest){ "localhost", false, false, l->port };
	else if (dice < 8)
		d = (struct dest){ "::1", false, true, l->port };
	else
		snprintf(d.host, sizeof(d.host), "127.0.1.%u",
			 1 + (unsigned)load_random(l, TARGETS));
	return d;
}

static struct dest nobody(const struct load *l)
{
	return (struct dest){ "127.0.1.254", true, false, l->closed_port };
}

static struct dest blocked(struct load *l)
{
	struct dest d = { .port = 443 };

	snprintf(d.host, sizeof(d.host), "h%u.blocked.example", (unsigned)load_random(l, 1000));
	return d;
}

/* ---- asking for a tunnel ---- */

static size_t socks5_request(uint8_t *p, const struct dest *d)
{
	size_t n = 4;

	memcpy(p, "\5\1\0\1", 4);
	if (d->literal4) {
		n += inet_pton(AF_INET, d->host, p + 4) == 1 ? 4 : 0;
	} else if (d->literal6) {
		p[3] = 4;
		n += inet_pton(AF_INET6, d->host, p + 4) == 1 ? 16 : 0;
	} else {
		p[3] = 3;
		p[4] = (uint8_t)strlen(d->host);
		memcpy(p + 5, d->host, p[4]);
		n += 1u + p[4];
	}
	p[n] = (uint8_t)(d->port >> 8);
	p[n + 1] = (uint8_t)d->port;
	return n + 2;
}

/* SOCKS4, or 4a for names and what fits no IPv4 address. */
static size_t socks4_request(uint8_t *p, const struct dest *d)
{
	size_t n = 8;

	p[0] = 4;
	p[1] = 1;
	p[2] = (uint8_t)(d->port >> 8);
	p[3] = (uint8_t)d->port;
	memcpy(p + 4, "\0\0\0\1", 4);
	if (d->literal4)
		(void)inet_pton(AF_INET, d->host, p + 4);
	memcpy(p + n, "me", 3);
	n += 3;
	if (!d->literal4) {
		memcpy(p + n, d->host, strlen(d->host) + 1);
		n += strlen(d->host) + 1;
	}
	return n;
}

static size_t connect_request(uint8_t *p, size_t size, const struct dest *d)
{
	const char *open = d->literal6 ? "[" : "", *close = d->literal6 ? "]" : "";

	return (size_t)snprintf((char *)p, size,
				"CONNECT %s%s%s:%u HTTP/1.1\r\nHost: %s%s%s:%u\r\n\r\n", open,
				d->host, close, d->port, open, d->host, close, d->port);
}

static size_t request_text(enum proto p, const struct dest *d, uint8_t *out, size_t size)
{
	switch (p) {
	case SOCKS5: return socks5_request(out, d);
	case SOCKS4: return socks4_request(out, d);
	default: return connect_request(out, size, d);
	}
}

static void told(struct client *c, const void *p, size_t n, bool drip)
{
	unsigned at = client_text(c, p, n);
	size_t singly = drip ? (n < SINGLY ? n : SINGLY) : 0;

	client_step(c, DRIP, at, singly, 1);
	client_step(c, SEND, at + (unsigned)singly, n - singly, 0);
}

/* What is said, in one of three ways: at once, or its first bytes one by one; SOCKS5's greeting
 * before its answer or together with the request. */
static void ask(struct client *c, enum proto p, const struct dest *d, bool drip)
{
	uint8_t text[300];
	size_t n = request_text(p, d, text, sizeof(text));
	bool eager = load_random(c->load, 2);

	if (p == SOCKS5) {
		told(c, "\5\1\0", 3, drip);
		if (!eager)
			expect(c, "\5\0", 2);
	}
	told(c, text, n, drip);
	if (p == SOCKS5 && eager)
		expect(c, "\5\0", 2);
}

static void hears(struct client *c, enum proto p, uint8_t socks, unsigned http)
{
	uint8_t five[10] = { 5, socks, 0, 1 }, four[8] = { 0, socks ? 91 : 90 };

	if (p == SOCKS5)
		expect(c, five, 10);
	else if (p == SOCKS4)
		expect(c, four, 8);
	else
		client_step(c, HEAD, 0, 0, http);
	if (p >= CONNECT && http != 200)
		step(c, BODY, 0);
}

static enum proto any_tunnel(struct load *l)
{
	uint64_t dice = load_random(l, 10);

	return dice < 6 ? SOCKS5 : dice < 8 ? SOCKS4 : CONNECT;
}

static void open_tunnel(struct client *c, enum outcome outcome, bool drip)
{
	enum proto p = any_tunnel(c->load);
	struct dest d = far_side(c->load);

	ask(c, p, &d, drip);
	hears(c, p, 0, 200);
	owe(c->load, p, ALLOW, outcome);
}

/* The target's command; the client's phase is drawn here. */
static void command(struct client *c, char letter, uint64_t n)
{
	uint8_t head[13] = { (uint8_t)letter };

	c->phase = load_random(c->load, PERIOD);
	for (int i = 0; i < 4; i++)
		head[4 - i] = (uint8_t)(c->phase >> 8 * i);
	for (int i = 0; i < 8; i++)
		head[12 - i] = (uint8_t)(n >> 8 * i);
	says(c, head, sizeof(head));
}

static void ends(struct client *c)
{
	client_step(c, END, 0, 0, 0);
	step(c, CLOSE, 0);
}

/* ---- the kinds ---- */

static void echo_of(struct client *c, uint64_t n)
{
	c->phase = load_random(c->load, PERIOD);
	says(c, "E", 1);
	step(c, BOTH, n);
}

static void echo(struct client *c)
{
	open_tunnel(c, FINE, false);
	echo_of(c, 1 + load_random(c->load, SMALL));
	if (load_random(c->load, 2)) {
		step(c, SHUT, 0);
		client_step(c, END, 0, 0, 0);
	}
	step(c, CLOSE, 0);
}

/* What is for the far side follows the request before its answer. */
static void early(struct client *c)
{
	uint8_t text[340];
	struct dest d = far_side(c->load);
	enum proto p = any_tunnel(c->load);
	size_t n = 0;

	if (p == SOCKS5) {
		memcpy(text, "\5\1\0", 3);
		n = 3;
	}
	n += request_text(p, &d, text + n, sizeof(text) - n);
	memcpy(text + n, "Early", 5);
	says(c, text, n + 5);
	if (p == SOCKS5)
		expect(c, "\5\0", 2);
	hears(c, p, 0, 200);
	expect(c, "arly", 4);
	step(c, SHUT, 0);
	ends(c);
	owe(c->load, p, ALLOW, FINE);
}

static void bulk_echo(struct client *c)
{
	open_tunnel(c, FINE, false);
	echo_of(c, 1 + load_random(c->load, BIG / 4));
	step(c, SHUT, 0);
	ends(c);
}

static void down(struct client *c)
{
	uint64_t n = 1 + load_random(c->load, BIG);

	open_tunnel(c, FINE, false);
	command(c, 'D', n);
	step(c, DOWN, n);
	ends(c);
}

static void up(struct client *c)
{
	uint64_t n = 1 + load_random(c->load, BIG);

	open_tunnel(c, FINE, false);
	command(c, 'U', n);
	step(c, UP, n);
	expect(c, "K", 1);
	step(c, CLOSE, 0);
}

static void half_close(struct client *c)
{
	uint64_t n = 1 + load_random(c->load, BIG / 8);

	open_tunnel(c, FINE, false);
	command(c, 'C', n);
	step(c, UP, n);
	step(c, SHUT, 0);
	expect(c, "K", 1);
	ends(c);
}

static void client_resets(struct client *c)
{
	open_tunnel(c, c->local ? FINE : CLIENT_RESET, false); /* a Unix socket has no reset */
	echo_of(c, 1 + load_random(c->load, SMALL));
	step(c, RESET, 0);
}

static void remote_resets(struct client *c)
{
	open_tunnel(c, REMOTE_RESET, false);
	says(c, "R", 1);
	client_step(c, END, 0, 0, 1);
	step(c, CLOSE, 0);
}

static void client_stalls(struct client *c)
{
	open_tunnel(c, FINE, false);
	command(c, 'D', WINDOW);
	pauses(c, 300 + (unsigned)load_random(c->load, 700));
	step(c, DOWN, WINDOW);
	ends(c);
}

static void remote_stalls(struct client *c)
{
	open_tunnel(c, FINE, false);
	command(c, 'S', WINDOW);
	step(c, UP, WINDOW);
	expect(c, "K", 1);
	step(c, CLOSE, 0);
}

static void idles(struct client *c)
{
	open_tunnel(c, FINE, false);
	echo_of(c, 100);
	pauses(c, 1000 + (unsigned)load_random(c->load, 4000));
	step(c, BOTH, 100);
	step(c, CLOSE, 0);
}

static void refused(struct client *c)
{
	enum proto p = any_tunnel(c->load);
	struct dest d = nobody(c->load);

	ask(c, p, &d, false);
	hears(c, p, 5, 502);
	ends(c);
	owe(c->load, p, ALLOW, REFUSED);
}

static void is_blocked(struct client *c)
{
	enum proto p = any_tunnel(c->load);
	struct dest d = blocked(c->load);

	ask(c, p, &d, false);
	hears(c, p, 2, 403);
	ends(c);
	owe(c->load, p, BLOCK, FINE);
}

static void drips(struct client *c)
{
	open_tunnel(c, FINE, true);
	echo_of(c, 10);
	step(c, CLOSE, 0);
}

/* Never whole: cut at the deadline, and told so. */
static void too_slow(struct client *c)
{
	static const struct {
		enum proto proto;
		const char *text;
		size_t n, answer;
		const char *reply;
	} forms[] = {
		{ SOCKS5, "\5\377\0\0\0\0", 6, 2, "\5\377" },
		{ SOCKS4, "\4\1\0\120\177\0", 6, 8, "\0\133\0\0\0\0\0\0" },
		{ HTTP, "GET / ", 6, 0, "" },
	};
	unsigned i = (unsigned)load_random(c->load, 3);
	unsigned at = client_text(c, forms[i].text, forms[i].n);

	client_step(c, DRIP, at, forms[i].n, c->load->handshake_ms / 10);
	if (forms[i].proto == HTTP) {
		client_step(c, HEAD, 0, 0, 408);
		step(c, BODY, 0);
	} else {
		expect(c, forms[i].reply, forms[i].answer);
	}
	ends(c);
	owe(c->load, forms[i].proto, REFUSE, TOO_SLOW);
}

/* Says nothing: cut at the deadline. It has asked for nothing, and has no line. */
static void silent(struct client *c)
{
	ends(c);
}

static void gives_up(struct client *c)
{
	uint8_t text[300];
	struct dest d = far_side(c->load);
	enum proto p = any_tunnel(c->load);
	size_t n = request_text(p, &d, text, sizeof(text));
	uint64_t how = load_random(c->load, 4);

	if (how == 0) { /* not a byte */
		step(c, load_random(c->load, 2) ? RESET : CLOSE, 0);
		return;
	}
	if (p == SOCKS5) {
		says(c, "\5\1\0", 3);
		expect(c, "\5\0", 2);
	}
	says(c, text, 1 + load_random(c->load, n - 1));
	/* a reset might overtake what it is behind: only where that was answered is it sure to be
	 * seen */
	step(c, p == SOCKS5 && how == 1 ? RESET : CLOSE, 0);
	owe(c->load, p == CONNECT ? HTTP : p, REFUSE, ABORTED);
}

static void malformed(struct client *c)
{
	static const struct {
		enum proto proto;
		const char *text;
		size_t n;
	} forms[] = {
		{ HTTP, "\1\2\3\4\r\n\r\n", 8 },
		{ HTTP, "GET\r\n\r\n", 7 },
		{ HTTP, "GET / HTTP/9.9\r\n\r\n", 18 },
		{ SOCKS5, "\5\1\2", 3 }, /* no method that is served */
		{ SOCKS4, "\4\2\0\120\177\0\0\1me\0", 11 },
	};
	unsigned i = (unsigned)load_random(c->load, 5);
	uint64_t status = i == 2 ? 501 : 400;

	says(c, forms[i].text, forms[i].n);
	if (forms[i].proto == HTTP) {
		client_step(c, HEAD, 0, 0, (unsigned)status);
		step(c, BODY, 0);
	} else if (forms[i].proto == SOCKS5) {
		expect(c, "\5\377", 2);
	} else {
		expect(c, "\0\133\0\0\0\0\0\0", 8);
	}
	ends(c);
	owe(c->load, forms[i].proto, REFUSE, MALFORMED);
}

/* ---- plain HTTP ---- */

static void get(struct client *c, const struct dest *d, bool close)
{
	char text[200];
	uint64_t n = load_random(c->load, 8) ? load_random(c->load, SMALL)
					     : load_random(c->load, BIG / 16);

	snprintf(text, sizeof(text), "GET http://%s%s%s:%u/%u/%llu HTTP/1.1\r\nHost: x\r\n%s\r\n",
		 d->literal6 ? "[" : "", d->host, d->literal6 ? "]" : "", d->port,
		 (unsigned)c->phase, (unsigned long long)n, close ? "Connection: close\r\n" : "");
	says(c, text, strlen(text));
	client_step(c, HEAD, 0, 0, 200);
	step(c, DOWN, n);
	owe(c->load, HTTP, ALLOW, FINE);
}

static void post(struct client *c, const struct dest *d)
{
	char text[200];
	uint64_t n = 1 + load_random(c->load, BIG / 16);

	snprintf(
		text, sizeof(text),
		"POST http://%s%s%s:%u/%u/%llu HTTP/1.1\r\nHost: x\r\nContent-Length: %llu\r\n\r\n",
		d->literal6 ? "[" : "", d->host, d->literal6 ? "]" : "", d->port,
		(unsigned)c->phase, (unsigned long long)n, (unsigned long long)n);
	says(c, text, strlen(text));
	step(c, UP, n);
	client_step(c, HEAD, 0, 0, 200);
	expect(c, "K", 1);
	owe(c->load, HTTP, ALLOW, FINE);
}

static void plain(struct client *c)
{
	struct dest d = far_side(c->load);

	c->phase = load_random(c->load, PERIOD);
	get(c, &d, true);
	ends(c);
}

static void kept_alive(struct client *c)
{
	struct dest d = far_side(c->load);
	unsigned requests = 2 + (unsigned)load_random(c->load, 4);

	c->phase = load_random(c->load, PERIOD);
	for (unsigned i = 0; i < requests; i++) {
		if (load_random(c->load, 3) == 0)
			d = far_side(c->load);
		if (load_random(c->load, 4))
			get(c, &d, false);
		else
			post(c, &d);
	}
	step(c, CLOSE, 0);
}

static void plain_refused(struct client *c)
{
	bool block = load_random(c->load, 2);
	struct dest d = block ? blocked(c->load) : nobody(c->load);
	char text[200];

	snprintf(text, sizeof(text), "GET http://%s:%u/ HTTP/1.1\r\nHost: x\r\n\r\n", d.host,
		 d.port);
	says(c, text, strlen(text));
	client_step(c, HEAD, 0, 0, block ? 403 : 502);
	step(c, BODY, 0);
	step(c, CLOSE, 0);
	owe(c->load, HTTP, block ? BLOCK : ALLOW, block ? FINE : REFUSED);
}

/* ---- UDP ---- */

static unsigned datagram_head(struct client *c, const struct dest *d)
{
	uint8_t head[80];
	size_t n = socks5_request(head, d);

	memset(head, 0, 3); /* RSV RSV FRAG, then as in a request */
	return client_text(c, head, n);
}

static void associates(struct client *c)
{
	struct dest far = { "127.0.1.1", true, false, c->load->port }, no = blocked(c->load);
	unsigned to_far = datagram_head(c, &far), to_no = datagram_head(c, &no);

	c->local = false;
	c->phase = load_random(c->load, PERIOD);
	says(c, "\5\1\0", 3);
	expect(c, "\5\0", 2);
	says(c, "\5\3\0\1\0\0\0\0\0\0", 10);
	step(c, RELAY, 0);
	for (unsigned i = 0; i < 5; i++)
		client_step(c, DATAGRAM, to_far, 8 + load_random(c->load, 1300), 0);
	client_step(c, DATAGRAM, to_no, 8, 1);
	client_step(c, DATAGRAM, to_far, 8 + load_random(c->load, 1300), 0);
	step(c, CLOSE, 0);
	owe(c->load, UDP, ALLOW, FINE); /* the association */
	owe(c->load, UDP, ALLOW, FINE); /* and its two destinations */
	owe(c->load, UDP, BLOCK, FINE);
}

static const struct {
	const char *name;
	void (*make)(struct client *);
	unsigned weight; /* of all together */
} kinds[] = {
	{ "echo", echo, 340 },
	{ "early data", early, 120 },
	{ "echo in bulk", bulk_echo, 5 },
	{ "download", down, 8 },
	{ "upload", up, 8 },
	{ "half-close", half_close, 30 },
	{ "client resets", client_resets, 60 },
	{ "remote resets", remote_resets, 60 },
	{ "client stalls", client_stalls, 4 },
	{ "remote stalls", remote_stalls, 4 },
	{ "idle tunnel", idles, 12 },
	{ "refused", refused, 60 },
	{ "blocked", is_blocked, 60 },
	{ "single bytes", drips, 20 },
	{ "too slow", too_slow, 8 },
	{ "silent", silent, 4 },
	{ "gives up", gives_up, 60 },
	{ "malformed", malformed, 40 },
	{ "plain HTTP", plain, 60 },
	{ "kept alive", kept_alive, 40 },
	{ "UDP", associates, 20 },
	{ "plain HTTP refused", plain_refused, 30 },
};

const char *kinds_name(unsigned i)
{
	return i < sizeof(kinds) / sizeof(*kinds) ? kinds[i].name : NULL;
}

struct client *kinds_next(struct load *l)
{
	struct client *c = calloc(1, sizeof(*c));
	unsigned total = 0, i;
	uint64_t dice;

	if (!c)
		load_fatal("calloc");
	for (i = 0; kinds_name(i); i++)
		total += kinds[i].weight;
	dice = load_random(l, total);
	for (i = 0; dice >= kinds[i].weight; i++)
		dice -= kinds[i].weight;
	c->load = l;
	c->local = l->has_unix && load_random(l, 8) == 0;
	c->kind = kinds[i].name;
	l->by_kind[i]++;
	kinds[i].make(c);
	return c;
}
