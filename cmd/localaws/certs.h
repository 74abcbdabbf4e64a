#ifndef LOCALAWS_CERTS_H
#define LOCALAWS_CERTS_H
/*
 * A certificate authority that lives as long as the process, and one server
 * certificate of it (EC P-256): for localhost, the loopback addresses, and
 * names as AWS's endpoints have.
 */
#include <openssl/types.h>

#include "base/err.h"

/* Writes the CA's certificate (PEM) to ca_file and returns a server context that uses the
 * other one. NULL: *e tells. */
SSL_CTX *certs_make(const char *region, const char *ca_file, struct err *e);
#endif
