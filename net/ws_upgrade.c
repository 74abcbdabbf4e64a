#include "net/ws_upgrade.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/random.h"
#include "base/str.h"
#include "net/http1.h"

void ws_upgrade_key(char out[static WS_KEY_TEXT])
{
	uint8_t nonce[16];

	random_bytes(nonce, sizeof(nonce));
	str_base64(nonce, sizeof(nonce), out);
}

int ws_upgrade_accept(const char *key, char out[static WS_ACCEPT_TEXT], struct err *e)
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[WS_KEY_TEXT + sizeof(guid)];
	uint8_t digest[20];

	(void)str_fmt(text, sizeof(text), "%s%s", key, guid);
	if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha1(), NULL) != 1)
		return err_set(e, ERR_INTERNAL, "the TLS library has no SHA-1");
	str_base64(digest, sizeof(digest), out);
	return 0;
}

int ws_upgrade_request(struct buf *to, const char *authority, const char *target, const char *key,
		       const struct http_header *headers, size_t count, struct err *e)
{
	int r = buf_addf(to, e,
			 "GET %s HTTP/1.1\r\nHost: %s\r\nPragma: no-cache\r\n"
			 "Cache-Control: no-cache\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			 "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n",
			 target, authority, key);

	for (size_t i = 0; r == 0 && i < count; i++)
		r = buf_addf(to, e, "%s: %s\r\n", headers[i].name, headers[i].value);
	if (r == 0)
		r = buf_add(to, "\r\n", 2, e);
	return r == 0 ? 0 : err_wrap(e, "upgrade request");
}

/* ---- the answer ---- */

static int check_accept(const struct http1_head *h, const char *key, struct err *e)
{
	const struct http1_field *f = http1_find(h, "sec-websocket-accept");
	char want[WS_ACCEPT_TEXT];

	if (ws_upgrade_accept(key, want, e) != 0)
		return -1;
	if (!f || !http1_text_is(f->value, want))
		return err_set(e, ERR_PROTO, "upgrade: Sec-WebSocket-Accept is missing or wrong");
	return 0;
}

static int check(const struct http1_head *h, const char *key, struct err *e)
{
	if (!http1_has_token(h, "upgrade", "websocket"))
		return err_set(e, ERR_PROTO, "upgrade: the answer does not say websocket");
	if (!http1_has_token(h, "connection", "upgrade"))
		return err_set(e, ERR_PROTO, "upgrade: the answer lacks Connection: upgrade");
	if (check_accept(h, key, e) != 0)
		return -1;
	if (http1_find(h, "sec-websocket-extensions") || http1_find(h, "sec-websocket-protocol"))
		return err_set(e, ERR_PROTO, "upgrade: an extension or protocol nobody asked for");
	return 0;
}

/* As much of the body as has come: its length; *whole when there is no more of it. */
struct body {
	char text[WS_REFUSAL_BODY];
	size_t n;
	bool whole;
};

static void add_text(void *arg, const char *p, size_t n)
{
	struct body *b = arg;
	size_t room = sizeof(b->text) - b->n;

	if (n > room)
		n = room;
	memcpy(b->text + b->n, p, n);
	b->n += n;
}

static void read_body(const struct http1_head *h, const char *p, size_t n, struct body *b)
{
	static const struct http1_text get = { "GET", 3 };
	struct http1_chunks chunks = { 0 };
	size_t used;
	struct err e;

	switch (http1_response_body(h, get)) {
	case HTTP1_NO_BODY: b->whole = true; break;
	case HTTP1_LENGTH:
		b->whole = n >= h->length;
		add_text(b, p, b->whole ? (size_t)h->length : n);
		break;
	case HTTP1_CHUNKED:
		b->whole = http1_chunked(&chunks, p, n, &used, add_text, b, &e) != HTTP1_MORE;
		break;
	default: add_text(b, p, n); break;
	}
	if (b->n == sizeof(b->text))
		b->whole = true;
}

static enum ws_answer refused(const struct http1_head *h, const char *p, size_t n, bool ended,
			      struct err *e)
{
	struct body b = { .n = 0 };
	enum err_code code = h->status == 401 || h->status == 403 ? ERR_CREDS : ERR_PROTO;

	read_body(h, p, n, &b);
	if (!b.whole && !ended)
		return WS_ANSWER_MORE;
	while (b.n && strchr(" \t\r\n", b.text[b.n - 1]))
		b.n--;
	(void)err_set(e, code, "upgrade refused with HTTP status %d%s%.*s", h->status,
		      b.n ? ": " : "", b.n > 200 ? 200 : (int)b.n, b.text);
	return WS_ANSWER_BAD;
}

enum ws_answer ws_upgrade_answer(const char *p, size_t n, bool ended, const char *key, size_t *used,
				 struct err *e)
{
	struct http1_head h;
	enum http1_step step;

	*used = 0;
	while ((step = http1_response(p + *used, n - *used, &h, e)) == HTTP1_DONE &&
	       h.status < 200 && h.status != 101)
		*used += h.used; /* interim: 100, 103 */
	if (step == HTTP1_MORE && !ended)
		return WS_ANSWER_MORE;
	if (step == HTTP1_MORE) {
		(void)err_set(e, ERR_CLOSED, "connection closed by the peer");
		return WS_ANSWER_BAD;
	}
	if (step == HTTP1_BAD) {
		(void)err_wrap(e, "upgrade");
		return WS_ANSWER_BAD;
	}
	if (h.status != 101)
		return refused(&h, p + *used + h.used, n - *used - h.used, ended, e);
	if (check(&h, key, e) != 0)
		return WS_ANSWER_BAD;
	*used += h.used;
	return WS_ANSWER_OPEN;
}
