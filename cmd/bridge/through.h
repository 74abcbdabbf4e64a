#ifndef CMD_BRIDGE_THROUGH_H
#define CMD_BRIDGE_THROUGH_H
/* Standard input and output to a destination through a listener of awsocks. */
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

struct user;

/* "http://H:P", "socks5h://H:P", "H:P" or "unix:/PATH", as they stand in AWSOCKS and in --to. */
MUST_CHECK int through_parse(const char *text, struct addr *, struct err *);
/* Until both directions have ended. The user is wiped as soon as it is not needed any more.
 * host: 1 to 255 bytes. */
MUST_CHECK int through_listener(const struct addr *listener, struct user *, const char *host,
				uint16_t port, struct err *);
#endif
