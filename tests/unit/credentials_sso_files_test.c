/* credentials/sso_files.c, json.c: names and forms as the AWS CLI has them. */
#include <string.h>

#include "base/buf.h"
#include "credentials/creds.h"
#include "credentials/json.h"
#include "credentials/sso_files.h"
#include "tests/support/cmocka_all.h"

#define OLD_URL "https://old.awsapps.com/start"
static const struct sso_where legacy = { NULL, OLD_URL, "us-east-1" };
static const struct sso_where corp = { "corp", OLD_URL, "us-east-1" };

/* Computed with botocore 1.43.11. */
static void names_are_botocores(void **state)
{
	char name[SSO_NAME];
	struct err e;

	(void)state;
	assert_int_equal(sso_token_name(&corp, name, &e), 0);
	assert_string_equal(name, "ee0bfd2552fbd840c02cc48b6e823320543c450f");
	assert_int_equal(sso_token_name(&legacy, name, &e), 0);
	assert_string_equal(name, "33d5ca4bf3b1a62edb96b47f7c203034a43ac435");
	assert_int_equal(sso_role_name(&legacy, "111122223333", "Dev", name, &e), 0);
	assert_string_equal(name, "9de373c7ded8d5068d274f80baf9525ac988bb52");
	assert_int_equal(sso_role_name(&corp, "111122223333", "Dev", name, &e), 0);
	assert_string_equal(name, "20985b56d713cfd135648cadc68a6115ca80d9a5");
	assert_int_equal(sso_client_name(&corp, "sso:account:access", "botocore", name, &e), 0);
	assert_string_equal(name, "c79eb207490bd3ce92403b6e5449c636c5a02a49");
}

static void names_of_other_alphabets(void **state)
{
	struct sso_where w = corp;
	char name[SSO_NAME];
	struct err e;

	(void)state;
	/* python3: sha1(json.dumps({...}, separators, sort_keys).encode()) */
	w.session = "B\xc3\xa4r \xf0\x9f\x90\xbb \"q\"\\";
	assert_int_equal(sso_role_name(&w, "1", "R", name, &e), 0);
	assert_string_equal(name, "12c094bc090f4668d1e259f765deef035c6a9cc8");
}

static void quoting_is_pythons(void **state)
{
	static const struct {
		const char *text, *quoted;
	} rows[] = {
		{ "", "\"\"" },
		{ "a\"b\\c/\n\t\r\b\f\x01\x7f", "\"a\\\"b\\\\c/\\n\\t\\r\\b\\f\\u0001\x7f\"" },
		{ "\xc3\xa4\xe2\x82\xac", "\"\\u00e4\\u20ac\"" },
		{ "\xf0\x9f\x90\xbb", "\"\\ud83d\\udc3b\"" },
		{ "\xc3", "\"\\u00c3\"" },
	};
	struct buf b;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		buf_init(&b, 200);
		assert_int_equal(json_add_quoted(&b, rows[i].text, NULL), 0);
		assert_int_equal(buf_len(&b), strlen(rows[i].quoted));
		assert_memory_equal(buf_ptr(&b), rows[i].quoted, buf_len(&b));
		buf_free(&b);
	}
}

static void scopes_are_a_comma_list(void **state)
{
	char one[128];

	(void)state;
	assert_true(sso_scope(" a:b , c", 0, one));
	assert_string_equal(one, "a:b");
	assert_true(sso_scope(" a:b , c", 1, one));
	assert_string_equal(one, "c");
	assert_false(sso_scope(" a:b , c", 2, one));
	assert_false(sso_scope(NULL, 0, one));
	assert_false(sso_scope("", 0, one));
}

static const char token_text[] =
	"{\"startUrl\":\"u\",\"region\":\"r\",\"accessToken\":\"AT\",\"expiresAt\":"
	"\"2026-11-22T09:00:00Z\",\"clientId\":\"C\",\"clientSecret\":\"S\","
	"\"registrationExpiresAt\":\"2027-01-01T00:00:00UTC\",\"refreshToken\":\"RT\","
	"\"more\":{\"x\":1}}";

static void a_token_is_read_and_renewed(void **state)
{
	static const char reply[] = "{\"accessToken\":\"AT2\",\"expiresIn\":28800,"
				    "\"refreshToken\":\"RT2\",\"tokenType\":\"Bearer\"}";
	struct sso_token t;
	struct err e;
	char *text;

	(void)state;
	assert_int_equal(sso_token_parse(token_text, strlen(token_text), "f", &t, &e), 0);
	assert_string_equal(t.access, "AT");
	assert_string_equal(t.refresh, "RT");
	assert_true(t.expires_ms == 1795338000000);
	assert_true(t.client_expires_ms == 1798761600000);
	assert_int_equal(sso_token_renew(&t, reply, strlen(reply), 1795338000500, &e), 0);
	assert_string_equal(t.access, "AT2");
	assert_string_equal(t.refresh, "RT2");
	assert_string_equal(t.client_secret, "S");
	text = sso_token_print(&t);
	assert_non_null(strstr(text, "\"expiresAt\":\"2026-11-22T17:00:00Z\""));
	assert_non_null(strstr(text, "\"more\":{\"x\":1}"));
	assert_null(strstr(text, "\"AT\""));
	json_text_free(text);
	sso_token_free(&t);
}

static void what_is_no_token_is_named(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{",
		"{\"accessToken\":\"a\"}",
		"{\"expiresAt\":\"2026-11-22T09:00:00Z\"}",
		"{\"accessToken\":1,\"expiresAt\":\"2026-11-22T09:00:00Z\"}",
		"{\"accessToken\":\"a\",\"expiresAt\":\"soon\"}",
		"{\"accessToken\":\"a\\nb\",\"expiresAt\":\"2026-11-22T09:00:00Z\"}",
		"{\"accessToken\":\"a b\",\"expiresAt\":\"2026-11-22T09:00:00Z\"}",
	};
	struct sso_token t;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(sso_token_parse(bad[i], strlen(bad[i]), "/x/y.json", &t, &e), -1);
		assert_int_equal(e.code, ERR_CREDS);
		assert_non_null(strstr(e.msg, "/x/y.json"));
		assert_null(t.root);
	}
}

static void replies_that_are_none(void **state)
{
	static const char *const bad[] = { "",
					   "null",
					   "{}",
					   "{\"accessToken\":\"a\"}",
					   "{\"accessToken\":\"a\",\"expiresIn\":-1}",
					   "{\"accessToken\":\"a\",\"expiresIn\":1e300}",
					   "{\"accessToken\":\"\",\"expiresIn\":1}" };
	struct sso_token t;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(sso_token_begin(&t, &corp, &e), 0);
		assert_int_equal(sso_token_renew(&t, bad[i], strlen(bad[i]), 0, &e), -1);
		assert_int_equal(e.code, ERR_PROTO);
		sso_token_free(&t);
	}
	assert_null(sso_reply_parse("{\"roleCredentials\":{}}", 22, "1", "s", &e));
	assert_int_equal(e.code, ERR_PROTO);
}

static void role_credentials_both_ways(void **state)
{
	static const char reply[] = "{\"roleCredentials\":{\"accessKeyId\":\"ASIA\","
				    "\"secretAccessKey\":\"s\",\"sessionToken\":\"t\","
				    "\"expiration\":1795338000000}}";
	struct err e;
	struct creds *c = sso_reply_parse(reply, strlen(reply), "111122223333", "src", &e), *again;
	char *text;

	(void)state;
	assert_non_null(c);
	text = sso_role_print(c);
	assert_string_equal(text,
			    "{\"ProviderType\":\"sso\",\"Credentials\":{\"AccessKeyId\":\"ASIA\","
			    "\"SecretAccessKey\":\"s\",\"SessionToken\":\"t\",\"Expiration\":"
			    "\"2026-11-22T09:00:00Z\",\"AccountId\":\"111122223333\"}}");
	again = sso_role_parse(text, strlen(text), "src", &e);
	assert_non_null(again);
	assert_true(again->expires_ms == c->expires_ms);
	assert_string_equal(again->session_token.text, "t");
	json_text_free(text);
	creds_unref(c);
	creds_unref(again);
	assert_null(sso_role_parse("{\"Credentials\":{\"AccessKeyId\":\"A\"}}", 37, "src", &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_botocores),
		cmocka_unit_test(names_of_other_alphabets),
		cmocka_unit_test(quoting_is_pythons),
		cmocka_unit_test(scopes_are_a_comma_list),
		cmocka_unit_test(a_token_is_read_and_renewed),
		cmocka_unit_test(what_is_no_token_is_named),
		cmocka_unit_test(replies_that_are_none),
		cmocka_unit_test(role_credentials_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
