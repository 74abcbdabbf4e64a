/*
 *   client --UDP--> near --decode--> rules --> guard --> far[family] --> destination
 *   client <--UDP-- near <--header-- peers <------------ far[family] <-- whoever answers
 *
 * Nothing of a decision is kept: rules are asked for each datagram, since that
 * costs less than the two system calls it goes with, and a reload counts at
 * once. A datagram that waited for its name is judged again when that is known.
 *
 * `near` listens at the address that the client's TCP connection came to, `far` (one
 * for each family) is opened when it is needed. Datagrams are never queued but
 * for the names (udp_names.c): what cannot go on now is dropped and counted.
 */
#include "proxy/udp_associate.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/tcp.h"
#include "net/udp.h"
#include "proxy/attempt.h"
#include "proxy/audit.h"
#include "proxy/proxy_impl.h"
#include "proxy/socks_udp.h"
#include "proxy/udp_audit.h"
#include "proxy/udp_names.h"
#include "proxy/udp_peers.h"
#include "proxy/udp_rules.h"
#include "routing/host.h"
#include "stream/stream.h"

/* What a client may send on its TCP connection, which has nothing to carry any more. */
enum { JUNK_MAX = 64 * 1024 };
_Static_assert((int)UDP_FRONT >= (int)SOCKS_UDP_HEAD_MAX,
	       "a header fits in front of what was received");

struct udp_associate {
	struct member member; /* once started */
	struct proxy *proxy;
	struct stream *stream;
	struct loop_post post;
	void (*ready)(void *arg);
	void *arg;
	struct addr client; /* where its datagrams come from; port 0: not known yet */
	struct udp *near, *far[2];
	struct udp_names names;
	struct udp_audit audit;
	struct udp_peers peers;
	size_t junk;
	uint64_t passed, dropped; /* datagrams */
	bool broken, over;
	struct err why; /* broken */
	struct audit_record rec;
};

/* ---- the end ---- */

static void close_sockets(struct udp_associate *a)
{
	loop_unpost(&a->post);
	a->dropped += a->names.dropped + a->names.waiting_count;
	a->names.dropped = 0;
	udp_names_free(&a->names);
	udp_close(a->near);
	udp_close(a->far[0]);
	udp_close(a->far[1]);
	a->near = a->far[0] = a->far[1] = NULL;
}

static void associate_free(struct udp_associate *a)
{
	close_sockets(a);
	udp_audit_free(&a->audit);
	udp_peers_free(&a->peers);
	mem_free(a);
}

void udp_associate_free(struct udp_associate *a)
{
	if (a)
		associate_free(a);
}

static void account(struct udp_associate *a, const struct err *why)
{
	char text[100];

	if (a->near)
		a->dropped += udp_overlong(a->near);
	for (int i = 0; i < 2; i++)
		if (a->far[i])
			a->dropped += udp_overlong(a->far[i]);
	close_sockets(a);
	a->rec.dropped = a->dropped;
	if (a->audit.unlisted) {
		(void)str_fmt(text, sizeof(text),
			      "%" PRIu64 " datagrams of destinations beyond the limit have no line",
			      a->audit.unlisted);
		audit_text(&a->rec.error, text);
	}
	if (why)
		audit_text(&a->rec.error, why->msg);
	proxy_record(a->proxy, &a->rec);
}

/* Of one that was started: its memory goes when the stream has closed. */
static void finish(struct udp_associate *a, const struct err *why)
{
	if (a->over)
		return;
	a->over = true;
	account(a, why);
	stream_close(a->stream);
}

static void on_closed(void *arg, const struct err *why)
{
	struct udp_associate *a = arg;
	struct proxy *p = a->proxy;

	if (!a->over)
		account(a, why);
	member_del(p, &a->member);
	associate_free(a);
}

static void on_eof(void *arg)
{
	finish(arg, NULL);
}

static void ended_before(void *arg)
{
	finish(arg, NULL);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct udp_associate *a = arg;
	struct err e;

	(void)p;
	a->junk += n;
	if (a->junk < JUNK_MAX)
		return;
	(void)err_set(&e, ERR_PROTO, "the client sends data on the connection of an association");
	finish(a, &e);
}

static const struct stream_handler on_stream = { .data = on_data,
						 .eof = on_eof,
						 .closed = on_closed };

/* A stop ends it at once: who waits for an answer has to ask another proxy anyhow, and the end of
 * the connection is how it learns of that. */
static void stop(struct member *m, bool now)
{
	struct udp_associate *a = CONTAINER_OF(m, struct udp_associate, member);
	struct err e;

	(void)err_set(&e, ERR_CLOSED, "awsocks is stopping");
	finish(a, &e);
	if (now)
		stream_abort(a->stream);
}

static uint64_t moved(struct member *m)
{
	return CONTAINER_OF(m, struct udp_associate, member)->passed;
}

static void still(struct member *m)
{
	struct err e;

	(void)err_set(&e, ERR_TIMEOUT, "nothing moved for longer than the idle limit");
	finish(CONTAINER_OF(m, struct udp_associate, member), &e);
}

static const struct member_ops ops = { .stop = stop, .moved = moved, .still = still };

static void on_broken(void *arg, const struct err *why)
{
	struct udp_associate *a = arg;

	a->broken = true;
	a->why = *why;
	if (a->stream)
		finish(a, why);
}

/* ---- from the far side ---- */

static void from_far(void *arg, const struct addr *from, uint8_t *p, size_t n)
{
	struct udp_associate *a = arg;
	uint8_t header[SOCKS_UDP_HEAD_MAX];
	size_t head;

	if (!udp_peers_has(&a->peers, from)) {
		a->dropped++;
		return;
	}
	head = socks_udp_header(header, from);
	memcpy(p - head, header, head);
	if (udp_send(a->near, &a->client, p - head, head + n)) {
		a->dropped++;
		return;
	}
	a->passed++;
	a->rec.down += n;
}

static const struct udp_handler far_handler = { .received = from_far, .broken = on_broken };

/* ---- to the far side ---- */

static void refuse(struct udp_associate *a, struct udp_verdict *v, enum audit_action action,
		   const struct err *why)
{
	v->action = action;
	v->why = why;
	a->dropped++;
	udp_audit_note(&a->audit, a->proxy, &a->rec, v);
}

static struct udp *far_socket(struct udp_associate *a, sa_family_t family, struct err *e)
{
	struct udp **far = &a->far[family == AF_INET6];
	struct addr any;

	if (*far)
		return *far;
	if (!addr_from_literal(family == AF_INET6 ? "::" : "0.0.0.0", 0, &any))
		return NULL; /* cannot be */
	*far = udp_open(a->proxy->opts.loop, &any, &far_handler, a, e);
	return *far;
}

/* What another address of the name would not cure. */
static bool is_final(int sys)
{
	return sys == EAGAIN || sys == ENOBUFS || sys == ENOMEM || sys == EMSGSIZE;
}

/* 1: it is on its way; 0: dropped without a word, as full queues do; -1: *e tells, and another
 * address may do better. */
static int send_to(struct udp_associate *a, const struct addr *to, const uint8_t *p, size_t n,
		   struct err *e)
{
	struct udp *far = far_socket(a, to->ss.ss_family, e);
	char text[ADDR_TEXT];
	int sys;

	if (!far || udp_peers_add(&a->peers, to, e))
		return -1;
	sys = udp_send(far, to, p, n);
	if (!sys) {
		a->passed++;
		a->rec.up += n;
		return 1;
	}
	if (is_final(sys)) {
		a->dropped++;
		return 0;
	}
	addr_format(to, text);
	return err_sys(e, sys, "send to %s", text);
}

/* Tries the addresses from *pick on, which becomes the one that works. */
static void send_to_one(struct udp_associate *a, struct udp_verdict *v, const struct addr *list,
			size_t count, size_t *pick, const uint8_t *p, size_t n)
{
	enum audit_action action = AUDIT_ALLOW;
	struct err e = { 0 };

	for (size_t i = 0; i < count; i++) {
		const struct addr *to = &list[(*pick + i) % count];
		int sent;

		if (!udp_rules_may(a->proxy, v->decision, to, &e)) {
			action = AUDIT_REFUSE;
			continue;
		}
		action = AUDIT_ALLOW;
		sent = send_to(a, to, p, n, &e);
		if (sent < 0)
			continue;
		*pick = (*pick + i) % count;
		v->action = AUDIT_ALLOW;
		v->address = to;
		if (sent)
			udp_audit_note(&a->audit, a->proxy, &a->rec, v);
		return;
	}
	refuse(a, v, action, &e);
}

/* A datagram for a normalised host. */
static void onward(void *arg, const char *host, uint16_t port, const uint8_t *p, size_t n)
{
	struct udp_associate *a = arg;
	const struct proxy_opts *o = &a->proxy->opts;
	struct decision d;
	struct udp_verdict v = { .host = host, .port = port, .decision = &d };
	struct udp_name *name;
	struct addr to;
	size_t only = 0;
	struct err e;

	router_decide(o->router(o->arg), host, port, &d);
	if (udp_rules_judge(&d, &v.action, &e)) {
		refuse(a, &v, v.action, &e);
	} else if (addr_from_literal(host, port, &to)) {
		send_to_one(a, &v, &to, 1, &only, p, n);
	} else if ((name = udp_names_find(&a->names, host, port))) {
		if (name->count)
			send_to_one(a, &v, name->addr, name->count, &name->pick, p, n);
		else
			refuse(a, &v, AUDIT_ALLOW, &name->why);
	} else if (udp_names_wait(&a->names, host, port, p, n, &e)) {
		refuse(a, &v, AUDIT_ALLOW, &e);
	}
}

static bool from_our_client(const struct udp_associate *a, const struct addr *from)
{
	uint16_t port = addr_port(&a->client);

	return addr_same_host(from, &a->client) && (!port || addr_port(from) == port);
}

static void from_client(void *arg, const struct addr *from, uint8_t *p, size_t n)
{
	struct udp_associate *a = arg;
	struct udp_verdict v = { .host = NULL };
	char shown[HOST_MAX];
	struct socks_dest d;
	struct host host;
	const char *text;
	size_t used, len;
	struct err e;

	/* Before the start nobody has been told of this port. */
	if (!a->stream || !from_our_client(a, from) || socks_udp_decode(p, n, &used, &d, &e)) {
		a->dropped++;
		return;
	}
	addr_set_port(&a->client, addr_port(from));
	text = d.name ? d.name : d.literal;
	len = d.name ? d.name_len : strlen(text);
	if (host_normalize(text, len, &host, &e) == 0 && d.port) {
		onward(a, host.text, d.port, p + used, n - used);
		return;
	}
	if (!d.port)
		(void)err_set(&e, ERR_PROTO, "port 0 is not a destination");
	attempt_show_host(text, len, shown);
	v.host = shown;
	v.port = d.port;
	refuse(a, &v, AUDIT_REFUSE, &e);
}

static const struct udp_handler near_handler = { .received = from_client, .broken = on_broken };

/* ---- the beginning ---- */

static int prepare(struct udp_associate *a, struct stream *client, const struct socks_dest *dest,
		   struct audit_record *rec, struct err *e)
{
	const struct proxy_opts *o = &a->proxy->opts;
	struct addr at;

	if (tcp_stream_ends(client, &at, &a->client, e))
		return -1;
	if (at.ss.ss_family != AF_INET && at.ss.ss_family != AF_INET6)
		return err_set(e, ERR_UNSUPPORTED,
			       "UDP ASSOCIATE needs a client that comes by TCP: a Unix socket's "
			       "has no address that datagrams could be told by");
	if (!router_can(o->router(o->arg), ROUTE_DIRECT))
		return err_set(e, ERR_UNSUPPORTED,
			       "UDP ASSOCIATE: the rules send nothing direct, and only direct can "
			       "carry UDP");
	addr_set_port(&a->client, 0);
	addr_set_port(&at, 0);
	if (udp_rules_request(a->proxy, dest, &a->client, rec, e))
		return -1;
	a->near = udp_open(o->loop, &at, &near_handler, a, e);
	return a->near ? 0 : -1;
}

static void is_ready(void *arg)
{
	struct udp_associate *a = arg;

	a->ready(a->arg);
}

struct udp_associate *udp_associate_new(struct proxy *p, struct stream *client,
					const struct socks_dest *dest, struct audit_record *rec,
					void (*ready)(void *arg), void *arg, struct err *e)
{
	struct udp_associate *a = mem_alloc(sizeof(*a));

	if (!a) {
		(void)err_set(e, ERR_NOMEM, "UDP association");
		return NULL;
	}
	a->proxy = p;
	a->ready = ready;
	a->arg = arg;
	udp_names_init(&a->names, p->opts.loop, onward, a);
	udp_audit_init(&a->audit);
	udp_peers_init(&a->peers);
	if (prepare(a, client, dest, rec, e)) {
		associate_free(a);
		return NULL;
	}
	loop_post(p->opts.loop, &a->post, is_ready, a);
	return a;
}

const struct addr *udp_associate_addr(const struct udp_associate *a)
{
	return udp_addr(a->near);
}

int udp_associate_start(struct udp_associate *a, struct stream *client, bool over,
			struct member *from, struct audit_record *rec, struct err *e)
{
	if (a->broken) {
		*e = a->why;
		return -1;
	}
	loop_unpost(&a->post);
	rec->action = AUDIT_ALLOW;
	a->rec = *rec;
	*rec = (struct audit_record){ 0 };
	a->stream = client;
	member_add(a->proxy, &a->member, &ops);
	member_begins(a->proxy, &a->member);
	member_move_place(from, &a->member);
	stream_attach(client, &on_stream, a);
	stream_credit(client, JUNK_MAX);
	if (over)
		loop_post(a->proxy->opts.loop, &a->post, ended_before, a);
	return 0;
}
