/*
 * First the records: the message may lie in several, cut anywhere, and is
 * whole when their contents are as long as it says. Only then it is read, by
 * a reader that steps over the records' headers, so that nothing is copied.
 */
#include "net/tls_hello.h"

#include <string.h>

enum {
	RECORD_HEAD = 5,
	MESSAGE_HEAD = 4,
	HANDSHAKE = 22,
	CLIENT_HELLO = 1,
	RANDOM = 32,
	SERVER_NAME = 0,
	ECH = 0xfe0d,
	HOST_NAME = 0
};

static enum tls_hello_step bad(struct err *e, const char *what)
{
	(void)err_set(e, ERR_PROTO, "%s", what);
	return TLS_HELLO_BAD;
}

/* ---- records ---- */

struct reader {
	const uint8_t *p;
	size_t record; /* bytes left of this record */
	size_t left;   /* of the message */
	bool short_of; /* more was asked for than there was */
};

static uint8_t byte(struct reader *r)
{
	if (!r->left) {
		r->short_of = true;
		return 0;
	}
	if (!r->record) {
		r->record = (size_t)r->p[3] << 8 | r->p[4];
		r->p += RECORD_HEAD;
	}
	r->left--;
	r->record--;
	return *r->p++;
}

static size_t number(struct reader *r, unsigned bytes)
{
	size_t value = 0;

	while (bytes--)
		value = value << 8 | byte(r);
	return value;
}

/* The header at p, of which n bytes are there. */
static enum tls_hello_step record(const uint8_t *p, size_t n, size_t *length, struct err *e)
{
	if (n > 0 && p[0] != HANDSHAKE)
		return bad(e, "not TLS: no handshake record");
	if (n > 1 && p[1] != 3)
		return bad(e, "not TLS: a record of another version");
	if (n < RECORD_HEAD)
		return TLS_HELLO_MORE;
	*length = (size_t)p[3] << 8 | p[4];
	if (!*length) /* RFC 8446, 5.1 */
		return bad(e, "an empty TLS record");
	return TLS_HELLO_DONE;
}

/* The message's head, from the first `have` of its bytes: its whole length, 0 while unknown. */
static enum tls_hello_step message(const uint8_t *p, size_t have, size_t *whole, struct err *e)
{
	struct reader r = { .p = p, .left = have < MESSAGE_HEAD ? have : MESSAGE_HEAD };

	*whole = 0;
	if (have && number(&r, 1) != CLIENT_HELLO)
		return bad(e, "not a TLS client's hello");
	if (have < MESSAGE_HEAD)
		return TLS_HELLO_MORE;
	*whole = MESSAGE_HEAD + number(&r, 3);
	return TLS_HELLO_DONE;
}

/* Is all of it there? *used: with the headers; *whole: without. */
static enum tls_hello_step gather(const uint8_t *p, size_t n, size_t *used, size_t *whole,
				  struct err *e)
{
	size_t at = 0, have = 0, length = 0;
	enum tls_hello_step step;

	*whole = 0;
	do {
		step = record(p + at, n - at, &length, e);
		if (step == TLS_HELLO_DONE) {
			size_t there = n - at - RECORD_HEAD;

			have += there < length ? there : length;
			at += RECORD_HEAD + length;
			if (at > TLS_HELLO_MAX)
				return bad(e, "the TLS hello is too long");
			if (message(p, have, whole, e) == TLS_HELLO_BAD)
				return TLS_HELLO_BAD;
		}
	} while (step == TLS_HELLO_DONE && at < n && (!*whole || have < *whole));
	if (step == TLS_HELLO_BAD)
		return step;
	if (*whole && have > *whole)
		return bad(e, "bytes behind the TLS hello in its record");
	if (*whole && have == *whole && at <= n) {
		*used = at;
		return TLS_HELLO_DONE;
	}
	return *whole > TLS_HELLO_MAX ? bad(e, "the TLS hello is too long") : TLS_HELLO_MORE;
}

/* ---- the message ---- */

static void skip(struct reader *r, size_t n)
{
	while (n-- && !r->short_of)
		(void)byte(r);
}

static bool is_name_byte(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '.' || c == '-' || c == '_';
}

/* Its content, n bytes, is one list with one name in it. */
static int server_name(struct reader *r, size_t n, struct tls_hello *h, struct err *e)
{
	size_t list, type, length;

	if (*h->name)
		return err_set(e, ERR_PROTO, "two server names in the TLS hello");
	list = number(r, 2);
	type = number(r, 1);
	length = number(r, 2);
	if (n < 6 || list != n - 2 || type != HOST_NAME || length != list - 3 ||
	    length >= TLS_NAME_MAX)
		return err_set(e, ERR_PROTO, "the TLS hello's server name is not one name");
	for (size_t i = 0; i < length; i++) {
		uint8_t c = byte(r);

		if (!is_name_byte(c))
			return err_set(e, ERR_PROTO, "a bad byte in the TLS hello's server name");
		h->name[i] = (char)c;
	}
	return 0;
}

static int extensions(struct reader *r, struct tls_hello *h, struct err *e)
{
	while (r->left) {
		size_t type = number(r, 2), length = number(r, 2);

		if (r->short_of || length > r->left)
			return err_set(e, ERR_PROTO, "the TLS hello's extensions are cut");
		h->ech = h->ech || type == ECH;
		if (type != SERVER_NAME)
			skip(r, length);
		else if (server_name(r, length, h, e) != 0)
			return -1;
	}
	return 0;
}

static int body(struct reader *r, struct tls_hello *h, struct err *e)
{
	skip(r, MESSAGE_HEAD + 2 + RANDOM); /* and the version of old */
	skip(r, number(r, 1));              /* session id */
	skip(r, number(r, 2));              /* cipher suites */
	skip(r, number(r, 1));              /* compression methods */
	if (r->short_of)
		return err_set(e, ERR_PROTO, "the TLS hello is cut");
	if (!r->left) /* as it was before there were extensions */
		return 0;
	if (number(r, 2) != r->left)
		return err_set(e, ERR_PROTO, "the TLS hello's extensions are of another length");
	return extensions(r, h, e);
}

enum tls_hello_step tls_hello_parse(const uint8_t *p, size_t n, struct tls_hello *h, struct err *e)
{
	struct reader r = { .p = p };
	enum tls_hello_step step;

	*h = (struct tls_hello){ 0 };
	step = gather(p, n, &h->used, &r.left, e);
	if (step != TLS_HELLO_DONE)
		return step;
	return body(&r, h, e) == 0 ? TLS_HELLO_DONE : TLS_HELLO_BAD;
}
