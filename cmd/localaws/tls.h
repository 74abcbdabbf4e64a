#ifndef LOCALAWS_TLS_H
#define LOCALAWS_TLS_H
/* The server's side of TLS as a stream around another stream. */
#include <openssl/types.h>

#include "base/err.h"

struct loop;
struct stream;

/* Takes inner, also when it fails (NULL). The handshake runs by itself. */
struct stream *tls_stream_new(struct loop *, SSL_CTX *, struct stream *inner, struct err *);
#endif
