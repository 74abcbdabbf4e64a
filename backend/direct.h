#ifndef BACKEND_DIRECT_H
#define BACKEND_DIRECT_H
/* Straight out of this host: the system resolves, net/dialer.c races the addresses. */
#include "base/err.h"

struct backend;
struct loop;

struct direct_opts {
	struct loop *loop;
	unsigned limit_ms; /* for name look-up and connecting together; 0: 30 s */
};

/* NULL: *e tells. Ended by backend_close(): dials under way then fail with ERR_CLOSED, streams
 * that were handed out live on. */
struct backend *direct_backend_new(const struct direct_opts *, struct err *);
#endif
