#ifndef PROXY_ANSWER_H
#define PROXY_ANSWER_H
/* The proxy's own HTTP answers. What they say is all that an agent in a sandbox gets to see. */
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* status 0: as the code's (base/err.h). The reason stands in X-Awsocks-Reason
 * and, unless to HEAD, in the body. keep: the connection may go on. */
MUST_CHECK int answer_http(struct buf *out, int status, const struct err *why, bool head, bool keep,
			   struct err *);
#endif
