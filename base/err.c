#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static const struct {
	const char *text;
	int socks, http, status;
} codes[] = {
#define X(code, text, socks, http, status) [code] = { text, socks, http, status },
	ERR_CODES(X)
#undef X
};

/* Whoever gets no memory says what it was for; the reader wants to know that it was memory. */
static void add_cause(struct err *e)
{
	const char *cause = err_text(ERR_NOMEM);
	size_t n = strlen(e->msg);

	if (strcmp(e->msg, cause) != 0)
		snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", cause);
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	e->code = code;
	e->sys = 0;
	e->passes = false;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	if (code == ERR_NOMEM)
		add_cause(e);
	str_printable(e->msg);
	return -1;
}

static enum err_code code_of_errno(int sys)
{
	switch (sys) {
	case ECONNREFUSED: return ERR_REFUSED;
	case ETIMEDOUT: return ERR_TIMEOUT;
	case ENETUNREACH:
	case ENETDOWN: return ERR_NETUNREACH;
	case EHOSTUNREACH:
	case EHOSTDOWN: return ERR_HOSTUNREACH;
	case ECONNRESET:
	case EPIPE: return ERR_RESET;
	case EMFILE:
	case ENFILE:
	case ENOBUFS: return ERR_LIMIT;
	case ENOMEM: return ERR_NOMEM;
	default: return ERR_IO;
	}
}

int err_sys(struct err *e, int sys, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (!e)
		return -1;
	e->code = code_of_errno(sys);
	e->sys = sys;
	e->passes = false;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", strerror(sys));
	str_printable(e->msg);
	return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char inner[sizeof(e->msg)];
	va_list ap;
	size_t n;

	if (!e)
		return -1;
	memcpy(inner, e->msg, sizeof(inner));
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	n = strlen(e->msg);
	if (n < sizeof(e->msg) - 3)
		snprintf(e->msg + n, sizeof(e->msg) - n, ": %.*s", (int)(sizeof(e->msg) - n - 3),
			 inner);
	str_printable(e->msg);
	return -1;
}

const char *err_text(enum err_code code)
{
	return codes[code].text;
}

const char *err_name(enum err_code code)
{
	static const char *const names[] = {
		[ERR_NONE] = "none",
		[ERR_USAGE] = "usage",
		[ERR_CONFIG] = "config",
		[ERR_CREDS] = "credentials",
		[ERR_DENIED] = "denied",
		[ERR_NETUNREACH] = "network-unreachable",
		[ERR_HOSTUNREACH] = "host-unreachable",
		[ERR_RESOLVE] = "no-such-host",
		[ERR_REFUSED] = "refused",
		[ERR_DIAL] = "dial-failed",
		[ERR_TIMEOUT] = "timeout",
		[ERR_UNSUPPORTED] = "unsupported",
		[ERR_ADDRTYPE] = "address-type",
		[ERR_PROTO] = "protocol",
		[ERR_RESET] = "reset",
		[ERR_AWS] = "aws",
		[ERR_TARGET] = "target",
		[ERR_LIMIT] = "limit",
		[ERR_CLOSED] = "closed",
		[ERR_TLS] = "tls",
		[ERR_IO] = "io",
		[ERR_NOMEM] = "out-of-memory",
		[ERR_INTERNAL] = "internal",
	};

	return names[code];
}

int err_socks_reply(enum err_code code)
{
	return codes[code].socks;
}

int err_http_status(enum err_code code)
{
	return codes[code].http;
}

int err_exit_status(enum err_code code)
{
	return codes[code].status;
}
