/*
 * A security key without hardware, for ssh's "SecurityKeyProvider": Ed25519 keys whose handle is
 * the seed. For tests of sk-ssh-ed25519 keys with a real ssh-agent and a real sshd.
 *
 * Source: OpenSSH's PROTOCOL.u2f ("sk-api"): what is called, and what is signed:
 * SHA-256(application), flags, counter, SHA-256(message).
 */
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ED25519 = 1, KEY = 32, SIGNATURE = 64, USER_PRESENT = 1 };
enum { FAILED = -1, API_MAJOR = 0x000a0000 };

struct enrolled {
	uint8_t flags;
	uint8_t *public_key;
	size_t public_key_len;
	uint8_t *key_handle;
	size_t key_handle_len;
	uint8_t *signature;
	size_t signature_len;
	uint8_t *attestation_cert;
	size_t attestation_cert_len;
	uint8_t *authdata;
	size_t authdata_len;
};
struct signed_one {
	uint8_t flags;
	uint32_t counter;
	uint8_t *sig_r;
	size_t sig_r_len;
	uint8_t *sig_s;
	size_t sig_s_len;
};
struct sk_option;

uint32_t sk_api_version(void);
int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application,
	      uint8_t flags, const char *pin, struct sk_option **options, struct enrolled **out);
int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application,
	    const uint8_t *handle, size_t handle_len, uint8_t flags, const char *pin,
	    struct sk_option **options, struct signed_one **out);
int sk_load_resident_keys(const char *pin, struct sk_option **options, void ***keys, size_t *n);

uint32_t sk_api_version(void)
{
	return API_MAJOR;
}

static uint8_t *copy_of(const void *p, size_t n)
{
	uint8_t *to = malloc(n);

	if (to)
		memcpy(to, p, n);
	return to;
}

int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application,
	      uint8_t flags, const char *pin, struct sk_option **options, struct enrolled **out)
{
	uint8_t seed[KEY], public_key[KEY];
	size_t n = sizeof(public_key);
	struct enrolled *r = calloc(1, sizeof(*r));
	EVP_PKEY *key;

	(void)challenge;
	(void)challenge_len;
	(void)application;
	(void)pin;
	(void)options;
	if (alg != ED25519 || !r || RAND_bytes(seed, sizeof(seed)) != 1)
		return FAILED;
	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof(seed));
	if (!key || EVP_PKEY_get_raw_public_key(key, public_key, &n) != 1)
		return FAILED;
	EVP_PKEY_free(key);
	r->flags = flags;
	r->public_key = copy_of(public_key, n);
	r->public_key_len = n;
	r->key_handle = copy_of(seed, sizeof(seed));
	r->key_handle_len = sizeof(seed);
	r->signature = copy_of(seed, 1); /* nobody looks at it */
	r->signature_len = 1;
	*out = r;
	return 0;
}

int sk_sign(uint32_t alg, const uint8_t *data, size_t data_len, const char *application,
	    const uint8_t *handle, size_t handle_len, uint8_t flags, const char *pin,
	    struct sk_option **options, struct signed_one **out)
{
	uint8_t message[2 * SHA256_DIGEST_LENGTH + 5], signature[SIGNATURE];
	uint8_t *at = message + SHA256_DIGEST_LENGTH;
	size_t n = sizeof(signature);
	struct signed_one *r = calloc(1, sizeof(*r));
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY *key = handle_len == KEY
				? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, handle, KEY)
				: NULL;

	(void)pin;
	(void)options;
	if (alg != ED25519 || !r || !md || !key)
		return FAILED;
	r->flags = flags & USER_PRESENT; /* somebody has touched it */
	r->counter = 7;
	SHA256((const uint8_t *)application, strlen(application), message);
	*at++ = r->flags;
	memcpy(at, (const uint8_t[]){ 0, 0, 0, 7 }, 4);
	SHA256(data, data_len, at + 4);
	if (EVP_DigestSignInit(md, NULL, NULL, NULL, key) != 1 ||
	    EVP_DigestSign(md, signature, &n, message, sizeof(message)) != 1)
		return FAILED;
	EVP_MD_CTX_free(md);
	EVP_PKEY_free(key);
	r->sig_r = copy_of(signature, n);
	r->sig_r_len = n;
	*out = r;
	return 0;
}

int sk_load_resident_keys(const char *pin, struct sk_option **options, void ***keys, size_t *n)
{
	(void)pin;
	(void)options;
	(void)keys;
	(void)n;
	return FAILED;
}
