#include "routing/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "routing/pattern.h"

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Texts that were reported or warned of, one a line. */
struct heard {
	char text[4096];
	unsigned count;
};

static void hear(void *arg, const char *text)
{
	struct heard *h = arg;

	strncat(h->text, text, sizeof(h->text) - strlen(h->text) - 2);
	strncat(h->text, "\n", sizeof(h->text) - strlen(h->text) - 1);
	h->count++;
}

static struct router *make(bool mode_vm, struct heard *warned)
{
	struct router_opts o = { .mode_vm = mode_vm,
				 .warn = warned ? hear : NULL,
				 .warn_arg = warned };
	struct router *r;
	struct err e;

	assert_int_equal(router_new(&r, &o, &e), 0);
	return r;
}

static void add(struct router *r, const char *yaml, const char *name)
{
	struct err e;

	if (router_add_yaml(r, yaml, strlen(yaml), name, 0, NULL, NULL, &e) != 0)
		fail_msg("%s", e.msg);
}

static void expect(const struct router *r, const char *host, uint16_t port, const char *route,
		   const char *origin)
{
	struct decision d;
	char got[80];

	router_decide(r, host, port, &d);
	route_format(&d.route, got);
	if (strcmp(got, route) != 0 || strcmp(d.origin, origin) != 0)
		fail_msg("%s:%u: %s by %s, not %s by %s", host, port, got, d.origin, route, origin);
}

static const char design_example[] =
	"default: proxy\n"
	"proxy:     [\"*.internal.example.com\", \"10.0.0.0/8\"]\n"
	"direct:    [\"localhost\", \"*.local\"]\n"
	"vm-direct: [\"*.github.com\"]\n"
	"block:     [\"*.tracker.example\"]\n"
	"rules:\n"
	"  - { match: \"*.staging.example.com:443\", route: \"proxy:staging\" }\n"
	"  - { match: \"re:^build[0-9]+\\\\.example\\\\.com$\", route: proxy, fallback: direct }\n"
	"  - { match: [\"192.0.2.0/24\", \"2001:db8::/32\"], port: [22, \"8000-8099\"], route: "
	"block, "
	"reason: \"lab is closed\" }\n";

static void the_designs_example(void **state)
{
	struct heard warned = { 0 };
	struct router *r = make(true, &warned);
	struct decision d;

	(void)state;
	add(r, design_example, "r.yaml");
	expect(r, "a.internal.example.com", 80, "proxy", "list proxy (r.yaml:2)");
	expect(r, "10.1.2.3", 80, "proxy", "list proxy (r.yaml:2)");
	expect(r, "localhost", 80, "direct", "list direct (r.yaml:3)");
	expect(r, "api.github.com", 443, "vm-direct", "list vm-direct (r.yaml:4)");
	expect(r, "x.tracker.example", 443, "block", "list block (r.yaml:5)");
	expect(r, "x.staging.example.com", 443, "proxy:staging", "r.yaml:7");
	expect(r, "x.staging.example.com", 80, "proxy", "default (r.yaml:1)");
	expect(r, "192.0.2.9", 22, "block", "r.yaml:9");
	expect(r, "192.0.2.9", 8050, "block", "r.yaml:9");
	expect(r, "192.0.2.9", 8100, "proxy", "default (r.yaml:1)");
	expect(r, "2001:db8::5", 22, "block", "r.yaml:9");
	router_decide(r, "192.0.2.9", 22, &d);
	assert_string_equal(d.reason, "lab is closed");
	assert_string_equal(d.pattern, "192.0.2.0/24");
	router_decide(r, "build7.example.com", 80, &d);
	assert_true(d.named && d.has_fallback && d.fallback.kind == ROUTE_DIRECT);
	router_decide(r, "elsewhere.example", 80, &d);
	assert_false(d.named);
	assert_int_equal(warned.count, 0);
	router_free(r);
}

static void lists_have_an_order(void **state)
{
	struct router *r = make(true, NULL);

	(void)state;
	add(r,
	    "proxy: [\"*\"]\ndirect: [d.x, v.x, b.x, 'r.x']\nvm-direct: [v.x, b.x, r.x]\n"
	    "block: [b.x, r.x]\nrules: [{match: r.x, route: direct}]\n",
	    "f");
	expect(r, "p.x", 1, "proxy", "list proxy (f:1)");
	expect(r, "d.x", 1, "direct", "list direct (f:2)");
	expect(r, "v.x", 1, "vm-direct", "list vm-direct (f:3)");
	expect(r, "b.x", 1, "block", "list block (f:4)");
	expect(r, "r.x", 1, "direct", "f:5");
	router_free(r);
}

static void first_match_wins_whatever_its_kind(void **state)
{
	static const struct {
		const char *first, *second;
	} rows[] = {
		{ "a.b.c", "*.b.c" },   { "*.b.c", "a.b.c" },  { "*", "a.b.c" },
		{ "a.b.c", "*" },       { "*.c", "*.b.c" },    { "*.b.c", "*.c" },
		{ "re:a.*", "a.b.c" },  { "a.b.c", "re:a.*" }, { "a*", "*.b.c" },
		{ "*.b.c", "a*" },      { ".b.c", "*.b.c" },   { "a.b.c:7", "a.b.c" },
		{ "a.b.c", "a.b.c:7" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct router *r = make(false, NULL);
		char yaml[300];

		snprintf(yaml, sizeof(yaml),
			 "rules:\n - {match: other, route: block}\n - {match: \"%s\", route: "
			 "direct}\n"
			 " - {match: \"%s\", route: block}\n",
			 rows[i].first, rows[i].second);
		add(r, yaml, "f");
		expect(r, "a.b.c", 7, "direct", "f:3");
		router_free(r);
	}
}

static void earlier_sources_come_first(void **state)
{
	struct router *r = make(false, NULL);
	struct err e;

	(void)state;
	add(r, "proxy: [a.x]\n", "one");
	add(r, "default: direct\nrules: [{match: '*.x', route: block}]\n", "two");
	assert_int_equal(router_add_pattern(r, "proxy", "c.y", "--route-proxy", &e), 0);
	assert_int_equal(router_add_pattern(r, "block", "*.y", "--route-block", &e), 0);
	assert_int_equal(router_set_default(r, "proxy:late", "--route-default", &e), 0);
	add(r, "direct: ['*.y', '*.z']\n", "three");
	assert_int_equal(router_add_pattern(r, "block", "*.z", "--route-block", &e), 0);
	expect(r, "a.x", 1, "proxy", "list proxy (one:1)");
	expect(r, "b.x", 1, "block", "two:2");
	/* one source, whose lists are tried in their order: block before proxy */
	expect(r, "c.y", 1, "block", "list block (--route-block)");
	expect(r, "d.z", 1, "direct", "list direct (three:1)");
	expect(r, "nobody", 1, "direct", "default (two:1)");
	router_free(r);
}

static void defaults(void **state)
{
	struct router *r = make(false, NULL);
	struct decision d;
	struct err e;

	(void)state;
	expect(r, "x", 1, "proxy", "default (built-in)");
	assert_int_equal(router_set_default(r, "proxy:n", "--route-default", &e), 0);
	expect(r, "x", 1, "proxy:n", "default (--route-default)");
	router_decide(r, "x", 1, &d);
	assert_true(d.named); /* a default that names a profile counts as named */
	assert_int_equal(router_set_default(r, "vm-direct", "--route-default", &e), -1);
	assert_int_equal(router_set_default(r, "maybe", "--route-default", &e), -1);
	router_free(r);
}

static void vm_direct_without_a_vm(void **state)
{
	struct heard warned = { 0 };
	struct router *r = make(false, &warned);
	struct err e;

	(void)state;
	add(r, "vm-direct: ['*.github.com']\ndirect: [a]\n", "f");
	expect(r, "api.github.com", 1, "proxy", "default (built-in)");
	assert_string_equal(warned.text, "f:1: the vm-direct list is ignored without --mode vm\n");
	assert_int_equal(router_add_pattern(r, "vm-direct", "x", "--route-vm-direct", &e), 0);
	assert_int_equal(warned.count, 2);
	assert_int_equal(router_add_yaml(r, "default: vm-direct", 18, "f", 0, NULL, NULL, &e), -1);
	assert_string_equal(e.msg, "f:1:10: default: vm-direct needs --mode vm: write direct, or "
				   "start with --mode vm");
	router_free(r);
}

static void wrong_files(void **state)
{
	static const struct {
		const char *yaml, *want;
	} rows[] = {
		{ "- a\n", "f:1:1: a rule file is a map" },
		{ "directt: [a]\n",
		  "f:1:1: unknown key 'directt' in a rule file: did you mean 'direct'?" },
		{ "whatever: [a]\n", "f:1:1: unknown key 'whatever' in a rule file" },
		{ "direct: [a, {b: c}]\n", "f:1:13: direct: a list of texts expected" },
		{ "direct: {a: b}\n", "f:1:9: direct: a text or a list expected" },
		{ "direct:\n  - ok\n  - 10.1.2.3/8\n", "f:3:5: pattern '10.1.2.3/8': bits beyond" },
		{ "vm-direct: [\"a b\"]\n", "f:1:13: pattern 'a b'" },
		{ "default: prox\n", "f:1:10: default: 'prox' is no route" },
		{ "default: [proxy]\n", "f:1:10: default: a route expected" },
		{ "default: \"proxy:\"\n", "is no route" },
		{ "default: \"proxy:a b\"\n", "is no route" },
		{ "default: vm-direct\n", "f:1:10: default: vm-direct needs --mode vm" },
		{ "rules: {a: b}\n", "f:1:8: rules: a list expected" },
		{ "rules: [a]\n", "f:1:9: a rule is {" },
		{ "rules: [{match: a}]\n", "f:1:9: a rule needs route:" },
		{ "rules: [{route: proxy}]\n", "f:1:9: a rule needs match:" },
		{ "rules: [{match: [], route: proxy}]\n", "f:1:17: match: empty" },
		{ "rules: [{match: a, route: proxy, prot: 1}]\n", "did you mean 'port'?" },
		{ "rules: [{match: a, route: proxy, port: 0}]\n", "'0' is no port" },
		{ "rules: [{match: a, route: proxy, port: []}]\n", "f:1:40: port: 1 to 64" },
		{ "rules: [{match: a, route: proxy, port: {a: b}}]\n", "port: a text or a list" },
		{ "rules: [{match: a, route: proxy, port: http}]\n", "'http' is no port" },
		{ "rules: [{match: a, route: proxy, fallback: block}]\n",
		  "fallback: block means none" },
		{ "rules: [{match: a, route: proxy, fallback: vm-direct}]\n", "needs --mode vm" },
		{ "rules: [{match: a, route: direct, fallback: proxy}]\n",
		  "only a rule with route: proxy can fall back" },
		{ "rules: [{match: a, route: block, fallback-on: dial-failure}]\n",
		  "only a rule with route: proxy can fall back" },
		{ "rules: [{match: a, route: proxy, fallback-on: x}]\n",
		  "unreachable or dial-failure" },
		{ "rules: [{match: a, route: block, reason: \"x\\r\\ny: z\"}]\n",
		  "must be one line" },
		{ "rules: [{match: a, route: direct, allow-host: true}]\n",
		  "allow-host opens this host" },
		{ "rules: [{match: a, route: direct, allow-host: maybe}]\n", "true or false" },
		{ "rules: [{match: a, route: vm-direct}]\n", "route: vm-direct needs --mode vm" },
		{ "direct: [*.x]\n", "must be in quotes" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct router *r = make(false, NULL);
		struct heard heard = { 0 };
		struct err e = { 0 };

		if (router_add_yaml(r, rows[i].yaml, strlen(rows[i].yaml), "f", 0, hear, &heard,
				    &e) == 0)
			fail_msg("accepted: %s", rows[i].yaml);
		assert_int_equal(e.code, ERR_CONFIG);
		if (!strstr(e.msg, rows[i].want))
			fail_msg("%s: '%s' does not say '%s'", rows[i].yaml, e.msg, rows[i].want);
		assert_int_equal(heard.count, 1);
		assert_int_equal(router_size(r), 0);
		router_free(r);
	}
}

static void every_problem_is_reported_and_nothing_taken(void **state)
{
	static const char yaml[] = "default: x\ndirect: [good, \"b d\"]\nrules:\n  - {match: a}\n"
				   "  - {match: ok, route: proxy}\nfoo: 1\n";
	struct router *r = make(false, NULL);
	struct heard heard = { 0 };
	struct err e;

	(void)state;
	assert_int_equal(router_add_yaml(r, yaml, sizeof(yaml) - 1, "f", 0, hear, &heard, &e), -1);
	assert_int_equal(heard.count, 4);
	assert_true(strstr(heard.text, "f:1:10") && strstr(heard.text, "f:2:16") &&
		    strstr(heard.text, "f:4:5") && strstr(heard.text, "f:6:1"));
	assert_non_null(strstr(e.msg, "f:1:10"));
	expect(r, "good", 1, "proxy", "default (built-in)");
	router_free(r);
}

static void allow_host_where_it_may_stand(void **state)
{
	static const char good[] = "rules: [{match: [localhost, '127.0.0.1:80'], route: direct, "
				   "allow-host: true}]\n";
	static const char wide[] = "rules: [{match: '*.x', route: direct, allow-host: true}]\n";
	static const char proxy[] = "rules: [{match: x, route: proxy, allow-host: true}]\n";
	struct router *r = make(false, NULL);
	struct decision d;
	struct err e;

	(void)state;
	assert_int_equal(
		router_add_yaml(r, good, sizeof(good) - 1, "f", RULES_ALLOW_HOST, NULL, NULL, &e),
		0);
	router_decide(r, "localhost", 1, &d);
	assert_true(d.allow_host);
	router_decide(r, "127.0.0.1", 81, &d);
	assert_false(d.allow_host);
	assert_int_equal(
		router_add_yaml(r, wide, sizeof(wide) - 1, "f", RULES_ALLOW_HOST, NULL, NULL, &e),
		-1);
	assert_non_null(strstr(e.msg, "exact name or address"));
	assert_int_equal(
		router_add_yaml(r, proxy, sizeof(proxy) - 1, "f", RULES_ALLOW_HOST, NULL, NULL, &e),
		-1);
	assert_non_null(strstr(e.msg, "route: direct"));
	router_free(r);
}

static void profiles_that_are_named(void **state)
{
	struct router *r = make(false, NULL);
	const char *origin;

	(void)state;
	add(r,
	    "default: 'proxy:d'\nrules:\n - {match: a, route: 'proxy:a', fallback: 'proxy:b'}\n"
	    " - {match: b, route: 'proxy:a'}\n",
	    "f");
	unsigned seen = 0;

	for (size_t i = 0; i < 3; i++) {
		const char *name = router_profile(r, i, &origin);

		assert_non_null(name);
		seen |= 1u << (*name - 'a');
		assert_non_null(strstr(origin, "f:"));
	}
	assert_int_equal(seen, 1 | 2 | 8);
	assert_null(router_profile(r, 3, &origin));
	router_free(r);
}

/* The index against trying each pattern in turn, on random rules and hosts. */
static void agrees_with_trying_in_turn(void **state)
{
	static const char *const patterns[] = { "a.b.c", "b.c",     "c",        "*.b.c",
						"*.c",   ".c",      ".b.c",     "a*",
						"*b*",   "re:a.*",  "10.0.0.1", "10.0.0.0/8",
						"::/0",  "*",       "a.b.c:1",  "*.c:2-3",
						"*:2",   "x.a.b.c", "??.c" };
	static const char *const hosts[] = { "a.b.c", "b.c",      "c",        "x.a.b.c",
					     "d",     "10.0.0.1", "10.0.0.2", "11.0.0.1",
					     "::1",   "ab.c",     "zz.b.c" };

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct router *r = make(false, NULL);
		struct pattern p[40];
		char yaml[4096] = "rules:\n", line[80];
		uint32_t n = 1 + random_below(LEN(p));
		struct err e;

		for (uint32_t i = 0; i < n; i++) {
			const char *text = patterns[random_below(LEN(patterns))];

			assert_int_equal(pattern_parse(&p[i], text, &e), 0);
			snprintf(line, sizeof(line), "- {match: \"%s\", route: block}\n", text);
			strncat(yaml, line, sizeof(yaml) - strlen(yaml) - 1);
		}
		add(r, yaml, "f");
		for (size_t h = 0; h < LEN(hosts); h++)
			for (uint16_t port = 1; port < 5; port++) {
				struct subject s;
				uint32_t i = 0;
				char want[40] = "default (built-in)";

				subject_init(&s, hosts[h], port);
				while (i < n && !pattern_matches(&p[i], &s))
					i++;
				if (i < n)
					snprintf(want, sizeof(want), "f:%u", i + 2);
				expect(r, hosts[h], port, i < n ? "block" : "proxy", want);
			}
		for (uint32_t i = 0; i < n; i++)
			pattern_free(&p[i]);
		router_free(r);
	}
}

static void many_names(void **state)
{
	struct router *r = make(false, NULL);
	char name[40], origin[60];
	struct err e;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "h%u.example", i);
		snprintf(origin, sizeof(origin), "o%u", i);
		assert_int_equal(router_add_pattern(r, "direct", name, origin, &e), 0);
	}
	for (unsigned i = 0; i < 3000; i += 7) {
		snprintf(name, sizeof(name), "h%u.example", i);
		snprintf(origin, sizeof(origin), "list direct (o%u)", i);
		expect(r, name, 1, "direct", origin);
	}
	expect(r, "h3000.example", 1, "proxy", "default (built-in)");
	router_free(r);
}

static void what_a_router_can(void **state)
{
	static const struct {
		const char *yaml;
		const char *later; /* of a second source */
		bool direct, proxy;
	} cases[] = {
		{ "{}", NULL, false, true },
		{ "default: direct", NULL, true, false },
		{ "default: block", "default: direct", false, false },
		{ "default: block\ndirect: [a.test]", NULL, true, false },
		{ "default: block\ndirect: []", NULL, false, false },
		{ "proxy: [a.test]", NULL, false, true },
		{ "rules: [{ match: a.test, route: direct }]", NULL, true, true },
		{ "rules: [{ match: a.test, route: proxy, fallback: direct }]", NULL, false, true },
		{ "block: ['*']", "direct: ['10.0.0.0/8']", true, true },
	};

	(void)state;
	for (size_t i = 0; i < LEN(cases); i++) {
		struct router *r = make(false, NULL);

		add(r, cases[i].yaml, "a");
		if (cases[i].later)
			add(r, cases[i].later, "b");
		if (router_can(r, ROUTE_DIRECT) != cases[i].direct ||
		    router_can(r, ROUTE_PROXY) != cases[i].proxy)
			fail_msg("%s: %d, %d", cases[i].yaml, router_can(r, ROUTE_DIRECT),
				 router_can(r, ROUTE_PROXY));
		router_free(r);
	}
}

static void login_hosts(void **state)
{
	struct router *r = make(false, NULL);
	struct decision d;
	struct err e;

	(void)state;
	add(r, "proxy: ['*.awsapps.com']\nblock: [evil.awsapps.com]\n", "one");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(router_add_login_host(r, "d-1.awsapps.com", "login (x)", &e), 0);
		assert_int_equal(router_add_login_host(r, "evil.awsapps.com", "login (x)", &e), 0);
		assert_int_equal(router_add_login_host(r, "oidc.r.example", "login (x)", &e), 0);
	}
	expect(r, "d-1.awsapps.com", 443, "direct", "login (x)");
	expect(r, "oidc.r.example", 443, "direct", "login (x)");
	expect(r, "d-2.awsapps.com", 443, "proxy", "list proxy (one:1)");
	expect(r, "x.d-1.awsapps.com", 443, "proxy", "list proxy (one:1)");
	expect(r, "evil.awsapps.com", 443, "block", "list block (one:2)");
	router_decide(r, "oidc.r.example", 443, &d);
	assert_true(d.named);
	assert_false(d.has_fallback);
	assert_string_equal(d.pattern, "oidc.r.example");
	assert_true(router_can(r, ROUTE_DIRECT));
	router_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_designs_example),
		cmocka_unit_test(lists_have_an_order),
		cmocka_unit_test(first_match_wins_whatever_its_kind),
		cmocka_unit_test(earlier_sources_come_first),
		cmocka_unit_test(defaults),
		cmocka_unit_test(vm_direct_without_a_vm),
		cmocka_unit_test(wrong_files),
		cmocka_unit_test(every_problem_is_reported_and_nothing_taken),
		cmocka_unit_test(allow_host_where_it_may_stand),
		cmocka_unit_test(profiles_that_are_named),
		cmocka_unit_test(agrees_with_trying_in_turn),
		cmocka_unit_test(many_names),
		cmocka_unit_test(what_a_router_can),
		cmocka_unit_test(login_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
