/* Retry modes: their configuration, the bucket of retries, the adaptive rate. */
#include <string.h>

#include "credentials/aws_retry.h"
#include "credentials/profile.h"
#include "tests/support/cmocka_all.h"

static void configuration(void **state)
{
	static const char config[] = "[default]\nretry_mode = legacy\nmax_attempts = 7\n"
				     "[profile plain]\nregion = r\n"
				     "[profile bad]\nretry_mode = often\n"
				     "[profile none]\nmax_attempts = 0\n";
	static const struct {
		const char *profile, *environ[3];
		int mode; /* -1: refused */
		unsigned attempts;
	} cases[] = {
		{ "plain", { NULL }, AWS_RETRY_STANDARD, 3 },
		{ "default", { NULL }, AWS_RETRY_LEGACY, 7 },
		{ "default", { "AWS_RETRY_MODE=standard" }, AWS_RETRY_STANDARD, 7 },
		{ "default", { "AWS_MAX_ATTEMPTS=2" }, AWS_RETRY_LEGACY, 2 },
		{ "plain", { "AWS_RETRY_MODE=Adaptive" }, AWS_RETRY_ADAPTIVE, 3 },
		{ "plain", { "AWS_RETRY_MODE=legacy" }, AWS_RETRY_LEGACY, 5 },
		{ "plain", { "AWS_RETRY_MODE=" }, AWS_RETRY_STANDARD, 3 },
		{ "plain", { "AWS_RETRY_MODE=x" }, -1, 0 },
		{ "plain", { "AWS_MAX_ATTEMPTS=x" }, -1, 0 },
		{ "bad", { NULL }, -1, 0 },
		{ "none", { NULL }, -1, 0 },
	};
	struct aws_files *f;
	struct aws_retry r;
	struct err e;

	(void)state;
	assert_int_equal(aws_files_parse(config, NULL, &f, NULL), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		int result = aws_retry_read(f, cases[i].profile, cases[i].environ, &r, &e);

		print_message("%zu\n", i);
		assert_int_equal(result, cases[i].mode < 0 ? -1 : 0);
		if (result != 0) {
			assert_int_equal(e.code, ERR_CONFIG);
			continue;
		}
		assert_int_equal(r.mode, cases[i].mode);
		assert_int_equal(aws_retry_attempts(&r), cases[i].attempts);
	}
	aws_files_free(f);
}

/* botocore: 500; a retry takes 5, after a timeout 10; success gives the last one's cost back, or 1
 * if there was none. */
static void bucket(void **state)
{
	struct aws_retry standard = { 0 }, legacy = { .mode = AWS_RETRY_LEGACY };
	struct aws_bucket b;
	unsigned cost = 0, taken = 0;

	(void)state;
	aws_bucket_init(&b, &standard);
	while (aws_bucket_take(&b, false, &cost))
		taken++;
	assert_int_equal(taken, 100);
	assert_int_equal(cost, 5);
	aws_bucket_give(&b, cost);
	assert_false(aws_bucket_take(&b, true, &cost));
	assert_true(aws_bucket_take(&b, false, &cost));
	for (int i = 0; i < 9; i++)
		aws_bucket_give(&b, 0);
	assert_false(aws_bucket_take(&b, true, &cost));
	aws_bucket_give(&b, 0);
	assert_true(aws_bucket_take(&b, true, &cost));
	assert_int_equal(cost, 10);
	for (int i = 0; i < 1000; i++)
		aws_bucket_give(&b, 5);
	assert_int_equal(b.left, 500);
	aws_bucket_init(&b, &legacy);
	for (int i = 0; i < 1000; i++)
		assert_true(aws_bucket_take(&b, true, &cost));
}

/* Ten requests a second until throttled: seven then, and more again with time. */
static void adaptive_rate(void **state)
{
	struct aws_rate r = { 0 };
	uint64_t now = 1000000;
	double after;

	(void)state;
	for (int i = 0; i < 100; i++, now += 100) {
		assert_int_equal(aws_rate_wait_ms(&r, now), 0);
		aws_rate_answered(&r, now, false);
	}
	assert_true(r.measured > 9 && r.measured < 11);
	aws_rate_answered(&r, now, true);
	assert_true(r.fill > 6.3 && r.fill < 7.7);
	after = r.fill;
	assert_true(aws_rate_wait_ms(&r, now) > 0);
	for (int i = 0; i < 100; i++, now += 200)
		aws_rate_answered(&r, now, false);
	assert_true(r.fill > after);
	assert_true(r.fill <= 2 * r.measured);
	for (int i = 0; i < 100; i++)
		aws_rate_answered(&r, now, true);
	assert_true(r.fill >= 0.5);
	for (int i = 0; i < 1000; i++) /* a wait has a limit */
		assert_true(aws_rate_wait_ms(&r, now) <= 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration),
		cmocka_unit_test(bucket),
		cmocka_unit_test(adaptive_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
