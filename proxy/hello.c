/*
 * check-sni: a tunnel to one name of a server that has many must not be used for
 * another (domain fronting). The far side is connected already, so that a
 * failure to reach it can be answered, but not a byte goes there before its hello is judged. The
 * rules decided on the name of the request, and stay with that.
 */
#include <strings.h>

#include "net/loop.h"
#include "net/tls_hello.h"
#include "proxy/client.h"

static int judge(const struct client *c, const struct tls_hello *h, struct err *e)
{
	const struct host *asked = &c->attempt.host;

	if (!*h->name && asked->is_address)
		return 0;
	if (!*h->name)
		return err_set(e, ERR_DENIED, "check-sni: the TLS hello names no server, not %s",
			       asked->text);
	if (strcasecmp(h->name, asked->text) != 0)
		return err_set(e, ERR_DENIED, "check-sni: the TLS hello names %s, not %s%s",
			       h->name, asked->text,
			       h->ech ? " (with Encrypted Client Hello)" : "");
	return 0;
}

static void join(void *arg)
{
	client_join(arg);
}

void client_hello_input(struct client *c)
{
	struct tls_hello h;
	struct err e;

	if (!c->check_hello)
		return; /* judged */
	switch (tls_hello_parse(buf_ptr(&c->in), buf_len(&c->in), &h, &e)) {
	case TLS_HELLO_MORE:
		if (!c->eof) {
			client_credit(c);
			return;
		}
		(void)err_set(&e, ERR_CLOSED, "check-sni: the client ended within its TLS hello");
		break;
	case TLS_HELLO_BAD: (void)err_wrap(&e, "check-sni"); break;
	case TLS_HELLO_DONE:
		if (judge(c, &h, &e))
			break;
		/* On a turn of its own: this may be inside the client's handlers. */
		c->check_hello = false;
		loop_post(c->proxy->opts.loop, &c->leave, join, c);
		return;
	}
	c->rec.action = AUDIT_REFUSE;
	client_end(c, &e, true);
}

void client_hello(struct client *c)
{
	client_go(c, CLIENT_HELLO);
	client_limit(c, c->proxy->opts.handshake_ms);
	c->cap = TLS_HELLO_MAX;
	client_hello_input(c);
}
