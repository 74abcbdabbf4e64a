/* backend/ssm/fleet.c: pages of DescribeInstanceInformation. */
#include <string.h>

#include "backend/ssm/fleet.h"
#include "base/mem.h"
#include "tests/support/cmocka_all.h"

static int parse(const char *json, struct fleet_list *l, char **next, struct err *e)
{
	return fleet_parse(json, strlen(json), l, next, e);
}

static void pages(void **state)
{
	struct fleet_list l = { 0 };
	struct err e;
	char *next;

	(void)state;
	assert_int_equal(
		parse("{\"InstanceInformationList\":[{\"InstanceId\":\"mi-1\","
		      "\"PingStatus\":\"Online\",\"AgentVersion\":\"3.3\",\"ComputerName\":"
		      "\"a.b\",\"IPAddress\":\"10.0.0.1\"}],\"NextToken\":\"t\"}",
		      &l, &next, &e),
		0);
	assert_string_equal(next, "t");
	mem_free(next);
	assert_int_equal(
		parse("{\"InstanceInformationList\":[{\"InstanceId\":7},null]}", &l, &next, &e), 0);
	assert_null(next);
	assert_int_equal(l.count, 3);
	assert_string_equal(l.at[0].id, "mi-1");
	assert_string_equal(l.at[0].ping, "Online");
	assert_string_equal(l.at[0].agent, "3.3");
	assert_string_equal(l.at[0].name, "a.b");
	assert_string_equal(l.at[0].ip, "10.0.0.1");
	assert_string_equal(l.at[1].id, "");
	mem_free(l.at);
}

static void malformed(void **state)
{
	static const char *const texts[] = { "",
					     "{",
					     "[]",
					     "null",
					     "{}",
					     "{\"InstanceInformationList\":{}}",
					     "{\"NextToken\":\"t\"}" };
	struct fleet_list l = { 0 };
	struct err e;
	char *next;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		assert_int_equal(parse(texts[i], &l, &next, &e), -1);
		assert_int_equal(e.code, ERR_PROTO);
		assert_null(next);
	}
	assert_int_equal(l.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages),
		cmocka_unit_test(malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
