/* Payloads of frames. A reader walks with a cursor that remembers when it has run out. */
#include <netinet/in.h>
#include <string.h>

#include "vm/frame.h"

struct cursor {
	const uint8_t *p;
	size_t n;
	bool bad; /* more was asked for than there is, or an address is none */
};

static const uint8_t *bytes(struct cursor *c, size_t n)
{
	static const uint8_t zeroes[FRAME_NONCE];
	const uint8_t *p = c->p;

	if (c->bad || n > c->n) {
		c->bad = true;
		return zeroes;
	}
	c->p += n;
	c->n -= n;
	return p;
}

static uint8_t u8(struct cursor *c)
{
	return *bytes(c, 1);
}
static uint16_t u16(struct cursor *c)
{
	const uint8_t *p = bytes(c, 2);

	return (uint16_t)(p[0] << 8 | p[1]);
}
static uint32_t u32(struct cursor *c)
{
	return frame_u32(bytes(c, 4));
}
static uint64_t u64(struct cursor *c)
{
	return frame_u64(bytes(c, 8));
}

/* "kind u8 (0, 4 or 6) | bytes": 0 is no address. */
static void address(struct cursor *c, uint16_t port, struct addr *to)
{
	uint8_t kind = u8(c);
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };

	*to = (struct addr){ 0 };
	if (kind == 4) {
		memcpy(&v4.sin_addr, bytes(c, 4), 4);
		memcpy(&to->ss, &v4, sizeof(v4));
		to->len = sizeof(v4);
	} else if (kind == 6) {
		memcpy(&v6.sin6_addr, bytes(c, 16), 16);
		memcpy(&to->ss, &v6, sizeof(v6));
		to->len = sizeof(v6);
	} else if (kind != 0) {
		c->bad = true;
	}
	addr_set_port(to, port);
}

static int ends(const struct cursor *c, const char *what, struct err *e)
{
	if (c->bad || c->n)
		return err_set(e, ERR_PROTO, "%s: its fields and its length do not agree", what);
	return 0;
}

int frame_text_read(char *to, size_t cap, const uint8_t *p, size_t n, struct err *e)
{
	to[0] = '\0';
	if (n >= cap)
		return err_set(e, ERR_PROTO, "text of %zu bytes, %zu at most", n, cap - 1);
	if (n == 0)
		return 0;
	if (memchr(p, 0, n))
		return err_set(e, ERR_PROTO, "NUL in a text");
	memcpy(to, p, n);
	to[n] = '\0';
	return 0;
}

int frame_hello_read(struct frame_hello *h, const uint8_t *p, size_t n, struct err *e)
{
	struct cursor c = { p, n, false };

	h->least = u16(&c);
	h->most = u16(&c);
	h->caps = u32(&c);
	h->window = u32(&c);
	h->streams_max = u32(&c);
	memcpy(h->nonce, bytes(&c, FRAME_NONCE), FRAME_NONCE);
	if (c.bad)
		return ends(&c, "HELLO", e);
	if (h->least > h->most)
		return err_set(e, ERR_PROTO, "HELLO: versions %u to %u", h->least, h->most);
	if (h->window == 0 || h->window > FRAME_WINDOW_MAX)
		return err_set(e, ERR_PROTO, "HELLO: window %u", h->window);
	if (h->streams_max == 0)
		return err_set(e, ERR_PROTO, "HELLO: streams 0");
	if (frame_text_read(h->agent, sizeof(h->agent), c.p, c.n, e) != 0)
		return err_wrap(e, "HELLO: agent");
	return 0;
}

int frame_welcome_read(struct frame_welcome *w, const uint8_t *p, size_t n, struct err *e)
{
	struct cursor c = { p, n, false };

	w->version = u16(&c);
	w->caps = u32(&c);
	w->window = u32(&c);
	if (ends(&c, "WELCOME", e) != 0)
		return -1;
	if (w->window == 0 || w->window > FRAME_WINDOW_MAX)
		return err_set(e, ERR_PROTO, "WELCOME: window %u", w->window);
	return 0;
}

int frame_network_read(struct frame_network *net, const uint8_t *p, size_t n, struct err *e)
{
	struct cursor c = { p, n, false };
	uint8_t flags = u8(&c);

	*net = (struct frame_network){ .up = flags & 1 };
	net->prefix = u8(&c);
	address(&c, 0, &net->address);
	address(&c, 0, &net->gateway);
	net->dns_count = u8(&c);
	if (net->dns_count > FRAME_DNS_MAX) {
		uint8_t count = net->dns_count;

		net->dns_count = 0;
		return err_set(e, ERR_PROTO, "NETWORK: %u name servers", count);
	}
	for (unsigned i = 0; i < net->dns_count; i++) {
		address(&c, 0, &net->dns[i]);
		c.bad = c.bad || net->dns[i].len == 0;
	}
	if (c.bad)
		return ends(&c, "NETWORK", e);
	if (net->up && net->address.len == 0)
		return err_set(e, ERR_PROTO, "NETWORK: up, and without an address");
	if (net->prefix > (net->address.ss.ss_family == AF_INET ? 32 : 128))
		return err_set(e, ERR_PROTO, "NETWORK: prefix of %u bits", net->prefix);
	if (frame_text_read(net->why, sizeof(net->why), c.p, c.n, e) != 0)
		return err_wrap(e, "NETWORK: why");
	return 0;
}

int frame_metrics_read(struct frame_metrics *m, const uint8_t *p, size_t n, struct err *e)
{
	struct cursor c = { p, n, false };

	m->memory_total = u64(&c);
	m->memory_available = u64(&c);
	m->bytes_up = u64(&c);
	m->bytes_down = u64(&c);
	m->streams = u32(&c);
	m->dials = u32(&c);
	m->failed = u32(&c);
	m->uptime_ms = u64(&c);
	return ends(&c, "METRICS", e);
}

int frame_addresses_read(struct frame_addresses *a, const uint8_t *p, size_t n, struct err *e)
{
	struct cursor c = { p, n, false };
	uint8_t flags = u8(&c);
	uint16_t port = u16(&c);
	uint8_t count = u8(&c);

	a->count = 0;
	a->flags = flags;
	if (flags & ~FRAME_OPEN_SIBLINGS)
		return err_set(e, ERR_PROTO, "addresses: flags 0x%02x", flags);
	if (count == 0 || count > FRAME_ADDRESSES_MAX)
		return err_set(e, ERR_PROTO, "%u addresses, there are 1 to %u", count,
			       FRAME_ADDRESSES_MAX);
	for (unsigned i = 0; i < count; i++) {
		address(&c, port, &a->list[i]);
		c.bad = c.bad || a->list[i].len == 0;
	}
	if (ends(&c, "addresses", e) != 0)
		return -1;
	a->count = count;
	return 0;
}

int frame_failed_read(struct frame_failed *f, const uint8_t *p, size_t n, struct err *e)
{
	struct cursor c = { p, n, false };

	f->cause = u8(&c);
	if (c.bad)
		return ends(&c, "FAILED", e);
	if (frame_text_read(f->text, sizeof(f->text), c.p, c.n, e) != 0)
		return err_wrap(e, "FAILED: text");
	return 0;
}

/* --- writing --- */

static uint8_t *put(uint8_t *to, const void *p, size_t n)
{
	memcpy(to, p, n);
	return to + n;
}
static uint8_t *put_u8(uint8_t *to, uint8_t v)
{
	*to = v;
	return to + 1;
}
static uint8_t *put_u16(uint8_t *to, uint16_t v)
{
	to[0] = (uint8_t)(v >> 8);
	to[1] = (uint8_t)v;
	return to + 2;
}
static uint8_t *put_u32(uint8_t *to, uint32_t v)
{
	frame_put_u32(to, v);
	return to + 4;
}
static uint8_t *put_u64(uint8_t *to, uint64_t v)
{
	frame_put_u64(to, v);
	return to + 8;
}
static uint8_t *put_text(uint8_t *to, const char *text, size_t most)
{
	return put(to, text, strnlen(text, most));
}

static uint8_t *put_address(uint8_t *to, const struct addr *a)
{
	uint8_t ip[16];
	size_t n = a->len ? addr_bytes(a, ip) : 0;

	to = put_u8(to, n == 0 ? 0 : n == 4 ? 4 : 6);
	return put(to, ip, n);
}

size_t frame_hello_write(uint8_t *to, const struct frame_hello *h)
{
	uint8_t *at = put_u16(to, h->least);

	at = put_u16(at, h->most);
	at = put_u32(at, h->caps);
	at = put_u32(at, h->window);
	at = put_u32(at, h->streams_max);
	at = put(at, h->nonce, FRAME_NONCE);
	at = put_text(at, h->agent, sizeof(h->agent) - 1);
	return (size_t)(at - to);
}

size_t frame_welcome_write(uint8_t *to, const struct frame_welcome *w)
{
	uint8_t *at = put_u16(to, w->version);

	at = put_u32(at, w->caps);
	at = put_u32(at, w->window);
	return (size_t)(at - to);
}

size_t frame_network_write(uint8_t *to, const struct frame_network *net)
{
	uint8_t *at = put_u8(to, net->up);
	uint8_t count = net->dns_count < FRAME_DNS_MAX ? net->dns_count : FRAME_DNS_MAX;

	at = put_u8(at, net->prefix);
	at = put_address(at, &net->address);
	at = put_address(at, &net->gateway);
	at = put_u8(at, count);
	for (unsigned i = 0; i < count; i++)
		at = put_address(at, &net->dns[i]);
	at = put_text(at, net->why, sizeof(net->why) - 1);
	return (size_t)(at - to);
}

size_t frame_metrics_write(uint8_t *to, const struct frame_metrics *m)
{
	uint8_t *at = put_u64(to, m->memory_total);

	at = put_u64(at, m->memory_available);
	at = put_u64(at, m->bytes_up);
	at = put_u64(at, m->bytes_down);
	at = put_u32(at, m->streams);
	at = put_u32(at, m->dials);
	at = put_u32(at, m->failed);
	at = put_u64(at, m->uptime_ms);
	return (size_t)(at - to);
}

size_t frame_addresses_write(uint8_t *to, const struct frame_addresses *a)
{
	size_t count = a->count < FRAME_ADDRESSES_MAX ? a->count : FRAME_ADDRESSES_MAX;
	uint8_t *at = put_u8(to, a->flags);

	at = put_u16(at, count ? addr_port(&a->list[0]) : 0);
	at = put_u8(at, (uint8_t)count);
	for (size_t i = 0; i < count; i++)
		at = put_address(at, &a->list[i]);
	return (size_t)(at - to);
}

size_t frame_failed_write(uint8_t *to, const struct frame_failed *f)
{
	uint8_t *at = put_u8(to, f->cause);

	at = put_text(at, f->text, FRAME_TEXT_MAX);
	return (size_t)(at - to);
}
