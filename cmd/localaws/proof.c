/* A DPoP proof (RFC 9449, 4.3), judged as the service does. */
#include <string.h>

#include <cjson/cJSON.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include "base/str.h"
#include "cmd/localaws/server.h"
#include "cmd/localaws/sign_in.h"
#include "cmd/localaws/world.h"

enum { PART_MAX = 2048, SIDE = 32, SKEW_S = 300 };

struct proof {
	cJSON *head, *claims;
	const char *signed_text; /* what was signed: head, dot, claims */
	size_t signed_len;
	unsigned char signature[PART_MAX];
	long signature_len;
};

long proof_decode(const char *p, size_t n, void *out)
{
	char text[PART_MAX + 4];

	if (n == 0 || n > PART_MAX)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '+' || p[i] == '/' || p[i] == '=')
			return -1;
		text[i] = (char)(p[i] == '-' ? '+' : p[i] == '_' ? '/' : p[i]);
	}
	while (n % 4)
		text[n++] = '=';
	return str_unbase64(text, n, out);
}

static cJSON *part(const char *p, size_t n)
{
	char json[PART_MAX + 4];
	long len = proof_decode(p, n, json);

	return len > 0 ? cJSON_ParseWithLength(json, (size_t)len) : NULL;
}

static bool split(struct http1_text token, struct proof *out)
{
	const char *first = memchr(token.p, '.', token.n), *second, *end = token.p + token.n;

	second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
	if (!second)
		return false;
	out->head = part(token.p, (size_t)(first - token.p));
	out->claims = part(first + 1, (size_t)(second - first - 1));
	out->signed_text = token.p;
	out->signed_len = (size_t)(second - token.p);
	out->signature_len = proof_decode(second + 1, (size_t)(end - second - 1), out->signature);
	return cJSON_IsObject(out->head) && cJSON_IsObject(out->claims);
}

static bool is(const cJSON *object, const char *name, const char *value)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));

	return text && strcmp(text, value) == 0;
}

static EVP_PKEY *public_key(const char *x, const char *y)
{
	unsigned char point[1 + 2 * SIDE + 4] = { 4 };
	EVP_PKEY_CTX *ctx;
	EVP_PKEY *key = NULL;
	char group[] = "P-256";
	OSSL_PARAM params[3] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * SIDE),
		OSSL_PARAM_construct_end(),
	};

	if (strlen(x) != 43 || strlen(y) != 43 || proof_decode(x, 43, point + 1) != SIDE ||
	    proof_decode(y, 43, point + 1 + SIDE) != SIDE)
		return NULL;
	ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static bool signature_ok(const struct proof *p, const char *x, const char *y)
{
	unsigned char der[2 * SIDE + 16], *at = der;
	EVP_PKEY *key = p->signature_len == 2 * SIDE ? public_key(x, y) : NULL;
	ECDSA_SIG *sig = key ? ECDSA_SIG_new() : NULL;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = false;
	int n;

	if (sig && ctx &&
	    ECDSA_SIG_set0(sig, BN_bin2bn(p->signature, SIDE, NULL),
			   BN_bin2bn(p->signature + SIDE, SIDE, NULL)) == 1) {
		n = i2d_ECDSA_SIG(sig, &at);
		ok = n > 0 && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
		     EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)p->signed_text,
				      p->signed_len) == 1;
	}
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok;
}

/* Remembers it; false: it was used before. */
static bool first_time(struct sign_in *s, const char *jti)
{
	for (size_t i = 0; i < SIGN_IN_PROOFS; i++)
		if (strcmp(s->proofs[i], jti) == 0)
			return false;
	(void)str_fmt(s->proofs[s->proof_count++ % SIGN_IN_PROOFS], SIGN_IN_TEXT, "%s", jti);
	return true;
}

/* NULL: in order. */
static const char *fault_of(struct rest_call_in *c, const struct proof *p, char x[44], char y[44])
{
	const cJSON *jwk = cJSON_GetObjectItemCaseSensitive(p->head, "jwk");
	const char *kx = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(jwk, "x"));
	const char *ky = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(jwk, "y"));
	const char *jti = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(p->claims, "jti"));
	const cJSON *iat = cJSON_GetObjectItemCaseSensitive(p->claims, "iat");
	double off;
	char url[512];

	if (!is(p->head, "typ", "dpop+jwt") || !is(p->head, "alg", "ES256"))
		return "the proof's typ or alg is another one";
	if (!is(jwk, "kty", "EC") || !is(jwk, "crv", "P-256") || !kx || !ky ||
	    cJSON_GetObjectItemCaseSensitive(jwk, "d"))
		return "the proof's jwk is no public key on P-256";
	if (!signature_ok(p, kx, ky))
		return "the proof's signature is wrong";
	sign_in_url(c, "/v1/token", url, sizeof(url));
	if (!is(p->claims, "htm", "POST") || !is(p->claims, "htu", url))
		return "the proof is for another request";
	off = cJSON_IsNumber(iat) ? iat->valuedouble - (double)world_wall_ms(c->w) / 1000 : 1e9;
	if (off > SKEW_S || off < -SKEW_S)
		return "the proof was made at another time";
	if (!jti || !*jti || strlen(jti) >= SIGN_IN_TEXT || !first_time(&c->w->sign_in, jti))
		return "the proof was used before";
	(void)str_fmt(x, 44, "%s", kx);
	(void)str_fmt(y, 44, "%s", ky);
	return NULL;
}

bool proof_check(struct rest_call_in *c, char x[44], char y[44], char *why, size_t size)
{
	const struct http1_field *field = http1_find(c->request->head, "dpop");
	struct proof p = { 0 };
	const char *fault = "there is no DPoP proof";

	if (field)
		fault = split(field->value, &p) ? fault_of(c, &p, x, y) : "the proof is no token";
	cJSON_Delete(p.head);
	cJSON_Delete(p.claims);
	(void)str_fmt(why, size, "%s", fault ? fault : "");
	return fault == NULL;
}
