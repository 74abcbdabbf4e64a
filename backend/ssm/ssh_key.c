#include "backend/ssm/ssh_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/str.h"

enum {
	KEY_BYTES = 32,
	BLOB = 4 + 11 + 4 + KEY_BYTES, /* "ssh-ed25519", the public half */
	COMMENT = 7,
	BLOCK = 8,
	SECRET = 8 + BLOB + 4 + 2 * KEY_BYTES + 4 + COMMENT, /* check numbers, pair, comment */
	PADDED = (SECRET + BLOCK - 1) / BLOCK * BLOCK,
	FILE_BYTES = 15 + 4 + 4 + 4 + 4 + 4 + 4 + 4 + 4 + BLOB + 4 + PADDED,
	LINE = 70
};

static const char kind[] = "ssh-ed25519", comment[] = "awsocks", magic[] = "openssh-key-v1";

struct pair {
	uint8_t secret[KEY_BYTES], public[KEY_BYTES];
};

static uint8_t *put32(uint8_t *to, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> (24 - 8 * i));
	return to + 4;
}

static uint8_t *put(uint8_t *to, const void *p, size_t n)
{
	to = put32(to, (uint32_t)n);
	if (n)
		memcpy(to, p, n);
	return to + n;
}

static uint8_t *put_blob(uint8_t *to, const struct pair *k)
{
	return put(put(to, kind, sizeof(kind) - 1), k->public, KEY_BYTES);
}

static int make_pair(struct pair *k, struct err *e)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	size_t n = KEY_BYTES, m = KEY_BYTES;
	bool good = key && EVP_PKEY_get_raw_private_key(key, k->secret, &n) == 1 &&
		    EVP_PKEY_get_raw_public_key(key, k->public, &m) == 1;

	EVP_PKEY_free(key);
	return good ? 0 : err_set(e, ERR_INTERNAL, "no Ed25519 key could be made");
}

/* The private section: what a passphrase would encrypt. */
static void put_secret(uint8_t *to, const struct pair *k)
{
	uint8_t both[2 * KEY_BYTES], *start = to;
	uint32_t check;

	random_bytes(&check, sizeof(check));
	memcpy(both, k->secret, KEY_BYTES);
	memcpy(both + KEY_BYTES, k->public, KEY_BYTES);
	to = put32(put32(to, check), check);
	to = put(put_blob(to, k), both, sizeof(both));
	to = put(to, comment, COMMENT);
	for (uint8_t pad = 1; to < start + PADDED; pad++)
		*to++ = pad;
	mem_wipe(both, sizeof(both));
}

static size_t put_file(uint8_t *to, const struct pair *k)
{
	uint8_t *start = to, blob[BLOB], secret[PADDED];

	memcpy(to, magic, sizeof(magic)); /* with its NUL */
	to = put(put(put(to + sizeof(magic), "none", 4), "none", 4), "", 0);
	to = put32(to, 1);
	(void)put_blob(blob, k);
	to = put(to, blob, sizeof(blob));
	put_secret(secret, k);
	to = put(to, secret, sizeof(secret));
	mem_wipe(secret, sizeof(secret));
	return (size_t)(to - start);
}

static int write_armoured(int fd, const char *base64)
{
	static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n",
			  end[] = "-----END OPENSSH PRIVATE KEY-----\n";

	if (file_write_all(fd, begin, sizeof(begin) - 1) != 0)
		return -1;
	while (*base64) {
		size_t n = strnlen(base64, LINE);

		if (file_write_all(fd, base64, n) != 0 || file_write_all(fd, "\n", 1) != 0)
			return -1;
		base64 += n;
	}
	return file_write_all(fd, end, sizeof(end) - 1);
}

static int write_key(const char *file, const struct pair *k, struct err *e)
{
	uint8_t raw[FILE_BYTES];
	char text[(FILE_BYTES + 2) / 3 * 4 + 1];
	int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int failed, sys;

	if (fd < 0)
		return err_sys(e, errno, "%s", file);
	str_base64(raw, put_file(raw, k), text);
	mem_wipe(raw, sizeof(raw));
	failed = write_armoured(fd, text);
	sys = errno;
	mem_wipe(text, sizeof(text));
	if (close(fd) != 0 && !failed) {
		failed = -1;
		sys = errno;
	}
	if (!failed)
		return 0;
	ssh_key_remove(file);
	return err_sys(e, sys, "%s", file);
}

int ssh_key_make(const char *file, char public_text[static SSH_PUBLIC_TEXT], struct err *e)
{
	char text[(BLOB + 2) / 3 * 4 + 1];
	uint8_t blob[BLOB];
	struct pair k;
	int r = make_pair(&k, e);

	if (r == 0)
		r = write_key(file, &k, e);
	if (r == 0) {
		(void)put_blob(blob, &k);
		str_base64(blob, sizeof(blob), text);
		(void)str_fmt(public_text, SSH_PUBLIC_TEXT, "%s %s %s", kind, text, comment);
	}
	mem_wipe(&k, sizeof(k));
	return r;
}

void ssh_key_remove(const char *file)
{
	static const char nothing[512];
	int fd = open(file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0) {
		(void)file_write_all(fd, nothing, sizeof(nothing));
		close(fd);
	}
	(void)unlink(file);
}
