#ifndef PROXY_HTTP_SESSION_H
#define PROXY_HTTP_SESSION_H
/*
 * Plain HTTP proxying on one client connection: request after request, each
 * routed anew and with an audit line of its own.
 */
#include <stdbool.h>

#include "base/err.h"

struct audit_record;
struct client;
struct http_session;

/* http_session_input() begins with the request that is in the client's `in`. */
struct http_session *http_session_new(struct client *, struct err *);
void http_session_free(struct http_session *); /* by the client, when it goes */
/* Between requests, nothing under way? */
bool http_session_idle(const struct http_session *);

/* Bytes moved for the request under way. */
void http_session_count(const struct http_session *, struct audit_record *);

/* What happened to the client's stream. Each may end the client. */
void http_session_input(struct http_session *); /* more bytes in `in`, or its end */
void http_session_writable(struct http_session *);
void http_session_timeout(struct http_session *);
#endif
