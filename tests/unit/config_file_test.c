#include "config/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

static void count(void *arg, const char *text)
{
	(void)text;
	++*(unsigned *)arg;
}

static void a_whole_file(void **state)
{
	static const char text[] =
		"defaults:\n  region: eu-central-1\n  no-lazy: true\n  route-direct: [localhost, "
		"\"*.local\"]\n"
		"  sessions: 8\n  routing: { default: block }\n"
		"profiles:\n  staging:\n    aws-profile: corp\n    name: bastion\n    routing:\n   "
		"   default: direct\n"
		"  bare:\n"
		"listeners:\n  - { address: \"127.0.0.1:1080\" }\n"
		"  - { address: \"192.168.64.1:1080\", allow-from: [\"192.168.64.0/24\"], rules: "
		"cal.yaml, name: cal, guard: off, max-connections: 7, max-per-peer: 3 }\n"
		"  - { address: \"unix:/run/x.sock\", mode: \"0600\", name: x, guard: on, "
		"check-sni: true }\n";
	struct config_file *f;
	const struct config_profile *p;
	struct options o;
	struct err e;

	(void)state;
	if (config_parse(text, sizeof(text) - 1, "c.yaml", &f, NULL, NULL, &e) != 0)
		fail_msg("%s", e.msg);
	p = config_profile(f, "staging");
	assert_non_null(p);
	assert_null(config_profile(f, "nobody"));
	assert_non_null(p->routing);
	assert_non_null(f->routing);
	assert_null(config_profile(f, "bare")->routing);

	const struct settings *layers[] = { &f->defaults, &p->settings };

	assert_int_equal(options_build(&o, layers, 2, &e), 0);
	assert_string_equal(o.region, "eu-central-1");
	assert_string_equal(o.origin[OPT_ID_region].text, "c.yaml:2");
	assert_string_equal(o.origin[OPT_ID_name].text, "c.yaml:10");
	assert_false(o.lazy);
	assert_int_equal(o.route_direct.count, 2);
	assert_int_equal(o.sessions, 8);
	options_free(&o);

	assert_int_equal(f->listener_count, 3);
	assert_int_equal(f->listener[0].mode, -1);
	assert_int_equal(f->listener[0].guard, GUARD_AUTO);
	assert_string_equal(f->listener[1].name, "cal");
	assert_string_equal(f->listener[1].rules, "cal.yaml");
	assert_int_equal(f->listener[1].allow_from.count, 1);
	assert_int_equal(f->listener[1].guard, GUARD_OFF);
	assert_int_equal(f->listener[1].max_connections, 7);
	assert_int_equal(f->listener[1].max_per_peer, 3);
	assert_int_equal(f->listener[2].max_connections, 0);
	assert_int_equal(f->listener[2].mode, 0600);
	assert_int_equal(f->listener[2].guard, GUARD_ON);
	assert_true(f->listener[2].check_sni && !f->listener[1].check_sni);
	config_free(f);
}

static void nothing_in_it(void **state)
{
	static const char *const rows[] = { "", "# no\n", "defaults:\nprofiles:\nlisteners:\n",
					    "profiles: {a: , b: }\n", "defaults: {}\n" };

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct config_file *f;
		struct err e;

		if (config_parse(rows[i], strlen(rows[i]), "c", &f, NULL, NULL, &e) != 0)
			fail_msg("%s: %s", rows[i], e.msg);
		config_free(f);
	}
}

static void refused(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "- a\n", "c:1:1: the configuration is a map" },
		{ "profile: {}\n",
		  "c:1:1: unknown key 'profile' in the configuration: did you mean 'profiles'?" },
		{ "region: x\n", "c:1:1: 'region' belongs under defaults: or a profile" },
		{ "defaults: [a]\n", "c:1:11: defaults: a map of options expected" },
		{ "defaults:\n  regoin: x\n",
		  "c:2:3: unknown key 'regoin' in defaults: did you mean 'region'?" },
		{ "profiles:\n  a:\n    nam: x\n",
		  "c:3:5: unknown key 'nam' in profile a: did you mean 'name'?" },
		{ "defaults:\n  mode: both\n", "c:2:9: mode: 'both': one of direct|vm expected" },
		{ "defaults:\n  region: [a]\n", "c:2:11: region: one value expected" },
		{ "defaults:\n  no-lazy: 1\n", "c:2:12: no-lazy: true or false" },
		{ "defaults:\n  config: x\n", "c:2:3: config: only on the command line" },
		{ "defaults:\n  listen: {a: b}\n", "c:2:11: listen: a text or a list expected" },
		{ "defaults:\n  listen: [1080]\n", "c:2:12: listen: '1080' is a port only" },
		{ "defaults:\n  allow-from: []\n", "c:2:15: allow-from: empty" },
		{ "defaults:\n  allow-from:\n", "allow-from: empty" },
		{ "defaults:\n  region: a\n  region: b\n", "c:3:3: 'region' is given twice" },
		{ "profiles: [a]\n", "c:1:11: profiles: a map" },
		{ "profiles: {\"a b\": {}}\n", "is no name for a profile" },
		{ "profiles: {\"a:b\": {}}\n", "is no name for a profile" },
		{ "listeners: {a: b}\n", "c:1:12: listeners: a list" },
		{ "listeners: [a]\n", "c:1:13: a listener is {" },
		{ "listeners: [{name: a}]\n", "c:1:13: a listener needs address:" },
		{ "listeners: [{address: \"1080\"}]\n", "address: '1080' is a port only" },
		{ "listeners: [{address: \":1\", adress: x}]\n", "did you mean 'address'?" },
		{ "listeners: [{address: \":1\", allow-from: [x]}]\n",
		  "allow-from: 'x': a network" },
		{ "listeners: [{address: \":1\", allow-from: []}]\n", "allow-from: empty" },
		{ "listeners: [{address: \":1\", allow-from: }]\n", "allow-from: no value" },
		{ "listeners: [{address: \":1\", users: }]\n", "users: no value" },
		{ "listeners: [{address: \":1\", users: []}]\n", "users: a list expected" },
		{ "listeners: [{address: \":1\", users: [{name: a}]}]\n", "a user is {" },
		{ "listeners: [{address: \":1\", users: [{name: a, hash: b, x: c}]}]\n",
		  "unknown key 'x' in a user" },
		{ "listeners: [{address: \":1\", allow-uid: [root]}]\n", "a user id expected" },
		{ "listeners: [{address: \":1\", guard: maybe}]\n", "guard: on, off or auto" },
		{ "listeners: [{address: \":1\", check-sni: yes}]\n", "check-sni: true or false" },
		{ "listeners: [{address: \":1\", max-connections: 0}]\n",
		  "max-connections: a number between 1 and 1000000" },
		{ "listeners: [{address: \":1\", max-per-peer: few}]\n",
		  "max-per-peer: a number between 1 and 1000000" },
		{ "listeners: [{address: \":1\", mode: \"0600\"}]\n",
		  "only a unix: socket has one" },
		{ "listeners: [{address: \"unix:/x\", mode: \"0999\"}]\n", "octal" },
		{ "listeners: [{address: \"unix:/x\", mode: \"0777\"}]\n", "not executable" },
		{ "listeners: [{address: \":1\", name: a}, {address: \":2\", name: a}]\n",
		  "two listeners have the name 'a'" },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct config_file *f;
		struct err e = { 0 };
		unsigned problems = 0;

		if (config_parse(rows[i].text, strlen(rows[i].text), "c", &f, count, &problems,
				 &e) == 0)
			fail_msg("accepted: %s", rows[i].text);
		assert_null(f);
		assert_int_equal(e.code, ERR_CONFIG);
		assert_true(problems >= 1);
		if (!strstr(e.msg, rows[i].want))
			fail_msg("%s: '%s' does not say '%s'", rows[i].text, e.msg, rows[i].want);
	}
}

static void every_problem_is_told(void **state)
{
	static const char text[] = "defaults: {regoin: x, mode: y}\nprofiles: {a: {sessions: 0}}\n"
				   "listeners: [{name: z}, {address: \":1\", guard: 7}]\nfoo: 1\n";
	struct config_file *f;
	unsigned problems = 0;

	(void)state;
	assert_int_equal(config_parse(text, sizeof(text) - 1, "c", &f, count, &problems, NULL), -1);
	assert_int_equal(problems, 6);
}

#define HASH "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+"

static void who_may_use_a_listener(void **state)
{
	static const char text[] = "listeners:\n"
				   "  - { address: \":1\", users: [{ name: a, hash: \"" HASH
				   "\" }] }\n"
				   "  - { address: \":2\", users: users.yaml }\n"
				   "  - { address: \"unix:/x\", allow-uid: [0, 1000] }\n";
	struct config_file *f;
	struct err e;

	(void)state;
	assert_int_equal(config_parse(text, sizeof(text) - 1, "c", &f, NULL, NULL, &e), 0);
	assert_int_equal(f->listener[0].users.count, 1);
	assert_string_equal(f->listener[0].users.item[0].name, "a");
	assert_string_equal(f->listener[0].users.item[0].hash, HASH);
	assert_null(f->listener[0].users_file);
	assert_string_equal(f->listener[1].users_file, "users.yaml");
	assert_int_equal(f->listener[2].allow_uid_count, 2);
	assert_int_equal(f->listener[2].allow_uid[1], 1000);
	config_free(f);
}

static void files_of_users(void **state)
{
	static const char good[] = "- { name: a, hash: \"" HASH "\" }\n"
				   "- { name: b, hash: \"" HASH "\" }\n",
			  twice[] = "- { name: a, hash: \"" HASH "\" }\n"
				    "- { name: a, hash: \"" HASH "\" }\n",
			  weak[] = "- { name: a, hash: plain }\n";
	struct config_users u;
	struct err e;

	(void)state;
	assert_int_equal(users_parse(good, sizeof(good) - 1, "u", &u, &e), 0);
	assert_int_equal(u.count, 2);
	users_free(&u);
	assert_int_equal(users_parse(twice, sizeof(twice) - 1, "u", &u, &e), -1);
	assert_string_equal(e.msg, "u:2:11: two users have the name 'a'");
	assert_int_equal(users_parse(weak, sizeof(weak) - 1, "u", &u, &e), -1);
	assert_non_null(strstr(e.msg, "u:1:20: hash: a hash begins with $scrypt$"));
	assert_int_equal(users_parse("", 0, "u", &u, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_file),
		cmocka_unit_test(nothing_in_it),
		cmocka_unit_test(refused),
		cmocka_unit_test(every_problem_is_told),
		cmocka_unit_test(who_may_use_a_listener),
		cmocka_unit_test(files_of_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
