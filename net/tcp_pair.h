#ifndef NET_TCP_PAIR_H
#define NET_TCP_PAIR_H
/*
 * Two connected TCP sockets over loopback, non-blocking. For curl, which calls connect() again on
 * what it is given: only a socket that has called it, and not been asked about it, answers as it
 * wants. Elsewhere socketpair() does.
 */
#include "base/err.h"

/* pair[0] has called connect(): curl's. Both are the caller's. */
MUST_CHECK int tcp_pair(int pair[static 2], struct err *);
#endif
