#include "tests/support/until.h"

#include "tests/support/cmocka_all.h"

static void look(void *arg)
{
	struct until *u = arg;

	if (u->late || u->so(u->arg))
		loop_stop(u->loop);
	else
		timer_arm(u->loop, &u->nap, 2, look, u);
}

static void too_late(void *arg)
{
	((struct until *)arg)->late = true;
}

void until_begin(struct until *u, struct loop *l, unsigned limit_ms, void *arg)
{
	*u = (struct until){ .loop = l, .arg = arg };
	timer_arm(l, &u->limit, limit_ms, too_late, u);
}

void until_so(struct until *u, bool (*so)(void *arg))
{
	u->so = so;
	timer_arm(u->loop, &u->nap, 0, look, u);
	loop_run(u->loop);
	timer_disarm(u->loop, &u->nap);
	assert_false(u->late);
}

void until_end(struct until *u)
{
	timer_disarm(u->loop, &u->nap);
	timer_disarm(u->loop, &u->limit);
}
