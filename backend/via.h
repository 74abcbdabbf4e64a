#ifndef BACKEND_VIA_H
#define BACKEND_VIA_H
/*
 * A dial of the `direct` route through the proxy in front of this host (--upstream-proxy,
 * net/egress.h). The proxy resolves names, which the host guard could not judge: where the
 * destination asks for it (dest.judged) names are resolved here, and the proxy is given the
 * addresses that are allowed, one after the other.
 */
#include "backend/backend.h"

struct egress;
struct loop;
struct stream;
struct via;

/* address: of the proxy; for as long as the call. stream NULL: *why tells. Once, from the loop. */
typedef void via_done_fn(void *arg, struct stream *, const char *address, const struct err *why);

struct via_opts {
	struct loop *loop;
	struct egress *egress;
	const char *ca_file; /* for an https:// proxy; borrowed; NULL: the system's */
	unsigned limit_ms;   /* for all of it */
};
/* Does it go through the proxy at all? */
bool via_proxy(struct egress *, const struct dest *);
/* dest is borrowed until return, but for its allow_arg. NULL: *e tells and done() never comes. */
struct via *via_dial(const struct via_opts *, const struct dest *, via_done_fn *, void *arg,
		     struct err *e);
void via_cancel(struct via *); /* then done() never comes */
#endif
