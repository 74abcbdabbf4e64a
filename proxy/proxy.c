/*
 * The list of a listener's clients: who is connected, how many may be, and
 * how all of it ends.
 */
#include <inttypes.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "proxy/audit.h"
#include "proxy/client.h"
#include "proxy/peer.h"
#include "proxy/proxy_impl.h"

enum { HANDSHAKE_MS = 10000, IDLE_MS = 120000, EXCHANGE_MS = 15 * 60000, CLIENTS_MAX = 10000 };

int proxy_new(struct proxy **out, const struct proxy_opts *opts, struct err *e)
{
	struct proxy *p = mem_alloc(sizeof(*p));

	*out = p;
	if (!p)
		return err_set(e, ERR_NOMEM, "proxy");
	p->opts = *opts;
	if (!p->opts.handshake_ms)
		p->opts.handshake_ms = HANDSHAKE_MS;
	if (!p->opts.idle_ms)
		p->opts.idle_ms = IDLE_MS;
	if (!p->opts.exchange_ms)
		p->opts.exchange_ms = EXCHANGE_MS;
	if (!p->opts.clients_max)
		p->opts.clients_max = CLIENTS_MAX;
	list_init(&p->members);
	return 0;
}

void proxy_turn_away(struct proxy *p, int fd, const struct addr *peer, const char *why)
{
	const struct clock *clock = loop_clock(p->opts.loop);
	struct audit_record r = { .id = ++p->last_id,
				  .wall_ms = clock_wall_ms(clock),
				  .mono_ms = clock_mono_ms(clock),
				  .listener = p->opts.listener,
				  .proto = "unknown",
				  .action = AUDIT_REFUSE };
	char text[ADDR_TEXT], program[512];

	addr_format(peer, text);
	audit_text(&r.peer, text);
	audit_text(&r.error, why);
	if (peer->ss.ss_family == AF_UNIX)
		r.has_peer_id = peer_id(fd, &r.uid, &r.pid);
	if (r.has_peer_id && peer_program(r.pid, program, sizeof(program)))
		audit_text(&r.exe, program);
	close(fd);
	proxy_record(p, &r);
}

void proxy_accept(struct proxy *p, int fd, const struct addr *peer)
{
	struct err e = { 0 };

	if (p->closing) {
		close(fd);
		return;
	}
	if (p->count >= p->opts.clients_max) {
		if (!p->full)
			log_warn("proxy", "%s: %zu clients are connected, more are turned away",
				 p->opts.listener, p->count);
		p->full = true;
		proxy_turn_away(p, fd, peer, "too many clients are connected");
		return;
	}
	p->full = false;
	if (client_new(p, fd, peer, &e))
		log_warn("proxy", "%s: a client is turned away: %s", p->opts.listener, e.msg);
}

size_t proxy_clients(const struct proxy *p)
{
	return p->count;
}

void member_add(struct proxy *p, struct member *m, void (*stop)(struct member *, bool now))
{
	m->stop = stop;
	list_add_tail(&p->members, &m->node);
	p->count++;
}

static void gone(void *arg)
{
	struct proxy *p = arg;
	void (*closed)(void *) = p->closed;
	void *closed_arg = p->closed_arg;

	timer_disarm(p->opts.loop, &p->grace);
	mem_free(p);
	closed(closed_arg);
}

void member_del(struct proxy *p, struct member *m)
{
	list_del(&m->node);
	p->count--;
	if (p->closing && !p->count)
		loop_post(p->opts.loop, &p->post, gone, p);
}

static void stop_all(struct proxy *p, bool now)
{
	LIST_EACH (it, &p->members) {
		struct member *m = CONTAINER_OF(it, struct member, node);

		m->stop(m, now);
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
	audit_write(p->opts.audit, r);
	log_debug("proxy",
		  "%s[%" PRIu64 "]: %s %s:%u %s by %s: up %" PRIu64 ", down %" PRIu64 "%s%s",
		  p->opts.listener, r->id, r->proto, r->host ? r->host : "-", (unsigned)r->port,
		  r->route ? r->route : "refused", r->rule ? r->rule : "-", r->up, r->down,
		  r->error ? ": " : "", r->error ? r->error : "");
	audit_record_free(r);
}
