/*
 * A dial's way through a proxy:
 *
 *     net_dial(proxy) --> [TLS] --> CONNECT --> answer --> the descriptor itself, or with
 *                                                          TLS one end of a tunnel's pair
 *
 * Each address of the proxy is compared with our own listeners before it is
 * tried: AWS is needed to serve those, so that a connection through one of them would
 * wait for itself.
 */
#include "net/egress.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/egress_impl.h"
#include "net/loop.h"
#include "net/no_proxy.h"
#include "net/socks_connect.h"
#include "net/tls_trust.h"

enum { ANSWER_MAX = 32 * 1024, REQUEST_MAX = 8 * 1024 };

struct egress_dial {
	enum socks_connect_phase phase; /* of a SOCKS5 proxy */
	struct loop *loop;
	struct egress *egress;
	struct egress_proxy *proxy; /* NULL: straight */
	net_dialed_fn *done;
	void *arg;
	char *host, *ca_file;
	uint16_t port;
	unsigned limit_ms;
	struct net_dial *dial;
	void *far_dial; /* of the egress' way; instead of it */
	bool for_client;
	bool tls;
	bool own; /* the proxy is ourselves */
	struct addr peer;
	struct ws_io io;
	struct ws_out out;
	bool asked;
	struct buf answer;
};

/* ---- the end ---- */

static void dial_free(struct egress_dial *d)
{
	if (d->dial)
		net_dial_cancel(d->dial);
	if (d->far_dial)
		d->egress->way.cancel(d->far_dial);
	ws_io_close(&d->io);
	if (d->egress)
		ws_out_free(&d->out);
	buf_free(&d->answer);
	mem_free(d->host);
	mem_free(d->ca_file);
	mem_free(d);
}

void egress_cancel(struct egress_dial *d)
{
	if (d)
		dial_free(d);
}

static void conclude(struct egress_dial *d, int fd, const struct err *why)
{
	net_dialed_fn *done = d->done;
	void *arg = d->arg;
	struct addr peer = d->peer;
	struct err copy = why ? *why : (struct err){ 0 };

	dial_free(d);
	done(arg, fd, fd >= 0 ? &peer : NULL, fd >= 0 ? NULL : &copy);
}

static void fail(struct egress_dial *d, struct err *why)
{
	if (d->proxy)
		(void)err_wrap(why, "proxy %s (%s)", d->proxy->to.authority, d->proxy->name);
	conclude(d, -1, why);
}

/* ---- CONNECT ---- */

static void open_up(struct egress_dial *d)
{
	struct err e;
	int fd;

	if (!d->io.ssl)
		conclude(d, ws_io_release(&d->io), NULL);
	else if (egress_tunnel_new(d->egress, &d->io, &fd, &e) != 0)
		fail(d, &e);
	else
		conclude(d, fd, NULL);
}

static int ask(struct egress_dial *d, struct err *e)
{
	struct buf head;
	int r;

	d->asked = true;
	buf_init(&head, REQUEST_MAX);
	r = d->proxy->to.socks ? socks_connect_greet(&d->proxy->to, &head, e)
			       : http_connect_request(&head, &d->proxy->to, d->host, d->port, e);
	if (r == 0)
		r = ws_out_add_raw(&d->out, buf_ptr(&head), buf_len(&head), e);
	buf_free(&head);
	return r;
}

/* 1: open, 0: not yet, -1: *e. Only the answer's bytes are taken: what is behind is the far
 * side's, which may speak first. */
static int listen_for(struct egress_dial *d, struct err *e)
{
	enum http_connect_answer got = HTTP_CONNECT_MORE;
	uint8_t bytes[4096];
	struct err end;
	size_t used;
	long n = 1;

	while (got == HTTP_CONNECT_MORE && n > 0 && d->io.readable) {
		size_t before = buf_len(&d->answer);

		n = ws_io_peek(&d->io, bytes, sizeof(bytes), &end);
		if (n > 0 && buf_add(&d->answer, bytes, (size_t)n, e) != 0)
			return -1;
		if (n == 0)
			break;
		got = http_connect_answer((const char *)buf_ptr(&d->answer), buf_len(&d->answer),
					  n < 0, &used, e);
		if (n > 0 &&
		    ws_io_read(&d->io, bytes, got == HTTP_CONNECT_OPEN ? used - before : (size_t)n,
			       &end) < 0)
			n = -1;
	}
	return got == HTTP_CONNECT_OPEN ? 1 : got == HTTP_CONNECT_MORE ? 0 : -1;
}

/* The same with a SOCKS5 proxy, which is answered, too. */
static int converse(struct egress_dial *d, struct err *e)
{
	uint8_t bytes[SOCKS_CONNECT_ANSWER];
	struct buf reply;
	int open = 0;
	long n = 1;

	buf_init(&reply, REQUEST_MAX);
	while (open == 0 && n > 0 && d->io.readable) {
		size_t has = buf_len(&d->answer);
		size_t needs = socks_connect_needs(d->phase, buf_ptr(&d->answer), has);

		if (has < needs) {
			n = ws_io_read(&d->io, bytes, needs - has, e);
			open = n < 0 || (n > 0 && buf_add(&d->answer, bytes, (size_t)n, e) != 0)
				       ? -1
				       : 0;
			continue;
		}
		open = socks_connect_take(&d->phase, &d->proxy->to, d->host, d->port,
					  buf_ptr(&d->answer), &reply, e);
		buf_clear(&d->answer);
		if (buf_len(&reply) &&
		    (ws_out_add_raw(&d->out, buf_ptr(&reply), buf_len(&reply), e) != 0 ||
		     ws_io_write(&d->io, &d->out, e) != 0))
			open = -1;
		buf_clear(&reply);
	}
	buf_free(&reply);
	return open;
}

static int hear(struct egress_dial *d, struct err *e)
{
	return d->proxy->to.socks ? converse(d, e) : listen_for(d, e);
}

static void on_ready(void *arg, unsigned ready)
{
	struct egress_dial *d = arg;
	struct err e;
	int r;

	ws_io_ready(&d->io, ready);
	r = ws_io_handshake(&d->io, &e);
	if (r > 0 && !d->asked)
		r = ask(d, &e) == 0 ? 1 : -1;
	if (r > 0)
		r = ws_io_write(&d->io, &d->out, &e) == 0 ? hear(d, &e) : -1;
	if (r < 0)
		fail(d, &e);
	else if (r > 0)
		open_up(d);
	else
		ws_io_want(&d->io, true, !d->io.writable);
}

/* ---- dialling ---- */

static int trust_for(struct egress *g, const char *ca_file, struct err *e)
{
	const char *has = g->trust ? tls_trust_file(g->trust) : NULL;

	if (g->trust && (has && ca_file ? strcmp(has, ca_file) == 0 : !has && !ca_file))
		return tls_trust_refresh(g->trust, e);
	tls_trust_free(g->trust); /* connections keep what they need of it */
	g->trust = tls_trust_new(ca_file, e);
	return g->trust ? 0 : -1;
}

static int start(struct egress_dial *, struct err *);

static void on_dialed(void *arg, int fd, const struct addr *to, const struct err *why)
{
	struct egress_dial *d = arg;
	struct err e;

	d->dial = NULL;
	d->far_dial = NULL;
	if (fd < 0 && d->own && d->proxy && !d->egress->strict) {
		if (!d->proxy->complained)
			log_warn("net",
				 "%s names %s, which is a listener of this program: AWS cannot be "
				 "asked through it and is asked directly; unset %s for awsocks, or "
				 "add AWS's hosts to NO_PROXY",
				 d->proxy->name, d->proxy->to.authority, d->proxy->name);
		d->proxy->complained = true;
		d->proxy = NULL;
		if (start(d, &e) != 0)
			fail(d, &e);
		return;
	}
	if (fd < 0) {
		e = *why;
		fail(d, &e);
		return;
	}
	d->peer = *to;
	if (!d->proxy) {
		conclude(d, fd, NULL);
		return;
	}
	if (d->proxy->to.tls && trust_for(d->egress, d->ca_file, &e) != 0) {
		close(fd);
		fail(d, &e);
		return;
	}
	if (ws_io_open(&d->io, d->loop, fd, d->proxy->to.tls ? d->egress->trust : NULL,
		       d->proxy->to.host, on_ready, d, &e) != 0)
		fail(d, &e);
	else
		on_ready(d, 0);
}

static bool not_our_own(void *arg, const struct addr *a, struct err *e)
{
	struct egress_dial *d = arg;

	if (!d->egress->own || !d->egress->own(d->egress->own_arg, a))
		return true;
	d->own = true;
	(void)err_set(e, ERR_DENIED, "it is a listener of this program");
	return false;
}

static int start(struct egress_dial *d, struct err *e)
{
	struct net_dial_opts o = { .limit_ms = d->limit_ms, .for_client = d->for_client };
	const struct egress_way *way = d->egress ? &d->egress->way : NULL;
	const char *host = d->proxy ? d->proxy->to.host : d->host;
	uint16_t port = d->proxy ? d->proxy->to.port : d->port;

	if (way && way->dial && !egress_stays_here(host)) {
		if (way->no_clear && !d->tls)
			return err_set(e, ERR_CONFIG, "%s:%u is asked in clear: not through %s",
				       d->host, d->port, way->no_clear);
		d->far_dial = way->dial(way->arg, host, port, d->limit_ms, on_dialed, d, e);
		return d->far_dial ? 0 : -1;
	}
	if (d->proxy) {
		o.allow = not_our_own;
		o.allow_arg = d;
	}
	d->dial = net_dial(d->loop, host, port, &o, on_dialed, d, e);
	return d->dial ? 0 : -1;
}

/* Instance metadata and containers' credentials: whoever asks, these are of this host alone. */
static bool is_link_local(const char *host)
{
	return str_starts(host, "169.254.") || strncasecmp(host, "fe80:", 5) == 0 ||
	       strncasecmp(host, "fd00:ec2:", 9) == 0;
}

/* RFC 6761, 6.3. */
static bool is_localhost(const char *host)
{
	static const char name[] = "localhost";
	size_t n = strlen(host), len = sizeof(name) - 1;

	if (n && host[n - 1] == '.')
		n--;
	return n >= len && strncasecmp(host + n - len, name, len) == 0 &&
	       (n == len || host[n - len - 1] == '.');
}

bool egress_stays_here(const char *host)
{
	struct addr a;

	if (is_link_local(host) || is_localhost(host))
		return true;
	if (!addr_from_literal(host, 0, &a))
		return false;
	addr_unmap(&a);
	return addr_is_loopback(&a);
}

void egress_set_way(struct egress *g, const struct egress_way *way)
{
	g->way = *way;
}

unsigned egress_patience_ms(const struct egress *g)
{
	return g && g->way.dial ? g->way.patience_ms(g->way.arg) : 0;
}

static struct egress_proxy *proxy_for(struct egress *g, const struct egress_target *t)
{
	struct egress_proxy *p = g ? (t->tls ? &g->https : &g->http) : NULL;

	return p && p->name && !is_link_local(t->host) &&
			       !no_proxy_covers(g->no_proxy, t->host, t->port)
		       ? p
		       : NULL;
}

const char *egress_proxy_name(const struct egress *g)
{
	return g->https.to.authority;
}

const char *egress_proxy_for(struct egress *g, const struct egress_target *t)
{
	const struct egress_proxy *p = proxy_for(g, t);

	return p ? p->to.authority : NULL;
}

struct egress_dial *egress_dial(struct loop *l, struct egress *g, const struct egress_target *t,
				net_dialed_fn *done, void *arg, struct err *e)
{
	struct egress_dial *d = mem_alloc(sizeof(*d));

	if (!d) {
		(void)err_set(e, ERR_NOMEM, "dial");
		return NULL;
	}
	*d = (struct egress_dial){ .loop = l,
				   .egress = g,
				   .proxy = proxy_for(g, t),
				   .done = done,
				   .arg = arg,
				   .host = mem_strdup(t->host),
				   .ca_file = mem_strdup(t->ca_file),
				   .port = t->port,
				   .limit_ms = t->limit_ms,
				   .for_client = t->for_client,
				   .tls = t->tls };
	buf_init(&d->answer, ANSWER_MAX);
	if (g)
		ws_out_init(&d->out, &g->blocks);
	if (!d->host || (t->ca_file && !d->ca_file))
		(void)err_set(e, ERR_NOMEM, "dial");
	else if (start(d, e) == 0)
		return d;
	dial_free(d);
	return NULL;
}

/* ---- one for a loop ---- */

static int set_proxy(struct egress_proxy *p, const char *text, const char *name, struct err *e)
{
	if (!text || !*text)
		return 0;
	p->name = mem_strdup(name);
	return p->name ? http_connect_parse(text, name, &p->to, e) : err_set(e, ERR_NOMEM, "proxy");
}

struct egress *egress_new(const struct egress_opts *o, struct err *e)
{
	struct egress *g = mem_alloc(sizeof(*g));

	if (!g) {
		(void)err_set(e, ERR_NOMEM, "proxy");
		return NULL;
	}
	g->loop = o->loop;
	g->own = o->own;
	g->own_arg = o->own_arg;
	g->strict = o->strict;
	g->no_proxy = mem_strdup(o->no_proxy);
	ws_blocks_init(&g->blocks);
	list_init(&g->tunnels);
	if (o->no_proxy && !g->no_proxy)
		(void)err_set(e, ERR_NOMEM, "proxy");
	else if (set_proxy(&g->https, o->https_proxy, o->https_name, e) == 0 &&
		 set_proxy(&g->http, o->http_proxy, o->http_name, e) == 0)
		return g;
	egress_free(g);
	return NULL;
}

void egress_free(struct egress *g)
{
	if (!g)
		return;
	egress_tunnels_close(g);
	ws_blocks_free(&g->blocks);
	tls_trust_free(g->trust);
	http_connect_free(&g->https.to);
	http_connect_free(&g->http.to);
	mem_free(g->https.name);
	mem_free(g->http.name);
	mem_free(g->no_proxy);
	mem_free(g);
}
