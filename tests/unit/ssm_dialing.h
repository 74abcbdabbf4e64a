#ifndef TESTS_SSM_DIALING_H
#define TESTS_SSM_DIALING_H
/* Somebody who dials through an SSM backend and notes what comes of it; see ssm_world.h. */
#include "backend/backend.h"
#include "base/err.h"
#include "stream/stream.h"

struct client {
	struct dial *dial;
	struct stream *s;
	int dones;
	struct err why;
};

static void c_data(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	(void)p;
	(void)n;
}
static void c_nothing(void *arg)
{
	(void)arg;
}
static void c_closed(void *arg, const struct err *why)
{
	(void)why;
	((struct client *)arg)->s = NULL;
}
static const struct stream_handler client_handler = { c_data, c_nothing, c_nothing, c_closed };

static void on_dialed(void *arg, const struct dialed *d, const struct err *why)
{
	struct client *c = arg;

	c->dones++;
	c->dial = NULL;
	if (!d) {
		c->why = *why;
		return;
	}
	c->s = d->stream;
	stream_attach(c->s, &client_handler, c);
}
#endif
