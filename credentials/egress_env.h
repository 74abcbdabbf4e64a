#ifndef CREDENTIALS_EGRESS_ENV_H
#define CREDENTIALS_EGRESS_ENV_H
/*
 * The proxy in front of AWS, as the environment names it: https_proxy and
 * HTTPS_PROXY for https and wss, http_proxy and HTTP_PROXY for the rest, no_proxy and
 * NO_PROXY; of each pair the lower-case one counts first (as in the AWS CLI and curl). ALL_PROXY
 * does not count, as in the AWS CLI.
 */
#include "net/egress.h"

/* *out NULL: the environment names none. own: see net/egress.h. */
MUST_CHECK int egress_from_env(struct loop *, const char *const *environ, egress_own_fn *own,
			       void *own_arg, struct egress **out, struct err *);
#endif
