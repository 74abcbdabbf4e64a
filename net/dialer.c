/*
 * One dial: a name becomes addresses, each address an attempt, the first
 * attempt that connects wins and the others are closed (RFC 8305).
 *
 *     net_dial -> [resolve] -> attempt 0 --250 ms or failure--> attempt 1 ...
 *                                  \--connected--> done(fd)
 *
 * Literals and known addresses are tried inside the call, so that they cost
 * neither a thread nor a turn of the loop; only the result is posted then. One
 * timer bounds all of it, another one paces the attempts.
 *
 * Of several causes the one that says most is told: an answer (refused) before
 * silence, silence before "no route", and among equals the first.
 */
#include "net/dialer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/loop.h"
#include "net/resolve.h"
#include "net/sock.h"
#include "net/tcp.h"

enum { DEFAULT_LIMIT_MS = 30000, ATTEMPT_DELAY_MS = 250 };

struct attempt {
	struct net_dial *dial;
	struct loop_watch watch; /* not added: over, or not begun */
	unsigned seen;           /* what the watch has reported */
	struct addr to;
};

struct net_dial {
	struct loop *loop;
	struct net_dial_opts opts;
	net_dialed_fn *done;
	net_dialed_stream_fn *stream_done; /* instead of done */
	void *arg;
	char *host; /* for messages; NULL: the address says it */
	struct net_resolve *resolve;
	struct loop_timer limit, pace;
	struct loop_post post;
	bool in_call;        /* inside net_dial(): results must be posted */
	struct attempt *won; /* connected; the result */
	struct err why;      /* the most telling cause so far */
	bool have_why;
	size_t n, next, pending;
	struct attempt *attempt; /* [n] */
};

/* ---- the end ---- */

static void dial_free(struct net_dial *d)
{
	size_t i;

	timer_disarm(d->loop, &d->limit);
	timer_disarm(d->loop, &d->pace);
	loop_unpost(&d->post);
	net_resolve_cancel(d->resolve);
	for (i = 0; d->attempt && i < d->next; i++)
		if (d->attempt[i].watch.added)
			watch_close(d->loop, &d->attempt[i].watch);
	mem_free(d->attempt);
	mem_free(d->host);
	mem_free(d);
}

static void conclude(void *arg)
{
	struct net_dial *d = arg;
	net_dialed_stream_fn *stream_done = d->stream_done;
	net_dialed_fn *done = d->done;
	void *to_whom = d->arg;
	struct stream *s = NULL;
	struct err why = d->why;
	struct addr to = { 0 };
	int fd = -1;

	if (d->won) {
		to = d->won->to;
		if (stream_done) {
			s = tcp_stream_from_watch(d->loop, &d->won->watch, d->won->seen, &why);
		} else {
			fd = d->won->watch.fd;
			watch_del(d->loop, &d->won->watch);
		}
	}
	dial_free(d);
	if (stream_done)
		stream_done(to_whom, s, s ? &to : NULL, s ? NULL : &why);
	else
		done(to_whom, fd, fd >= 0 ? &to : NULL, fd >= 0 ? NULL : &why);
}

static void settle(struct net_dial *d)
{
	if (d->in_call)
		loop_post(d->loop, &d->post, conclude, d);
	else
		conclude(d);
}

/* ---- causes ---- */

static int telling(enum err_code code)
{
	switch (code) {
	case ERR_REFUSED: return 5;
	case ERR_DENIED: return 4;
	case ERR_RESET: return 3;
	case ERR_TIMEOUT: return 2;
	case ERR_HOSTUNREACH: return 1;
	default: return 0;
	}
}

static void note_cause(struct net_dial *d, const struct err *e)
{
	if (d->have_why && telling(e->code) <= telling(d->why.code))
		return;
	d->why = *e;
	d->have_why = true;
}

static void note_errno(struct net_dial *d, const struct addr *a, int sys)
{
	char text[ADDR_TEXT];
	struct err e;

	addr_format(a, text);
	if (d->host)
		(void)err_sys(&e, sys, "connect to %.100s (%s)", d->host, text);
	else
		(void)err_sys(&e, sys, "connect to %s", text);
	if (sys == EADDRNOTAVAIL || sys == EAFNOSUPPORT) /* this family is not set up here */
		e.code = ERR_NETUNREACH;
	if (sys == ENOENT) /* a Unix path that nobody made */
		e.code = ERR_REFUSED;
	note_cause(d, &e);
}

static void out_of_time(void *arg)
{
	struct net_dial *d = arg;
	char text[ADDR_TEXT] = "";

	if (!d->host)
		addr_format(&d->attempt[0].to, text);
	(void)err_set(&d->why, ERR_TIMEOUT, "%s %.200s: no answer within %u ms",
		      d->resolve ? "resolve" : "connect to", d->host ? d->host : text,
		      d->opts.limit_ms);
	settle(d);
}

/* ---- attempts ---- */

static void try_next(void *arg);

static void attempt_ready(void *arg, unsigned bits)
{
	struct attempt *a = arg;
	struct net_dial *d = a->dial;
	socklen_t len = sizeof(int);
	int sys = 0;

	a->seen |= bits;
	if (!(bits & (WATCH_WRITE | WATCH_HUP)))
		return;
	if (getsockopt(a->watch.fd, SOL_SOCKET, SO_ERROR, &sys, &len) != 0)
		sys = errno;
	if (sys == 0) {
		d->won = a;
		settle(d);
		return;
	}
	watch_close(d->loop, &a->watch);
	d->pending--;
	note_errno(d, &a->to, sys);
	try_next(d);
}

/* 0: under way or connected; otherwise errno. */
static int begin(struct net_dial *d, struct attempt *a, struct err *e)
{
	const struct addr *to = &a->to;
	int fd = sock_open(to->ss.ss_family), one = 1, sys;

	if (fd < 0)
		return errno;
	if (d->opts.for_client && !loop_may_use_fd(d->loop, fd)) {
		close(fd);
		return EMFILE;
	}
	if (to->ss.ss_family != AF_UNIX)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)&to->ss, to->len) == 0) {
		d->won = a;
	} else if (errno != EINPROGRESS) {
		sys = errno;
		close(fd);
		return sys;
	}
	if (watch_add(d->loop, &a->watch, fd, WATCH_WRITE | WATCH_EDGE, attempt_ready, a, e) == 0)
		return 0;
	d->won = NULL;
	close(fd);
	return e->sys ? e->sys : ENOMEM;
}

static bool allowed(struct net_dial *d, const struct addr *a)
{
	struct err e = { 0 };

	if (!d->opts.allow || d->opts.allow(d->opts.allow_arg, a, &e))
		return true;
	if (e.code == ERR_NONE)
		(void)err_set(&e, ERR_DENIED, "the address is not allowed");
	note_cause(d, &e);
	return false;
}

/* Begins the next attempt that can be begun; settles when none is left and none is pending. */
static void try_next(void *arg)
{
	struct net_dial *d = arg;
	struct err e;
	size_t i;
	int sys;

	timer_disarm(d->loop, &d->pace);
	while (d->next < d->n) {
		i = d->next++;
		if (!allowed(d, &d->attempt[i].to))
			continue;
		sys = begin(d, &d->attempt[i], &e);
		if (sys != 0) {
			note_errno(d, &d->attempt[i].to, sys);
			continue;
		}
		d->pending++;
		if (d->won)
			settle(d);
		else if (d->next < d->n)
			timer_arm(d->loop, &d->pace, ATTEMPT_DELAY_MS, try_next, d);
		return;
	}
	if (d->pending == 0)
		settle(d);
}

static int set_addrs(struct net_dial *d, const struct addr *list, size_t n)
{
	size_t i;

	if (n > DIAL_MAX)
		n = DIAL_MAX;
	d->attempt = mem_alloc(n * sizeof(*d->attempt));
	if (!d->attempt)
		return -1;
	d->n = n;
	for (i = 0; i < n; i++)
		d->attempt[i] = (struct attempt){ .dial = d, .to = list[i] };
	return 0;
}

static void resolved(void *arg, const struct addr *list, size_t n, const struct err *why)
{
	struct net_dial *d = arg;

	d->resolve = NULL;
	if (!list) {
		d->why = *why;
		settle(d);
	} else if (set_addrs(d, list, n) != 0) {
		(void)err_set(&d->why, ERR_NOMEM, "connect to %.200s", d->host);
		settle(d);
	} else {
		try_next(d);
	}
}

/* ---- public ---- */

static struct net_dial *dial_new(struct loop *l, const char *host, const struct net_dial_opts *o,
				 void *arg, struct err *e)
{
	struct net_dial *d = mem_alloc(sizeof(*d));

	if (d && host)
		d->host = mem_strdup(host);
	if (!d || (host && !d->host)) {
		mem_free(d);
		(void)err_set(e, ERR_NOMEM, "connect to %.200s", host ? host : "an address");
		return NULL;
	}
	d->loop = l;
	if (o)
		d->opts = *o;
	if (!d->opts.limit_ms)
		d->opts.limit_ms = DEFAULT_LIMIT_MS;
	d->arg = arg;
	timer_arm(l, &d->limit, d->opts.limit_ms, out_of_time, d);
	return d;
}

static struct net_dial *go(struct net_dial *d, const struct addr *list, size_t n, struct err *e)
{
	if (set_addrs(d, list, n) != 0) {
		dial_free(d);
		(void)err_set(e, ERR_NOMEM, "connect");
		return NULL;
	}
	d->in_call = true;
	try_next(d);
	d->in_call = false;
	return d;
}

static struct net_dial *go_name(struct net_dial *d, uint16_t port, struct err *e)
{
	d->resolve = net_resolve(d->loop, d->host, port, resolved, d, e);
	if (d->resolve)
		return d;
	dial_free(d);
	return NULL;
}

static struct net_dial *dial(struct loop *l, const char *host, uint16_t port,
			     const struct net_dial_opts *o, net_dialed_fn *done,
			     net_dialed_stream_fn *stream_done, void *arg, struct err *e)
{
	struct addr a;
	bool literal = addr_from_literal(host, port, &a);
	struct net_dial *d = dial_new(l, literal ? NULL : host, o, arg, e);

	if (!d)
		return NULL;
	d->done = done;
	d->stream_done = stream_done;
	return literal ? go(d, &a, 1, e) : go_name(d, port, e);
}

struct net_dial *net_dial(struct loop *l, const char *host, uint16_t port,
			  const struct net_dial_opts *o, net_dialed_fn *done, void *arg,
			  struct err *e)
{
	return dial(l, host, port, o, done, NULL, arg, e);
}

struct net_dial *net_dial_stream(struct loop *l, const char *host, uint16_t port,
				 const struct net_dial_opts *o, net_dialed_stream_fn *done,
				 void *arg, struct err *e)
{
	return dial(l, host, port, o, NULL, done, arg, e);
}

struct net_dial *net_dial_addrs(struct loop *l, const struct addr *list, size_t n, const char *host,
				const struct net_dial_opts *o, net_dialed_fn *done, void *arg,
				struct err *e)
{
	struct net_dial *d = dial_new(l, host, o, arg, e);

	if (!d)
		return NULL;
	d->done = done;
	return go(d, list, n, e);
}

struct net_dial *net_dial_addr(struct loop *l, const struct addr *a, const struct net_dial_opts *o,
			       net_dialed_fn *done, void *arg, struct err *e)
{
	return net_dial_addrs(l, a, 1, NULL, o, done, arg, e);
}

void net_dial_cancel(struct net_dial *d)
{
	if (d)
		dial_free(d);
}
