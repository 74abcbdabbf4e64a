/* Each allocation of the readers and deciders fails in turn: an error, and nothing held. */
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "credentials/aws_xml.h"
#include "credentials/creds.h"
#include "credentials/endpoint.h"
#include "credentials/plan.h"
#include "credentials/profile.h"
#include "credentials/provider_impl.h"
#include "credentials/sigv4.h"
#include "credentials/words.h"
#include "ec2/describe.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/mem_fail.h"

static const char config[] = "[default]\nregion = eu-west-1\n"
			     "[profile a]\nrole_arn = R\nsource_profile = b\nexternal_id = x\n"
			     "role_session_name = y\ns3 =\n  k = v\n"
			     "[profile b]\ncredential_process = x\n  more\n[sso-session s]\nk=v\n"
			     "[services v]\nssm =\n endpoint_url = http://h\n";

static void files_and_plans(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct aws_files *f = NULL;
		struct plan *p = NULL;
		char *url = NULL;
		struct err e = { 0 };
		struct endpoint_opts o = { .service = "ssm", .region = "r", .profile = "a" };

		if (aws_files_parse(config, "[c]\naws_access_key_id=k\n", &f, &e) != 0 ||
		    plan_make(&(struct plan_opts){ .files = f, .profile = "a" }, &p, &e) != 0 ||
		    endpoint_url(&o, &url, &e) != 0)
			assert_int_equal(e.code, ERR_NOMEM);
		mem_free(url);
		plan_free(p);
		aws_files_free(f);
		assert_int_equal(mem_held, 0);
	}
}

static void static_plans(void **state)
{
	static const char *env[] = { "AWS_ACCESS_KEY_ID=i", "AWS_SECRET_ACCESS_KEY=s",
				     "AWS_SESSION_TOKEN=t", "AWS_ACCOUNT_ID=1", NULL };
	struct aws_files *f;

	(void)state;
	while (mem_fail_next()) {
		struct plan *p = NULL;
		struct err e = { 0 };

		if (aws_files_parse(NULL, NULL, &f, &e) != 0 ||
		    plan_make(&(struct plan_opts){ .files = f, .environ = env }, &p, &e) != 0)
			assert_int_equal(e.code, ERR_NOMEM);
		plan_free(p);
		aws_files_free(f);
		assert_int_equal(mem_held, 0);
	}
}

static void signatures(void **state)
{
	struct http_header h[] = { { "Host", "h" }, { "X-A", "a  b" }, { "x-a", "c" } };
	struct sigv4_request r = { .method = "POST",
				   .path = "/a/../b",
				   .query = "b=1&a=%20",
				   .headers = h,
				   .header_count = COUNT(h),
				   .body = "x",
				   .body_len = 1,
				   .region = "r",
				   .service = "s",
				   .double_encode_path = true,
				   .normalize_path = true };

	(void)state;
	while (mem_fail_next()) {
		struct err e = { 0 };
		struct sigv4_result out = { 0 };
		struct creds *c = creds_new("id", "secret", "token", 0, "1", "test", &e);

		if (!c || sigv4_sign(&r, c, &out, &e) != 0)
			assert_int_equal(e.code, ERR_NOMEM);
		sigv4_result_free(&out);
		creds_unref(c);
		assert_int_equal(mem_held, 0);
	}
}

static void answers(void **state)
{
	static const char page[] = "<R><reservationSet><item><instancesSet><item><instanceId>i-1"
				   "</instanceId></item></instancesSet></item></reservationSet>"
				   "<nextToken>t</nextToken></R>";
	static const char role[] =
		"<R><AssumeRoleResult><Credentials><AccessKeyId>a</AccessKeyId>"
		"<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
		"<Expiration>2026-01-01T00:00:00Z</Expiration></Credentials>"
		"</AssumeRoleResult></R>";

	(void)state;
	while (mem_fail_next()) {
		struct ec2_list l = { 0 };
		struct creds *c = NULL;
		char *next = NULL;
		struct err e = { 0 };

		if (describe_parse(page, strlen(page), &l, &next, &e) != 0 ||
		    !(c = role_parse(role, strlen(role), "test", &e)))
			assert_int_equal(e.code, ERR_NOMEM);
		creds_unref(c);
		mem_free(next);
		ec2_list_free(&l);
		assert_int_equal(mem_held, 0);
	}
}

static void forms_and_words(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct role_opts o = { .arn = "R", .session_name = "S", .external_id = "E" };
		struct buf b;
		char **words = NULL;
		size_t count;
		struct err e = { 0 };

		buf_init(&b, 4096);
		if (role_form(&o, &b, &e) != 0 ||
		    describe_form(&b, &(struct ec2_query){ .name = "n" }, "t", &e) != 0 ||
		    words_split("a 'b c'", &words, &count, &e) != 0)
			assert_int_equal(e.code, ERR_NOMEM);
		mem_free(words);
		buf_free(&b);
		assert_int_equal(mem_held, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_and_plans), cmocka_unit_test(static_plans),
		cmocka_unit_test(signatures),      cmocka_unit_test(answers),
		cmocka_unit_test(forms_and_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
