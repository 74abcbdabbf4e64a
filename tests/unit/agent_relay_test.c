/* The agent's relays whose stream has gone: what it has said still goes out, of no more of them
 * than there is memory for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/list.h"
#include "cmd/agent/relay.h"
#include "cmd/bridge/ev.h"
#include "stream/stream.h"
#include "stream/stream_impl.h"

enum { MANY = 3 * RELAY_DRAINS };

/* The link's side of one relay. */
struct far {
	struct stream stream;
	size_t credit;
	bool aborted;
	int fd; /* the destination's end: nobody reads it */
};

static struct far *of(struct stream *s)
{
	return CONTAINER_OF(s, struct far, stream);
}
static void on_credit(struct stream *s, size_t n)
{
	of(s)->credit += n;
}
static size_t on_write(struct stream *s, const uint8_t *p, size_t n)
{
	(void)s;
	(void)p;
	return n;
}
static void on_end(struct stream *s)
{
	(void)s;
}
static void on_abort(struct stream *s)
{
	of(s)->aborted = true;
}
static const struct stream_ops ops = {
	.credit = on_credit,
	.write = on_write,
	.shutdown = on_end,
	.close = on_end,
	.abort = on_abort,
};

/* All that it takes, for a destination that takes nothing; then the clean end. */
static void fill_and_end(struct relays *all, struct far *f)
{
	static uint8_t bytes[RELAY_BLOCK];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	*f = (struct far){ .stream.ops = &ops, .fd = pair[1] };
	relay_start(all, pair[0], &f->stream);
	while (f->credit) {
		size_t n = f->credit < sizeof(bytes) ? f->credit : sizeof(bytes);

		f->credit -= n;
		f->stream.handler->data(f->stream.arg, bytes, n);
	}
	assert_false(f->aborted);
	f->stream.handler->eof(f->stream.arg);
	f->stream.handler->closed(f->stream.arg, NULL);
}

static size_t count(const struct relays *all)
{
	size_t n = 0;

	LIST_EACH (it, &all->draining)
		n++;
	assert_int_equal(n, all->drains);
	return n;
}

static void those_that_drain_are_not_many(void **state)
{
	struct far *far = calloc(MANY, sizeof(*far));
	struct relays all;
	struct err e;
	struct ev *ev;

	(void)state;
	assert_non_null(far);
	assert_int_equal(ev_new(&ev, &e), 0);
	relays_init(&all, ev);
	for (size_t i = 0; i < MANY; i++) {
		fill_and_end(&all, &far[i]);
		assert_true(count(&all) <= RELAY_DRAINS);
	}
	assert_int_equal(count(&all), RELAY_DRAINS);
	relays_end(&all);
	assert_int_equal(count(&all), 0);
	ev_free(ev);
	for (size_t i = 0; i < MANY; i++)
		close(far[i].fd);
	free(far);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(those_that_drain_are_not_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
