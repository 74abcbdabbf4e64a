#ifndef CMD_AWSOCKS_CONNECT_H
#define CMD_AWSOCKS_CONNECT_H
/* `awsocks connect`: shared by its two ways, through a listener and in-process. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;

struct connect_args {
	const char *host, *to, *control, *user_file;
	uint16_t port;
	bool standalone, instance;
	char **rest; /* options for --standalone */
	int rest_count;
};

/* How to end a connect_over() from outside, as a signal does; it returns 0
 * then. fn is NULL when none runs. */
struct connect_stop {
	void (*fn)(void *arg);
	void *arg;
};

/* A SOCKS5 handshake on fd (taken, a connection to a listener of ours), then
 * standard input and output until both directions have ended. Runs the loop.
 * stop may be NULL. */
MUST_CHECK int connect_over(struct loop *, int fd, const struct connect_args *,
			    struct connect_stop *stop, struct err *e);
/* Routes and dials in this process (cmd/awsocks/standalone.c). */
MUST_CHECK int connect_standalone(const struct connect_args *, struct err *);

/* An SSM session in this process, to a port of the instance itself
 * (cmd/awsocks/connect_instance.c): `host` is an instance's id, no proxy and no rule is asked. */
bool connect_names_instance(const char *host);
MUST_CHECK int connect_instance(const struct connect_args *, struct err *);
#endif
