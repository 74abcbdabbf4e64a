/* Which addresses clients of a guarded listener may reach. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/host_guard.h"
#include "net/iface.h"
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
	{ "127.1.2.3", "loopback" },
	{ "169.254.170.2", "link-local" },
	{ "169.254.170.23", "link-local" },
	{ "168.63.129.16", "metadata" },
	{ "168.63.129.17", NULL },
	{ "100.100.100.200", "metadata" },
	{ "192.0.0.192", "metadata" },
	{ "fd20:ce::254", "metadata" },
	{ "fd00:c1::a9fe:a9fe", "metadata" },
	{ "::2", "unspecified" },
	{ "::ffff:168.63.129.16", "metadata" },
	{ "::ffff:0:127.0.0.1", "loopback" },
	{ "64:ff9b:1::7f00:1", "loopback" },
	{ "64:ff9b:1::c000:201", NULL },
	{ "64:ff9b:1:7f00:0:100:c000:201", "loopback" },
	{ "64:ff9b:1:c000:2:100::", "unspecified" }, /* as /96 it is 0.0.0.0 */
	{ "64:ff9b:1::", "unspecified" },
	{ "64:ff9b:2::7f00:1", NULL },
	{ "2002:7f00:1::1", "loopback" },
	{ "2002:a9fe:a9fe::", "link-local" },
	{ "2002:c000:201::1", NULL },
	{ "2001:0:c000:201:0:ffff:80ff:fffe", "loopback" }, /* Teredo, client 127.0.0.1 */
	{ "2001:0:7f00:1:0:ffff:3fff:fdfe", "loopback" },   /* its server */
	{ "2001:0:c000:201:0:ffff:3fff:fdfe", NULL },
	{ "2001:db8::5efe:7f00:1", "loopback" }, /* ISATAP */
	{ "2001:db8::200:5efe:a9fe:a9fe", "link-local" },
	{ "2001:db8::200:5efe:c000:201", NULL },
	{ "fd00:ec2::254", "metadata" },
	{ "fd00:ec2:0:1::254", NULL },
	{ "224.0.0.1", "multicast" },
	{ "255.255.255.255", "reserved" },
	{ "ff02::1", "multicast" },
};

static struct host_guard *guard_new(struct loop **loop)
{
	struct host_guard *g;
	struct err e = { 0 };

	assert_int_equal(loop_new(loop, &e), 0);
	g = host_guard_new(*loop, &e);
	assert_non_null(g);
	return g;
}

static struct addr literal(const char *host, uint16_t port)
{
	struct addr a;

	assert_true(addr_from_literal(host, port, &a));
	return a;
}

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

static int iface_changes_open_and_close(void)
{
	int fd = iface_changes_open();

	if (fd >= 0)
		close(fd);
	return fd;
}

/* Where the kernel cannot be asked about routes any more, for want of a descriptor, an address
 * that may be the host's by one is not let through. Only systems with rtnetlink are asked. */
static void what_cannot_be_asked_is_refused(void **state)
{
	struct rlimit limit, none;
	struct host_guard *g;
	struct loop *loop;
	struct err e = { 0 };
	struct addr to;
	bool allowed;

	(void)state;
	if (iface_changes_open_and_close() < 0)
		skip();
	assert_int_equal(loop_new(&loop, &e), 0);
	g = host_guard_new(loop, &e);
	assert_non_null(g);
	assert_true(addr_from_literal("8.8.8.8", 80, &to));
	assert_true(host_guard_allow(g, &to, &e)); /* interfaces are read */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	allowed = host_guard_allow(g, &to, &e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_false(allowed);
	assert_int_equal(e.code, ERR_DENIED);
	assert_true(host_guard_allow(g, &to, &e));
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

/* The first IPv4 address of this machine that is not loopback; false: it has none. */
static bool some_own_v4(struct addr *out, struct addr *broadcast)
{
	struct ifaddrs *list;
	bool found = false;

	assert_int_equal(getifaddrs(&list), 0);
	for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET ||
		    i->ifa_flags & IFF_LOOPBACK)
			continue;
		found = true;
		*out = (struct addr){ .len = sizeof(struct sockaddr_in) };
		memcpy(&out->ss, i->ifa_addr, out->len);
		*broadcast = (struct addr){ 0 };
		if (i->ifa_flags & IFF_BROADCAST && i->ifa_broadaddr) {
			broadcast->len = sizeof(struct sockaddr_in);
			memcpy(&broadcast->ss, i->ifa_broadaddr, broadcast->len);
		}
	}
	freeifaddrs(list);
	return found;
}

static void own_addresses_in_every_form(void **state)
{
	static const char *const forms[] = { "64:ff9b::", "::ffff:0:", "64:ff9b:1::",
					     "2001:db8::5efe:" };
	struct addr own, broadcast, to;
	struct loop *loop;
	struct host_guard *g = guard_new(&loop);
	char host[ADDR_TEXT], text[ADDR_TEXT + 20];
	struct err e = { 0 };

	(void)state;
	if (some_own_v4(&own, &broadcast)) {
		addr_format_host(&own, host);
		for (size_t i = 0; i < COUNT(forms); i++) {
			(void)snprintf(text, sizeof(text), "%s%s", forms[i], host);
			to = literal(text, 80);
			assert_false(host_guard_allow(g, &to, &e));
			assert_non_null(strstr(e.msg, "this host's own"));
		}
		if (broadcast.len)
			assert_false(host_guard_allow(g, &broadcast, &e));
	}
	host_guard_free(g);
	loop_free(loop);
}

static void own_listeners_stay_closed(void **state)
{
	static const struct {
		const char *bound, *to;
		uint16_t port;
		bool allowed;
	} tries[] = {
		{ "127.0.0.1", "127.0.0.1", 1080, false },
		{ "127.0.0.1", "127.0.0.1", 1081, true },
		{ "127.0.0.1", "127.0.0.2", 1080, true },
		{ "127.0.0.1", "0.0.0.0", 1080, false }, /* which is 127.0.0.1 here */
		{ "127.0.0.1", "::ffff:127.0.0.1", 1080, false },
		{ "0.0.0.0", "127.9.9.9", 1080, false },
		{ "0.0.0.0", "192.0.2.1", 1080, true },
		{ "::", "127.0.0.1", 1080, false },
		{ "::", "::1", 1080, false },
		{ "::1", "::", 1080, false },
		{ "::1", "::1", 1081, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(tries); i++) {
		struct loop *loop;
		struct host_guard *g = guard_new(&loop);
		struct addr bound = literal(tries[i].bound, 1080),
			    to = literal(tries[i].to, tries[i].port);
		struct err e = { 0 };

		assert_int_equal(host_guard_listener(g, &bound, &e), 0);
		assert_int_equal(host_guard_listener(g, &bound, &e), 0); /* known already */
		if (host_guard_allow_opened(g, &to, &e) != tries[i].allowed)
			fail_msg("at %s, to %s: %s", tries[i].bound, tries[i].to, e.msg);
		if (!tries[i].allowed)
			assert_non_null(strstr(e.msg, "a listener of awsocks itself"));
		host_guard_free(g);
		loop_free(loop);
	}
}

static void names(void **state)
{
	static const struct {
		const char *host;
		bool allowed;
	} tries[] = {
		{ "localhost", false },
		{ "a.b.localhost", false },
		{ "localhost.example.com", true },
		{ "notlocalhost", true },
		{ "ip6-localhost", false },
		{ "ip6-loopback", false },
		{ "localhost6.localdomain6", false },
		{ "instance-data", false },
		{ "instance-data.eu-central-1.compute.internal", false },
		{ "instance-database.example.com", true },
		{ "metadata.google.internal", false },
		{ "metadata.example.com", true },
		{ "127.0.0.1", false },
		{ "::1", false },
		{ "64:ff9b::a9fe:a9fe", false },
		{ "192.0.2.1", true },
		{ "example.com", true },
	};
	struct loop *loop;
	struct host_guard *g = guard_new(&loop);
	char own[300] = "";
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(tries); i++)
		if (host_guard_allow_name(g, tries[i].host, &e) != tries[i].allowed)
			fail_msg("%s", tries[i].host);
	assert_int_equal(gethostname(own, 256), 0);
	if (*own) {
		assert_false(host_guard_allow_name(g, own, &e));
		own[strcspn(own, ".")] = 0;
		assert_false(host_guard_allow_name(g, own, &e));
		(void)snprintf(own + strlen(own), 20, ".local");
		assert_false(host_guard_allow_name(g, own, &e));
		(void)snprintf(own + strlen(own), 20, "e");
		assert_true(host_guard_allow_name(g, own, &e));
	}
	host_guard_free(g);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(what_cannot_be_asked_is_refused),
		cmocka_unit_test(the_hosts_own_addresses_are_refused),
		cmocka_unit_test(own_addresses_in_every_form),
		cmocka_unit_test(own_listeners_stay_closed),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
