/* Relays under way. */
#include "base/mem.h"
#include "net/relay.h"
#include "proxy/audit.h"
#include "proxy/learn.h"
#include "proxy/proxy_impl.h"
#include "proxy/running.h"
#include "stream/stream.h"

enum end { END_ITS_OWN = 0, END_STOPPED, END_STILL };

struct running {
	struct member member;
	struct proxy *proxy;
	struct net_relay *relay;
	enum end end;
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

static uint64_t moved(struct member *m)
{
	struct running *r = CONTAINER_OF(m, struct running, member);
	uint64_t up, down;

	net_relay_counts(r->relay, &up, &down);
	return up + down;
}

static void still(struct member *m)
{
	struct running *r = CONTAINER_OF(m, struct running, member);

	if (r->end != END_ITS_OWN)
		return;
	r->end = END_STILL;
	net_relay_abort(r->relay);
}

static const struct member_ops ops = { .stop = stop, .moved = moved, .still = still };

struct running *running_new(struct proxy *p, struct err *e)
{
	struct running *r = mem_alloc(sizeof(*r));

	if (!r) {
		err_set(e, ERR_NOMEM, "relay");
		return NULL;
	}
	r->proxy = p;
	member_add(p, &r->member, &ops);
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
	learn_note(r->proxy->opts.learn, &r->rec);
	member_begins(r->proxy, &r->member);
	return 0;
}
