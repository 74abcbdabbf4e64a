/*
 * Which protocol a client speaks, and its request: what is in `in`, from the
 * first byte to the whole request. Decoders are pure and see all of `in` each
 * time they are asked; what is behind the request stays there.
 */
#include <string.h>

#include "proxy/client.h"
#include "proxy/http_head.h"
#include "proxy/http_session.h"
#include "proxy/socks.h"

static void socks_request(struct client *c, enum socks_step step, size_t used,
			  const struct socks_dest *d, const struct err *e)
{
	const char *host = d->name ? d->name : d->literal;
	size_t n = d->name ? d->name_len : strlen(d->literal);

	if (step == SOCKS_MORE)
		return;
	if (step == SOCKS_BAD) {
		client_refuse(c, 0, e);
		return;
	}
	if (d->udp) {
		client_associate(c, d);
		return;
	}
	client_tunnel(c, host, n, d->port, used);
}

static void socks5_greet(struct client *c)
{
	uint8_t wanted = c->proxy->opts.users ? SOCKS_LOGIN : SOCKS_NO_AUTH, method;
	uint8_t reply[2] = { 5, wanted };
	size_t used;
	struct err e;
	enum socks_step step = socks5_greeting(buf_ptr(&c->in), buf_len(&c->in), wanted, &used,
					       &method, &e);

	if (step == SOCKS_MORE)
		return;
	if (step == SOCKS_DONE && method == SOCKS_NO_METHOD) {
		err_set(&e, ERR_UNSUPPORTED,
			c->proxy->opts.users
				? "this listener asks for a user name and a password, and the "
				  "client has none"
				: "SOCKS5: the client offers no method that this listener takes");
		step = SOCKS_BAD;
	}
	if (step == SOCKS_BAD || buf_add(&c->out, reply, 2, &e)) {
		client_refuse(c, 0, &e);
		return;
	}
	buf_drop(&c->in, used);
	client_go(c, method == SOCKS_LOGIN ? CLIENT_LOGIN : CLIENT_REQUEST);
	(void)client_flush(c); /* the rest follows when writable */
	client_advance(c);
}

static void socks4(struct client *c)
{
	struct socks_dest d = { 0 };
	size_t used = 0;
	struct err e = { 0 };
	enum socks_step step = socks4_request(buf_ptr(&c->in), buf_len(&c->in), &used, &d, &e);

	if (step == SOCKS_DONE && c->proxy->opts.users) {
		(void)err_set(&e, ERR_DENIED,
			      "this listener asks for a user name and a password, which SOCKS4 "
			      "has not: use SOCKS5 or HTTP");
		step = SOCKS_BAD;
	}
	socks_request(c, step, used, &d, &e);
}

static void plain(struct client *c)
{
	client_go(c, CLIENT_HTTP);
	http_session_input(c->http);
}

static void http_begin(struct client *c)
{
	struct http1_head h;
	struct err e;

	c->cap = HTTP1_HEAD_MAX;
	switch (http1_request((const char *)buf_ptr(&c->in), buf_len(&c->in), &h, &e)) {
	case HTTP1_MORE: return;
	case HTTP1_BAD: client_refuse(c, http_refusal_status(&e), &e); return;
	case HTTP1_DONE: break;
	}
	if (http1_text_is(h.method, "CONNECT")) {
		client_record(c, CLIENT_CONNECT);
		if (client_admit(c, &h))
			client_connect(c, &h);
	} else if (!(c->http = http_session_new(c, &e))) {
		client_refuse(c, 0, &e);
	} else {
		plain(c);
	}
}

void client_advance(struct client *c)
{
	const uint8_t *p = buf_ptr(&c->in);
	size_t n = buf_len(&c->in), used = 0;
	struct socks_dest d = { 0 };
	struct err e = { 0 };
	enum socks_step step;

	if (!n || c->state > CLIENT_REQUEST || client_logs_in(c))
		return;
	if (c->state == CLIENT_LOGIN) {
		client_login(c);
		return;
	}
	if (c->state == CLIENT_REQUEST) {
		step = socks5_request(p, n, &used, &d, &e);
		socks_request(c, step, used, &d, &e);
		return;
	}
	if (c->proto == CLIENT_UNKNOWN)
		client_record(c, p[0] == 5   ? CLIENT_SOCKS5
				 : p[0] == 4 ? CLIENT_SOCKS4
					     : CLIENT_PLAIN);
	if (c->proto == CLIENT_SOCKS5) {
		socks5_greet(c);
	} else if (c->proto == CLIENT_SOCKS4) {
		socks4(c);
	} else {
		http_begin(c);
	}
}
