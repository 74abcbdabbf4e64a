/* Tar archives as they come, in pieces of every size. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/support/cmocka_all.h"
#include "vm/tar.h"

enum { ROOM = 64 * 1024 };

struct fix {
	uint8_t archive[ROOM];
	size_t n;
	char got[ROOM]; /* "name:contents;" of the wanted ones */
	size_t got_len;
	const char *refuse; /* a name that is not wanted; its size is counted */
	bool stop;
	struct tar tar;
	struct err e;
};

static int setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static bool file(void *arg, const char *name, uint64_t size)
{
	struct fix *f = arg;

	(void)size;
	if (f->refuse && strcmp(name, f->refuse) == 0)
		return false;
	f->got_len += (size_t)snprintf(f->got + f->got_len, ROOM - f->got_len, "%s:", name);
	return true;
}

static int data(void *arg, const void *p, size_t n, struct err *e)
{
	struct fix *f = arg;

	if (f->stop)
		return err_set(e, ERR_IO, "the disk is full");
	memcpy(f->got + f->got_len, n ? p : ";", n ? n : 1);
	f->got_len += n ? n : 1;
	return 0;
}

static const struct tar_handler handler = { .file = file, .data = data };

static void entry(struct fix *f, const char *name, char type, const char *text, size_t n)
{
	uint8_t *h = f->archive + f->n;
	unsigned sum = 0;

	memset(h, 0, TAR_BLOCK);
	snprintf((char *)h, 101, "%s", name);
	snprintf((char *)h + 124, 12, "%011zo", n);
	memset(h + 148, ' ', 8);
	h[156] = (uint8_t)type;
	memcpy(h + 257,
	       "ustar\0"
	       "00",
	       8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += h[i];
	snprintf((char *)h + 148, 8, "%06o", sum);
	memcpy(h + TAR_BLOCK, text, n);
	f->n += TAR_BLOCK + ((n + TAR_BLOCK - 1) / TAR_BLOCK) * TAR_BLOCK;
}

static void finish(struct fix *f)
{
	f->n += 2 * TAR_BLOCK;
}

/* All of it, in pieces; the contents must come out the same for each size. */
static void reads(struct fix *f, const char *expected)
{
	static const size_t sizes[] = { 1, 7, 511, 512, 513, 4096, ROOM };

	for (size_t i = 0; i < COUNT(sizes); i++) {
		tar_begin(&f->tar, &handler, f);
		f->got_len = 0;
		for (size_t at = 0; at < f->n; at += sizes[i]) {
			size_t n = f->n - at < sizes[i] ? f->n - at : sizes[i];

			if (tar_input(&f->tar, f->archive + at, n, &f->e) != 0)
				fail_msg("%s", f->e.msg);
		}
		assert_int_equal(tar_end(&f->tar, &f->e), 0);
		f->got[f->got_len] = '\0';
		assert_string_equal(f->got, expected);
	}
}

static void fails(struct fix *f, const char *why)
{
	int rc;

	tar_begin(&f->tar, &handler, f);
	rc = tar_input(&f->tar, f->archive, f->n, &f->e);
	if (rc == 0)
		rc = tar_end(&f->tar, &f->e);
	assert_int_equal(rc, -1);
	if (!strstr(f->e.msg, why))
		fail_msg("'%s' expected: %s", why, f->e.msg);
}

static void files_come_out_as_they_went_in(void **state)
{
	struct fix *f = *state;
	char text[1025];

	memset(text, 'x', 1024);
	text[1024] = '\0';
	entry(f, "./", '5', "", 0);
	entry(f, "./a", '0', "hello", 5);
	entry(f, "empty", '0', "", 0);
	entry(f, "/link", '2', "", 0);
	entry(f, "././old", '\0', "o", 1);
	entry(f, "block", '0', text, 512);
	f->refuse = "no";
	entry(f, "no", '0', text, 1000);
	entry(f, "z", '0', "end", 3);
	finish(f);
	text[512] = '\0';
	char expected[1200];

	snprintf(expected, sizeof(expected), "a:hello;empty:;old:o;block:%s;z:end;", text);
	reads(f, expected);
}

static void names_may_be_long(void **state)
{
	struct fix *f = *state;
	char name[300], expected[400];

	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	entry(f, "././@LongLink", 'L', name, sizeof(name)); /* with its NUL */
	entry(f, "short", '0', "1", 1);
	entry(f, "next", '0', "2", 1);
	entry(f, "in", '0', "3", 1);
	memcpy(f->archive + f->n - 2 * TAR_BLOCK + 345, "pre/fix", 7); /* ustar's prefix */
	unsigned sum = 0;
	uint8_t *h = f->archive + f->n - 2 * TAR_BLOCK;

	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += h[i];
	snprintf((char *)h + 148, 8, "%06o", sum);
	finish(f);
	snprintf(expected, sizeof(expected), "%s:1;next:2;pre/fix/in:3;", name);
	reads(f, expected);
}

static void what_is_no_archive_is_refused(void **state)
{
	struct fix *f = *state;

	fails(f, "cut off"); /* nothing */
	entry(f, "a", '0', "hello", 5);
	fails(f, "cut off");
	f->n = 700;
	fails(f, "cut off");
	f->archive[3]++;
	fails(f, "not a tar archive");
	f->n = 0;
	entry(f, "a", '0', "", 0);
	memcpy(f->archive + 124, "\x80\0\0\0\0\0\0\1\0\0\0", 12); /* a size that is no octal */
	fails(f, "not a tar archive");
	f->n = 0;
	char name[TAR_NAME + 1];

	memset(name, 'x', sizeof(name));
	entry(f, "././@LongLink", 'L', name, sizeof(name));
	fails(f, "a name of more than");
}

static void a_callers_error_ends_it(void **state)
{
	struct fix *f = *state;

	f->stop = true;
	entry(f, "a", '0', "", 0);
	fails(f, "the disk is full");
	f->n = 0;
	entry(f, "a", '0', "hello", 5);
	fails(f, "the disk is full");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(files_come_out_as_they_went_in),
		T(names_may_be_long),
		T(what_is_no_archive_is_refused),
		T(a_callers_error_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
