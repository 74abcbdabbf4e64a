#ifndef BASE_ERR_H
#define BASE_ERR_H
/*
 * Error values. A function that can fail returns 0 or -1, is marked
 * MUST_CHECK and takes a `struct err *` last; the message grows outward as
 * the error travels ("ssm: i-0abc: StartSession: TargetNotConnected") and is
 * logged once, where it stops. The table gives each code its words and what
 * each kind of client is told, so that no switch repeats it.
 *
 * SOCKS5 replies: RFC 1928, 6. Exit statuses: sysexits.h.
 */
#include <stdbool.h>
#include <stddef.h>

/* code, words for people, SOCKS5 reply, HTTP status, exit status */
#define ERR_CODES(X)                                                               \
	X(ERR_NONE, "no error", 0x00, 200, 0)                                      \
	X(ERR_USAGE, "wrong usage", 0x01, 500, 64)                                 \
	X(ERR_CONFIG, "bad configuration", 0x01, 500, 65)                          \
	X(ERR_CREDS, "AWS credentials missing, expired or refused", 0x01, 502, 77) \
	X(ERR_DENIED, "refused by a rule", 0x02, 403, 77)                          \
	X(ERR_NETUNREACH, "network unreachable", 0x03, 502, 69)                    \
	X(ERR_HOSTUNREACH, "host unreachable", 0x04, 502, 69)                      \
	X(ERR_RESOLVE, "host name not found", 0x04, 502, 68)                       \
	X(ERR_REFUSED, "connection refused", 0x05, 502, 69)                        \
	X(ERR_DIAL, "the far end could not connect", 0x05, 502, 69)                \
	X(ERR_TIMEOUT, "timed out", 0x06, 504, 75)                                 \
	X(ERR_UNSUPPORTED, "not supported", 0x07, 501, 69)                         \
	X(ERR_ADDRTYPE, "address type not supported", 0x08, 400, 69)               \
	X(ERR_PROTO, "peer broke the protocol", 0x01, 400, 76)                     \
	X(ERR_RESET, "connection reset", 0x01, 502, 76)                            \
	X(ERR_AWS, "AWS refused the request", 0x01, 502, 69)                       \
	X(ERR_TARGET, "target instance not available", 0x04, 503, 69)              \
	X(ERR_LIMIT, "a limit was reached", 0x01, 503, 75)                         \
	X(ERR_CLOSED, "closed", 0x01, 502, 69)                                     \
	X(ERR_TLS, "TLS failed", 0x01, 502, 76)                                    \
	X(ERR_IO, "input or output failed", 0x01, 500, 74)                         \
	X(ERR_NOMEM, "out of memory", 0x01, 503, 71)                               \
	X(ERR_INTERNAL, "internal error", 0x01, 500, 70)

enum err_code {
#define X(code, text, socks, http, status) code,
	ERR_CODES(X)
#undef X
		ERR_CODE_COUNT
};

struct err {
	enum err_code code;
	int sys;     /* errno, or 0 */
	bool passes; /* may be gone at the next try, though its code does not say so */
	char msg[320];
};

#define MUST_CHECK __attribute__((warn_unused_result))

/* Fills *e and returns -1, so that a failing function can end in
 * `return err_set(e, ERR_PROTO, "...")`. A NULL e is allowed. Control bytes
 * in the formatted text are replaced by '?': messages may quote a peer. Behind what ERR_NOMEM says
 * stands ": out of memory". */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same with errno's text behind it ("open x: Permission denied"); `sys`
 * decides the code where it is a network error (ECONNREFUSED -> ERR_REFUSED,
 * ETIMEDOUT -> ERR_TIMEOUT, ENETUNREACH, EHOSTUNREACH, ECONNRESET, ENOMEM),
 * otherwise ERR_IO. */
int err_sys(struct err *e, int sys, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "outer: " before the message; returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

const char *err_text(enum err_code code); /* words; static */
const char *err_name(enum err_code code); /* "refused", "timeout": for JSON; static */
int err_socks_reply(enum err_code code);  /* RFC 1928, 6 */
int err_http_status(enum err_code code);
int err_exit_status(enum err_code code); /* sysexits.h */
#endif
