/* credentials/metadata.c, container.c, imds_talk.c: where they ask, and what they make of an
 * answer. The asking itself: tests/integration/test_sources_botocore.py. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/metadata.h"
#include "credentials/profile.h"
#include "tests/support/cmocka_all.h"

static void answers(void **state)
{
	static const struct {
		const char *json;
		enum err_code code;
		const char *says; /* part of the message */
	} cases[] = {
		{ "{\"Code\":\"Success\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":"
		  "\"t\","
		  "\"Expiration\":\"2026-11-22T01:00:00Z\",\"AccountId\":\"1\"}",
		  ERR_NONE, NULL },
		{ "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Token\":\"t\"}", ERR_PROTO,
		  "no Expiration" },
		{ "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"s\",\"Expiration\":\"x\"}",
		  ERR_PROTO, "no Token" },
		{ "{\"SecretAccessKey\":1}", ERR_PROTO, "no AccessKeyId" },
		{ "{\"Code\":\"Failed\",\"Message\":\"no trust\"}", ERR_CREDS, "Failed: no trust" },
		{ "[]", ERR_PROTO, "not a JSON object" },
		{ "", ERR_PROTO, "not a JSON object" },
		{ "{\"AccessKeyId\":\"A\\u000d\",\"SecretAccessKey\":\"s\",\"Token\":\"t\","
		  "\"Expiration\":\"2026-11-22T01:00:00Z\"}",
		  ERR_CREDS, "control byte" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };
		struct creds *c = metadata_parse(cases[i].json, strlen(cases[i].json), "here", &e);

		print_message("%s\n", cases[i].json);
		assert_int_equal(e.code, cases[i].code);
		if (c) {
			assert_string_equal(c->account_id, "1");
			assert_true(c->expires_ms == 1795309200000);
			assert_string_equal(c->session_token.text, "t");
		} else {
			assert_non_null(strstr(e.msg, cases[i].says));
		}
		creds_unref(c);
	}
}

static void messages(void **state)
{
	char text[8];

	(void)state;
	metadata_message("{\"message\":\"a\"}", 15, text, sizeof(text));
	assert_string_equal(text, "a");
	metadata_message("{\"Message\":\"longer than that\"}", 30, text, sizeof(text));
	assert_string_equal(text, "longer ");
	metadata_message("<html>", 6, text, sizeof(text));
	assert_string_equal(text, "");
}

#define FULL     "AWS_CONTAINER_CREDENTIALS_FULL_URI="
#define RELATIVE "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="

static void where_containers_ask(void **state)
{
	static const struct {
		const char *env[3];
		const char *url; /* NULL: refused */
	} cases[] = {
		{ { RELATIVE "/v2/x?a=b" }, "http://169.254.170.2/v2/x?a=b" },
		{ { RELATIVE "v2" }, "http://169.254.170.2/v2" },
		{ { FULL "http://localhost:1/a", RELATIVE "/r" }, "http://169.254.170.2/r" },
		{ { FULL "http://localhost:1/a" }, "http://localhost:1/a" },
		{ { FULL "http://127.8.9.1/a" }, "http://127.8.9.1/a" },
		{ { FULL "http://[::1]:80/a" }, "http://[::1]:80/a" },
		{ { FULL "http://169.254.170.23/v1/credentials" },
		  "http://169.254.170.23/v1/credentials" },
		{ { FULL "http://[fd00:ec2::23]/v1" }, "http://[fd00:ec2::23]/v1" },
		{ { FULL "https://example.com/a" }, "https://example.com/a" },
		{ { FULL "http://example.com/a" }, NULL },
		{ { FULL "http://169.254.169.254/a" }, NULL },
		{ { FULL "http://localhost.example.com/" }, NULL },
		{ { FULL "http://127.0.0.1@example.com/" }, NULL },
		{ { FULL "ftp://localhost/" }, NULL },
		{ { FULL "http://localhost/a\r\nb" }, NULL },
		{ { RELATIVE "@example.com/" }, "http://169.254.170.2/@example.com/" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };
		char *url;
		int result = container_url(cases[i].env, &url, &e);

		print_message("%s\n", cases[i].env[0]);
		assert_int_equal(result, cases[i].url ? 0 : -1);
		if (cases[i].url)
			assert_string_equal(url, cases[i].url);
		else
			assert_int_equal(e.code, ERR_CONFIG);
		mem_free(url);
	}
}

#define ENDPOINT "AWS_EC2_METADATA_SERVICE_ENDPOINT="
#define MODE     "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE="

static void where_instances_ask(void **state)
{
	static const struct {
		const char *env[3], *profile;
		const char *url; /* NULL: refused */
	} cases[] = {
		{ { NULL }, "a", "http://169.254.169.254" },
		{ { MODE "IPv6" }, "a", "http://[fd00:ec2::254]" },
		{ { MODE "ipv4" }, "six", "http://169.254.169.254" },
		{ { NULL }, "six", "http://[fd00:ec2::254]" },
		{ { MODE "ipv5" }, "a", NULL },
		{ { ENDPOINT "http://localhost:1/x//", MODE "ipv6" },
		  "own",
		  "http://localhost:1/x" },
		{ { NULL }, "own", "http://10.0.0.1" },
		{ { ENDPOINT "localhost" }, "a", NULL },
	};
	struct aws_files *f;

	(void)state;
	assert_int_equal(aws_files_parse("[profile six]\nec2_metadata_service_endpoint_mode=ipv6\n"
					 "[profile own]\n"
					 "ec2_metadata_service_endpoint=http://10.0.0.1/\n",
					 NULL, &f, NULL),
			 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };
		struct imds_at at;

		assert_int_equal(imds_find(cases[i].env, f, cases[i].profile, &at, &e),
				 cases[i].url ? 0 : -1);
		if (cases[i].url)
			assert_string_equal(at.url, cases[i].url);
		else
			assert_int_equal(e.code, ERR_CONFIG);
	}
	aws_files_free(f);
}

#define TIMEOUT  "AWS_METADATA_SERVICE_TIMEOUT="
#define ATTEMPTS "AWS_METADATA_SERVICE_NUM_ATTEMPTS="

static void how_patient_with_instances(void **state)
{
	static const struct {
		const char *env[3], *profile;
		unsigned try_ms, tries; /* try_ms 0: refused */
		bool disabled;
	} cases[] = {
		{ { NULL }, "a", 1000, 1, false },
		{ { TIMEOUT "5", ATTEMPTS "3" }, "a", 5000, 3, false },
		{ { NULL }, "own", 7000, 4, false },
		{ { TIMEOUT "2", ATTEMPTS "" }, "own", 2000, 4, false },
		{ { ATTEMPTS "0" }, "own", 7000, 0, true },
		{ { NULL }, "never", 1000, 0, true },
		{ { ATTEMPTS "2" }, "never", 1000, 2, false },
		{ { "AWS_EC2_METADATA_DISABLED=True" }, "a", 1000, 1, true },
		{ { TIMEOUT "0" }, "a", 0, 0, false },
		{ { TIMEOUT "1.5" }, "a", 0, 0, false },
		{ { TIMEOUT "61" }, "a", 0, 0, false },
		{ { ATTEMPTS "many" }, "a", 0, 0, false },
		{ { ATTEMPTS "11" }, "a", 0, 0, false },
	};
	struct aws_files *f;

	(void)state;
	assert_int_equal(aws_files_parse("[profile own]\nmetadata_service_timeout = 7\n"
					 "metadata_service_num_attempts = 4\n"
					 "[profile never]\nmetadata_service_num_attempts = 0\n",
					 NULL, &f, NULL),
			 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };
		struct imds_at at;
		int result = imds_find(cases[i].env, f, cases[i].profile, &at, &e);

		assert_int_equal(result, cases[i].try_ms ? 0 : -1);
		assert_int_equal(e.code, cases[i].try_ms ? ERR_NONE : ERR_CONFIG);
		if (result == 0) {
			assert_int_equal(at.try_ms, cases[i].try_ms);
			assert_int_equal(at.tries, cases[i].tries);
		} else {
			assert_non_null(strstr(e.msg, "AWS_METADATA_SERVICE_"));
		}
		assert_int_equal(imds_disabled(cases[i].env, f, cases[i].profile),
				 cases[i].disabled);
	}
	aws_files_free(f);
}

static void stale_ones_are_asked_for_again(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 4000000000u; i += 99999999) {
		assert_true(imds_extension_ms(i) >= 5 * 60 * 1000);
		assert_true(imds_extension_ms(i) < 10 * 60 * 1000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(messages),
		cmocka_unit_test(where_containers_ask),
		cmocka_unit_test(where_instances_ask),
		cmocka_unit_test(how_patient_with_instances),
		cmocka_unit_test(stale_ones_are_asked_for_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
