/* The table of proxy variables, and how two of them live beside the user's own words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "cmd/awsocks/proxy_vars.h"

#define SSH_OURS "ssh -o ProxyCommand='awsocks connect %h %p'"
#define JAVA_OURS                                                                       \
	"-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=1080 -Dhttps.proxyHost=127.0.0.1 " \
	"-Dhttps.proxyPort=1080 -Dhttp.nonProxyHosts=localhost|127.*|[::1]"

struct text {
	char mem[8192];
	size_t n;
};

static int add(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
	       struct err *e)
{
	struct text *t = arg;

	(void)e;
	assert_true(str_fmt(t->mem + t->n, sizeof(t->mem) - t->n, "%s%s=%s\n",
			    kind == PROXY_VAR_MERGE ? "+" : "", name, value));
	t->n += strlen(t->mem + t->n);
	return 0;
}

static const char *listed(struct text *t, const struct proxy_vars_opts *o)
{
	struct err e = { 0 };

	*t = (struct text){ .n = 0 };
	if (proxy_vars_each(o, add, t, &e) != 0)
		fail_msg("%s", e.msg);
	return t->mem;
}

static void test_tcp(void **state)
{
	struct proxy_vars_opts o = { .host = "127.0.0.1", .port = 1080 };
	struct text t;

	(void)state;
	assert_string_equal(listed(&t, &o), "HTTP_PROXY=http://127.0.0.1:1080\n"
					    "HTTPS_PROXY=http://127.0.0.1:1080\n"
					    "http_proxy=http://127.0.0.1:1080\n"
					    "https_proxy=http://127.0.0.1:1080\n"
					    "ALL_PROXY=http://127.0.0.1:1080\n"
					    "all_proxy=http://127.0.0.1:1080\n"
					    "NO_PROXY=localhost,127.0.0.1,::1\n"
					    "no_proxy=localhost,127.0.0.1,::1\n"
					    "NODE_USE_ENV_PROXY=1\n"
					    "+JAVA_TOOL_OPTIONS=" JAVA_OURS "\n"
					    "+GIT_SSH_COMMAND=" SSH_OURS "\n"
					    "AWSOCKS=127.0.0.1:1080\n");
}

static void test_choices(void **state)
{
	struct proxy_vars_opts o = { .host = "::1",
				     .port = 8,
				     .all_proxy = PROXY_VARS_ALL_SOCKS5H,
				     .extra = true,
				     .program = "/opt/awsocks-bridge" };
	struct text t;

	(void)state;
	listed(&t, &o);
	assert_non_null(strstr(t.mem, "\nALL_PROXY=socks5h://[::1]:8\n"));
	assert_non_null(strstr(t.mem, "\nhttp_proxy=http://[::1]:8\n"));
	assert_non_null(strstr(t.mem, "'/opt/awsocks-bridge connect %h %p'"));
	assert_non_null(strstr(t.mem, "\nCLOUDSDK_PROXY_ADDRESS=::1\nCLOUDSDK_PROXY_PORT=8\n"));
	assert_non_null(strstr(t.mem, "\nRSYNC_PROXY=[::1]:8\n"));
	assert_non_null(strstr(t.mem, "-Dhttp.proxyHost=::1 "));
	o = (struct proxy_vars_opts){
		.host = "10.0.0.1", .port = 8, .all_proxy = PROXY_VARS_ALL_NONE, .no_ssh = true
	};
	listed(&t, &o);
	assert_null(strstr(t.mem, "ALL_PROXY"));
	assert_null(strstr(t.mem, "all_proxy"));
	assert_null(strstr(t.mem, "GIT_SSH"));
	assert_null(strstr(t.mem, "RSYNC"));
}

/* A path that two shells would take apart is left to PATH. */
static void test_program_is_a_word(void **state)
{
	static const char *const words[][2] = {
		{ "/opt/my tools/awsocks", "'awsocks connect" },
		{ "/opt/it's/awsocks-bridge", "'awsocks-bridge connect" },
		{ "/opt/100%/aw socks", "'awsocks connect" },
		{ "", "'awsocks connect" },
	};
	struct proxy_vars_opts o = { .host = "127.0.0.1", .port = 1 };
	struct text t;

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		o.program = words[i][0];
		assert_non_null(strstr(listed(&t, &o), words[i][1]));
	}
}

static void test_unix(void **state)
{
	struct proxy_vars_opts o = { .unix_path = "/run/awsocks/box/proxy.sock", .extra = true };
	struct text t;

	(void)state;
	assert_string_equal(listed(&t, &o),
			    "ALL_PROXY=socks5h://localhost/run/awsocks/box/proxy.sock\n"
			    "all_proxy=socks5h://localhost/run/awsocks/box/proxy.sock\n"
			    "NO_PROXY=localhost,127.0.0.1,::1\n"
			    "no_proxy=localhost,127.0.0.1,::1\n"
			    "NODE_USE_ENV_PROXY=1\n"
			    "+GIT_SSH_COMMAND=" SSH_OURS "\n"
			    "AWSOCKS=unix:/run/awsocks/box/proxy.sock\n");
}

static void test_refused(void **state)
{
	static const char *const hosts[] = { "", "a b", "x;y", "$(id)", "a/b", "u@h", "a\nb" };
	static const char *const paths[] = { NULL, "", "rel/x", "/with blank", "/a?b", "/a#b" };
	struct proxy_vars_opts o = { .port = 1 };
	struct text t = { .n = 0 };
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		o.host = hosts[i];
		assert_int_equal(proxy_vars_each(&o, add, &t, &e), -1);
		assert_int_equal(e.code, ERR_USAGE);
	}
	o.host = NULL;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		o.unix_path = paths[i];
		assert_int_equal(proxy_vars_each(&o, add, &t, &e), -1);
		assert_int_equal(e.code, ERR_USAGE);
	}
	assert_int_equal(t.n, 0);
}

/* --unset must know all of them. */
static int is_named(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
		    struct err *e)
{
	size_t *count = arg;

	(void)value;
	(void)kind;
	(void)e;
	assert_string_equal(proxy_vars_name(*count), name);
	++*count;
	return 0;
}

static void test_names(void **state)
{
	struct proxy_vars_opts o = { .host = "127.0.0.1", .port = 1, .extra = true };
	size_t count = 0;
	struct err e;

	(void)state;
	assert_int_equal(proxy_vars_each(&o, is_named, &count, &e), 0);
	assert_null(proxy_vars_name(count));
	assert_null(proxy_vars_name(count + 100));
}

static int stop(void *arg, const char *name, const char *value, enum proxy_var_kind kind,
		struct err *e)
{
	(void)arg;
	(void)name;
	(void)value;
	(void)kind;
	return err_set(e, ERR_IO, "enough");
}

static void test_stops(void **state)
{
	struct proxy_vars_opts o = { .host = "127.0.0.1", .port = 1 };
	struct err e;

	(void)state;
	assert_int_equal(proxy_vars_each(&o, stop, NULL, &e), -1);
	assert_string_equal(e.msg, "enough");
}

static void merged(const char *name, const char *existing, const char *ours, const char *expected)
{
	char out[1024];
	struct err e;

	assert_int_equal(proxy_vars_merge(name, existing, ours, out, sizeof(out), &e), 0);
	assert_string_equal(out, expected);
}

static void test_merge_java(void **state)
{
	static const char name[] = "JAVA_TOOL_OPTIONS";

	(void)state;
	merged(name, NULL, JAVA_OURS, JAVA_OURS);
	merged(name, "", JAVA_OURS, JAVA_OURS);
	merged(name, "-Xmx1g  -ea", JAVA_OURS, "-Xmx1g -ea " JAVA_OURS);
	merged(name, "-Xmx1g " JAVA_OURS " -ea", JAVA_OURS, "-Xmx1g -ea " JAVA_OURS);
	merged(name, "-Dhttp.proxyHost=old -Dx=\"a  -Dhttp.proxyPort=9 b\"", JAVA_OURS,
	       "-Dx=\"a  -Dhttp.proxyPort=9 b\" " JAVA_OURS);
	merged(name, "-Xmx1g " JAVA_OURS, NULL, "-Xmx1g");
	merged(name, JAVA_OURS, NULL, "");
	merged(name, NULL, NULL, "");
}

static void test_merge_ssh(void **state)
{
	static const char name[] = "GIT_SSH_COMMAND";

	(void)state;
	merged(name, NULL, SSH_OURS, SSH_OURS);
	merged(name, "ssh", SSH_OURS, SSH_OURS);
	merged(name, SSH_OURS, SSH_OURS, SSH_OURS);
	merged(name, "ssh -o ProxyCommand='/old/awsocks-bridge connect %h %p'", SSH_OURS, SSH_OURS);
	merged(name, "ssh -i key", SSH_OURS, "ssh -i key -o ProxyCommand='awsocks connect %h %p'");
	merged(name, SSH_OURS " -v", SSH_OURS, "ssh -v -o ProxyCommand='awsocks connect %h %p'");
	merged(name, "ssh -o ProxyCommand='nc %h %p'", SSH_OURS, "ssh -o ProxyCommand='nc %h %p'");
	merged(name, "ssh -o ProxyJump=bastion", SSH_OURS, "ssh -o ProxyJump=bastion");
	merged(name, SSH_OURS, NULL, "");
	merged(name, "ssh -i key -o ProxyCommand='awsocks connect %h %p'", NULL, "ssh -i key");
	merged(name, "ssh -o ProxyCommand='", NULL, "ssh -o ProxyCommand='");
}

static void test_merge_limit(void **state)
{
	char out[64];
	struct err e;

	(void)state;
	assert_int_equal(
		proxy_vars_merge("JAVA_TOOL_OPTIONS", "-Xmx1g", JAVA_OURS, out, sizeof(out), &e),
		-1);
	assert_int_equal(e.code, ERR_LIMIT);
	assert_int_equal(proxy_vars_merge("GIT_SSH_COMMAND", NULL, SSH_OURS, out, 8, &e), -1);
	assert_int_equal(proxy_vars_merge("GIT_SSH_COMMAND", NULL, SSH_OURS, out, 0, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp),       cmocka_unit_test(test_choices),
		cmocka_unit_test(test_unix),      cmocka_unit_test(test_program_is_a_word),
		cmocka_unit_test(test_refused),   cmocka_unit_test(test_names),
		cmocka_unit_test(test_stops),     cmocka_unit_test(test_merge_java),
		cmocka_unit_test(test_merge_ssh), cmocka_unit_test(test_merge_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
