#ifndef LOCALAWS_NAMES_H
#define LOCALAWS_NAMES_H
/*
 * The VPC's private DNS: `--resolve NAME=ADDR[:PORT]`. A port given on the
 * right replaces the one that the client asked for; NAME:PORT on the left
 * makes the entry one of that port alone. "localhost" may be given, to put
 * the instance's own services somewhere. ACCOUNT/NAME is a name of that account's VPC alone.
 *
 * Also here: what the agent refuses to forward to.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "cmd/localaws/keys.h"
#include "net/addr.h"

enum { NAMES_TEXT = 256 };
struct name {
	char name[NAMES_TEXT];      /* lower case, without a last dot */
	char account[ACCOUNT_TEXT]; /* "": of every VPC */
	uint16_t port;              /* 0: any */
	struct addr to;             /* port 0: as asked */
};
struct names {
	struct name *at;
	size_t count;
};

MUST_CHECK int names_add(struct names *, const char *text, struct err *);
/* Address and port to dial for host:port. false: the table does not have it. */
bool names_find(const struct names *, const char *account, const char *host, uint16_t port,
		struct addr *out);
void names_free(struct names *);
/* Instance metadata, time, DNS and the like (the agent's default deny list). */
bool names_denied(const struct addr *);
#endif
