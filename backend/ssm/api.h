#ifndef SSM_API_H
#define SSM_API_H
/*
 * The four SSM calls of a session's life, and the signed upgrade of its
 * websocket. SSM API 2014-11-06, JSON 1.1.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/secret.h"
#include "credentials/sigv4.h"
#include "net/http.h"

struct api_call;
struct aws_client;
struct creds;

struct api {
	struct aws_client *aws;
	const char *endpoint, *region;
	bool overridden; /* the endpoint is the user's own */
	/* "wss://HOST[:PORT][/PATH]" (or ws://, for loopback): the data channels are opened there
	 * instead of where AWS says, which checks and signs that URL; NULL: none. */
	const char *ssmmessages;
};

enum { API_ID_MAX = 97, API_URL_MAX = 4096 };

/* The documents of port sessions; those without a host go to the instance itself. */
enum api_document {
	API_REMOTE_HOST = 0, /* AWS-StartPortForwardingSessionToRemoteHost */
	API_PORT,            /* AWS-StartPortForwardingSession */
	API_SSH              /* AWS-StartSSHSession */
};

struct api_session {                  /* valid until return of the callback */
	const char *id, *url, *token; /* token "": the session is gone */
};
/* s == NULL: *why tells; aws_code is AWS's error code or "". With both, the session is
 * there (its id alone is told) but cannot be used: end it. Once, from the loop. */
typedef void api_session_fn(void *arg, const struct api_session *s, const char *aws_code,
			    const struct err *why);
/* connected: what GetConnectionStatus says; why: it could not be asked. */
typedef void api_status_fn(void *arg, bool connected, const char *aws_code, const struct err *why);
typedef void api_done_fn(void *arg, const struct err *why);

/* All: NULL: *e tells, and the callback never comes. */
struct api_call *api_start(const struct api *, const char *target, enum api_document,
			   const char *host, uint16_t port, unsigned limit_ms, api_session_fn *,
			   void *arg, struct err *e);
struct api_call *api_resume(const struct api *, const char *session_id, unsigned limit_ms,
			    api_session_fn *, void *arg, struct err *e);
struct api_call *api_terminate(const struct api *, const char *session_id, unsigned limit_ms,
			       api_done_fn *, void *arg, struct err *e);
struct api_call *api_status(const struct api *, const char *target, unsigned limit_ms,
			    api_status_fn *, void *arg, struct err *e);
void api_cancel(struct api_call *); /* then the callback never comes; NULL allowed */

/* May the token be sent there? wss:// to a host of AWS's ssmmessages service in the region (as the
 * official plugin checks since 1.2.889), or to the host of an overridden endpoint (to loopback by
 * any name, if that is loopback); ws:// to that one if it is loopback. */
MUST_CHECK int api_check_url(const struct api *, const char *url, struct err *);
/* The user's text for api.ssmmessages: "HOST[:PORT][/PATH]", wss:// or https:// (or ws://, http://
 * to loopback) before it, into the form above. ERR_CONFIG. */
MUST_CHECK int api_read_ssmmessages(const char *text, char out[static API_URL_MAX], struct err *);
/* Does the query carry a signature already? */
bool api_url_presigned(const char *url);

struct api_upgrade { /* headers for ws_open() */
	struct sigv4_result signature;
	struct http_header headers[3];
	size_t count;
};
/* creds must outlive *out, which is to be freed with api_upgrade_free(). */
MUST_CHECK int api_sign_upgrade(const char *url, const char *region, const struct creds *creds,
				int64_t wall_ms, struct api_upgrade *out, struct err *);
void api_upgrade_free(struct api_upgrade *);

/* The first message on the websocket. *text is the caller's: mem_free_str(). */
MUST_CHECK int api_open_message(const char *token, const char *client_id, char **text,
				struct err *);
#endif
