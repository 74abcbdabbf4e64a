/*
 * The life of the link: opened, ended once, told, freed.
 *
 *     conn_fail() --link_break--> end() on a later turn: streams, dials, then lost()
 *     vm_conn_free() -----------> the same without lost(), and the memory goes with the last stream
 */
#include "vm/conn.h"

#include <unistd.h>

#include "base/mem.h"
#include "vm/conn_impl.h"

enum { HELLO_MS = 60000, NETWORK_MS = 30000, PING_MS = 10000, SILENT_MS = 20000 };

/* ---- turns ---- */

static void turn(void *arg)
{
	struct vm_conn *c = arg;

	link_run(c->link);
	if (!c->ended)
		conn_flush(c);
}

static void end(void *arg);

void conn_kick(struct vm_conn *c)
{
	if (c->ended) /* what its streams still have to be told */
		loop_post(c->loop, &c->end, end, c);
	else
		loop_post_last(c->loop, &c->turn, turn, c);
}

/* ---- the end ---- */

static void destroy(struct vm_conn *c)
{
	loop_unpost(&c->turn);
	loop_unpost(&c->more);
	loop_unpost(&c->end);
	conn_timers_stop(c);
	conn_io_close(c);
	link_free(c->link);
	mem_free(c);
}

static void end(void *arg)
{
	struct vm_conn *c = arg;

	conn_io_close(c); /* which the guest takes as the word to power off */
	link_run(c->link);
	conn_dials_fail(c, &c->why);
	if (!c->freed && !c->told) {
		c->told = true;
		if (c->handler->lost)
			c->handler->lost(c->arg, &c->why);
	}
	if (c->freed && link_streams(c->link) == 0)
		destroy(c);
}

void conn_fail(struct vm_conn *c, const struct err *why)
{
	if (c->ended)
		return;
	c->ended = true;
	c->why = *why;
	conn_timers_stop(c);
	loop_unpost(&c->turn);
	loop_unpost(&c->more);
	watch_set(c->loop, &c->watch, 0);
	link_break(c->link, &c->why);
	loop_post(c->loop, &c->end, end, c);
}

void vm_conn_free(struct vm_conn *c, const struct err *why)
{
	struct err closed;

	if (!c)
		return;
	(void)err_set(&closed, ERR_CLOSED, "the VM is being stopped");
	conn_fail(c, why ? why : &closed);
	c->freed = true;
	loop_post(c->loop, &c->end, end, c);
}

/* ---- the beginning ---- */

static unsigned or_else(unsigned ms, unsigned otherwise)
{
	return ms ? ms : otherwise;
}

static void set_opts(struct vm_conn *c, const struct vm_conn_opts *o)
{
	c->opts = *o;
	c->opts.hello_ms = or_else(o->hello_ms, HELLO_MS);
	c->opts.network_ms = or_else(o->network_ms, NETWORK_MS);
	c->opts.ping_ms = or_else(o->ping_ms, PING_MS);
	c->opts.silent_ms = or_else(o->silent_ms, SILENT_MS);
}

struct vm_conn *vm_conn_new(int fd, const struct vm_conn_opts *o, const struct vm_conn_handler *h,
			    void *arg, struct err *e)
{
	const struct link_opts link = { .role = LINK_HOST,
					.window = CONN_WINDOW,
					.budget = CONN_BUDGET };
	struct vm_conn *c = mem_alloc(sizeof(*c));

	if (!c) {
		close(fd);
		(void)err_set(e, ERR_NOMEM, "link");
		return NULL;
	}
	c->loop = o->loop;
	c->handler = h;
	c->arg = arg;
	c->capture = -1;
	set_opts(c, o);
	list_init(&c->dials);
	c->link = link_new(&link, &conn_link_handler, c, e);
	if (!c->link || conn_io_open(c, fd, e) != 0) {
		close(fd);
		destroy(c);
		return NULL;
	}
	c->heard_ms = loop_now_ms(c->loop);
	conn_wait_hello(c);
	return c;
}

void vm_conn_shutdown(struct vm_conn *c)
{
	if (c->ended)
		return;
	link_shutdown(c->link);
	conn_kick(c);
}

/* ---- questions ---- */

const struct frame_network *vm_conn_network(const struct vm_conn *c)
{
	return c->up ? &c->network : NULL;
}

size_t vm_conn_streams(const struct vm_conn *c)
{
	return link_streams(c->link);
}
