/* No memory of ours is freed with a secret in it, whatever comes on the way, out of memory
 * included. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/mem_wiping.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/file_job.h"
#include "credentials/json.h"
#include "credentials/metadata.h"
#include "credentials/plan.h"
#include "credentials/profile.h"
#include "credentials/provider_impl.h"
#include "credentials/sigv4.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/mem_fail.h"

#define SECRET "hUsHhUsHhUsH"

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

static void from_files_and_environment(void **state)
{
	static const char text[] =
		"[default]\naws_access_key_id = A\naws_secret_access_key = " SECRET
		"\naws_session_token = t" SECRET "\n";
	static const char *env[] = { "AWS_ACCESS_KEY_ID=A", "AWS_SECRET_ACCESS_KEY=" SECRET,
				     "AWS_SESSION_TOKEN=" SECRET, NULL };

	(void)state;
	while (mem_fail_next()) {
		struct aws_files *f = NULL;
		struct plan *p = NULL;

		if (aws_files_parse(text, text, &f, NULL) == 0 &&
		    plan_make(&(struct plan_opts){ .files = f, .environ = env }, &p, NULL) == 0)
			plan_free(p);
		p = NULL;
		if (f && plan_make(&(struct plan_opts){ .files = f }, &p, NULL) == 0)
			plan_free(p);
		aws_files_free(f);
	}
}

static void from_answers(void **state)
{
	static const char json[] =
		"{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"" SECRET
		"\",\"SessionToken\":\"" SECRET "\",\"Token\":\"" SECRET
		"\",\"Expiration\":\"2026-11-22T01:00:00Z\"}";
	static const char xml[] = "<R><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId>"
				  "<SecretAccessKey>" SECRET
				  "</SecretAccessKey><SessionToken>" SECRET
				  "</SessionToken><Expiration>2026-11-22T01:00:00Z</Expiration>"
				  "</Credentials></AssumeRoleResult></R>";

	(void)state;
	while (mem_fail_next()) {
		creds_unref(command_parse(json, strlen(json), "test", NULL));
		creds_unref(metadata_parse(json, strlen(json), "test", NULL));
		creds_unref(role_parse(xml, strlen(xml), "test", NULL));
	}
}

static void in_requests(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct creds *c = creds_new("A", SECRET, SECRET, 0, NULL, "test", NULL);
		struct http_header h = { "Host", "h" };
		struct sigv4_request r = { .method = "POST",
					   .path = "/",
					   .headers = &h,
					   .header_count = 1,
					   .body = SECRET,
					   .body_len = strlen(SECRET),
					   .region = "r",
					   .service = "s" };
		struct sigv4_result out = { 0 };
		struct buf b;

		if (c && sigv4_sign(&r, c, &out, NULL) == 0)
			sigv4_result_free(&out);
		creds_unref(c);
		buf_init(&b, 65536);
		(void)!web_form(&(struct web_opts){ .arn = "R", .session_name = "s" }, SECRET, &b,
				NULL);
		buf_free(&b);
	}
}

static void in_files(void **state)
{
	char dir[] = "/tmp/awsocks-test-XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)str_fmt(path, sizeof(path), "%s/x", dir);
	while (mem_fail_next()) {
		char *text = NULL;
		size_t n = 0;

		if (file_text_replace(path, "a" SECRET, NULL) == 0 &&
		    file_text_read(path, &text, &n, NULL) == 0)
			mem_free_str(text);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void the_test_would_see_one(void **state)
{
	(void)state;
	mem_free(mem_strdup("x" SECRET));
	assert_int_equal(mem_secrets_freed, 1);
	mem_secrets_freed = 0;
}

/* What libraries are given. */
static void libraries_blocks(void **state)
{
	char *p = mem_wiping_strdup("abc"), *q;

	(void)state;
	assert_string_equal(p, "abc");
	q = mem_wiping_resize(p, 5000);
	assert_string_equal(q, "abc");
	q = mem_wiping_resize(q, 4);
	assert_string_equal(q, "abc");
	mem_wiping_free(q);
	mem_wiping_free(NULL);
	assert_null(mem_wiping_zeroed((size_t)-1, 2));
	assert_null(mem_wiping_alloc((size_t)-1));
	q = mem_wiping_zeroed(3, 5);
	assert_int_equal(q[14], 0);
	q = mem_wiping_resize(q, 0);
	mem_wiping_free(q);
	mem_wiping_free(mem_wiping_resize(NULL, 1));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(from_files_and_environment),
		CASE(from_answers),
		CASE(in_requests),
		CASE(in_files),
		CASE(the_test_would_see_one),
		CASE(libraries_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
