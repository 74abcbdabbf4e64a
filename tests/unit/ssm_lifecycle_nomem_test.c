/*
 * An instance's life, from a dial that starts it to the stop at the end, when each allocation fails
 * in turn: the dial has an answer, what was started is stopped, and nothing is left behind. And so
 * for a page of SSM's nodes.
 */
#include "tests/unit/ssm_dialing.h"
#include "tests/unit/ssm_world.h"

#include <dirent.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/ssm.h"
#include "backend/ssm/fleet.h"
#include "base/log.h"
#include "stream/stream.h"
#include "tests/support/mem_fail.h"

#define ID "i-0123456789abcdef0"

static int closed_calls;

static void on_closed(void *arg)
{
	(void)arg;
	closed_calls++;
}

static void use(struct backend *b)
{
	struct dest d = { .host = "echo", .port = 8080 };
	struct client c = { 0 };
	struct err e = { 0 };

	if (!backend_dial(b, &d, on_dialed, &c, &e)) {
		assert_int_equal(e.code, ERR_NOMEM);
	} else {
		for (int ms = 0; ms < 60000 && !c.dones; ms++) {
			if (ms == 2000 && W->power_ons)
				snprintf(W->instances[0].state, EC2_STATE_TEXT, "running");
			turn();
		}
		assert_int_equal(c.dones, 1);
	}
	if (W->power_ons)
		snprintf(W->instances[0].state, EC2_STATE_TEXT, "running");
	closed_calls = 0;
	backend_close(b, on_closed, NULL);
	RUN_UNTIL(closed_calls == 1, 100000);
	assert_null(c.s);
}

static void a_life(void **state)
{
	static const char *const filter[] = { "tag:Role=x" };
	char dir[] = "/tmp/ssm-nomem-XXXXXX";
	unsigned stopped = 0;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(log_set_level("error", NULL), 0);
	while (mem_fail_next()) {
		struct ssm_opts o = { .target.name = "box",
				      .target.group = "g",
				      .target.filter = filter,
				      .target.filter_count = 1,
				      .auto_start = true,
				      .auto_stop = true,
				      .notes = dir,
				      .dial_ms = 50000,
				      .region = "us-east-1",
				      .ssm_endpoint = "http://127.0.0.1:9",
				      .ec2_endpoint = "http://127.0.0.1:9",
				      .endpoint_overridden = true };
		struct backend *b;
		struct err e = { 0 };
		size_t before;

		world_begin();
		before = 0;
		o.loop = &W->loop;
		o.ws = &W->ws_context;
		o.aws = &W->aws;
		W->instance_count = 1;
		snprintf(W->instances[0].id, sizeof(W->instances[0].id), ID);
		snprintf(W->instances[0].state, EC2_STATE_TEXT, "stopped");
		b = W->codec ? ssm_backend_new(&o, &e) : NULL;
		if (b)
			use(b);
		else if (W->codec)
			assert_int_equal(e.code, ERR_NOMEM);
		assert_true(W->power_ons == 0 || W->power_offs >= 1);
		stopped += W->power_offs >= 1;
		world_end();
		assert_int_equal(mem_held, before);
	}
	assert_true(stopped > 5);
	assert_int_equal(rmdir(dir), 0); /* no note is left */
}

static void nodes(void **state)
{
	static const char page[] = "{\"InstanceInformationList\":[{\"InstanceId\":\"i-1\"},"
				   "{\"InstanceId\":\"i-2\"}],\"NextToken\":\"t\"}";

	(void)state;
	while (mem_fail_next()) {
		struct fleet_list l = { 0 };
		struct err e = { 0 };
		char *next = NULL;

		if (fleet_parse(page, sizeof(page) - 1, &l, &next, &e) == 0)
			assert_int_equal(l.count, 2);
		else
			assert_int_equal(e.code, ERR_NOMEM);
		mem_free(next);
		mem_free(l.at);
		assert_int_equal(mem_held, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(nodes), cmocka_unit_test(a_life) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
