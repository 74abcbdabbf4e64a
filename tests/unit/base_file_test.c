/* Files replaced whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

struct fix {
	char dir[64], path[96];
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	snprintf(f->dir, sizeof(f->dir), "/tmp/base_file_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/file", f->dir);
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	(void)unlink(f->path);
	(void)rmdir(f->path);
	assert_int_equal(rmdir(f->dir), 0); /* nothing was left beside it */
	free(f);
	return 0;
}

static void expect(const struct fix *f, const char *text)
{
	char got[64] = "";
	FILE *in = fopen(f->path, "r");
	struct stat st;

	assert_non_null(in);
	assert_int_equal(fstat(fileno(in), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fread(got, 1, sizeof(got), in), strlen(text));
	assert_memory_equal(got, text, strlen(text));
	fclose(in);
}

static void a_file_is_made_and_replaced(void **state)
{
	struct fix *f = *state;
	struct err e;

	assert_int_equal(file_replace(f->path, "one", 3, &e), 0);
	expect(f, "one");
	assert_int_equal(chmod(f->path, 0644), 0);
	assert_int_equal(file_replace(f->path, "another", 7, &e), 0);
	expect(f, "another");
	assert_int_equal(file_replace(f->path, "", 0, &e), 0);
	expect(f, "");
}

static void what_is_no_file_is_left_alone(void **state)
{
	struct fix *f = *state;
	struct err e;

	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_int_equal(file_replace(f->path, "x", 1, &e), -1);
	assert_int_equal(e.code, ERR_CONFIG);
	assert_non_null(strstr(e.msg, "not a regular file"));
}

static void an_error_names_the_path(void **state)
{
	struct fix *f = *state;
	char gone[160];
	struct err e;

	snprintf(gone, sizeof(gone), "%s/none/file", f->dir);
	assert_int_equal(file_replace(gone, "x", 1, &e), -1);
	assert_non_null(strstr(e.msg, gone));
	assert_non_null(strstr(e.msg, "No such file"));
}

static void all_bytes_go_through_a_pipe(void **state)
{
	int fd[2];
	char got[8] = "";
	size_t n;

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(file_write_all(fd[1], "ghijklmn", 8), 0);
	assert_int_equal(file_read_all(fd[0], got, 5, &n), 0);
	assert_int_equal(n, 5); /* full: there is more */
	assert_int_equal(file_read_all(fd[0], got, 3, &n), 0);
	assert_memory_equal(got, "lmn", 3);
	assert_int_equal(file_write_all(fd[1], "abcdef", 6), 0);
	assert_int_equal(read(fd[0], got, sizeof(got)), 6);
	assert_string_equal(got, "abcdef");
	close(fd[0]);
	close(fd[1]);
	assert_int_not_equal(file_write_all(fd[1], "x", 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_is_made_and_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_file_is_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(an_error_names_the_path, setup, teardown),
		cmocka_unit_test(all_bytes_go_through_a_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
