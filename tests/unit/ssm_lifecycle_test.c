/* backend/ssm/lifecycle*.c and note.c: an instance is started, waited for, stopped, taken over; the
 * limits of all that; the limit of the first initialisation. */
#include "tests/unit/ssm_dialing.h"
#include "tests/unit/ssm_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/ssm.h"
#include "backend/ssm/note.h"
#include "stream/stream.h"

#define ID "i-0123456789abcdef0"

static struct backend *B;
static int closed_calls;
static char dir[64]; /* of notes */

static void dial(struct client *c)
{
	struct dest d = { .host = "echo", .port = 8080 };

	c->dial = backend_dial(B, &d, on_dialed, c, &c->why);
	assert_non_null(c->dial);
}

static void on_started(void *arg, const struct err *why)
{
	struct client *c = arg;

	c->dones++;
	if (why)
		c->why = *why;
}

static void on_closed(void *arg)
{
	(void)arg;
	closed_calls++;
}

/* The world has one instance, in this state, launched at the world's beginning. */
static void begin(const struct ssm_opts *more, const char *state)
{
	struct ssm_opts o = *more;
	struct ec2_instance *i;

	world_begin();
	i = &W->instances[0];
	W->instance_count = 1;
	snprintf(i->id, sizeof(i->id), ID);
	snprintf(i->state, sizeof(i->state), "%s", state);
	snprintf(i->launch_time, sizeof(i->launch_time), "2023-11-14T22:13:25.000Z");
	closed_calls = 0;
	o.loop = &W->loop;
	o.ws = &W->ws_context;
	o.aws = &W->aws;
	o.region = "us-east-1";
	o.ssm_endpoint = o.ec2_endpoint = "http://127.0.0.1:9";
	o.endpoint_overridden = true;
	if (!o.target.id)
		o.target.name = "box";
	if (!o.dial_ms)
		o.dial_ms = 3600000;
	B = ssm_backend_new(&o, NULL);
	assert_non_null(B);
}

static void become(const char *state)
{
	snprintf(W->instances[0].state, sizeof(W->instances[0].state), "%s", state);
}

static unsigned close_all(void)
{
	uint64_t from = W->loop.now;

	backend_close(B, on_closed, NULL);
	RUN_UNTIL(closed_calls == 1, 100000);
	return (unsigned)(W->loop.now - from);
}

static void text_of(const char *key, char out[static 256])
{
	struct cJSON *j = cJSON_CreateObject();
	const struct cJSON *it;

	backend_describe(B, j);
	it = cJSON_GetObjectItem(j, key);
	snprintf(out, 256, "%s",
		 cJSON_IsString(it) ? it->valuestring
		 : cJSON_IsTrue(it) ? "true"
				    : "");
	cJSON_Delete(j);
}

static void assert_text(const char *key, const char *want)
{
	char have[256];

	text_of(key, have);
	assert_string_equal(have, want);
}

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/ssm-lifecycle-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static size_t files(void)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	for (const struct dirent *e; d && (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static int remove_dir(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/%s", dir, ID);
	(void)unlink(path);
	return rmdir(dir);
}

/* --- starting --- */

static const struct ssm_opts both = { .auto_start = true, .auto_stop = true, .notes = dir };

static void started_and_stopped(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&both, "stopped");
	dial(&c);
	RUN_UNTIL(W->power_ons == 1, 2000);
	run(20000);
	assert_text("step", "starting");
	assert_text("progress", "instance " ID " is pending");
	assert_text("to_be_stopped", "true");
	assert_int_equal(files(), 1);
	become("running");
	W->not_connected = true;
	run(30000);
	assert_text("step", "connecting");
	assert_text("progress", "instance " ID " is not connected to SSM yet");
	W->not_connected = false;
	RUN_UNTIL(c.dones, 6000);
	assert_non_null(c.s);
	assert_int_equal(W->power_ons, 1);
	(void)close_all();
	assert_int_equal(W->power_offs, 1);
	assert_int_equal(files(), 0);
	world_end();
}

/* What GetConnectionStatus says comes late, or not at all: 3 min. */
static void never_connected(void **state)
{
	struct client c = { 0 };
	uint64_t from;

	(void)state;
	begin(&both, "stopped");
	W->not_connected = true;
	dial(&c);
	RUN_UNTIL(W->power_ons == 1, 2000);
	become("running");
	RUN_UNTIL(W->statuses == 1, 6000);
	from = W->loop.now;
	RUN_UNTIL(c.dones, 190000);
	assert_in_range(W->loop.now - from, 179000, 181000);
	assert_int_equal(c.why.code, ERR_TARGET);
	assert_non_null(strstr(c.why.msg, "has not been for 180 s"));
	assert_in_range(W->statuses, 30, 60); /* every 5 s */
	(void)close_all();
	world_end();
}

/* Nor may we ask for that: then StartSession is asked for 3 min. */
static void never_connected_and_not_to_be_asked(void **state)
{
	struct client c = { 0 }, late = { 0 };
	uint64_t from;

	(void)state;
	begin(&both, "stopped");
	W->status_code = "AccessDeniedException";
	W->start_code = "TargetNotConnected";
	W->start_text = ID " is not connected.";
	dial(&c);
	RUN_UNTIL(W->power_ons == 1, 2000);
	become("running");
	RUN_UNTIL(W->starts == 1, 10000);
	from = W->loop.now;
	RUN_UNTIL(c.dones, 200000);
	assert_in_range(W->loop.now - from, 170000, 192000);
	assert_non_null(strstr(c.why.msg, "is not connected"));
	W->start_code = NULL;
	run(3000);
	dial(&late);
	RUN_UNTIL(late.dones, 10000);
	assert_non_null(late.s);
	(void)close_all();
	world_end();
}

static void never_running(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&both, "stopped");
	dial(&c);
	RUN_UNTIL(c.dones, 901000);
	assert_non_null(strstr(c.why.msg, "not running within 15 min"));
	become("running");
	(void)close_all();
	assert_int_equal(W->power_offs, 1);
	world_end();
}

static void ends_while_it_starts(void **state)
{
	static const char *const states[] = { "terminated", "shutting-down" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct client c = { 0 };

		begin(&both, "stopped");
		dial(&c);
		RUN_UNTIL(W->power_ons == 1, 2000);
		become(states[i]);
		RUN_UNTIL(c.dones, 6000);
		assert_non_null(strstr(c.why.msg, states[i]));
		become("stopped");
		(void)close_all();
		world_end();
	}
}

static void refused(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&both, "stopped");
	W->power_code = "InsufficientInstanceCapacity";
	dial(&c);
	RUN_UNTIL(c.dones, 3000);
	assert_non_null(strstr(c.why.msg, "InsufficientInstanceCapacity"));
	(void)close_all();
	assert_int_equal(W->power_offs, 0);
	assert_int_equal(files(), 0);
	world_end();
}

/* It is stopping: StartInstances is repeated until it takes. */
static void first_it_has_to_stop(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&both, "stopping");
	dial(&c);
	run(20000);
	assert_int_equal(W->power_ons, 0);
	become("stopped");
	RUN_UNTIL(W->power_ons == 1, 6000);
	become("running");
	RUN_UNTIL(c.dones, 6000);
	assert_non_null(c.s);
	(void)close_all();
	world_end();
}

/* --- stopping --- */

static void left_alone(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&both, "running"); /* not started here */
	dial(&c);
	RUN_UNTIL(c.dones, 3000);
	(void)close_all();
	assert_int_equal(W->power_offs, 0);
	world_end();
	begin(&(struct ssm_opts){ .auto_start = true, .notes = dir },
	      "stopped"); /* not asked for */
	W->quiet_power = true;
	dial(&c);
	run(1000);
	assert_int_equal(list_empty(&W->power_calls), false);
	assert_in_range(close_all(), 0, 4000); /* and StartInstances is not waited for */
	assert_int_equal(files(), 0);
	world_end();
}

/* StartInstances is under way: its answer is waited for, and what it did undone. */
static void closed_during_the_call(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&both, "stopped");
	W->quiet_power = true;
	dial(&c);
	run(1000);
	backend_close(B, on_closed, NULL);
	run(5000);
	assert_int_equal(closed_calls, 0);
	assert_int_equal(c.dones, 1);
	W->quiet_power = false;
	run(3000);
	assert_int_equal(W->power_ons, 1);
	assert_int_equal(closed_calls, 0); /* it is pending */
	become("running");
	RUN_UNTIL(closed_calls == 1, 3000);
	assert_string_equal(W->instances[0].state, "stopping");
	assert_int_equal(files(), 0);
	world_end();
}

/* It stays pending: a minute, and then the note stays too. */
static void cannot_be_stopped(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&both, "stopped");
	dial(&c);
	RUN_UNTIL(W->power_ons == 1, 2000);
	assert_in_range(close_all(), 58000, 63000);
	assert_in_range(W->power_offs, 25, 35);
	assert_int_equal(files(), 1);
	world_end();
}

static void stop_is_refused(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&both, "stopped");
	dial(&c);
	RUN_UNTIL(W->power_ons == 1, 2000);
	become("running");
	RUN_UNTIL(c.dones, 9000);
	W->power_code = "UnauthorizedOperation";
	assert_in_range(close_all(), 0, 4000);
	assert_int_equal(files(), 1);
	world_end();
}

static void idle(void **state)
{
	struct ssm_opts o = both;
	struct client c = { 0 }, again = { 0 };

	(void)state;
	o.idle_stop_ms = 60000;
	begin(&o, "stopped");
	dial(&c);
	RUN_UNTIL(W->power_ons == 1, 2000);
	become("running");
	RUN_UNTIL(c.dones, 9000);
	run(120000);
	assert_int_equal(W->power_offs, 0); /* in use */
	stream_close(c.s);
	RUN_UNTIL(W->power_offs == 1, 70000);
	assert_text("step", "idle");
	assert_text("to_be_stopped", "");
	assert_int_equal(files(), 0);
	dial(&again); /* while it is stopping */
	run(3000);
	become("stopped");
	RUN_UNTIL(W->power_ons == 2, 9000);
	become("running");
	RUN_UNTIL(again.dones, 9000);
	assert_non_null(again.s);
	(void)close_all();
	assert_int_equal(W->power_offs, 2);
	world_end();
}

/* --- notes --- */

static void leave(int64_t started_ms)
{
	struct note n = { 0 };

	assert_int_equal(note_make(&n, dir, ID, started_ms, NULL), 0);
	assert_int_equal(note_look(dir, ID), NOTE_HELD);
	note_leave(&n);
	assert_int_equal(note_look(dir, ID), NOTE_LEFT);
}

enum { LAUNCH_S = 1700000005 }; /* as begin() has it */

/* The one before was killed: what it started is stopped by this one. */
static void taken_over(void **state)
{
	static const struct {
		int64_t started_s;
		const char *was; /* what the instance does */
		bool by_id, auto_start, taken;
	} cases[] = {
		{ LAUNCH_S - 3, "running", false, true, true },
		{ LAUNCH_S + 60, "running", true, true, true },
		{ LAUNCH_S, "running", true, false, true }, /* looked up for the note's sake */
		{ LAUNCH_S, "pending", false, true, true },
		{ LAUNCH_S - 3600, "running", false, true, false }, /* started anew since then */
		{ LAUNCH_S + 3600, "running", false, true, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct client c = { 0 };
		struct ssm_opts o = both;

		leave(cases[i].started_s * 1000);
		o.auto_start = cases[i].auto_start;
		if (cases[i].by_id)
			o.target.id = ID;
		begin(&o, cases[i].was);
		dial(&c);
		run(1000);
		become("running");
		RUN_UNTIL(c.dones, 9000);
		assert_non_null(c.s);
		assert_text("to_be_stopped", cases[i].taken ? "true" : "");
		assert_int_equal(note_look(dir, ID), cases[i].taken ? NOTE_HELD : NOTE_NONE);
		(void)close_all();
		assert_int_equal(W->power_offs, cases[i].taken);
		assert_int_equal(W->power_ons, 0);
		assert_int_equal(files(), 0);
		world_end();
	}
}

static void not_taken_over(void **state)
{
	struct client c = { 0 }, d = { 0 };
	struct ssm_opts o = both;
	struct note n = { 0 };

	(void)state;
	assert_int_equal(note_make(&n, dir, ID, (int64_t)LAUNCH_S * 1000, NULL), 0);
	begin(&both, "running"); /* its awsocks runs */
	dial(&c);
	RUN_UNTIL(c.dones, 9000);
	(void)close_all();
	assert_int_equal(W->power_offs, 0);
	world_end();
	note_leave(&n);
	o.auto_stop = false; /* not asked for */
	begin(&o, "running");
	dial(&d);
	RUN_UNTIL(d.dones, 9000);
	(void)close_all();
	assert_int_equal(W->power_offs, 0);
	assert_int_equal(note_look(dir, ID), NOTE_LEFT);
	world_end();
}

static void odd_notes(void **state)
{
	struct note n = { 0 };
	struct err e;
	char path[128];
	int64_t ms;
	int fd;

	(void)state;
	assert_int_equal(note_make(&n, dir, "../x", 1, &e), -1);
	assert_int_equal(note_make(&n, "/proc/nowhere/x", ID, 1, &e), -1);
	assert_false(note_take(&n, dir, ID, &ms));
	assert_int_equal(note_look(dir, "../x"), NOTE_NONE);
	snprintf(path, sizeof(path), "%s/%s", dir, ID);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "rubbish\n", 8), 8);
	close(fd);
	assert_true(note_take(&n, dir, ID, &ms));
	assert_int_equal(ms, 0);
	note_remove(&n);
	note_remove(&n); /* nothing to do */
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_false(note_take(&n, dir, ID, &ms));
	assert_int_equal(note_make(&n, dir, ID, 1, &e), -1);
	assert_int_equal(unlink(path), 0);
}

/* --- the first initialisation --- */

static void waits_for_its_agent(void **state)
{
	struct client c = { 0 }, d = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .init_ms = 40000 }, "running");
	W->not_connected = true;
	backend_start(B, on_started, &c);
	run(30000);
	assert_int_equal(c.dones, 0);
	assert_true(backend_first_init(B));
	assert_text("progress", "instance " ID " is not connected to SSM yet");
	assert_in_range(W->lookups, 3, 40); /* perhaps it has been replaced */
	W->not_connected = false;
	RUN_UNTIL(c.dones, 6000);
	assert_int_equal(c.why.code, ERR_NONE);
	assert_int_equal(backend_state(B), BACKEND_ACTIVE);
	(void)close_all();
	world_end();
	begin(&(struct ssm_opts){ .init_ms = 40000 }, "running");
	W->not_connected = true;
	backend_start(B, on_started, &d);
	RUN_UNTIL(d.dones, 41000);
	assert_in_range(W->loop.now, 5000 + 39500, 5000 + 40500);
	assert_int_equal(d.why.code, ERR_TARGET);
	assert_non_null(strstr(d.why.msg, "has not been for 40 s"));
	assert_false(backend_first_init(B));
	(void)close_all();
	world_end();
}

static void replaced_while_it_waits(void **state)
{
	struct client c = { 0 };

	(void)state;
	begin(&(struct ssm_opts){ .init_ms = 40000 }, "running");
	W->not_connected = true;
	backend_start(B, on_started, &c);
	run(3000);
	snprintf(W->instances[0].id, sizeof(W->instances[0].id), "i-00000002");
	run(6000);
	assert_text("instance", "i-00000002");
	W->not_connected = false;
	RUN_UNTIL(c.dones, 6000);
	(void)close_all();
	world_end();
}

static void init_limit(void **state)
{
	static const struct {
		bool creds, aws;
		const char *step;
	} cases[] = { { true, false, "'credentials'" }, { false, true, "'online'" } };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct client c = { 0 };

		begin(&(struct ssm_opts){ .init_ms = 7000 }, "running");
		W->quiet_creds = cases[i].creds;
		W->quiet_aws = cases[i].aws;
		backend_start(B, on_started, &c);
		RUN_UNTIL(c.dones, 7100);
		assert_int_equal(c.why.code, ERR_TIMEOUT);
		assert_non_null(strstr(c.why.msg, "not done within 7 s (--init-timeout)"));
		assert_non_null(strstr(c.why.msg, cases[i].step));
		W->quiet_aws = false;
		W->quiet_creds = false;
		(void)close_all();
		world_end();
	}
}

/* An instance that is being started has limits of its own. */
static void init_limit_is_not_of_the_start(void **state)
{
	struct ssm_opts o = both;
	struct client c = { 0 };

	(void)state;
	o.init_ms = 2000;
	begin(&o, "stopped");
	backend_start(B, on_started, &c);
	run(60000);
	assert_int_equal(c.dones, 0);
	become("running");
	W->not_connected = true;
	run(60000);
	W->not_connected = false;
	RUN_UNTIL(c.dones, 6000);
	assert_int_equal(c.why.code, ERR_NONE);
	(void)close_all();
	world_end();
}

#define IN_DIR(fn) cmocka_unit_test_setup_teardown(fn, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(started_and_stopped),
		IN_DIR(never_connected),
		IN_DIR(never_connected_and_not_to_be_asked),
		IN_DIR(never_running),
		IN_DIR(ends_while_it_starts),
		IN_DIR(refused),
		IN_DIR(first_it_has_to_stop),
		IN_DIR(left_alone),
		IN_DIR(closed_during_the_call),
		IN_DIR(cannot_be_stopped),
		IN_DIR(stop_is_refused),
		IN_DIR(idle),
		IN_DIR(taken_over),
		IN_DIR(not_taken_over),
		IN_DIR(odd_notes),
		IN_DIR(waits_for_its_agent),
		IN_DIR(replaced_while_it_waits),
		IN_DIR(init_limit),
		IN_DIR(init_limit_is_not_of_the_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
