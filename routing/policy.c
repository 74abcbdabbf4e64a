#include "routing/policy.h"

enum init_action policy_while_initializing(const struct decision *d, const struct policy *p)
{
	enum init_action away = p->mode_vm ? INIT_VM_DIRECT : INIT_DIRECT;

	if (d->route.kind != ROUTE_PROXY || p->guarded || p->init == POLICY_HOLD)
		return INIT_WAIT;
	if (p->init == POLICY_BYPASS_ALL)
		return away;
	return d->named ? INIT_WAIT : away;
}

/* Does this failure say that the destination cannot be reached that way? */
static bool counts(const struct decision *d, enum err_code why, const struct policy *p)
{
	switch (why) {
	case ERR_HOSTUNREACH:
	case ERR_NETUNREACH:
	case ERR_RESOLVE: return true;
	case ERR_DIAL: return d->fallback_on_dial_failure || p->fallback_on_dial_failure;
	default: return false;
	}
}

bool policy_falls_back(const struct decision *d, enum err_code why, const struct policy *p,
		       struct route *to)
{
	if (d->route.kind != ROUTE_PROXY || p->guarded || p->fallback == POLICY_FALLBACK_OFF ||
	    !counts(d, why, p))
		return false;
	if (d->has_fallback) {
		*to = d->fallback;
		return true;
	}
	if (d->named && p->fallback != POLICY_FALLBACK_ALL)
		return false;
	*to = (struct route){ .kind = p->mode_vm ? ROUTE_VM_DIRECT : ROUTE_DIRECT };
	return true;
}

const char *policy_init_name(enum init_action a)
{
	static const char *const names[] = {
		[INIT_WAIT] = "wait",
		[INIT_DIRECT] = "direct",
		[INIT_VM_DIRECT] = "vm-direct",
	};

	return names[a];
}
