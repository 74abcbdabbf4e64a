#include "credentials/dpop.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/json.h"

enum { SIDE = 32, PEM_MAX = 8 * 1024, TOKEN_MAX = 16 * 1024, DER_SIGNATURE_MAX = 80 };

struct dpop_key {
	EVP_PKEY *key;
	char x[2 * SIDE], y[2 * SIDE]; /* base64url */
};

/* RFC 4648, 5, without padding: out has room for str_base64_len(n). */
static void base64url(const void *p, size_t n, char *out)
{
	str_base64(p, n, out);
	for (; *out; out++) {
		if (*out == '+')
			*out = '-';
		else if (*out == '/')
			*out = '_';
		else if (*out == '=')
			*out-- = '\0';
	}
}

/* --- the key --- */

/* The base64 between BEGIN and END, without line ends. */
static size_t pem_body(const char *pem, char *out, size_t size)
{
	size_t n = 0;

	while (*pem) {
		size_t line = strcspn(pem, "\r\n");

		if (!str_starts(pem, "-----"))
			for (size_t i = 0; i < line && n < size; i++)
				if (pem[i] != ' ' && pem[i] != '\t')
					out[n++] = pem[i];
		pem += line;
		pem += strspn(pem, "\r\n");
	}
	return n;
}

static EVP_PKEY *decode(const char *pem)
{
	char *text = mem_alloc(PEM_MAX);
	uint8_t *der = mem_alloc(PEM_MAX);
	EVP_PKEY *key = NULL;
	const uint8_t *at = der;
	long n = -1;

	if (text && der)
		n = str_unbase64(text, pem_body(pem, text, PEM_MAX), der);
	if (n > 0)
		key = d2i_AutoPrivateKey(NULL, &at, n);
	if (text)
		mem_wipe(text, PEM_MAX);
	if (der)
		mem_wipe(der, PEM_MAX);
	mem_free(text);
	mem_free(der);
	return key;
}

static bool coordinate(const EVP_PKEY *key, const char *name, char out[2 * SIDE])
{
	uint8_t bytes[SIDE];
	BIGNUM *n = NULL;
	bool ok = EVP_PKEY_get_bn_param(key, name, &n) == 1 && BN_bn2binpad(n, bytes, SIDE) == SIDE;

	BN_free(n);
	if (ok)
		base64url(bytes, SIDE, out);
	return ok;
}

static bool on_p256(const EVP_PKEY *key)
{
	char group[40] = "";
	size_t n;

	return EVP_PKEY_is_a(key, "EC") &&
	       EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
					      &n) == 1 &&
	       (strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0);
}

int dpop_key_load(const char *pem, struct dpop_key **out, struct err *e)
{
	struct dpop_key *k = mem_alloc(sizeof(*k));

	*out = NULL;
	if (!k)
		return err_set(e, ERR_NOMEM, "key");
	k->key = decode(pem);
	if (!k->key || !on_p256(k->key) || !coordinate(k->key, OSSL_PKEY_PARAM_EC_PUB_X, k->x) ||
	    !coordinate(k->key, OSSL_PKEY_PARAM_EC_PUB_Y, k->y)) {
		dpop_key_free(k);
		return err_set(e, ERR_CREDS, "dpopKey is not a private key on the curve P-256");
	}
	*out = k;
	return 0;
}

void dpop_key_free(struct dpop_key *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->key); /* wipes its number */
	mem_free(k);
}

/* --- a proof --- */

/* ES256's form: r and s, 32 bytes each. */
static bool sign(const struct dpop_key *k, const void *p, size_t n, uint8_t out[2 * SIDE])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[DER_SIGNATURE_MAX];
	const uint8_t *at = der;
	size_t len = sizeof(der);
	ECDSA_SIG *sig = NULL;
	bool ok = false;

	if (ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, k->key) == 1 &&
	    EVP_DigestSign(ctx, der, &len, p, n) == 1)
		sig = d2i_ECDSA_SIG(NULL, &at, (long)len);
	if (sig)
		ok = BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, SIDE) == SIDE &&
		     BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + SIDE, SIDE) == SIDE;
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	return ok;
}

static int add_encoded(struct buf *to, const void *p, size_t n, struct err *e)
{
	char *text = mem_alloc(str_base64_len(n));
	int result;

	if (!text)
		return err_set(e, ERR_NOMEM, "proof");
	base64url(p, n, text);
	result = buf_add(to, text, strlen(text), e);
	mem_free(text);
	return result;
}

static int add_head(struct buf *token, const struct dpop_key *k, struct err *e)
{
	char text[256];

	(void)str_fmt(
		text, sizeof(text),
		"{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":{\"kty\":\"EC\",\"x\":\"%s\","
		"\"y\":\"%s\",\"crv\":\"P-256\"}}",
		k->x, k->y);
	return add_encoded(token, text, strlen(text), e);
}

static int add_claims(struct buf *token, const char *url, int64_t now_s, const char *jti,
		      struct err *e)
{
	struct buf b;
	int result = -1;

	buf_init(&b, TOKEN_MAX);
	if (buf_addf(&b, e, "{\"htm\":\"POST\",\"htu\":") == 0 &&
	    json_add_quoted(&b, url, e) == 0 &&
	    buf_addf(&b, e, ",\"iat\":%lld,\"jti\":", (long long)now_s) == 0 &&
	    json_add_quoted(&b, jti, e) == 0 && buf_addf(&b, e, "}") == 0 &&
	    buf_addf(token, e, ".") == 0)
		result = add_encoded(token, buf_ptr(&b), buf_len(&b), e);
	buf_free(&b);
	return result;
}

static int add_signature(struct buf *token, const struct dpop_key *k, struct err *e)
{
	uint8_t signature[2 * SIDE];

	if (!sign(k, buf_ptr(token), buf_len(token), signature))
		return err_set(e, ERR_INTERNAL, "OpenSSL cannot sign with ES256");
	return buf_addf(token, e, ".") == 0 ? add_encoded(token, signature, sizeof(signature), e)
					    : -1;
}

char *dpop_proof(const struct dpop_key *k, const char *url, int64_t now_s, const char *jti,
		 struct err *e)
{
	struct buf token;
	char *text = NULL;

	buf_init(&token, TOKEN_MAX);
	if (add_head(&token, k, e) == 0 && add_claims(&token, url, now_s, jti, e) == 0 &&
	    add_signature(&token, k, e) == 0) {
		text = mem_strndup((const char *)buf_ptr(&token), buf_len(&token));
		if (!text)
			(void)err_set(e, ERR_NOMEM, "proof");
	}
	buf_free(&token);
	return text;
}
