#include "base/passwd.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "base/str.h"

/* Ours: 16 MiB, as safe as the 128 MiB with p = 1 that OWASP's cheat sheet on password storage
 * names, by more rounds; many may be checked one after the other on a small machine. */
enum { LN = 14, R = 8, P = 5, SALT = 16, KEY = 32 };
/* Of foreign ones. */
enum { LN_MAX = 20, R_MAX = 64, P_MAX = 64, KEY_MIN = 16, SALT_MIN = 8 };
static const uint64_t cost_max = 10ull * P * R << LN;

static const char prefix[] = "$scrypt$";

static int bad(struct err *e, const char *what)
{
	return err_set(e, ERR_CONFIG, "%s; awsocks passwd prints a hash", what);
}

/* "ln=14,r=8,p=5" */
static int parse_cost(char *text, struct passwd_hash *h, struct err *e)
{
	static const char *const names[] = { "ln=", "r=", "p=" };
	const uint64_t most[] = { LN_MAX, R_MAX, P_MAX };
	unsigned *const to[] = { &h->ln, &h->r, &h->p };

	for (size_t i = 0; i < 3; i++) {
		char *comma = strchr(text, ',');
		uint64_t n;

		if (comma)
			*comma = '\0';
		if (!str_starts(text, names[i]) ||
		    str_number(text + strlen(names[i]), 1, most[i], &n, NULL) != 0 ||
		    !comma != (i == 2))
			return bad(e, "its parameters are not ln=14,r=8,p=5 or the like");
		*to[i] = (unsigned)n;
		text = comma + 1;
	}
	if ((uint64_t)128 * h->r << h->ln > PASSWD_MEMORY_MAX ||
	    (uint64_t)h->r * h->p << h->ln > cost_max)
		return bad(e, "its parameters ask for too much memory or time");
	if (h->ln >= 16 * h->r) /* RFC 7914, 2: N < 2^(128 r / 8) */
		return bad(e, "its ln is too large for its r");
	return 0;
}

/* Base64 without padding: for str_unbase64() with it. */
static int parse_bytes(const char *text, size_t n, size_t least, uint8_t *out, size_t *size,
		       struct err *e)
{
	char padded[PASSWD_BYTES * 2];
	uint8_t raw[sizeof(padded)];
	long got;

	if (n % 4 == 1 || n + 4 > sizeof(padded))
		return bad(e, "its salt or key has an odd length");
	memcpy(padded, text, n);
	while (n % 4)
		padded[n++] = '=';
	got = str_unbase64(padded, n, raw);
	if (got < (long)least || got > PASSWD_BYTES)
		return bad(e, "its salt or key is no base64, too short or too long");
	*size = (size_t)got;
	memcpy(out, raw, *size);
	return 0;
}

int passwd_parse(const char *text, struct passwd_hash *h, struct err *e)
{
	const char *salt, *key;
	char cost[40];

	*h = (struct passwd_hash){ 0 };
	if (!str_starts(text, prefix))
		return bad(e, "a hash begins with $scrypt$");
	text += strlen(prefix);
	salt = strchr(text, '$');
	key = salt ? strchr(salt + 1, '$') : NULL;
	if (!key || strchr(key + 1, '$') ||
	    !str_fmt(cost, sizeof(cost), "%.*s", (int)(salt - text), text))
		return bad(e, "a hash is $scrypt$ln=14,r=8,p=5$SALT$KEY");
	if (parse_cost(cost, h, e) != 0 ||
	    parse_bytes(salt + 1, (size_t)(key - salt - 1), SALT_MIN, h->salt, &h->salt_n, e) != 0)
		return -1;
	return parse_bytes(key + 1, strlen(key + 1), KEY_MIN, h->key, &h->key_n, e);
}

static int derive(const struct passwd_hash *h, const char *password, size_t n, uint8_t *out,
		  struct err *e)
{
	/* room for what scrypt needs besides its table */
	const uint64_t memory = (uint64_t)PASSWD_MEMORY_MAX + 1024 * 1024;

	if (EVP_PBE_scrypt(password, n, h->salt, h->salt_n, (uint64_t)1 << h->ln, h->r, h->p,
			   memory, out, h->key_n) == 1)
		return 0;
	return err_set(e, ERR_NOMEM, "password: scrypt");
}

int passwd_check(const struct passwd_hash *h, const char *password, size_t n, struct err *e)
{
	uint8_t key[PASSWD_BYTES];
	int result = -1;

	if (derive(h, password, n, key, e) == 0)
		result = secret_equal(key, h->key_n, h->key, h->key_n);
	mem_wipe(key, sizeof(key));
	return result;
}

static void unpadded(const uint8_t *p, size_t n, char *out)
{
	str_base64(p, n, out);
	out[strcspn(out, "=")] = '\0';
}

int passwd_make(const char *password, size_t n, char out[static PASSWD_LINE], struct err *e)
{
	struct passwd_hash h = { .ln = LN, .r = R, .p = P, .salt_n = SALT, .key_n = KEY };
	char salt[SALT * 2], key[KEY * 2];

	if (!n || n > PASSWD_MAX)
		return err_set(e, ERR_USAGE, "a password has 1 to %d bytes", PASSWD_MAX);
	random_bytes(h.salt, SALT);
	if (derive(&h, password, n, h.key, e) != 0)
		return -1;
	unpadded(h.salt, SALT, salt);
	unpadded(h.key, KEY, key);
	(void)str_fmt(out, PASSWD_LINE, "%sln=%d,r=%d,p=%d$%s$%s", prefix, LN, R, P, salt, key);
	return 0;
}

bool passwd_is_name(const char *name, size_t n)
{
	if (!n || n > PASSWD_MAX)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == ':')
			return false;
	return true;
}
