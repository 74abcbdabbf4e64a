/*
 * Normalisation in one direction, no step of which looks back:
 *
 *   bytes -> refuse what no name contains -> [v6] or v6 -> address
 *                                         -> IDN to ASCII -> trailing dot, case
 *                                         -> last label a number -> IPv4, or refused
 *                                         -> labels checked -> name
 *
 * A rule that says 127.0.0.1 must see every text that getaddrinfo() would turn
 * into it, therefore IPv4 follows inet_aton() (parts in decimal, octal or
 * hexadecimal, one to four of them); and what looks like such a number but is
 * none is refused, as the WHATWG URL standard does ("ends in a number"), since
 * resolvers differ about it.
 */
#include "routing/host.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <idn2.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

enum { RAW_MAX = 1024, NAME_MAX_LEN = 253, LABEL_MAX = 63, V6_TEXT_MAX = 45 };

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_PROTO, "host name: %s", what);
}

/* Before anything reads it as a C string. */
static int check_bytes(const char *p, size_t n, struct err *e)
{
	static const char never[] = "%/\\@#?<>^|\"`{}";

	if (n == 0)
		return bad(e, "empty");
	if (n > RAW_MAX)
		return bad(e, "too long");
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];

		if (c == 0)
			return bad(e, "contains a NUL byte");
		if (c == ' ')
			return bad(e, "contains a blank");
		if (c < 0x20 || c == 0x7f)
			return bad(e, "contains a control character");
		if (strchr(never, c))
			return err_set(e, ERR_PROTO, "host name: contains '%c'", c);
	}
	return 0;
}

static void format_v4(const uint8_t *b, char out[static HOST_MAX])
{
	(void)str_ipv4(b, out);
}

/* The longest run of two or more zero groups, the first of equals (RFC 5952, 4.2). */
static void longest_zeros(const unsigned *group, int *start, int *len)
{
	*start = -1;
	*len = 1;
	for (int i = 0, run; i < 8; i += run ? run : 1) {
		for (run = 0; i + run < 8 && group[i + run] == 0;)
			run++;
		if (run > *len) {
			*start = i;
			*len = run;
		}
	}
}

static void format_v6(const uint8_t *b, char out[static HOST_MAX])
{
	unsigned group[8];
	int zeros, len;
	size_t o = 0;

	for (int i = 0; i < 8; i++)
		group[i] = (unsigned)b[2 * i] << 8 | b[2 * i + 1];
	longest_zeros(group, &zeros, &len);
	for (int i = 0; i < 8; i++) {
		const char *sep = i && i != zeros + len ? ":" : "";

		if (zeros >= 0 && i == zeros) {
			o += (size_t)snprintf(out + o, HOST_MAX - o, "::");
			i += len - 1;
			continue;
		}
		o += (size_t)snprintf(out + o, HOST_MAX - o, "%s%x", sep, group[i]);
	}
}

static bool is_mapped(const uint8_t *b)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(b, prefix, sizeof(prefix)) == 0;
}

void host_addr_format(const struct host_addr *a, char out[static HOST_MAX])
{
	if (a->size == 4)
		format_v4(a->byte, out);
	else if (is_mapped(a->byte))
		format_v4(a->byte + 12, out);
	else
		format_v6(a->byte, out);
}

bool host_addr(const char *host, struct host_addr *a)
{
	a->size = strchr(host, ':') ? 16 : 4;
	return inet_pton(a->size == 16 ? AF_INET6 : AF_INET, host, a->byte) == 1;
}

/* n bytes without brackets. */
static int normalize_v6(const char *p, size_t n, struct host *h, struct err *e)
{
	struct host_addr a = { .size = 16 };
	char text[V6_TEXT_MAX + 1];

	if (n > V6_TEXT_MAX)
		return bad(e, "not an IPv6 address");
	memcpy(text, p, n);
	text[n] = '\0';
	if (inet_pton(AF_INET6, text, a.byte) != 1)
		return err_set(e, ERR_PROTO, "host name: '%s' is not an IPv6 address", text);
	host_addr_format(&a, h->text);
	h->is_address = true;
	return 0;
}

/* One part of an IPv4 number as inet_aton() reads it, up to '.' or the end. */
static bool part(const char **p, uint64_t *out)
{
	unsigned base = 10;
	bool any = false;

	*out = 0;
	if (**p == '0') {
		base = 8;
		any = true;
		if ((*++*p | 0x20) == 'x') {
			base = 16;
			any = false;
			++*p;
		}
	}
	for (; isxdigit((unsigned char)**p); ++*p, any = true) {
		unsigned c = (unsigned char)**p;
		unsigned digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;

		if (digit >= base || *out > UINT32_MAX)
			return false;
		*out = *out * base + digit;
	}
	return any && (**p == '.' || **p == '\0');
}

/* All of `s` as IPv4, one to four parts; the last fills the bytes that are left. */
static bool parse_v4(const char *s, uint8_t out[4])
{
	uint64_t value[4], last;
	unsigned n = 0;

	for (;; s++) {
		if (n == 4 || !part(&s, &value[n++]))
			return false;
		if (*s == '\0')
			break;
	}
	last = value[n - 1];
	if (last >> (8 * (5 - n)))
		return false;
	for (unsigned i = 0; i < 4; i++)
		out[i] = (uint8_t)(last >> (8 * (3 - i)));
	for (unsigned i = 0; i + 1 < n; i++) {
		if (value[i] > 255)
			return false;
		out[i] = (uint8_t)value[i];
	}
	return true;
}

/* WHATWG URL, "ends-in-a-number checker". */
static bool ends_in_number(const char *name)
{
	const char *dot = strrchr(name, '.');
	const char *last = dot ? dot + 1 : name;

	if (*last && strspn(last, "0123456789") == strlen(last))
		return true;
	return last[0] == '0' && last[1] == 'x' &&
	       strspn(last + 2, "0123456789abcdef") == strlen(last + 2);
}

static int check_labels(const char *name, struct err *e)
{
	size_t total = strlen(name);

	if (total > NAME_MAX_LEN)
		return bad(e, "longer than 253 bytes");
	if (*name == '-')
		return bad(e, "begins with '-'");
	for (const char *at = name;; at++) {
		size_t n = strcspn(at, ".");

		if (n == 0)
			return bad(e, "has an empty label");
		if (n > LABEL_MAX)
			return bad(e, "has a label longer than 63 bytes");
		for (size_t i = 0; i < n; i++)
			if (!isalnum((unsigned char)at[i]) && at[i] != '-' && at[i] != '_')
				return err_set(e, ERR_PROTO, "host name: contains '%c'", at[i]);
		at += n;
		if (!*at)
			return 0;
	}
}

/* UTS 46, non-transitional, to A-labels. The buffer holds RAW_MAX + 1 bytes. */
static int to_ascii(char *text, struct err *e)
{
	char *out = NULL;
	int rc = idn2_to_ascii_8z(text, &out, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
	bool fits = rc == IDN2_OK && strlen(out) <= RAW_MAX;

	if (fits)
		memcpy(text, out, strlen(out) + 1);
	idn2_free(out);
	if (rc == IDN2_MALLOC)
		return err_set(e, ERR_NOMEM, "host name");
	if (!fits)
		return err_set(e, ERR_PROTO, "host name: no valid international name: %s",
			       rc == IDN2_OK ? "too long" : idn2_strerror(rc));
	return 0;
}

static bool is_ascii(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s >= 0x80)
			return false;
	return true;
}

static int normalize_name(char *text, struct host *h, struct err *e)
{
	uint8_t v4[4];
	size_t n;

	if (!is_ascii(text)) {
		if (to_ascii(text, e) != 0)
			return -1;
		if (check_bytes(text, strlen(text), e) != 0) /* full-width forms are mapped */
			return -1;
	}
	str_lower(text);
	n = strlen(text);
	if (n && text[n - 1] == '.')
		text[n - 1] = '\0';
	if (ends_in_number(text)) {
		if (!parse_v4(text, v4))
			return err_set(e, ERR_PROTO,
				       "host name: '%.60s' looks like an IPv4 address but is none",
				       text);
		format_v4(v4, h->text);
		h->is_address = true;
		return 0;
	}
	if (check_labels(text, e) != 0)
		return -1;
	memcpy(h->text, text, strlen(text) + 1);
	return 0;
}

int host_normalize(const char *p, size_t n, struct host *h, struct err *e)
{
	char text[RAW_MAX + 1];

	memset(h, 0, sizeof(*h));
	if (check_bytes(p, n, e) != 0)
		return -1;
	if (*p == '[') {
		if (p[n - 1] != ']')
			return bad(e, "'[' without ']'");
		return normalize_v6(p + 1, n - 2, h, e);
	}
	if (memchr(p, ':', n))
		return normalize_v6(p, n, h, e);
	memcpy(text, p, n);
	text[n] = '\0';
	return normalize_name(text, h, e);
}
