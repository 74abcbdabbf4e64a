/*
 * Signs requests from stdin, for tests that compare with another
 * implementation. One request a line, tab-separated, every field hex-encoded:
 *
 *   method path query wall-ms region service id secret token body [name value]...
 *
 * and one line of answer: the Authorization value.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/sigv4.h"

enum { FIXED = 10, FIELDS = 64 };

static char line[1 << 20];

/* Cuts the line into decoded fields, in place. Returns how many; 0: broken. */
static size_t split(char *field[FIELDS], size_t len[FIELDS])
{
	size_t n = 0;

	line[strcspn(line, "\n")] = '\0';
	for (char *at = line; at; n++) {
		char *next = strchr(at, '\t');

		if (next)
			*next++ = '\0';
		if (n == FIELDS)
			return 0;
		len[n] = strlen(at) / 2;
		field[n] = at;
		if (!str_unhex(at, at, len[n]))
			return 0;
		at[len[n]] = '\0';
		at = next;
	}
	return n;
}

static int sign(char *field[FIELDS], const size_t len[FIELDS], size_t n)
{
	struct http_header headers[FIELDS];
	struct sigv4_result r;
	struct err e = { 0 };
	struct creds *c;
	size_t count = 0;

	for (size_t i = FIXED; i + 1 < n; i += 2)
		headers[count++] = (struct http_header){ field[i], field[i + 1] };
	c = creds_new(field[6], field[7], field[8], 0, NULL, "stdin", &e);
	if (c && sigv4_sign(&(struct sigv4_request){ .method = field[0],
						     .path = field[1],
						     .query = field[2],
						     .headers = headers,
						     .header_count = count,
						     .body = field[9],
						     .body_len = len[9],
						     .region = field[4],
						     .service = field[5],
						     .wall_ms = strtoll(field[3], NULL, 10),
						     .double_encode_path = true,
						     .normalize_path = true },
			    c, &r, &e) == 0) {
		puts(r.authorization);
		sigv4_result_free(&r);
	} else {
		fprintf(stderr, "%s\n", e.msg);
	}
	creds_unref(c);
	return e.code ? 1 : 0;
}

int main(void)
{
	char *field[FIELDS];
	size_t len[FIELDS];

	while (fgets(line, sizeof(line), stdin)) {
		size_t n = split(field, len);

		if (n < FIXED || sign(field, len, n) != 0)
			return 1;
	}
	return 0;
}
