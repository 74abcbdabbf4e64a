#ifndef NET_ACTIVATION_H
#define NET_ACTIVATION_H
/*
 * Listening sockets that somebody else has opened for us: systemd (sd_listen_fds(3): LISTEN_PID,
 * LISTEN_FDS, LISTEN_FDNAMES; descriptors from 3 on), whoever does as it does, and launchd
 * (launch_activate_socket(3)). Connections wait there while this program is not running.
 *
 *     systemd:NAME, fd:NAME    the socket of that FileDescriptorName=, or of that number
 *     launchd:NAME             the one of that name in Sockets of the job
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "net/listen.h"

enum { ACTIVATION_MAX = 64, ACTIVATION_NAME = 64 };

struct activation { /* zeroed: nothing was passed */
	struct {
		char name[ACTIVATION_NAME];
		int fd; /* -1: a listener has it */
	} item[ACTIVATION_MAX];
	size_t count;
};

/* What systemd passed to this very process, if anything; programs that this one starts get neither
 * the descriptors nor the variables. Before other threads run. ERR_CONFIG: it cannot be. */
MUST_CHECK int activation_take(struct activation *, struct err *);
/* Is the address one of those above? */
bool activation_is(const char *address);
/* The socket of such an address, made ready to accept: *out is the caller's. ERR_CONFIG: there is
 * none, or it is no listening stream socket. */
MUST_CHECK int activation_listen(struct activation *, const char *address, struct listen_bound *out,
				 struct err *);
/* The first that no listener has asked for; NULL: none. */
const char *activation_unused(const struct activation *);

/* activation_linux.c, activation_macos.c: the one socket of that name; -1: *e. */
int activation_launchd(const char *name, struct err *);
#endif
