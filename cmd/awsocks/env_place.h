#ifndef CMD_AWSOCKS_ENV_PLACE_H
#define CMD_AWSOCKS_ENV_PLACE_H
/* Where the proxy is, for `awsocks env`, `exec` and `bwrap-args`. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"
#include "routing/host.h"

struct env_place {
	char host[HOST_MAX]; /* an address without brackets, or a name; "": unix_path */
	uint16_t port;
	char unix_path[ADDR_TEXT];
	char name[64];             /* of the listener; "": not known */
	char from[ADDR_TEXT + 64]; /* who says so, for messages: "the running awsocks" */
	bool running;              /* an awsocks that runs has told */
};

struct env_where {
	const char *to;       /* HOST:PORT, with a scheme or without, or unix:/PATH; NULL */
	const char *listener; /* a listener's name or address; NULL: the default one */
	const char *control;  /* the control socket; NULL: see setup_control_path() */
};

/* --to, else a listener of the running awsocks (the one that $AWSOCKS names if it has that, else
 * its first on TCP, else its first), else $AWSOCKS, else what config.yaml or the default says.
 * 0.0.0.0 and :: become loopback. What the user should know is told on standard error.
 * ERR_USAGE: no such listener, or no address to use. */
MUST_CHECK int env_place_find(const struct env_where *, struct env_place *, struct err *);
/* "127.0.0.1:1080", "[::1]:1080", "unix:/path". */
void env_place_format(const struct env_place *, char out[static HOST_MAX + 16]);
#endif
