/*
 * Relays under way.
 *
 * The limit for those in which nothing moves costs a relay nothing: one timer
 * of the proxy, armed only while there is a limit and a relay, compares what each has
 * moved with what it had moved the last time. SWEEPS times the same makes an end.
 */
#include "base/mem.h"
#include "net/relay.h"
#include "proxy/audit.h"
#include "proxy/proxy_impl.h"
#include "proxy/running.h"
#include "stream/stream.h"

enum { SWEEPS = 8 };

enum end { END_ITS_OWN = 0, END_STOPPED, END_STILL };

struct running {
	struct member member;
	struct proxy *proxy;
	struct net_relay *relay;
	enum end end;
	unsigned still; /* sweeps that found `moved` unchanged */
	uint64_t moved;
	struct audit_record rec;
};

static void no_data(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}
static void nothing(void *arg)
{
	(void)arg;
}
static void no_end(void *arg, const struct err *why)
{
	(void)arg;
	(void)why;
}
static const struct stream_handler nobody = { no_data, nothing, nothing, no_end };

void proxy_abandon(struct stream *s)
{
	stream_attach(s, &nobody, NULL);
	stream_abort(s);
}

static void stop(struct member *m, bool now)
{
	struct running *r = CONTAINER_OF(m, struct running, member);

	if (!now || !r->relay)
		return;
	r->end = END_STOPPED;
	net_relay_abort(r->relay);
}

/* ---- those in which nothing moves ---- */

static void look_at(struct running *r)
{
	uint64_t up, down;

	net_relay_counts(r->relay, &up, &down);
	if (up + down != r->moved) {
		r->moved = up + down;
		r->still = 0;
	} else if (++r->still > SWEEPS && r->end == END_ITS_OWN) {
		r->end = END_STILL;
		net_relay_abort(r->relay);
	}
}

static void sweep_later(struct proxy *p);

static void sweep(void *arg)
{
	struct proxy *p = arg;
	size_t n = 0;

	LIST_EACH (it, &p->members) {
		struct running *r = CONTAINER_OF(CONTAINER_OF(it, struct member, node),
						 struct running, member);

		if (r->member.stop != stop || !r->relay) /* a client, or not begun */
			continue;
		look_at(r);
		n++;
	}
	if (n)
		sweep_later(p);
}

static void sweep_later(struct proxy *p)
{
	unsigned ms = p->opts.still_ms / SWEEPS;

	if (p->opts.still_ms && !timer_armed(&p->sweep))
		timer_arm(p->opts.loop, &p->sweep, ms ? ms : 1, sweep, p);
}

struct running *running_new(struct proxy *p, struct err *e)
{
	struct running *r = mem_alloc(sizeof(*r));

	if (!r) {
		err_set(e, ERR_NOMEM, "relay");
		return NULL;
	}
	r->proxy = p;
	member_add(p, &r->member, stop);
	return r;
}

void running_free(struct running *r)
{
	member_del(r->proxy, &r->member);
	mem_free(r);
}

void running_take_place(struct running *r, struct member *from)
{
	member_move_place(from, &r->member);
}

static void done(void *arg, const struct relay_result *result)
{
	struct running *r = arg;

	r->rec.up += result->up;
	r->rec.down += result->down;
	if (r->end == END_STOPPED)
		audit_text(&r->rec.error, "awsocks is stopping");
	else if (r->end == END_STILL)
		audit_text(&r->rec.error, "nothing moved for longer than the idle limit");
	else if (result->why)
		audit_text(&r->rec.error, result->why->msg);
	proxy_record(r->proxy, &r->rec);
	running_free(r);
}

int running_start(struct running *r, struct stream *client, struct stream *remote,
		  const uint8_t *early, size_t n, struct audit_record *rec, struct err *e)
{
	r->relay = net_relay_start(r->proxy->opts.loop, client, remote, early, n, done, r);
	if (!r->relay)
		return err_set(e, ERR_NOMEM, "relay");
	r->rec = *rec;
	*rec = (struct audit_record){ 0 };
	sweep_later(r->proxy);
	return 0;
}
