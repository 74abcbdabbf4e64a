/*
 * Timers: a pairing heap of the owners' nodes, so that arming allocates
 * nothing and costs no comparison but one. What is armed from a callback waits
 * for a later turn, also when it is due at once.
 */
#include "net/loop_impl.h"

static bool before(const struct loop_timer *a, const struct loop_timer *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

/* Both are roots; the later becomes the first child of the earlier. */
static struct loop_timer *meld(struct loop_timer *a, struct loop_timer *b)
{
	struct loop_timer *swap;

	if (!a || !b)
		return a ? a : b;
	if (before(b, a)) {
		swap = a;
		a = b;
		b = swap;
	}
	b->prev = a;
	b->next = a->child;
	if (a->child)
		a->child->prev = b;
	a->child = b;
	return a;
}

/* Melds a list of siblings in pairs, then the pairs from the last to the first. */
static struct loop_timer *meld_siblings(struct loop_timer *first)
{
	struct loop_timer *pairs = NULL, *root = NULL, *a, *b;

	while (first) {
		a = first;
		b = a->next;
		first = b ? b->next : NULL;
		a->next = a->prev = NULL;
		if (b)
			b->next = b->prev = NULL;
		a = meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		a = pairs;
		pairs = a->next;
		a->next = NULL;
		root = meld(root, a);
	}
	return root;
}

static void cut(struct loop *l, struct loop_timer *t)
{
	struct loop_timer *below = meld_siblings(t->child);

	t->child = NULL;
	if (l->timers == t) {
		l->timers = below;
	} else {
		if (t->prev->child == t)
			t->prev->child = t->next;
		else
			t->prev->next = t->next;
		if (t->next)
			t->next->prev = t->prev;
		l->timers = meld(l->timers, below);
	}
	t->next = t->prev = NULL;
	t->armed = false;
}

void timer_arm(struct loop *l, struct loop_timer *t, uint64_t in_ms, loop_fn *fn, void *arg)
{
	uint64_t now = loop_now_ms(l);

	timer_disarm(l, t);
	t->at_ms = in_ms < UINT64_MAX - now ? now + in_ms : UINT64_MAX;
	t->order = l->armed++;
	t->fn = fn;
	t->arg = arg;
	t->armed = true;
	t->group = l->group;
	l->timers = meld(l->timers, t);
}

void timer_disarm(struct loop *l, struct loop_timer *t)
{
	if (t->armed)
		cut(l, t);
}

void timers_run(struct loop *l)
{
	uint64_t end = l->armed;
	struct loop_timer *t;

	while ((t = l->timers) && t->at_ms <= loop_now_ms(l) && t->order < end) {
		cut(l, t);
		l->group = t->group;
		t->fn(t->arg);
	}
	l->group = 0;
}
