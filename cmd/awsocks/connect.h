#ifndef CMD_AWSOCKS_CONNECT_H
#define CMD_AWSOCKS_CONNECT_H
/* `awsocks connect`: shared by its two ways, through a listener and in-process. */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "stream/relay.h"

struct loop;
struct stream;

struct connect_args {
	const char *host, *to, *control;
	uint16_t port;
	bool standalone;
	char **rest; /* options for --standalone */
	int rest_count;
};

/* Joins standard input and output with `remote` (taken); `early` came from it already. */
MUST_CHECK int connect_relay(struct loop *, struct stream *remote, const uint8_t *early, size_t n,
			     relayed_fn *done, void *arg, struct err *e);
/* Routes and dials in this process (cmd/awsocks/standalone.c). */
MUST_CHECK int connect_standalone(const struct connect_args *, struct err *);
#endif
