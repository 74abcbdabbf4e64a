#ifndef NET_WS_UPGRADE_H
#define NET_WS_UPGRADE_H
/*
 * The HTTP exchange in front of a websocket (RFC 6455, 4): the request, and
 * what may be answered. No subprotocol and no extension is offered, so none
 * is accepted. Pure: no I/O.
 */
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/http.h"

enum {
	WS_KEY_TEXT = 25,    /* 16 random bytes in base64 */
	WS_ACCEPT_TEXT = 29, /* SHA-1 in base64 */
	WS_REQUEST_MAX = 64 * 1024,
	WS_REFUSAL_BODY = 512, /* bytes of a refusal's body that are waited for */
};
enum ws_answer {
	WS_ANSWER_BAD = -1, /* or refused: *e tells (ERR_CREDS for 401 and 403, ERR_PROTO) */
	WS_ANSWER_MORE = 0,
	WS_ANSWER_OPEN = 1,
};

void ws_upgrade_key(char out[static WS_KEY_TEXT]);
MUST_CHECK int ws_upgrade_accept(const char *key, char out[static WS_ACCEPT_TEXT], struct err *);
/* Appends the request. authority and target as in net/url.h. ERR_LIMIT: more than WS_REQUEST_MAX
 * bytes. */
MUST_CHECK int ws_upgrade_request(struct buf *, const char *authority, const char *target,
				  const char *key, const struct http_header *, size_t count,
				  struct err *);
/* The n bytes that have come. OPEN: the first *used of them are the answer's. `ended`: no more
 * will come, or nobody wants to wait any longer; then it is never MORE. */
enum ws_answer ws_upgrade_answer(const char *p, size_t n, bool ended, const char *key, size_t *used,
				 struct err *);
#endif
