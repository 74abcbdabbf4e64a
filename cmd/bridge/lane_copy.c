/* No way for bulk but the plain one. */
#include "cmd/bridge/lane.h"

void lane_pipes_free(struct sock_pipes *p)
{
	(void)p;
}

int lane_bulk(struct sock_pipes **pool, struct lane *f, int from, int to, enum lane_step *step)
{
	(void)pool;
	(void)f;
	(void)from;
	(void)to;
	(void)step;
	return 1;
}

enum lane_step lane_drain(struct sock_pipes **pool, struct lane *f, int to)
{
	(void)pool;
	(void)f;
	(void)to;
	return LANE_MORE;
}

void lane_bulk_free(struct sock_pipes **pool, struct lane *f)
{
	(void)pool;
	(void)f;
}
