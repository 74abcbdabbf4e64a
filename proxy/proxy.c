/*
 * The list of a listener's clients: who is connected, how many may be, and
 * how all of it ends.
 *
 * The limit for those in which nothing moves costs them nothing: one timer of
 * the proxy, armed only while there is a limit and somebody for it, compares what
 * each has moved with what it had moved the last time. SWEEPS times the same
 * makes an end.
 */
#include <inttypes.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "proxy/audit.h"
#include "proxy/auth.h"
#include "proxy/client.h"
#include "proxy/learn.h"
#include "proxy/limits.h"
#include "proxy/peer.h"
#include "proxy/proxy_impl.h"

enum { SWEEPS = 8 }; /* in the time of opts.still_ms */
enum { HANDSHAKE_MS = 10000, IDLE_MS = 120000, EXCHANGE_MS = 15 * 60000, SAY_AGAIN_MS = 60000 };

int proxy_new(struct proxy **out, const struct proxy_opts *opts, struct err *e)
{
	struct proxy *p = mem_alloc(sizeof(*p));

	*out = p;
	if (!p)
		return err_set(e, ERR_NOMEM, "proxy");
	p->opts = *opts;
	p->opts.users = auth_users_ref(opts->users);
	if (!p->opts.handshake_ms)
		p->opts.handshake_ms = HANDSHAKE_MS;
	if (!p->opts.idle_ms)
		p->opts.idle_ms = IDLE_MS;
	if (!p->opts.exchange_ms)
		p->opts.exchange_ms = EXCHANGE_MS;
	if (!p->opts.id_step)
		p->opts.id_step = 1;
	p->last_id = p->opts.id_first;
	list_init(&p->members);
	return 0;
}

/* One thread writes, so that no locked instruction is needed. */
static void count_one(atomic_uint_least64_t *n)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

static void count_action(const struct proxy *p, enum audit_action action)
{
	struct proxy_counts *n = p->opts.counts;

	if (n)
		count_one(action == AUDIT_ALLOW   ? &n->allowed
			  : action == AUDIT_BLOCK ? &n->blocked
						  : &n->refused);
}

/* Bytes that nobody has read would make the end of the connection a reset. */
static void close_unserved(struct proxy *p, int fd)
{
	char unread[512];

	(void)recv(fd, unread, sizeof(unread), MSG_DONTWAIT);
	close(fd);
	limits_leave(p->opts.limits);
}

/* fd: -1 when it is closed already. */
static void record_unserved(struct proxy *p, int fd, const struct addr *peer, const char *why)
{
	const struct clock *clock = loop_clock(p->opts.loop);
	struct audit_record r = { .id = proxy_next_id(p),
				  .wall_ms = clock_wall_ms(clock),
				  .mono_ms = clock_mono_ms(clock),
				  .listener = p->opts.listener,
				  .proto = "unknown",
				  .action = AUDIT_REFUSE };
	char text[ADDR_TEXT];

	addr_format(peer, text);
	audit_text(&r.peer, text);
	audit_text(&r.error, why);
	if (fd >= 0 && peer->ss.ss_family == AF_UNIX)
		r.has_peer_id = peer_id(fd, &r.uid, &r.pid);
	record_program(&r);
	if (p->opts.counts)
		count_one(&p->opts.counts->turned_away);
	proxy_record(p, &r);
}

void record_program(struct audit_record *r)
{
	char program[512];

	if (r->has_peer_id && peer_program(r->pid, program, sizeof(program)))
		audit_text(&r->exe, program);
}

uint64_t proxy_next_id(struct proxy *p)
{
	p->last_id += p->opts.id_step;
	return p->last_id;
}

void proxy_turn_away(struct proxy *p, int fd, const struct addr *peer, const char *why)
{
	record_unserved(p, fd, peer, why);
	close_unserved(p, fd);
}

/* The peer's share, or what is wrong. */
static int take_share(struct proxy *p, int fd, const struct addr *peer, struct limits_peer **out,
		      struct err *e)
{
	long uid = -1, pid;

	if (peer->ss.ss_family == AF_UNIX)
		(void)peer_id(fd, &uid, &pid);
	return limits_peer_take(p->opts.limits, peer, uid, out, e);
}

/* Not for every client that meets the same shortage. */
static void say_short(struct proxy *p, const struct err *why)
{
	uint64_t now = loop_now_ms(p->opts.loop);

	if (p->said_ms && now - p->said_ms < SAY_AGAIN_MS)
		return;
	p->said_ms = now ? now : 1;
	log_warn("proxy", "%s: clients are turned away: %s", p->opts.listener, why->msg);
}

void proxy_accept(struct proxy *p, int fd, const struct addr *peer)
{
	struct limits_peer *share;
	struct err e = { 0 };

	if (p->closing) {
		proxy_turn_away(p, fd, peer, "awsocks is stopping");
		return;
	}
	if (take_share(p, fd, peer, &share, &e)) {
		proxy_turn_away(p, fd, peer, e.msg);
		return;
	}
	if (client_new(p, fd, peer, share, &e)) {
		say_short(p, &e);
		record_unserved(p, -1, peer, e.msg);
		limits_peer_give(share);
		limits_leave(p->opts.limits);
		return;
	}
	if (p->opts.counts)
		count_one(&p->opts.counts->accepted);
}

void proxy_set_users(struct proxy *p, struct auth_users *users)
{
	auth_users_unref(p->opts.users);
	p->opts.users = auth_users_ref(users);
}

size_t proxy_clients(const struct proxy *p)
{
	return p->count;
}

static void count(struct proxy *p, size_t now)
{
	atomic_size_t *all = p->opts.connected;

	if (all)
		atomic_store_explicit(
			all, atomic_load_explicit(all, memory_order_relaxed) + now - p->count,
			memory_order_relaxed);
	p->count = now;
}

void member_add(struct proxy *p, struct member *m, const struct member_ops *ops)
{
	m->ops = ops;
	list_add_tail(&p->members, &m->node);
	count(p, p->count + 1);
}

/* ---- those in which nothing moves ---- */

static void look_at(struct member *m)
{
	uint64_t moved = m->ops->moved(m);

	if (moved != m->moved)
		m->still = 0;
	else if (++m->still > SWEEPS)
		m->ops->still(m);
	m->moved = moved;
}

static void sweep_later(struct proxy *p);

static void sweep(void *arg)
{
	struct proxy *p = arg;
	size_t n = 0;

	LIST_EACH (it, &p->members) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		if (!m->begun)
			continue;
		look_at(m);
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

void member_begins(struct proxy *p, struct member *m)
{
	m->begun = true;
	sweep_later(p);
}

/* ---- the end ---- */

static void gone(void *arg)
{
	struct proxy *p = arg;
	void (*closed)(void *) = p->closed;
	void *closed_arg = p->closed_arg;

	timer_disarm(p->opts.loop, &p->grace);
	timer_disarm(p->opts.loop, &p->sweep);
	auth_users_unref(p->opts.users);
	mem_free(p);
	closed(closed_arg);
}

void member_move_place(struct member *from, struct member *to)
{
	to->placed = from->placed;
	to->peer = from->peer;
	from->placed = false;
	from->peer = NULL;
}

static void give_place(struct proxy *p, struct member *m)
{
	if (!m->placed)
		return;
	limits_peer_give(m->peer);
	limits_leave(p->opts.limits);
	if (p->opts.ended)
		p->opts.ended(p->opts.arg);
}

void member_del(struct proxy *p, struct member *m)
{
	list_del(&m->node);
	count(p, p->count - 1);
	give_place(p, m);
	if (p->closing && !p->count)
		loop_post(p->opts.loop, &p->post, gone, p);
}

static void stop_all(struct proxy *p, bool now)
{
	LIST_EACH (it, &p->members) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		m->ops->stop(m, now);
	}
}

static void grace_over(void *arg)
{
	stop_all(arg, true);
}

void proxy_close(struct proxy *p, unsigned grace_ms, void (*closed)(void *arg), void *arg)
{
	p->closing = true;
	p->closed = closed;
	p->closed_arg = arg;
	stop_all(p, false);
	if (!p->count)
		loop_post(p->opts.loop, &p->post, gone, p);
	else
		timer_arm(p->opts.loop, &p->grace, grace_ms, grace_over, p);
}

void proxy_record(struct proxy *p, struct audit_record *r)
{
	count_action(p, r->action);
	learn_note(p->opts.learn, r);
	audit_write(p->opts.audit, r);
	log_debug("proxy",
		  "%s[%" PRIu64 "]: %s %s:%u %s by %s: up %" PRIu64 ", down %" PRIu64 "%s%s",
		  p->opts.listener, r->id, r->proto, r->host ? r->host : "-", (unsigned)r->port,
		  r->route ? r->route : "refused", r->rule ? r->rule : "-", r->up, r->down,
		  r->error ? ": " : "", r->error ? r->error : "");
	audit_record_free(r);
}
