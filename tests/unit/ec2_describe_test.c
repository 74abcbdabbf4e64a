/* ec2/describe.c: the form, a page, the order. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "ec2/describe.h"
#include "tests/support/cmocka_all.h"

#define STATES(n)                                                                      \
	"Filter." n ".Name=instance-state-name&Filter." n ".Value.1=pending&Filter." n \
	".Value.2=running&Filter." n ".Value.3=stopping&Filter." n ".Value.4=stopped"
#define HEAD "Action=DescribeInstances&Version=2016-11-15&"

static void forms(void **state)
{
	static const char *const tags[] = { "tag:Role=b*", "availability-zone=a=b" };
	static const char *const stopped[] = { "instance-state-name=stopped" };
	static const struct {
		const char *what;
		struct ec2_query query;
		const char *token, *want;
	} cases[] = {
		{ "id", { .id = "i-1" }, NULL, HEAD "InstanceId.1=i-1" },
		{ "id, next page",
		  { .id = "i-1" },
		  "t/=",
		  HEAD "InstanceId.1=i-1&NextToken=t%2F%3D" },
		{ "name",
		  { .name = "a b" },
		  NULL,
		  HEAD "Filter.1.Name=tag%3AName&Filter.1.Value.1=a%20b&" STATES("2") },
		{ "wildcards are none",
		  { .name = "*?\\" },
		  NULL,
		  HEAD
		  "Filter.1.Name=tag%3AName&Filter.1.Value.1=%5C%2A%5C%3F%5C%5C&" STATES("2") },
		{ "group",
		  { .group = "g" },
		  NULL,
		  HEAD
		  "Filter.1.Name=tag%3Aaws%3Aautoscaling%3AgroupName&Filter.1.Value.1=g&" STATES(
			  "2") },
		{ "IPv4",
		  { .address = "10.0.0.1" },
		  NULL,
		  HEAD "Filter.1.Name=private-ip-address&Filter.1.Value.1=10.0.0.1&" STATES("2") },
		{ "IPv6",
		  { .address = "fd00::1" },
		  NULL,
		  HEAD "Filter.1.Name=network-interface.ipv6-addresses.ipv6-address&"
		       "Filter.1.Value.1=fd00%3A%3A1&" STATES("2") },
		{ "DNS",
		  { .address = "ip-10-0-0-1.ec2.internal" },
		  NULL,
		  HEAD "Filter.1.Name=private-dns-name&Filter.1.Value.1=ip-10-0-0-1.ec2."
		       "internal&" STATES("2") },
		{ "filters",
		  { .filter = tags, .filter_count = 2 },
		  NULL,
		  HEAD
		  "Filter.1.Name=tag%3ARole&Filter.1.Value.1=b%2A&Filter.2.Name=availability-zone&"
		  "Filter.2.Value.1=a%3Db&" STATES("3") },
		{ "a state of the user's own",
		  { .filter = stopped, .filter_count = 1 },
		  NULL,
		  HEAD "Filter.1.Name=instance-state-name&Filter.1.Value.1=stopped" },
		{ "everything", { 0 }, NULL, HEAD STATES("1") },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].what);
		buf_clear(&b);
		assert_int_equal(describe_form(&b, &cases[i].query, cases[i].token, NULL), 0);
		assert_int_equal(buf_add(&b, "", 1, NULL), 0);
		assert_string_equal((const char *)buf_ptr(&b), cases[i].want);
	}
	buf_free(&b);
}

static void bad_queries(void **state)
{
	static const char *const filters[] = { "tag:Role", "=x", "tag:Role=" };
	struct err e;

	(void)state;
	for (size_t i = 0; i < COUNT(filters); i++) {
		struct ec2_query q = { .filter = &filters[i], .filter_count = 1 };

		assert_int_not_equal(ec2_query_check(&q, &e), 0);
		assert_int_equal(e.code, ERR_CONFIG);
		assert_non_null(strstr(e.msg, filters[i]));
	}
	assert_int_not_equal(ec2_query_check(&(struct ec2_query){ .id = "" }, NULL), 0);
	assert_int_equal(ec2_query_check(&(struct ec2_query){ .id = "ecs:c_t_r" }, NULL), 0);
}

static void words(void **state)
{
	static const char *const filters[] = { "tag:Role=x" };
	char text[EC2_QUERY_TEXT];

	(void)state;
	ec2_query_text(&(struct ec2_query){ .name = "web",
					    .group = "g",
					    .address = "10.0.0.1",
					    .filter = filters,
					    .filter_count = 1 },
		       text);
	assert_string_equal(text,
			    "named 'web', in Auto Scaling group 'g', at 10.0.0.1, with tag:Role=x");
	assert_true(ec2_is_id("i-0123456789abcdef0"));
	assert_true(ec2_is_id("mi-01234567"));
	assert_false(ec2_is_id("i-0123"));
	assert_false(ec2_is_id("ecs:a_b_c"));
	assert_true(ec2_is_foreign("ecs:a_b_c"));
	assert_true(ec2_is_foreign("mi-01234567"));
	assert_false(ec2_is_foreign("i-01234567"));
}

static void power(void **state)
{
	static const char reply[] =
		"<StartInstancesResponse><instancesSet><item><instanceId>i-1</"
		"instanceId><currentState>"
		"<code>0</code><name>pending</name></currentState><previousState><code>80</code>"
		"<name>stopped</name></previousState></item></instancesSet></"
		"StartInstancesResponse>";
	static const char none[] =
		"<StartInstancesResponse><instancesSet/></StartInstancesResponse>";
	char before[EC2_STATE_TEXT];
	struct buf b;
	struct err e;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(power_form(&b, "StopInstances", "i-1", NULL), 0);
	assert_int_equal(buf_add(&b, "", 1, NULL), 0);
	assert_string_equal((const char *)buf_ptr(&b),
			    "Action=StopInstances&Version=2016-11-15&InstanceId.1=i-1");
	buf_free(&b);
	assert_int_equal(power_parse(reply, strlen(reply), before, NULL), 0);
	assert_string_equal(before, "stopped");
	assert_int_not_equal(power_parse(none, strlen(none), before, &e), 0);
	assert_int_equal(e.code, ERR_PROTO);
}

#define ITEM(id, state, launch)                                                          \
	"<item><instanceId>" id "</instanceId><instanceState><code>1</code><name>" state \
	"</name></instanceState><launchTime>" launch "</launchTime></item>"
#define PAGE(items, tail)                                                     \
	"<DescribeInstancesResponse "                                         \
	"xmlns=\"x\"><reservationSet><item><reservationId>r</reservationId>"  \
	"<instancesSet>" items "</instancesSet></item></reservationSet>" tail \
	"</DescribeInstancesResponse>"

static void pages(void **state)
{
	static const char first[] = PAGE(ITEM("i-old", "running", "2020-01-01T00:00:00.000Z") ITEM(
						 "i-off", "stopped", "2026-01-01T00:00:00.000Z"),
					 "<nextToken>more</nextToken>");
	static const char second[] = PAGE(
		"<item><instanceId>i-new</instanceId><instanceState><name>running</name></"
		"instanceState>"
		"<privateDnsName>ip-10-0-0-1.ec2.internal</privateDnsName>"
		"<privateIpAddress>10.0.0.1</privateIpAddress><launchTime>2025-01-01T00:00:00.000Z"
		"</launchTime><placement><availabilityZone>eu-west-1b</availabilityZone></"
		"placement>"
		"<tagSet><item><key>x</key><value>y</value></item><item><key>Name</key><value>b "
		"&amp; c"
		"</value></item></tagSet></item>",
		"<nextToken/>");
	struct ec2_list l = { 0 };
	char *next;

	(void)state;
	assert_int_equal(describe_parse(first, strlen(first), &l, &next, NULL), 0);
	assert_string_equal(next, "more");
	mem_free(next);
	assert_int_equal(describe_parse(second, strlen(second), &l, &next, NULL), 0);
	assert_null(next);
	assert_int_equal(l.count, 3);
	ec2_list_sort(&l);
	assert_string_equal(l.at[0].id, "i-new");
	assert_string_equal(l.at[1].id, "i-old");
	assert_string_equal(l.at[2].id, "i-off");
	assert_string_equal(l.at[0].name, "b & c");
	assert_string_equal(l.at[0].private_ip, "10.0.0.1");
	assert_string_equal(l.at[0].private_dns, "ip-10-0-0-1.ec2.internal");
	assert_string_equal(l.at[0].zone, "eu-west-1b");
	assert_string_equal(l.at[1].name, "");
	ec2_list_free(&l);
}

static void odd_pages(void **state)
{
	static const struct {
		const char *name, *text;
		int result;
	} cases[] = {
		{ "none", "<R><reservationSet/></R>", 0 },
		{ "no set", "<R/>", -1 },
		{ "no id",
		  "<R><reservationSet><item><instancesSet><item/></instancesSet></item></"
		  "reservationSet></R>",
		  -1 },
		{ "reservation without instances",
		  "<R><reservationSet><item/></reservationSet></R>", 0 },
		{ "not XML", "x", -1 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct ec2_list l = { 0 };
		struct err e = { 0 };
		char *next;

		print_message("%s\n", cases[i].name);
		assert_int_equal(
			describe_parse(cases[i].text, strlen(cases[i].text), &l, &next, &e),
			cases[i].result);
		if (cases[i].result)
			assert_int_equal(e.code, ERR_PROTO);
		assert_int_equal(l.count, 0);
		ec2_list_free(&l);
	}
}

static void lists_are_bounded(void **state)
{
	struct ec2_list l = { 0 };
	static const char page[] = PAGE(ITEM("i-1", "running", "x"), "");
	char *next;
	struct err e = { 0 };
	int i, result = 0;

	(void)state;
	for (i = 0; result == 0; i++)
		result = describe_parse(page, strlen(page), &l, &next, &e);
	assert_int_equal(i, EC2_LIST_MAX + 1);
	assert_int_equal(e.code, ERR_LIMIT);
	ec2_list_free(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(bad_queries),
		cmocka_unit_test(words),
		cmocka_unit_test(power),
		cmocka_unit_test(pages),
		cmocka_unit_test(odd_pages),
		cmocka_unit_test(lists_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
