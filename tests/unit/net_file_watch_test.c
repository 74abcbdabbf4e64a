/* A watched file: written, replaced by rename, removed and made again; its neighbours do not count.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/file_watch.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fds.h"
#include "tests/support/limit.h"

struct place {
	struct loop *loop;
	char dir[64], file[96], other[96];
	unsigned changes;
	bool waiting;
	struct loop_timer limit;
	FILE *half;
};

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void changed(void *arg)
{
	struct place *p = arg;

	p->changes++;
	loop_stop(p->loop);
}

static void out_of_time(void *arg)
{
	struct place *p = arg;

	if (p->waiting)
		fail_msg("no change was seen in time");
	loop_stop(p->loop);
}

static void wait_for_change(struct place *p, unsigned count)
{
	p->waiting = true;
	timer_arm(p->loop, &p->limit, TEST_LIMIT_MS, out_of_time, p);
	while (p->changes < count)
		loop_run(p->loop);
	timer_disarm(p->loop, &p->limit);
}

static void every_kind_of_change_is_seen(void **state)
{
	struct place p = { .dir = "/tmp/awsocks-watch.XXXXXX" };
	struct file_watch *w;
	struct err e = { 0 };
	size_t before;

	(void)state;
	/* The first loop of a process opens what libuv keeps for good. */
	assert_int_equal(loop_new(&p.loop, &e), 0);
	loop_free(p.loop);
	before = fds_open();
	assert_non_null(mkdtemp(p.dir));
	snprintf(p.file, sizeof(p.file), "%s/rules.yaml", p.dir);
	snprintf(p.other, sizeof(p.other), "%s/other", p.dir);
	put(p.file, "one");
	assert_int_equal(loop_new(&p.loop, &e), 0);
	w = file_watch_open(p.loop, p.file, changed, &p, &e);
	assert_non_null(w);

	put(p.file, "two two");
	wait_for_change(&p, 1);
	put(p.other, "three three three");
	assert_int_equal(rename(p.other, p.file), 0);
	wait_for_change(&p, 2);
	assert_int_equal(unlink(p.file), 0);
	wait_for_change(&p, 3);
	put(p.file, "four");
	wait_for_change(&p, 4);

	/* A neighbour's change arrives too, and is no change of ours. */
	put(p.other, "neighbour");
	p.waiting = false;
	timer_arm(p.loop, &p.limit, 300, out_of_time, &p);
	loop_run(p.loop);
	assert_int_equal(p.changes, 4);

	file_watch_close(w);
	loop_free(p.loop);
	unlink(p.file);
	unlink(p.other);
	rmdir(p.dir);
	assert_int_equal(fds_open(), before);
}

static void stop(void *arg)
{
	struct place *p = arg;

	loop_stop(p->loop);
}

static void turn(struct place *p, unsigned ms)
{
	timer_arm(p->loop, &p->limit, ms, stop, p);
	loop_run(p->loop);
}

/* Who writes again has got as far as this. */
static void cut(void *arg)
{
	struct place *p = arg;

	p->half = fopen(p->file, "w");
	assert_non_null(p->half);
}

static void what_is_half_written_when_it_is_to_be_read_is_not(void **state)
{
	struct place p = { .dir = "/tmp/awsocks-watch.XXXXXX" };
	struct loop_timer writer = { 0 };
	struct file_watch *w;
	struct err e = { 0 };

	(void)state;
	assert_non_null(mkdtemp(p.dir));
	snprintf(p.file, sizeof(p.file), "%s/rules.yaml", p.dir);
	put(p.file, "one");
	assert_int_equal(loop_new(&p.loop, &e), 0);
	w = file_watch_open(p.loop, p.file, changed, &p, &e);
	assert_non_null(w);

	timer_arm(p.loop, &writer, 30, cut, &p);
	put(p.file, "two two");
	turn(&p, 1); /* the change is seen: its timer runs */
	/* Both timers are due when the loop comes to them, with nothing read between them. */
	(void)poll(NULL, 0, 100);
	turn(&p, 0);
	assert_int_equal(p.changes, 0);
	assert_non_null(p.half);
	assert_true(fputs("three", p.half) >= 0);
	assert_int_equal(fclose(p.half), 0);
	wait_for_change(&p, 1);

	file_watch_close(w);
	loop_free(p.loop);
	unlink(p.file);
	rmdir(p.dir);
}

static void a_missing_directory_is_an_error(void **state)
{
	struct loop *loop;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(loop_new(&loop, &e), 0);
	assert_null(file_watch_open(loop, "/nonexistent-directory/x", changed, NULL, &e));
	assert_non_null(strstr(e.msg, "/nonexistent-directory/x"));
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_change_is_seen),
		cmocka_unit_test(what_is_half_written_when_it_is_to_be_read_is_not),
		cmocka_unit_test(a_missing_directory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
