#ifndef NET_TLS_TRUST_H
#define NET_TLS_TRUST_H
/*
 * Whom a TLS client trusts, as an OpenSSL context: TLS 1.2 or later, the
 * system's authorities, or one file instead of them.
 */
#include <openssl/ssl.h>
#include <stddef.h>

#include "base/err.h"

struct tls_trust;

/* ca_file: NULL for the system's. Fails (ERR_TLS) when the file has no
 * certificate in it or cannot be read. */
struct tls_trust *tls_trust_new(const char *ca_file, struct err *);
void tls_trust_free(struct tls_trust *); /* after all that use its context; NULL allowed */
SSL_CTX *tls_trust_ctx(const struct tls_trust *);
const char *tls_trust_file(const struct tls_trust *); /* NULL: the system's */
/* Reads the file again if it is another one by now. */
MUST_CHECK int tls_trust_refresh(struct tls_trust *, struct err *);
#endif
