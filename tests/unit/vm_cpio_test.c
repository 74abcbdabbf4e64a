/* The archive, byte by byte, and as cpio itself reads it. */
#include "base/buf.h"
#include "tests/unit/vm_tree.h"
#include "vm/cpio.h"

struct fix {
	struct tree tree;
	char path[TREE_PATH];
	struct cpio c;
	struct err e;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	tree_make(&f->tree);
	assert_true(str_fmt(f->path, sizeof(f->path), "%s/archive", f->tree.dir));
	cpio_begin(&f->c, open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	assert_true(f->c.fd >= 0);
	return 0;
}

static int teardown(void **state)
{
	struct fix *f = *state;

	close(f->c.fd);
	tree_remove(&f->tree);
	free(f);
	return 0;
}

static void the_bytes_are_as_the_format_has_them(void **state)
{
	static const char expected[] = "070701"
				       "00000001"
				       "000081a4"
				       "00000000"
				       "00000000"
				       "00000001"
				       "00000000"
				       "00000005"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000000"
				       "00000002"
				       "00000000"
				       "a\0hello\0\0\0" /* 110 + 2 = 112: no padding before it */
				       "070701";
	struct fix *f = *state;
	char got[512] = "";
	off_t at;

	assert_int_equal(cpio_file(&f->c, "a", 0644, "hello", 5, &at, &f->e), 0);
	assert_int_equal(at, 112);
	assert_int_equal(f->c.at, 120);
	assert_int_equal(cpio_end(&f->c, &f->e), 0);
	assert_int_equal(f->c.at % 4, 0);
	assert_int_equal(pread(f->c.fd, got, sizeof(got), 0), f->c.at);
	assert_memory_equal(got, expected, sizeof(expected) - 1);
	assert_string_equal(got + 120 + 110, "TRAILER!!!");
}

static int take(void *arg, const void *p, size_t n, struct err *e)
{
	return buf_add(arg, p, n, e);
}

/* What cpio makes of it. */
static void cpio_lists_and_unpacks_it(void **state)
{
	struct fix *f = *state;
	const char *const list[] = { "cpio", "-it", "--quiet", NULL };
	const char *const unpack[] = { "cpio", "-i", "--quiet", NULL };
	struct buf out;
	struct program p = { .argv = list, .input = f->path, .out = take, .arg = &out };
	char text[16] = "";
	FILE *in;

	buf_init(&out, 4096);
	assert_int_equal(cpio_dir(&f->c, "m", 0755, &f->e), 0);
	for (unsigned n = 0; n < 9; n++) {
		char name[16];

		snprintf(name, sizeof(name), "m/%.*s", (int)n + 1, "123456789");
		assert_int_equal(cpio_file(&f->c, name, 0600, "contents", n, NULL, &f->e), 0);
	}
	assert_int_equal(cpio_end(&f->c, &f->e), 0);
	if (program_run(&p, &f->e) != 0 && f->e.code == ERR_UNSUPPORTED) {
		buf_free(&out);
		skip(); /* no cpio here */
	}
	assert_int_equal(buf_add(&out, "", 1, &f->e), 0);
	assert_string_equal(buf_ptr(&out), "m\nm/1\nm/12\nm/123\nm/1234\nm/12345\nm/123456\n"
					   "m/1234567\nm/12345678\nm/123456789\n");
	buf_free(&out);
	p = (struct program){ .argv = unpack, .input = f->path, .cwd = f->tree.dir };
	assert_int_equal(program_run(&p, &f->e), 0);
	in = fopen(tree_path(&f->tree, "m/12345678"), "r");
	assert_non_null(in);
	assert_int_equal(fread(text, 1, sizeof(text), in), 7);
	assert_string_equal(text, "content");
	fclose(in);
}

static void what_does_not_fit_is_refused(void **state)
{
	struct fix *f = *state;
	char name[400];

	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(cpio_dir(&f->c, name, 0755, &f->e), -1);
	assert_int_equal(f->e.code, ERR_LIMIT);
	assert_int_equal(cpio_file(&f->c, "a", 0, "", (size_t)UINT32_MAX + 1, NULL, &f->e), -1);
	assert_int_equal(f->e.code, ERR_LIMIT);
	close(f->c.fd);
	f->c.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(cpio_dir(&f->c, "a", 0755, &f->e), -1);
	assert_non_null(strstr(f->e.msg, "write the initramfs"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(the_bytes_are_as_the_format_has_them),
		T(cpio_lists_and_unpacks_it),
		T(what_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
