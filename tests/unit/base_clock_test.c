/* base/clock.h: what AWS and its tools write as a time. */
#include "base/clock.h"
#include "tests/support/cmocka_all.h"

enum { BAD = -1 };

static const struct {
	const char *text;
	int64_t want; /* ms since the epoch; BAD: refused */
} cases[] = {
	{ "1970-01-01T00:00:00Z", 0 },
	{ "2026-11-22T01:00:00Z", 1795309200000 },
	{ "2026-11-22T01:00:00+00:00", 1795309200000 },
	{ "2026-11-22T01:00:00UTC", 1795309200000 },
	{ "2026-11-22 01:00:00Z", 1795309200000 },
	{ "2026-11-22t01:00:00z", 1795309200000 },
	{ "2026-11-22T01:00:00.5Z", 1795309200500 },
	{ "2026-11-22T01:00:00.123456789Z", 1795309200123 },
	{ "2026-11-22T03:00:00+02:00", 1795309200000 },
	{ "2026-11-21T19:30:00-0530", 1795309200000 },
	{ "2000-02-29T12:00:00Z", 951825600000 },
	{ "1969-12-31T23:59:59Z", -1000 },
	{ "2016-12-31T23:59:60Z", 1483228800000 }, /* a leap second is the next one */
	{ "", BAD },
	{ "2026-11-22", BAD },
	{ "2026-11-22T01:00:00", BAD }, /* whose time? */
	{ "2026-11-22T01:00:00X", BAD },
	{ "2026-11-22T01:00:00Zz", BAD },
	{ "2026-13-22T01:00:00Z", BAD },
	{ "2026-00-22T01:00:00Z", BAD },
	{ "2026-11-32T01:00:00Z", BAD },
	{ "2026-11-00T01:00:00Z", BAD },
	{ "2026-11-22T24:00:00Z", BAD },
	{ "2026-11-22T01:60:00Z", BAD },
	{ "2026-11-22T01:00:61Z", BAD },
	{ "2026-11-22T01:00:00+24:00", BAD },
	{ "2026-11-22T01:00:00+01:60", BAD },
	{ "2026-11-22T01:00:00+1:00", BAD },
	{ "26-11-22T01:00:00Z", BAD },
	{ "2026-1-22T01:00:00Z", BAD },
	{ " 2026-11-22T01:00:00Z", BAD },
};

static void parses(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct err e = { 0 };
		int64_t got = BAD;
		int r = clock_parse_iso(cases[i].text, &got, &e);

		print_message("'%s'\n", cases[i].text);
		assert_int_equal(r, cases[i].want == BAD ? -1 : 0);
		assert_int_equal(got, cases[i].want);
		assert_int_equal(e.code, r ? ERR_PROTO : ERR_NONE);
	}
}

static void formats(void **state)
{
	char amz[17], iso[25];

	(void)state;
	clock_amz_date(1795309200678, amz);
	clock_iso(1795309200678, iso);
	assert_string_equal(amz, "20261122T010000Z");
	assert_string_equal(iso, "2026-11-22T01:00:00.678Z");
	clock_iso(0, iso);
	assert_string_equal(iso, "1970-01-01T00:00:00.000Z");
}

/* What clock_iso writes, clock_parse_iso reads: every 11 days for 120 years. */
static void round_trip(void **state)
{
	const int64_t step = 11LL * 86400000 + 3723004;

	(void)state;
	for (int64_t t = 0; t < 4000LL * step; t += step) {
		char iso[25];
		struct err e;
		int64_t back = BAD;

		clock_iso(t, iso);
		assert_int_equal(clock_parse_iso(iso, &back, &e), 0);
		assert_int_equal(back, t);
	}
}

static void runs_forward(void **state)
{
	uint64_t a = clock_mono_ms(&clock_system), b = clock_mono_ms(&clock_system);

	(void)state;
	assert_true(b >= a);
	assert_true(clock_wall_ms(&clock_system) > 1700000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses),
		cmocka_unit_test(formats),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(runs_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
