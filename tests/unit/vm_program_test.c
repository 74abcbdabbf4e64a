/* Programs that are run and waited for. */
#include "base/buf.h"
#include "tests/support/fds.h"
#include "tests/unit/vm_tree.h"
#include "vm/unpack.h"

struct fix {
	struct tree tree;
	struct buf out;
	struct err e;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	tree_make(&f->tree);
	buf_init(&f->out, 1 << 20);
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	buf_free(&f->out);
	tree_remove(&f->tree);
	free(f);
	return 0;
}

static int take(void *arg, const void *p, size_t n, struct err *e)
{
	return buf_add(arg, p, n, e);
}

static int run(struct fix *f, unsigned limit_ms, const char *script)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	const struct program p = {
		.argv = argv, .out = take, .arg = &f->out, .limit_ms = limit_ms, .cwd = f->tree.dir
	};

	buf_clear(&f->out);
	return program_run(&p, &f->e);
}

static void expect(struct fix *f, const char *text)
{
	assert_int_equal(buf_len(&f->out), strlen(text));
	assert_memory_equal(buf_ptr(&f->out), text, strlen(text));
}

static void what_it_says_is_taken(void **state)
{
	struct fix *f = *state;

	assert_int_equal(run(f, 0, "pwd; echo words >&2; cat"), 0); /* nothing to read */
	char line[80];

	assert_true(str_fmt(line, sizeof(line), "%s\n", f->tree.dir));
	expect(f, line);
}

static void its_failure_is_told_with_its_last_words(void **state)
{
	struct fix *f = *state;

	assert_int_equal(run(f, 0, "echo first >&2; echo 'E: it is broken' >&2; exit 7"), -1);
	assert_int_equal(f->e.code, ERR_IO);
	assert_string_equal(f->e.msg, "sh failed (status 7): E: it is broken");
	assert_int_equal(run(f, 0, "exit 1"), -1);
	assert_string_equal(f->e.msg, "sh failed (status 1)");
	assert_int_equal(run(f, 0, "kill -9 $$"), -1);
	assert_string_equal(f->e.msg, "sh was ended by signal 9");
	/* More words than are kept. */
	assert_int_equal(run(f, 0,
			     "i=0; while [ $i -lt 500 ]; do echo noise $i >&2; i=$((i+1)); "
			     "done; echo last >&2; exit 1"),
			 -1);
	assert_string_equal(f->e.msg, "sh failed (status 1): last");
}

/* Its vfork(2) is a fork(2): why a program could not be run is not seen. */
static void not_under_valgrind(void)
{
	const char *wrap = getenv("WRAP"); /* of tests/run-unit.sh */

	if (wrap && strstr(wrap, "valgrind"))
		skip();
}

static void there_is_no_such_program(void **state)
{
	struct fix *f = *state;
	const char *const argv[] = { "awsocks-no-such-program", NULL };
	const struct program p = { .argv = argv };

	not_under_valgrind();
	assert_int_equal(program_run(&p, &f->e), -1);
	assert_int_equal(f->e.code, ERR_UNSUPPORTED);
}

static void one_that_takes_too_long_is_ended(void **state)
{
	static const unsigned limits_ms[] = { 100, 2000, 10000 };
	struct fix *f = *state;

	/* More time for a shell that has not come to its first word within the limit. */
	for (int i = 0; i < 3 && !buf_len(&f->out); i++) {
		assert_int_equal(run(f, limits_ms[i], "echo begun; exec sleep 600"), -1);
		assert_int_equal(f->e.code, ERR_TIMEOUT);
	}
	expect(f, "begun\n");
	assert_int_equal(run(f, 100, "exec >&- 2>&-; exec sleep 600"), -1); /* without pipes */
	assert_int_equal(f->e.code, ERR_TIMEOUT);
}

static void one_that_says_too_much_is_ended(void **state)
{
	struct fix *f = *state;

	buf_free(&f->out);
	buf_init(&f->out, 1000);
	assert_int_equal(run(f, 0, "while :; do echo more; done"), -1);
	assert_int_equal(f->e.code, ERR_LIMIT);
}

static void no_descriptor_is_left(void **state)
{
	struct fix *f = *state;
	size_t before = fds_open();

	not_under_valgrind();
	assert_int_equal(run(f, 0, "true"), 0);
	assert_int_equal(run(f, 0, "false"), -1);
	assert_int_equal(run(f, 50, "exec sleep 600"), -1);
	there_is_no_such_program(state);
	assert_int_equal(fds_open(), before);
}

/* ---- files that are packed ---- */

static bool has(const char *name)
{
	const char *const argv[] = { name, "--version", NULL };
	const struct program p = { .argv = argv };

	return program_run(&p, NULL) == 0;
}

static void packed_files_are_unpacked(void **state)
{
	static const char *const all[][2] = {
		{ "gzip", "gzip -c" }, { "xz", "xz -c" }, { "zstd", "zstd -qc" }, { "cat", "cat" }
	};
	struct fix *f = *state;
	char script[128];
	const char *path = tree_path(&f->tree, "packed");

	tree_text(&f->tree, "plain", "the contents of a file\n");
	for (size_t i = 0; i < COUNT(all); i++) {
		if (!has(all[i][0]))
			continue;
		snprintf(script, sizeof(script), "%s <plain >packed", all[i][1]);
		assert_int_equal(run(f, 0, script), 0);
		buf_clear(&f->out);
		if (unpack_file(path, &f->out, &f->e) != 0)
			fail_msg("%s", f->e.msg);
		expect(f, "the contents of a file\n");
	}
}

static void what_cannot_be_unpacked_is_named(void **state)
{
	struct fix *f = *state;
	const char *path = tree_path(&f->tree, "packed");

	not_under_valgrind();
	tree_text(&f->tree, "packed", "\x1f\x8b, but no more of it");
	assert_int_equal(unpack_file(path, &f->out, &f->e), -1);
	assert_non_null(strstr(f->e.msg, path));
	assert_non_null(strstr(f->e.msg, "gzip failed"));
	assert_int_equal(setenv("PATH", f->tree.dir, 1), 0);
	assert_int_equal(unpack_file(path, &f->out, &f->e), -1);
	assert_int_equal(setenv("PATH", "/usr/bin:/bin", 1), 0);
	assert_int_equal(f->e.code, ERR_CONFIG);
	assert_non_null(strstr(f->e.msg, "the program gzip is not installed"));
	assert_int_equal(unpack_file(f->tree.dir, &f->out, &f->e), -1);
	assert_non_null(strstr(f->e.msg, "is not a regular file"));
	tree_write(&f->tree, "packed", f->tree.dir, 60);
	buf_free(&f->out);
	buf_init(&f->out, 59);
	assert_int_equal(unpack_file(path, &f->out, &f->e), -1);
	assert_int_equal(f->e.code, ERR_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(what_it_says_is_taken),           T(its_failure_is_told_with_its_last_words),
		T(there_is_no_such_program),        T(one_that_takes_too_long_is_ended),
		T(one_that_says_too_much_is_ended), T(no_descriptor_is_left),
		T(packed_files_are_unpacked),       T(what_cannot_be_unpacked_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
