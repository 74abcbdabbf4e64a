/*
 * HTTP/1.x heads (RFC 9112, 2 to 6).
 *
 * A head is read line by line from the caller's bytes, each line ending in
 * CR LF and nothing else. A line is judged as soon as it is whole; of a line
 * still on its way only its bytes are judged. So the outcome of a head is the
 * same however it arrives, and a wrong one is refused early.
 *
 * The framing fields are judged once, behind the last line: anything on which
 * two readers might disagree (two lengths, a length and a coding, a coding
 * other than chunked) is refused rather than repaired, since this decoder sits
 * between two other parsers. The chunked body is in http1_chunked.c.
 */
#include <string.h>

#include "net/http1.h"

enum { CONTENT_LENGTH_DIGITS = 18 }; /* always fits 63 bits */

struct lines {
	const char *p;
	size_t n, at;
};

static bool is_token(unsigned char c)
{
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return true;
	return c && strchr("!#$%&'*+-.^_`|~", c);
}

static bool is_value(unsigned char c) /* RFC 9110, 5.5: field-vchar, SP, HTAB */
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static enum http1_step bad(struct err *e, enum err_code code, const char *what)
{
	err_set(e, code, "%s", what);
	return HTTP1_BAD;
}

/* The next line without its CR LF. */
static enum http1_step next_line(struct lines *in, struct http1_text *line, struct err *e)
{
	for (size_t i = in->at; i < in->n; i++) {
		unsigned char c = (unsigned char)in->p[i];

		if (i >= HTTP1_HEAD_MAX)
			break;
		if (c == '\r') {
			if (i + 1 == in->n)
				return i + 1 >= HTTP1_HEAD_MAX
					       ? bad(e, ERR_LIMIT, "head is too large")
					       : HTTP1_MORE;
			if (in->p[i + 1] != '\n')
				return bad(e, ERR_PROTO, "carriage return without line feed");
			if (i + 2 > HTTP1_HEAD_MAX)
				break;
			*line = (struct http1_text){ in->p + in->at, i - in->at };
			in->at = i + 2;
			return HTTP1_DONE;
		}
		if (c == '\n')
			return bad(e, ERR_PROTO, "line feed without carriage return");
		if (!is_value(c))
			return bad(e, ERR_PROTO, "control byte in the head");
	}
	if (in->n >= HTTP1_HEAD_MAX)
		return bad(e, ERR_LIMIT, "head is too large");
	return HTTP1_MORE;
}

/* "HTTP/1.0" or "HTTP/1.1". */
static int version(const char *p, size_t n, int *minor, struct err *e)
{
	if (n != 8 || memcmp(p, "HTTP/", 5) != 0 || p[6] != '.')
		return err_set(e, ERR_PROTO, "not an HTTP version");
	if (p[5] != '1' || (p[7] != '0' && p[7] != '1'))
		return err_set(e, ERR_UNSUPPORTED, "only HTTP/1.0 and HTTP/1.1 are spoken here");
	*minor = p[7] - '0';
	return 0;
}

/* RFC 9112, 3: method SP target SP version, exactly one space each. */
static int request_line(struct http1_text line, struct http1_head *h, struct err *e)
{
	const char *end = line.p + line.n, *sp1 = memchr(line.p, ' ', line.n), *sp2;

	if (!sp1 || sp1 == line.p)
		return err_set(e, ERR_PROTO, "not a request line");
	for (const char *c = line.p; c < sp1; c++)
		if (!is_token((unsigned char)*c))
			return err_set(e, ERR_PROTO, "bad byte in the method");
	sp2 = memchr(sp1 + 1, ' ', (size_t)(end - sp1 - 1));
	if (!sp2 || sp2 == sp1 + 1)
		return err_set(e, ERR_PROTO, "not a request line (method, target, version)");
	for (const char *c = sp1 + 1; c < sp2; c++)
		if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
			return err_set(e, ERR_PROTO, "bad byte in the request target");
	h->method = (struct http1_text){ line.p, (size_t)(sp1 - line.p) };
	h->target = (struct http1_text){ sp1 + 1, (size_t)(sp2 - sp1 - 1) };
	return version(sp2 + 1, (size_t)(end - sp2 - 1), &h->minor, e);
}

/* RFC 9112, 4. The space behind the status may be missing, as many servers leave it out. */
static int status_line(struct http1_text line, struct http1_head *h, struct err *e)
{
	const char *s = line.p + 9;

	if (line.n < 12 || line.p[8] != ' ')
		return err_set(e, ERR_PROTO, "not a status line");
	if (version(line.p, 8, &h->minor, e))
		return -1;
	for (int i = 0; i < 3; i++) {
		if (s[i] < '0' || s[i] > '9')
			return err_set(e, ERR_PROTO, "bad status code");
		h->status = h->status * 10 + (s[i] - '0');
	}
	if (h->status < 100 || (line.n > 12 && s[3] != ' '))
		return err_set(e, ERR_PROTO, "bad status code");
	if (line.n > 12)
		h->reason = (struct http1_text){ line.p + 13, line.n - 13 };
	return 0;
}

static int field_line(struct http1_text line, struct http1_head *h, struct err *e)
{
	const char *colon = memchr(line.p, ':', line.n);
	struct http1_field *f;
	struct http1_text v;

	if (is_blank(line.p[0]))
		return err_set(e, ERR_PROTO, "folded header line");
	if (!colon || colon == line.p)
		return err_set(e, ERR_PROTO, "header line without a name");
	for (const char *c = line.p; c < colon; c++)
		if (!is_token((unsigned char)*c))
			return err_set(e, ERR_PROTO, "bad byte in a header name");
	if (h->fields == HTTP1_FIELDS_MAX)
		return err_set(e, ERR_LIMIT, "more than %d header lines", HTTP1_FIELDS_MAX);
	v = (struct http1_text){ colon + 1, line.n - (size_t)(colon + 1 - line.p) };
	while (v.n && is_blank(v.p[0]))
		v.p++, v.n--;
	while (v.n && is_blank(v.p[v.n - 1]))
		v.n--;
	f = &h->field[h->fields++];
	f->name = (struct http1_text){ line.p, (size_t)(colon - line.p) };
	f->value = v;
	return 0;
}

static int content_length(struct http1_text v, uint64_t *length, struct err *e)
{
	*length = 0;
	if (!v.n || v.n > CONTENT_LENGTH_DIGITS)
		return err_set(e, ERR_PROTO, "bad Content-Length");
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return err_set(e, ERR_PROTO, "bad Content-Length");
		*length = *length * 10 + (uint64_t)(v.p[i] - '0');
	}
	return 0;
}

/* RFC 9112, 6: what delimits the body; and the fields that may be there once only. */
static int framing(struct http1_head *h, struct err *e)
{
	unsigned lengths = 0, codings = 0, hosts = 0;

	for (size_t i = 0; i < h->fields; i++) {
		const struct http1_field *f = &h->field[i];

		if (http1_text_is_nocase(f->name, "content-length")) {
			if (lengths++)
				return err_set(e, ERR_PROTO, "more than one Content-Length");
			if (content_length(f->value, &h->length, e))
				return -1;
		} else if (http1_text_is_nocase(f->name, "transfer-encoding")) {
			if (codings++)
				return err_set(e, ERR_PROTO, "more than one Transfer-Encoding");
			if (!http1_text_is_nocase(f->value, "chunked"))
				return err_set(e, ERR_UNSUPPORTED,
					       "Transfer-Encoding other than chunked");
		} else if (http1_text_is_nocase(f->name, "host") && !h->status && hosts++) {
			return err_set(e, ERR_PROTO, "more than one Host");
		}
	}
	if (lengths && codings)
		return err_set(e, ERR_PROTO, "both Content-Length and Transfer-Encoding");
	if (codings && h->minor == 0)
		return err_set(e, ERR_PROTO, "Transfer-Encoding in HTTP/1.0");
	h->body = codings   ? HTTP1_CHUNKED
		  : lengths ? HTTP1_LENGTH
			    : (h->status ? HTTP1_UNTIL_CLOSE : HTTP1_NO_BODY);
	if (h->body == HTTP1_LENGTH && h->length == 0 && !h->status)
		h->body = HTTP1_NO_BODY;
	return 0;
}

static void connection(struct http1_head *h)
{
	if (http1_has_token(h, "connection", "close"))
		h->keep_alive = false;
	else
		h->keep_alive = h->minor == 1 || http1_has_token(h, "connection", "keep-alive");
	h->upgrade = http1_has_token(h, "connection", "upgrade") && http1_find(h, "upgrade");
}

static enum http1_step head(const char *p, size_t n, struct http1_head *h, struct err *e,
			    int (*first)(struct http1_text, struct http1_head *, struct err *),
			    bool blank_before)
{
	struct lines in = { p, n, 0 };
	struct http1_text line;
	enum http1_step step = next_line(&in, &line, e);

	*h = (struct http1_head){ 0 };
	if (step == HTTP1_DONE && !line.n && blank_before)
		step = next_line(&in, &line, e);
	if (step != HTTP1_DONE)
		return step;
	if (first(line, h, e))
		return HTTP1_BAD;
	while ((step = next_line(&in, &line, e)) == HTTP1_DONE && line.n)
		if (field_line(line, h, e))
			return HTTP1_BAD;
	if (step != HTTP1_DONE)
		return step;
	if (framing(h, e))
		return HTTP1_BAD;
	connection(h);
	h->used = in.at;
	return HTTP1_DONE;
}

enum http1_step http1_request(const char *p, size_t n, struct http1_head *h, struct err *e)
{
	/* One empty line is allowed before a request (RFC 9112, 2.2): some
	 * clients send one behind the body of the request before. */
	return head(p, n, h, e, request_line, true);
}

enum http1_step http1_response(const char *p, size_t n, struct http1_head *h, struct err *e)
{
	return head(p, n, h, e, status_line, false);
}

enum http1_body http1_response_body(const struct http1_head *h, struct http1_text method)
{
	if (h->status < 200 || h->status == 204 || h->status == 304)
		return HTTP1_NO_BODY;
	if (http1_text_is(method, "HEAD"))
		return HTTP1_NO_BODY;
	if (http1_text_is(method, "CONNECT") && h->status < 300)
		return HTTP1_NO_BODY;
	return h->body == HTTP1_LENGTH && !h->length ? HTTP1_NO_BODY : h->body;
}

const struct http1_field *http1_find(const struct http1_head *h, const char *name)
{
	for (size_t i = 0; i < h->fields; i++)
		if (http1_text_is_nocase(h->field[i].name, name))
			return &h->field[i];
	return NULL;
}

bool http1_text_is(struct http1_text t, const char *s)
{
	return strlen(s) == t.n && memcmp(t.p, s, t.n) == 0;
}

bool http1_text_is_nocase(struct http1_text t, const char *s)
{
	if (strlen(s) != t.n)
		return false;
	for (size_t i = 0; i < t.n; i++)
		if (lower(t.p[i]) != lower(s[i]))
			return false;
	return true;
}

static bool list_has(struct http1_text list, const char *token)
{
	for (size_t i = 0; i < list.n;) {
		size_t from, to;

		while (i < list.n && (is_blank(list.p[i]) || list.p[i] == ','))
			i++;
		from = i;
		while (i < list.n && list.p[i] != ',')
			i++;
		to = i;
		while (to > from && is_blank(list.p[to - 1]))
			to--;
		if (to > from &&
		    http1_text_is_nocase((struct http1_text){ list.p + from, to - from }, token))
			return true;
	}
	return false;
}

bool http1_has_token(const struct http1_head *h, const char *name, const char *token)
{
	for (size_t i = 0; i < h->fields; i++)
		if (http1_text_is_nocase(h->field[i].name, name) &&
		    list_has(h->field[i].value, token))
			return true;
	return false;
}
