/*
 * What the guest says, and what it does not say in time:
 *
 *     HELLO within hello_ms -> an address within network_ms -> bytes at least every silent_ms
 *
 * Each PING is answered, or the guest hangs. Nobody is given up for this program's own pause
 * (SIGSTOP, say): only a PING that was sent and not answered counts.
 */
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "vm/conn_impl.h"

enum { LOG_LINES = 50 /* of the guest's between two pings */ };

static struct vm_conn *conn_of(void *arg)
{
	return arg;
}

/* ---- limits ---- */

static void no_hello(void *arg)
{
	struct vm_conn *c = arg;
	struct err why;

	(void)err_set(&why, ERR_TIMEOUT, "the VM's agent said nothing for %u s after its start",
		      c->opts.hello_ms / 1000);
	conn_fail(c, &why);
}

void conn_wait_hello(struct vm_conn *c)
{
	timer_arm(c->loop, &c->setup, c->opts.hello_ms, no_hello, c);
}

static void no_network(void *arg)
{
	struct vm_conn *c = arg;
	const char *why_not = c->network.why;
	struct err why;

	(void)err_set(&why, ERR_TIMEOUT, "the VM got no address for %u s%s%s",
		      c->opts.network_ms / 1000, *why_not ? ": " : "", why_not);
	conn_fail(c, &why);
}

static void ping(struct vm_conn *c)
{
	c->pinging = true;
	c->pinged_ms = loop_now_ms(c->loop);
	link_ping(c->link, ++c->ping_token);
	conn_kick(c);
}

static void hangs(struct vm_conn *c, const char *how, uint64_t ms)
{
	struct err why;

	(void)err_set(&why, ERR_TIMEOUT, "the VM hangs: %s for %u s", how, (unsigned)(ms / 1000));
	conn_fail(c, &why);
}

static void on_ping_due(void *arg)
{
	struct vm_conn *c = arg;
	uint64_t waited = c->pinging ? loop_now_ms(c->loop) - c->pinged_ms : 0;

	c->logged = 0;
	timer_arm(c->loop, &c->ping, c->opts.ping_ms, on_ping_due, c);
	if (!c->pinging)
		ping(c);
	else if (waited >= 3 * (uint64_t)c->opts.silent_ms) /* it speaks, but does not listen */
		hangs(c, "it answers no ping", waited);
}

static void on_silence(void *arg)
{
	struct vm_conn *c = arg;
	uint64_t quiet;

	conn_read(c); /* this program may be late, not the guest */
	if (c->ended)
		return;
	quiet = loop_now_ms(c->loop) - c->heard_ms;
	if (quiet < c->opts.silent_ms) {
		timer_arm(c->loop, &c->silence, c->opts.silent_ms - quiet, on_silence, c);
	} else if (!c->pinging) {
		ping(c);
		timer_arm(c->loop, &c->silence, c->opts.silent_ms, on_silence, c);
	} else {
		hangs(c, "nothing came", quiet);
	}
}

void conn_timers_stop(struct vm_conn *c)
{
	timer_disarm(c->loop, &c->setup);
	timer_disarm(c->loop, &c->ping);
	timer_disarm(c->loop, &c->silence);
}

/* ---- HELLO ---- */

/* Looks at every byte, whatever the first one says. */
static bool same_nonce(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t differs = 0;

	for (size_t i = 0; i < FRAME_NONCE; i++)
		differs = (uint8_t)(differs | (a[i] ^ b[i]));
	return differs == 0;
}

/* The version is the link's affair. */
static int welcome(struct vm_conn *c, const struct frame_hello *h, struct err *e)
{
	const struct frame_welcome w = { .caps = h->caps & FRAME_CAP_IPV6 };

	if (!same_nonce(h->nonce, c->opts.nonce))
		return err_set(e, ERR_PROTO, "the HELLO on the VM's link is not of this boot");
	return link_welcome(c->link, &w, e);
}

static void on_hello(void *arg, const struct frame_hello *h)
{
	struct vm_conn *c = conn_of(arg);
	struct frame_hello plain = *h;
	struct err e;

	if (c->ended || c->welcomed)
		return;
	str_ascii(plain.agent);
	h = &plain;
	if (welcome(c, h, &e) != 0) {
		conn_fail(c, &e);
		return;
	}
	c->welcomed = true;
	(void)str_fmt(c->agent, sizeof(c->agent), "%s", h->agent);
	timer_arm(c->loop, &c->setup, c->opts.network_ms, no_network, c);
	timer_arm(c->loop, &c->ping, c->opts.ping_ms, on_ping_due, c);
	timer_arm(c->loop, &c->silence, c->opts.silent_ms, on_silence, c);
	conn_kick(c);
	if (c->handler->hello)
		c->handler->hello(c->arg, h);
}

/* ---- the rest ---- */

static void network_changed(struct vm_conn *c, const struct frame_network *n)
{
	bool was_up = c->up;

	c->up = n->up;
	if (n->up) {
		c->network = *n;
		c->has_network = true;
		timer_disarm(c->loop, &c->setup);
	} else {
		(void)str_fmt(c->network.why, sizeof(c->network.why), "%s", n->why);
		if (was_up)
			timer_arm(c->loop, &c->setup, c->opts.network_ms, no_network, c);
	}
}

static void on_network(void *arg, const struct frame_network *n)
{
	struct vm_conn *c = conn_of(arg);
	struct frame_network plain = *n;
	bool was_up = c->up;

	if (c->ended)
		return;
	str_ascii(plain.why);
	network_changed(c, &plain);
	if (c->handler->network)
		c->handler->network(c->arg, &plain);
	if (!c->ended && c->up && !was_up)
		conn_dials_begin(c);
}

static void on_metrics(void *arg, const struct frame_metrics *m)
{
	struct vm_conn *c = conn_of(arg);

	c->metrics = *m;
	c->has_metrics = true;
	if (!c->ended && c->handler->metrics)
		c->handler->metrics(c->arg, m);
}

/* It may say what it likes, and as much: only so many lines are shown, none as an error of ours. */
static void on_log(void *arg, unsigned level, const char *text)
{
	struct vm_conn *c = conn_of(arg);
	char plain[FRAME_TEXT_MAX + 1];

	if (c->logged > LOG_LINES)
		return;
	(void)str_fmt(plain, sizeof(plain), "%s", text);
	str_ascii(plain);
	if (c->logged++ == LOG_LINES)
		log_warn("vm", "guest: more lines than are shown");
	else
		log_at(level <= LOG_WARN   ? LOG_WARN
		       : level == LOG_INFO ? LOG_INFO
					   : LOG_DEBUG,
		       "vm", "guest: %s", plain);
}

static void on_answered(void *arg, uint32_t id, const struct link_answer *a)
{
	conn_answered(conn_of(arg), id, a);
}

static void on_pong(void *arg, uint64_t token)
{
	struct vm_conn *c = conn_of(arg);

	if (!c->pinging || token != c->ping_token)
		return;
	c->pinging = false;
	c->rtt_ms = (unsigned)(loop_now_ms(c->loop) - c->pinged_ms);
}

static void on_goodbye(void *arg, const char *text)
{
	struct vm_conn *c = conn_of(arg);
	struct err why;

	(void)err_set(&why, ERR_CLOSED, "the VM's agent ended the link: %s", text);
	str_ascii(why.msg);
	conn_fail(c, &why);
}

static void on_kick(void *arg)
{
	conn_kick(conn_of(arg));
}

const struct link_handler conn_link_handler = {
	.kick = on_kick,
	.hello = on_hello,
	.network = on_network,
	.metrics = on_metrics,
	.log = on_log,
	.answered = on_answered,
	.pong = on_pong,
	.goodbye = on_goodbye,
};
