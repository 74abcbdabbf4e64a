#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool str_eq_nocase(const char *a, const char *b)
{
	return strcasecmp(a, b) == 0;
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

void str_lower(char *s)
{
	for (; *s; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s + 'a' - 'A');
}

void str_printable(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

void str_ascii(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			*s = '?';
}

char *str_trim(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	for (n = strlen(s); n && isspace((unsigned char)s[n - 1]); n--)
		s[n - 1] = '\0';
	return s;
}

int str_number(const char *s, uint64_t min, uint64_t max, uint64_t *out, struct err *e)
{
	char *end = NULL;
	unsigned long long n = 0;

	errno = 0;
	if (isdigit((unsigned char)*s))
		n = strtoull(s, &end, 10);
	if (!end || *end || errno)
		return err_set(e, ERR_USAGE, "'%.40s' is not a number", s);
	if (n < min || n > max)
		return err_set(e, ERR_USAGE, "%llu is not between %llu and %llu", n,
			       (unsigned long long)min, (unsigned long long)max);
	*out = n;
	return 0;
}

bool str_fmt(char *out, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, size, fmt, ap);
	va_end(ap);
	return n >= 0 && (size_t)n < size;
}

size_t str_decimal(uint64_t n, char out[static 21])
{
	char digit[20];
	size_t count = 0, i;

	do
		digit[count++] = (char)('0' + n % 10);
	while (n /= 10);
	for (i = 0; i < count; i++)
		out[i] = digit[count - 1 - i];
	out[count] = '\0';
	return count;
}

size_t str_ipv4(const uint8_t b[static 4], char out[static 16])
{
	char text[21];
	size_t at = 0;

	for (int i = 0; i < 4; i++) {
		size_t n = str_decimal(b[i], text);

		memcpy(out + at, text, n);
		at += n;
		out[at++] = '.';
	}
	out[--at] = '\0';
	return at;
}

void str_hex(const void *p, size_t n, char *out)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = "0123456789abcdef"[b[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[b[i] & 15];
	}
	out[2 * n] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool str_unhex(const char *hex, void *out, size_t n)
{
	uint8_t *b = out;

	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(hex[2 * i]), lo = hi < 0 ? -1 : hex_digit(hex[2 * i + 1]);

		if (lo < 0)
			return false;
		b[i] = (uint8_t)(hi << 4 | lo);
	}
	return hex[2 * n] == '\0';
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t str_base64_len(size_t n)
{
	return (n + 2) / 3 * 4 + 1;
}

void str_base64(const void *p, size_t n, char *out)
{
	const uint8_t *b = p;

	for (; n >= 3; n -= 3, b += 3, out += 4) {
		out[0] = alphabet[b[0] >> 2];
		out[1] = alphabet[(b[0] & 3) << 4 | b[1] >> 4];
		out[2] = alphabet[(b[1] & 15) << 2 | b[2] >> 6];
		out[3] = alphabet[b[2] & 63];
	}
	if (n) {
		out[0] = alphabet[b[0] >> 2];
		out[1] = alphabet[(b[0] & 3) << 4 | (n > 1 ? b[1] >> 4 : 0)];
		out[2] = n > 1 ? alphabet[(b[1] & 15) << 2] : '=';
		out[3] = '=';
		out += 4;
	}
	*out = '\0';
}

long str_unbase64(const char *s, size_t n, void *out)
{
	uint8_t *o = out;
	uint32_t acc = 0;
	size_t bits = 0;

	if (n % 4)
		return -1;
	for (size_t pad = 0; pad < 2 && n && s[n - 1] == '='; pad++)
		n--;
	for (size_t i = 0; i < n; i++) {
		const char *at = s[i] ? strchr(alphabet, s[i]) : NULL;

		if (!at)
			return -1;
		acc = acc << 6 | (uint32_t)(at - alphabet);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*o++ = (uint8_t)(acc >> bits);
		}
	}
	return o - (uint8_t *)out;
}

size_t str_uri_encode(const char *s, size_t n, bool keep_slash, char *out)
{
	char *o = out;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if ((c < 0x80 && isalnum(c)) || (c && strchr("-_.~", c)) ||
		    (c == '/' && keep_slash)) {
			*o++ = (char)c;
			continue;
		}
		*o++ = '%';
		*o++ = "0123456789ABCDEF"[c >> 4];
		*o++ = "0123456789ABCDEF"[c & 15];
	}
	*o = '\0';
	return (size_t)(o - out);
}

int str_host_port(const char *s, char *host, size_t size, uint16_t *port, struct err *e)
{
	const char *colon = strrchr(s, ':');
	size_t n = colon ? (size_t)(colon - s) : 0;
	uint64_t number;

	if (!colon)
		return err_set(e, ERR_USAGE, "'%.80s': HOST:PORT expected", s);
	if (n >= 2 && s[0] == '[' && s[n - 1] == ']') {
		s++;
		n -= 2;
	} else if (memchr(s, ':', n)) {
		return err_set(e, ERR_USAGE, "'%.80s': write an IPv6 address as [ADDR]:PORT", s);
	}
	if (n >= size)
		return err_set(e, ERR_USAGE, "'%.80s': host name too long", s);
	if (str_number(colon + 1, 0, 65535, &number, e) != 0)
		return err_wrap(e, "port");
	memcpy(host, s, n);
	host[n] = '\0';
	*port = (uint16_t)number;
	return 0;
}
