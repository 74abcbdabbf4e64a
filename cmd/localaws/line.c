#include "cmd/localaws/line.h"

#include "base/mem.h"
#include "cmd/localaws/world.h"

void line_init(struct line *l, struct world *w, line_fn *out, void *arg)
{
	*l = (struct line){ .w = w, .out = out, .arg = arg };
	l->lose = l->repeat = l->reorder = l->delay = FAULT_COUNT;
	list_init(&l->late);
}

static double value(const struct line *l, enum fault_id id)
{
	return id == FAULT_COUNT ? 0 : fault_value(&l->w->faults, id, 0);
}

static void on_due(void *arg);

static void arm_late(struct line *l)
{
	uint64_t now = world_now_ms(l->w);
	struct seq_entry *first;

	if (list_empty(&l->late))
		return;
	first = CONTAINER_OF(l->late.next, struct seq_entry, node);
	timer_arm(l->w->loop, &l->late_timer, first->at_ms > now ? first->at_ms - now : 0, on_due,
		  l);
}

static void on_due(void *arg)
{
	struct line *l = arg;
	uint64_t now = world_now_ms(l->w);
	struct list due;

	/* Taken out first: what out() does may free this line's owner only later. */
	list_init(&due);
	LIST_EACH (it, &l->late) {
		struct seq_entry *e = CONTAINER_OF(it, struct seq_entry, node);

		if (e->at_ms > now)
			break;
		list_del(it);
		list_add_tail(&due, it);
		l->late_bytes -= e->len;
	}
	arm_late(l);
	while (!list_empty(&due)) {
		struct seq_entry *e = CONTAINER_OF(list_pop(&due), struct seq_entry, node);

		l->out(l->arg, e->bytes, e->len);
		mem_free(e);
	}
}

/* To the far end, at once or after the delay. */
static void travel(struct line *l, const uint8_t *p, size_t n)
{
	double ms = value(l, l->delay);
	struct seq_entry *e;

	if (ms <= 0 && list_empty(&l->late)) {
		l->out(l->arg, p, n);
		return;
	}
	e = l->late_bytes + n <= LINE_KEPT_MAX ? seq_entry_new(0, p, n) : NULL;
	if (!e) {
		l->w->stats.messages_lost++;
		return;
	}
	e->at_ms = world_now_ms(l->w) + (uint64_t)ms;
	list_add_tail(&l->late, &e->node);
	l->late_bytes += n;
	if (!timer_armed(&l->late_timer))
		arm_late(l);
}

static void let_go(void *arg)
{
	struct line *l = arg;
	struct seq_entry *e = l->held;

	l->held = NULL;
	timer_disarm(l->w->loop, &l->held_timer);
	if (!e)
		return;
	travel(l, e->bytes, e->len);
	mem_free(e);
}

void line_send(struct line *l, const uint8_t *p, size_t n)
{
	struct world *w = l->w;

	if (dice_percent(&w->dice, value(l, l->lose))) {
		w->stats.messages_lost++;
		return;
	}
	if (!l->held && dice_percent(&w->dice, value(l, l->reorder))) {
		l->held = seq_entry_new(0, p, n);
		if (l->held) {
			timer_arm(w->loop, &l->held_timer, LINE_LATE_MS, let_go, l);
			return;
		}
	}
	travel(l, p, n);
	if (dice_percent(&w->dice, value(l, l->repeat)))
		travel(l, p, n);
	let_go(l);
}

void line_free(struct line *l)
{
	timer_disarm(l->w->loop, &l->late_timer);
	timer_disarm(l->w->loop, &l->held_timer);
	mem_free(l->held);
	l->held = NULL;
	while (!list_empty(&l->late))
		mem_free(CONTAINER_OF(list_pop(&l->late), struct seq_entry, node));
}
