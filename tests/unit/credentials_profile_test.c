/* credentials/profile.c: which profile, which key, which region. */
#include <stdio.h>
#include <string.h>

#include "credentials/env.h"
#include "credentials/creds.h"
#include "credentials/profile.h"
#include "tests/support/cmocka_all.h"

static const char config[] = "[default]\nregion = eu-west-1\noutput = json\n"
			     "[profile dev]\nregion = us-east-2\nca_bundle = /ca\n"
			     "[profile \"with space\"]\nregion = ap-south-1\n"
			     "[profile   'q'  ]\nregion = r-q\n"
			     "[profile empty]\nregion =\n"
			     "[dev2]\nregion = ignored\n"
			     "[profilex y]\nregion = ignored\n"
			     "[profile too many]\nregion = ignored\n"
			     "[sso-session corp]\nsso_region = us-west-2\n"
			     "[services local]\nssm =\n  endpoint_url = http://127.0.0.1:1\nec2 =\n"
			     "  endpoint_url = http://127.0.0.1:2\n";
static const char credentials[] = "[default]\naws_access_key_id = A\naws_secret_access_key = S\n"
				  "[dev]\nregion = from-credentials\n"
				  "[bare one]\naws_access_key_id = B\n";

static void finds_keys(void **state)
{
	static const struct {
		const char *profile, *key, *want;
	} cases[] = {
		{ "default", "region", "eu-west-1" },
		{ "default", "aws_access_key_id", "A" },
		{ "dev", "region", "from-credentials" },
		{ "dev", "ca_bundle", "/ca" },
		{ "dev", "output", NULL }, /* nothing is inherited */
		{ "with space", "region", "ap-south-1" },
		{ "q", "region", "r-q" },
		{ "empty", "region", NULL },
		{ "dev2", "region", NULL },
		{ "y", "region", NULL },
		{ "too", "region", NULL },
		{ "DEV", "region", NULL }, /* names are case-sensitive */
		{ "bare one", "aws_access_key_id", "B" },
	};
	struct aws_files *f;

	(void)state;
	assert_int_equal(aws_files_parse(config, credentials, &f, NULL), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *got = profile_get(f, cases[i].profile, cases[i].key);

		print_message("%s %s\n", cases[i].profile, cases[i].key);
		if (cases[i].want)
			assert_string_equal(got, cases[i].want);
		else
			assert_null(got);
	}
	assert_string_equal(profile_get_config(f, "dev", "region"), "us-east-2");
	assert_null(profile_get_config(f, "default", "aws_access_key_id"));
	assert_true(profile_exists(f, "empty"));
	assert_true(profile_exists(f, "bare one"));
	assert_false(profile_exists(f, "dev2"));
	assert_string_equal(services_get(f, "local", "ec2", "endpoint_url"), "http://127.0.0.1:2");
	assert_null(services_get(f, "local", "sts", "endpoint_url"));
	assert_null(services_get(f, "corp", "ssm", "endpoint_url"));
	assert_string_equal(sso_session_get(f, "corp", "sso_region"), "us-west-2");
	assert_null(profile_get(NULL, "default", "region"));
	aws_files_free(f);
}

static void profile_default_wins(void **state)
{
	static const char *const both[] = {
		"[default]\nregion=a\n[profile default]\nregion=b\n",
		"[profile default]\nregion=b\n[default]\nregion=a\n",
	};
	struct aws_files *f;

	(void)state;
	for (size_t i = 0; i < COUNT(both); i++) {
		assert_int_equal(aws_files_parse(both[i], NULL, &f, NULL), 0);
		assert_string_equal(profile_get(f, "default", "region"), "b");
		aws_files_free(f);
	}
}

/* The same profile in both files is one; for keys credentials wins, for others too. */
static void files_are_joined(void **state)
{
	struct aws_files *f;

	(void)state;
	assert_int_equal(aws_files_parse("[profile a]\nregion = r\naws_access_key_id = C\n"
					 "aws_secret_access_key = c\n[profile A]\nregion = other\n",
					 "[a]\nAWS_ACCESS_KEY_ID = K\naws_secret_access_key = k\n",
					 &f, NULL),
			 0);
	assert_string_equal(profile_get(f, "a", "aws_access_key_id"), "K");
	assert_string_equal(profile_get(f, "a", "aws_secret_access_key"), "k");
	assert_string_equal(profile_get(f, "a", "region"), "r");
	assert_string_equal(profile_get(f, "A", "region"), "other");
	assert_string_equal(profile_get_config(f, "a", "aws_access_key_id"), "C");
	aws_files_free(f);
}

struct told {
	char text[2000];
};

static void take(void *arg, const char *path, unsigned line, const char *text)
{
	struct told *t = arg;
	size_t n = strlen(t->text);

	assert_true(snprintf(t->text + n, sizeof(t->text) - n, "%s:%u: %s\n", path, line, text) <
		    (int)(sizeof(t->text) - n));
}

static void warns(void **state)
{
	static const struct {
		const char *config, *credentials;
		const char *want; /* in what is told; NULL: nothing is */
	} cases[] = {
		{ "[default]\na=b\n[profile x]\na=b\n[profile \"y z\"]\n[sso-session s]\n"
		  "[services t]\n[plugins]\n",
		  "[default]\n[x]\n[y z]\n", NULL },
		{ "[a]\nb=c\nb=d\n", NULL, "config:3: 'b' comes twice" },
		{ "[profile a]\nb=c # d\n", NULL, "config:2: comment behind 'b' cut" },
		{ "\xef\xbb\xbf[default]\n", NULL, "config:1: byte order mark" },
		{ "[profile a]\n[profile a]\n", NULL, "config:2: [profile a] comes twice" },
		{ "[default]\n\n[profile default]\n", NULL,
		  "config:1: [default] does not count: [profile default] in line 3" },
		{ "[profile default]\n\n[default]\n", NULL,
		  "config:3: [default] does not count: [profile default] in line 1" },
		{ "[profile a]\n[profile 'a']\n", NULL,
		  "config:1: [profile a] does not count: [profile 'a'] in line 2" },
		{ "\n[staging]\n", NULL,
		  "config:2: [staging] is ignored: in this file a profile is [profile staging]" },
		{ "[profile a b]\n", NULL, "config:1: [profile a b] is ignored: one name" },
		{ "[profile it's]\n", NULL, "config:1: [profile it's] is ignored" },
		{ "[services]\n", NULL, "config:1: [services] is ignored: one name" },
		{ "[default]\n", "[a]\n[profile b]\n",
		  "credentials:2: [profile b] is a profile of that whole name: in this file it is "
		  "[b]" },
		{ NULL, "[a]\nx=1 ; y\n", "credentials:2: comment behind 'x' cut" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct told told = { "" };
		struct aws_files *f;

		print_message("%zu\n", i);
		assert_int_equal(aws_files_parse(cases[i].config, cases[i].credentials, &f, NULL),
				 0);
		aws_files_warn(f, take, &told);
		if (cases[i].want)
			assert_non_null(strstr(told.text, cases[i].want));
		else
			assert_string_equal(told.text, "");
		aws_files_free(f);
	}
}

static void which_profile_and_region(void **state)
{
	static const struct {
		const char *name, *profile_given, *region_given;
		const char *environ[5];
		const char *profile, *region;
	} cases[] = {
		{ "nothing said", NULL, NULL, { NULL }, "default", "eu-west-1" },
		{ "AWS_PROFILE", NULL, NULL, { "AWS_PROFILE=q" }, "q", "r-q" },
		{ "AWS_DEFAULT_PROFILE", NULL, NULL, { "AWS_DEFAULT_PROFILE=q" }, "q", "r-q" },
		{ "AWS_PROFILE first",
		  NULL,
		  NULL,
		  { "AWS_DEFAULT_PROFILE=dev", "AWS_PROFILE=q" },
		  "q",
		  "r-q" },
		{ "empty is unset", NULL, NULL, { "AWS_PROFILE=" }, "default", "eu-west-1" },
		{ "option first", "q", NULL, { "AWS_PROFILE=dev" }, "q", "r-q" },
		{ "AWS_REGION first",
		  NULL,
		  NULL,
		  { "AWS_DEFAULT_REGION=two", "AWS_REGION=one" },
		  "default",
		  "one" },
		{ "AWS_DEFAULT_REGION",
		  NULL,
		  NULL,
		  { "AWS_DEFAULT_REGION=two" },
		  "default",
		  "two" },
		{ "option before all", "q", "opt", { "AWS_REGION=one" }, "q", "opt" },
		{ "default's is not inherited", "bare one", NULL, { NULL }, "bare one", NULL },
	};
	struct aws_files *f;

	(void)state;
	assert_int_equal(aws_files_parse(config, credentials, &f, NULL), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *profile = profile_name(cases[i].profile_given, cases[i].environ);
		const char *region = profile_region(f, profile, cases[i].region_given,
						    cases[i].environ);

		print_message("%s\n", cases[i].name);
		assert_string_equal(profile, cases[i].profile);
		if (cases[i].region)
			assert_string_equal(region, cases[i].region);
		else
			assert_null(region);
	}
	assert_string_equal(profile_ca_file(f, "dev", (const char *[]){ "AWS_CA_BUNDLE=/e", NULL }),
			    "/e");
	assert_string_equal(profile_ca_file(f, "dev", (const char *[]){ "SSL_CERT_FILE=/x", NULL }),
			    "/ca");
	assert_string_equal(profile_ca_file(f, "q", (const char *[]){ "SSL_CERT_FILE=/x", NULL }),
			    "/x");
	assert_null(profile_ca_file(f, "q", NULL));
	aws_files_free(f);
}

static void files_that_do_not_exist(void **state)
{
	const char *environ[] = { "HOME=/nonexistent", NULL };
	const char *bad[] = { "HOME=/nonexistent", "AWS_CONFIG_FILE=/", NULL };
	const char *tilde[] = { "HOME=/nonexistent", "AWS_CONFIG_FILE=~/c", NULL };
	struct aws_files *f;
	struct err e;

	(void)state;
	assert_int_equal(aws_files_load(environ, &f, &e), 0);
	assert_string_equal(aws_files_config_path(f), "/nonexistent/.aws/config");
	assert_string_equal(aws_files_credentials_path(f), "/nonexistent/.aws/credentials");
	assert_false(profile_exists(f, "default"));
	aws_files_free(f);
	assert_int_equal(aws_files_load(tilde, &f, &e), 0);
	assert_string_equal(aws_files_config_path(f), "/nonexistent/c");
	aws_files_free(f);
	assert_int_equal(aws_files_load(bad, &f, &e), -1);
	assert_null(f);
	assert_int_equal(e.code, ERR_CONFIG);
}

static void environment_credentials(void **state)
{
	static const struct {
		const char *name;
		const char *environ[6];
		int result;
		const char *id, *token; /* NULL id: none found */
		int64_t expires;
	} cases[] = {
		{ "none", { NULL }, 0, NULL, NULL, 0 },
		{ "secret alone is none", { "AWS_SECRET_ACCESS_KEY=s" }, 0, NULL, NULL, 0 },
		{ "empty id is none",
		  { "AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=s" },
		  0,
		  NULL,
		  NULL,
		  0 },
		{ "id alone", { "AWS_ACCESS_KEY_ID=i" }, -1, NULL, NULL, 0 },
		{ "pair", { "AWS_ACCESS_KEY_ID=i", "AWS_SECRET_ACCESS_KEY=s" }, 0, "i", NULL, 0 },
		{ "old token",
		  { "AWS_ACCESS_KEY_ID=i", "AWS_SECRET_ACCESS_KEY=s", "AWS_SECURITY_TOKEN=o" },
		  0,
		  "i",
		  "o",
		  0 },
		{ "old token wins",
		  { "AWS_ACCESS_KEY_ID=i", "AWS_SECRET_ACCESS_KEY=s", "AWS_SECURITY_TOKEN=o",
		    "AWS_SESSION_TOKEN=t" },
		  0,
		  "i",
		  "o",
		  0 },
		{ "expiry",
		  { "AWS_ACCESS_KEY_ID=i", "AWS_SECRET_ACCESS_KEY=s",
		    "AWS_CREDENTIAL_EXPIRATION=2001-09-09T01:46:40Z" },
		  0,
		  "i",
		  NULL,
		  1000000000000 },
		{ "bad expiry",
		  { "AWS_ACCESS_KEY_ID=i", "AWS_SECRET_ACCESS_KEY=s",
		    "AWS_CREDENTIAL_EXPIRATION=soon" },
		  -1,
		  NULL,
		  NULL,
		  0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct creds *c;
		struct err e = { 0 };

		print_message("%s\n", cases[i].name);
		assert_int_equal(env_creds(cases[i].environ, &c, &e), cases[i].result);
		if (cases[i].result)
			assert_int_equal(e.code, ERR_CREDS);
		if (!cases[i].id) {
			assert_null(c);
			continue;
		}
		assert_string_equal(c->access_key_id, cases[i].id);
		if (cases[i].token)
			assert_string_equal(c->session_token.text, cases[i].token);
		else
			assert_null(c->session_token.text);
		assert_true(c->expires_ms == cases[i].expires);
		creds_unref(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_keys),
		cmocka_unit_test(profile_default_wins),
		cmocka_unit_test(files_are_joined),
		cmocka_unit_test(warns),
		cmocka_unit_test(which_profile_and_region),
		cmocka_unit_test(files_that_do_not_exist),
		cmocka_unit_test(environment_credentials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
