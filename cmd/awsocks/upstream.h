#ifndef CMD_AWSOCKS_UPSTREAM_H
#define CMD_AWSOCKS_UPSTREAM_H
/*
 * --upstream-proxy and --no-proxy: the proxy that the `direct` route goes
 * through, and what it does not. The word env takes both from the environment:
 * all_proxy, otherwise https_proxy, in lower case before upper case.
 */
#include "config/options.h"
#include "net/egress.h"

/* The URL, and a password only where others cannot read it: ERR_USAGE for the command line's,
 * ERR_CONFIG. */
MUST_CHECK int upstream_check(const struct options *, struct err *);
/* *out NULL: straight. own: see egress_opts; such a proxy is an error for whoever dials. */
MUST_CHECK int upstream_open(const struct options *, struct loop *, egress_own_fn *own,
			     void *own_arg, struct egress **out, struct err *);
/* Of a destination, for people: "proxy.example:3128"; "": straight. */
MUST_CHECK int upstream_of(const struct options *, const char *host, uint16_t port,
			   char out[static 264], struct err *);
#endif
