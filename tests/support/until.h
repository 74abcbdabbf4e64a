#ifndef TESTS_SUPPORT_UNTIL_H
#define TESTS_SUPPORT_UNTIL_H
/* Running a loop until something is so, with a limit for all of a test together. In a header: a
 * program that has a loop of its own making shall not be linked with this. */
#include <stdbool.h>

#include "net/loop.h"
#include "tests/support/cmocka_all.h"

struct until {
	struct loop *loop;
	struct loop_timer nap, limit;
	bool (*so)(void *arg); /* asked every 2 ms */
	void *arg;
	bool late;
};

static void until_look(void *arg)
{
	struct until *u = arg;

	if (u->late || u->so(u->arg))
		loop_stop(u->loop);
	else
		timer_arm(u->loop, &u->nap, 2, until_look, u);
}

static void until_late(void *arg)
{
	((struct until *)arg)->late = true;
}

static void until_begin(struct until *u, struct loop *l, unsigned limit_ms, void *arg)
{
	*u = (struct until){ .loop = l, .arg = arg };
	timer_arm(l, &u->limit, limit_ms, until_late, u);
}

/* Fails the test when the limit is over. */
static void until_so(struct until *u, bool (*so)(void *arg))
{
	u->so = so;
	timer_arm(u->loop, &u->nap, 0, until_look, u);
	loop_run(u->loop);
	timer_disarm(u->loop, &u->nap);
	assert_false(u->late);
}

/* Before the loop is freed. */
static void until_end(struct until *u)
{
	timer_disarm(u->loop, &u->nap);
	timer_disarm(u->loop, &u->limit);
}
#endif
