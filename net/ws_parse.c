/*
 * Two ways through: a frame that is a whole message, and not longer than
 * WS_IN_PLACE, waits in the caller's buffer until all of it is there; the
 * payload of any other data frame moves into `message` as it comes. Control
 * frames are short and always wait, also between the pieces of a message.
 */
#include "net/ws_parse.h"

#include <string.h>

enum {
	CODE_PROTOCOL = 1002, /* RFC 6455, 7.4.1 */
	CODE_NOT_UTF8 = 1007,
	CODE_TOO_BIG = 1009,
	CODE_OUR_FAULT = 1011,
};

struct head {
	bool fin;
	unsigned op;
	uint64_t len; /* of the payload */
	size_t used;  /* bytes of the head itself */
};

void ws_parser_init(struct ws_parser *ps, size_t message_max)
{
	*ps = (struct ws_parser){ .message_max = message_max };
	buf_init(&ps->message, message_max);
}

void ws_parser_free(struct ws_parser *ps)
{
	buf_free(&ps->message);
}

/* ---- UTF-8 ---- */

/* Bytes that follow a first one, and the limits of the first of them; -1: no first byte. */
static int followers(uint8_t c, uint8_t *low, uint8_t *high)
{
	*low = 0x80;
	*high = 0xbf;
	if (c < 0x80)
		return 0;
	if (c >= 0xc2 && c <= 0xdf)
		return 1;
	if (c >= 0xe0 && c <= 0xef) {
		if (c == 0xe0)
			*low = 0xa0;
		if (c == 0xed)
			*high = 0x9f; /* surrogates */
		return 2;
	}
	if (c < 0xf0 || c > 0xf4)
		return -1;
	if (c == 0xf0)
		*low = 0x90;
	if (c == 0xf4)
		*high = 0x8f;
	return 3;
}

bool ws_utf8_valid(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n;) {
		uint8_t low, high;
		int more = followers(p[i++], &low, &high);

		if (more < 0 || n - i < (size_t)more)
			return false;
		for (; more; more--, i++) {
			if (p[i] < low || p[i] > high)
				return false;
			low = 0x80;
			high = 0xbf;
		}
	}
	return true;
}

/* ---- heads ---- */

static enum ws_got bad(struct ws_parser *ps, struct err *e, const char *what)
{
	ps->close_code = CODE_PROTOCOL;
	(void)err_set(e, ERR_PROTO, "websocket protocol broken by the peer: %s", what);
	return WS_GOT_BAD;
}

static enum ws_got too_long(struct ws_parser *ps, struct err *e)
{
	ps->close_code = CODE_TOO_BIG;
	(void)err_set(e, ERR_LIMIT, "message of more than %zu bytes", ps->message_max);
	return WS_GOT_BAD;
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
	uint64_t x = 0;

	while (n--)
		x = x << 8 | *p++;
	return x;
}

static const char *wrong_op(const struct ws_parser *ps, const struct head *h)
{
	if ((h->op > WS_BINARY && h->op < WS_CLOSE) || h->op > WS_PONG)
		return "unknown opcode";
	if (h->op >= WS_CLOSE && !h->fin)
		return "control frame in fragments";
	if (h->op == WS_CONTINUATION && !ps->open)
		return "continuation of nothing";
	if ((h->op == WS_TEXT || h->op == WS_BINARY) && ps->open)
		return "a message inside of another";
	return NULL;
}

static const char *wrong_length(const struct head *h, size_t extra)
{
	if (h->op >= WS_CLOSE && h->len > WS_CONTROL_MAX)
		return "control frame of more than 125 bytes";
	if ((extra == 2 && h->len < 126) || (extra == 8 && h->len < 65536))
		return "length not in its shortest form";
	if (h->len >> 63)
		return "length of more than 63 bits";
	return NULL;
}

/* 1: *h is filled, 0: more is needed, -1: *e. */
static int read_head(struct ws_parser *ps, const uint8_t *p, size_t n, struct head *h,
		     struct err *e)
{
	size_t extra;
	const char *wrong;

	if (n < 2)
		return 0;
	*h = (struct head){ .fin = p[0] & 0x80, .op = p[0] & 15u, .len = p[1] & 127u };
	wrong = p[0] & 0x70   ? "reserved bit set"
		: p[1] & 0x80 ? "masked frame from a server"
			      : wrong_op(ps, h);
	if (wrong)
		return bad(ps, e, wrong);
	extra = h->len == 126 ? 2 : h->len == 127 ? 8 : 0;
	h->used = 2 + extra;
	if (n < h->used)
		return 0;
	if (extra)
		h->len = big_endian(p + 2, extra);
	wrong = wrong_length(h, extra);
	return wrong ? bad(ps, e, wrong) : 1;
}

/* ---- payloads ---- */

/* Which codes may stand in a close frame: RFC 6455, 7.4. */
static bool code_allowed(unsigned code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
	       (code >= 3000 && code <= 4999);
}

static enum ws_got control(struct ws_parser *ps, const struct head *h, const uint8_t *p,
			   struct ws_event *ev, struct err *e)
{
	*ev = (struct ws_event){ (enum ws_opcode)h->op, p, (size_t)h->len };
	if (h->op != WS_CLOSE || h->len == 0)
		return WS_GOT_CONTROL;
	if (h->len == 1 || !code_allowed((unsigned)p[0] << 8 | p[1]))
		return bad(ps, e, "close code that may not be sent");
	if (!ws_utf8_valid(p + 2, ev->n - 2))
		return bad(ps, e, "close reason is not UTF-8");
	return WS_GOT_CONTROL;
}

static enum ws_got message(struct ws_parser *ps, const uint8_t *p, size_t n, struct ws_event *ev,
			   struct err *e)
{
	*ev = (struct ws_event){ ps->text ? WS_TEXT : WS_BINARY, p, n };
	if (!ps->text || ws_utf8_valid(p, n))
		return WS_GOT_MESSAGE;
	ps->close_code = CODE_NOT_UTF8;
	(void)err_set(e, ERR_PROTO, "websocket protocol broken by the peer: text is not UTF-8");
	return WS_GOT_BAD;
}

/* What has come of the current frame is added; MESSAGE when it was the last of its message. */
static enum ws_got copy(struct ws_parser *ps, const uint8_t *p, size_t n, size_t *used,
			struct ws_event *ev, struct err *e)
{
	size_t part = ps->left < n ? (size_t)ps->left : n;

	if (buf_add(&ps->message, p, part, e) != 0) {
		ps->close_code = CODE_OUR_FAULT;
		return WS_GOT_BAD;
	}
	*used += part;
	ps->left -= part;
	if (ps->left)
		return WS_GOT_MORE;
	ps->copying = false;
	if (!ps->last)
		return WS_GOT_MORE;
	ps->open = false;
	ps->told = true;
	return message(ps, buf_ptr(&ps->message), buf_len(&ps->message), ev, e);
}

/* A data frame whose head is whole and whose n bytes of payload, or fewer, are at p. */
static enum ws_got data(struct ws_parser *ps, const struct head *h, const uint8_t *p, size_t n,
			size_t *used, struct ws_event *ev, struct err *e)
{
	if (h->len > ps->message_max - buf_len(&ps->message))
		return too_long(ps, e);
	if (h->op != WS_CONTINUATION)
		ps->text = h->op == WS_TEXT;
	if (h->fin && !ps->open && h->len <= WS_IN_PLACE) {
		if (n < h->len)
			return WS_GOT_MORE;
		*used += h->used + (size_t)h->len;
		return message(ps, p, (size_t)h->len, ev, e);
	}
	*used += h->used;
	ps->open = true;
	ps->copying = true;
	ps->last = h->fin;
	ps->left = h->len;
	return copy(ps, p, n, used, ev, e);
}

static enum ws_got frame(struct ws_parser *ps, const uint8_t *p, size_t n, size_t *used,
			 struct ws_event *ev, struct err *e)
{
	struct head h;
	int r = read_head(ps, p, n, &h, e);

	if (r <= 0)
		return r < 0 ? WS_GOT_BAD : WS_GOT_MORE;
	p += h.used;
	n -= h.used;
	if (h.op < WS_CLOSE)
		return data(ps, &h, p, n, used, ev, e);
	if (n < h.len)
		return WS_GOT_MORE;
	*used += h.used + (size_t)h.len;
	return control(ps, &h, p, ev, e);
}

enum ws_got ws_parse(struct ws_parser *ps, const uint8_t *p, size_t n, size_t *used,
		     struct ws_event *ev, struct err *e)
{
	enum ws_got got;
	size_t before;

	*used = 0;
	if (ps->told) {
		buf_drop(&ps->message, buf_len(&ps->message));
		ps->told = false;
	}
	do {
		before = *used;
		got = ps->copying ? copy(ps, p + before, n - before, used, ev, e)
				  : frame(ps, p + before, n - before, used, ev, e);
	} while (got == WS_GOT_MORE && *used > before);
	return got;
}
