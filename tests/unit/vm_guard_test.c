/* What is refused out of the VM's NAT, and that nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "vm/guard.h"

static struct addr at(const char *text)
{
	struct addr a;

	assert_true(addr_from_literal(text, 0, &a));
	return a;
}

static bool allowed(const struct frame_network *n, const char *text)
{
	struct err e = { 0 };
	struct addr a = at(text);
	bool yes;

	addr_set_port(&a, 443);
	yes = vm_guard_allow(n, &a, false, &e);
	if (!yes) {
		assert_int_equal(e.code, ERR_DENIED);
		assert_non_null(strstr(e.msg, ": "));
	}
	return yes;
}

static struct frame_network slirp(void)
{
	struct frame_network n = { .up = true, .prefix = 24, .dns_count = 2 };

	n.address = at("10.0.2.15");
	n.gateway = at("10.0.2.2");
	n.dns[0] = at("10.0.2.3");
	n.dns[1] = at("198.51.100.53");
	return n;
}

static const char *const never[] = {
	"127.0.0.1",
	"127.8.9.1",
	"0.0.0.0",
	"169.254.169.254",
	"224.0.0.1",
	"255.255.255.255",
	"::1",
	"::",
	"fe80::1",
	"ff02::1",
	"::ffff:127.0.0.1",
	"64:ff9b::7f00:1",
	"fd00:ec2::254",
	NULL,
};
static const char *const neighbours[] = {
	"10.0.2.2",        "10.0.2.3",         "10.0.2.15", "10.0.2.1",     "10.0.2.255",
	"198.51.100.53",   "fec0::2",          "fec0::3",   "fd12:3456::1", "fc00::1",
	"2002:a00:202::1", /* 6to4 of 10.0.2.2 */
	"::ffff:10.0.2.2", "64:ff9b::a00:203", NULL,
};
static const char *const fine[] = {
	"192.0.2.1",   "10.0.3.1",          "10.0.1.255", "198.51.100.54",
	"2001:db8::1", "64:ff9b::c000:201", "172.16.0.1", NULL,
};

static void test_kinds(void **state)
{
	struct frame_network n = slirp();

	(void)state;
	for (const char *const *p = never; *p; p++) {
		if (allowed(NULL, *p) || allowed(&n, *p))
			fail_msg("%s is allowed", *p);
	}
}

static void test_neighbours(void **state)
{
	struct frame_network n = slirp();

	(void)state;
	for (const char *const *p = neighbours; *p; p++) {
		if (allowed(&n, *p))
			fail_msg("%s is allowed", *p);
		if (!allowed(NULL, *p)) /* nothing is known of the network */
			fail_msg("%s is refused by its kind", *p);
	}
}

static void test_others(void **state)
{
	struct frame_network n = slirp();

	(void)state;
	for (const char *const *p = fine; *p; p++)
		if (!allowed(&n, *p) || !allowed(NULL, *p))
			fail_msg("%s is refused", *p);
}

static void test_prefixes(void **state)
{
	struct frame_network n = slirp();

	(void)state;
	n.prefix = 9;
	assert_false(allowed(&n, "10.127.0.1"));
	assert_true(allowed(&n, "10.128.0.1"));
	n.prefix = 31;
	assert_false(allowed(&n, "10.0.2.14"));
	assert_true(allowed(&n, "10.0.2.16"));
	n.prefix = 32;
	assert_true(allowed(&n, "10.0.2.14"));
	assert_false(allowed(&n, "10.0.2.15"));
	/* What a guest should not have said: the host must stand it. */
	n.prefix = 200;
	assert_true(allowed(&n, "192.0.2.1"));
	n.prefix = 0;
	assert_true(allowed(&n, "192.0.2.1"));
	n.dns_count = 255;
	assert_false(allowed(&n, "10.0.2.3"));
}

static void test_no_address(void **state)
{
	struct frame_network n = { 0 };
	struct addr a = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_true(allowed(&n, "192.0.2.1"));
	assert_false(vm_guard_allow(&n, &a, false, &e));
	assert_int_equal(e.code, ERR_DENIED);
}

/* A rule with allow-host opens other VMs, and neither the host nor its name server. */
static void test_siblings(void **state)
{
	static const char *const closed[] = { "10.0.2.2",        "10.0.2.3",  "10.0.2.15",
					      "198.51.100.53",   "127.0.0.1", "fec0::2",
					      "::ffff:10.0.2.2", NULL };
	struct frame_network n = slirp();
	struct addr a = at("10.0.2.16");
	struct err e = { 0 };

	(void)state;
	assert_true(vm_guard_allow(&n, &a, true, &e));
	assert_false(vm_guard_allow(&n, &a, false, &e));
	assert_non_null(strstr(e.msg, "allow-host"));
	for (const char *const *p = closed; *p; p++) {
		a = at(*p);
		if (vm_guard_allow(&n, &a, true, &e))
			fail_msg("%s is allowed", *p);
	}
}

static void test_v6_network(void **state)
{
	struct frame_network n = { .up = true, .prefix = 64 };

	(void)state;
	n.address = at("2001:db8:1::5");
	assert_false(allowed(&n, "2001:db8:1::6"));
	assert_true(allowed(&n, "2001:db8:2::6"));
	assert_true(allowed(&n, "192.0.2.1"));
}

/* Nothing is asked of the guest. */
static void test_slirp(void **state)
{
	static const char *const closed[] = { "10.0.2.2",         "10.0.2.3",        "10.0.2.4",
					      "10.0.2.0",         "10.0.2.255",      "fec0::2",
					      "fec0::3",          "::ffff:10.0.2.2", "fec0::aaaa",
					      "64:ff9b::a00:2fe", "2002:a00:202::1", NULL };
	static const char *const open[] = { "10.0.1.255", "10.0.3.0", "192.0.2.1", "2001:db8::1",
					    NULL };
	struct err e;
	struct addr a;

	(void)state;
	for (const char *const *p = closed; *p; p++) {
		a = at(*p);
		if (vm_guard_allow_slirp(&a, &e))
			fail_msg("%s is allowed", *p);
		assert_int_equal(e.code, ERR_DENIED);
	}
	for (const char *const *p = open; *p; p++) {
		a = at(*p);
		if (!vm_guard_allow_slirp(&a, &e))
			fail_msg("%s is refused", *p);
	}
	a = (struct addr){ 0 };
	assert_false(vm_guard_allow_slirp(&a, &e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),      cmocka_unit_test(test_neighbours),
		cmocka_unit_test(test_others),     cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_no_address), cmocka_unit_test(test_v6_network),
		cmocka_unit_test(test_siblings),   cmocka_unit_test(test_slirp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
