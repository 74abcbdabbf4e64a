#include "routing/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The kinds of decision that the rules can give. */
enum { BY_DEFAULT, BY_DEFAULT_NAMED, BY_LIST, BY_RULE, BY_RULE_FB, DIRECT, VMDIRECT, BLOCK };
static const struct decision decisions[] = {
	[BY_DEFAULT] = { .route = { .kind = ROUTE_PROXY }, .by = ROUTE_BY_DEFAULT },
	[BY_DEFAULT_NAMED] = { .route = { .kind = ROUTE_PROXY, .profile = "x" },
			       .by = ROUTE_BY_DEFAULT,
			       .named = true },
	[BY_LIST] = { .route = { .kind = ROUTE_PROXY }, .by = ROUTE_BY_LIST, .named = true },
	[BY_RULE] = { .route = { .kind = ROUTE_PROXY }, .by = ROUTE_BY_RULE, .named = true },
	[BY_RULE_FB] = { .route = { .kind = ROUTE_PROXY },
			 .by = ROUTE_BY_RULE,
			 .named = true,
			 .has_fallback = true,
			 .fallback = { .kind = ROUTE_PROXY, .profile = "other" } },
	[DIRECT] = { .route = { .kind = ROUTE_DIRECT }, .by = ROUTE_BY_DEFAULT },
	[VMDIRECT] = { .route = { .kind = ROUTE_VM_DIRECT }, .by = ROUTE_BY_RULE, .named = true },
	[BLOCK] = { .route = { .kind = ROUTE_BLOCK }, .by = ROUTE_BY_DEFAULT },
};

/* One letter a decision, in the order above: w waits, d direct, v vm-direct. */
static void while_initializing(void **state)
{
	static const struct {
		enum policy_init init;
		bool mode_vm, guarded;
		const char *want;
	} rows[] = {
		{ POLICY_BYPASS_DEFAULT, false, false, "dwwwwwww" },
		{ POLICY_BYPASS_DEFAULT, true, false, "vwwwwwww" },
		{ POLICY_BYPASS_DEFAULT, false, true, "wwwwwwww" },
		{ POLICY_BYPASS_DEFAULT, true, true, "wwwwwwww" },
		{ POLICY_HOLD, false, false, "wwwwwwww" },
		{ POLICY_HOLD, true, false, "wwwwwwww" },
		{ POLICY_HOLD, false, true, "wwwwwwww" },
		{ POLICY_BYPASS_ALL, false, false, "dddddwww" },
		{ POLICY_BYPASS_ALL, true, false, "vvvvvwww" },
		{ POLICY_BYPASS_ALL, false, true, "wwwwwwww" },
		{ POLICY_BYPASS_ALL, true, true, "wwwwwwww" },
	};

	(void)state;
	for (size_t r = 0; r < LEN(rows); r++)
		for (size_t i = 0; i < LEN(decisions); i++) {
			struct policy p = { .init = rows[r].init,
					    .mode_vm = rows[r].mode_vm,
					    .guarded = rows[r].guarded };
			enum init_action got = policy_while_initializing(&decisions[i], &p);

			if ("wdv"[got] != rows[r].want[i])
				fail_msg("row %zu, decision %zu: %s", r, i, policy_init_name(got));
		}
}

/* One letter a decision: - none, d direct, v vm-direct, o proxy:other. */
static void check_fallback(enum err_code why, const struct policy *p, const char *want,
			   const char *row)
{
	for (size_t i = 0; i < LEN(decisions); i++) {
		struct route to = { 0 };
		bool yes = policy_falls_back(&decisions[i], why, p, &to);
		char got = !yes                               ? '-'
			   : to.kind == ROUTE_DIRECT          ? 'd'
			   : to.kind == ROUTE_VM_DIRECT       ? 'v'
			   : strcmp(to.profile, "other") == 0 ? 'o'
							      : '?';

		if (got != want[i])
			fail_msg("%s, %s, decision %zu: '%c', not '%c'", row, err_name(why), i, got,
				 want[i]);
	}
}

static void fallback_modes(void **state)
{
	static const struct {
		const char *name;
		struct policy p;
		const char *want;
	} rows[] = {
		{ "auto", { 0 }, "d---o---" },
		{ "auto in a VM", { .mode_vm = true }, "v---o---" },
		{ "all", { .fallback = POLICY_FALLBACK_ALL }, "ddddo---" },
		{ "all in a VM", { .fallback = POLICY_FALLBACK_ALL, .mode_vm = true }, "vvvvo---" },
		{ "off", { .fallback = POLICY_FALLBACK_OFF }, "--------" },
		{ "auto, guarded", { .guarded = true }, "--------" },
		{ "all, guarded",
		  { .fallback = POLICY_FALLBACK_ALL, .guarded = true },
		  "--------" },
	};
	static const enum err_code unreachable[] = { ERR_HOSTUNREACH, ERR_NETUNREACH, ERR_RESOLVE };

	(void)state;
	for (size_t r = 0; r < LEN(rows); r++)
		for (size_t i = 0; i < LEN(unreachable); i++)
			check_fallback(unreachable[i], &rows[r].p, rows[r].want, rows[r].name);
}

/* Every other failure is an answer, under every setting. */
static void other_failures_are_answers(void **state)
{
	(void)state;
	for (int code = 0; code < ERR_CODE_COUNT; code++) {
		if (code == ERR_HOSTUNREACH || code == ERR_NETUNREACH || code == ERR_RESOLVE ||
		    code == ERR_DIAL)
			continue;
		struct policy p = { .fallback = POLICY_FALLBACK_ALL,
				    .fallback_on_dial_failure = true };

		check_fallback((enum err_code)code, &p, "--------", "all");
	}
}

static void dial_failure_only_when_asked(void **state)
{
	struct policy none = { 0 }, on = { .fallback_on_dial_failure = true };
	struct decision d = decisions[BY_RULE_FB];
	struct route to;

	(void)state;
	check_fallback(ERR_DIAL, &none, "--------", "unreachable only");
	check_fallback(ERR_DIAL, &on, "d---o---", "dial-failure");
	d.fallback_on_dial_failure = true;
	assert_true(policy_falls_back(&d, ERR_DIAL, &none, &to));
	assert_string_equal(to.profile, "other");
	assert_false(policy_falls_back(&d, ERR_REFUSED, &none, &to));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(while_initializing),
		cmocka_unit_test(fallback_modes),
		cmocka_unit_test(other_failures_are_answers),
		cmocka_unit_test(dial_failure_only_when_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
