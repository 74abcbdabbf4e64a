/* credentials/login_file.c and dpop.c: the file of `aws login`, and the proofs made with its key.
 */
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/dpop.h"
#include "credentials/json.h"
#include "credentials/login_file.h"
#include "tests/support/cmocka_all.h"

static const char *const env[] = { "HOME=/h", NULL };
static const char *const moved[] = { "HOME=/h", "AWS_LOGIN_CACHE_DIRECTORY=/elsewhere", NULL };
#define BOB "5d5303d4711466446508d1822010ddb9c314be63f450cef40f32bbff5443e078.json"

/* Computed with botocore 1.43.11. */
static void the_name_is_botocores(void **state)
{
	struct err e;
	char *path = login_file_path(env, "arn:aws:iam::111122223333:user/bob", &e);

	(void)state;
	assert_string_equal(path, "/h/.aws/login/cache/" BOB);
	mem_free(path);
	path = login_file_path(moved, "arn:aws:iam::111122223333:user/bob", &e);
	assert_string_equal(path, "/elsewhere/" BOB);
	mem_free(path);
}

static const char text[] =
	"{\"accessToken\":{\"accessKeyId\":\"A\",\"secretAccessKey\":\"s\",\"sessionToken\":\"t\","
	"\"accountId\":\"111122223333\",\"expiresAt\":\"2026-11-22T09:00:00Z\"},\"tokenType\":"
	"\"urn:aws:params:oauth:token-type:access_token_sigv4\",\"clientId\":\"C\","
	"\"refreshToken\":"
	"\"R\",\"idToken\":\"I\",\"dpopKey\":\"P\"}";

static void a_file_is_read_and_renewed(void **state)
{
	static const char reply[] = "{\"accessToken\":{\"accessKeyId\":\"B\",\"secretAccessKey\":"
				    "\"s2\",\"sessionToken\":\"t2\"},\"tokenType\":\"x\","
				    "\"expiresIn\":900,\"refreshToken\":\"R2\"}";
	struct login_file f;
	struct creds *c;
	struct err e;
	char *out;

	(void)state;
	assert_int_equal(login_file_parse(text, strlen(text), "f", &f, &e), 0);
	c = login_file_creds(&f, "src", &e);
	assert_string_equal(c->access_key_id, "A");
	assert_string_equal(c->account_id, "111122223333");
	assert_true(c->expires_ms == 1795338000000);
	creds_unref(c);
	assert_int_equal(login_file_renew(&f, reply, strlen(reply), 1795338000000, &e), 0);
	c = login_file_creds(&f, "src", &e);
	assert_string_equal(c->session_token.text, "t2");
	assert_string_equal(c->account_id, "111122223333");
	assert_true(c->expires_ms == 1795338900000);
	assert_string_equal(f.refresh, "R2");
	creds_unref(c);
	out = login_file_print(&f);
	assert_non_null(strstr(out, "\"idToken\":\"I\""));
	assert_non_null(strstr(out, "\"expiresAt\":\"2026-11-22T09:15:00Z\""));
	json_text_free(out);
	login_file_free(&f);
}

static void what_is_missing_is_named(void **state)
{
	static const char *const names[] = { "accessToken", "refreshToken", "clientId", "dpopKey" };
	char cut[sizeof(text)];
	struct login_file f;
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		memcpy(cut, text, sizeof(text));
		*strstr(cut, names[i]) = '#';
		assert_int_equal(login_file_parse(cut, strlen(cut), "/x.json", &f, &e), -1);
		assert_int_equal(e.code, ERR_CREDS);
		assert_non_null(strstr(e.msg, "/x.json has no "));
		assert_non_null(strstr(e.msg, names[i]));
	}
	assert_int_equal(login_file_parse("[1", 2, "/x.json", &f, &e), -1);
	assert_int_equal(login_file_parse(text, strlen(text), "f", &f, &e), 0);
	assert_int_equal(login_file_renew(&f, "{}", 2, 0, &e), -1);
	assert_int_equal(e.code, ERR_PROTO);
	login_file_free(&f);
}

/* --- keys and proofs --- */

/* A PEM text with the line's words, of a new key on `group`. */
static void make_pem(const char *group, bool pkcs8, char *out, size_t size)
{
	EVP_PKEY *key = EVP_EC_gen(group);
	BIO *bio = BIO_new(BIO_s_mem());
	long n;
	char *p;

	if (pkcs8)
		assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	else
		assert_int_equal(
			PEM_write_bio_PrivateKey_traditional(bio, key, NULL, NULL, 0, NULL, NULL),
			1);
	n = BIO_get_mem_data(bio, &p);
	assert_true(n > 0 && (size_t)n < size);
	memcpy(out, p, (size_t)n);
	out[n] = '\0';
	BIO_free(bio);
	EVP_PKEY_free(key);
}

static size_t unbase64url(const char *p, size_t n, uint8_t *out)
{
	char padded[4096];
	long len;

	assert_true(n + 3 < sizeof(padded));
	for (size_t i = 0; i < n; i++)
		padded[i] = (char)(p[i] == '-' ? '+' : p[i] == '_' ? '/' : p[i]);
	while (n % 4)
		padded[n++] = '=';
	len = str_unbase64(padded, n, out);
	assert_true(len > 0);
	return (size_t)len;
}

/* As whoever gets the proof does it: with the key that stands in it. */
static void check_signature(const char *token, const char *x64, const char *y64)
{
	const char *dot = strrchr(token, '.');
	uint8_t point[65] = { 4 }, raw[66], der[128], *at = der;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	EVP_PKEY_CTX *make = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY *key = NULL;
	OSSL_PARAM params[3];
	int n;

	assert_int_equal(unbase64url(x64, 43, point + 1), 32);
	assert_int_equal(unbase64url(y64, 43, point + 33), 32);
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)"P-256",
						     0);
	params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 65);
	params[2] = OSSL_PARAM_construct_end();
	assert_int_equal(EVP_PKEY_fromdata_init(make), 1);
	assert_int_equal(EVP_PKEY_fromdata(make, &key, EVP_PKEY_PUBLIC_KEY, params), 1);
	assert_int_equal(unbase64url(dot + 1, strlen(dot + 1), raw), 64);
	ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL));
	n = i2d_ECDSA_SIG(sig, &at);
	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestVerify(ctx, der, (size_t)n, (const uint8_t *)token,
					  (size_t)(dot - token)),
			 1);
	ECDSA_SIG_free(sig);
	EVP_PKEY_CTX_free(make);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
}

static void a_proof(const char *pem)
{
	struct dpop_key *k;
	struct err e;
	char *token, head[1024], claims[1024], *x, *y;
	const char *first;

	assert_int_equal(dpop_key_load(pem, &k, &e), 0);
	token = dpop_proof(k, "https://h.example/v1/token", 1795338000, "some-id", &e);
	assert_non_null(token);
	assert_null(strpbrk(token, "=+/\n"));
	first = strchr(token, '.');
	head[unbase64url(token, (size_t)(first - token), (uint8_t *)head)] = '\0';
	claims[unbase64url(first + 1, strcspn(first + 1, "."), (uint8_t *)claims)] = '\0';
	assert_true(str_starts(head, "{\"typ\":\"dpop+jwt\",\"alg\":\"ES256\",\"jwk\":{\"kty\":"
				     "\"EC\",\"x\":\""));
	assert_true(str_ends(head, "\",\"crv\":\"P-256\"}}"));
	assert_string_equal(claims, "{\"htm\":\"POST\",\"htu\":\"https://h.example/v1/token\","
				    "\"iat\":1795338000,\"jti\":\"some-id\"}");
	x = strstr(head, "\"x\":\"") + 5;
	y = strstr(head, "\"y\":\"") + 5;
	check_signature(token, x, y);
	mem_free(token);
	dpop_key_free(k);
}

static void proofs_of_both_forms_of_a_key(void **state)
{
	char pem[1024];

	(void)state;
	make_pem("P-256", true, pem, sizeof(pem));
	a_proof(pem);
	make_pem("P-256", false, pem, sizeof(pem));
	a_proof(pem);
}

static void other_keys_are_refused(void **state)
{
	char pem[1024];
	struct dpop_key *k;
	struct err e;

	(void)state;
	make_pem("P-384", true, pem, sizeof(pem));
	assert_int_equal(dpop_key_load(pem, &k, &e), -1);
	assert_int_equal(e.code, ERR_CREDS);
	assert_int_equal(dpop_key_load("", &k, &e), -1);
	assert_int_equal(dpop_key_load("-----BEGIN EC PRIVATE KEY-----\nAAAA\n", &k, &e), -1);
	assert_int_equal(dpop_key_load("-----\n!!\n", &k, &e), -1);
	assert_null(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_name_is_botocores),
		cmocka_unit_test(a_file_is_read_and_renewed),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(proofs_of_both_forms_of_a_key),
		cmocka_unit_test(other_keys_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
