#include "cmd/localaws/pump.h"

#include "cmd/localaws/world.h"

enum { BURST = 256 }; /* messages in one turn of the loop */

void pump_init(struct pump *p, struct world *w, struct channel *ch,
	       size_t (*pull)(void *arg, uint8_t *out, size_t max), void *arg)
{
	*p = (struct pump){ .w = w, .ch = ch, .pull = pull, .arg = arg };
}

static void run(void *arg);

/* true: the pump sleeps now. */
static bool throttled(struct pump *p, size_t n)
{
	double now = (double)world_now_ms(p->w);

	if (p->w->opts->throttle == THROTTLE_NONE)
		return false;
	if (p->w->opts->throttle == THROTTLE_AGENT) {
		timer_arm(p->w->loop, &p->sleep, 1, run, p);
		return true;
	}
	p->next_ms = (p->next_ms > now ? p->next_ms : now) +
		     (double)n * 1000.0 / (double)p->w->opts->throttle_rate;
	if (p->next_ms < now + 1)
		return false;
	timer_arm(p->w->loop, &p->sleep, (uint64_t)(p->next_ms - now), run, p);
	return true;
}

static void run(void *arg)
{
	struct pump *p = arg;
	uint8_t bytes[CHANNEL_PAYLOAD];

	for (int i = 0; i < BURST; i++) {
		size_t n;

		if (p->ch->paused || !p->ch->ops->room(p->ch->arg))
			return;
		n = p->pull(p->arg, bytes, sizeof(bytes));
		if (n == 0)
			return;
		channel_send(p->ch, WIRE_OUTPUT, bytes, n);
		if (throttled(p, n))
			return;
	}
	pump_wake(p);
}

void pump_wake(struct pump *p)
{
	if (!timer_armed(&p->sleep))
		loop_post(p->w->loop, &p->post, run, p);
}

void pump_stop(struct pump *p)
{
	timer_disarm(p->w->loop, &p->sleep);
	loop_unpost(&p->post);
}
