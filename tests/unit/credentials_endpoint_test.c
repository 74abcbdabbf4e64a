/* credentials/endpoint.c against botocore's table, and the overrides' order. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/endpoint.h"
#include "credentials/profile.h"
#include "tests/support/cmocka_all.h"

static void check(const char *service, const char *region, const char *const *environ_of,
		  const char *host)
{
	char *url, want[256];

	if (strcmp(host, "-") == 0)
		return;
	assert_true(str_fmt(want, sizeof(want), "https://%s", host));
	assert_int_equal(endpoint_url(&(struct endpoint_opts){ .service = service,
							       .region = region,
							       .environ = environ_of },
				      &url, NULL),
			 0);
	assert_string_equal(url, want);
	mem_free(url);
}

static void agrees_with_the_table(void **state)
{
	static const char *const variant[4][3] = {
		{ NULL },
		{ "AWS_USE_FIPS_ENDPOINT=true", NULL },
		{ "AWS_USE_DUALSTACK_ENDPOINT=True", NULL },
		{ "AWS_USE_FIPS_ENDPOINT=true", "AWS_USE_DUALSTACK_ENDPOINT=true", NULL },
	};
	FILE *f = fopen("tests/golden/endpoints.txt", "r");
	char line[1024], service[64], region[64], host[4][128];
	int rows = 0;

	(void)state;
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (*line == '#')
			continue;
		assert_int_equal(sscanf(line, "%63s %63s %127s %127s %127s %127s", service, region,
					host[0], host[1], host[2], host[3]),
				 6);
		for (int i = 0; i < 4; i++)
			check(service, region, variant[i], host[i]);
		rows++;
	}
	fclose(f);
	assert_int_equal(rows, 90);
}

static const char config[] = "[default]\nservices = local\nendpoint_url = http://all:1/\n"
			     "[profile plain]\nregion = x\n"
			     "[profile ignoring]\nendpoint_url = http://all:1\n"
			     "ignore_configured_endpoint_urls = TRUE\n"
			     "[profile fips]\nuse_fips_endpoint = true\n"
			     "[profile bad]\nendpoint_url = ftp://x\n"
			     "[services local]\nssm =\n  endpoint_url = https://ssm.example/vpc/\n";

static void overrides_in_order(void **state)
{
	static const struct {
		const char *name, *profile, *service;
		const char *environ[4];
		const char *want;
	} cases[] = {
		{ "services section", "default", "ssm", { NULL }, "https://ssm.example/vpc" },
		{ "profile", "default", "ec2", { NULL }, "http://all:1" },
		{ "AWS_ENDPOINT_URL",
		  "default",
		  "ssm",
		  { "AWS_ENDPOINT_URL=http://env:2" },
		  "http://env:2" },
		{ "service's own variable",
		  "default",
		  "ssm",
		  { "AWS_ENDPOINT_URL=http://env:2", "AWS_ENDPOINT_URL_SSM=http://env:3/" },
		  "http://env:3" },
		{ "another service's variable",
		  "plain",
		  "sts",
		  { "AWS_ENDPOINT_URL_SSM=http://env:3" },
		  "https://sts.eu-west-1.amazonaws.com" },
		{ "sso-oidc",
		  "plain",
		  "sso-oidc",
		  { "AWS_ENDPOINT_URL_SSO_OIDC=http://o" },
		  "http://o" },
		{ "signin", "plain", "signin", { "AWS_ENDPOINT_URL_SIGNIN=http://s" }, "http://s" },
		{ "ec2-instance-connect",
		  "plain",
		  "ec2-instance-connect",
		  { "AWS_ENDPOINT_URL_EC2_INSTANCE_CONNECT=https://e/p/" },
		  "https://e/p" },
		{ "ignored by environment",
		  "default",
		  "ssm",
		  { "AWS_ENDPOINT_URL=http://env:2", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true" },
		  "https://ssm.eu-west-1.amazonaws.com" },
		{ "ignored by profile",
		  "ignoring",
		  "ssm",
		  { "AWS_ENDPOINT_URL=http://env:2" },
		  "https://ssm.eu-west-1.amazonaws.com" },
		{ "environment's false wins over the profile",
		  "ignoring",
		  "ssm",
		  { "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=false" },
		  "http://all:1" },
		{ "fips by profile",
		  "fips",
		  "ssm",
		  { NULL },
		  "https://ssm-fips.eu-west-1.amazonaws.com" },
		{ "no URL", "bad", "ssm", { NULL }, NULL },
		{ "query", "plain", "ssm", { "AWS_ENDPOINT_URL=http://h/?a" }, NULL },
		{ "user", "plain", "ssm", { "AWS_ENDPOINT_URL=http://u@h/" }, NULL },
		{ "no host", "plain", "ssm", { "AWS_ENDPOINT_URL=http:///x" }, NULL },
	};
	struct aws_files *f;

	(void)state;
	assert_int_equal(aws_files_parse(config, NULL, &f, NULL), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };
		char *url;
		int result = endpoint_url(&(struct endpoint_opts){ .service = cases[i].service,
								   .region = "eu-west-1",
								   .files = f,
								   .profile = cases[i].profile,
								   .environ = cases[i].environ },
					  &url, &e);

		print_message("%s\n", cases[i].name);
		assert_int_equal(result, cases[i].want ? 0 : -1);
		if (cases[i].want)
			assert_string_equal(url, cases[i].want);
		else
			assert_int_equal(e.code, ERR_CONFIG);
		mem_free(url);
	}
	aws_files_free(f);
}

static void regions(void **state)
{
	static const struct {
		const char *region, *want; /* NULL: refused */
	} cases[] = {
		{ "xx-new-9", "https://ssm.xx-new-9.amazonaws.com" },
		{ NULL, NULL },
		{ "", NULL },
		{ "evil.example/", NULL },
		{ "a b", NULL },
		{ "-x", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *url;
		int result = endpoint_url(
			&(struct endpoint_opts){ .service = "ssm", .region = cases[i].region },
			&url, NULL);

		assert_int_equal(result, cases[i].want ? 0 : -1);
		if (cases[i].want)
			assert_string_equal(url, cases[i].want);
		mem_free(url);
	}
	assert_string_equal(endpoint_suffix("cn-north-1"), "amazonaws.com.cn");
}

static void hosts_of_ssmmessages(void **state)
{
	static const struct {
		const char *region, *host;
		bool good;
	} cases[] = {
		{ "us-east-1", "ssmmessages.us-east-1.amazonaws.com", true },
		{ "us-east-1", "ssmmessages-fips.us-east-1.amazonaws.com", true },
		{ "us-east-1", "ssmmessages.us-east-1.api.aws", true },
		{ "us-east-1", "ssmmessages-fips.us-east-1.api.aws", true },
		{ "cn-north-1", "ssmmessages.cn-north-1.amazonaws.com.cn", true },
		{ "cn-north-1", "ssmmessages.cn-north-1.amazonaws.com", false },
		{ "eusc-de-east-1", "ssmmessages.eusc-de-east-1.amazonaws.eu", true },
		{ "us-east-1", "vpce-0a1b-xyz.ssmmessages.us-east-1.vpce.amazonaws.com", true },
		{ "us-east-1", "vpce-0a1b-xyz-us-east-1a.ssmmessages.us-east-1.vpce.amazonaws.com",
		  true },
		{ "us-east-1", "vpce-0a1b.ssmmessages-fips.us-east-1.vpce.amazonaws.com", true },
		{ "us-east-1", "a.vpce-0a1b.ssmmessages.us-east-1.vpce.amazonaws.com", false },
		{ "us-east-1", "vpce-.ssmmessages.us-east-1.vpce.amazonaws.com", false },
		{ "us-east-1", "vpce-0a1b.ssm.us-east-1.vpce.amazonaws.com", false },
		/* names that others can have: buckets, load balancers */
		{ "us-east-1", "ssmmessages.s3.amazonaws.com", false },
		{ "us-east-1", "ssmmessages.s3-us-east-1.amazonaws.com", false },
		{ "us-east-1", "ssmmessages.x.us-east-1.elb.amazonaws.com", false },
		{ "us-east-1", "ssmmessages.us-east-1.amazonaws.com.evil.example", false },
		{ "us-east-1", "ssmmessages.us-west-2.amazonaws.com", false },
		{ "us-east-1", "evil.ssmmessages.us-east-1.amazonaws.com", false },
		{ "us-east-1", "", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		if (endpoint_is_ssmmessages(cases[i].host, cases[i].region) != cases[i].good)
			fail_msg("%s", cases[i].host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_table),
		cmocka_unit_test(overrides_in_order),
		cmocka_unit_test(regions),
		cmocka_unit_test(hosts_of_ssmmessages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
