#include "cmd/agent/agent.h"

#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/agent/dial.h"
#include "cmd/agent/meter.h"
#include "cmd/agent/network.h"
#include "cmd/agent/relay.h"
#include "cmd/agent/resolver.h"
#include "cmd/agent/wire.h"
#include "vm/link.h"

enum {
	METRICS_MS = 10000,
	LAST_WORDS_MS = 500, /* for a GOODBYE to leave */
	WINDOW = 256 * 1024,
	BUDGET = 16 * 1024 * 1024,  /* held for sockets that do not take it */
	SEND_MAX = 64 * 1024,       /* what base/buf.h keeps when it is empty */
	STREAM_MEMORY = 128 * 1024, /* that one may cost when nobody reads it */
	STREAMS_LEAST = 64
};

struct agent {
	struct ev *ev;
	const struct agent_conf *conf;
	struct say *say;
	struct link *link;
	struct wire *wire;
	struct network *network;
	struct resolver *resolver;
	struct relays relays;
	struct dials dials;
	struct frame_network now; /* what the host is told */
	bool network_known, welcomed, kicked, ending;
	struct ev_timer turn, metrics, last_words;
	uint64_t began_ms;
	int status; /* of agent_run() */
	struct err why;
};

/* ---- ends ---- */

static void stop(void *arg)
{
	ev_stop(((struct agent *)arg)->ev);
}

static void finish(struct agent *a, int status)
{
	if (a->ending)
		return;
	a->ending = true;
	a->status = status;
	if (status == 0) {
		stop(a);
		return;
	}
	wire_pump(a->wire);
	ev_arm(a->ev, &a->last_words, wire_idle(a->wire) ? 0 : LAST_WORDS_MS, stop, a);
}

static void on_wire_ended(void *arg, const struct err *why)
{
	struct agent *a = arg;

	if (why)
		a->why = *why;
	finish(a, why ? -1 : 0);
}

static void on_shutdown(void *arg)
{
	finish(arg, 0);
}

static void on_goodbye(void *arg, const char *text)
{
	struct agent *a = arg;

	say_warn(a->say, "the host ends the link: %s", text);
}

/* ---- turns ---- */

static void on_turn(void *arg)
{
	struct agent *a = arg;

	a->kicked = false;
	link_run(a->link);
	wire_pump(a->wire);
}

static void on_kick(void *arg)
{
	struct agent *a = arg;

	if (a->kicked)
		return;
	a->kicked = true;
	ev_arm(a->ev, &a->turn, 0, on_turn, a);
}

/* ---- what the host is told by itself ---- */

static void tell_metrics(void *arg)
{
	struct agent *a = arg;
	struct frame_metrics m = { .bytes_up = a->relays.up,
				   .bytes_down = a->relays.down,
				   .streams = (uint32_t)link_streams(a->link),
				   .dials = a->dials.ever,
				   .failed = a->dials.failed,
				   .uptime_ms = ev_now(a->ev) - a->began_ms };

	meter_memory(&m.memory_total, &m.memory_available);
	link_metrics(a->link, &m);
	ev_arm(a->ev, &a->metrics, METRICS_MS, tell_metrics, a);
}

static void tell_network(struct agent *a)
{
	if (a->welcomed && a->network_known)
		link_network(a->link, &a->now);
}

static void on_network(void *arg, const struct frame_network *n)
{
	struct agent *a = arg;

	a->now = *n;
	a->network_known = true;
	tell_network(a);
}

static void on_welcome(void *arg, const struct frame_welcome *w)
{
	struct agent *a = arg;

	(void)w;
	a->welcomed = true;
	a->say->link = a->link;
	say_info(a->say, "agent %s", AWSOCKS_VERSION);
	tell_network(a);
	tell_metrics(a);
}

/* ---- questions ---- */

static void refuse(struct agent *a, uint32_t id, enum frame_cause cause, const char *text)
{
	struct frame_failed f = { .cause = (uint8_t)cause };

	(void)str_fmt(f.text, sizeof(f.text), "%s", text);
	link_failed(a->link, id, &f);
}

/* False: it has been answered. */
static bool has_network(struct agent *a, uint32_t id)
{
	if (a->network_known && a->now.up)
		return true;
	refuse(a, id, FRAME_CAUSE_NETUNREACH,
	       a->network_known ? a->now.why : "the VM has no address yet");
	return false;
}

static void on_resolve(void *arg, uint32_t id, const char *name)
{
	struct agent *a = arg;
	struct err e;

	if (has_network(a, id) && resolver_ask(a->resolver, id, name, &e) != 0)
		refuse(a, id, FRAME_CAUSE_LIMIT, e.msg);
}

static void on_resolved(void *arg, uint32_t id, const struct resolved *r)
{
	struct agent *a = arg;

	if (r->to.count)
		link_addresses(a->link, id, &r->to);
	if (r->to.count)
		return;
	say_debug(a->say, "%s", r->why.text);
	link_failed(a->link, id, &r->why);
}

static void on_open(void *arg, uint32_t id, const struct frame_addresses *to)
{
	struct agent *a = arg;

	if (has_network(a, id))
		dial_start(&a->dials, id, to);
}

static void on_connected(void *arg, uint32_t id, int fd, const struct addr *to)
{
	struct agent *a = arg;
	struct stream *s = link_opened(a->link, id, to);

	if (s)
		relay_start(&a->relays, fd, s);
	else
		relay_close_reset(fd);
}

static void on_unreached(void *arg, uint32_t id, const struct frame_failed *why)
{
	struct agent *a = arg;

	say_debug(a->say, "%s", why->text);
	link_failed(a->link, id, why);
}

static void on_taken_back(void *arg, uint32_t id)
{
	struct agent *a = arg;

	dial_cancel(&a->dials, id);
	resolver_forget(a->resolver, id);
}

static const struct link_handler link_handler = {
	.kick = on_kick,
	.welcome = on_welcome,
	.resolve = on_resolve,
	.open = on_open,
	.taken_back = on_taken_back,
	.shutdown = on_shutdown,
	.goodbye = on_goodbye,
};

/* ---- beginning and end ---- */

/* No more than there is memory for: PID 1 must not run out of it. */
static uint32_t streams_for(uint64_t memory, uint32_t most)
{
	uint64_t n = memory / STREAM_MEMORY;

	if (!memory || n > most)
		return most;
	return n < STREAMS_LEAST ? STREAMS_LEAST : (uint32_t)n;
}

static void say_hello(struct agent *a, uint32_t streams_max)
{
	struct frame_hello h = { .least = FRAME_VERSION,
				 .most = FRAME_VERSION,
				 .caps = a->conf->ipv6 || a->conf->net == AGENT_CONF_NONE
						 ? FRAME_CAP_IPV6
						 : 0,
				 .window = WINDOW,
				 .streams_max = streams_max };
	struct utsname u;

	memcpy(h.nonce, a->conf->nonce, sizeof(h.nonce));
	(void)str_fmt(h.agent, sizeof(h.agent), "%s %s", AWSOCKS_VERSION,
		      uname(&u) == 0 ? u.machine : "?");
	link_hello(a->link, &h);
}

static int make_link(struct agent *a, int fd, struct err *e)
{
	struct link_opts o = {
		.role = LINK_GUEST, .window = WINDOW, .budget = BUDGET, .send_max = SEND_MAX
	};
	uint64_t total, available;

	meter_memory(&total, &available);
	o.streams_max = streams_for(available, a->conf->streams_max);
	a->link = link_new(&o, &link_handler, a, e);
	if (!a->link || wire_new(&a->wire, a->ev, a->link, fd, on_wire_ended, a, e) != 0)
		return -1;
	a->relays.wire = a->wire;
	say_hello(a, o.streams_max);
	return 0;
}

static int start(struct agent *a, int fd, struct err *e)
{
	if (ev_new(&a->ev, e) != 0)
		return -1;
	a->began_ms = ev_now(a->ev);
	relays_init(&a->relays, a->ev);
	a->dials = (struct dials){ .ev = a->ev,
				   .network = &a->now,
				   .allow_loopback = a->conf->allow_loopback,
				   .limit_ms = a->conf->dial_ms,
				   .connected = on_connected,
				   .unreached = on_unreached,
				   .arg = a };
	list_init(&a->dials.all);
	if (make_link(a, fd, e) != 0 ||
	    resolver_new(&a->resolver, a->ev, a->conf->resolve_ms, on_resolved, a, e) != 0)
		return -1;
	return network_new(&a->network, a->ev, a->say, a->conf, on_network, a, e);
}

/* Streams break, their sockets are reset. */
static void end(struct agent *a, int fd)
{
	a->say->link = NULL;
	network_free(a->network);
	dials_cancel_all(&a->dials);
	resolver_free(a->resolver);
	if (a->link) {
		relays_end(&a->relays);
		link_break(a->link, a->status ? &a->why : NULL);
		link_run(a->link);
		ev_disarm(a->ev, &a->turn);
		if (link_streams(a->link) == 0)
			link_free(a->link);
	}
	if (a->wire)
		wire_free(a->wire);
	else
		close(fd);
	ev_free(a->ev);
	mem_free(a);
}

int agent_run(const struct agent_conf *conf, struct say *say, int fd, struct err *e)
{
	struct agent *a = mem_alloc(sizeof(*a));
	int status = -1;

	if (!a) {
		close(fd);
		return err_set(e, ERR_NOMEM, "agent");
	}
	a->conf = conf;
	a->say = say;
	list_init(&a->dials.all);
	if (start(a, fd, e) == 0 && ev_run(a->ev, e) == 0) {
		status = a->status;
		if (e && status != 0)
			*e = a->why;
	}
	end(a, fd);
	return status;
}
