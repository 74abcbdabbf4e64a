/* Every allocation of a mux and its channels fails in turn: an error, and nothing is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/ssm/ssh_mux.h"
#include "backend/ssm/ssh_wire.h"
#include "net/loop.h"
#include "stream/stream_impl.h"
#include "tests/support/mem_fail.h"

struct link { /* takes everything, and closes when it is told to */
	struct stream stream;
	struct loop *loop;
	struct loop_post post;
	bool closed;
};

struct rig {
	struct link link;
	struct ssh_mux *mux;
	struct stream *s;
	int dones, opened, closeds;
	bool freed;
};

static void link_closed(void *arg)
{
	struct link *l = arg;

	if (l->stream.handler)
		l->stream.handler->closed(l->stream.arg, NULL);
}
static void link_close(struct stream *s)
{
	struct link *l = (struct link *)(void *)s;

	if (!l->closed)
		loop_post(l->loop, &l->post, link_closed, l);
	l->closed = true;
}
static void link_credit(struct stream *s, size_t n)
{
	(void)s;
	(void)n;
}
static size_t link_write(struct stream *s, const uint8_t *p, size_t n)
{
	(void)s;
	(void)p;
	return n;
}
static const struct stream_ops link_ops = { .credit = link_credit,
					    .write = link_write,
					    .close = link_close };

static void ignore(void *arg)
{
	(void)arg;
}
static void on_ended(void *arg, const struct err *why)
{
	(void)arg;
	assert_int_equal(why->code, ERR_NOMEM);
}
static void on_freed(void *arg)
{
	((struct rig *)arg)->freed = true;
}
static const struct ssh_mux_handler handler = { ignore, ignore, on_ended, on_freed };

static void u_data(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}
static void u_closed(void *arg, const struct err *why)
{
	struct rig *r = arg;

	(void)why;
	r->closeds++;
	r->s = NULL;
}
static const struct stream_handler user = { u_data, ignore, ignore, u_closed };

static void u_done(void *arg, struct stream *s, const struct err *why)
{
	struct rig *r = arg;

	r->dones++;
	if (!s) {
		assert_int_equal(why->code, ERR_NOMEM);
		return;
	}
	r->s = s;
	r->opened++;
	stream_attach(s, &user, r);
	assert_int_equal(stream_write(s, (const uint8_t *)"hello", 5), 5);
}

static void stop(void *arg)
{
	loop_stop(arg);
}

static void turns(struct loop *l)
{
	for (int i = 0; i < 4; i++) {
		struct loop_post post = { 0 };

		loop_post(l, &post, stop, l);
		loop_run(l);
	}
}

static void hear(struct rig *r, const uint8_t *p, size_t n)
{
	if (!r->link.closed)
		r->link.stream.handler->data(r->link.stream.arg, p, n);
	turns(r->link.loop);
}

static void use(struct rig *r)
{
	static const uint8_t greeting[] = { 0, 0, 0, 8, 0,    0, 0, 1,   0, 0, 0, 4,
					    0, 0, 0, 8, 0x80, 0, 0, 0xf, 0, 0, 0, 1 };
	static const uint8_t opened[] = { 0, 0, 0, 18, 0, SSH_OPENED, 0, 0, 0, 1,    0,
					  0, 0, 7, 0,  0, 1,          0, 0, 0, 0x80, 0 };
	/* held: the owner has given no credit; and cut, so that the link holds some too */
	static const uint8_t data[] = { 0, 0, 0, 13, 0,   SSH_DATA, 0,   0, 0, 1,
					0, 0, 0, 3,  'a', 'b',      'c', 0, 0 };
	struct err e = { 0 };
	bool asked = ssh_mux_dial(r->mux, "host", 80, u_done, r, &e);

	if (!asked)
		assert_int_equal(e.code, ERR_NOMEM);
	hear(r, greeting, sizeof(greeting));
	if (asked) {
		hear(r, opened, sizeof(opened));
		hear(r, data, sizeof(data));
	}
	if (!r->freed) {
		(void)err_set(&e, ERR_NOMEM, "enough");
		ssh_mux_close(r->mux, &e);
	}
	turns(r->link.loop);
	assert_true(r->freed);
	assert_int_equal(r->dones, asked);
	assert_int_equal(r->closeds, r->opened);
}

static void mux(void **state)
{
	struct loop *loop;
	size_t before;

	(void)state;
	assert_int_equal(loop_new(&loop, NULL), 0);
	before = mem_held;
	while (mem_fail_next()) {
		struct rig r = { .link = { .stream.ops = &link_ops, .loop = loop } };
		struct ssh_mux_opts o = { .loop = loop };
		struct err e = { 0 };

		r.mux = ssh_mux_new(&o, &r.link.stream, &handler, &r, &e);
		if (r.mux) {
			use(&r);
		} else {
			assert_int_equal(e.code, ERR_NOMEM);
			assert_true(r.link.closed);
			turns(loop);
		}
		assert_int_equal(mem_held, before);
	}
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(mux) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
