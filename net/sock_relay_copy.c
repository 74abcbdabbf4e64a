/* Systems without splice(2): bulk goes the way that everything goes. */
#include "net/sock_relay.h"

enum flow_step flow_bulk(struct loop *l, struct flow *f, struct sock_end *from, struct sock_end *to)
{
	return flow_copy(l, f, from, to);
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
