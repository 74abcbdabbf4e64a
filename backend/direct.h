#ifndef BACKEND_DIRECT_H
#define BACKEND_DIRECT_H
/* Out of this host: straight, where the system resolves and net/dialer.c races the addresses, or
 * through the proxy in front of it (backend/via.h). */
#include "base/err.h"

struct backend;
struct egress;
struct loop;

struct direct_opts {
	struct loop *loop;
	unsigned limit_ms;     /* for name look-up and connecting together; 0: 30 s */
	struct egress *egress; /* the proxy, with this loop; NULL: none. Lives until closed() */
	const char *ca_file;   /* for an https:// one; borrowed as long */
};

/* NULL: *e tells. Ended by backend_close(): dials under way then fail with ERR_CLOSED, streams
 * that were handed out live on. */
struct backend *direct_backend_new(const struct direct_opts *, struct err *);
#endif
