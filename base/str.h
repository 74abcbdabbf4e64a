#ifndef BASE_STR_H
#define BASE_STR_H
/* Small text tools. Nothing here allocates unless it says so. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

bool str_eq_nocase(const char *a, const char *b); /* ASCII */
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
void str_lower(char *s);     /* ASCII, in place */
void str_printable(char *s); /* control bytes become '?': for texts of a peer */
/* Whatever is no printable ASCII does: bytes of a text that may be no UTF-8 would make a JSON
 * document none, and C1 controls (U+0080 to U+009F) are a terminal's commands, too. */
void str_ascii(char *s);
char *str_trim(char *s); /* cuts blanks at both ends, in place; returns the new start */
/* A decimal number within [min, max], all of the text. */
MUST_CHECK int str_number(const char *s, uint64_t min, uint64_t max, uint64_t *out, struct err *);
/* Formats into out[size]; false when it does not fit (out is cut then). */
bool str_fmt(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* For what every connection formats, a tenth of str_fmt()'s cost: n in decimal digits, and NUL;
 * how many digits. */
size_t str_decimal(uint64_t n, char out[static 21]);
/* "192.0.2.1" of four bytes. Returns its length. */
size_t str_ipv4(const uint8_t b[static 4], char out[static 16]);

void str_hex(const void *p, size_t n, char *out);     /* lower case; 2n + 1 bytes */
bool str_unhex(const char *hex, void *out, size_t n); /* exactly 2n digits */
size_t str_base64_len(size_t n);                      /* with padding and NUL */
void str_base64(const void *p, size_t n, char *out);
/* Bytes written, or -1; out needs 3 bytes for every 4 characters. */
long str_unbase64(const char *s, size_t n, void *out);
/* RFC 3986 unreserved characters stay, others become %XX (upper case), '/' stays
 * if keep_slash. out needs 3n + 1 bytes. Returns the length. */
size_t str_uri_encode(const char *s, size_t n, bool keep_slash, char *out);
/* "host:port", "[v6]:port", ":port" -> host (cut to size) and port; a port is required. */
MUST_CHECK int str_host_port(const char *s, char *host, size_t size, uint16_t *port, struct err *);
#endif
