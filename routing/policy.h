#ifndef ROUTING_POLICY_H
#define ROUTING_POLICY_H
/*
 * What becomes of a connection that goes to `proxy` while its backend is not
 * there yet, or when it could not reach the destination. Pure functions over a
 * decision, shared by the proxy and by `awsocks route`, so that what is shown is what
 * happens. Source: design section 5, "Lazy start" and "Fallback".
 *
 * Both fail closed where the user named the host: only a connection that came
 * to plain `proxy` by a default goes another way unasked.
 */
#include <stdbool.h>

#include "base/err.h"
#include "routing/router.h"

enum policy_init { POLICY_BYPASS_DEFAULT = 0, POLICY_HOLD, POLICY_BYPASS_ALL };
enum policy_fallback { POLICY_FALLBACK_AUTO = 0, POLICY_FALLBACK_ALL, POLICY_FALLBACK_OFF };

/* Zeroed is the built-in behaviour of a plain listener in direct mode. */
struct policy {
	enum policy_init init;         /* --while-initializing */
	enum policy_fallback fallback; /* --fallback */
	bool fallback_on_dial_failure; /* --fallback-on dial-failure */
	bool mode_vm;                  /* bypass and fallback go vm-direct */
	bool guarded;                  /* the listener has the host guard on */
};

enum init_action { INIT_WAIT = 0, INIT_DIRECT, INIT_VM_DIRECT };

/* For a decision whose backend is in its first initialisation, and only then
 * (backend_first_init()); in every other state a connection waits. A decision for anything
 * but `proxy` has nothing to wait for: INIT_WAIT is returned. */
enum init_action policy_while_initializing(const struct decision *, const struct policy *);

/* After `proxy` failed with `why`: true with *to when the connection is retried
 * another way. Unreachable host or network and unknown name count; a failed dial without
 * a cause (ERR_DIAL) only with fallback-on: dial-failure; a refusal never. */
bool policy_falls_back(const struct decision *, enum err_code why, const struct policy *,
		       struct route *to);

/* "wait", "direct", "vm-direct"; static. */
const char *policy_init_name(enum init_action);
#endif
