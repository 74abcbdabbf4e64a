/* The emulator's tables and texts: options, faults, names, instances, versions, forms. */
#include "tests/support/cmocka_all.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "cmd/localaws/auth.h"
#include "cmd/localaws/dice.h"
#include "cmd/localaws/form.h"
#include "cmd/localaws/options.h"
#include "cmd/localaws/seqmap.h"
#include "cmd/localaws/version.h"

static void faults(void **state)
{
	static const struct {
		const char *text;
		int result;
		enum fault_id id;
		double value;
	} cases[] = {
		{ "refuse-session", 0, FAULT_REFUSE_SESSION, -1 },
		{ "refuse-session=3", 0, FAULT_REFUSE_SESSION, 3 },
		{ "refuse-session=0", -1, 0, 0 },
		{ "lose-client=2.5", 0, FAULT_LOSE_CLIENT, 2.5 },
		{ "lose=2", 0, FAULT_LOSE_AGENT, 2 },
		{ "lose=101", -1, 0, 0 },
		{ "lose=x", -1, 0, 0 },
		{ "lose=", -1, 0, 0 },
		{ "lose=nan", -1, 0, 0 },
		{ "zombie", 0, FAULT_ZOMBIE, 0 },
		{ "zombie=1", -1, 0, 0 },
		{ "no-such-thing", -1, 0, 0 },
		{ "", -1, 0, 0 },
		{ "=", -1, 0, 0 },
		{ "delay", 0, FAULT_DELAY, 10 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct faults f = { 0 };

		if (faults_set(&f, cases[i].text, NULL) != cases[i].result)
			fail_msg("'%s'", cases[i].text);
		if (cases[i].result == 0) {
			assert_true(fault_on(&f, cases[i].id));
			assert_true(fault_value(&f, cases[i].id, 99) == cases[i].value);
		}
	}
}

static void faults_strike_so_often(void **state)
{
	struct faults f = { 0 };

	(void)state;
	assert_false(fault_take(&f, FAULT_THROTTLE_API));
	assert_int_equal(faults_set(&f, "throttle-api=2", NULL), 0);
	assert_true(fault_take(&f, FAULT_THROTTLE_API));
	assert_true(fault_take(&f, FAULT_THROTTLE_API));
	assert_false(fault_take(&f, FAULT_THROTTLE_API));
	assert_int_equal(faults_set(&f, "throttle-api", NULL), 0);
	for (int i = 0; i < 100; i++)
		assert_true(fault_take(&f, FAULT_THROTTLE_API));
	assert_int_equal(faults_set(&f, "throttle-api=off", NULL), 0);
	assert_false(fault_take(&f, FAULT_THROTTLE_API));
	assert_int_equal(faults_set(&f, "lose", NULL), 0);
	assert_int_equal(faults_set(&f, "clear", NULL), 0);
	assert_false(fault_on(&f, FAULT_LOSE_CLIENT));
}

static void faults_of_one_part(void **state)
{
	static const char *const bad[] = { "throttle-api:",      "throttle-api:=1",
					   "zombie:ssm",         "throttle-api:StartSession=x",
					   "clock-skew:ec2=1e9", "nothing:ssm" };
	struct faults f = { 0 };
	char text[64];

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		if (faults_set(&f, bad[i], NULL) == 0)
			fail_msg("'%s' was taken", bad[i]);
	assert_int_equal(faults_set(&f, "throttle-api:StartSession=1", NULL), 0);
	assert_int_equal(faults_set(&f, "fail-api:ec2", NULL), 0);
	assert_false(fault_take_at(&f, FAULT_THROTTLE_API, "ssm", "ResumeSession"));
	assert_true(fault_take_at(&f, FAULT_THROTTLE_API, "ssm", "StartSession"));
	assert_false(fault_take_at(&f, FAULT_THROTTLE_API, "ssm", "StartSession"));
	assert_true(fault_take_at(&f, FAULT_FAIL_API, "ec2", "DescribeInstances"));
	assert_false(fault_take_at(&f, FAULT_FAIL_API, NULL, "AssumeRoleWithWebIdentity"));
	assert_int_equal(faults_set(&f, "fail-api:ec2=off", NULL), 0);
	assert_false(fault_take_at(&f, FAULT_FAIL_API, "ec2", "DescribeInstances"));
	assert_int_equal(faults_set(&f, "clock-skew=5", NULL), 0);
	assert_int_equal(faults_set(&f, "clock-skew:sts=-7", NULL), 0);
	assert_true(fault_value_at(&f, FAULT_CLOCK_SKEW, "sts", 0) == -7);
	assert_true(fault_value_at(&f, FAULT_CLOCK_SKEW, "ssm", 0) == 5);
	assert_true(fault_value_at(&f, FAULT_CLOCK_SKEW, NULL, 0) == 5);
	for (size_t i = 1; i < FAULT_PARTS; i++) {
		assert_true(str_fmt(text, sizeof(text), "throttle-api:Op%zu", i));
		assert_int_equal(faults_set(&f, text, NULL), 0);
	}
	assert_int_equal(faults_set(&f, "throttle-api:TooMany", NULL), -1);
	assert_int_equal(faults_set(&f, "throttle-api:Op3=off", NULL), 0);
	assert_int_equal(faults_set(&f, "throttle-api:TooMany", NULL), 0);
}

static void names_of_one_account(void **state)
{
	struct names l = { 0 };
	struct addr a;

	(void)state;
	assert_int_equal(names_add(&l, "210987654321/api.example=127.0.0.1:1", NULL), 0);
	assert_int_equal(names_add(&l, "1/api.example=127.0.0.1:1", NULL), -1);
	assert_true(names_find(&l, "210987654321", "api.example", 80, &a));
	assert_false(names_find(&l, "123456789012", "api.example", 80, &a));
	names_free(&l);
}

static void names(void **state)
{
	static const struct {
		const char *host;
		uint16_t port;
		const char *to; /* NULL: not there */
	} cases[] = {
		{ "api.example", 80, "127.0.0.1:80" },
		{ "API.Example.", 443, "127.0.0.1:443" },
		{ "db.example", 5432, "127.0.0.1:15432" },
		{ "six.example", 1, "[::1]:1" },
		{ "six.example", 22, "[::1]:2222" },
		{ "other.example", 80, NULL },
		{ "api.example.com", 80, NULL },
		{ "localhost", 22, "127.0.0.1:2022" },
		{ "localhost", 80, NULL },
	};
	static const char *const good[] = { "api.example=127.0.0.1", "db.example=127.0.0.1:15432",
					    "six.example=::1", "six.example:22=[::1]:2222",
					    "localhost:22=127.0.0.1:2022" };
	static const char *const bad[] = {
		"x", "x=", "=127.0.0.1", "x=name", "x=127.0.0.1:99999", "x:y=127.0.0.1"
	};
	struct names l = { 0 };
	struct addr a;
	char text[ADDR_TEXT];

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++)
		assert_int_equal(names_add(&l, good[i], NULL), 0);
	for (size_t i = 0; i < COUNT(bad); i++)
		if (names_add(&l, bad[i], NULL) == 0)
			fail_msg("'%s' was taken", bad[i]);
	for (size_t i = 0; i < COUNT(cases); i++) {
		bool found = names_find(&l, "123456789012", cases[i].host, cases[i].port, &a);

		if (found != (cases[i].to != NULL))
			fail_msg("%s:%u", cases[i].host, cases[i].port);
		if (!found)
			continue;
		addr_format(&a, text);
		assert_string_equal(text, cases[i].to);
	}
	names_free(&l);
}

static void addresses_that_agents_refuse(void **state)
{
	static const struct {
		const char *host;
		bool denied;
	} cases[] = { { "169.254.169.254", true },
		      { "169.254.169.253", true },
		      { "169.254.169.123", true },
		      { "169.254.169.250", true },
		      { "169.254.169.251", true },
		      { "169.254.169.252", false },
		      { "169.254.170.2", false },
		      { "127.0.0.1", false },
		      { "fd00:ec2::254", true },
		      { "fd00:ec2::253", true },
		      { "fd00:ec2::123", true },
		      { "fd00:ec2::1", false },
		      { "::1", false } };
	struct addr a;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_true(addr_from_literal(cases[i].host, 80, &a));
		if (names_denied(&a) != cases[i].denied)
			fail_msg("%s", cases[i].host);
	}
}

static void instances(void **state)
{
	static const char *const bad[] = { "",
					   "name=x",
					   "id=x",
					   "id=i-0123",
					   "id=i-0123456789ABCDEF0",
					   "id=i-01234567,state=asleep",
					   "id=i-01234567,colour=red",
					   "id=i-01234567,name",
					   "id=i-00000001" /* twice */ };
	struct instances l = { 0 };

	(void)state;
	assert_int_equal(instances_add(&l, "id=i-00000001", NULL), 0);
	assert_int_equal(instances_add(&l,
				       "id=i-0123456789abcdef0,name=a b,state=stopped,ip=10.1.1.1",
				       NULL),
			 0);
	assert_int_equal(instances_add(&l, "id=mi-0123456789abcdef0", NULL), 0);
	for (size_t i = 0; i < COUNT(bad); i++)
		if (instances_add(&l, bad[i], NULL) == 0)
			fail_msg("'%s' was taken", bad[i]);
	assert_int_equal(l.count, 3);
	assert_int_equal(instances_find(&l, "i-00000001")->state, INSTANCE_RUNNING);
	assert_string_equal(instances_find(&l, "i-0123456789abcdef0")->name, "a b");
	assert_int_equal(instance_state_code(INSTANCE_STOPPED), 80);
	instances_free(&l);
}

static void a_group_replaces(void **state)
{
	struct instances l = { 0 };
	size_t old, fresh;

	(void)state;
	assert_int_equal(instances_add(&l, "id=i-00000001,asg=g,tag:Role=a b", NULL), 0);
	assert_string_equal(instance_tag(&l.at[0], "Role"), "a b");
	assert_int_not_equal(instances_replace(&l, "x", 5, 1, 1, &old, &fresh, NULL), 0);
	assert_int_equal(instances_replace(&l, "g", 5, 10, 20, &old, &fresh, NULL), 0);
	assert_int_equal(l.at[old].state, INSTANCE_SHUTTING_DOWN);
	assert_int_equal(l.at[fresh].state, INSTANCE_PENDING);
	assert_string_not_equal(l.at[old].id, l.at[fresh].id);
	instances_settle(&l, 15, 7);
	assert_int_equal(l.at[fresh].state, INSTANCE_RUNNING);
	assert_false(instance_is_connected(&l.at[fresh], 21));
	assert_true(instance_is_connected(&l.at[fresh], 22));
	assert_int_equal(l.at[old].state, INSTANCE_SHUTTING_DOWN);
	instances_settle(&l, 25, 7);
	assert_int_equal(l.at[old].state, INSTANCE_TERMINATED);
	instances_free(&l);
}

static void versions(void **state)
{
	static const struct {
		const char *a, *b;
		int sign;
	} cases[] = { { "1.1.70", "1.1.70", 0 },
		      { "1.1.69.9", "1.1.70", -1 },
		      { "1.2.331.0", "1.2.331.0", 0 },
		      { "1.2.764.0", "1.2.331.0", 1 },
		      { "0.0.1", "1.1.70", -1 },
		      { "1.10.0.0", "1.9.0.0", 1 },
		      { "", "1.0", -1 },
		      { "1.1.70.0", "1.1.70", 0 } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		int c = version_compare(cases[i].a, cases[i].b);

		assert_int_equal((c > 0) - (c < 0), cases[i].sign);
	}
	assert_true(version_four_numbers("3.3.1142.0"));
	assert_false(version_four_numbers("3.3.1142"));
	assert_false(version_four_numbers("3.3.1142.x"));
	assert_false(version_four_numbers("3.3.1142.0.1"));
}

static void canonical_queries(void **state)
{
	static const struct {
		const char *raw, *canonical;
	} cases[] = {
		{ "", "" },
		{ "a", "a=" },
		{ "b=2&a=1", "a=1&b=2" },
		{ "a=2&a=1", "a=1&a=2" },
		{ "role=publish_subscribe&cell-number=Ab+/x==",
		  "cell-number=Ab%20%2Fx%3D%3D&role=publish_subscribe" },
		{ "a=%2f%zz%", "a=%2F%25zz%25" },
		{ "&&x=1&", "x=1" },
	};
	char out[256];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_true(
			auth_canonical_query(cases[i].raw, strlen(cases[i].raw), out, sizeof(out)));
		assert_string_equal(out, cases[i].canonical);
	}
	assert_false(auth_canonical_query("abcdefghijkl=1", 14, out, 8));
}

static void forms(void **state)
{
	static const char text[] = "Action=A&Name=a+b%26c&Empty=&Alone&Name=second";
	struct form f;

	(void)state;
	assert_int_equal(form_parse(&f, text, sizeof(text) - 1, NULL), 0);
	assert_int_equal(f.count, 5);
	assert_string_equal(form_get(&f, "Name"), "a b&c");
	assert_string_equal(form_get(&f, "Empty"), "");
	assert_string_equal(form_get(&f, "Alone"), "");
	assert_null(form_get(&f, "nothing"));
	form_free(&f);
}

static void kept_messages(void **state)
{
	enum { N = 5000 };
	struct seqmap m = { 0 };

	(void)state;
	assert_null(seqmap_get(&m, 0));
	assert_null(seqmap_take(&m, 0));
	for (int64_t i = 0; i < N; i++)
		assert_int_equal(seqmap_put(&m, seq_entry_new(i * 7, &i, sizeof(i))), 0);
	assert_int_equal(m.count, N);
	assert_int_equal(m.bytes, N * sizeof(int64_t));
	for (int64_t i = 0; i < N; i += 2) {
		struct seq_entry *e = seqmap_take(&m, i * 7);

		assert_non_null(e);
		assert_memory_equal(e->bytes, &i, sizeof(i));
		mem_free(e);
		assert_null(seqmap_get(&m, i * 7));
		assert_non_null(seqmap_get(&m, i * 7 + 7));
	}
	assert_int_equal(m.count, N / 2);
	seqmap_free(&m);
}

static void chance_is_fair_and_repeatable(void **state)
{
	struct dice a = { 7 }, b = { 7 };
	int hits = 0;

	(void)state;
	for (int i = 0; i < 100000; i++)
		hits += dice_percent(&a, 2);
	assert_in_range(hits, 1700, 2300);
	for (int i = 0; i < 100000; i++)
		hits -= dice_percent(&b, 2);
	assert_int_equal(hits, 0);
	assert_false(dice_percent(&a, 0));
	for (int i = 0; i < 100; i++)
		assert_true(dice_percent(&a, 100));
}

static void command_lines(void **state)
{
	static const struct {
		const char *argv[5];
		bool good;
	} cases[] = {
		{ { "--listen", "127.0.0.1:0" }, true },
		{ { "--listen=[::1]:4566" }, true },
		{ { "--listen", "0.0.0.0:0" }, false },
		{ { "--listen", "unix:/tmp/x" }, false },
		{ { "--listen" }, false },
		{ { "--throttle", "agent" }, true },
		{ { "--throttle=1000" }, true },
		{ { "--throttle=0" }, false },
		{ { "--throttle=fast" }, false },
		{ { "--agent-version", "3.3.1142" }, false },
		{ { "--fault", "lose=2", "--fault=repeat=1" }, true },
		{ { "--fault", "gremlins" }, false },
		{ { "--instance", "id=i-01234567" }, true },
		{ { "--tls", "--resolve-system" }, true },
		{ { "--no-such" }, false },
		{ { "word" }, false },
		{ { "--page-size", "0" }, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *argv[7] = { (char[]){ "x" } };
		struct options o;
		struct err e = { 0 };
		int argc = 1;

		for (; argc <= 5 && cases[i].argv[argc - 1]; argc++)
			argv[argc] = mem_strdup(cases[i].argv[argc - 1]);
		if ((options_parse(argc, argv, &o, &e) == 0) != cases[i].good)
			fail_msg("%s: %s", cases[i].argv[0], e.msg);
		if (cases[i].good) {
			assert_int_equal(o.instances.count, 1);
			options_free(&o);
		} else {
			assert_int_equal(e.code, ERR_USAGE);
		}
		while (argc-- > 1)
			mem_free(argv[argc]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults),
		cmocka_unit_test(faults_strike_so_often),
		cmocka_unit_test(faults_of_one_part),
		cmocka_unit_test(names),
		cmocka_unit_test(names_of_one_account),
		cmocka_unit_test(addresses_that_agents_refuse),
		cmocka_unit_test(instances),
		cmocka_unit_test(a_group_replaces),
		cmocka_unit_test(versions),
		cmocka_unit_test(canonical_queries),
		cmocka_unit_test(forms),
		cmocka_unit_test(kept_messages),
		cmocka_unit_test(chance_is_fair_and_repeatable),
		cmocka_unit_test(command_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
