#ifndef PROXY_CLIENT_H
#define PROXY_CLIENT_H
/*
 * One client from accept until its relay runs. session.c holds its states,
 * handshake.c reads its request, login.c its password, tunnel.c connects it, hello.c looks at the
 * first TLS message; http_session.c serves plain HTTP requests instead, and handover.c sends it to
 * another loop.
 */
#include "base/buf.h"
#include "net/addr.h"
#include "net/http1.h"
#include "proxy/attempt.h"
#include "proxy/audit.h"
#include "proxy/auth.h"
#include "proxy/limits.h"
#include "proxy/proxy_impl.h"

struct http_session;
struct limits_peer;
struct socks_dest;
struct stream;
struct udp_associate;

enum { CLIENT_DIAL_MS = 120000 }; /* a back stop: backends have their own, shorter limits */

enum client_state {
	CLIENT_GREETING =
		0,       /* the first byte decides; a SOCKS4 or HTTP request; a SOCKS5 greeting */
	CLIENT_LOGIN,    /* SOCKS5: user name and password */
	CLIENT_REQUEST,  /* the SOCKS5 request */
	CLIENT_DIALING,  /* SOCKS, CONNECT: the attempt is under way */
	CLIENT_REPLYING, /* connected: the answer is on its way to the client */
	CLIENT_HELLO,    /* connected and answered: hello.c waits for a TLS hello */
	CLIENT_HTTP,     /* plain HTTP: http_session.c */
	CLIENT_LEAVING,  /* another loop will serve it: handover.c */
	CLIENT_REFUSING, /* our last words are on their way */
	CLIENT_CLOSING,  /* stream_close() was called, closed() will come */
	CLIENT_STATE_COUNT
};
enum client_proto {
	CLIENT_UNKNOWN = 0,
	CLIENT_SOCKS5,
	CLIENT_SOCKS4,
	CLIENT_CONNECT,
	CLIENT_PLAIN
};

struct client {
	struct member member;
	struct proxy *proxy;
	struct stream *stream;
	struct stream *remote; /* CLIENT_REPLYING: connected, not yet relayed */
	enum client_state state;
	enum client_proto proto;
	struct buf in;    /* read and not yet used; never more than `cap` */
	struct buf out;   /* ours to the client */
	size_t cap;       /* of bytes in `in` and credit together */
	size_t credit;    /* given to the stream and not yet used */
	bool eof;         /* the client's direction ended */
	bool head_only;   /* an HTTP answer of ours has no body: HEAD */
	bool check_hello; /* once the answer has left, until it is judged */
	struct loop_timer timer;
	struct loop_post leave;
	struct attempt attempt;
	struct audit_record rec; /* of the attempt or request under way; id 0: none */
	char peer[ADDR_TEXT];
	bool has_peer_id;
	long uid, pid;
	uint8_t peer_key[LIMITS_KEY];
	struct auth_ask ask; /* a password is being checked: nothing in `in` is looked at */
	bool admitted;       /* HTTP: the request at the start of `in` has been let in */
	char *user;          /* who it is, or says it is; NULL: nobody of that name */
	struct http_session *http;
	struct udp_associate *udp; /* until it takes over */
};

/* Takes fd; when it succeeds also the place in the limits, and the peer's share (or NULL). */
MUST_CHECK int client_new(struct proxy *, int fd, const struct addr *peer, struct limits_peer *,
			  struct err *);

/* ---- for handover.c ---- */

/* Takes fd. NULL: *e tells. Nothing is read from it before client_resume(). */
struct client *client_make(struct proxy *, int fd, struct err *);
/* Goes on with what is in `in`, and reads more. From the loop. */
void client_resume(struct client *);
void client_free(struct client *); /* its stream is closed, or somebody else's */

/* Another loop takes the client, with all that is in `in`: nothing of the request under way was
 * used. It leaves on a later turn. */
void client_hand_over(struct client *);

/* ---- handshake.c ---- */

/* Goes on with what is in `in`, as far as there is something to do before the request is whole. */
void client_advance(struct client *);

/* ---- login.c: listeners with opts.users ---- */

/* CLIENT_LOGIN: goes on with what is in `in`. */
void client_login(struct client *);
/* Is its password being checked now? */
bool client_logs_in(const struct client *);
/* May this request be served? false: it waits, and is looked at again, or the client has been
 * refused, and may be no more. */
bool client_admit(struct client *, const struct http1_head *);

/* ---- tunnel.c ---- */

/* Decides, then dials or leaves for another loop. host may be a piece of the request, which is the
 * first `used` bytes of `in`. */
void client_tunnel(struct client *, const char *host, size_t n, uint16_t port, size_t used);
/* SOCKS5: UDP ASSOCIATE. */
void client_associate(struct client *, const struct socks_dest *);
/* CONNECT to what the head says; the head's bytes are dropped from `in`. */
void client_connect(struct client *, const struct http1_head *);
/* Takes remote, and may free the client before it returns: what is in `out` goes to the client,
 * then the two are joined. The audit record goes on as the relay's. */
void client_relay(struct client *, struct stream *remote);
/* CLIENT_REPLYING: all of the answer has left. Goes on to the relay, which frees the client, or to
 * the look at its hello; or ends it. */
void client_replied(struct client *);
/* Client and far side are joined: frees the client, or ends it. */
void client_join(struct client *);

/* ---- hello.c ---- */

/* proxy_opts.check_sni: what the client sends goes no further than `in` until it is a TLS hello
 * that asks for the name that the request asked for; otherwise the client ends. */
void client_hello(struct client *);
/* CLIENT_HELLO: more bytes are in `in`, or there will be none. */
void client_hello_input(struct client *);

/* ---- session.c, for all of them ---- */

/* The client hears its stream, again after somebody else's handlers did. */
void client_attach(struct client *);

/* Changes the state, as the table in session.c allows, and arms its limit. */
void client_go(struct client *, enum client_state);
void client_limit(struct client *, unsigned ms); /* re-arms the limit of the state one is in */
/* Lets the client send as much as `cap` allows. */
void client_credit(struct client *);
/* Writes `out`; true when it is empty (false: writable() follows). */
bool client_flush(struct client *);
/* Opens an audit record, or says of the open one what it turned out to be. */
void client_record(struct client *, enum client_proto);
/* Ends the audit record, if one is open. */
void client_account(struct client *, const struct err *why);
/* Answers with the refusal that fits protocol and cause, then closes. status: of HTTP; 0: the
 * code's. */
void client_refuse(struct client *, int status, const struct err *why);
/* Closes without a word; why (or NULL) goes to the audit record. broken: with a reset. */
void client_end(struct client *, const struct err *why, bool broken);
#endif
