#ifndef BASE_PASSWD_H
#define BASE_PASSWD_H
/*
 * Stored passwords: scrypt (RFC 7914, by OpenSSL) in the self-describing text that
 * passlib and others use too:
 *
 *     $scrypt$ln=14,r=8,p=5$SALT$KEY        N = 2^ln; base64 without padding
 *
 * A text may come from anywhere, so what it may cost is bounded when it is read:
 * PASSWD_MEMORY_MAX bytes, and about ten times the time of our own.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	PASSWD_LINE = 128, /* of ours, with its NUL */
	PASSWD_BYTES = 64, /* of salt and key at most */
	PASSWD_MEMORY_MAX = 64 * 1024 * 1024,
	PASSWD_MAX = 255 /* bytes of a name and of a password: RFC 1929, 2 */
};

struct passwd_hash {
	unsigned ln, r, p;
	uint8_t salt[PASSWD_BYTES], key[PASSWD_BYTES];
	size_t salt_n, key_n;
};

/* ERR_CONFIG: what is wrong with it; the text itself is not repeated. */
MUST_CHECK int passwd_parse(const char *text, struct passwd_hash *, struct err *);
/* The text for a password, with a new salt. Takes as long as checking one. ERR_USAGE: empty or
 * too long. */
MUST_CHECK int passwd_make(const char *password, size_t n, char out[static PASSWD_LINE],
			   struct err *);
/* Takes some tens of milliseconds and 16 MiB (of ours): not on a loop. Compares in constant time.
 * -1: it could not be computed (ERR_NOMEM, ERR_INTERNAL); 1: right; 0: wrong. */
MUST_CHECK int passwd_check(const struct passwd_hash *, const char *password, size_t n,
			    struct err *);
/* May it be a user's name? 1 to PASSWD_MAX bytes, no control bytes, and no ':' (RFC 7617, 2). */
bool passwd_is_name(const char *name, size_t n);
#endif
