#include "backend/ssm/ssh_wire.h"

#include <string.h>

#include "base/str.h"

enum { SHORTEST = 2, TEXT_MAX = 160 };

/* --- reading --- */

struct reader { /* p NULL: cut short */
	const uint8_t *p;
	size_t n;
};

static uint32_t get32_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static const uint8_t *take(struct reader *r, size_t n)
{
	const uint8_t *at = r->p;

	if (!at || r->n < n) {
		r->p = NULL;
		return NULL;
	}
	r->p += n;
	r->n -= n;
	return at;
}

static uint32_t get32(struct reader *r)
{
	const uint8_t *p = take(r, 4);

	return p ? get32_at(p) : 0;
}

static const uint8_t *get_text(struct reader *r, size_t *n)
{
	*n = get32(r);
	return take(r, *n);
}

static int whole(const struct reader *r, const char *what, struct err *e)
{
	return r->p ? 0 : err_set(e, ERR_PROTO, "the ssh master's %s is cut short", what);
}

int ssh_frame(const uint8_t *p, size_t n, size_t *len, struct err *e)
{
	uint32_t body;

	if (n < 4)
		return 0;
	body = get32_at(p);
	if (body < SHORTEST || body > SSH_FRAME_MAX)
		return err_set(e, ERR_PROTO, "the ssh master sent a packet of %u bytes",
			       (unsigned)body);
	*len = 4 + (size_t)body;
	return n >= *len;
}

static void parse_fields(struct reader *r, struct ssh_msg *m)
{
	size_t skip;

	m->id = get32(r);
	switch (m->type) {
	case SSH_OPENED:
		m->peer = get32(r);
		m->window = get32(r);
		m->packet = get32(r);
		return;
	case SSH_REFUSED:
		m->reason = get32(r);
		m->p = get_text(r, &m->n);
		return;
	case SSH_WINDOW: m->window = get32(r); return;
	case SSH_EXTENDED_DATA:
		(void)get32(r);
		m->p = get_text(r, &m->n);
		return;
	case SSH_DATA: m->p = get_text(r, &m->n); return;
	case SSH_REQUEST: {
		const uint8_t *want;

		(void)get_text(r, &skip);
		want = take(r, 1);
		m->want_reply = want && *want;
		return;
	}
	default: return;
	}
}

int ssh_parse(const uint8_t *p, size_t n, struct ssh_msg *m, struct err *e)
{
	struct reader r = { p, n };
	const uint8_t *head = take(&r, 2);

	*m = (struct ssh_msg){ 0 };
	if (!head)
		return whole(&r, "packet", e);
	m->type = head[1];
	if (m->type == SSH_OPEN) { /* its type comes before its number */
		size_t skip;

		(void)get_text(&r, &skip);
		m->id = get32(&r);
	} else if (m->type > SSH_OPEN && m->type <= SSH_REQUEST_FAILED) {
		parse_fields(&r, m);
	}
	return whole(&r, "packet", e);
}

int ssh_parse_hello(const uint8_t *p, size_t n, struct err *e)
{
	struct reader r = { p, n };
	uint32_t type = get32(&r), version = get32(&r);

	if (whole(&r, "greeting", e) != 0)
		return -1;
	if (type != SSH_MUX_HELLO)
		return err_set(e, ERR_PROTO, "the ssh master does not say hello");
	if (version != SSH_MUX_VERSION)
		return err_set(e, ERR_UNSUPPORTED,
			       "the ssh master speaks version %u of the mux protocol, not %d",
			       (unsigned)version, SSH_MUX_VERSION);
	return 0;
}

static void printable(const uint8_t *p, size_t n, char out[static TEXT_MAX])
{
	if (n >= TEXT_MAX)
		n = TEXT_MAX - 1;
	for (size_t i = 0; i < n; i++)
		out[i] = (char)(p[i] < ' ' || p[i] >= 0x7f ? '?' : p[i]);
	out[n] = '\0';
}

int ssh_parse_proxied(const uint8_t *p, size_t n, uint32_t request, struct err *e)
{
	struct reader r = { p, n };
	uint32_t type = get32(&r), id = get32(&r);
	const uint8_t *text;
	char why[TEXT_MAX];
	size_t len;

	if (whole(&r, "answer", e) != 0)
		return -1;
	if (id != request)
		return err_set(e, ERR_PROTO, "the ssh master answers another request");
	if (type == (0x80000000u | (SSH_MUX_PROXY & 0xff)))
		return 0;
	text = get_text(&r, &len);
	printable(text ? text : (const uint8_t *)"", text ? len : 0, why);
	return err_set(e, ERR_UNSUPPORTED, "the ssh master refuses its proxy mode: %s", why);
}

/* --- writing --- */

static uint8_t *put32(uint8_t *to, uint32_t v)
{
	to[0] = (uint8_t)(v >> 24);
	to[1] = (uint8_t)(v >> 16);
	to[2] = (uint8_t)(v >> 8);
	to[3] = (uint8_t)v;
	return to + 4;
}

static uint8_t *put_text(uint8_t *to, const char *text)
{
	size_t n = strlen(text);

	to = put32(to, (uint32_t)n);
	memcpy(to, text, n);
	return to + n;
}

/* The length of what stands between `start` + 4 and `end`, `behind` more bytes follow it. */
static size_t finish(uint8_t *start, const uint8_t *end, size_t behind)
{
	size_t n = (size_t)(end - start);

	(void)put32(start, (uint32_t)(n - 4 + behind));
	return n;
}

static uint8_t *begin(uint8_t *to, enum ssh_type type, uint32_t id)
{
	to[4] = 0; /* no padding */
	to[5] = (uint8_t)type;
	return put32(to + 6, id);
}

size_t ssh_put_hello(uint8_t *to)
{
	return finish(to, put32(put32(to + 4, SSH_MUX_HELLO), SSH_MUX_VERSION), 0);
}

size_t ssh_put_proxy(uint8_t *to, uint32_t request)
{
	return finish(to, put32(put32(to + 4, SSH_MUX_PROXY), request), 0);
}

size_t ssh_put_open(uint8_t *to, uint32_t id, uint32_t window, const char *host, uint16_t port)
{
	uint8_t *at = to + 6;

	to[4] = 0;
	to[5] = SSH_OPEN;
	at = put_text(at, "direct-tcpip");
	at = put32(at, id);
	at = put32(at, window);
	at = put32(at, SSH_PACKET_MAX);
	at = put_text(at, host);
	at = put32(at, port);
	at = put_text(at, "127.0.0.1"); /* who asks: nobody needs to know */
	return finish(to, put32(at, 0), 0);
}

size_t ssh_put_refused(uint8_t *to, uint32_t id)
{
	uint8_t *at = put32(begin(to, SSH_REFUSED, id), SSH_PROHIBITED);

	return finish(to, put_text(put_text(at, "not asked for"), ""), 0);
}

size_t ssh_put_window(uint8_t *to, uint32_t id, uint32_t more)
{
	return finish(to, put32(begin(to, SSH_WINDOW, id), more), 0);
}

size_t ssh_put_data(uint8_t *to, uint32_t id, size_t n)
{
	return finish(to, put32(begin(to, SSH_DATA, id), (uint32_t)n), n);
}

size_t ssh_put_plain(uint8_t *to, enum ssh_type type, uint32_t id)
{
	return finish(to, begin(to, type, id), 0);
}

/* --- refusals --- */

/* sshd says strerror() or gai_strerror() in the C locale. */
static const struct {
	const char *text;
	enum err_code code;
} causes[] = {
	{ "refused", ERR_REFUSED },
	{ "Name or service not known", ERR_RESOLVE },
	{ "nodename nor servname", ERR_RESOLVE },
	{ "No address associated", ERR_RESOLVE },
	{ "name resolution", ERR_RESOLVE },
	{ "unknown host", ERR_RESOLVE },
	{ "Network is unreachable", ERR_NETUNREACH },
	{ "No route to host", ERR_HOSTUNREACH },
	{ "Host is down", ERR_HOSTUNREACH },
	{ "timed out", ERR_TIMEOUT },
	{ "Permission denied", ERR_DENIED },
	{ "not permitted", ERR_DENIED },
};

static enum err_code cause_of(uint32_t reason, const char *text)
{
	if (reason == SSH_PROHIBITED)
		return ERR_DENIED;
	if (reason == SSH_UNKNOWN_TYPE)
		return ERR_UNSUPPORTED;
	if (reason == SSH_SHORTAGE)
		return ERR_LIMIT;
	for (size_t i = 0; i < sizeof(causes) / sizeof(*causes); i++)
		if (strstr(text, causes[i].text))
			return causes[i].code;
	return ERR_DIAL;
}

void ssh_refusal(uint32_t reason, const uint8_t *p, size_t n, const char *host, uint16_t port,
		 struct err *e)
{
	char text[TEXT_MAX];
	enum err_code code;

	printable(p, n, text);
	code = cause_of(reason, text);
	if (code == ERR_DENIED)
		(void)err_set(e, code, "the instance's sshd does not allow %.100s:%u (%s): see %s",
			      host, port, text,
			      "AllowTcpForwarding and PermitOpen in its sshd_config");
	else if (code == ERR_UNSUPPORTED)
		(void)err_set(e, code, "the instance's sshd cannot forward connections: %s", text);
	else
		(void)err_set(e, code, "the instance's sshd could not connect to %.100s:%u: %s",
			      host, port, text[0] ? text : "no reason given");
}
