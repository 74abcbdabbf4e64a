/* ec2/describe.c: the form, a page, the order. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "ec2/describe.h"
#include "tests/support/cmocka_all.h"

static void forms(void **state)
{
	static const struct {
		const char *what, *name, *id, *token, *want;
	} cases[] = {
		{ "id", NULL, "i-1", NULL,
		  "Action=DescribeInstances&Version=2016-11-15&InstanceId.1=i-1" },
		{ "id, next page", NULL, "i-1", "t/=",
		  "Action=DescribeInstances&Version=2016-11-15&InstanceId.1=i-1&NextToken=t%2F%"
		  "3D" },
		{ "name", "a b", NULL, NULL,
		  "Action=DescribeInstances&Version=2016-11-15&Filter.1.Name=tag%3AName&"
		  "Filter.1.Value.1=a%20b&Filter.2.Name=instance-state-name&Filter.2.Value.1="
		  "pending&"
		  "Filter.2.Value.2=running&Filter.2.Value.3=stopping&Filter.2.Value.4=stopped" },
	};
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	for (size_t i = 0; i < COUNT(cases); i++) {
		print_message("%s\n", cases[i].what);
		buf_clear(&b);
		assert_int_equal(
			describe_form(&b, cases[i].name, cases[i].id, cases[i].token, NULL), 0);
		assert_int_equal(buf_add(&b, "", 1, NULL), 0);
		assert_string_equal((const char *)buf_ptr(&b), cases[i].want);
	}
	buf_clear(&b);
	assert_int_equal(describe_form(&b, "*?\\", NULL, NULL, NULL), 0);
	assert_int_equal(buf_add(&b, "", 1, NULL), 0);
	assert_non_null(strstr((const char *)buf_ptr(&b), "Value.1=%5C%2A%5C%3F%5C%5C&"));
	buf_free(&b);
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
		cmocka_unit_test(pages),
		cmocka_unit_test(odd_pages),
		cmocka_unit_test(lists_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
