/* Rule files, config.yaml, options: each allocation fails in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "config/doc.h"
#include "config/file.h"
#include "routing/router.h"
#include "tests/support/mem_fail.h"

static const char rules[] = "default: \"proxy:d\"\nproxy: [a.x, \"*.b\", \"10.0.0.0/8\", "
			    "\"re:x+\", \"g*h\"]\nblock: [c]\n"
			    "rules:\n  - { match: [e, f], route: \"proxy:p\", port: [1, 2-3], "
			    "reason: r, fallback: direct }\n";

static void a_rule_file(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct router_opts o = { 0 };
		struct router *r = NULL;
		struct decision d;
		struct err e = { 0 };

		if (router_new(&r, &o, &e) == 0) {
			if (router_add_yaml(r, rules, sizeof(rules) - 1, "f", 0, NULL, NULL, &e) !=
			    0) {
				assert_int_equal(e.code, ERR_NOMEM);
				assert_int_equal(router_size(r), 0);
			}
			router_decide(r, "e", 1, &d);
			if (router_add_pattern(r, "block", "*.z", "--route-block", &e) != 0 ||
			    router_set_default(r, "proxy:n", "--route-default", &e) != 0)
				assert_int_equal(e.code, ERR_NOMEM);
		} else {
			assert_int_equal(e.code, ERR_NOMEM);
		}
		router_free(r);
		assert_int_equal(mem_held, 0);
	}
}

static const char config[] =
	"defaults: { region: x, listen: [\":1\", \":2\"], routing: { default: direct } }\n"
	"profiles: { a: { name: n }, b: }\n"
	"listeners:\n  - { address: \":1\", name: l, rules: r, allow-from: [10.0.0.0/8],\n"
	"      users: [{ name: u, hash: \"$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$"
	"cCO9yzr9c0hGHAbNgf046/2o+7qQT44+\" }] }\n"
	"  - { address: \"unix:/x\", allow-uid: 1, users: f }\n";

static void a_configuration(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct config_file *f = NULL;
		struct options o = { 0 };
		struct err e = { 0 };

		if (config_parse(config, sizeof(config) - 1, "c", &f, NULL, NULL, &e) != 0) {
			assert_int_equal(e.code, ERR_NOMEM);
		} else {
			const struct settings *layers[] = { &f->defaults, &f->profile[0].settings };

			if (options_build(&o, layers, 2, &e) != 0)
				assert_int_equal(e.code, ERR_NOMEM);
			else
				options_free(&o);
		}
		config_free(f);
		assert_int_equal(mem_held, 0);
	}
}

static void arguments(void **state)
{
	char *argv[] = { (char[]){ "start" }, (char[]){ "p" },  (char[]){ "--region=r" },
			 (char[]){ "-l" },    (char[]){ ":1" }, NULL };
	char *env[] = { (char[]){ "AWSOCKS_REGION=r" }, (char[]){ "AWSOCKS_RULES=a,b" }, NULL };

	(void)state;
	while (mem_fail_next()) {
		struct settings s = { 0 };
		struct args a = { 0 };
		struct err e = { 0 };

		if (args_parse(&a, 5, argv, NULL, &e) != 0)
			assert_int_equal(e.code, ERR_NOMEM);
		else
			args_free(&a);
		if (settings_from_env(&s, env, NULL, NULL, &e) != 0)
			assert_int_equal(e.code, ERR_NOMEM);
		else
			settings_free(&s);
		assert_int_equal(mem_held, 0);
	}
}

static void help(void **state)
{
	(void)state;
	while (mem_fail_next()) {
		struct buf b;
		struct err e = { 0 };

		buf_init(&b, 1 << 20);
		if (doc_help(&b, NULL, true, &e) != 0 || doc_man(&b, &e) != 0)
			assert_int_equal(e.code, ERR_NOMEM);
		buf_free(&b);
		assert_int_equal(mem_held, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rule_file),
		cmocka_unit_test(a_configuration),
		cmocka_unit_test(arguments),
		cmocka_unit_test(help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
