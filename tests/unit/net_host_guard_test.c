/* Which addresses clients of a guarded listener may reach. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "net/host_guard.h"
#include "net/loop.h"
#include "tests/support/cmocka_all.h"

static const struct {
	const char *host;
	const char *kind; /* NULL: allowed */
} cases[] = {
	{ "192.0.2.1", NULL },
	{ "8.8.8.8", NULL },
	{ "2001:db8::1", NULL },
	{ "64:ff9b::c000:201", NULL },
	{ "127.0.0.1", "loopback" },
	{ "127.255.255.254", "loopback" },
	{ "::1", "loopback" },
	{ "::ffff:127.0.0.1", "loopback" },
	{ "::127.0.0.1", "loopback" },
	{ "64:ff9b::7f00:1", "loopback" },
	{ "0.0.0.0", "unspecified" },
	{ "0.1.2.3", "unspecified" },
	{ "::", "unspecified" },
	{ "::ffff:0.0.0.0", "unspecified" },
	{ "169.254.169.254", "link-local" },
	{ "64:ff9b::a9fe:a9fe", "link-local" },
	{ "fe80::1", "link-local" },
	{ "febf::1", "link-local" },
	{ "fec0::1", NULL },
	{ "fd00:ec2::254", "metadata" },
	{ "fd00:ec2:0:1::254", NULL },
	{ "224.0.0.1", "multicast" },
	{ "255.255.255.255", "reserved" },
	{ "ff02::1", "multicast" },
};

static void kinds(void **state)
{
	struct host_guard *g;
	struct loop *loop;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(loop_new(&loop, &e), 0);
	g = host_guard_new(loop, &e);
	assert_non_null(g);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct addr to;
		bool allowed;

		e = (struct err){ 0 };
		assert_true(addr_from_literal(cases[i].host, 80, &to));
		allowed = host_guard_allow(g, &to, &e);
		if (allowed != !cases[i].kind || (!allowed && !strstr(e.msg, cases[i].kind)))
			fail_msg("%s: %s (%s)", cases[i].host, allowed ? "allowed" : "refused",
				 e.msg);
		if (!allowed)
			assert_int_equal(e.code, ERR_DENIED);
	}
	host_guard_free(g);
	loop_free(loop);
}

static void the_hosts_own_addresses_are_refused(void **state)
{
	struct ifaddrs *list;
	struct host_guard *g;
	struct loop *loop;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(loop_new(&loop, &e), 0);
	g = host_guard_new(loop, &e);
	assert_non_null(g);
	assert_int_equal(getifaddrs(&list), 0);
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		struct addr to = { 0 };

		if (!i->ifa_addr)
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			to.len = sizeof(struct sockaddr_in);
		else if (i->ifa_addr->sa_family == AF_INET6)
			to.len = sizeof(struct sockaddr_in6);
		else
			continue;
		memcpy(&to.ss, i->ifa_addr, to.len);
		assert_false(host_guard_allow(g, &to, &e));
	}
	freeifaddrs(list);
	host_guard_free(g);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(the_hosts_own_addresses_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
