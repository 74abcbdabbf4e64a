#ifndef CMD_AWSOCKS_LISTENER_PICK_H
#define CMD_AWSOCKS_LISTENER_PICK_H
/* Which listener of --listen and config.yaml a name means, as `awsocks start` would open them. */
#include "cmd/awsocks/setup.h"

struct listener_pick {
	const char *address;                  /* as it was given; the setup's */
	const struct config_listener *config; /* NULL: one of --listen */
};

/* wanted: its name or address; NULL: the default one, which is the first. ERR_USAGE: there is
 * none of that name, and which there are. Needs setup_profiles(). */
MUST_CHECK int listener_pick(const struct setup *, const char *wanted, struct listener_pick *,
			     struct err *);
#endif
