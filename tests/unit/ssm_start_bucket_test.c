#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/ssm/start_bucket.h"

/* So many at once, then one after each pause; a full bucket after a while. */
static void a_burst_then_a_rate(void **state)
{
	struct start_bucket b = { 0 };
	uint64_t now = 100000;

	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < START_BURST; i++)
			assert_int_equal(start_bucket_take(&b, now), 0);
		for (int i = 0; i < 5; i++) {
			uint64_t at = start_bucket_take(&b, now);

			assert_int_equal(at, now + START_EVERY_MS);
			assert_int_equal(start_bucket_take(&b, at - 1), at);
			now = at;
			assert_int_equal(start_bucket_take(&b, now), 0);
		}
		now += (uint64_t)START_BURST * START_EVERY_MS;
	}
}

/* Throttled: nobody calls, ever longer; one refusal of several under way counts. */
static void throttled(void **state)
{
	struct start_bucket b = { 0 };
	uint64_t now = 100000, at, pause = 1000;

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(start_bucket_take(&b, now), 0);
		start_bucket_throttled(&b, now);
		start_bucket_throttled(&b, now + 1);
		at = start_bucket_take(&b, now + 2);
		assert_in_range(at - now, pause, 2 * pause);
		now = at;
		pause = pause * 2 < 30000 ? pause * 2 : 30000;
	}
	assert_int_equal(start_bucket_take(&b, now), 0);
	start_bucket_served(&b);
	start_bucket_throttled(&b, now);
	assert_in_range(start_bucket_take(&b, now) - now, 1000, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_burst_then_a_rate),
		cmocka_unit_test(throttled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
