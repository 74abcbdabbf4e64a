/*
 * Laws of net/ws_parse.c and net/ws_upgrade.c: any cut of the same bytes tells
 * the same events; what is told lies within the bytes or the parser's own
 * message and keeps its ceiling; what is left over is less than WS_LEFT_MAX;
 * text is UTF-8. The answer to an upgrade never reads past its end, and one
 * that is complete stays so when more follows.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "net/ws_parse.h"
#include "net/ws_upgrade.h"

enum { MAX = 50000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct tale {
	uint64_t digest; /* of all that was told */
	enum ws_got last;
};

static void mix(struct tale *t, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		t->digest = (t->digest ^ b[i]) * 1099511628211u;
}

static struct tale tell(const uint8_t *data, size_t n, size_t step)
{
	struct tale t = { 14695981039346656037u, WS_GOT_MORE };
	size_t at = 0, have = 0, used;
	struct ws_parser ps;
	struct ws_event ev;
	struct err e = { 0 };

	ws_parser_init(&ps, MAX);
	while (have < n && t.last != WS_GOT_BAD) {
		uint8_t *copy;

		have = n - have < step ? n : have + step;
		copy = malloc(have - at + 1); /* its own, so that a read past the end is seen */
		memcpy(copy, data + at, have - at);
		size_t here = 0, len = have - at;
		while ((t.last = ws_parse(&ps, copy + here, len - here, &used, &ev, &e)) > 0) {
			here += used;
			assert(here <= len && ev.n <= MAX);
			assert(ev.op != WS_TEXT || ws_utf8_valid(ev.p, ev.n));
			mix(&t, &ev.op, sizeof(ev.op));
			mix(&t, ev.p, ev.n);
		}
		here += used;
		assert(here <= len);
		at += here;
		if (t.last == WS_GOT_MORE)
			assert(have - at < WS_LEFT_MAX);
		free(copy);
	}
	if (t.last == WS_GOT_BAD)
		assert(e.code && e.msg[0] && ps.close_code >= 1002);
	ws_parser_free(&ps);
	return t;
}

static void frames(const uint8_t *data, size_t n)
{
	struct tale whole = tell(data, n, n ? n : 1), part = tell(data, n, 1 + n / 7);

	assert(whole.digest == part.digest && whole.last == part.last);
}

static void answer(const uint8_t *data, size_t n)
{
	size_t used, again;
	struct err e = { 0 };
	char *copy = malloc(n + 1);
	enum ws_answer got;

	memcpy(copy, data, n);
	got = ws_upgrade_answer(copy, n, false, "dGhlIHNhbXBsZSBub25jZQ==", &used, &e);
	if (got == WS_ANSWER_OPEN) {
		assert(used <= n);
		assert(ws_upgrade_answer(copy, used, false, "dGhlIHNhbXBsZSBub25jZQ==", &again,
					 &e) == WS_ANSWER_OPEN);
		assert(again == used);
	} else if (got == WS_ANSWER_MORE) {
		assert(ws_upgrade_answer(copy, n, true, "dGhlIHNhbXBsZSBub25jZQ==", &used, &e) ==
		       WS_ANSWER_BAD);
	}
	if (got != WS_ANSWER_OPEN && got != WS_ANSWER_MORE)
		assert(e.code && e.msg[0]);
	free(copy);
}

/* The first byte says which of the two. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0)
		return 0;
	if (data[0] & 1)
		answer(data + 1, n - 1);
	else
		frames(data + 1, n - 1);
	return 0;
}
