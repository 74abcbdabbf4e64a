#ifndef NET_TLS_HELLO_H
#define NET_TLS_HELLO_H
/*
 * What a TLS client says first (RFC 8446, 4.1.2 and 5.1; RFC 6066, 3), as a pure
 * decoder: the name that it asks a server for. Strict where laxness lets two
 * readers disagree: one server_name extension with one name of letters that names have, no bytes
 * behind the message, no empty records, nothing of SSL 2.
 *
 * With Encrypted Client Hello this is the outer hello, whose name the
 * network can see; the inner one is nobody's but the server's.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum tls_hello_step { TLS_HELLO_BAD = -1, TLS_HELLO_MORE = 0, TLS_HELLO_DONE = 1 };
enum {
	TLS_HELLO_MAX = 16 * 1024, /* bytes, with the headers of its records; more is BAD */
	TLS_NAME_MAX = 256
};

struct tls_hello {
	char name[TLS_NAME_MAX]; /* as sent; "": none */
	bool ech;                /* carries an Encrypted Client Hello, or what is made to look so */
	size_t used;             /* bytes of the records that carry it */
};

/* MORE: give the same bytes again with more behind them. BAD: *e says what is wrong; what is not
 * TLS at all is known by its first byte. */
enum tls_hello_step tls_hello_parse(const uint8_t *p, size_t n, struct tls_hello *, struct err *);
#endif
