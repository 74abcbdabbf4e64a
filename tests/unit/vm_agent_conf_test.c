/* The agent's settings: what is taken, and that each mistake names its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "vm/agent_conf.h"

#define NONCE "nonce=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eFf\n"

static int parse(struct agent_conf *c, const char *text, struct err *e)
{
	*e = (struct err){ 0 };
	return agent_conf_parse(c, text, strlen(text), e);
}

static void test_defaults(void **state)
{
	struct agent_conf c;
	struct err e;

	(void)state;
	assert_int_equal(parse(&c, NONCE, &e), 0);
	assert_int_equal(c.nonce[1], 1);
	assert_int_equal(c.nonce[31], 0xff);
	assert_int_equal(c.transport, AGENT_CONF_VIRTIO);
	assert_int_equal(c.net, AGENT_CONF_DHCP);
	assert_string_equal(c.port_name, "awsocks.0");
	assert_int_equal(c.port, 5000);
	assert_int_equal(c.log_level, LOG_INFO);
	assert_int_equal(c.dial_ms, 30000);
	assert_false(c.ipv6 || c.allow_loopback);
	assert_int_equal(c.given.address.len + c.given.dns_count + c.mtu, 0);
}

static void test_all(void **state)
{
	struct agent_conf c;
	struct err e;

	(void)state;
	assert_int_equal(parse(&c,
			       NONCE "# a remark\n\ntransport=vsock\nport=1024\nnet=static\n"
				     "interface=eth1\naddress=10.0.2.15/24\ngateway=10.0.2.2\n"
				     "dns=10.0.2.3,2001:db8::1\nmtu=65520\nipv6=yes\nlog=debug\n"
				     "streams-max=7\ndial-limit=100\nresolve-limit=200\n"
				     "allow-loopback=yes",
			       &e),
			 0);
	assert_int_equal(c.transport, AGENT_CONF_VSOCK);
	assert_int_equal(c.port, 1024);
	assert_int_equal(c.net, AGENT_CONF_STATIC);
	assert_string_equal(c.interface, "eth1");
	assert_int_equal(c.given.prefix, 24);
	assert_int_equal(c.given.dns_count, 2);
	assert_int_equal(c.mtu, 65520);
	assert_int_equal(c.log_level, LOG_DEBUG);
	assert_true(c.ipv6 && c.allow_loopback);
	assert_int_equal(c.streams_max, 7);
	assert_int_equal(c.dial_ms, 100);
	assert_int_equal(c.resolve_ms, 200);
}

static const struct {
	const char *text, *says;
} wrong[] = {
	{ "", "line 1: nonce= must" },
	{ "net=dhcp\n" NONCE, "line 1: nonce= must" },
	{ "nonce=00", "line 1: nonce: 64" },
	{ NONCE "net=dchp", "line 2: net: 'dchp' is not understood: did you mean 'dhcp'?" },
	{ NONCE "net=carrier-pigeon", "line 2: net: 'carrier-pigeon' is not understood" },
	{ NONCE "colour=red", "line 2: unknown key 'colour'" },
	{ NONCE "mtux=1400", "line 2: unknown key 'mtux': did you mean 'mtu'?" },
	{ NONCE "\n\nnonsense\n", "line 4: KEY=VALUE" },
	{ NONCE "address=10.0.2.15", "line 2: address: " },
	{ NONCE "address=10.0.2.15/33", "line 2: address: " },
	{ NONCE "address=::1/64", "line 2: address: " },
	{ NONCE "gateway=gate", "line 2: gateway: 'gate'" },
	{ NONCE "dns=10.0.2.3,", "line 2: dns: ''" },
	{ NONCE "dns=1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5", "line 2: dns: more" },
	{ NONCE "mtu=100", "line 2: mtu: " },
	{ NONCE "mtu=99999999999999999999", "line 2: mtu: " },
	{ NONCE "log=loud", "line 2: log: " },
	{ NONCE "ipv6=maybe", "line 2: ipv6: " },
	{ NONCE "interface=../eth0", "line 2: interface: " },
	{ NONCE "transport=vsock\nport=awsocks.0", "port: a number" },
	{ NONCE "net=static", "address: is needed" },
	{ NONCE "streams-max=0", "line 2: streams-max: " },
};

static void test_wrong(void **state)
{
	struct agent_conf c;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(parse(&c, wrong[i].text, &e), -1);
		assert_int_equal(e.code, ERR_CONFIG);
		if (!strstr(e.msg, wrong[i].says))
			fail_msg("'%s' does not say '%s'", e.msg, wrong[i].says);
	}
}

/* As the host asks: no nonce, one after the other. */
static void test_settings_by_themselves(void **state)
{
	struct agent_conf c;
	struct err e;

	(void)state;
	agent_conf_init(&c);
	assert_int_equal(agent_conf_set(&c, "net=static", &e), 0);
	assert_int_equal(agent_conf_check(&c, &e), -1);
	assert_string_equal(e.msg, "address: is needed for net=static");
	assert_int_equal(agent_conf_set(&c, "address=10.0.2.15/24", &e), 0);
	assert_int_equal(agent_conf_check(&c, &e), 0);
	assert_int_equal(agent_conf_set(&c, "mtu", &e), -1);
	assert_int_equal(agent_conf_set(&c, "adress=10.0.2.15/24", &e), -1);
	assert_int_equal(e.code, ERR_CONFIG);
	assert_string_equal(e.msg, "unknown key 'adress': did you mean 'address'?");
	assert_int_equal(agent_conf_set(&c, "nonec=1", &e), -1);
	assert_null(strstr(e.msg, "mean")); /* that one is the host's */
}

/* A wrong nonce is nearly a right one: it must not stand in a log. */
static void test_nonce_is_not_shown(void **state)
{
	struct agent_conf c;
	struct err e;

	(void)state;
	assert_int_equal(parse(&c, "nonce=c0ffeec0ffee", &e), -1);
	assert_null(strstr(e.msg, "c0ffee"));
}

static void test_bytes(void **state)
{
	static const char nul[] = NONCE "log=info\0x";
	char big[AGENT_CONF_MAX + 2];
	struct agent_conf c;
	struct err e;

	(void)state;
	assert_int_equal(agent_conf_parse(&c, nul, sizeof(nul) - 1, &e), -1);
	memset(big, '\n', sizeof(big));
	memcpy(big, NONCE, strlen(NONCE));
	assert_int_equal(agent_conf_parse(&c, big, AGENT_CONF_MAX, &e), 0);
	assert_int_equal(agent_conf_parse(&c, big, sizeof(big), &e), -1);
	memset(big + strlen(NONCE), 'x', 600);
	assert_int_equal(agent_conf_parse(&c, big, AGENT_CONF_MAX, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_all),
		cmocka_unit_test(test_wrong),    cmocka_unit_test(test_nonce_is_not_shown),
		cmocka_unit_test(test_bytes),    cmocka_unit_test(test_settings_by_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
