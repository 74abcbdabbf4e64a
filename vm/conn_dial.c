/*
 * Dials.
 *
 *     waits for an address -> RESOLVE -> ADDRESSES: judged -> OPEN of those that passed -> OPENED
 *     a literal:                         judged ------------> OPEN
 *
 * The guest is not believed: what it says a name means is judged here like anything else, and what
 * it says it has connected to must be among what it was asked for.
 */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "stream/stream.h"
#include "vm/conn_impl.h"
#include "vm/guard.h"

enum { LIMIT_MS = 30000 };

enum dial_step { DIAL_WAITS = 0, DIAL_RESOLVES, DIAL_OPENS, DIAL_OVER };

struct vm_dial {
	struct list node;
	struct vm_conn *conn;
	enum vm_user user;
	char *host;
	uint16_t port;
	bool (*allow)(void *arg, const struct addr *, struct err *);
	void *allow_arg;
	bool siblings;
	enum dial_step step;
	uint32_t id; /* of the question; while it resolves or opens */
	struct frame_addresses asked;
	struct loop_timer limit;
	struct loop_post post;
	vm_dialed_fn *done;
	void *arg;
	struct err why;
};

/* ---- ends ---- */

static void dial_free(struct vm_dial *d)
{
	struct vm_conn *c = d->conn;

	timer_disarm(c->loop, &d->limit);
	loop_unpost(&d->post);
	list_del(&d->node);
	c->dial_count--;
	mem_free(d->host);
	mem_free(d);
}

static void conclude(struct vm_dial *d, const struct dialed *got)
{
	vm_dialed_fn *done = d->done;
	void *arg = d->arg;
	struct err why = d->why;

	dial_free(d);
	done(arg, got, got ? NULL : &why);
}

static void take_back(struct vm_dial *d)
{
	if (d->step == DIAL_RESOLVES || d->step == DIAL_OPENS)
		link_take_back(d->conn->link, d->id);
	d->step = DIAL_OVER;
}

static void failed(void *arg)
{
	conclude(arg, NULL);
}

static void fail_later(struct vm_dial *d)
{
	d->step = DIAL_OVER;
	timer_disarm(d->conn->loop, &d->limit);
	loop_post(d->conn->loop, &d->post, failed, d);
}

static void too_late(void *arg)
{
	static const char *const doing[] = {
		[DIAL_WAITS] = "the VM has no address yet",
		[DIAL_RESOLVES] = "its name is not resolved",
		[DIAL_OPENS] = "no answer",
	};
	struct vm_dial *d = arg;
	const char *what = doing[d->step];

	take_back(d);
	if (d->conn->has_network || d->conn->network.why[0] == 0)
		(void)err_set(&d->why, ERR_TIMEOUT, "in the VM: %s in time", what);
	else
		(void)err_set(&d->why, ERR_TIMEOUT, "in the VM: %s in time: %s", what,
			      d->conn->network.why);
	conclude(d, NULL);
}

/* ---- steps ---- */

static bool may_reach(struct vm_dial *d, const struct addr *to, struct err *e)
{
	const struct vm_conn *c = d->conn;
	const struct frame_network *net = c->has_network ? &c->network : NULL;

	return vm_guard_allow(net, to, d->siblings, e) &&
	       (!c->opts.alone || vm_guard_allow_slirp(to, e)) &&
	       (!d->allow || d->allow(d->allow_arg, to, e));
}

/* A client's question must leave room for AWS's; the link itself bounds them all. */
static int may_ask(const struct vm_dial *d, struct err *e)
{
	const struct link *l = d->conn->link;
	uint32_t most = link_streams_most(l);
	uint32_t kept = most / 4 < CONN_RESERVE ? most / 4 : CONN_RESERVE;

	if (d->user != VM_USER_CLIENT || link_streams(l) + kept < most)
		return 0;
	return err_set(e, ERR_LIMIT,
		       "the VM has %zu streams, no more are allowed: the other %u are AWS's",
		       link_streams(l), kept);
}

static int open_asked(struct vm_dial *d, struct err *e)
{
	d->asked.flags = d->siblings ? FRAME_OPEN_SIBLINGS : 0;
	if (may_ask(d, e) != 0 || link_open(d->conn->link, &d->asked, &d->id, e) != 0)
		return -1;
	d->step = DIAL_OPENS;
	return 0;
}

/* Keeps those that may be reached. ERR_DENIED, by the last refusal, when there are none. */
static int judge(struct vm_dial *d, const struct frame_addresses *got, struct err *e)
{
	d->asked.count = 0;
	for (size_t i = 0; i < got->count; i++) {
		struct addr to = got->list[i];

		addr_unmap(&to);
		addr_set_port(&to, d->port);
		if (may_reach(d, &to, e))
			d->asked.list[d->asked.count++] = to;
	}
	return d->asked.count ? 0 : -1;
}

static int begin(struct vm_dial *d, struct err *e)
{
	struct frame_addresses one = { .count = 1 };

	if (addr_from_literal(d->host, d->port, &one.list[0]))
		return judge(d, &one, e) != 0 ? -1 : open_asked(d, e);
	if (may_ask(d, e) != 0 || link_resolve(d->conn->link, d->host, &d->id, e) != 0)
		return -1;
	d->step = DIAL_RESOLVES;
	return 0;
}

void conn_dials_begin(struct vm_conn *c)
{
	LIST_EACH (it, &c->dials) {
		struct vm_dial *d = CONTAINER_OF(it, struct vm_dial, node);

		if (d->step == DIAL_WAITS && begin(d, &d->why) != 0)
			fail_later(d);
	}
	conn_kick(c);
}

/* ---- answers ---- */

static struct vm_dial *find(struct vm_conn *c, uint32_t id)
{
	LIST_EACH (it, &c->dials) {
		struct vm_dial *d = CONTAINER_OF(it, struct vm_dial, node);

		if ((d->step == DIAL_RESOLVES || d->step == DIAL_OPENS) && d->id == id)
			return d;
	}
	return NULL;
}

static bool was_asked_for(const struct vm_dial *d, const struct addr *to)
{
	for (size_t i = 0; i < d->asked.count; i++)
		if (addr_same_host(&d->asked.list[i], to) && addr_port(to) == d->port)
			return true;
	return false;
}

static void opened(struct vm_dial *d, const struct link_answer *a)
{
	struct dialed got = { .stream = a->stream };
	struct vm_conn *c = d->conn;
	struct err why;

	if (was_asked_for(d, &a->to)) {
		addr_format(&a->to, got.address);
		conclude(d, &got);
		return;
	}
	stream_abort(a->stream);
	(void)err_set(&why, ERR_PROTO, "the VM's agent: OPENED for an address that nobody named");
	conn_fail(c, &why);
}

static void resolved(struct vm_dial *d, const struct frame_addresses *got)
{
	if (judge(d, got, &d->why) != 0 || open_asked(d, &d->why) != 0)
		conclude(d, NULL);
}

static void refused(struct vm_dial *d, const struct frame_failed *f)
{
	(void)err_set(&d->why, frame_cause_err(f->cause), "in the VM: %s",
		      f->text[0] ? f->text : err_text(frame_cause_err(f->cause)));
	str_ascii(d->why.msg);
	conclude(d, NULL);
}

void conn_answered(struct vm_conn *c, uint32_t id, const struct link_answer *a)
{
	struct vm_dial *d = c->ended ? NULL : find(c, id);

	if (!d) {
		if (a->stream)
			stream_abort(a->stream);
		return;
	}
	if (a->stream) {
		opened(d, a);
	} else if (a->addresses) {
		d->step = DIAL_OVER; /* that question is answered */
		resolved(d, a->addresses);
	} else {
		refused(d, a->failed);
	}
}

void conn_dials_fail(struct vm_conn *c, const struct err *why)
{
	while (!list_empty(&c->dials)) {
		struct vm_dial *d = CONTAINER_OF(c->dials.next, struct vm_dial, node);

		if (d->step != DIAL_OVER) /* that one has its own cause */
			d->why = *why;
		conclude(d, NULL);
	}
}

/* ---- public ---- */

static struct vm_dial *dial_new(struct vm_conn *c, enum vm_user user, const struct dest *to,
				struct err *e)
{
	struct vm_dial *d = mem_alloc(sizeof(*d));

	if (d)
		d->host = mem_strdup(to->host);
	if (!d || !d->host) {
		mem_free(d);
		(void)err_set(e, ERR_NOMEM, "dial");
		return NULL;
	}
	d->conn = c;
	d->user = user;
	d->port = to->port;
	d->allow = to->allow;
	d->allow_arg = to->allow_arg;
	d->siblings = to->host_allowed && !c->opts.alone;
	list_add_tail(&c->dials, &d->node);
	c->dial_count++;
	return d;
}

static int can_dial(const struct vm_conn *c, enum vm_user user, const struct dest *to,
		    struct err *e)
{
	size_t most = CONN_DIALS_MAX - (user == VM_USER_CLIENT ? CONN_RESERVE : 0);

	if (c->ended) {
		*e = c->why;
		return -1;
	}
	if (strlen(to->host) > FRAME_NAME_MAX)
		return err_set(e, ERR_RESOLVE, "a name of more than %d bytes", FRAME_NAME_MAX);
	if (c->dial_count >= most)
		return err_set(e, ERR_LIMIT, "%zu dials into the VM are under way", c->dial_count);
	return 0;
}

struct vm_dial *vm_conn_dial(struct vm_conn *c, enum vm_user user, const struct dest *to,
			     unsigned limit_ms, vm_dialed_fn *done, void *arg, struct err *e)
{
	struct vm_dial *d;

	if (can_dial(c, user, to, e) != 0)
		return NULL;
	d = dial_new(c, user, to, e);
	if (!d)
		return NULL;
	d->done = done;
	d->arg = arg;
	if (c->up && begin(d, e) != 0) {
		dial_free(d);
		return NULL;
	}
	timer_arm(c->loop, &d->limit, limit_ms ? limit_ms : LIMIT_MS, too_late, d);
	conn_kick(c);
	return d;
}

void vm_dial_cancel(struct vm_dial *d)
{
	struct vm_conn *c = d->conn;

	take_back(d);
	dial_free(d);
	if (!c->ended)
		conn_kick(c);
}
