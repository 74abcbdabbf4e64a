#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H
/*
 * A backend turns a destination into a stream. Who it goes through (this
 * host, an EC2 instance over SSM, the VM) is its own business.
 *
 * The life of one, as `awsocks status` shows it (design: the four states of
 * the original, and failed):
 *   idle          nothing done yet
 *   initializing  on the way to its first success
 *   active        streams can be opened
 *   transitioning being renewed; what is open lives on
 *   failed        the last try failed; the next one comes after a pause
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

struct backend; /* opaque */
struct cJSON;
struct creds;
struct dial; /* one dial under way */
struct stream;

enum backend_state {
	BACKEND_IDLE = 0,
	BACKEND_INITIALIZING,
	BACKEND_ACTIVE,
	BACKEND_TRANSITIONING,
	BACKEND_FAILED,
	BACKEND_STATE_COUNT
};

struct dest {
	const char *host; /* normalised (routing/host.h); a name stays a name; copied */
	uint16_t port;
	/* Host guard: asked for each address before it is dialled, where this
	 * host resolves. NULL: none. Must live as long as the dial. */
	bool (*allow)(void *arg, const struct addr *, struct err *);
	void *allow_arg;
	/* It has to be: where somebody else would resolve (an upstream proxy), the name is resolved
	 * here, and the address goes out. */
	bool judged;
	bool host_allowed; /* a rule says allow-host for it */
};

struct dialed {
	struct stream *stream;   /* the callee's to close */
	char address[ADDR_TEXT]; /* where it went, as far as known; "" otherwise */
	char session[100];       /* SSM session id; "" otherwise */
};
/* Called exactly once per dial, from the event loop, never from inside
 * backend_dial(). d == NULL: *why tells. */
typedef void dialed_fn(void *arg, const struct dialed *d, const struct err *why);

/* NULL: *e tells and done() never comes. A backend that is idle begins to
 * initialise; the dial waits for it, at most its own limit (30 s). */
struct dial *backend_dial(struct backend *, const struct dest *, dialed_fn *, void *arg,
			  struct err *e);
void backend_cancel(struct dial *); /* then done() never comes */

const char *backend_name(const struct backend *); /* "direct", "ssm:PROFILE" */
enum backend_state backend_state(const struct backend *);
const char *backend_state_name(enum backend_state);
/* Initialising, and never was active: the only time when --while-initializing
 * may send a connection another way. False again after 60 s. */
bool backend_first_init(const struct backend *);
/* Begins to initialise if idle (or failed and its pause is over). */
void backend_wake(struct backend *);
/* started(arg, NULL) when active for the first time, or with the failure of
 * the first try; once. For --no-lazy. */
void backend_start(struct backend *, void (*started)(void *arg, const struct err *), void *arg);
/* New credentials: borrowed, referenced if kept (the original's OnCredentialUpdate). */
void backend_set_creds(struct backend *, struct creds *);
/* Adds state, step, reason, sessions, streams ... to an object. */
void backend_describe(struct backend *, struct cJSON *into);
/* Ends its streams and sessions (AWS is told, at most for 3 s), then closed(). */
void backend_close(struct backend *, void (*closed)(void *arg), void *arg);
#endif
