/* The end of the sessions of an instance that is about to be stopped. */
#include "backend/ssm/pool_impl.h"

bool pool_in_use(const struct pool *p)
{
	if (!list_empty(&p->finished))
		return true;
	for (const struct list *it = p->targets.next; it != &p->targets; it = it->next)
		if (!list_empty(&CONTAINER_OF(it, struct target, node)->waiting))
			return true;
	for (const struct list *it = p->members.next; it != &p->members; it = it->next)
		if (session_streams(CONTAINER_OF(it, struct member, all)->session))
			return true;
	return false;
}

void pool_rest(struct pool *p)
{
	p->warming = false;
	LIST_EACH (it, &p->members) {
		struct member *m = CONTAINER_OF(it, struct member, all);

		pool_leave(m);
		session_end(m->session);
	}
}
