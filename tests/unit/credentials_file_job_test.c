/* credentials/file_job.c: small secret files, read and replaced on the thread pool. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "credentials/file_job.h"
#include "net/loop.h"
#include "tests/support/cmocka_all.h"

struct answer {
	struct loop *loop;
	int count;
	char text[64];
	struct err why;
};

static void on_done(void *arg, const char *text, size_t n, const struct err *why)
{
	struct answer *a = arg;

	a->count++;
	if (text)
		(void)str_fmt(a->text, sizeof(a->text), "%zu:%s", n, text);
	else
		a->why = *why;
	loop_stop(a->loop);
}

static int set_up(void **state)
{
	static struct answer a;
	struct err e;

	a = (struct answer){ 0 };
	assert_int_equal(loop_new(&a.loop, &e), 0);
	*state = &a;
	return 0;
}

static int tear_down(void **state)
{
	struct answer *a = *state;

	assert_true(loop_free(a->loop));
	return 0;
}

static void written_and_read(void **state)
{
	struct answer *a = *state;
	char dir[] = "/tmp/awsocks-test-XXXXXX", path[64];
	struct stat st;

	assert_non_null(mkdtemp(dir));
	(void)str_fmt(path, sizeof(path), "%s/a/b/c.json", dir);
	for (int i = 0; i < 2; i++) {
		assert_non_null(file_job_write(a->loop, path, i ? "two" : "one", on_done, a, NULL));
		loop_run(a->loop);
	}
	assert_int_equal(a->count, 2);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_non_null(file_job_read(a->loop, path, on_done, a, NULL));
	loop_run(a->loop);
	assert_string_equal(a->text, "3:two");
	assert_int_equal(unlink(path), 0);
	for (int i = 0; i < 3; i++) { /* nothing was left beside it */
		*strrchr(path, '/') = '\0';
		assert_int_equal(rmdir(path), 0);
	}
}

static void what_cannot_be_read(void **state)
{
	struct answer *a = *state;
	char big[] = "/tmp/awsocks-test-XXXXXX";
	int fd = mkstemp(big);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_JOB_MAX + 1), 0);
	close(fd);
	assert_non_null(file_job_read(a->loop, "/nonexistent/x", on_done, a, NULL));
	loop_run(a->loop);
	assert_int_equal(a->why.code, ERR_IO);
	assert_non_null(strstr(a->why.msg, "/nonexistent/x"));
	assert_non_null(file_job_read(a->loop, "/tmp", on_done, a, NULL));
	loop_run(a->loop);
	assert_non_null(strstr(a->why.msg, "not a regular file"));
	assert_non_null(file_job_read(a->loop, big, on_done, a, NULL));
	loop_run(a->loop);
	assert_int_equal(a->why.code, ERR_LIMIT);
	assert_non_null(file_job_write(a->loop, "/dev/null/x", "t", on_done, a, NULL));
	loop_run(a->loop);
	assert_int_equal(a->why.code, ERR_IO);
	assert_int_equal(unlink(big), 0);
}

static void a_cancelled_job_stays_silent(void **state)
{
	struct answer *a = *state;

	file_job_cancel(file_job_read(a->loop, "/dev/null/x", on_done, a, NULL));
	file_job_cancel(NULL);
	assert_non_null(file_job_read(a->loop, "/nonexistent/x", on_done, a, NULL));
	loop_run(a->loop);
	assert_int_equal(a->count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(written_and_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_cancelled_job_stays_silent, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
