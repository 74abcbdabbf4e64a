/* Each allocation of what reads, names and renews sign-ins fails in turn: an error, nothing held,
 * and no secret in what was freed. */
#include <string.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/dpop.h"
#include "credentials/json.h"
#include "credentials/login_file.h"
#include "credentials/provider_impl.h"
#include "credentials/sso_files.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/mem_fail.h"

#define SECRET "hUsHhUsHhUsH"

static const char *const env[] = { "HOME=/h", NULL };

static int set_up(void **state)
{
	(void)state;
	mem_secret = SECRET;
	mem_secrets_freed = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mem_secret = NULL;
	assert_int_equal(mem_secrets_freed, 0);
	assert_int_equal(mem_held, 0);
	return 0;
}

static void names_and_paths(void **state)
{
	const struct sso_where w = { "corp", "https://u", "r" };
	const struct cli_cache_key key = { .arn = "R", .external_id = "E", .mfa_serial = "S" };

	(void)state;
	while (mem_fail_next()) {
		char name[SSO_NAME];
		struct err e = { 0 };
		char *path = NULL, *login = NULL;

		if (sso_token_name(&w, name, &e) != 0 ||
		    sso_role_name(&w, "1", "R", name, &e) != 0 ||
		    sso_client_name(&w, "a,b", "awsocks", name, &e) != 0 ||
		    cli_cache_name(&key, name, &e) != 0 ||
		    !(path = sso_file_path(env, SSO_ROLES, name, &e)) ||
		    !(login = login_file_path(env, "arn", &e)))
			assert_int_equal(e.code, ERR_NOMEM);
		mem_free(path);
		mem_free(login);
		assert_int_equal(mem_held, 0);
	}
}

static void files_and_answers(void **state)
{
	static const char role[] =
		"{\"Credentials\":{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"" SECRET
		"\",\"SessionToken\":\"" SECRET "\",\"Expiration\":\"2026-11-22T01:00:00Z\"}}";
	static const char reply[] =
		"{\"roleCredentials\":{\"accessKeyId\":\"A\",\"secretAccessKey\":\"" SECRET
		"\",\"sessionToken\":\"" SECRET "\",\"expiration\":1795338000000}}";
	static const char login[] =
		"{\"accessToken\":{\"accessKeyId\":\"A\",\"secretAccessKey\":\"" SECRET
		"\",\"sessionToken\":\"" SECRET "\",\"expiresAt\":\"2026-11-22T09:00:00Z\"},"
		"\"clientId\":\"C\",\"refreshToken\":\"" SECRET "\",\"dpopKey\":\"P\"}";

	(void)state;
	while (mem_fail_next()) {
		struct err e = { 0 };
		struct login_file f = { 0 };
		struct creds *a = sso_role_parse(role, strlen(role), "test", &e);
		struct creds *b = a ? sso_reply_parse(reply, strlen(reply), "1", "test", &e) : NULL;
		struct creds *c = NULL;

		if (!b || login_file_parse(login, strlen(login), "f", &f, &e) != 0 ||
		    !(c = login_file_creds(&f, "test", &e)))
			assert_int_equal(e.code, ERR_NOMEM);
		login_file_free(&f);
		creds_unref(a);
		creds_unref(b);
		creds_unref(c);
		assert_int_equal(mem_held, 0);
	}
}

static void make_pem(char *out, size_t size)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	long n;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &p);
	assert_true(str_fmt(out, size, "%.*s", (int)n, p));
	BIO_free(bio);
	EVP_PKEY_free(key);
}

static void proofs(void **state)
{
	char pem[512], secret[41];

	(void)state;
	make_pem(pem, sizeof(pem));
	/* Of the second line, which has the key itself in it. */
	(void)str_fmt(secret, sizeof(secret), "%s", strchr(strchr(pem, '\n') + 1, '\n') + 1);
	mem_secret = secret;
	while (mem_fail_next()) {
		struct dpop_key *key = NULL;
		struct err e = { 0 };
		char *text = NULL;

		/* The key's reader says the same of a key that is none. */
		if (dpop_key_load(pem, &key, &e) != 0)
			assert_true(e.code == ERR_NOMEM || e.code == ERR_CREDS);
		else if (!(text = dpop_proof(key, "https://h/v1/token", 1, "id", &e)))
			assert_int_equal(e.code, ERR_NOMEM);
		mem_free_str(text);
		dpop_key_free(key);
		assert_int_equal(mem_held, 0);
	}
	mem_secret = NULL; /* it is on this function's stack */
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(names_and_paths),
		CASE(files_and_answers),
		CASE(proofs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
