/*
 * Systems without splice(2): bulk is copied like everything else, by larger
 * reads. A buffer of 256 KiB costs a fifth less time for a byte than one of
 * 64 KiB; it is the loop's, and made when a tunnel first has that much to move.
 */
#include "base/mem.h"
#include "net/loop_impl.h"
#include "net/sock_relay.h"

enum { BUFFER = 256 * 1024 };

static void buffer_free(void *p)
{
	mem_wipe(p, BUFFER);
	mem_free(p);
}

enum flow_step flow_bulk(struct loop *l, struct flow *f, struct sock_end *from, struct sock_end *to)
{
	if (!l->bulk) {
		l->bulk = mem_alloc(BUFFER);
		l->bulk_free = l->bulk ? buffer_free : NULL;
	}
	if (!l->bulk) /* slower, but it works */
		return flow_copy(f, from, to, l->shared, LOOP_SHARED);
	return flow_copy(f, from, to, l->bulk, BUFFER);
}

enum flow_step flow_drain(struct loop *l, struct flow *f, struct sock_end *to)
{
	(void)l;
	(void)f;
	(void)to;
	return FLOW_MOVED; /* there is no pipe to hold anything */
}

void flow_bulk_free(struct loop *l, struct flow *f)
{
	(void)l;
	(void)f;
}
