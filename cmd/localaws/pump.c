#include "cmd/localaws/pump.h"

#include <time.h>

#include "cmd/localaws/world.h"

#define SLEEP_MS 1.1 /* what a sleep of 1 ms takes */
enum {
	/* Messages in one turn of the loop: sessions have their turns, as the processes of an
	 * agent have. Those that come first wait for nobody. */
	FIRST = 2,
	BURST = 6,
	LATE_MS = 8, /* made up for */
};

static double exact_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

void pump_init(struct pump *p, struct world *w, struct channel *ch,
	       size_t (*pull)(void *arg, uint8_t *out, size_t max), void *arg)
{
	*p = (struct pump){ .w = w, .ch = ch, .pull = pull, .arg = arg };
}

static void run(void *arg);

static bool sleeps(struct pump *p)
{
	double now = exact_ms();

	if (p->slept_ms < now - LATE_MS)
		p->slept_ms = p->slept_ms > 0 ? now - LATE_MS : now;
	p->slept_ms += SLEEP_MS;
	if (p->slept_ms <= now)
		return false;
	timer_arm(p->w->loop, &p->sleep, 1, run, p);
	return true;
}

/* true: the pump sleeps now. */
static bool throttled(struct pump *p, size_t n)
{
	double now = (double)world_now_ms(p->w);

	if (p->w->opts->throttle == THROTTLE_NONE)
		return false;
	if (p->w->opts->throttle == THROTTLE_AGENT)
		return sleeps(p);
	p->next_ms = (p->next_ms > now ? p->next_ms : now) +
		     (double)n * 1000.0 / (double)p->w->opts->throttle_rate;
	if (p->next_ms < now + 1)
		return false;
	timer_arm(p->w->loop, &p->sleep, (uint64_t)(p->next_ms - now), run, p);
	return true;
}

static void run_more(void *arg);

static void run_burst(struct pump *p, int count)
{
	uint8_t bytes[CHANNEL_PAYLOAD];

	for (int i = 0; i < count; i++) {
		size_t n;

		if (p->ch->paused || !p->ch->ops->room(p->ch->arg))
			return;
		n = p->pull(p->arg, bytes, sizeof(bytes));
		if (n == 0) {
			p->slept_ms = 0;
			return;
		}
		channel_send(p->ch, WIRE_OUTPUT, bytes, n);
		if (throttled(p, n))
			return;
	}
	loop_post_more(p->w->loop, &p->post, run_more, p);
}

static void run(void *arg)
{
	run_burst(arg, FIRST);
}

static void run_more(void *arg)
{
	run_burst(arg, BURST);
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
