/*
 * A chunked body (RFC 9112, 7.1), followed byte by byte while it is passed on
 * as it is: size lines, extensions and trailers are checked, payload is only
 * counted. What is kept between calls is struct http1_chunks; a wrong body
 * stays wrong.
 */
#include <string.h>

#include "net/http1.h"

enum state {
	SIZE_FIRST = 0, /* the zeroed struct: a size line begins */
	SIZE_MORE,
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_FIRST, /* a trailer line, or the empty one that ends the body */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	END_LF,
	ENDED,
	BROKEN
};
enum { SIZE_LINE_MAX = 1024, TRAILER_MAX = 8192, SIZE_DIGITS = 15 };

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_token(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_text(char c)
{
	unsigned char u = (unsigned char)c;

	return u == '\t' || (u >= 0x20 && u != 0x7f);
}

/* The state behind byte c of a size line. */
static unsigned size_line(struct http1_chunks *k, char c)
{
	int digit = hex(c);

	if (++k->line > SIZE_LINE_MAX)
		return BROKEN;
	switch ((enum state)k->state) {
	case SIZE_FIRST:
	case SIZE_MORE:
		if (digit >= 0) {
			k->left = k->left * 16 + (unsigned)digit;
			return k->line <= SIZE_DIGITS ? SIZE_MORE : BROKEN;
		}
		if (k->state == SIZE_FIRST)
			return BROKEN;
		return c == '\r' ? SIZE_LF : c == ';' ? EXTENSION : BROKEN;
	case EXTENSION: return c == '\r' ? SIZE_LF : is_text(c) ? EXTENSION : BROKEN;
	default: /* SIZE_LF */
		k->line = 0;
		return c != '\n' ? BROKEN : k->left ? DATA : TRAILER_FIRST;
	}
}

static unsigned trailer(struct http1_chunks *k, char c)
{
	if (++k->line > TRAILER_MAX)
		return BROKEN;
	switch ((enum state)k->state) {
	case TRAILER_FIRST: return c == '\r' ? END_LF : is_token(c) ? TRAILER_NAME : BROKEN;
	case TRAILER_NAME: return c == ':' ? TRAILER_VALUE : is_token(c) ? TRAILER_NAME : BROKEN;
	case TRAILER_VALUE: return c == '\r' ? TRAILER_LF : is_text(c) ? TRAILER_VALUE : BROKEN;
	case TRAILER_LF: return c == '\n' ? TRAILER_FIRST : BROKEN;
	default: /* END_LF */ return c == '\n' ? ENDED : BROKEN;
	}
}

static unsigned advance(struct http1_chunks *k, char c)
{
	if (k->state <= SIZE_LF)
		return size_line(k, c);
	if (k->state == DATA_CR)
		return c == '\r' ? DATA_LF : BROKEN;
	if (k->state == DATA_LF) {
		k->left = 0;
		return c == '\n' ? SIZE_FIRST : BROKEN;
	}
	return trailer(k, c);
}

enum http1_step http1_chunked(struct http1_chunks *k, const char *p, size_t n, size_t *used,
			      void (*data)(void *arg, const char *p, size_t n), void *arg,
			      struct err *e)
{
	size_t i = 0;

	while (i < n && k->state < ENDED) {
		if (k->state == DATA) {
			size_t piece = k->left < n - i ? (size_t)k->left : n - i;

			if (data)
				data(arg, p + i, piece);
			k->left -= piece;
			i += piece;
			if (!k->left)
				k->state = DATA_CR;
			continue;
		}
		k->state = advance(k, p[i]);
		i += k->state != BROKEN;
	}
	*used = i;
	if (k->state == BROKEN) {
		err_set(e, ERR_PROTO, "bad chunked body");
		return HTTP1_BAD;
	}
	return k->state == ENDED ? HTTP1_DONE : HTTP1_MORE;
}
