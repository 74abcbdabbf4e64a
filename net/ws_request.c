/*
 * The head of the upgrade request. lws writes it into a buffer of
 * WS_IO_BUFFER bytes and lets us add our fields at its end; it has cut the
 * request line after REQUEST_LINE_MAX bytes, without a word. A longer one (a
 * presigned URL with a session token) is put in whole here: the buffer's
 * start follows from the room that is left, and nothing is touched unless the
 * head reads as expected.
 */
#include <string.h>

#include "base/str.h"
#include "net/ws_impl.h"

enum {
	REQUEST_LINE_MAX = 2047,
	LWS_RESERVE = 12, /* bytes that lws keeps for itself behind our fields */
};
static const char LINE_END[] = " HTTP/1.1\r\n", NEXT[] = "Pragma: ";

static int too_long(struct ws *ws)
{
	return err_set(&ws->why, ERR_LIMIT, "upgrade request too long");
}

static int whole_line(struct ws *ws, unsigned char **at, size_t *room)
{
	unsigned char *head = *at + *room + LWS_RESERVE - WS_IO_BUFFER, *tail, *to;
	size_t target = strlen(ws->target), line = 4 + target + strlen(LINE_END), tail_len, cut;

	if (line <= REQUEST_LINE_MAX)
		return 0;
	if (*room > WS_IO_BUFFER || memcmp(head, "GET ", 4) != 0 ||
	    memcmp(head + 4, ws->target, 1024) != 0)
		return too_long(ws);
	tail = memmem(head + REQUEST_LINE_MAX - 64, 128, NEXT, strlen(NEXT));
	if (!tail)
		return too_long(ws);
	cut = (size_t)(tail - head);
	tail_len = (size_t)(*at - tail);
	if (line - cut > *room)
		return too_long(ws);
	to = head + line;
	memmove(to, tail, tail_len);
	memcpy(head + 4, ws->target, target);
	memcpy(head + 4 + target, LINE_END, strlen(LINE_END));
	*at = to + tail_len;
	*room -= line - cut;
	return 0;
}

int ws_request_head(struct ws *ws, struct lws *wsi, unsigned char **at, size_t room)
{
	unsigned char *end;
	char name[128];

	if (whole_line(ws, at, &room) != 0)
		return -1;
	end = *at + room;
	for (size_t i = 0; i < ws->header_count; i++) {
		const struct http_header *h = &ws->headers[i];

		if (!str_fmt(name, sizeof(name), "%s:", h->name) ||
		    lws_add_http_header_by_name(wsi, (const unsigned char *)name,
						(const unsigned char *)h->value,
						(int)strlen(h->value), at, end))
			return too_long(ws);
	}
	return 0;
}
