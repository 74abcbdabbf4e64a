/*
 * Host egress. A dial is a net_dial that ends in a stream; the backend keeps
 * a list of them only so that closing it can answer those under way.
 */
#include "backend/direct.h"

#include "backend/backend_impl.h"
#include "backend/via.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/dialer.h"
#include "net/loop.h"
#include "stream/stream.h"

struct direct {
	struct backend backend;
	struct loop *loop;
	unsigned limit_ms;
	struct egress *egress;
	const char *ca_file;
	struct list dials, starts;
	struct loop_post post;
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

struct direct_dial {
	struct dial dial;
	struct list node;
	struct net_dial *net;
	struct via *via; /* instead of it */
};

struct start {
	struct list node;
	void (*started)(void *arg, const struct err *);
	void *arg;
};

static struct direct *direct_of(struct backend *b)
{
	return CONTAINER_OF(b, struct direct, backend);
}

/* ---- dials ---- */

static void dial_end(struct direct_dial *d, const struct dialed *got, const struct err *why)
{
	dialed_fn *done = d->dial.done;
	void *arg = d->dial.arg;

	list_del(&d->node);
	mem_free(d);
	done(arg, got, why);
}

static void net_dialed(void *arg, struct stream *s, const struct addr *to, const struct err *why)
{
	struct dialed got = { .stream = s };

	if (s)
		addr_format(to, got.address);
	dial_end(arg, s ? &got : NULL, why);
}

static void via_dialed(void *arg, struct stream *s, const char *address, const struct err *why)
{
	struct dialed got = { .stream = s };

	(void)str_fmt(got.address, sizeof(got.address), "%s", address);
	dial_end(arg, s ? &got : NULL, why);
}

static int begin(struct direct *x, struct direct_dial *d, const struct dest *to, struct err *e)
{
	struct net_dial_opts opts = { .limit_ms = x->limit_ms,
				      .allow = to->allow,
				      .allow_arg = to->allow_arg,
				      .for_client = true };
	struct via_opts via = {
		.loop = x->loop, .egress = x->egress, .ca_file = x->ca_file, .limit_ms = x->limit_ms
	};

	if (via_proxy(x->egress, to))
		d->via = via_dial(&via, to, via_dialed, d, e);
	else
		d->net = net_dial_stream(x->loop, to->host, to->port, &opts, net_dialed, d, e);
	return d->via || d->net ? 0 : -1;
}

static void end(struct direct_dial *d)
{
	if (d->via)
		via_cancel(d->via);
	else
		net_dial_cancel(d->net);
}

static struct dial *direct_dial(struct backend *b, const struct dest *to, dialed_fn *done,
				void *arg, struct err *e)
{
	struct direct *x = direct_of(b);
	struct direct_dial *d;

	if (x->closing) {
		(void)err_set(e, ERR_CLOSED, "direct: closing");
		return NULL;
	}
	d = mem_alloc(sizeof(*d));
	if (!d) {
		(void)err_set(e, ERR_NOMEM, "direct: dial");
		return NULL;
	}
	d->dial = (struct dial){ .backend = b, .done = done, .arg = arg };
	if (begin(x, d, to, e) != 0) {
		mem_free(d);
		return NULL;
	}
	list_add_tail(&x->dials, &d->node);
	return &d->dial;
}

static void direct_cancel(struct dial *dial)
{
	struct direct_dial *d = CONTAINER_OF(dial, struct direct_dial, dial);

	end(d);
	list_del(&d->node);
	mem_free(d);
}

/* ---- start and close ---- */

/* Answers those who wait for the start, then, when closing, those who dial. */
static void serve(void *arg)
{
	struct direct *x = arg;
	struct direct_dial *d;
	struct list *node;
	struct start s;
	struct err why;

	(void)err_set(&why, ERR_CLOSED, "direct: closing");
	while ((node = list_pop(&x->starts))) {
		s = *CONTAINER_OF(node, struct start, node);
		mem_free(CONTAINER_OF(node, struct start, node));
		s.started(s.arg, x->closing ? &why : NULL);
	}
	if (!x->closing)
		return;
	while ((node = list_pop(&x->dials))) {
		d = CONTAINER_OF(node, struct direct_dial, node);
		end(d);
		dial_end(d, NULL, &why);
	}
	x->closed(x->closed_arg);
	loop_unpost(&x->post);
	mem_free(x);
}

static void direct_start(struct backend *b, void (*started)(void *arg, const struct err *),
			 void *arg)
{
	struct direct *x = direct_of(b);
	struct start *s = mem_alloc(sizeof(*s));

	if (!s) { /* there is nothing to wait for, and nothing to tell it later with */
		started(arg, NULL);
		return;
	}
	s->started = started;
	s->arg = arg;
	list_add_tail(&x->starts, &s->node);
	loop_post(x->loop, &x->post, serve, x);
}

static void direct_close(struct backend *b, void (*closed)(void *arg), void *arg)
{
	struct direct *x = direct_of(b);

	x->closing = true;
	x->closed = closed;
	x->closed_arg = arg;
	loop_post(x->loop, &x->post, serve, x);
}

static const struct backend_ops direct_ops = {
	.dial = direct_dial,
	.cancel = direct_cancel,
	.start = direct_start,
	.close = direct_close,
};

struct backend *direct_backend_new(const struct direct_opts *o, struct err *e)
{
	struct direct *x = mem_alloc(sizeof(*x));

	if (!x) {
		(void)err_set(e, ERR_NOMEM, "direct");
		return NULL;
	}
	x->backend.ops = &direct_ops;
	(void)str_fmt(x->backend.name, sizeof(x->backend.name), "direct");
	x->loop = o->loop;
	x->limit_ms = o->limit_ms;
	x->egress = o->egress;
	x->ca_file = o->ca_file;
	list_init(&x->dials);
	list_init(&x->starts);
	return &x->backend;
}
