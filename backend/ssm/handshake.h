#ifndef SSM_HANDSHAKE_H
#define SSM_HANDSHAKE_H
/*
 * The handshake's JSON, and what the agent's version means for us. Pure.
 * docs/PROTOCOL.ssm, 5; gates: 8.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* At least 1.2.764.0: what AWS asks of clients now. Above 1.1.70 the agent
 * multiplexes, above 1.2.331.0 its smux keepalive is off. */
#define HANDSHAKE_CLIENT_VERSION "1.2.764.0"

struct handshake {
	char agent_version[40];
	bool wants_nop;     /* its smux ends after 30 s without a frame (<= 3.1.1511.0) */
	bool hears_end;     /* the flag TerminateSession ends its session (> 2.3.722.0) */
	struct err refused; /* code ERR_NONE, or why we cannot serve what it asks */
};

/* Reads a HandshakeRequest and adds the HandshakeResponse to *response. An
 * action that cannot be served is answered in its own status and noted in
 * h->refused. ERR_PROTO: not a request at all. */
MUST_CHECK int handshake_answer(const uint8_t *p, size_t n, struct handshake *h,
				struct buf *response, struct err *);
/* CustomerMessage of a HandshakeComplete, cut to size; "" for none. */
void handshake_complete(const uint8_t *p, size_t n, char *out, size_t size);
/* What a session is used for: many streams to any host, many streams to the instance itself, or
 * one stream without frames (docs/PROTOCOL.ssm, 9). */
enum handshake_use { HANDSHAKE_REMOTE = 0, HANDSHAKE_MUX, HANDSHAKE_RAW };
/* Can an agent of this version do that? ERR_UNSUPPORTED. */
MUST_CHECK int handshake_gate(const char *agent_version, enum handshake_use, struct err *);
/* Component by component, numerically: < 0, 0, > 0. Missing components are 0,
 * anything that is not a number ends the comparison. */
int version_compare(const char *a, const char *b);
#endif
