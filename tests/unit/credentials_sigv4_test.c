/* AWS's published vectors (tests/golden/sigv4), and what they do not show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/creds.h"
#include "credentials/sigv4.h"

enum { FIELDS = 8, TEXT = 4096 };

struct vector {
	char name[80], method[8], target[512], token[1024], body[64], digest[80], signature[80];
	char canonical[TEXT];
	char field[FIELDS][2][256];
	size_t fields;
	bool raw_path;
};

static const int64_t when = 1440938160000; /* 2015-08-30T12:36:00Z */

static void check_vector(const struct vector *v)
{
	struct http_header headers[FIELDS + 1] = { { "Host", "example.amazonaws.com" } };
	char target[512], *query;
	struct creds *c;
	struct sigv4_result r;
	struct err e = { 0 };

	for (size_t i = 0; i < v->fields; i++)
		headers[i + 1] = (struct http_header){ v->field[i][0], v->field[i][1] };
	memcpy(target, v->target, sizeof(target));
	query = strchr(target, '?');
	if (query)
		*query++ = '\0';
	c = creds_new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", v->token, 0, NULL,
		      "test", &e);
	assert_non_null(c);
	print_message("vector %s\n", v->name);
	assert_int_equal(sigv4_sign(&(struct sigv4_request){ .method = v->method,
							     .path = target,
							     .query = query,
							     .headers = headers,
							     .header_count = v->fields + 1,
							     .body = v->body,
							     .body_len = strlen(v->body),
							     .region = "us-east-1",
							     .service = "service",
							     .wall_ms = when,
							     .double_encode_path = true,
							     .normalize_path = !v->raw_path },
				    c, &r, &e),
			 0);
	assert_string_equal(r.canonical, v->canonical);
	assert_true(str_ends(r.string_to_sign, v->digest));
	assert_string_equal(r.signature, v->signature);
	assert_true(str_ends(r.authorization, v->signature));
	sigv4_result_free(&r);
	creds_unref(c);
}

static void read_line(struct vector *v, char *line)
{
	char *rest = strchr(line, ' ');

	if (rest)
		*rest++ = '\0';
	else
		rest = line + strlen(line);
	if (!strcmp(line, "vector")) {
		*v = (struct vector){ 0 };
		assert_true(str_fmt(v->name, sizeof(v->name), "%s", rest));
	} else if (!strcmp(line, "request")) {
		char *at = strchr(rest, ' ');

		*at++ = '\0';
		assert_true(str_fmt(v->method, sizeof(v->method), "%s", rest));
		assert_true(str_fmt(v->target, sizeof(v->target), "%s", at));
	} else if (!strcmp(line, "token")) {
		assert_true(str_fmt(v->token, sizeof(v->token), "%s", rest));
	} else if (!strcmp(line, "header")) {
		char *at = strchr(rest, ':');

		*at++ = '\0';
		assert_true(v->fields < FIELDS);
		assert_true(str_fmt(v->field[v->fields][0], 256, "%s", rest));
		assert_true(str_fmt(v->field[v->fields++][1], 256, "%s", at));
	} else if (!strcmp(line, "body")) {
		assert_true(str_fmt(v->body, sizeof(v->body), "%s", rest));
	} else if (!strcmp(line, "raw-path")) {
		v->raw_path = true;
	} else if (!strcmp(line, "canonical")) {
		size_t n = strlen(v->canonical);

		assert_true(str_fmt(v->canonical + n, TEXT - n, "%s%s", n ? "\n" : "", rest));
	} else if (!strcmp(line, "digest")) {
		assert_true(str_fmt(v->digest, sizeof(v->digest), "%s", rest));
	} else {
		assert_string_equal(line, "signature");
		assert_true(str_fmt(v->signature, sizeof(v->signature), "%s", rest));
	}
}

static void agrees_with_awss_vectors(void **state)
{
	FILE *f = fopen("tests/golden/sigv4/vectors.txt", "r");
	static struct vector v;
	char line[2048];
	int count = 0;

	(void)state;
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (!*line || *line == '#')
			continue;
		read_line(&v, line);
		if (strcmp(line, "signature") == 0) {
			check_vector(&v);
			count++;
		}
	}
	fclose(f);
	assert_int_equal(count, 35);
}

/* The canonical request of one GET; the caller's. */
static char *canonical_of(const char *path, const char *query, bool form, bool s3)
{
	struct http_header host = { "host", "h" };
	struct sigv4_request r = { .method = "GET",
				   .path = path,
				   .query = query,
				   .headers = &host,
				   .header_count = 1,
				   .region = "r",
				   .service = "s",
				   .wall_ms = when,
				   .double_encode_path = !s3,
				   .normalize_path = !s3,
				   .query_as_form = form };
	struct creds *c = creds_new("ID", "SECRET", NULL, 0, NULL, "test", NULL);
	struct sigv4_result out;
	char *text;

	assert_non_null(c);
	assert_int_equal(sigv4_sign(&r, c, &out, NULL), 0);
	text = mem_strdup(out.canonical);
	sigv4_result_free(&out);
	creds_unref(c);
	return text;
}

static void canonical_forms(void **state)
{
	static const struct {
		const char *name, *path, *query;
		bool form, s3;
		const char *want; /* second and third line */
	} cases[] = {
		{ "empty path", "", NULL, false, false, "/\n\n" },
		{ "encoded once more", "/a%20b", "", false, false, "/a%2520b\n\n" },
		{ "s3: as it is", "/a%20b/../c", "", false, true, "/a%20b/../c\n\n" },
		{ "s3: raw byte", "/a b", "", false, true, "/a%20b\n\n" },
		{ "above the root", "/../../x", "", false, false, "/x\n\n" },
		{ "dot at the end", "/x/.", "", false, false, "/x\n\n" },
		{ "dots are no segment", "/x/...", "", false, false, "/x/...\n\n" },
		{ "key without value", "/", "b&a=", false, false, "/\na=&b=\n" },
		{ "empty parts", "/", "&&a=1&", false, false, "/\na=1\n" },
		{ "name before value", "/", "a-b=1&a=2", false, false, "/\na=2&a-b=1\n" },
		{ "values sorted", "/", "a=2&a=10&a=1", false, false, "/\na=1&a=10&a=2\n" },
		{ "equals in value", "/", "a=b=c", false, false, "/\na=b%3Dc\n" },
		{ "hex case", "/", "a=%2f%e1", false, false, "/\na=%2F%E1\n" },
		{ "needless encoding", "/", "%61=%62", false, false, "/\na=b\n" },
		{ "broken encoding", "/", "a=%&b=%2&c=%zz", false, false,
		  "/\na=%25&b=%252&c=%25zz\n" },
		{ "plus", "/", "a=x+y", false, false, "/\na=x%2By\n" },
		{ "plus in a form", "/", "a=x+y%2B", true, false, "/\na=x%20y%2B\n" },
		{ "nul", "/", "a=%00b", false, false, "/\na=%00b\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *text = canonical_of(cases[i].path, cases[i].query, cases[i].form,
					  cases[i].s3);

		print_message("case %s\n", cases[i].name);
		assert_true(str_starts(text, "GET\n"));
		if (!str_starts(text + 4, cases[i].want))
			assert_string_equal(text + 4, cases[i].want);
		mem_free(text);
	}
}

static void given_date_and_token_are_not_doubled(void **state)
{
	struct http_header h[] = { { "Host", "h" },
				   { "X-Amz-Date", "20150830T123600Z" },
				   { "X-Amz-Security-Token", "T" } };
	struct sigv4_request r = { .method = "GET",
				   .path = "/",
				   .headers = h,
				   .header_count = 1,
				   .region = "r",
				   .service = "s",
				   .wall_ms = when,
				   .double_encode_path = true };
	struct creds *c = creds_new("ID", "SECRET", "T", 0, NULL, "test", NULL);
	struct sigv4_result a, b;

	(void)state;
	assert_int_equal(sigv4_sign(&r, c, &a, NULL), 0);
	r.header_count = 3;
	assert_int_equal(sigv4_sign(&r, c, &b, NULL), 0);
	assert_string_equal(a.authorization, b.authorization);
	sigv4_result_free(&a);
	sigv4_result_free(&b);
	creds_unref(c);
}

static void refusals(void **state)
{
	struct sigv4_request r = { .method = "GET", .path = "/", .region = "r", .service = "s" };
	struct creds *c = creds_new("ID", "SECRET", NULL, 0, NULL, "test", NULL);
	struct sigv4_result out;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(sigv4_sign(&r, c, &out, &e), -1);
	assert_non_null(strstr(e.msg, "no host"));
	assert_null(out.authorization);
	creds_unref(c);

	assert_null(creds_new("", "s", NULL, 0, NULL, "environment", &e));
	assert_int_equal(e.code, ERR_CREDS);
	assert_null(creds_new("a", "", NULL, 0, NULL, "environment", &e));
	assert_null(creds_new("a", "s", "t\r\nX-Evil: 1", 0, NULL, "environment", &e));
	assert_int_equal(e.code, ERR_CREDS);
	assert_null(strstr(e.msg, "Evil"));
}

static void references_are_counted(void **state)
{
	struct creds *c = creds_new("ID", "SECRET", "", 5, "", "test", NULL);

	(void)state;
	assert_null(c->session_token.text);
	assert_null(c->account_id);
	assert_ptr_equal(creds_ref(c), c);
	creds_unref(c);
	assert_string_equal(c->secret_access_key.text, "SECRET");
	creds_unref(c);
	creds_unref(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_awss_vectors),
		cmocka_unit_test(canonical_forms),
		cmocka_unit_test(given_date_and_token_are_not_doubled),
		cmocka_unit_test(refusals),
		cmocka_unit_test(references_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
